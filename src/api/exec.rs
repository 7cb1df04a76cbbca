//! `exec` over WebSocket: channels of one connection to the streams of one process.
//!
//! `v5.channel.k8s.io` and `v4.channel.k8s.io`: the first byte of a message names its channel; v5 can close one.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use http::header::{CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};
use http::header::{SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::body::{self, Body};
use super::pod::Pod;
use super::query::Query;
use super::route::Target;
use super::service::{Incoming, Service, header, too_many};
use crate::kube::status::{Cause, Status};
use crate::runtime::{ExecSession, ExecSpec};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// Protocols, best first.
const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
/// Bound on a message from the client, in bytes.
const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// How much output is read at a time.
const READ_BYTES: usize = 16 << 10;
/// Messages to the client that may wait.
const MAX_WAITING: usize = 16;
/// How long a client may take to close after the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Bound on arguments of a command.
const MAX_ARGUMENTS: usize = 4096;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Starts a process in a container and hands the connection over to it.
pub async fn serve(service: &Service, target: &Target, mut incoming: Incoming) -> Result<Response<Body>, Status> {
    let pod = Pod::read(service, target).await?;
    let (spec, wants) = spec(&incoming.query, pod.name())?;
    let container = pod.container(incoming.query.get("container"))?;
    check_running(&pod)?;
    let protocol = protocol(&incoming)?;
    let upgrade = incoming.upgrade.take().ok_or_else(|| not_an_upgrade("the connection cannot be upgraded"))?;
    let key = header(&incoming.headers, &SEC_WEBSOCKET_KEY);
    if key.is_empty() {
        return Err(not_an_upgrade("Sec-WebSocket-Key is missing"));
    }
    let permit = service.streams.clone().try_acquire_owned().map_err(|_| too_many())?;
    // A command that cannot be started is told on the session's own channel: clients take a refused upgrade for a
    // server without WebSocket, and would ask again in another way.
    let session = service.gateway.exec(&container, &spec).await;
    let (stop, held) = (service.stop.clone(), service.metrics.hold_stream());
    service.sessions.spawn(async move {
        let _while_it_lasts = (permit, held);
        tokio::select! {
            () = stop.cancelled() => {}
            () = hand_over(upgrade, session, wants) => {}
        }
    });
    switching(key, protocol)
}

/// Which outputs the client wants.
#[derive(Debug, Clone, Copy)]
struct Wants {
    stdout: bool,
    stderr: bool,
}

fn spec(query: &Query, pod: &str) -> Result<(ExecSpec, Wants), Status> {
    let command: Vec<String> = query.all("command").take(MAX_ARGUMENTS).map(str::to_owned).collect();
    let has = |name: &str| query.has(name) && query.flag(name);
    let (stdin, tty) = (has("stdin"), has("tty"));
    let wants = Wants { stdout: has("stdout"), stderr: has("stderr") && !tty };
    let mut causes = Vec::new();
    if command.is_empty() {
        causes.push(Cause::required("command", ""));
    }
    if !stdin && !wants.stdout && !wants.stderr {
        causes.push(Cause::required("stdin", "you must specify at least 1 of stdin, stdout, stderr"));
    }
    if !causes.is_empty() {
        return Err(Status::invalid("", "PodExecOptions", pod, causes));
    }
    Ok((ExecSpec { command, tty, stdin }, wants))
}

fn check_running(pod: &Pod) -> Result<(), Status> {
    if matches!(pod.phase(), "Succeeded" | "Failed") {
        let phase = pod.phase();
        let why = format!("cannot exec into a container in a completed pod; current phase is {phase}");
        return Err(Status::new(500, "InternalError", why));
    }
    if pod.node().is_empty() {
        return Err(Status::bad_request(format!("pod {} does not have a host assigned", pod.name())));
    }
    Ok(())
}

fn protocol(incoming: &Incoming) -> Result<&'static str, Status> {
    if !header(&incoming.headers, &UPGRADE).eq_ignore_ascii_case("websocket") {
        return Err(not_an_upgrade("only WebSocket is served here"));
    }
    let offered: Vec<&str> = header(&incoming.headers, &SEC_WEBSOCKET_PROTOCOL).split(',').map(str::trim).collect();
    let found = PROTOCOLS.into_iter().find(|protocol| offered.contains(protocol));
    found.ok_or_else(|| not_an_upgrade(&format!("the protocols served here are {}", PROTOCOLS.join(", "))))
}

fn not_an_upgrade(why: &str) -> Status {
    Status::bad_request(format!("Upgrade request required: {why}"))
}

fn switching(key: &str, protocol: &'static str) -> Result<Response<Body>, Status> {
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()));
    let accept = accept.map_err(|_| not_an_upgrade("Sec-WebSocket-Key is malformed"))?;
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let pairs: [(HeaderName, HeaderValue); 4] = [
        (CONNECTION, HeaderValue::from_static("Upgrade")),
        (UPGRADE, HeaderValue::from_static("websocket")),
        (SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol)),
        (SEC_WEBSOCKET_ACCEPT, accept),
    ];
    response.headers_mut().extend(pairs);
    Ok(response)
}

async fn hand_over(upgrade: OnUpgrade, session: Result<ExecSession, Status>, wants: Wants) {
    let Ok(upgraded) = upgrade.await else { return };
    let config =
        WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE_BYTES)).max_frame_size(Some(MAX_MESSAGE_BYTES));
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    match session {
        Ok(session) => run(socket, session, wants).await,
        Err(status) => refuse(socket, &status).await,
    }
}

/// Says why no process was started, and closes.
async fn refuse(mut socket: Socket, status: &Status) {
    let _ = socket.send(message(ERROR, status.to_value().to_string().as_bytes())).await;
    let (sink, source) = socket.split();
    close(sink).await;
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, take(source, None, None)).await;
}

/// Carries bytes both ways until the process has ended, or the client has gone.
async fn run(socket: Socket, session: ExecSession, wants: Wants) {
    let (sink, source) = socket.split();
    let (out, waiting) = mpsc::channel(MAX_WAITING);
    let ExecSession { stdin, stdout, stderr, resize, exit } = session;
    let output = async move {
        // Tells the client that the streams are there, before there is anything in them.
        let _ = out.send(message(STDOUT, &[])).await;
        tokio::join!(pump(STDOUT, Some(stdout), wants.stdout, &out), pump(STDERR, stderr, wants.stderr, &out));
        let end = ended(exit.await.ok()).to_string();
        let _ = out.send(message(ERROR, end.as_bytes())).await;
    };
    let (gone, closing) = tokio::sync::oneshot::channel::<()>();
    let input = async move {
        take(source, stdin, resize).await;
        drop(gone);
    };
    let deliver = async move {
        tokio::join!(output, write(waiting, sink));
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
    };
    tokio::select! {
        () = input => {}
        () = deliver => {}
    }
}

async fn pump(
    channel: u8,
    stream: Option<Box<dyn AsyncRead + Send + Unpin>>,
    wanted: bool,
    out: &mpsc::Sender<Message>,
) {
    let Some(mut stream) = stream else { return };
    let mut buffer = vec![0; READ_BYTES];
    while let Ok(read) = stream.read(&mut buffer).await {
        let Some(data) = buffer.get(..read).filter(|data| !data.is_empty()) else { return };
        if wanted && out.send(message(channel, data)).await.is_err() {
            return;
        }
    }
}

async fn write(mut waiting: mpsc::Receiver<Message>, mut sink: SplitSink<Socket, Message>) {
    while let Some(message) = waiting.recv().await {
        if sink.send(message).await.is_err() {
            return;
        }
    }
    close(sink).await;
}

/// Closes with the code without which clients take the end for a failure, whatever the streams said.
async fn close(mut sink: SplitSink<Socket, Message>) {
    let _ = sink.send(Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))).await;
    let _ = sink.close().await;
}

/// Takes the client's messages until it closes.
async fn take(
    mut source: SplitStream<Socket>,
    mut stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    resize: Option<mpsc::Sender<(u16, u16)>>,
) {
    while let Some(Ok(message)) = next(&mut source).await {
        let data = match message {
            Message::Binary(data) => data,
            Message::Text(text) => Bytes::from(text),
            Message::Close(_) => return,
            _ => continue,
        };
        let Some((channel, data)) = data.split_first() else { continue };
        match *channel {
            STDIN => feed(&mut stdin, data).await,
            RESIZE => {
                if let (Some(resize), Some(size)) = (&resize, size(data)) {
                    let _ = resize.send(size).await;
                }
            }
            CLOSE if data == [STDIN] => stdin = None,
            _ => {}
        }
    }
}

async fn next(source: &mut SplitStream<Socket>) -> Option<Result<Message, Error>> {
    source.next().await
}

async fn feed(stdin: &mut Option<Box<dyn AsyncWrite + Send + Unpin>>, data: &[u8]) {
    let Some(writer) = stdin else { return };
    let written = async {
        writer.write_all(data).await?;
        writer.flush().await
    };
    if written.await.is_err() {
        *stdin = None;
    }
}

fn size(data: &[u8]) -> Option<(u16, u16)> {
    let asked: Value = serde_json::from_slice(data).ok()?;
    let side = |name: &str| asked.get(name).and_then(Value::as_u64).and_then(|side| u16::try_from(side).ok());
    Some((side("Width")?, side("Height")?))
}

fn message(channel: u8, data: &[u8]) -> Message {
    let mut bytes = BytesMut::with_capacity(data.len() + 1);
    bytes.put_u8(channel);
    bytes.put_slice(data);
    Message::Binary(bytes.freeze())
}

/// The `Status` that ends a session.
fn ended(code: Option<i32>) -> Value {
    let failure = |message: String, reason: &str, cause: Value| {
        json!({
            "metadata": {}, "status": "Failure", "message": message, "reason": reason,
            "details": { "causes": [cause] },
        })
    };
    match code {
        Some(0) => json!({ "metadata": {}, "status": "Success" }),
        Some(code) => failure(
            format!("command terminated with non-zero exit code: exit status {code}"),
            "NonZeroExitCode",
            json!({ "reason": "ExitCode", "message": code.to_string() }),
        ),
        None => failure(
            "the exit code of the command could not be learned".into(),
            "InternalError",
            json!({ "message": "the session was lost" }),
        ),
    }
}

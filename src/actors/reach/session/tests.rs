//! A process on one node, its client on another, a pipe between them.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};

use super::{remote, serve};
use crate::mesh::fabric::{Duplex, ReceiveStream, SendStream};
use crate::runtime::{ExecSession, ExecSpec};

struct Sending(WriteHalf<DuplexStream>);
struct Receiving(ReadHalf<DuplexStream>);

impl AsyncWrite for Sending {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl SendStream for Sending {
    fn set_priority(&self, _: i32) {}
}

impl AsyncRead for Receiving {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl ReceiveStream for Receiving {}

fn pipe() -> (Duplex, Duplex) {
    let end = |stream| {
        let (receive, send) = tokio::io::split(stream);
        Duplex { send: Box::new(Sending(send)), receive: Box::new(Receiving(receive)) }
    };
    let (here, there) = tokio::io::duplex(4096);
    (end(here), end(there))
}

/// The process's own ends, as a test plays them.
struct Process {
    stdin: DuplexStream,
    stdout: DuplexStream,
    stderr: Option<DuplexStream>,
    sizes: mpsc::Receiver<(u16, u16)>,
    exit: oneshot::Sender<i32>,
}

fn process() -> (ExecSession, Process) {
    let (stdin, input) = tokio::io::duplex(1024);
    let (stdout, output) = tokio::io::duplex(1024);
    let (stderr, errors) = tokio::io::duplex(1024);
    let (resize, sizes) = mpsc::channel(4);
    let (exited, exit) = oneshot::channel();
    let session = ExecSession {
        stdin: Some(Box::new(stdin)),
        stdout: Box::new(stdout),
        stderr: Some(Box::new(stderr)),
        resize: Some(resize),
        exit,
    };
    (session, Process { stdin: input, stdout: output, stderr: Some(errors), sizes, exit: exited })
}

fn spec(tty: bool) -> ExecSpec {
    ExecSpec { command: vec!["cat".into()], tty, stdin: true }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(5), future).await.expect("it ends")
}

#[tokio::test]
async fn streams_cross_and_the_exit_code_comes_last() {
    let (near, far) = pipe();
    let (session, mut process) = process();
    let serving = tokio::spawn(serve(session, far));
    let mut client = remote(near, &spec(false));
    let mut stdin = client.stdin.take().unwrap();
    stdin.write_all(&[7; 5000]).await.unwrap();
    drop(stdin);
    let mut got = Vec::new();
    within(process.stdin.read_to_end(&mut got)).await.unwrap();
    assert_eq!(got, [7; 5000]);
    process.stdout.write_all(b"out").await.unwrap();
    process.stderr.as_mut().unwrap().write_all(b"err").await.unwrap();
    process.exit.send(3).unwrap();
    drop((process.stdout, process.stderr));
    let (mut out, mut err) = (String::new(), String::new());
    within(client.stdout.read_to_string(&mut out)).await.unwrap();
    within(client.stderr.take().unwrap().read_to_string(&mut err)).await.unwrap();
    assert_eq!((out.as_str(), err.as_str(), within(client.exit).await), ("out", "err", Ok(3)));
    within(serving).await.unwrap();
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_process() {
    let (near, far) = pipe();
    let (session, mut process) = process();
    let serving = tokio::spawn(serve(session, far));
    drop(remote(near, &spec(false)));
    within(serving).await.unwrap();
    let mut rest = Vec::new();
    within(process.stdin.read_to_end(&mut rest)).await.unwrap();
    assert!(process.exit.is_closed());
}

#[tokio::test]
async fn a_node_that_goes_away_leaves_no_exit_code() {
    let (near, far) = pipe();
    let mut client = remote(near, &spec(false));
    drop(far);
    assert!(within(&mut client.exit).await.is_err());
}

#[tokio::test]
async fn terminal_sizes_cross_and_a_terminal_has_one_output() {
    let (near, far) = pipe();
    let (session, mut process) = process();
    let _serving = tokio::spawn(serve(session, far));
    let client = remote(near, &spec(true));
    assert!(client.stderr.is_none());
    client.resize.as_ref().unwrap().send((120, 40)).await.unwrap();
    assert_eq!(within(process.sizes.recv()).await, Some((120, 40)));
}

#[tokio::test]
async fn a_frame_over_the_bound_ends_the_session() {
    let (mut near, far) = pipe();
    let (session, process) = process();
    let serving = tokio::spawn(serve(session, far));
    near.send.write_all(&[0, 0xff, 0xff, 0xff, 0xff]).await.unwrap();
    within(serving).await.unwrap();
    assert!(process.exit.is_closed());
}

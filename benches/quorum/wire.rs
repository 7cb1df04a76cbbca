//! etcd's API as far as the bench needs it: gRPC by hand over HTTP/2 with TLS, so that the client costs little.
//!
//! The messages are etcd's `rpc.proto` and `kv.proto`, without the fields that are not used here.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures::StreamExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use shoal::mesh::quic::Credentials as _;

use crate::Failure;
use crate::paper::Paper;

type Body = UnsyncBoxBody<Bytes, Infallible>;

#[derive(Clone, PartialEq, Message)]
pub struct Put {
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub struct Range {
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub struct Ranged {
    #[prost(int64, tag = "4")]
    pub count: i64,
}

/// A transaction without compares.
#[derive(Clone, PartialEq, Message)]
pub struct Txn {
    #[prost(message, repeated, tag = "2")]
    pub success: Vec<RequestOp>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RequestOp {
    #[prost(message, tag = "2")]
    pub put: Option<Put>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Empty {}

#[derive(Clone, PartialEq, Message)]
pub struct Status {
    #[prost(message, tag = "1")]
    pub header: Option<Header>,
    #[prost(uint64, tag = "4")]
    pub leader: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Header {
    #[prost(uint64, tag = "2")]
    pub member_id: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct MoveLeader {
    #[prost(uint64, tag = "1")]
    pub target: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Watch {
    #[prost(message, tag = "1")]
    pub create: Option<Range>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Watched {
    #[prost(bool, tag = "3")]
    pub created: bool,
    #[prost(message, repeated, tag = "11")]
    pub events: Vec<Empty>,
}

/// A connection to one member. Clones share it.
#[derive(Clone)]
pub struct Wire {
    send: SendRequest<Body>,
    at: SocketAddr,
}

impl Wire {
    pub async fn connect(at: SocketAddr, paper: &Paper) -> Result<Self, Failure> {
        let stream = tokio::net::TcpStream::connect(at).await?;
        stream.set_nodelay(true)?;
        let tls = tokio_rustls::TlsConnector::from(Arc::new(paper.client(&[b"h2"])?));
        let stream = tls.connect(at.ip().into(), stream).await?;
        let (send, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { send, at })
    }

    fn request(&self, method: &str, body: Body) -> Result<http::Request<Body>, Failure> {
        let request = http::Request::post(format!("https://{}/etcdserverpb.{method}", self.at));
        Ok(request.header("content-type", "application/grpc").header("te", "trailers").body(body)?)
    }

    /// One request, one answer.
    pub async fn call<A: Message + Default>(&self, method: &str, request: &impl Message) -> Result<A, Failure> {
        let mut send = self.send.clone();
        send.ready().await?;
        let answer = send.send_request(self.request(method, Full::new(framed(request)).boxed_unsync())?).await?;
        check(answer.headers())?;
        let whole = answer.into_body().collect().await?;
        whole.trailers().map_or(Ok(()), check)?;
        let mut bytes = whole.to_bytes();
        take(&mut bytes)?.ok_or_else(|| "no message came".into())
    }

    /// `watchers` of `key` on one stream; gives what comes once all are there.
    pub async fn watch(&self, key: &'static str, watchers: usize) -> Result<Watches, Failure> {
        let (keep, requests) = futures::channel::mpsc::unbounded();
        for _ in 0..watchers {
            let create = Watch { create: Some(Range { key: key.into() }) };
            keep.unbounded_send(framed(&create))?;
        }
        let body = StreamBody::new(requests.map(|bytes| Ok(Frame::data(bytes)))).boxed_unsync();
        let mut send = self.send.clone();
        send.ready().await?;
        let answer = send.send_request(self.request("Watch/Watch", body)?).await?;
        check(answer.headers())?;
        let mut watches = Watches { body: answer.into_body(), rest: BytesMut::new(), _keep: keep };
        for _ in 0..watchers {
            if !watches.next().await?.created {
                return Err("a watch was not made".into());
            }
        }
        Ok(watches)
    }
}

/// What comes from a stream of watches.
pub struct Watches {
    body: Incoming,
    rest: BytesMut,
    _keep: futures::channel::mpsc::UnboundedSender<Bytes>,
}

impl Watches {
    pub async fn next(&mut self) -> Result<Watched, Failure> {
        loop {
            if let Some(message) = take(&mut self.rest)? {
                return Ok(message);
            }
            let frame = self.body.frame().await.ok_or("the watch ended")??;
            self.rest.extend_from_slice(&frame.into_data().map_err(|_| "the watch ended")?);
        }
    }
}

fn framed(message: &impl Message) -> Bytes {
    let len = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(len + 5);
    bytes.put_u8(0);
    bytes.put_u32(len as u32);
    // It was made large enough.
    let _ = message.encode(&mut bytes);
    bytes.freeze()
}

/// The next message of `bytes`, where all of it is there.
fn take<A: Message + Default, B: bytes::Buf + AsRef<[u8]>>(bytes: &mut B) -> Result<Option<A>, Failure> {
    let Some([_, a, b, c, d]) = bytes.as_ref().first_chunk::<5>() else { return Ok(None) };
    let len = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
    if bytes.remaining() < len + 5 {
        return Ok(None);
    }
    bytes.advance(5);
    Ok(Some(A::decode(bytes.copy_to_bytes(len))?))
}

fn check(headers: &http::HeaderMap) -> Result<(), Failure> {
    match headers.get("grpc-status") {
        Some(status) if status != "0" => {
            Err(format!("etcd: {status:?} {:?}", headers.get("grpc-message").map(|text| text.to_str())).into())
        }
        _ => Ok(()),
    }
}

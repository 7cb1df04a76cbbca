//! Bodies of requests and responses, in memory or streamed.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use http::Response;
use http::header::{CONTENT_LENGTH, HeaderValue};
use http_body::{Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, StreamBody};

use crate::kube::decode::{Limits, too_large};
use crate::kube::status::Status;
use crate::store::Record;

/// How long a client may take to send its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of a list is gathered before it is handed to the connection, in bytes.
const LIST_CHUNK_BYTES: usize = 128 << 10;

/// A body, of requests and responses alike.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A body that is all here.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// No body.
pub fn empty() -> Body {
    full(Bytes::new())
}

/// A body that comes bit by bit.
pub fn stream(chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    BodyExt::boxed_unsync(StreamBody::new(chunks.map(|chunk| chunk.map(Frame::data))))
}

/// The same answer without its body, as HEAD has it; HTTP/2 breaks where one is sent.
pub fn head(mut response: Response<Body>) -> Response<Body> {
    if let Some(length) = http_body::Body::size_hint(response.body()).exact() {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    *response.body_mut() = empty();
    response
}

/// Reads a request's body, within the bounds of size and time.
pub async fn read(body: Body) -> Result<Bytes, Status> {
    let limit = Limits::REQUEST.max_bytes;
    if http_body::Body::size_hint(&body).lower() > limit as u64 {
        return Err(too_large(limit));
    }
    let collected = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, limit).collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(limit)),
        Ok(Err(error)) => Err(Status::bad_request(format!("the body could not be read: {error}"))),
        Err(_) => Err(Status::new(408, "Timeout", "the body took too long to arrive")),
    }
}

/// A list made of stored objects: nothing is encoded, and only a chunk at a time is copied.
pub struct ListBody {
    head: Option<Bytes>,
    items: VecDeque<Arc<Record>>,
    first: bool,
    tail: Option<Bytes>,
    left: u64,
}

impl ListBody {
    /// `head` ends with `"items":[`, `tail` begins with `]`.
    pub fn new(head: Bytes, items: Vec<Arc<Record>>, tail: Bytes) -> Self {
        let objects: usize = items.iter().map(|record| record.value.len()).sum();
        let left = (head.len() + objects + items.len().saturating_sub(1) + tail.len()) as u64;
        Self { head: Some(head), items: items.into(), first: true, tail: Some(tail), left }
    }

    fn chunk(&mut self) -> Option<Bytes> {
        let mut out = BytesMut::with_capacity(LIST_CHUNK_BYTES.min(usize::try_from(self.left).unwrap_or(0)));
        if let Some(head) = self.head.take() {
            out.extend_from_slice(&head);
        }
        while out.len() < LIST_CHUNK_BYTES {
            let Some(record) = self.items.pop_front() else {
                out.extend_from_slice(&self.tail.take().unwrap_or_default());
                break;
            };
            if !std::mem::take(&mut self.first) {
                out.extend_from_slice(b",");
            }
            out.extend_from_slice(&record.value);
        }
        (!out.is_empty()).then(|| out.freeze())
    }
}

impl http_body::Body for ListBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let chunk = self.chunk();
        if let Some(chunk) = &chunk {
            self.left = self.left.saturating_sub(chunk.len() as u64);
        }
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

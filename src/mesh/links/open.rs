//! Byte streams that this node asks others for.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout_at};

use super::Links;
use super::link::{Busy, Link};
use super::pipe;
use crate::mesh::address::{Class, Failure, Refusal};
use crate::mesh::fabric::{Close, Duplex, ReceiveStream, SendStream};
use crate::mesh::wire::{Frame, MAX_HEADER_FRAME, MAX_OVERHEAD};
use crate::model::NodeId;

impl Links {
    /// Opens a byte stream; gives what the other side granted it with.
    pub async fn open(
        &self,
        to: &NodeId,
        class: Class,
        actor: &Arc<str>,
        version: u16,
        header: Bytes,
        deadline: Duration,
    ) -> Result<(Bytes, Duplex), Failure> {
        let until = Instant::now() + deadline.min(super::MAX_DEADLINE);
        let deadline_ms = u32::try_from(deadline.as_millis().max(1)).unwrap_or(u32::MAX);
        let frame = Frame::Open { actor: actor.clone(), class, version, deadline_ms, body: header };
        if frame.payload() + MAX_OVERHEAD > MAX_HEADER_FRAME {
            return Err(Refusal::Failed(format!("a header of {} bytes is too large", frame.payload())).into());
        }
        for _ in 0..super::ATTEMPTS {
            let link = self.link_until(to, until).await?;
            let busy = Arc::new(link.busy());
            match timeout_at(until, link.channel.open()).await {
                Ok(Ok(duplex)) => return ask(&link, busy, duplex, &frame, until).await,
                Ok(Err(_)) => link.end(Close::Stopping),
                Err(_) => {
                    self.counters().shed.of(class).add_one();
                    return Err(Failure::Shed(to.clone()));
                }
            }
        }
        Err(Failure::Unreachable(to.clone()))
    }
}

/// Asks for a byte stream on a fresh stream of `link`.
pub(super) async fn ask(
    link: &Arc<Link>,
    busy: Arc<Busy>,
    mut duplex: Duplex,
    frame: &Frame,
    until: Instant,
) -> Result<(Bytes, Duplex), Failure> {
    if let Frame::Open { class, .. } = frame {
        duplex.send.set_priority(pipe::priority(*class));
    }
    let asked = async {
        pipe::write_one(frame, &mut *duplex.send).await?;
        pipe::read_one(&mut *duplex.receive).await
    };
    let lost = || Failure::Lost(link.peer.clone());
    let answer = timeout_at(until, asked).await.map_err(|_| Failure::Timeout)?.map_err(|_| lost())?;
    match answer {
        Frame::Granted { body } => {
            let send = Box::new(Held { inner: duplex.send, _busy: busy.clone() });
            let receive = Box::new(Held { inner: duplex.receive, _busy: busy });
            Ok((body, Duplex { send, receive }))
        }
        Frame::Refused { refusal, .. } => Err(refusal.into()),
        _ => {
            link.context.counters.malformed.add_one();
            Err(lost())
        }
    }
}

/// Half of a stream; its connection is not idle while it is held.
struct Held<S: ?Sized> {
    _busy: Arc<Busy>,
    inner: Box<S>,
}

impl AsyncWrite for Held<dyn SendStream> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.inner).poll_shutdown(cx)
    }
}

impl SendStream for Held<dyn SendStream> {
    fn set_priority(&self, priority: i32) {
        self.inner.set_priority(priority);
    }
}

impl AsyncRead for Held<dyn ReceiveStream> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.inner).poll_read(cx, bytes)
    }
}

impl ReceiveStream for Held<dyn ReceiveStream> {}

//! The actors that a node exports: a table from name to handler, and the messages that they speak.

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::address::{Class, Refusal};
use super::fabric::Duplex;
use crate::model::NodeId;

/// Messages between two actors: what is asked and what is answered, under a version.
pub trait Protocol: Send + Sync + 'static {
    /// Name that its handler is exported under, unless an address says otherwise.
    const ACTOR: &'static str;
    /// Version that callers of this build speak.
    const VERSION: u16;
    /// Oldest version that handlers of this build still read.
    const OLDEST: u16 = Self::VERSION;
    /// Stream that it travels on.
    const CLASS: Class;
    /// What is asked.
    type Request: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What is answered.
    type Answer: Serialize + DeserializeOwned + Send + Sync + 'static;
}

/// Answers the calls of a protocol.
#[async_trait]
pub trait Handler<P: Protocol>: Send + Sync + 'static {
    /// Answers `from`, whose name is certain. Dropped where the caller gives up.
    async fn handle(&self, from: &NodeId, request: P::Request) -> Result<P::Answer, Refusal>;
}

/// Takes byte streams.
#[async_trait]
pub trait Streams: Send + Sync + 'static {
    /// Says whether `from` may have the stream that `header` asks for; once it may, [`Stream::serve`] is called.
    async fn open(&self, from: &NodeId, version: u16, header: Bytes) -> Result<Box<dyn Stream>, Refusal>;
}

/// A stream that was granted.
#[async_trait]
pub trait Stream: Send + 'static {
    /// Bytes that the caller gets with the grant, before the stream's own.
    fn grant(&mut self) -> Bytes {
        Bytes::new()
    }

    /// Serves it to its end. Dropped where the connection ends.
    async fn serve(self: Box<Self>, duplex: Duplex);
}

/// The table of exported actors. Cheap to clone; clones see the same table.
#[derive(Clone, Default)]
pub struct Exports {
    table: Arc<RwLock<BTreeMap<Arc<str>, Entry>>>,
}

/// What is exported under one name: calls, byte streams, or both.
#[derive(Clone, Default)]
struct Entry {
    calls: Option<Arc<dyn Calls>>,
    streams: Option<(RangeInclusive<u16>, Arc<dyn Streams>)>,
    gone: CancellationToken,
}

/// A handler whose protocol is known only to itself.
#[async_trait]
pub(super) trait Calls: Send + Sync {
    /// The `Arc<dyn Handler<P>>`, for callers of the same process.
    fn typed(&self) -> &dyn Any;

    /// Versions that it reads.
    fn versions(&self) -> RangeInclusive<u16>;

    /// Answers an encoded request.
    async fn answer(&self, from: &NodeId, body: Bytes) -> Result<Bytes, Refusal>;
}

struct Typed<P: Protocol>(Arc<dyn Handler<P>>);

#[async_trait]
impl<P: Protocol> Calls for Typed<P> {
    fn typed(&self) -> &dyn Any {
        &self.0
    }

    fn versions(&self) -> RangeInclusive<u16> {
        P::OLDEST..=P::VERSION
    }

    async fn answer(&self, from: &NodeId, body: Bytes) -> Result<Bytes, Refusal> {
        let request =
            rmp_serde::from_slice(&body).map_err(|error| Refusal::UnknownMessage(format!("{}: {error}", P::ACTOR)))?;
        drop(body);
        let answer = self.0.handle(from, request).await?;
        let bytes = rmp_serde::to_vec_named(&answer)
            .map_err(|error| Refusal::Failed(format!("the answer cannot be encoded: {error}")))?;
        Ok(bytes.into())
    }
}

impl Exports {
    /// Exports a handler under `actor`; replaces the one that was there, of which calls under way still end. Byte
    /// streams under the same name stay. Ends with [`Exports::withdraw`].
    pub fn serve<P: Protocol>(&self, actor: &str, handler: Arc<dyn Handler<P>>) {
        self.table.write().entry(actor.into()).or_default().calls = Some(Arc::new(Typed(handler)));
    }

    /// Exports a taker of byte streams under `actor`, oldest and newest version of headers that it reads.
    pub fn serve_streams(&self, actor: &str, versions: RangeInclusive<u16>, streams: Arc<dyn Streams>) {
        self.table.write().entry(actor.into()).or_default().streams = Some((versions, streams));
    }

    /// The actor is gone: whoever watches it is told. Calls and streams under way still end.
    pub fn withdraw(&self, actor: &str) {
        if let Some(entry) = self.table.write().remove(actor) {
            entry.gone.cancel();
        }
    }

    /// Cancelled when the actor is withdrawn; `None` where it is not exported.
    pub(super) fn gone(&self, actor: &str) -> Option<CancellationToken> {
        self.table.read().get(actor).map(|entry| entry.gone.clone())
    }

    /// The handler of the actor's calls for a message of `version`.
    pub(super) fn calls(&self, actor: &str, version: u16) -> Result<Arc<dyn Calls>, Refusal> {
        let calls = self.table.read().get(actor).and_then(|entry| entry.calls.clone());
        let calls = calls.ok_or_else(|| Refusal::UnknownActor(actor.to_owned()))?;
        check_version(version, &calls.versions())?;
        Ok(calls)
    }

    /// The handler of `P` under this name, for callers of the same process.
    pub(super) fn typed<P: Protocol>(&self, actor: &str) -> Result<Arc<dyn Handler<P>>, Refusal> {
        let table = self.table.read();
        let calls = table.get(actor).and_then(|entry| entry.calls.as_ref());
        let calls = calls.ok_or_else(|| Refusal::UnknownActor(actor.to_owned()))?;
        let handler = calls.typed().downcast_ref::<Arc<dyn Handler<P>>>().cloned();
        handler.ok_or_else(|| Refusal::UnknownMessage(format!("{actor} does not speak {}", P::ACTOR)))
    }

    /// The taker of the actor's byte streams for a header of `version`.
    pub(super) fn streams(&self, actor: &str, version: u16) -> Result<Arc<dyn Streams>, Refusal> {
        let streams = self.table.read().get(actor).and_then(|entry| entry.streams.clone());
        let (versions, streams) = streams.ok_or_else(|| Refusal::UnknownActor(actor.to_owned()))?;
        check_version(version, &versions)?;
        Ok(streams)
    }
}

fn check_version(asked: u16, spoken: &RangeInclusive<u16>) -> Result<(), Refusal> {
    if spoken.contains(&asked) {
        return Ok(());
    }
    Err(Refusal::Version { asked, oldest: *spoken.start(), newest: *spoken.end() })
}

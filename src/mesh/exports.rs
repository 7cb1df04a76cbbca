//! The actors that a node exports: a table from name to handler, and the messages that they speak.

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

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
pub struct Exports {}

impl Exports {
    /// Exports a handler under `actor`; replaces the one that was there. Ends with [`Exports::withdraw`].
    pub fn serve<P: Protocol>(&self, actor: &str, handler: std::sync::Arc<dyn Handler<P>>) {
        todo!()
    }

    /// Exports a taker of byte streams under `actor`, oldest and newest version of headers that it reads.
    pub fn serve_streams(&self, actor: &str, versions: std::ops::RangeInclusive<u16>, streams: std::sync::Arc<dyn Streams>) {
        todo!()
    }

    /// The actor is gone: whoever watches it is told.
    pub fn withdraw(&self, actor: &str) {
        todo!()
    }
}

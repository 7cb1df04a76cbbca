//! What every simulated node exports: a counter, an echo, a slow one, one that comes and goes, and a byte stream.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Desk;
use crate::mesh::address::{Class, Refusal};
use crate::mesh::exports::{Exports, Handler, Protocol, Stream, Streams};
use crate::mesh::fabric::Duplex;
use crate::model::NodeId;
use crate::sim::mesh::history::{Execution, Span, Who};
use crate::sim::mesh::time::{At, NodeClock};
use crate::sim::mesh::workload::{Shared, pause};
use crate::world::entropy::Rng;

/// The actor that counts.
pub const COUNTER: &str = "counter";
/// The actor that says things again.
pub const ECHO: &str = "echo";
/// The actor that takes long.
pub const SLOW: &str = "slow";
/// The actor that comes and goes.
pub const FICKLE: &str = "fickle";
/// The byte stream.
pub const PIPE: &str = "pipe";

/// What is asked: the number of the call and something to carry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ask {
    /// The call's number.
    pub call: u64,
    /// How long the actor takes.
    pub takes_ms: u64,
    /// Ballast.
    pub ballast: Vec<u8>,
}

/// What is answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reply {
    /// The number of the call that is answered.
    pub call: u64,
    /// Who answers.
    pub node: NodeId,
    /// Which start of its process.
    pub generation: u64,
    /// The ballast again.
    pub ballast: Vec<u8>,
}

macro_rules! protocol {
    ($(#[$doc:meta])* $name:ident, $actor:expr, $class:expr) => {
        $(#[$doc])*
        pub struct $name;

        impl Protocol for $name {
            const ACTOR: &'static str = $actor;
            const VERSION: u16 = 1;
            const CLASS: Class = $class;
            type Request = Ask;
            type Answer = Reply;
        }
    };
}

protocol!(
    /// Messages of the counter.
    Counting, COUNTER, Class::Control
);
protocol!(
    /// Messages of the echo.
    Echoing, ECHO, Class::Watch
);
protocol!(
    /// Messages of the slow one.
    Dawdling, SLOW, Class::Bulk
);
protocol!(
    /// Messages of the one that comes and goes.
    Visiting, FICKLE, Class::Control
);

/// What an actor needs to write down what it does. It outlives no life.
#[derive(Clone)]
pub struct Scribe {
    /// Which life.
    pub who: Who,
    /// Its clock.
    pub clock: Arc<NodeClock>,
    /// What all share.
    pub shared: Shared,
}

impl Scribe {
    fn executed(&self, call: u64) {
        let at = self.clock.global();
        self.shared.history.lock().executions.push(Execution { call, on: self.who.clone(), at });
        self.shared.trace.note(format!("{} carries out {call}", self.who.node));
    }

    fn exported(&self, actor: &str, at: At) {
        self.shared.history.lock().exports.push((self.who.clone(), actor.to_owned(), Span::open(at)));
    }

    fn withdrawn(&self, actor: &str, at: At) {
        let mut history = self.shared.history.lock();
        let mine = history.exports.iter_mut().rev().find(|(who, name, _)| *who == self.who && name == actor);
        if let Some((_, _, span)) = mine {
            span.to = Some(at);
        }
    }
}

#[async_trait]
impl<P: Protocol<Request = Ask, Answer = Reply>> Handler<P> for Scribe {
    async fn handle(&self, _from: &NodeId, request: Ask) -> Result<Reply, Refusal> {
        self.executed(request.call);
        if request.takes_ms > 0 {
            tokio::time::sleep(Duration::from_millis(request.takes_ms)).await;
        }
        let Who { node, generation } = self.who.clone();
        Ok(Reply { call: request.call, node, generation, ballast: request.ballast })
    }
}

#[async_trait]
impl Streams for Scribe {
    async fn open(&self, _from: &NodeId, _version: u16, header: Bytes) -> Result<Box<dyn Stream>, Refusal> {
        let call = header.as_ref().try_into().map(u64::from_le_bytes);
        let call = call.map_err(|_| Refusal::UnknownMessage("no number".into()))?;
        self.executed(call);
        Ok(Box::new(Echo(header)))
    }
}

/// A stream whose bytes come back.
struct Echo(Bytes);

#[async_trait]
impl Stream for Echo {
    fn grant(&mut self) -> Bytes {
        self.0.clone()
    }

    async fn serve(self: Box<Self>, mut duplex: Duplex) {
        let mut buffer = vec![0; 4096];
        while let Ok(count @ 1..) = duplex.receive.read(&mut buffer).await {
            if duplex.send.write_all(buffer.get(..count).unwrap_or_default()).await.is_err() {
                return;
            }
        }
        let _ = duplex.send.shutdown().await;
    }
}

/// Exports everything but the one that comes and goes.
pub fn export(exports: &Exports, scribe: &Scribe) {
    let at = scribe.clock.global();
    let actor = Arc::new(scribe.clone());
    exports.serve::<Counting>(COUNTER, actor.clone());
    exports.serve::<Echoing>(ECHO, actor.clone());
    exports.serve::<Dawdling>(SLOW, actor.clone());
    exports.serve_streams(PIPE, 1..=1, actor);
    [COUNTER, ECHO, SLOW, PIPE].iter().for_each(|name| scribe.exported(name, at));
}

/// Exports the one that comes and goes, again and again.
pub async fn come_and_go(desk: Desk, mut rng: Rng) {
    let scribe = Scribe { who: desk.who.clone(), clock: Arc::clone(&desk.clock), shared: desk.shared.clone() };
    loop {
        pause(&mut rng, 200, 4_000).await;
        let at = desk.clock.global();
        desk.mesh.exports().serve::<Visiting>(FICKLE, Arc::new(scribe.clone()));
        scribe.exported(FICKLE, at);
        pause(&mut rng, 500, 20_000).await;
        scribe.withdrawn(FICKLE, desk.clock.global());
        desk.mesh.exports().withdraw(FICKLE);
        desk.shared.trace.note(format!("{} withdraws {FICKLE}", desk.who.node));
    }
}

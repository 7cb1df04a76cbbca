//! The task that owns the core: carries its effects out over a [`Carrier`] and publishes what it sees.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::core::Membership;
use super::effect::{Effect, Recipient, Seed};
use crate::mesh::member::{Meta, SharedView};
use crate::model::{NodeId, Timestamp};

/// Most commands that wait; whoever sends more waits for room.
pub const MAX_COMMANDS: usize = 64;
/// How often the view is published at most, for every thousand members.
const PUBLISH_PERIOD: Duration = Duration::from_millis(10);

/// Carries datagrams between members. They may be lost, doubled and reordered, never changed.
#[async_trait]
pub trait Carrier: Send + Sync + 'static {
    /// Sends a datagram, or drops it; must not wait for the network for long.
    async fn send(&self, to: &Recipient, datagram: Bytes);

    /// Waits for a datagram and gives the sender's certain name. Cancel-safe.
    async fn receive(&self) -> (NodeId, Bytes);
}

/// What the driver is asked.
#[derive(Debug)]
pub enum Command {
    /// Tell this about this node. What is too large is dropped and logged.
    Tell(Meta),
    /// Ask these first.
    Join(Vec<Seed>),
    /// Say goodbye; answered once the goodbyes are sent. The driver ends.
    Leave(oneshot::Sender<()>),
}

/// Runs `core` until it has left or nobody can command it any more. `started` is this node's clock at the call: the
/// core's time goes on from there with tokio's clock, so that steps of the wall clock do not look like pauses.
pub async fn run(
    core: Membership,
    carrier: Arc<dyn Carrier>,
    started: Timestamp,
    mut commands: mpsc::Receiver<Command>,
    view: watch::Sender<SharedView>,
) {
    let mut driver = Driver { core, carrier, started, origin: Instant::now(), view, publish_at: None };
    driver.carry_out().await;
    loop {
        let due = driver.next_wake();
        tokio::select! {
            biased;
            command = commands.recv() => match command {
                None => return,
                Some(command) => if driver.command(command).await { return },
            },
            (from, datagram) = driver.carrier.receive() => {
                let now = driver.now();
                driver.core.received(now, &from, &datagram);
            }
            () = tokio::time::sleep_until(due) => {
                let now = driver.now();
                driver.core.due(now);
            }
        }
        driver.carry_out().await;
    }
}

struct Driver {
    core: Membership,
    carrier: Arc<dyn Carrier>,
    started: Timestamp,
    origin: Instant,
    view: watch::Sender<SharedView>,
    /// When a changed view is published.
    publish_at: Option<Instant>,
}

impl Driver {
    fn now(&self) -> Timestamp {
        self.started + self.origin.elapsed()
    }

    fn next_wake(&self) -> Instant {
        let idle = Duration::from_secs(1);
        let core = self.core.next_due().map_or(idle, |due| due.since(self.started));
        let core = self.origin + core;
        self.publish_at.map_or(core, |at| at.min(core))
    }

    /// Says whether the driver ends.
    async fn command(&mut self, command: Command) -> bool {
        let now = self.now();
        match command {
            Command::Tell(meta) => {
                if let Err(error) = self.core.tell(now, meta) {
                    tracing::warn!(%error, "not told");
                }
            }
            Command::Join(seeds) => self.core.join(now, seeds),
            Command::Leave(done) => {
                self.core.leave(now);
                self.carry_out().await;
                // The caller may have given up.
                let _ = done.send(());
                return true;
            }
        }
        false
    }

    async fn carry_out(&mut self) {
        let effects: Vec<Effect> = self.core.drain().collect();
        let now = Instant::now();
        for effect in effects {
            match effect {
                Effect::Send { to, bytes } => self.carrier.send(&to, bytes).await,
                Effect::Changed => {
                    let members = self.view.borrow().members.len();
                    let wait = PUBLISH_PERIOD * u32::try_from(members / 1_000).unwrap_or(u32::MAX);
                    self.publish_at.get_or_insert(now + wait);
                }
            }
        }
        if self.publish_at.is_some_and(|at| at <= now) {
            self.publish_at = None;
            self.view.send_replace(Arc::new(self.core.view()));
        }
    }
}

//! Drives membership over the links of a mesh: what gossip sends, receives and sees.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use rand::RngCore as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::mesh::handle::Surroundings;
use crate::mesh::links::datagrams::Datagrams;
use crate::mesh::membership::{Carrier, Command, MAX_COMMANDS, Membership, Recipient, Seed, Settings, run};
use crate::model::NodeId;

/// Dials of seeds that are under way at once; further ones are dropped.
const MAX_DIALS: usize = 64;

/// Runs membership until the mesh ends.
pub async fn drive(surroundings: Surroundings) -> std::io::Error {
    let Surroundings { me, generation, peers, view, meta, datagrams, leave, world } = surroundings;
    let started = world.clock.now();
    let seed = world.entropy.fork().next_u64();
    let first = meta.borrow().clone();
    let Ok(mut core) = Membership::new(&me, generation, first, Settings::default(), seed, started) else {
        return std::io::Error::other("what the node tells is too large");
    };
    core.join(started, peers.into_iter().map(|(node, address)| Seed { node, address }));
    let (commands, commanded) = mpsc::channel(MAX_COMMANDS);
    let carrier = Arc::new(Wire { datagrams, dials: Mutex::new(JoinSet::new()) });
    let forwarded = forward(meta, leave, commands);
    tokio::select! {
        () = run(core, carrier, started, commanded, view) => {}
        () = forwarded => {}
    }
    // A node that has left stays until it is stopped.
    std::future::pending().await
}

/// Hands over what the node tells and its goodbye.
async fn forward(
    mut meta: tokio::sync::watch::Receiver<crate::mesh::member::Meta>,
    mut leave: mpsc::Receiver<tokio::sync::oneshot::Sender<()>>,
    commands: mpsc::Sender<Command>,
) {
    loop {
        let command = tokio::select! {
            changed = meta.changed() => match changed {
                Ok(()) => Command::Tell(meta.borrow_and_update().clone()),
                Err(_) => return std::future::pending().await,
            },
            said = leave.recv() => match said {
                Some(said) => Command::Leave(said),
                None => return std::future::pending().await,
            },
        };
        if commands.send(command).await.is_err() {
            return;
        }
    }
}

struct Wire {
    datagrams: Datagrams,
    dials: Mutex<JoinSet<()>>,
}

#[async_trait]
impl Carrier for Wire {
    async fn send(&self, to: &Recipient, datagram: Bytes) {
        match to {
            Recipient::Member(node) | Recipient::Seed(Seed { node: Some(node), .. }) => {
                self.datagrams.send(node, datagram);
            }
            Recipient::Seed(Seed { node: None, address }) => {
                let (datagrams, at) = (self.datagrams.clone(), *address);
                let mut dials = self.dials.lock();
                while dials.try_join_next().is_some() {}
                if dials.len() < MAX_DIALS {
                    dials.spawn(async move {
                        let _ = datagrams.send_to_address(at, datagram).await;
                    });
                }
            }
        }
    }

    async fn receive(&self) -> (NodeId, Bytes) {
        match self.datagrams.receive().await {
            Some(received) => received,
            None => std::future::pending().await,
        }
    }
}

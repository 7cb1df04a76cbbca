//! This node as a place to run pods: follows the pods that are bound to it, supervises each, and registers the node.
//!
//! Rooms: `parts` what the agent is given; `pod` one pod's supervisor; `follow` the stream of objects; `roster` who
//! supervises what; `orphans` what nobody supervises; `node` the Node object and its lease; `spec` what runtimes are
//! asked with; `fence` whether the quorum still hears the node; `probing`, `puller`, `credentials` the work of actions;
//! `gateway` logs and exec for the API.

mod credentials;
mod fence;
mod follow;
pub mod gateway;
mod node;
mod orphans;
pub mod parts;
mod pod;
mod probing;
mod puller;
mod roster;
mod spec;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::FutureExt as _;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};

use super::supervisor::Child;
use crate::kube::object::Object;
use crate::store::watch::Batch;
pub use gateway::LocalGateway;
pub use parts::{Machine, NodeSettings, Objects, Parts, Quorum};
pub use puller::ImagePuller;
use roster::Roster;

/// The actor.
pub struct Agent;

/// What it is told.
pub enum Message {
    /// Every pod there is; sent at start and wherever the stream of changes was interrupted. Answered when taken in, so
    /// that the follower never runs ahead.
    Listed(Vec<Arc<Object>>, RpcReplyPort<()>),
    /// Changes after that, in order.
    Changed(Batch, RpcReplyPort<()>),
    /// Start a pod's supervisor again.
    Revive(String),
    /// Compare the node object with the node.
    SyncNode,
    /// Look for what no pod accounts for.
    Sweep,
    /// Judge the pods that must not run twice.
    Judge,
    /// Pod uids of all that is on the node.
    Present(BTreeSet<String>),
}

impl Agent {
    /// The agent as a child of a supervisor, under the name `agent`.
    pub fn child(parts: Parts) -> Child {
        let start = move |parent| {
            let parts = parts.clone();
            async move { Ok(Actor::spawn_linked(None, Self, parts, parent).await?.0.get_cell()) }.boxed()
        };
        Child { name: "agent".into(), start: Box::new(start) }
    }
}

impl Actor for Agent {
    type Msg = Message;
    type State = Roster;
    type Arguments = Parts;

    async fn pre_start(&self, myself: ActorRef<Message>, parts: Parts) -> Result<Roster, ActorProcessingErr> {
        Roster::start(myself, parts).await
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        roster: &mut Roster,
    ) -> Result<(), ActorProcessingErr> {
        roster.reap();
        match message {
            Message::Listed(pods, reply) => {
                roster.listed(pods).await?;
                let _ = reply.send(());
            }
            Message::Changed(batch, reply) => {
                roster.changed(&batch).await?;
                let _ = reply.send(());
            }
            Message::Revive(uid) => roster.revive(&uid).await?,
            Message::SyncNode => roster.sync_node(),
            Message::Judge => roster.judge(),
            Message::Sweep => roster.sweep(),
            Message::Present(here) => roster.present(here),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Message>,
        event: SupervisionEvent,
        roster: &mut Roster,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(actor, _, _) => roster.ended(actor.get_id()),
            SupervisionEvent::ActorFailed(actor, error) => roster.failed(actor.get_id(), &error.to_string()),
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}

//! One pod's supervisor: collects what is known, asks for the next step, has it done, reports, and waits.
//!
//! Rooms: `state` its memory and turn; `perform` how an action is done; `report` status, events and deletion.

pub mod perform;
mod report;
mod state;

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::parts::Parts;
use crate::kube::object::Object;
use crate::model::{ObjectKey, Revision};
use crate::plan::fencing::Verdict;
use crate::plan::pod::adopt::Found;
use crate::plan::pod::{Action, Outcome, Terminated};
use crate::runtime::PodAddresses;
pub use state::State;

/// The actor.
pub struct PodSupervisor;

/// What it starts with.
pub struct Start {
    /// The doors.
    pub parts: Parts,
    /// The pod.
    pub pod: Arc<Object>,
    /// What the runtime has of it.
    pub found: Vec<Found>,
    /// Whether the runtime has its sandbox.
    pub sandbox: bool,
    /// Causal id of the request that bound it here.
    pub cause: u64,
    /// What the node may do with it.
    pub fence: Verdict,
}

/// What it is told.
pub enum Message {
    /// A newer version of the pod.
    Changed(Arc<Object>),
    /// The pod object is gone.
    Gone,
    /// A config map or secret of the pod's namespace has changed.
    Refresh(ObjectKey),
    /// An action has ended.
    Finished(Box<(Action, Outcome)>),
    /// The network is attached.
    Attached(PodAddresses),
    /// A container has ended.
    Exited {
        /// Which.
        container: String,
        /// Its incarnation.
        attempt: u32,
        /// How.
        end: Terminated,
    },
    /// What the node may do with the pod has changed.
    Fence(Verdict),
    /// It is time to look again.
    Wake,
    /// The status may be written now.
    Flush,
    /// A status write has ended: the revision it made, or whether the pod is gone.
    Written(Result<Option<Revision>, WriteFailure>),
}

/// Why a status could not be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteFailure {
    /// The pod object is gone, or is another one of the same name.
    Gone,
    /// It has a newer version.
    Conflict,
    /// Anything else; tried again.
    Other(String),
}

impl Actor for PodSupervisor {
    type Msg = Message;
    type State = State;
    type Arguments = Start;

    async fn pre_start(&self, myself: ActorRef<Message>, start: Start) -> Result<State, ActorProcessingErr> {
        let mut state = State::new(myself, start)?;
        state.watch_running();
        state.turn()?;
        Ok(state)
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        state.reap();
        match message {
            Message::Changed(pod) => state.changed(pod)?,
            Message::Gone => state.gone(),
            Message::Refresh(key) => state.refresh(&key),
            Message::Finished(done) => state.finished(&done.0, done.1),
            Message::Attached(addresses) => state.attached(addresses),
            Message::Exited { container, attempt, end } => state.exited(&container, attempt, end),
            Message::Fence(verdict) => state.fence(verdict),
            Message::Wake => {}
            Message::Flush => state.flush(),
            Message::Written(result) => state.written(result),
        }
        state.turn()?;
        Ok(())
    }
}

//! What every node asks of the cluster's authority, wherever that is: the call goes to the node that leads.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::mesh::address::{Address, Class, Failure, Refusal};
use crate::mesh::exports::Protocol;
use crate::mesh::handle::Mesh;
use crate::mesh::identity::NodeRequest;
use crate::model::NodeId;
use crate::store::Store;

/// How long one call may take.
const CALL: Duration = Duration::from_secs(5);
/// How long a leader is looked for.
const SEARCH: Duration = Duration::from_secs(6);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// The messages.
pub struct AuthorityCalls;

impl Protocol for AuthorityCalls {
    const ACTOR: &'static str = "authority";
    const VERSION: u16 = 1;
    const CLASS: Class = Class::Control;
    type Request = Ask;
    type Answer = Told;
}

/// What is asked. Variants are only added at the end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Ask {
    /// Let a node in: a join request as it came.
    Join(Bytes),
    /// Sign a new certificate for the asking node.
    Renew(NodeRequest),
    /// Remove a node: it is refused by everybody from now on.
    Remove(NodeId),
    /// Replace the authority by a new one, step by step.
    Rotate,
    /// Replace the asking node's replica by one with a new number.
    Renumber,
}

/// What is answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Told {
    /// A join answer as it goes out.
    Joined(Bytes),
    /// The new certificate, then the authority's, PEM; and the authorities to believe.
    Renewed {
        /// Chain.
        chain_pem: String,
        /// Bundle.
        authorities_pem: String,
    },
    /// It is done; what there is to say.
    Done(String),
    /// The number of the asking node's new replica.
    Number(u64),
}

/// Asks the authority.
#[derive(Clone)]
pub struct Desk {
    mesh: Mesh,
    store: Store,
}

impl Desk {
    /// A desk of this node.
    pub fn new(mesh: Mesh, store: Store) -> Self {
        Self { mesh, store }
    }

    /// Asks the leader's authority; looks for another leader where it certainly was not asked.
    ///
    /// # Errors
    /// The last failure. `Timeout` and `Lost` leave open whether it was done.
    pub async fn ask(&self, ask: Ask) -> Result<Told, Failure> {
        let until = Instant::now() + SEARCH;
        loop {
            let failure = match self.store.leader() {
                Some(leader) => {
                    let to = Address::new(&NodeId(leader.into()), AuthorityCalls::ACTOR);
                    match self.mesh.call::<AuthorityCalls>(&to, ask.clone(), CALL).await {
                        Ok(told) => return Ok(told),
                        Err(failure) => failure,
                    }
                }
                None => Refusal::Failed("no leader is known".into()).into(),
            };
            let again = matches!(failure, Failure::Unreachable(_) | Failure::Shed(_))
                || matches!(&failure, Failure::Refused(Refusal::Busy | Refusal::UnknownActor(_)))
                || self.store.leader().is_none();
            if !again || Instant::now() >= until {
                return Err(failure);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

//! The authority's key among those who may lead: whoever leads gives it to a node before that votes, and again whenever
//! it changes. It travels over the mesh only, and lies in private files only.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::keeper::Trustees;
use crate::mesh::address::{Address, Class, Refusal};
use crate::mesh::exports::{Exports, Handler, Protocol};
use crate::mesh::handle::Mesh;
use crate::mesh::identity::{Held, Identity, Keys, LiveIdentity};
use crate::model::NodeId;
use crate::store::Store;
use crate::world::World;

/// How long one gift may take.
const GIVE_WITHIN: Duration = Duration::from_secs(2);

/// The messages.
pub struct KeyCalls;

impl Protocol for KeyCalls {
    const ACTOR: &'static str = "authority/keys";
    const VERSION: u16 = 1;
    const CLASS: Class = Class::Control;
    type Request = Keys;
    type Answer = Held;
}

/// This node's part: it takes the keys from the leader, and gives them where it leads.
#[derive(Clone)]
pub struct KeyRing {
    /// Keys on disk.
    pub identity: Arc<Mutex<Identity>>,
    /// What this node believes.
    pub live: LiveIdentity,
    /// Who leads.
    pub store: Store,
    /// The way to the others.
    pub mesh: Mesh,
    /// Clock.
    pub world: World,
}

impl KeyRing {
    /// Lets the leader give this node the keys.
    pub fn export(&self, exports: &Exports) {
        exports.serve::<KeyCalls>(KeyCalls::ACTOR, Arc::new(self.clone()));
    }
}

#[async_trait]
impl Handler<KeyCalls> for KeyRing {
    async fn handle(&self, from: &NodeId, keys: Keys) -> Result<Held, Refusal> {
        if self.store.leader().as_deref() != Some(&*from.0) {
            return Err(Refusal::Forbidden(format!("{from} does not lead as far as this node knows")));
        }
        let mut identity = self.identity.lock();
        let failed = |error: &dyn std::fmt::Display| Refusal::Failed(error.to_string());
        let held = identity.entrust(keys, self.world.clock.now()).map_err(|error| failed(&error))?;
        self.live.trust(identity.bundle()).map_err(|error| failed(&error))?;
        tracing::info!(leader = %from, authority = %held.authority, "this node may lead: it holds the authority's key");
        Ok(held)
    }
}

#[async_trait]
impl Trustees for KeyRing {
    fn held(&self) -> Option<Held> {
        self.identity.lock().held()
    }

    async fn give(&self, node: &str) -> Result<Held, String> {
        let keys = self.identity.lock().keys().ok_or("the authority's key is not on this node")?;
        let to = Address::new(&NodeId(node.into()), KeyCalls::ACTOR);
        self.mesh.call::<KeyCalls>(&to, keys, GIVE_WITHIN).await.map_err(|failure| failure.to_string())
    }

    fn dismiss(&self) {
        if let Err(error) = self.identity.lock().dismiss() {
            tracing::warn!(%error, "the authority's key could not be forgotten");
        }
    }
}

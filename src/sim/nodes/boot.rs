//! A node's tree on a simulated machine: what every node has, and of its part in the cluster what keeps voters and
//! placements and declares the dead. The authority's key, which the simulated network does not use, is held by all.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;

use super::body::{Body, DECLARE_AFTER};
use crate::actors::cluster::keeper::{Keeper, Trustees};
use crate::actors::cluster::ledger::Ledger;
use crate::actors::liveness::Liveness;
use crate::actors::node::{Core, Node};
use crate::actors::supervisor::Child;
use crate::mesh::handle::Mesh;
use crate::mesh::identity::{Fingerprint, Held};
use crate::mesh::membership;
use crate::plan::liveness::decide_after;
use crate::sim::cluster::keeper::TERMS;
use crate::store::Store;
use crate::world::World;

/// How long a node that starts waits for what it missed; it goes on with what it has.
const CATCH_UP: Duration = Duration::from_secs(3);

/// Starts a node.
///
/// # Errors
/// Where its tree does not start.
pub async fn start(body: &Body, name: &str, store: &Store, mesh: &Mesh, world: &World) -> Result<Node, String> {
    if !store.leads() {
        // Nobody may be there yet.
        let _ = timeout(CATCH_UP, store.caught_up()).await;
    }
    let parts = body.parts(name, store.clone(), mesh.clone(), world.clone());
    let share = |core: &Core| share(core, mesh, world);
    Node::assemble(parts, share).await.map_err(|error| error.to_string())
}

/// What a node does for its cluster.
fn share(core: &Core, mesh: &Mesh, world: &World) -> Vec<Child> {
    let store = core.registry.store().clone();
    let keeper = Keeper {
        store: store.clone(),
        mesh: mesh.clone(),
        mirror: core.mirror.clone(),
        ledger: Ledger::new(core.registry.clone()),
        trustees: Arc::new(Everybody),
        world: world.clone(),
        terms: TERMS,
        actors: core.actors.clone(),
        report: core.placement.report().clone(),
        tenure: Arc::default(),
        entrusted: Arc::new(AtomicBool::new(true)),
    };
    let liveness = Liveness {
        store,
        view: mesh.view(),
        mirror: core.mirror.clone(),
        executor: core.registry.clone(),
        world: world.clone(),
        decide_after: decide_after(DECLARE_AFTER),
        doubted_after: membership::Settings::default().suspect_after,
    };
    vec![keeper.child(), liveness.child()]
}

/// Whoever is asked holds the same keys.
struct Everybody;

const KEYS: Held = Held { authority: Fingerprint([1; 32]), successor: None };

#[async_trait]
impl Trustees for Everybody {
    fn held(&self) -> Option<Held> {
        Some(KEYS)
    }

    async fn give(&self, _: &str) -> Result<Held, String> {
        Ok(KEYS)
    }

    fn dismiss(&self) {}
}

//! What runs in a process of the cluster: its replica, its part in keeping the voters, and its users.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rand::{Rng as _, SeedableRng as _};

use super::keeper::Keeper;
use super::site::Office;
use super::witness::Recorder;
use super::workload::actors::{self, ACTORS};
use super::workload::followers::{self, FOLLOWERS};
use super::workload::{Shared, User, registers};
use crate::actors::cluster::replicas::{self, MeshPeers};
use crate::mesh::handle::Mesh;
use crate::model::NodeId;
use crate::sim::mesh::net::Slot;
use crate::sim::mesh::time::NodeClock;
use crate::sim::nodes::body::Body;
use crate::sim::nodes::{boot, users};
use crate::store::witness::Witnessed;
use crate::store::{Driver, Error, FIRST_VOTER, Role, Store, StoreOptions};
use crate::world::World;
use crate::world::entropy::Rng;

/// Clients on each node.
const CLIENTS: usize = 2;
/// Small, so that a run meets segment ends, snapshots and compaction often.
const SEGMENT_BYTES: u64 = 64 * 1024;
const SNAPSHOT_BYTES: u64 = 128 * 1024;
const HISTORY_BYTES: u64 = 96 * 1024;
const HISTORY_AGE: Duration = Duration::from_secs(20);

/// What a process is given.
pub struct Seat {
    /// Its machine.
    pub slot: Slot,
    /// How many machines there are.
    pub nodes: usize,
    /// Which start of it this is.
    pub life: u64,
    /// The node's name.
    pub name: NodeId,
    /// Its replica's number.
    pub raft_id: u64,
    /// Its mesh, which runs already.
    pub mesh: Mesh,
    /// Clock, randomness and disk.
    pub world: World,
    /// The same clock, with the run's time.
    pub clock: Arc<NodeClock>,
    /// Where it shows itself to the run.
    pub office: Office,
    /// Where a whole node's pods run; without it only the store is there, and its users.
    pub body: Option<Body>,
    /// What all share.
    pub shared: Shared,
    /// Decides what its users do.
    pub seed: u64,
}

/// Lives until the store ends.
pub async fn live(seat: Seat) {
    let recorder = Recorder::new(seat.shared.history.clone(), format!("n{}, life {}", seat.slot, seat.life));
    let options = StoreOptions {
        raft_id: seat.raft_id,
        role: if seat.raft_id == FIRST_VOTER { Role::Found } else { Role::Join },
        driver: Driver::Task,
        segment_bytes: SEGMENT_BYTES,
        snapshot_bytes: SNAPSHOT_BYTES,
        history_bytes: HISTORY_BYTES,
        history_age: HISTORY_AGE,
        witness: Witnessed(Some(Arc::new(recorder))),
        ..StoreOptions::new(PathBuf::from("/data/store"), &*seat.name.0)
    };
    let peers = Arc::new(MeshPeers(seat.mesh.clone()));
    let store = match Store::open_with(options, peers, seat.world.clone()).await {
        Ok(store) => store,
        Err(error) => return seat.office.end(error),
    };
    replicas::export(seat.mesh.exports(), &store);
    seat.office.open(store.clone());
    tokio::spawn(keeper(&seat, &store).keep());
    let cause = match &seat.body {
        None => {
            employ(&seat, &store);
            store.failed().await
        }
        Some(body) => be_a_node(&seat, body, &store).await,
    };
    seat.office.end(cause);
}

/// Lives as a whole node, with users of its API, until that or the store ends.
async fn be_a_node(seat: &Seat, body: &Body, store: &Store) -> Error {
    let node = match boot::start(body, &seat.name.0, store, &seat.mesh, &seat.world).await {
        Ok(node) => node,
        Err(why) => {
            seat.shared.trace.note(format!("n{} does not start: {why}", seat.slot));
            return Error::Unavailable;
        }
    };
    let rng = Rng::seed_from_u64(seat.seed ^ 0x7573_6572);
    tokio::spawn(users::work(node.service.clone(), seat.slot, seat.shared.clone(), rng));
    tokio::select! {
        biased;
        cause = store.failed() => cause,
        () = node.failed() => Error::Unavailable,
    }
}

fn keeper(seat: &Seat, store: &Store) -> Keeper {
    Keeper {
        store: store.clone(),
        mesh: seat.mesh.clone(),
        world: seat.world.clone(),
        shared: seat.shared.clone(),
        // A whole node keeps its voters itself.
        plans: seat.body.is_none(),
    }
}

fn employ(seat: &Seat, store: &Store) {
    let user = User {
        slot: seat.slot,
        nodes: seat.nodes,
        store: store.clone(),
        clock: Arc::clone(&seat.clock),
        shared: seat.shared.clone(),
    };
    let mut rng = Rng::seed_from_u64(seat.seed ^ 0x7573_6572);
    let mut fork = || Rng::seed_from_u64(rng.random());
    for _ in 0..CLIENTS {
        tokio::spawn(registers::operate_for_ever(user.clone(), fork()));
    }
    for actor in ACTORS {
        tokio::spawn(actors::take_turns(user.clone(), actor, fork()));
    }
    for number in 0..FOLLOWERS {
        tokio::spawn(followers::follow_for_ever(user.clone(), number, fork()));
    }
}

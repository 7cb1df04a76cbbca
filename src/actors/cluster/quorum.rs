//! The quorum and the control actors as this node knows them, for `shoal status`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::actors::control::report::{Reports, Row};
use crate::actors::mirror::Mirror;
use crate::kube::status::Status;
use crate::mesh::address::Address;
use crate::mesh::exports::Protocol as _;
use crate::mesh::handle::Mesh;
use crate::model::NodeId;
use crate::plan::placement::{self, Placed};
use crate::store::Store;
use crate::store::raft::{Replica, Standing};

/// How long a node is waited for.
const ASK_WITHIN: Duration = Duration::from_secs(1);

/// What telling takes.
pub struct Quorum {
    /// Replicas.
    pub store: Store,
    /// The way to the nodes of control actors.
    pub mesh: Mesh,
    /// Placements.
    pub mirror: Arc<Mirror>,
}

impl Quorum {
    /// See [`crate::api::cluster::Cluster::quorum`].
    ///
    /// # Errors
    /// Where a placement cannot be read.
    pub async fn tell(&self) -> Result<Value, Status> {
        let placed = placement::read(&self.mirror.snapshot().read());
        let placed = placed.map_err(|error| Status::internal(error.to_string()))?;
        let reports = self.reports(&placed).await;
        let actors: Vec<Value> = placed.iter().map(|(name, place)| actor(name, place, &reports)).collect();
        let stats = self.store.stats();
        Ok(json!({
            "me": &*self.mesh.me().0,
            "term": stats.term,
            "revision": stats.revision,
            "leader": self.store.leader(),
            "replicas": self.store.members().iter().map(replica).collect::<Vec<_>>(),
            "disk": {
                "syncP99Micros": u64::try_from(stats.sync_recent_p99.as_micros()).unwrap_or(u64::MAX),
                "full": stats.disk_full,
            },
            "actors": actors,
        }))
    }

    /// What the nodes of control actors say, by actor. A node that does not answer says nothing.
    async fn reports(&self, placed: &BTreeMap<String, Placed>) -> BTreeMap<String, Row> {
        let nodes: BTreeSet<&str> = placed.values().map(|place| place.node.as_str()).collect();
        let asked = nodes.into_iter().map(|node| async move {
            let to = Address::new(&NodeId(node.into()), Reports::ACTOR);
            self.mesh.call::<Reports>(&to, (), ASK_WITHIN).await.unwrap_or_default()
        });
        let rows = futures::future::join_all(asked).await.into_iter().flatten();
        rows.map(|row| (row.actor.clone(), row)).collect()
    }
}

fn replica(one: &Replica) -> Value {
    let standing = match one.standing {
        Standing::Leader => "leader",
        Standing::Voter => "voter",
        Standing::Learner => "learner",
    };
    json!({
        "node": one.node, "raftId": one.raft_id, "standing": standing,
        "matched": one.matched.map(|revision| revision.0), "lag": one.lag,
    })
}

fn actor(name: &str, place: &Placed, reports: &BTreeMap<String, Row>) -> Value {
    let row = reports.get(name).filter(|row| row.epoch == place.epoch);
    let last = row.and_then(|row| row.last.as_ref());
    json!({
        "name": name, "node": place.node, "epoch": place.epoch.0,
        "state": if row.is_some() { "running" } else { "starting" },
        "failures": row.map(|row| row.failures), "queue": row.map(|row| row.queue),
        "lastAction": last.map(|last| json!({ "at": last.at.rfc3339_micro(), "what": last.what })),
    })
}

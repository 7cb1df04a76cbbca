//! Members of the cluster as gossip knows them: plain values that everything above the mesh reads.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{NodeId, Timestamp};

/// Most bytes of [`Meta`] on the wire: an item of gossip must fit a datagram beside others.
pub const MAX_META_BYTES: usize = 512;
/// Most addresses that a node tells.
pub const MAX_ADDRESSES: usize = 4;

/// What gossip holds of a member's life. Gossip may suspect; only the quorum declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Life {
    /// It answers, itself or through others.
    Alive,
    /// It has not answered of late.
    Suspect,
    /// Nobody has reached it for the suspicion's whole time.
    Dead,
    /// It said goodbye.
    Left,
}

/// What a node tells about itself. A higher `version` replaces a lower one of the same generation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Counts the node's own changes.
    pub version: u64,
    /// Where it can be dialled, best first; at most [`MAX_ADDRESSES`].
    pub addresses: Vec<SocketAddr>,
    /// Failure domain; empty where not told.
    pub zone: String,
    /// Addresses of its pods, e.g. `10.244.3.0/24`.
    pub pod_cidr: String,
    /// Cores, thousandths.
    pub capacity_millicores: u64,
    /// Memory.
    pub capacity_bytes: u64,
    /// Load of the last minute in thousandths of a core.
    pub load_millicores: u64,
    /// Newest mesh protocol that the node speaks.
    pub protocol: u16,
    /// Release of the program, e.g. `0.1.0`.
    pub release: String,
    /// `voter` or `learner`.
    pub role: String,
}

/// A member as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Its name.
    pub node: NodeId,
    /// Which start of its process: grows with every restart.
    pub generation: u64,
    /// SWIM's counter of refuted suspicions within a generation.
    pub incarnation: u64,
    /// Its life.
    pub life: Life,
    /// Since when by this node's clock.
    pub since: Timestamp,
    /// What it tells.
    pub meta: Meta,
    /// Round trip, where this node has a connection to it.
    pub round_trip: Option<Duration>,
}

/// All members as this node sees them, itself included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct View {
    /// This node.
    pub me: NodeId,
    /// By name. Dead and left ones stay for a while, see the tombstones of `membership`.
    pub members: BTreeMap<NodeId, Member>,
    /// How unwell this node finds itself (Lifeguard's local health): 0 is well.
    pub local_health: u32,
}

impl View {
    /// A view of nobody but this node.
    pub fn alone(me: Member) -> Self {
        Self { me: me.node.clone(), members: BTreeMap::from([(me.node.clone(), me)]), local_health: 0 }
    }

    /// Those that may be talked to.
    pub fn reachable(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|member| matches!(member.life, Life::Alive | Life::Suspect))
    }
}

/// A shared view; replaced as a whole.
pub type SharedView = Arc<View>;

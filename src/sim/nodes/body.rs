//! What pods need of a simulated machine: containers, images, addresses, volumes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::actors::agent::ImagePuller;
use crate::actors::agent::parts::{Machine as Facts, NodeSettings};
use crate::actors::node::NodeParts;
use crate::api::admission::ServiceAddresses;
use crate::api::service::Limits;
use crate::mesh::handle::Mesh;
use crate::plan::liveness::decide_after;
use crate::runtime::hollow::{Hollow, HollowNetwork, Machine, MachineOptions, MemoryLogs};
use crate::runtime::probe::HollowProber;
use crate::runtime::volume::HollowVolumes;
use crate::sim::mesh::net::Slot;
use crate::sim::mesh::time::NodeClock;
use crate::store::Store;
use crate::world::World;
use crate::world::disk::sim::SimDisk;
use crate::world::entropy::SeededEntropy;

/// Within which a node that has died is declared dead; the same on every node.
pub const DECLARE_AFTER: Duration = Duration::from_secs(3);
/// How long pods that say nothing stay on a node that was declared dead.
pub const TOLERATION: Duration = Duration::from_secs(5);
/// The only image.
pub const IMAGE: &str = "sim.local/app:1";
/// Images that are pulled at the same time.
const PULLS: usize = 4;

/// The part of a machine that pods see. It survives its node's process as long as the power does not go. Cheap to clone.
#[derive(Clone)]
pub struct Body {
    slot: Slot,
    machine: Arc<Machine>,
    volumes: Arc<HollowVolumes>,
}

impl Body {
    /// A machine on which nothing runs yet; `seed` decides how long things take on it.
    pub fn new(slot: Slot, seed: u64, clock: Arc<NodeClock>) -> Self {
        let spread = |most: u64| (Duration::from_millis(1), Duration::from_millis(most));
        let options = MachineOptions {
            pull_latency: spread(500),
            create_latency: spread(50),
            start_latency: spread(100),
            pod_cidr: (Ipv4Addr::new(10, 244, third(slot), 0), 24),
            images: vec![IMAGE.into()],
            ..MachineOptions::default()
        };
        // The pretended machine writes no files.
        let disk = SimDisk::new(seed).boot();
        let machine = Machine::new(options, World { clock, entropy: Arc::new(SeededEntropy::new(seed)), disk });
        Self { slot, machine, volumes: HollowVolumes::new() }
    }

    /// The power goes: containers end.
    pub fn lose_power(&self) {
        self.machine.reboot();
    }

    /// The pretended machine.
    pub fn machine(&self) -> &Arc<Machine> {
        &self.machine
    }

    /// A node's parts on this machine.
    pub fn parts(&self, name: &str, store: Store, mesh: Mesh, world: World) -> NodeParts {
        let runtime = Hollow::new(self.machine.clone());
        NodeParts {
            puller: ImagePuller::new(runtime.clone(), PULLS, None),
            runtime,
            network: HollowNetwork::new(self.machine.clone()),
            volumes: self.volumes.clone(),
            prober: HollowProber::new(),
            logs: MemoryLogs::new(self.machine.clone()),
            agent: self.agent(name),
            services: ServiceAddresses::default(),
            default_toleration: TOLERATION,
            authority_pem: "simulated".into(),
            endpoint: SocketAddr::from((self.address(), 6443)),
            limits: Limits::default(),
            store,
            world,
            mesh: Some(mesh),
        }
    }

    fn agent(&self, name: &str) -> NodeSettings {
        NodeSettings {
            name: name.to_owned(),
            ips: vec![IpAddr::V4(self.address())],
            api_port: 6443,
            pod_cidr: format!("10.244.{}.0/24", third(self.slot)),
            labels: BTreeMap::new(),
            machine: Facts { cpus: 8, memory_bytes: 16 << 30, disk_bytes: 64 << 30, ..Facts::default() },
            log_root: PathBuf::from("/data/logs"),
            cluster_dns: None,
            cluster_domain: "cluster.local".into(),
            resolv_conf: String::new(),
            max_pods: 110,
            decide_after: decide_after(DECLARE_AFTER),
        }
    }

    fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, third(self.slot))
    }
}

fn third(slot: Slot) -> u8 {
    u8::try_from(slot).unwrap_or(u8::MAX)
}

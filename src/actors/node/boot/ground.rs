//! Takes hold of the machine: container runtime, pod network, volumes, logs; or of one that is only pretended.

use std::sync::Arc;

use futures::FutureExt as _;

use super::Error;
use crate::actors::agent::ImagePuller;
use crate::actors::settings::{NodeSettings, RuntimeKind};
use crate::model::Cidr;
use crate::runtime::containerd::{Containerd, ContainerdOptions};
use crate::runtime::embedded::{Embedded, EmbeddedOptions};
use crate::runtime::hollow::{Hollow, HollowNetwork, HollowRoutes, Machine, MachineOptions, MemoryLogs};
use crate::runtime::images::toolbox;
use crate::runtime::logs::{LogFiles, LogSource};
use crate::runtime::network::bridge::{BridgeNetwork, NetworkOptions};
use crate::runtime::network::routes::{KernelRoutes, PodRoutes, RouteOptions};
use crate::runtime::probe::{HollowProber, NetProber, Prober};
use crate::runtime::volume::{DiskVolumes, HollowVolumes, Volumes};
use crate::runtime::{ContainerRuntime, PodNetwork};
use crate::world::World;

/// Cgroup below which all pods of Shoal are.
const CGROUP_ROOT: &str = "shoal";
/// The bridge of the settings that ship; a node with another shares the machine with others.
const DEFAULT_BRIDGE: &str = "shoal0";

/// The containers' side of a machine: real, or pretended.
pub struct Ground {
    /// Containers and images.
    pub runtime: Arc<dyn ContainerRuntime>,
    /// Addresses of pods.
    pub network: Arc<dyn PodNetwork>,
    /// Ways to the pods of other nodes.
    pub routes: Arc<dyn PodRoutes>,
    /// Volumes and files of pods.
    pub volumes: Arc<dyn Volumes>,
    /// Probes over the network.
    pub prober: Arc<dyn Prober>,
    /// Logs of containers.
    pub logs: Arc<dyn LogSource>,
}

/// Takes hold of the machine, whose pods have addresses of `pod_cidr`.
///
/// # Errors
/// Where the runtime does not answer or the kernel refuses.
pub async fn ground(settings: &NodeSettings, pod_cidr: Cidr, world: &World) -> Result<Ground, Error> {
    if settings.runtime == RuntimeKind::Hollow {
        let options = MachineOptions { node_ip: settings.address, ..MachineOptions::default() };
        let machine = Machine::new(options, world.clone());
        return Ok(Ground {
            runtime: Hollow::new(machine.clone()),
            network: HollowNetwork::new(machine.clone()),
            routes: Arc::new(HollowRoutes::new(network_options(settings, pod_cidr).routes().ground)),
            volumes: HollowVolumes::new(),
            prober: HollowProber::new(),
            logs: MemoryLogs::new(machine),
        });
    }
    std::fs::create_dir_all(settings.data.join("logs"))?;
    let options = network_options(settings, pod_cidr);
    Ok(Ground {
        routes: Arc::new(KernelRoutes::start(route_options(settings, &options))?),
        runtime: container_runtime(settings, world).await?,
        network: Arc::new(BridgeNetwork::start(options).await?),
        volumes: Arc::new(DiskVolumes::new(settings.data.join("pods"))),
        prober: NetProber::new()?,
        logs: Arc::new(LogFiles),
    })
}

/// The runtime that the settings ask for; `auto` takes containerd where a daemon answers.
pub async fn container_runtime(settings: &NodeSettings, world: &World) -> Result<Arc<dyn ContainerRuntime>, Error> {
    let embedded = || Embedded::open(embedded_options(settings), world.clone());
    let containerd = || Containerd::connect(containerd_options(settings), world.clone());
    match settings.runtime {
        RuntimeKind::Containerd => Ok(containerd().await?),
        RuntimeKind::Embedded | RuntimeKind::Hollow => Ok(embedded()?),
        RuntimeKind::Auto => match containerd().await {
            Ok(runtime) => Ok(runtime),
            Err(error) => {
                tracing::info!(%error, "no containerd answers; using the embedded runtime");
                Ok(embedded()?)
            }
        },
    }
}

fn containerd_options(settings: &NodeSettings) -> ContainerdOptions {
    ContainerdOptions {
        socket: settings.containerd_socket.clone(),
        root: settings.data.join("runtime"),
        log_binary: this_binary(),
        cgroup_root: cgroup_root(settings).into(),
        plain_http: settings.registries.insecure.clone(),
    }
}

fn embedded_options(settings: &NodeSettings) -> EmbeddedOptions {
    EmbeddedOptions {
        root: settings.data.join("runtime"),
        run: settings.run.clone(),
        shim_binary: this_binary(),
        cgroup_root: cgroup_root(settings).into(),
        plain_http: settings.registries.insecure.clone(),
    }
}

/// Nodes on one machine have names of their own for what the machine shares.
pub fn cgroup_root(settings: &NodeSettings) -> String {
    if settings.network.bridge == DEFAULT_BRIDGE {
        CGROUP_ROOT.into()
    } else {
        format!("{CGROUP_ROOT}-{}", settings.network.bridge)
    }
}

fn this_binary() -> std::path::PathBuf {
    std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into())
}

/// The pod network that the settings ask for, on a node whose pods have addresses of `pod_cidr`.
pub fn network_options(settings: &NodeSettings, pod_cidr: Cidr) -> NetworkOptions {
    NetworkOptions {
        run: settings.run.clone(),
        bridge: settings.network.bridge.clone(),
        nft_table: settings.network.nft_table.clone(),
        pod_cidr,
        cluster_cidr: settings.network.cluster_range(pod_cidr),
        mtu: settings.network.mtu,
        node_address: settings.address,
    }
}

fn route_options(settings: &NodeSettings, network: &NetworkOptions) -> RouteOptions {
    let mut options = network.routes();
    options.ground.port = settings.network.vxlan_port;
    options
}

/// Pulls of a real node: the built-in image is packed from this binary.
pub fn puller(settings: &NodeSettings, runtime: &Arc<dyn ContainerRuntime>) -> Arc<ImagePuller> {
    let (inner, scratch, programs) = (runtime.clone(), settings.data.join("runtime"), settings.programs);
    let hollow = settings.runtime == RuntimeKind::Hollow;
    let make = move || {
        let (inner, scratch) = (inner.clone(), scratch.clone());
        async move {
            if hollow {
                return Ok(());
            }
            toolbox::ensure(&*inner, &this_binary(), programs, &scratch).await
        }
        .boxed()
    };
    ImagePuller::new(runtime.clone(), settings.agent.parallel_pulls, Some((toolbox::NAME.to_owned(), Box::new(make))))
}

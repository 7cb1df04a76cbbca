//! Makes the real parts of a node from its settings: certificates, store, runtime, network, listeners.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures::FutureExt as _;

use super::{Node, NodeParts};
use crate::actors::agent::ImagePuller;
use crate::actors::agent::parts::{Machine as NodeMachine, NodeSettings as AgentSettings};
use crate::actors::service::Service as Task;
use crate::actors::settings::{NodeSettings, RuntimeKind};
use crate::actors::supervisor::Child;
use crate::api::admission::ServiceAddresses;
use crate::api::listen::{self, ListenConfig, Listeners, Tls};
use crate::api::service::{Limits, Service};
use crate::kube::schema;
use crate::mesh::identity::{self, Identity, Lifetimes, LiveIdentity, OwnAuthority, Renewal, Revocations, Subject};
use crate::runtime::containerd::{Containerd, ContainerdOptions};
use crate::runtime::embedded::{Embedded, EmbeddedOptions};
use crate::runtime::hollow::{Hollow, HollowNetwork, Machine, MachineOptions, MemoryLogs};
use crate::runtime::images::toolbox;
use crate::runtime::logs::{LogFiles, LogSource};
use crate::runtime::network::bridge::{BridgeNetwork, NetworkOptions};
use crate::runtime::probe::{HollowProber, NetProber, Prober};
use crate::runtime::volume::{DiskVolumes, HollowVolumes, Volumes};
use crate::runtime::{self, ContainerRuntime, PodNetwork, machine};
use crate::store::{self, Store, StoreOptions};
use crate::world::World;
use crate::world::clock::SystemClock;
use crate::world::disk::real::RealDisk;
use crate::world::entropy::SystemEntropy;

/// Connections to the API at a time.
const MAX_CONNECTIONS: usize = 4_096;
/// Cgroup below which all pods of Shoal are.
const CGROUP_ROOT: &str = "shoal";
/// The bridge of the settings that ship; a node with another shares the machine with others.
const DEFAULT_BRIDGE: &str = "shoal0";

/// Why a node did not start. Nothing that ran before was touched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Certificates.
    #[error("the node's certificates cannot be used")]
    Identity(#[from] identity::Error),
    /// Store.
    #[error("the store in {dir} cannot be opened")]
    Store {
        /// Its directory.
        dir: String,
        /// Why.
        #[source]
        source: store::Error,
    },
    /// Runtime or pod network.
    #[error("containers cannot be run here")]
    Runtime(#[from] runtime::Error),
    /// Probes' TLS.
    #[error("probes cannot be set up")]
    Prober(#[from] rustls::Error),
    /// Listeners.
    #[error("the API cannot be served")]
    Listen(#[from] listen::Error),
    /// Files.
    #[error("the data directory cannot be used")]
    Io(#[from] std::io::Error),
    /// Actors.
    #[error("the node's actors did not start")]
    Spawn(#[from] ractor::SpawnErr),
}

/// The containers' side of a machine: real, or pretended.
struct Ground {
    runtime: Arc<dyn ContainerRuntime>,
    network: Arc<dyn PodNetwork>,
    volumes: Arc<dyn Volumes>,
    prober: Arc<dyn Prober>,
    logs: Arc<dyn LogSource>,
}

/// Starts a node as `settings` say. The API serves when this returns; the node becomes Ready soon after.
///
/// # Errors
/// See [`Error`].
pub async fn start(settings: &NodeSettings) -> Result<Node, Error> {
    let world = world();
    let identity = identity(settings, &world)?;
    let live = LiveIdentity::new(&identity, Revocations::default(), world.clock.clone())?;
    let config = ListenConfig { address: settings.listen, connections: MAX_CONNECTIONS };
    let listeners = listen::bind(&config, Tls::of(&live, true)?).await?;
    // The first write needs the shapes of all types: compiled while the disk and the machine answer.
    drop(tokio::task::spawn_blocking(|| schema::knows("")));
    let (store, ground) = futures::try_join!(open_store(settings, &world), ground(settings, &world))?;
    let puller = puller(settings, &ground.runtime);
    let toolbox = pack(&puller);
    let authority_pem = identity.bundle().pem();
    let renewal = renewal(identity, live, settings, &world);
    let parts = NodeParts {
        puller,
        agent: agent(settings),
        runtime: ground.runtime,
        network: ground.network,
        volumes: ground.volumes,
        prober: ground.prober,
        logs: ground.logs,
        services: services(settings),
        authority_pem,
        endpoint: SocketAddr::new(settings.address, settings.listen.port()),
        limits: Limits { in_flight: settings.api.max_in_flight, ..Limits::default() },
        store,
        world,
    };
    Ok(Node::assemble(parts, |service| vec![serve(listeners, service), toolbox, renewal]).await?)
}

fn world() -> World {
    World { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy::new()), disk: Arc::new(RealDisk) }
}

/// The node's certificate renews itself while the node runs.
fn renewal(identity: Identity, live: LiveIdentity, settings: &NodeSettings, world: &World) -> Child {
    let (subject, lifetimes, world) = (subject(settings), Lifetimes::default(), world.clone());
    let identity = Arc::new(parking_lot::Mutex::new(identity));
    let own = OwnAuthority { identity: identity.clone(), subject: subject.clone(), lifetimes, world: world.clone() };
    let renewal = Renewal { identity, live, subject, lifetimes, signer: Arc::new(own), world };
    Task::child("identity", move || {
        let renewal = renewal.clone();
        async move { match renewal.run().await {} }
    })
}

fn subject(settings: &NodeSettings) -> Subject {
    Subject {
        node: settings.name.clone(),
        names: Vec::new(),
        addresses: [Some(settings.address), Some(settings.listen.ip()), settings.network.service_cidr.nth(1)]
            .into_iter()
            .flatten()
            .collect(),
        cluster_domain: settings.cluster_domain.clone(),
    }
}

fn identity(settings: &NodeSettings, world: &World) -> Result<Identity, Error> {
    let identity =
        Identity::found(&settings.data.join("pki"), &subject(settings), &Lifetimes::default(), world.clock.now())?;
    identity.write_admin_kubeconfig(&settings.data.join("admin.kubeconfig"), &url(settings))?;
    Ok(identity)
}

/// Where the API is reached on this machine.
pub fn url(settings: &NodeSettings) -> String {
    let unspecified = settings.listen.ip().is_unspecified();
    let ip = if unspecified { IpAddr::V4(std::net::Ipv4Addr::LOCALHOST) } else { settings.listen.ip() };
    format!("https://{}", SocketAddr::new(ip, settings.listen.port()))
}

async fn open_store(settings: &NodeSettings, world: &World) -> Result<Store, Error> {
    let dir = settings.data.join("store");
    let options = StoreOptions {
        snapshot_bytes: settings.store.snapshot_bytes,
        history_age: settings.store.history,
        ..StoreOptions::new(dir.clone(), settings.name.clone())
    };
    let failed = |source| Error::Store { dir: dir.display().to_string(), source };
    Store::open(options, world.clone()).await.map_err(failed)
}

async fn ground(settings: &NodeSettings, world: &World) -> Result<Ground, Error> {
    if settings.runtime == RuntimeKind::Hollow {
        let options = MachineOptions { node_ip: settings.address, ..MachineOptions::default() };
        let machine = Machine::new(options, world.clone());
        return Ok(Ground {
            runtime: Hollow::new(machine.clone()),
            network: HollowNetwork::new(machine.clone()),
            volumes: HollowVolumes::new(),
            prober: HollowProber::new(),
            logs: MemoryLogs::new(machine),
        });
    }
    std::fs::create_dir_all(settings.data.join("logs"))?;
    Ok(Ground {
        runtime: container_runtime(settings, world).await?,
        network: Arc::new(BridgeNetwork::start(network_options(settings)).await?),
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

/// The pod network that the settings ask for.
pub fn network_options(settings: &NodeSettings) -> NetworkOptions {
    NetworkOptions {
        run: settings.run.clone(),
        bridge: settings.network.bridge.clone(),
        nft_table: settings.network.nft_table.clone(),
        pod_cidr: settings.network.pod_cidr,
        mtu: settings.network.mtu,
        node_address: settings.address,
    }
}

fn agent(settings: &NodeSettings) -> AgentSettings {
    let facts = machine::facts(&settings.data);
    AgentSettings {
        name: settings.name.clone(),
        ips: vec![settings.address],
        pod_cidr: settings.network.pod_cidr.to_string(),
        labels: std::collections::BTreeMap::new(),
        machine: NodeMachine {
            cpus: facts.cpus,
            memory_bytes: facts.memory_bytes,
            disk_bytes: facts.disk_bytes,
            machine_id: facts.machine_id,
            system_uuid: facts.system_uuid,
            boot_id: facts.boot_id,
            kernel_version: facts.kernel_version,
            os_image: facts.os_image,
            architecture: facts.architecture,
        },
        log_root: settings.data.join("logs"),
        cluster_dns: None,
        cluster_domain: settings.cluster_domain.clone(),
        resolv_conf: std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
        max_pods: settings.agent.max_pods,
    }
}

fn services(settings: &NodeSettings) -> ServiceAddresses {
    let range = settings.network.service_cidr;
    let defaults = ServiceAddresses::default();
    match range.nth(0) {
        Some(IpAddr::V4(network)) => ServiceAddresses { network, prefix: range.prefix(), ..defaults },
        _ => defaults,
    }
}

/// Pulls of a real node: the built-in image is packed from this binary.
fn puller(settings: &NodeSettings, runtime: &Arc<dyn ContainerRuntime>) -> Arc<ImagePuller> {
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

/// Packs the built-in image beside the node's start; a pod that needs it sooner waits for it.
fn pack(puller: &Arc<ImagePuller>) -> Child {
    let puller = puller.clone();
    Task::child("toolbox", move || {
        let puller = puller.clone();
        async move {
            puller.pull(toolbox::NAME, &[]).await?;
            std::future::pending().await
        }
    })
}

/// The API's listeners as a child: bound once, so that a restart of the child can only mean the end.
fn serve(listeners: Listeners, service: &Arc<Service>) -> Child {
    let listeners = Arc::new(parking_lot::Mutex::new(Some(listeners)));
    let service = service.clone();
    Task::child("api", move || {
        let (listeners, service) = (listeners.lock().take(), service.clone());
        async move {
            let listeners = listeners.ok_or("the listeners have ended")?;
            listeners.serve(service.clone(), service.stop.clone()).await;
            Ok(())
        }
    })
}

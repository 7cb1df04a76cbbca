//! The real pod network: one bridge, a pair of links per pod, one nftables table.
//!
//! What a pod has stands in a record beside its pins (`ledger`), so that a restarted process finds it again. Links are
//! made by netlink (`link`) on a thread that has entered the pod's new namespaces (`netns`).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use rtnetlink::Handle;
use tokio::sync::{Mutex as AsyncMutex, Semaphore};

use super::ledger::{Ledger, Record};
use super::routes::{self, RouteOptions, tunnel_name};
use super::{Cidr, PodAddresses, PodAttachment, PodNetwork, firewall, link, sysctl};
use crate::runtime::Error;
use crate::runtime::netns::{self, Kind};
use crate::runtime::nft::{self, Forward, Table};

/// Pods that are attached or detached at once; the kernel makes namespaces one after the other anyway.
const PARALLEL: usize = 8;

/// Names and addresses of one node's pod network. Two nodes on one machine must differ in all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkOptions {
    /// Directory for what lives while the machine is up; pins go to `ns` in it.
    pub run: PathBuf,
    /// Name of the bridge; at most 15 bytes.
    pub bridge: String,
    /// Name of the nftables table.
    pub nft_table: String,
    /// Pod addresses.
    pub pod_cidr: Cidr,
    /// Pod addresses of all nodes: what pods reach under their own addresses.
    pub cluster_cidr: Cidr,
    /// Bytes; 0 for the kernel's default.
    pub mtu: u32,
    /// The node's own address, which `hostNetwork` pods have.
    pub node_address: IpAddr,
}

impl NetworkOptions {
    /// The usual ways from this network to the pods of other nodes.
    pub fn routes(&self) -> RouteOptions {
        RouteOptions::new(&self.bridge, self.pod_cidr, self.cluster_cidr)
    }
}

/// The pod network of one node.
pub struct BridgeNetwork {
    options: NetworkOptions,
    gateway: IpAddr,
    bridge: u32,
    host: Handle,
    ledger: Mutex<Ledger>,
    table: Table,
    /// One transaction at a time, each from the ledger as it is then.
    filter: AsyncMutex<()>,
    turns: Semaphore,
    /// Calls for one pod wait for each other.
    pods: Mutex<BTreeMap<String, Arc<AsyncMutex<()>>>>,
}

impl BridgeNetwork {
    /// Sets up the bridge, forwarding and the table, with the pods of an earlier process in it. Call inside a tokio
    /// runtime, which must outlive the network.
    ///
    /// # Errors
    /// Where a kernel feature or `nft` is missing, or the kernel refuses.
    pub async fn start(options: NetworkOptions) -> Result<Self, Error> {
        let gateway = options
            .pod_cidr
            .nth(1)
            .ok_or_else(|| Error::Config(format!("pod range {} is too small", options.pod_cidr)))?;
        let ledger = Ledger::open(&options.run.join("ns"), options.pod_cidr)?;
        let host = link::connect()?;
        let bridge = link::ensure_bridge(&host, &options.bridge, gateway, options.pod_cidr, options.mtu).await?;
        sysctl::set("net/ipv4/ip_forward", "1")?;
        sysctl::set(&format!("net/ipv4/conf/{}/route_localnet", options.bridge), "1")?;
        let table = table(&options);
        nft::apply(&table.replace(&forwards(ledger.ports()))).await?;
        if let Err(error) = firewall::open(&options.bridge, options.cluster_cidr).await {
            tracing::warn!(%error, "another program's firewall may keep pods from the network");
        }
        Ok(Self {
            gateway,
            bridge,
            host,
            ledger: Mutex::new(ledger),
            table,
            filter: AsyncMutex::new(()),
            turns: Semaphore::new(PARALLEL),
            pods: Mutex::default(),
            options,
        })
    }

    /// Removes everything that networks with these options ever made: pins, links, the bridge, the table, the ways to
    /// other nodes. Works whether or not a process with such a network still runs.
    ///
    /// # Errors
    /// The first failure, after all else was tried.
    pub async fn destroy(options: &NetworkOptions) -> Result<(), Error> {
        let dir = options.run.join("ns");
        let host = link::connect()?;
        let mut outcome = Ok(());
        if dir.exists() {
            let ledger = Ledger::open(&dir, options.pod_cidr)?;
            for uid in ledger.uids() {
                outcome = outcome.and(link::remove(&host, &link_name(&options.bridge, &uid)).await);
                outcome = outcome.and(netns::unpin(&dir.join(uid)));
            }
        }
        outcome = outcome.and(routes::destroy(&host, &options.bridge).await);
        outcome = outcome.and(link::remove(&host, &options.bridge).await);
        outcome = outcome.and(nft::apply(&table(options).drop_all()).await);
        outcome = outcome.and(firewall::close(&options.bridge).await);
        let _ = std::fs::remove_dir(&dir);
        outcome
    }

    /// The address of the bridge: how pods reach the node.
    pub fn gateway(&self) -> IpAddr {
        self.gateway
    }

    fn pod_lock(&self, uid: &str) -> Arc<AsyncMutex<()>> {
        Arc::clone(self.pods.lock().entry(uid.to_string()).or_default())
    }

    async fn build(&self, pod: &PodAttachment, record: &Record, dir: &Path) -> Result<(), Error> {
        let mut kinds = Vec::new();
        if !record.host_ipc {
            kinds.push(Kind::Ipc);
        }
        let pair = record.address.map(|address| link::Pair {
            outside: link_name(&self.options.bridge, &pod.pod_uid),
            bridge: self.bridge,
            address,
            prefix: self.options.pod_cidr.prefix(),
            gateway: self.gateway,
            mtu: self.options.mtu,
        });
        if pair.is_some() {
            kinds.extend([Kind::Net, Kind::Uts]);
        }
        if kinds.is_empty() {
            return Ok(());
        }
        let _turn = self.turns.acquire().await;
        let (dir, hostname) = (dir.to_path_buf(), pod.hostname.clone());
        netns::in_thread(move || set_up(&dir, &kinds, &hostname, pair.as_ref())).await
    }

    /// Whether the pod's pins and link are all there.
    async fn is_whole(&self, pod: &PodAttachment, record: &Record, dir: &Path) -> Result<bool, Error> {
        let same_kind = record.address.is_none() == pod.host_network && record.host_ipc == pod.host_ipc;
        let pinned = |kind, wanted: bool| !wanted || netns::is_pinned(&netns::pin_path(dir, kind));
        let networked = record.address.is_some();
        if !same_kind
            || !pinned(Kind::Net, networked)
            || !pinned(Kind::Uts, networked)
            || !pinned(Kind::Ipc, !record.host_ipc)
        {
            return Ok(false);
        }
        Ok(!networked || link::find(&self.host, &link_name(&self.options.bridge, &pod.pod_uid)).await?.is_some())
    }

    async fn tear_down(&self, uid: &str, dir: &Path) -> Result<(), Error> {
        let _turn = self.turns.acquire().await;
        let (link, dir) = (link_name(&self.options.bridge, uid), dir.to_path_buf());
        // The kernel takes some 30 ms to remove a link, during which the thread that asked is blocked.
        netns::in_thread(move || {
            on_this_thread(async { link::remove(&link::connect()?, &link).await })?;
            netns::unpin(&dir)
        })
        .await
    }

    fn addresses(&self, record: &Record, dir: &Path) -> PodAddresses {
        let pin = |kind, wanted: bool| wanted.then(|| netns::pin_path(dir, kind));
        let networked = record.address.is_some();
        PodAddresses {
            ips: vec![record.address.unwrap_or(self.options.node_address)],
            network_namespace: pin(Kind::Net, networked),
            ipc_namespace: pin(Kind::Ipc, !record.host_ipc),
            uts_namespace: pin(Kind::Uts, networked),
        }
    }

    /// Opens the pod's host ports.
    async fn open_ports(&self, record: &Record) -> Result<(), Error> {
        let forwards = of_record(record);
        if forwards.is_empty() {
            return Ok(());
        }
        let _one_at_a_time = self.filter.lock().await;
        nft::apply(&self.table.add(&forwards)).await
    }

    /// Closes the pod's host ports.
    async fn close_ports(&self, record: &Record) -> Result<(), Error> {
        let forwards = of_record(record);
        if forwards.is_empty() {
            return Ok(());
        }
        let _one_at_a_time = self.filter.lock().await;
        if nft::apply(&self.table.remove(&forwards)).await.is_ok() {
            return Ok(());
        }
        // Somebody has changed the table, or an attach was cut off before it opened them: write it as it should be.
        let kept: Vec<_> = {
            let ledger = self.ledger.lock();
            forwards_without(ledger.ports(), record)
        };
        nft::apply(&self.table.replace(&kept)).await
    }

    async fn attach_alone(&self, pod: &PodAttachment) -> Result<PodAddresses, Error> {
        let (had, dir) = {
            let ledger = self.ledger.lock();
            (ledger.get(&pod.pod_uid).cloned(), ledger.dir(&pod.pod_uid)?)
        };
        if let Some(record) = &had {
            if self.is_whole(pod, record, &dir).await? {
                self.open_ports(record).await?;
                return Ok(self.addresses(record, &dir));
            }
            self.close_ports(record).await?;
        }
        self.tear_down(&pod.pod_uid, &dir).await?;
        let record = self.ledger.lock().grant(pod)?;
        let built = async {
            self.build(pod, &record, &dir).await?;
            self.open_ports(&record).await
        };
        if let Err(error) = built.await {
            let _ = self.detach_alone(&pod.pod_uid).await;
            return Err(error);
        }
        Ok(self.addresses(&record, &dir))
    }

    async fn detach_alone(&self, uid: &str) -> Result<(), Error> {
        let (record, dir) = {
            let ledger = self.ledger.lock();
            (ledger.get(uid).cloned(), ledger.dir(uid)?)
        };
        if let Some(record) = &record {
            self.close_ports(record).await?;
        }
        self.tear_down(uid, &dir).await?;
        self.ledger.lock().forget(uid);
        Ok(())
    }
}

#[async_trait]
impl PodNetwork for BridgeNetwork {
    async fn attach(&self, pod: &PodAttachment) -> Result<PodAddresses, Error> {
        let lock = self.pod_lock(&pod.pod_uid);
        let _alone = lock.lock().await;
        self.attach_alone(pod).await
    }

    async fn detach(&self, pod_uid: &str) -> Result<(), Error> {
        let lock = self.pod_lock(pod_uid);
        {
            let _alone = lock.lock().await;
            self.detach_alone(pod_uid).await?;
        }
        let mut pods = self.pods.lock();
        // Two: the map's and this one. More means that somebody waits.
        if Arc::strong_count(&lock) <= 2 {
            pods.remove(pod_uid);
        }
        Ok(())
    }

    async fn attached(&self) -> Result<Vec<String>, Error> {
        Ok(self.ledger.lock().uids().into_iter().collect())
    }
}

/// Runs on a thread of its own.
fn set_up(dir: &Path, kinds: &[Kind], hostname: &str, pair: Option<&link::Pair>) -> Result<(), Error> {
    on_this_thread(async {
        // The first socket stays in the node's network, the second one is the pod's.
        let host = link::connect()?;
        netns::unshare_and_pin(dir, kinds, hostname)?;
        match pair {
            Some(pair) => link::join(&host, &link::connect()?, pair).await,
            None => Ok(()),
        }
    })
}

fn on_this_thread<T>(job: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(|error| Error::System(format!("cannot set up a namespace: {error}")))?;
    runtime.block_on(job)
}

/// Name of a pod's link outside: `veth` and 44 bits of a hash (FNV-1a) of bridge and uid; 15 bytes.
fn link_name(bridge: &str, uid: &str) -> String {
    let bytes = bridge.bytes().chain([b'/']).chain(uid.bytes());
    format!("veth{:011x}", link::digest(bytes) >> 20)
}

fn table(options: &NetworkOptions) -> Table {
    Table {
        name: options.nft_table.clone(),
        bridge: options.bridge.clone(),
        tunnel: tunnel_name(&options.bridge),
        pods: options.pod_cidr,
        cluster: options.cluster_cidr,
    }
}

fn forwards(ports: impl Iterator<Item = (super::HostPort, IpAddr)>) -> Vec<Forward> {
    ports.filter_map(|(port, pod)| Some(Forward { port, pod: v4(pod)? })).collect()
}

fn of_record(record: &Record) -> Vec<Forward> {
    let Some(pod) = record.address.and_then(v4) else { return Vec::new() };
    record.ports.iter().map(|port| Forward { port: (*port).into(), pod }).collect()
}

fn forwards_without(ports: impl Iterator<Item = (super::HostPort, IpAddr)>, record: &Record) -> Vec<Forward> {
    let gone = of_record(record);
    forwards(ports).into_iter().filter(|forward| !gone.contains(forward)).collect()
}

fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

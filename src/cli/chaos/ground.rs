//! Where the nodes stand: a network namespace each, joined by a bridge in one more, and directories. All of it is removed
//! when the ground is dropped, however a run ends.
//!
//! The bridge's namespace is also where clients stand (`enter`): nothing of a run is in the machine's own network, and a
//! cut between nodes cuts no client off.

pub mod program;

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns};

use super::scenario::Scenario;
use crate::cli::failure::Failure;
use program::{ip, nft};

/// Last part of the first node's address.
const FIRST: u8 = 11;

/// Namespaces and directories of a run.
pub struct Ground {
    namespace: String,
    dir: PathBuf,
    plots: Vec<Plot>,
}

/// What a node gets of it.
#[derive(Debug, Clone)]
pub struct Plot {
    /// Name of its node.
    pub name: String,
    /// Its network namespace.
    pub namespace: String,
    /// Its address.
    pub ip: Ipv4Addr,
    /// A name for its bridge that no other node of this machine has, of at most 15 bytes.
    pub bridge: String,
    /// Its data directory: a file system of its own where the scenario gives it a disk.
    pub data: PathBuf,
    /// Files about it.
    pub dir: PathBuf,
    mac: String,
    has_disk: bool,
}

impl Ground {
    /// Lays the ground for a scenario. `dir` is made, or is empty.
    ///
    /// # Errors
    /// Where the directory is in use, or the kernel refuses a namespace, a link or a mount.
    pub fn lay(scenario: &Scenario, dir: PathBuf) -> Result<Self, Failure> {
        private_directory(&dir)?;
        let namespace = format!("shchaos-{}", std::process::id());
        // From here on a failure removes what is there already.
        let mut ground = Self { namespace, dir, plots: Vec::new() };
        let name = &ground.namespace;
        ip(&format!("netns add {name}"))?;
        ip(&format!("-n {name} link add bridge type bridge"))?;
        ip(&format!("-n {name} address add {}/24 dev bridge", address(scenario, 1)))?;
        ip(&format!("-n {name} link set bridge up"))?;
        for nth in 0..scenario.nodes {
            ground.plot(scenario, nth)?;
        }
        Ok(ground)
    }

    fn plot(&mut self, scenario: &Scenario, nth: u8) -> Result<(), Failure> {
        let name = Scenario::node_name(usize::from(nth));
        let dir = self.dir.join(&name);
        private_directory(&dir)?;
        let data = dir.join("data");
        private_directory(&data)?;
        let plot = Plot {
            namespace: format!("{}-{name}", self.namespace),
            ip: address(scenario, FIRST + nth),
            bridge: format!("sc{}{name}", std::process::id()),
            mac: format!("02:00:00:00:c0:{:02x}", nth + 1),
            has_disk: scenario.disk.is_some(),
            name,
            data,
            dir,
        };
        self.plots.push(plot.clone());
        plot.connect(&self.namespace, address(scenario, 1))?;
        if let Some(bytes) = scenario.disk {
            let options = format!("size={bytes},mode=0700");
            mount(Some("shoal-chaos"), &plot.data, Some("tmpfs"), MsFlags::MS_NOSUID, Some(options.as_str()))
                .map_err(|error| Failure::from(error).context("cannot make a disk in memory"))?;
        }
        Ok(())
    }

    /// Puts the calling thread, and what it starts, where the clients stand.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn enter(&self) -> Result<(), Failure> {
        let file = File::open(program::pin(&self.namespace))?;
        Ok(setns(&file, CloneFlags::CLONE_NEWNET)?)
    }

    /// The nodes' plots.
    pub fn plots(&self) -> &[Plot] {
        &self.plots
    }

    /// Makes exactly these packets be lost: pairs of a sender and a receiver, by number.
    ///
    /// # Errors
    /// Where nftables refuse.
    pub async fn lose(&self, lost: &BTreeSet<(usize, usize)>) -> Result<(), Failure> {
        for (receiver, plot) in self.plots.iter().enumerate() {
            let senders = lost.iter().filter(|(_, to)| *to == receiver).filter_map(|(from, _)| self.plots.get(*from));
            let macs: Vec<&str> = senders.map(|sender| sender.mac.as_str()).collect();
            let mut script = "flush set netdev chaos lost\n".to_owned();
            if !macs.is_empty() {
                script.push_str(&format!("add element netdev chaos lost {{ {} }}\n", macs.join(", ")));
            }
            nft(&plot.namespace, &script).await?;
        }
        Ok(())
    }

    /// Prepares every node for cuts.
    ///
    /// # Errors
    /// Where nftables refuse.
    pub async fn prepare_cuts(&self) -> Result<(), Failure> {
        // By the sender's hardware address, where packets arrive; ARP passes, so that a cut of one direction stays one.
        let table = "table netdev chaos {\n set lost { type ether_addr; }\n chain arriving {\n  type filter hook ingress \
                     device \"eth0\" priority 0;\n  ether type ip ether saddr @lost counter drop\n }\n}\n";
        for plot in &self.plots {
            nft(&plot.namespace, table).await?;
        }
        Ok(())
    }
}

impl Plot {
    fn connect(&self, segment: &str, gateway: Ipv4Addr) -> Result<(), Failure> {
        let Self { name, namespace, mac, .. } = self;
        ip(&format!("netns add {namespace}"))?;
        ip(&format!("link add {name} netns {segment} type veth peer name eth0 netns {namespace}"))?;
        ip(&format!("-n {segment} link set {name} master bridge up"))?;
        ip(&format!("-n {namespace} link set lo up"))?;
        ip(&format!("-n {namespace} link set eth0 address {mac} up"))?;
        ip(&format!("-n {namespace} address add {}/24 dev eth0", self.ip))?;
        ip(&format!("-n {namespace} route replace default via {gateway}"))
    }

    /// File that the node's log goes to.
    pub fn log(&self) -> PathBuf {
        self.dir.join("shoal.log")
    }

    /// Where its API and mesh are.
    pub fn at(&self) -> String {
        format!("{}:6443", self.ip)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for plot in &self.plots {
            if plot.has_disk {
                let _ = umount2(&plot.data, MntFlags::MNT_DETACH);
            }
            let _ = ip(&format!("netns del {}", plot.namespace));
        }
        let _ = ip(&format!("netns del {}", self.namespace));
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            eprintln!("cannot remove {}: {error}", self.dir.display());
        }
    }
}

fn address(scenario: &Scenario, last: u8) -> Ipv4Addr {
    let [a, b, c, _] = scenario.subnet.octets();
    Ipv4Addr::new(a, b, c, last)
}

/// Makes a directory that only this user may read, or takes an empty one.
fn private_directory(dir: &Path) -> Result<(), Failure> {
    let tell = |error| Failure::from(error).context(&format!("cannot make {}", dir.display()));
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(tell)?;
    if std::fs::read_dir(dir).map_err(tell)?.next().is_some() {
        return Err(Failure::new(format!("{} is not empty: name a directory that a run may fill and remove", dir.display())));
    }
    Ok(())
}

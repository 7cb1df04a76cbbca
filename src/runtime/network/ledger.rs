//! Which pod has which address and host ports: kept as a file beside the pod's pins, read again after a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Cidr, HostPort, PodAttachment, Protocol};
use crate::runtime::{Error, netns};

const RECORD: &str = "pod.json";

/// What a pod was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its address; `None` for `hostNetwork`.
    pub address: Option<IpAddr>,
    /// Shares the node's IPC namespace.
    pub host_ipc: bool,
    /// Ports of the node that lead to it.
    pub ports: Vec<Port>,
}

/// A host port as it is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    host: SocketAddr,
    container_port: u16,
    protocol: u8,
}

impl From<HostPort> for Port {
    fn from(port: HostPort) -> Self {
        let protocol = match port.protocol {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        };
        Self { host: port.host, container_port: port.container_port, protocol }
    }
}

impl From<Port> for HostPort {
    fn from(port: Port) -> Self {
        let protocol = match port.protocol {
            17 => Protocol::Udp,
            132 => Protocol::Sctp,
            _ => Protocol::Tcp,
        };
        Self { host: port.host, container_port: port.container_port, protocol }
    }
}

/// All records of a node, in memory and on disk.
#[derive(Debug)]
pub struct Ledger {
    dir: PathBuf,
    pods: Cidr,
    records: BTreeMap<String, Record>,
    taken: BTreeSet<IpAddr>,
    next: u32,
}

impl Ledger {
    /// Reads what an earlier process wrote below `dir`.
    ///
    /// # Errors
    /// Where the file system refuses. A record that was cut off is taken as never written.
    pub fn open(dir: &Path, pods: Cidr) -> Result<Self, Error> {
        netns::private_dir(dir)?;
        let mut ledger = Self {
            dir: dir.to_path_buf(),
            pods,
            records: BTreeMap::new(),
            taken: BTreeSet::new(),
            next: pods.host_offsets().start,
        };
        for entry in fs::read_dir(dir).map_err(|error| failed("list", dir, &error))?.filter_map(Result::ok) {
            let (Ok(uid), Ok(text)) = (entry.file_name().into_string(), fs::read(entry.path().join(RECORD))) else {
                continue;
            };
            if let Ok(record) = serde_json::from_slice::<Record>(&text) {
                ledger.taken.extend(record.address);
                ledger.records.insert(uid, record);
            }
        }
        Ok(ledger)
    }

    /// The pod's directory of pins.
    ///
    /// # Errors
    /// Where the uid is not one that can name a directory.
    pub fn dir(&self, uid: &str) -> Result<PathBuf, Error> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if uid.is_empty() || uid.len() > 64 || !uid.chars().all(plain) {
            return Err(Error::Config(format!("{uid:?} is not a pod uid")));
        }
        Ok(self.dir.join(uid))
    }

    /// What the pod has.
    pub fn get(&self, uid: &str) -> Option<&Record> {
        self.records.get(uid)
    }

    /// Every pod's uid, and directories whose record was cut off.
    pub fn uids(&self) -> BTreeSet<String> {
        let on_disk = fs::read_dir(&self.dir).into_iter().flatten().filter_map(Result::ok);
        let names = on_disk.filter_map(|entry| entry.file_name().into_string().ok());
        names.chain(self.records.keys().cloned()).collect()
    }

    /// Every host port with the pod address behind it.
    pub fn ports(&self) -> impl Iterator<Item = (HostPort, IpAddr)> {
        self.records.values().flat_map(|record| {
            let address = record.address;
            record.ports.iter().filter_map(move |port| Some(((*port).into(), address?)))
        })
    }

    /// Gives the pod an address (the one it has, where it has one) and its host ports, and writes that down.
    ///
    /// # Errors
    /// Where no address is free, a host port is taken, or the file system refuses; nothing is kept then.
    pub fn grant(&mut self, pod: &PodAttachment) -> Result<Record, Error> {
        let dir = self.dir(&pod.pod_uid)?;
        self.check_ports(pod)?;
        let had = self.records.get(&pod.pod_uid).and_then(|record| record.address);
        let address = match (pod.host_network, had) {
            (true, _) => None,
            (false, Some(address)) => Some(address),
            (false, None) => Some(self.free_address()?),
        };
        let ports =
            if pod.host_network { Vec::new() } else { pod.host_ports.iter().copied().map(Port::from).collect() };
        let record = Record { address, host_ipc: pod.host_ipc, ports };
        write(&dir, &record)?;
        self.taken.extend(address);
        self.records.insert(pod.pod_uid.clone(), record.clone());
        Ok(record)
    }

    /// Forgets the pod in memory; its directory is removed by whoever removes its pins.
    pub fn forget(&mut self, uid: &str) {
        if let Some(address) = self.records.remove(uid).and_then(|record| record.address) {
            self.taken.remove(&address);
        }
    }

    /// The next free address after the last one given: a freed address rests as long as it can.
    fn free_address(&mut self) -> Result<IpAddr, Error> {
        let offsets = self.pods.host_offsets();
        let in_turn = (self.next..offsets.end).chain(offsets.start..self.next.min(offsets.end));
        for offset in in_turn {
            let Some(address) = self.pods.nth(offset) else { continue };
            if !self.taken.contains(&address) {
                self.next = offset.saturating_add(1);
                return Ok(address);
            }
        }
        Err(Error::System(format!("no pod address is free in {}; give the node a larger network.pod_cidr", self.pods)))
    }

    fn check_ports(&self, pod: &PodAttachment) -> Result<(), Error> {
        for wanted in &pod.host_ports {
            if matches!(wanted.host.ip(), IpAddr::V6(address) if !address.is_unspecified()) {
                return Err(Error::Config(format!("hostIP {}: only IPv4 addresses have host ports", wanted.host.ip())));
            }
            for (uid, record) in self.records.iter().filter(|(uid, _)| **uid != pod.pod_uid) {
                if record.ports.iter().any(|taken| overlap(wanted, &HostPort::from(*taken))) {
                    let port = wanted.host.port();
                    return Err(Error::Config(format!("host port {port} is taken by the pod with uid {uid}")));
                }
            }
        }
        Ok(())
    }
}

fn overlap(a: &HostPort, b: &HostPort) -> bool {
    let everywhere = a.host.ip().is_unspecified() || b.host.ip().is_unspecified();
    a.protocol == b.protocol && a.host.port() == b.host.port() && (everywhere || a.host.ip() == b.host.ip())
}

fn write(dir: &Path, record: &Record) -> Result<(), Error> {
    netns::private_dir(dir)?;
    let text = serde_json::to_vec(record).map_err(|error| Error::System(error.to_string()))?;
    let draft = dir.join("pod.new");
    fs::write(&draft, text).map_err(|error| failed("write", &draft, &error))?;
    fs::rename(&draft, dir.join(RECORD)).map_err(|error| failed("write", dir, &error))
}

fn failed(action: &str, path: &Path, error: &io::Error) -> Error {
    Error::System(format!("cannot {action} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, ports: &[&str]) -> PodAttachment {
        let port = |host: &&str| HostPort { host: host.parse().unwrap(), container_port: 80, protocol: Protocol::Tcp };
        PodAttachment {
            pod_uid: uid.into(),
            hostname: uid.into(),
            host_network: false,
            host_ipc: false,
            host_ports: ports.iter().map(port).collect(),
        }
    }

    fn ledger(dir: &Path) -> Ledger {
        Ledger::open(dir, "10.0.0.0/29".parse().unwrap()).unwrap()
    }

    fn last_octet(ledger: &mut Ledger, uid: &str) -> u8 {
        match ledger.grant(&pod(uid, &[])).unwrap().address {
            Some(IpAddr::V4(address)) => address.octets()[3],
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn addresses_are_kept_over_a_restart_rest_when_freed_and_run_out_loudly() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = ledger(dir.path());
        assert_eq!((last_octet(&mut first, "a"), last_octet(&mut first, "b"), last_octet(&mut first, "a")), (2, 3, 2));
        let mut second = ledger(dir.path());
        assert_eq!((last_octet(&mut second, "b"), last_octet(&mut second, "c")), (3, 4));
        second.forget("c");
        assert_eq!((last_octet(&mut second, "d"), last_octet(&mut second, "e")), (5, 6));
        assert_eq!(last_octet(&mut second, "f"), 4);
        let error = second.grant(&pod("g", &[])).unwrap_err().to_string();
        assert!(error.contains("no pod address is free in 10.0.0.0/29"), "{error}");
    }

    #[test]
    fn a_host_port_has_one_pod_but_each_address_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = ledger(dir.path());
        ledger.grant(&pod("a", &["10.9.9.1:80"])).unwrap();
        ledger.grant(&pod("b", &["10.9.9.2:80"])).unwrap();
        assert!(ledger.grant(&pod("c", &["0.0.0.0:80"])).is_err());
        ledger.grant(&pod("a", &["10.9.9.1:80"])).unwrap();
        assert!(ledger.grant(&pod("d", &["[fd00::1]:81"])).is_err());
        assert_eq!(ledger.uids().len(), 2);
    }

    #[test]
    fn a_uid_cannot_leave_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        for uid in ["", "..", "a/b", "a\0b"] {
            assert!(ledger(dir.path()).dir(uid).is_err(), "{uid:?}");
        }
    }
}

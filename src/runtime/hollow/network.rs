//! Pod addresses on a pretended machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;

use super::machine::{Machine, State};
use crate::runtime::network::{HostPort, PodAttachment};
use crate::runtime::{Error, PodAddresses, PodNetwork};

/// The [`PodNetwork`] over a [`Machine`].
pub struct HollowNetwork {
    machine: Arc<Machine>,
}

impl HollowNetwork {
    /// A network on `machine`, which outlives it.
    pub fn new(machine: Arc<Machine>) -> Arc<Self> {
        Arc::new(Self { machine })
    }
}

#[async_trait]
impl PodNetwork for HollowNetwork {
    async fn attach(&self, pod: &PodAttachment) -> Result<PodAddresses, Error> {
        let mut state = self.machine.state.lock();
        if let Some((_, address)) = state.attached.get(&pod.pod_uid) {
            return Ok(addresses(*address));
        }
        if let Some(port) = taken(&state, pod) {
            return Err(Error::Config(format!("host port {} is in use", port.host.port())));
        }
        let address = if pod.host_network {
            self.machine.options.node_ip
        } else {
            next_free(&mut state, self.machine.options.pod_cidr)?
        };
        state.attached.insert(pod.pod_uid.clone(), (pod.clone(), address));
        Ok(addresses(address))
    }

    async fn detach(&self, pod_uid: &str) -> Result<(), Error> {
        let mut state = self.machine.state.lock();
        if let Some((_, address)) = state.attached.remove(pod_uid) {
            state.addresses.remove(&address);
        }
        Ok(())
    }

    async fn attached(&self) -> Result<Vec<String>, Error> {
        Ok(self.machine.state.lock().attached.keys().cloned().collect())
    }
}

fn addresses(address: IpAddr) -> PodAddresses {
    PodAddresses { ips: vec![address], network_namespace: None, ipc_namespace: None, uts_namespace: None }
}

fn taken(state: &State, pod: &PodAttachment) -> Option<HostPort> {
    let used = |wanted: &HostPort| {
        state.attached.values().flat_map(|(other, _)| &other.host_ports).any(|port| clash(port, wanted))
    };
    pod.host_ports.iter().copied().find(used)
}

fn clash(a: &HostPort, b: &HostPort) -> bool {
    let overlap = |x: SocketAddr, y: SocketAddr| x.ip() == y.ip() || x.ip().is_unspecified() || y.ip().is_unspecified();
    a.protocol == b.protocol && a.host.port() == b.host.port() && overlap(a.host, b.host)
}

/// The next free address after the last one given, so that one is not used again at once.
fn next_free(state: &mut State, (base, prefix): (Ipv4Addr, u8)) -> Result<IpAddr, Error> {
    let hosts = 1u32.checked_shl(32u32.saturating_sub(u32::from(prefix))).unwrap_or(u32::MAX);
    // The first is the network, the second the bridge, the last the broadcast address.
    let usable = hosts.saturating_sub(3);
    for step in 0..usable {
        let offset = 2 + (state.last_address + step) % usable;
        let address = IpAddr::V4(Ipv4Addr::from(u32::from(base) + offset));
        if state.addresses.insert(address) {
            state.last_address = (offset - 2 + 1) % usable;
            return Ok(address);
        }
    }
    Err(Error::System(format!("no free address in {base}/{prefix}: {usable} pods have one")))
}

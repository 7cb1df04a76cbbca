//! What a pod needs of a node.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as WireQuantity;

use crate::kube::object::{DecodeError, Object};
use crate::model::{Quantity, Timestamp};

/// What a container without a CPU request is taken to use when nodes are compared (millicores).
const GUESSED_CPU_MILLIS: i64 = 100;
/// What a container without a memory request is taken to use when nodes are compared (bytes).
const GUESSED_MEMORY_BYTES: i64 = 200 * 1024 * 1024;

/// Amounts of resources: CPU in millicores, everything else in whole units, rounded up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Amounts {
    pub cpu_millis: i64,
    pub memory_bytes: i64,
    pub ephemeral_bytes: i64,
    pub pods: i64,
    /// Extended resources and huge pages.
    pub other: BTreeMap<String, i64>,
}

/// A host port: protocol, address (empty or `0.0.0.0` for every one), number.
pub(super) type HostPort = (String, String, i32);

/// A pod and what it needs.
pub(super) struct Wanted {
    pub object: Arc<Object>,
    pub pod: Arc<Pod>,
    pub requests: Amounts,
    /// CPU (millicores) and memory (bytes) with guesses for containers that request none.
    pub guessed: (i64, i64),
    pub ports: Vec<HostPort>,
}

impl Wanted {
    pub(super) fn read(object: &Arc<Object>, pod: &Arc<Pod>) -> Result<Self, DecodeError> {
        let none = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&none);
        let bad = |reason: String| DecodeError { key: object.key.clone(), reason };
        Ok(Self {
            requests: requests(spec).map_err(bad)?,
            guessed: guessed(spec).map_err(bad)?,
            ports: ports(spec),
            object: Arc::clone(object),
            pod: Arc::clone(pod),
        })
    }

    pub(super) fn spec(&self) -> Option<&PodSpec> {
        self.pod.spec.as_ref()
    }

    pub(super) fn priority(&self) -> i32 {
        self.spec().and_then(|spec| spec.priority).unwrap_or(0)
    }

    pub(super) fn created(&self) -> Timestamp {
        self.object.meta.creation_timestamp.as_ref().map(|time| Timestamp::from(time.0)).unwrap_or_default()
    }
}

impl Amounts {
    /// Reads a resource list.
    pub(super) fn read(list: Option<&BTreeMap<String, WireQuantity>>) -> Result<Self, String> {
        let mut amounts = Self::default();
        for (name, quantity) in list.into_iter().flatten() {
            let parsed =
                Quantity::parse(&quantity.0).ok_or_else(|| format!("{name}: {:?} is no quantity", quantity.0))?;
            match name.as_str() {
                "cpu" => amounts.cpu_millis = parsed.millis(),
                "memory" => amounts.memory_bytes = parsed.units(),
                "ephemeral-storage" => amounts.ephemeral_bytes = parsed.units(),
                "pods" => amounts.pods = parsed.units(),
                _ => {
                    amounts.other.insert(name.clone(), parsed.units());
                }
            }
        }
        Ok(amounts)
    }

    pub(super) fn add(&mut self, more: &Self) {
        self.cpu_millis = self.cpu_millis.saturating_add(more.cpu_millis);
        self.memory_bytes = self.memory_bytes.saturating_add(more.memory_bytes);
        self.ephemeral_bytes = self.ephemeral_bytes.saturating_add(more.ephemeral_bytes);
        self.pods = self.pods.saturating_add(more.pods);
        for (name, amount) in &more.other {
            let sum = self.other.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*amount);
        }
    }

    fn raise_to(&mut self, least: &Self) {
        self.cpu_millis = self.cpu_millis.max(least.cpu_millis);
        self.memory_bytes = self.memory_bytes.max(least.memory_bytes);
        self.ephemeral_bytes = self.ephemeral_bytes.max(least.ephemeral_bytes);
        for (name, amount) in &least.other {
            let most = self.other.entry(name.clone()).or_default();
            *most = (*most).max(*amount);
        }
    }
}

/// What the pod takes at its largest moment: all containers and sidecars together, or an init container beside the
/// sidecars that started before it; plus the overhead of its sandbox; and one pod.
fn requests(spec: &PodSpec) -> Result<Amounts, String> {
    let mut total = Amounts::default();
    for container in &spec.containers {
        total.add(&of_container(container.resources.as_ref())?);
    }
    let mut sidecars = Amounts::default();
    let mut peak = Amounts::default();
    for init in spec.init_containers.iter().flatten() {
        let own = of_container(init.resources.as_ref())?;
        if is_sidecar(init) {
            sidecars.add(&own);
            peak.raise_to(&sidecars);
        } else {
            let mut beside = sidecars.clone();
            beside.add(&own);
            peak.raise_to(&beside);
        }
    }
    total.add(&sidecars);
    total.raise_to(&peak);
    total.add(&Amounts::read(spec.overhead.as_ref())?);
    total.pods = 1;
    Ok(total)
}

fn is_sidecar(init: &Container) -> bool {
    init.restart_policy.as_deref() == Some("Always")
}

/// Requests; a limit stands in for a request that is not given.
fn of_container(resources: Option<&ResourceRequirements>) -> Result<Amounts, String> {
    let Some(resources) = resources else { return Ok(Amounts::default()) };
    let mut list = resources.limits.clone().unwrap_or_default();
    list.extend(resources.requests.clone().unwrap_or_default());
    Amounts::read(Some(&list))
}

fn guessed(spec: &PodSpec) -> Result<(i64, i64), String> {
    let (mut cpu, mut memory) = (0i64, 0i64);
    for container in &spec.containers {
        let own = of_container(container.resources.as_ref())?;
        cpu = cpu.saturating_add(if own.cpu_millis == 0 { GUESSED_CPU_MILLIS } else { own.cpu_millis });
        memory = memory.saturating_add(if own.memory_bytes == 0 { GUESSED_MEMORY_BYTES } else { own.memory_bytes });
    }
    Ok((cpu, memory))
}

fn ports(spec: &PodSpec) -> Vec<HostPort> {
    let host_network = spec.host_network == Some(true);
    let sidecars = spec.init_containers.iter().flatten().filter(|init| is_sidecar(init));
    let all = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    all.filter_map(|port| {
        let number = port.host_port.or(host_network.then_some(port.container_port)).filter(|number| *number > 0)?;
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".into());
        Some((protocol, port.host_ip.clone().unwrap_or_default(), number))
    })
    .collect()
}

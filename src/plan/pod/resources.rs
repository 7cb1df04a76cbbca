//! What a pod asks of the machine: its class of service, its cgroup, and the values of its containers' cgroups.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;

use super::containers;
use crate::model::Quantity;

/// Cgroup values of one container. Zero means: not set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CgroupValues {
    /// Requested CPU in thousandths of a core.
    pub cpu_request_millis: u64,
    /// CPU limit in thousandths of a core.
    pub cpu_limit_millis: u64,
    /// Memory limit in bytes.
    pub memory_limit_bytes: u64,
    /// `oom_score_adj`.
    pub oom_score_adj: i32,
}

/// `oom_score_adj` of guaranteed pods (kubelet's `guaranteedOOMScoreAdj`).
const GUARANTEED_OOM: i64 = -997;
/// `oom_score_adj` of best-effort pods.
const BEST_EFFORT_OOM: i64 = 1000;

type List = BTreeMap<String, ApiQuantity>;

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub fn qos_class(pod: &Pod) -> &'static str {
    let mut any = false;
    let mut guaranteed = true;
    for slot in containers::slots(pod) {
        for resource in ["cpu", "memory"] {
            let (request, limit) = (request(slot.container, resource), limit(slot.container, resource));
            any |= request > 0 || limit > 0;
            guaranteed &= limit > 0 && request == limit;
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// The pod's cgroup, below the node's root for pods.
pub fn cgroup(pod: &Pod) -> String {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    match qos_class(pod) {
        "Guaranteed" => format!("pod{uid}"),
        class => format!("{}/pod{uid}", class.to_lowercase()),
    }
}

/// The values of one container's cgroup, on a node with `node_memory_bytes`.
pub fn cgroup_values(pod: &Pod, container: &Container, node_memory_bytes: u64) -> CgroupValues {
    CgroupValues {
        cpu_request_millis: request(container, "cpu"),
        cpu_limit_millis: limit(container, "cpu"),
        memory_limit_bytes: limit(container, "memory").div_ceil(1000),
        oom_score_adj: oom_score_adj(pod, container, node_memory_bytes),
    }
}

/// kubelet's rule: the more of the machine's memory a burstable container asked for, the later it is killed.
fn oom_score_adj(pod: &Pod, container: &Container, node_memory_bytes: u64) -> i32 {
    let adjustment = match qos_class(pod) {
        "Guaranteed" => GUARANTEED_OOM,
        "BestEffort" => BEST_EFFORT_OOM,
        _ => {
            let asked = i128::from(request(container, "memory").div_ceil(1000));
            let share = asked * 1000 / i128::from(node_memory_bytes.max(1));
            i64::try_from(1000 - share).unwrap_or(0).clamp(3, 999)
        }
    };
    i32::try_from(adjustment).unwrap_or(0)
}

/// Thousandths of what is requested; a limit without a request is a request.
fn request(container: &Container, resource: &str) -> u64 {
    let resources = container.resources.as_ref();
    let requests = resources.and_then(|resources| resources.requests.as_ref());
    amount(requests, resource).unwrap_or_else(|| limit(container, resource))
}

fn limit(container: &Container, resource: &str) -> u64 {
    amount(container.resources.as_ref().and_then(|resources| resources.limits.as_ref()), resource).unwrap_or(0)
}

fn amount(list: Option<&List>, resource: &str) -> Option<u64> {
    let quantity = Quantity::parse(&list?.get(resource)?.0)?;
    u64::try_from(quantity.millis()).ok()
}

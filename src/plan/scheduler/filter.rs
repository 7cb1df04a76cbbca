//! Which nodes can take a pod, and why the others cannot, in Kubernetes' words.

use k8s_openapi::api::core::v1::{PodSpec, Taint};

use super::fleet::Fleet;
use super::label;
use super::request::{Amounts, HostPort, Wanted};

/// Why a node cannot take a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// In words, without a count.
    pub reason: String,
    /// Whether the node could take it if other pods left.
    pub curable: bool,
}

/// For one node: why not; empty where it fits.
pub(super) type Verdict = Vec<Refusal>;

/// A check of one kind for one node. The first kind that refuses decides.
type Check = fn(&Wanted, &PodSpec, &Fleet, usize) -> Verdict;

const CHECKS: &[Check] = &[unschedulable, node_name, taints, selector, ports, resources];

/// Judges every node.
pub(super) fn all(wanted: &Wanted, fleet: &Fleet) -> Vec<Verdict> {
    let Some(spec) = wanted.spec() else { return Vec::new() };
    let judge = |at| CHECKS.iter().map(|check| check(wanted, spec, fleet, at)).find(|verdict| !verdict.is_empty());
    (0..fleet.names.len()).map(|at| judge(at).unwrap_or_default()).collect()
}

fn incurable(reason: impl Into<String>) -> Verdict {
    vec![Refusal { reason: reason.into(), curable: false }]
}

fn unschedulable(_: &Wanted, spec: &PodSpec, fleet: &Fleet, at: usize) -> Verdict {
    let stands_for = Taint { key: label::UNSCHEDULABLE.into(), effect: "NoSchedule".into(), ..Taint::default() };
    let closed = fleet.unschedulable.get(at).copied().unwrap_or(true);
    if closed && label::untolerated(spec, &[stands_for], &["NoSchedule"]).is_some() {
        return incurable("node(s) were unschedulable");
    }
    Verdict::new()
}

fn node_name(_: &Wanted, spec: &PodSpec, fleet: &Fleet, at: usize) -> Verdict {
    let asked = spec.node_name.as_ref().filter(|name| !name.is_empty());
    if asked.is_some_and(|asked| fleet.names.get(at) != Some(asked)) {
        return incurable("node(s) didn't match the requested node name");
    }
    Verdict::new()
}

fn taints(_: &Wanted, spec: &PodSpec, fleet: &Fleet, at: usize) -> Verdict {
    let taints = fleet.taints.get(at).map(Vec::as_slice).unwrap_or_default();
    match label::untolerated(spec, taints, &["NoSchedule", "NoExecute"]) {
        Some(taint) => {
            let value = taint.value.as_deref().unwrap_or_default();
            incurable(format!("node(s) had untolerated taint {{{}: {value}}}", taint.key))
        }
        None => Verdict::new(),
    }
}

fn selector(_: &Wanted, spec: &PodSpec, fleet: &Fleet, at: usize) -> Verdict {
    let fits =
        fleet.names.get(at).zip(fleet.labels.get(at)).is_some_and(|(name, labels)| label::selects(spec, name, labels));
    if fits { Verdict::new() } else { incurable("node(s) didn't match Pod's node affinity/selector") }
}

fn ports(wanted: &Wanted, _: &PodSpec, fleet: &Fleet, at: usize) -> Verdict {
    let used = fleet.ports.get(at).map(Vec::as_slice).unwrap_or_default();
    if wanted.ports.iter().any(|port| used.iter().any(|other| clash(port, other))) {
        let reason = "node(s) didn't have free ports for the requested pod ports".into();
        return vec![Refusal { reason, curable: true }];
    }
    Verdict::new()
}

fn clash(a: &HostPort, b: &HostPort) -> bool {
    let everywhere = |address: &str| address.is_empty() || address == "0.0.0.0" || address == "::";
    a.0 == b.0 && a.2 == b.2 && (a.1 == b.1 || everywhere(&a.1) || everywhere(&b.1))
}

fn resources(wanted: &Wanted, _: &PodSpec, fleet: &Fleet, at: usize) -> Verdict {
    let Some((capacity, taken)) = fleet.capacity.get(at).zip(fleet.taken.get(at)) else { return Verdict::new() };
    let need = &wanted.requests;
    let mut verdict = Verdict::new();
    let mut check = |name: &str, need: i64, capacity: i64, taken: i64| {
        if need > 0 && need > capacity.saturating_sub(taken) {
            verdict.push(Refusal { reason: format!("Insufficient {name}"), curable: need <= capacity });
        }
    };
    check("cpu", need.cpu_millis, capacity.cpu_millis, taken.cpu_millis);
    check("memory", need.memory_bytes, capacity.memory_bytes, taken.memory_bytes);
    check("ephemeral-storage", need.ephemeral_bytes, capacity.ephemeral_bytes, taken.ephemeral_bytes);
    for (name, amount) in &need.other {
        let of = |amounts: &Amounts| amounts.other.get(name).copied().unwrap_or(0);
        check(name, *amount, of(capacity), of(taken));
    }
    if taken.pods + need.pods > capacity.pods {
        verdict.insert(0, Refusal { reason: "Too many pods".into(), curable: true });
    }
    verdict
}

//! Which of the nodes that fit is best.

use k8s_openapi::api::core::v1::PodSpec;
use rand::RngCore;

use super::filter::Verdict;
use super::fleet::Fleet;
use super::label;
use super::request::Wanted;

/// The best score of one rule.
const FULL: i64 = 100;

/// One rule: a raw number per node, how it is brought to 0..=100, and what it weighs (as in Kubernetes' defaults).
struct Rule {
    raw: fn(&Wanted, &PodSpec, &Fleet, usize) -> i64,
    scale: Scale,
    weight: i64,
}

enum Scale {
    /// The number is a score already.
    AsIs,
    /// The largest number becomes 100.
    MoreIsBetter,
    /// The largest number becomes 0, zero becomes 100.
    LessIsBetter,
}

const RULES: &[Rule] = &[
    Rule { raw: least_allocated, scale: Scale::AsIs, weight: 1 },
    Rule { raw: balanced, scale: Scale::AsIs, weight: 1 },
    Rule { raw: siblings, scale: Scale::LessIsBetter, weight: 2 },
    Rule { raw: preferred_affinity, scale: Scale::MoreIsBetter, weight: 2 },
    Rule { raw: avoided_taints, scale: Scale::LessIsBetter, weight: 3 },
];

/// The node with the highest score; among equals, one that `rng` draws.
pub(super) fn best(wanted: &Wanted, fleet: &Fleet, verdicts: &[Verdict], rng: &mut dyn RngCore) -> Option<usize> {
    let spec = wanted.spec()?;
    let fitting: Vec<usize> =
        verdicts.iter().enumerate().filter(|(_, verdict)| verdict.is_empty()).map(|(at, _)| at).collect();
    let mut totals = vec![0i64; fitting.len()];
    for rule in RULES.iter().filter(|_| fitting.len() > 1) {
        let raw: Vec<i64> = fitting.iter().map(|at| (rule.raw)(wanted, spec, fleet, *at)).collect();
        let most = raw.iter().copied().max().unwrap_or(0);
        for (total, raw) in totals.iter_mut().zip(raw) {
            *total += rule.weight * rule.scale.apply(raw, most);
        }
    }
    let top = totals.iter().copied().max()?;
    let ties: Vec<usize> =
        fitting.into_iter().zip(totals).filter(|(_, total)| *total == top).map(|(at, _)| at).collect();
    let pick = if ties.len() > 1 { rng.next_u32() as usize % ties.len() } else { 0 };
    ties.get(pick).copied()
}

impl Scale {
    fn apply(&self, raw: i64, most: i64) -> i64 {
        match self {
            Self::AsIs => raw,
            Self::MoreIsBetter if most == 0 => 0,
            Self::MoreIsBetter => raw * FULL / most,
            Self::LessIsBetter if most == 0 => FULL,
            Self::LessIsBetter => FULL - raw * FULL / most,
        }
    }
}

/// CPU and memory as (capacity, taken once the pod is there).
fn after(wanted: &Wanted, fleet: &Fleet, at: usize) -> Option<[(i64, i64); 2]> {
    let (capacity, taken) = fleet.capacity.get(at).zip(fleet.guessed.get(at))?;
    Some([
        (capacity.cpu_millis, taken.0.saturating_add(wanted.guessed.0)),
        (capacity.memory_bytes, taken.1.saturating_add(wanted.guessed.1)),
    ])
}

fn least_allocated(wanted: &Wanted, _: &PodSpec, fleet: &Fleet, at: usize) -> i64 {
    let free = |(capacity, taken): (i64, i64)| {
        if capacity <= 0 || taken >= capacity { 0 } else { hundredths(capacity - taken, capacity) }
    };
    after(wanted, fleet, at).map_or(0, |[cpu, memory]| i64::midpoint(free(cpu), free(memory)))
}

/// How alike the used shares of CPU and memory are.
fn balanced(wanted: &Wanted, _: &PodSpec, fleet: &Fleet, at: usize) -> i64 {
    let used =
        |(capacity, taken): (i64, i64)| if capacity <= 0 { FULL } else { hundredths(taken.min(capacity), capacity) };
    after(wanted, fleet, at).map_or(0, |[cpu, memory]| FULL - (used(cpu) - used(memory)).abs() / 2)
}

fn hundredths(part: i64, whole: i64) -> i64 {
    i64::try_from(i128::from(part) * i128::from(FULL) / i128::from(whole.max(1))).unwrap_or(FULL)
}

fn siblings(wanted: &Wanted, _: &PodSpec, fleet: &Fleet, at: usize) -> i64 {
    i64::try_from(fleet.siblings(at, wanted)).unwrap_or(i64::MAX)
}

fn preferred_affinity(_: &Wanted, spec: &PodSpec, fleet: &Fleet, at: usize) -> i64 {
    let Some((name, labels)) = fleet.names.get(at).zip(fleet.labels.get(at)) else { return 0 };
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let preferred = affinity.and_then(|node| node.preferred_during_scheduling_ignored_during_execution.as_ref());
    preferred
        .into_iter()
        .flatten()
        .filter(|term| label::fits(&term.preference, name, labels))
        .map(|term| i64::from(term.weight))
        .sum()
}

fn avoided_taints(_: &Wanted, spec: &PodSpec, fleet: &Fleet, at: usize) -> i64 {
    let taints = fleet.taints.get(at).map(Vec::as_slice).unwrap_or_default();
    let untolerated = |taint: &&k8s_openapi::api::core::v1::Taint| {
        label::untolerated(spec, std::slice::from_ref(*taint), &["PreferNoSchedule"]).is_some()
    };
    i64::try_from(taints.iter().filter(untolerated).count()).unwrap_or(i64::MAX)
}

//! When what goes wrong, and when it ends: a scenario's faults, laid out in time.

use std::time::Duration;

use super::scenario::{Act, Fault, Target};

/// A fault of the schedule: what, when and whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// What.
    pub act: Act,
    /// Whom, as the scenario says it.
    pub targets: Vec<Target>,
    /// When, from the begin of the load.
    pub begin: Duration,
    /// When it is undone, where it lasts.
    pub end: Option<Duration>,
}

/// A moment at which something is done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    /// When, from the begin of the load.
    pub at: Duration,
    /// Whether the fault begins; of one moment, what ends goes first.
    pub begins: bool,
    /// Which of [`faults`].
    pub fault: usize,
}

/// Every fault by itself, in order of time.
pub fn faults(written: &[Fault]) -> Vec<Planned> {
    let mut planned: Vec<Planned> = written.iter().flat_map(one).collect();
    planned.sort_by_key(|fault| fault.begin);
    planned
}

fn one(fault: &Fault) -> Vec<Planned> {
    let plan = |begin: Duration, targets: &[Target]| Planned {
        act: fault.act,
        targets: targets.to_vec(),
        begin,
        end: fault.lasts.map(|lasts| begin + lasts),
    };
    match fault.in_turn {
        None => vec![plan(fault.at, &fault.nodes)],
        Some(apart) => {
            let turns = (0u32..).map(|nth| fault.at + apart * nth);
            turns.zip(fault.nodes.chunks(1)).map(|(begin, target)| plan(begin, target)).collect()
        }
    }
}

/// All begins and ends, in order.
pub fn steps(planned: &[Planned]) -> Vec<Step> {
    let begins = planned.iter().enumerate().map(|(fault, plan)| Step { at: plan.begin, begins: true, fault });
    let ends = planned.iter().enumerate().filter_map(|(fault, plan)| Some(Step { at: plan.end?, begins: false, fault }));
    let mut steps: Vec<Step> = begins.chain(ends).collect();
    steps.sort();
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn faults_in_turn_come_one_after_another_and_ends_before_begins() {
        let nodes = vec![Target::Node(0), Target::Node(1)];
        let kill = Fault {
            at: seconds(10),
            act: Act::Kill,
            nodes: nodes.clone(),
            lasts: Some(seconds(5)),
            in_turn: Some(seconds(5)),
        };
        let recover =
            Fault { at: seconds(3), act: Act::Recover, nodes: vec![Target::Survivor], lasts: None, in_turn: None };
        let planned = faults(&[kill, recover]);
        let told: Vec<(Act, u64, usize)> =
            planned.iter().map(|plan| (plan.act, plan.begin.as_secs(), plan.targets.len())).collect();
        assert_eq!(told, [(Act::Recover, 3, 1), (Act::Kill, 10, 1), (Act::Kill, 15, 1)]);
        let told: Vec<(u64, bool, usize)> =
            steps(&planned).iter().map(|step| (step.at.as_secs(), step.begins, step.fault)).collect();
        assert_eq!(told, [(3, true, 0), (10, true, 1), (15, false, 1), (15, true, 2), (20, false, 2)]);
    }
}

//! Carries out a schedule on the cluster.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::cluster::Cluster;
use super::damage;
use super::history::{Carried, Repair};
use super::load::Shared;
use super::recorder::Recorder;
use super::scenario::{Act, Scenario, Target};
use super::schedule::{Planned, steps};
use crate::cli::failure::Failure;

/// How often processes are looked after.
const POLL: Duration = Duration::from_millis(100);
/// How often `shoal recover` is tried, a second apart: a survivor refuses until it takes the others for gone.
const RECOVERIES: usize = 20;
const RECOVERY_PAUSE: Duration = Duration::from_secs(1);

/// Faults under way.
pub struct Faults<'a> {
    cluster: &'a mut Cluster,
    shared: &'a Shared,
    recorder: &'a Recorder,
    planned: &'a [Planned],
    /// Of each planned fault that is there: its number in the history, and whom it met.
    active: Vec<Option<(usize, Vec<usize>)>>,
}

impl<'a> Faults<'a> {
    /// Nothing is wrong yet.
    pub fn new(cluster: &'a mut Cluster, shared: &'a Shared, planned: &'a [Planned]) -> Self {
        Self { cluster, shared, recorder: &shared.recorder, planned, active: vec![None; planned.len()] }
    }

    /// Carries everything out, and undoes it, until `end` of the load.
    pub async fn run(mut self, end: Duration) {
        for step in steps(self.planned) {
            self.wait_until(self.recorder.origin() + step.at).await;
            let Some(plan) = self.planned.get(step.fault) else { continue };
            if step.begins { self.begin(step.fault, plan).await } else { self.undo(step.fault, plan).await }
        }
        self.wait_until(self.recorder.origin() + end).await;
    }

    async fn wait_until(&mut self, moment: Instant) {
        loop {
            self.cluster.deaths().into_iter().for_each(|death| self.recorder.death(death));
            let next = (Instant::now() + POLL).min(moment);
            sleep_until(next).await;
            if next >= moment {
                return;
            }
        }
    }

    async fn begin(&mut self, nth: usize, plan: &Planned) {
        let met = self.resolve(&plan.targets);
        let nodes: Vec<String> = met.iter().map(|node| Scenario::node_name(*node)).collect();
        eprintln!("{:>7} ms  {} {}", self.recorder.now() / 1000, plan.act.word(), nodes.join(","));
        let began = self.recorder.now();
        if let Some(active) = self.active.get_mut(nth) {
            *active = Some((usize::MAX, met.clone()));
        }
        let outcome = if met.is_empty() {
            Err(Failure::new("there is no such node now"))
        } else {
            self.act(plan.act, &met).await
        };
        let said = outcome.map_err(|failure| failure.message().to_owned());
        if let Err(why) = &said {
            eprintln!("            {why}");
        }
        let number = self.recorder.fault(Carried { act: plan.act, nodes, began, ended: None, said });
        if let Some(Some(active)) = self.active.get_mut(nth) {
            active.0 = number;
        }
    }

    async fn undo(&mut self, nth: usize, plan: &Planned) {
        let Some((number, met)) = self.active.get_mut(nth).and_then(Option::take) else { return };
        let outcome = self.reverse(plan.act, &met).await.map_err(|failure| failure.message().to_owned());
        eprintln!("{:>7} ms  end of {}", self.recorder.now() / 1000, plan.act.word());
        self.recorder.undone(number, outcome);
    }

    fn resolve(&self, targets: &[Target]) -> Vec<usize> {
        let running: Vec<usize> =
            self.cluster.machines.iter().enumerate().filter(|(_, m)| m.runs()).map(|(nth, _)| nth).collect();
        let leader = self.recorder.leader();
        let leader = (0..self.cluster.machines.len()).find(|nth| Some(Scenario::node_name(*nth)) == leader);
        let mut met: Vec<usize> = Vec::new();
        for target in targets {
            let one: Vec<usize> = match target {
                Target::Node(nth) => vec![*nth],
                Target::Leader => leader.into_iter().collect(),
                Target::Followers => running.iter().copied().filter(|nth| Some(*nth) != leader).collect(),
                Target::Survivor => running.first().copied().into_iter().collect(),
            };
            met.extend(one);
        }
        let mut known = BTreeSet::new();
        met.retain(|nth| known.insert(*nth));
        met
    }

    async fn act(&mut self, act: Act, met: &[usize]) -> Result<String, Failure> {
        match act {
            Act::Kill => self.each(met, super::machine::Machine::kill)?,
            Act::Stop => self.each(met, |machine| machine.hold(true))?,
            Act::Cut | Act::CutOneWay | Act::Isolate => self.lose().await?,
            Act::Fill => {
                for nth in met {
                    if let Some(machine) = self.cluster.machines.get(*nth) {
                        machine.fill().await?;
                    }
                }
            }
            Act::Damage => return self.damage(met).await,
            Act::Recover => return self.recover(met).await,
        }
        Ok(String::new())
    }

    async fn reverse(&mut self, act: Act, met: &[usize]) -> Result<(), Failure> {
        match act {
            Act::Kill | Act::Damage => self.each(met, |machine| machine.start(None)),
            Act::Stop => self.each(met, |machine| machine.hold(false)),
            Act::Cut | Act::CutOneWay | Act::Isolate => self.lose().await,
            Act::Fill => self.each(met, |machine| machine.free()),
            Act::Recover => Ok(()),
        }
    }

    fn each(
        &mut self,
        met: &[usize],
        mut job: impl FnMut(&mut super::machine::Machine) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        for nth in met {
            if let Some(machine) = self.cluster.machines.get_mut(*nth) {
                job(machine)?;
            }
        }
        Ok(())
    }

    /// Loses the packets of all cuts that there are.
    async fn lose(&self) -> Result<(), Failure> {
        let nodes = self.cluster.machines.len();
        let cuts = self.planned.iter().zip(&self.active);
        let lost =
            cuts.filter_map(|(plan, active)| Some(lost(plan.act, &active.as_ref()?.1, nodes))).flatten().collect();
        self.cluster.ground.lose(&lost).await
    }

    /// Kills nodes and damages their stores, of which the numbers are noted.
    async fn damage(&mut self, met: &[usize]) -> Result<String, Failure> {
        let mut said = Vec::new();
        for nth in met {
            let node = Scenario::node_name(*nth);
            let before = damage::number(&self.shared.doors, &node).await;
            let before = before.ok_or_else(|| Failure::new(format!("nobody tells the number of {node}'s replica")))?;
            let machine = self.cluster.machines.get_mut(*nth).ok_or_else(|| Failure::new("there is no such node"))?;
            machine.kill()?;
            said.push(format!("{node}: {}", damage::damage(&machine.plot.data)?));
            let repair = Repair { node, before, after: None, said: None };
            self.recorder.note(|history| history.ending.repairs.push(repair));
        }
        Ok(said.join("\n"))
    }

    /// What the dry run says, then what the command says.
    async fn recover(&self, met: &[usize]) -> Result<String, Failure> {
        let machine = met.first().and_then(|nth| self.cluster.machines.get(*nth));
        let machine = machine.ok_or_else(|| Failure::new("there is no such node"))?;
        let mut last = Failure::new("it was not tried");
        for _ in 0..RECOVERIES {
            let attempt = async {
                let shown = machine.command(&["recover", "--dry-run"]).await?;
                Ok::<_, Failure>([shown, machine.command(&["recover"]).await?].join("\n"))
            };
            match attempt.await {
                Ok(said) => return Ok(said),
                Err(failure) => last = failure,
            }
            tokio::time::sleep(RECOVERY_PAUSE).await;
        }
        Err(last)
    }
}

/// Pairs of a sender and a receiver that a cut parts.
fn lost(act: Act, met: &[usize], nodes: usize) -> BTreeSet<(usize, usize)> {
    match (act, met) {
        (Act::Cut, [one, other]) => [(*one, *other), (*other, *one)].into(),
        (Act::CutOneWay, [from, to]) => [(*from, *to)].into(),
        (Act::Isolate, inside) => {
            let outside = || (0..nodes).filter(|nth| !inside.contains(nth));
            inside.iter().flat_map(|one| outside().flat_map(|other| [(*one, other), (other, *one)])).collect()
        }
        _ => BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_lose_what_they_say() {
        let check = |act, met: &[usize], expect: &[(usize, usize)]| {
            assert_eq!(lost(act, met, 3).into_iter().collect::<Vec<_>>(), expect, "{act:?} {met:?}");
        };
        check(Act::Cut, &[0, 2], &[(0, 2), (2, 0)]);
        check(Act::CutOneWay, &[2, 0], &[(2, 0)]);
        check(Act::Isolate, &[1], &[(0, 1), (1, 0), (1, 2), (2, 1)]);
        check(Act::Isolate, &[0, 1], &[(0, 2), (1, 2), (2, 0), (2, 1)]);
        check(Act::Kill, &[0], &[]);
    }
}

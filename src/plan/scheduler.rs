//! The scheduler: filters every node, scores those that fit, and binds the pod to the best one.
//!
//! Rooms: `request` what a pod needs, `fleet` the nodes as dense arrays, `filter` which nodes fit and why the others do
//! not, `score` which is best, `label` node selectors and taints, `report` what the pod is told where none fits.

mod filter;
mod fleet;
mod label;
mod report;
mod request;
mod score;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use rand::RngCore;

use self::fleet::Fleet;
pub(super) use self::label::tolerates;
use self::request::Wanted;
use super::{Command, Controller, Plan, Snapshot, readiness, write};
use crate::kube::object::{DecodeError, Object};
use crate::kube::resource::id;
use crate::model::{ObjectKey, Timestamp};

/// Most pods that are placed from one snapshot.
pub const BATCH_PODS: usize = 512;
/// When a pod that fits nowhere is tried again though nothing seems to have changed for it.
pub const RETRY_SECONDS: u64 = 60;
/// The scheduler that pods ask for unless they name another.
pub const NAME: &str = "default-scheduler";

/// Places pods on nodes.
#[derive(Debug, Default)]
pub struct Scheduler;

impl Controller for Scheduler {
    fn name(&self) -> &'static str {
        NAME
    }

    fn marks(&self, object: &Object, snapshot: &Snapshot) -> Vec<ObjectKey> {
        if object.key.is(id::NODES) {
            return pending_keys(snapshot);
        }
        if !object.key.is(id::PODS) {
            return Vec::new();
        }
        let gone = snapshot.get(&object.key).is_none();
        if object.pod_node().is_none() {
            return if gone { Vec::new() } else { vec![object.key.clone()] };
        }
        let frees_room = gone || object.is_ended_pod();
        if frees_room { pending_keys(snapshot) } else { Vec::new() }
    }

    fn reconcile(
        &self,
        key: &ObjectKey,
        snapshot: &Snapshot,
        now: Timestamp,
        rng: &mut dyn RngCore,
    ) -> Result<Plan, DecodeError> {
        self.reconcile_batch(std::slice::from_ref(key), snapshot, now, rng).pop().unwrap_or(Ok(Plan::default()))
    }

    /// A pod that fits nowhere is told so; nothing else of it depends on when.
    fn can_wait(&self, plan: &Plan) -> bool {
        !plan.commands.iter().any(|command| matches!(command, Command::Bind { .. }))
    }

    fn batch(&self) -> usize {
        BATCH_PODS
    }

    /// Places the pods in order of priority and age; each sees what the ones before it took.
    fn reconcile_batch(
        &self,
        keys: &[ObjectKey],
        snapshot: &Snapshot,
        now: Timestamp,
        rng: &mut dyn RngCore,
    ) -> Vec<Result<Plan, DecodeError>> {
        let mut plans: Vec<Result<Plan, DecodeError>> = Vec::with_capacity(keys.len());
        let mut queue = Vec::with_capacity(keys.len());
        for (index, key) in keys.iter().enumerate() {
            plans.push(Ok(Plan::default()));
            match waiting(key, snapshot) {
                Ok(Some(wanted)) => queue.push((index, wanted)),
                Ok(None) => {}
                Err(error) => replace(&mut plans, index, Err(error)),
            }
        }
        if queue.is_empty() {
            return plans;
        }
        let mut fleet = match Fleet::read(snapshot) {
            Ok(fleet) => fleet,
            Err(error) => return keys.iter().map(|_| Err(error.clone())).collect(),
        };
        queue.sort_by_key(|(_, wanted)| (Reverse(wanted.priority()), wanted.created(), wanted.object.key.clone()));
        for (index, wanted) in queue {
            replace(&mut plans, index, place(&wanted, &mut fleet, now, rng));
        }
        plans
    }
}

impl Scheduler {
    /// Commands for all of `keys` at once, planned from one snapshot without giving anything away twice.
    ///
    /// # Errors
    /// Where a pod or a node cannot be decoded.
    pub fn plan_batch(
        &self,
        keys: &[ObjectKey],
        snapshot: &Snapshot,
        now: Timestamp,
        rng: &mut dyn RngCore,
    ) -> Result<Vec<Command>, DecodeError> {
        let plans = self.reconcile_batch(keys, snapshot, now, rng);
        let mut commands = Vec::new();
        for plan in plans {
            commands.extend(plan?.commands);
        }
        Ok(commands)
    }
}

fn replace<T>(items: &mut [T], index: usize, item: T) {
    if let Some(at) = items.get_mut(index) {
        *at = item;
    }
}

fn pending_keys(snapshot: &Snapshot) -> Vec<ObjectKey> {
    snapshot.unbound_pods().map(|pod| pod.key.clone()).collect()
}

/// The pod, where it waits for this scheduler.
fn waiting(key: &ObjectKey, snapshot: &Snapshot) -> Result<Option<Wanted>, DecodeError> {
    let Some(object) = snapshot.get(key).filter(|object| object.pod_node().is_none() && !object.is_terminating())
    else {
        return Ok(None);
    };
    // Not kept: a typed pod is many times its JSON, and thousands of pods may wait.
    let pod: Arc<Pod> = Arc::new(object.decode()?);
    let Some(spec) = &pod.spec else { return Ok(None) };
    let ours = spec.scheduler_name.as_deref().is_none_or(|name| name.is_empty() || name == NAME);
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    if !ours || gated || readiness::is_ended(&pod) {
        return Ok(None);
    }
    Wanted::read(object, &pod).map(Some)
}

fn place(wanted: &Wanted, fleet: &mut Fleet, now: Timestamp, rng: &mut dyn RngCore) -> Result<Plan, DecodeError> {
    let verdicts = filter::all(wanted, fleet);
    let Some(chosen) = score::best(wanted, fleet, &verdicts, rng) else {
        let commands = report::unschedulable(wanted, &verdicts, now)?;
        return Ok(Plan { commands, again_after: Some(Duration::from_secs(RETRY_SECONDS)) });
    };
    let Some(node) = fleet.take(chosen, wanted) else { return Ok(Plan::default()) };
    let key = &wanted.object.key;
    let message = format!("Successfully assigned {}/{} to {node}", key.namespace, key.name);
    let bind = Command::Bind { key: key.clone(), uid: wanted.object.uid().to_owned(), node };
    Ok(Plan { commands: vec![bind, write::event(&wanted.object, false, "Scheduled", message)], again_after: None })
}

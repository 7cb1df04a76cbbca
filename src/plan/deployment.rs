//! Deployments: roll a pod template out over replica sets.
//!
//! Rooms: `read` the deployment and its sets as numbers, `template` equality and hash of templates, `revision` which set
//! is new and what its annotations say, `rolling` and `recreate` the strategies, `scaling` proportional scaling,
//! `status` conditions and counts.

mod read;
mod recreate;
mod revision;
mod rolling;
mod scaling;
mod status;
mod template;
#[cfg(test)]
mod tests;

use k8s_openapi::api::apps::v1::Deployment;
use rand::RngCore;

use self::read::Rollout;
use super::{Command, Controller, Plan, Snapshot, owner, select, write};
use crate::kube::object::{DecodeError, Object};
use crate::kube::resource::id;
use crate::model::{ObjectKey, Timestamp};

/// Rolls Deployments out.
#[derive(Debug, Default)]
pub struct Deployments;

impl Controller for Deployments {
    fn name(&self) -> &'static str {
        "deployment-controller"
    }

    fn marks(&self, object: &Object, snapshot: &Snapshot) -> Vec<ObjectKey> {
        if object.key.is(id::DEPLOYMENTS) {
            return vec![object.key.clone()];
        }
        if object.key.is(id::REPLICA_SETS) {
            return marks_of_set(object, snapshot);
        }
        if object.key.is(id::PODS) && snapshot.get(&object.key).is_none() {
            return marks_of_gone_pod(object, snapshot);
        }
        Vec::new()
    }

    fn reconcile(
        &self,
        key: &ObjectKey,
        snapshot: &Snapshot,
        now: Timestamp,
        _rng: &mut dyn RngCore,
    ) -> Result<Plan, DecodeError> {
        let Some(object) = snapshot.get(key) else { return Ok(Plan::default()) };
        let view = object.view::<Deployment>()?;
        let Some(spec) = &view.spec else { return Ok(Plan::default()) };
        let selector = select::of_object(&spec.selector);
        if selector.requirements.is_empty() {
            return selecting_everything(object, &view);
        }
        let claim = owner::claim(object, &selector, id::REPLICA_SETS, snapshot)?;
        if !claim.commands.is_empty() {
            return Ok(Plan { commands: claim.commands, again_after: None });
        }
        let mut rollout = Rollout::read(object, &view, &claim.owned, now)?;
        step(&mut rollout, snapshot)?;
        rollout.finish()
    }
}

/// One step forward: whatever changes replica sets ends the step, and the next begins with that change seen.
fn step(rollout: &mut Rollout, snapshot: &Snapshot) -> Result<(), DecodeError> {
    if rollout.object.is_terminating() {
        rollout.sync_status_only();
        return Ok(());
    }
    rollout.note_pause();
    if rollout.paused() || rollout.is_scaling() {
        rollout.find_new_set(false, snapshot)?;
        rollout.scale_proportionally();
        if rollout.paused() {
            rollout.clean_up_history();
        }
        rollout.sync_status_only();
        return Ok(());
    }
    if rollout.recreates() {
        rollout.recreate(snapshot)?;
    } else {
        rollout.roll(snapshot)?;
    }
    rollout.sync_rollout_status();
    Ok(())
}

fn selecting_everything(object: &Object, view: &Deployment) -> Result<Plan, DecodeError> {
    let mut status = view.status.clone().unwrap_or_default();
    if status.observed_generation >= object.meta.generation {
        return Ok(Plan::default());
    }
    status.observed_generation = object.meta.generation;
    let why = "This deployment is selecting all pods. A non-empty selector is required.";
    let commands = vec![write::event(object, true, "SelectingAll", why), write::status(object, &status)?];
    Ok(Plan { commands, again_after: None })
}

fn marks_of_set(object: &Object, snapshot: &Snapshot) -> Vec<ObjectKey> {
    if owner::controller(object).is_some() {
        return owner::controller_key(object, id::DEPLOYMENTS).into_iter().collect();
    }
    snapshot.list(id::DEPLOYMENTS, Some(&object.key.namespace)).map(|deployment| deployment.key.clone()).collect()
}

/// A `Recreate` deployment waits until the last old pod is gone.
fn marks_of_gone_pod(object: &Object, snapshot: &Snapshot) -> Vec<ObjectKey> {
    let set = owner::controller_key(object, id::REPLICA_SETS).and_then(|key| snapshot.get(&key));
    set.and_then(|set| owner::controller_key(set, id::DEPLOYMENTS)).into_iter().collect()
}

impl Rollout<'_> {
    /// Writes what changed, one update per object.
    fn finish(mut self) -> Result<Plan, DecodeError> {
        let mut commands = Vec::new();
        for set in &self.sets {
            commands.extend(set.write()?);
        }
        commands.append(&mut self.events);
        commands.extend(self.deletions.iter().map(|set| write::delete(set)));
        if let Some(revision) = &self.new_revision {
            commands.push(Command::Patch {
                key: self.object.key.clone(),
                subresource: None,
                body: serde_json::json!({ "metadata": { "annotations": { revision::REVISION: revision } } }),
            });
        }
        if self.status != self.seen_status {
            commands.push(write::status(self.object, &self.status)?);
        }
        Ok(Plan { commands, again_after: self.again_after })
    }
}

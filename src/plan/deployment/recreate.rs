//! `Recreate`: all old pods end before the first new one starts.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use super::read::Rollout;
use crate::kube::object::DecodeError;
use crate::kube::resource::id;
use crate::plan::{Snapshot, readiness};

impl Rollout<'_> {
    /// One step: empty the old sets, wait for their pods to be gone, then make the new set.
    pub(super) fn recreate(&mut self, snapshot: &Snapshot) -> Result<(), DecodeError> {
        self.find_new_set(false, snapshot)?;
        let mut shrunk = false;
        for index in self.old() {
            if self.sets.get(index).is_some_and(|set| set.replicas > 0) {
                shrunk |= self.scale(index, 0);
            }
        }
        if shrunk || self.old_pods_remain(snapshot)? {
            return Ok(());
        }
        if self.new.is_none() {
            self.find_new_set(true, snapshot)?;
        }
        if let Some(index) = self.new {
            self.scale(index, self.desired());
        }
        if self.is_complete(&self.counted()) {
            self.clean_up_history();
        }
        Ok(())
    }

    /// Whether a pod of an old set has not ended, even if it is being deleted.
    fn old_pods_remain(&self, snapshot: &Snapshot) -> Result<bool, DecodeError> {
        for set in self.old().filter_map(|index| self.sets.get(index)) {
            let Some(object) = &set.object else { continue };
            for pod in snapshot.owned_by(object.uid()).filter(|pod| pod.key.is(id::PODS)) {
                let view: Arc<Pod> = pod.view()?;
                if !readiness::is_ended(&view) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

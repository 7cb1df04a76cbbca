//! `RollingUpdate`: the new set grows and the old ones shrink, within `maxSurge` and `maxUnavailable`.

use super::read::{Rollout, Set};
use crate::kube::object::DecodeError;
use crate::plan::Snapshot;

impl Rollout<'_> {
    /// One step of a rolling update: grow the new set, or else shrink old ones, or else clean up.
    pub(super) fn roll(&mut self, snapshot: &Snapshot) -> Result<(), DecodeError> {
        self.find_new_set(true, snapshot)?;
        if self.resize_new_set() || self.shrink_old_sets() {
            return Ok(());
        }
        if self.is_complete(&self.counted()) {
            self.clean_up_history();
        }
        Ok(())
    }

    /// The size that the new set may have now, given what the others ask for.
    pub(super) fn new_set_size(&self) -> i32 {
        let Some(set) = self.new_set() else { return 0 };
        if self.recreates() {
            return self.desired();
        }
        let room = self.desired() + self.max_surge() - self.total_asked();
        if room <= 0 { set.replicas } else { set.replicas + room.min(self.desired() - set.replicas) }
    }

    fn resize_new_set(&mut self) -> bool {
        let Some((index, size)) = self.new.zip(self.new_set().map(|set| set.replicas)) else { return false };
        if size == self.desired() {
            return false;
        }
        let size = if size > self.desired() { self.desired() } else { self.new_set_size() };
        self.scale(index, size)
    }

    /// Takes away old pods that are not available first, since nobody misses them; then available ones, as long as
    /// enough remain.
    fn shrink_old_sets(&mut self) -> bool {
        if self.old().filter_map(|index| self.sets.get(index)).all(|set| set.replicas == 0) {
            return false;
        }
        let least = self.desired() - self.max_unavailable();
        let new_missing = self.new_set().map_or(0, |set| set.replicas - set.available());
        let budget = self.total_asked() - least - new_missing;
        if budget <= 0 {
            return false;
        }
        let unhealthy = self.shrink(budget, |set| set.replicas - set.available());
        let healthy = self.shrink(self.total_available() - least, |set| set.replicas);
        unhealthy || healthy
    }

    /// Shrinks old sets, oldest first, by at most `budget` pods in all and `spare` of each.
    fn shrink(&mut self, budget: i32, spare: impl Fn(&Set) -> i32) -> bool {
        let mut left = budget;
        for index in self.old() {
            let Some(set) = self.sets.get(index) else { continue };
            let cut = spare(set).min(left).min(set.replicas);
            if cut > 0 {
                let size = set.replicas - cut;
                left -= cut;
                self.scale(index, size);
            }
        }
        left < budget
    }
}

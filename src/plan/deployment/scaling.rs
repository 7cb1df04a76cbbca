//! Scaling while a rollout is under way or paused: every set keeps its share.

use std::cmp::Reverse;

use super::read::{Rollout, Set};

impl Rollout<'_> {
    /// Whether the deployment's size has changed since its active sets were last sized.
    pub(super) fn is_scaling(&self) -> bool {
        let active = self.sets.iter().filter(|set| set.replicas > 0);
        active.filter_map(Set::remembered_desired).any(|remembered| remembered != self.desired())
    }

    /// Brings the sets to the deployment's size.
    pub(super) fn scale_proportionally(&mut self) {
        if let Some(only) = self.active_or_latest() {
            if self.sets.get(only).is_some_and(|set| set.replicas != self.desired()) {
                self.scale(only, self.desired());
            }
            return;
        }
        if self.new_is_saturated() {
            for index in self.old() {
                if self.sets.get(index).is_some_and(|set| set.replicas > 0) {
                    self.scale(index, 0);
                }
            }
        } else if !self.recreates() {
            self.share_out();
        }
    }

    /// The only set with pods; where none has any, the new one, or else the latest.
    fn active_or_latest(&self) -> Option<usize> {
        let active: Vec<usize> = self.active().collect();
        match active.as_slice() {
            [] => self.new.or(self.sets.len().checked_sub(1)),
            [only] => Some(*only),
            _ => None,
        }
    }

    fn active(&self) -> impl Iterator<Item = usize> {
        self.sets.iter().enumerate().filter(|(_, set)| set.replicas > 0).map(|(index, _)| index)
    }

    fn new_is_saturated(&self) -> bool {
        let desired = self.desired();
        self.new_set().is_some_and(|set| {
            set.replicas == desired && set.remembered_desired() == Some(desired) && set.available() == desired
        })
    }

    /// Adds or removes pods in proportion to the sets' sizes; what rounding leaves goes to the largest.
    fn share_out(&mut self) {
        let allowed = if self.desired() > 0 { self.desired() + self.max_surge() } else { 0 };
        let change =
            allowed - self.active().filter_map(|index| self.sets.get(index)).map(|set| set.replicas).sum::<i32>();
        let order = self.largest_first(change > 0);
        let mut sizes: Vec<(usize, i32)> = Vec::with_capacity(order.len());
        let mut given = 0;
        for index in order {
            let Some(set) = self.sets.get(index) else { continue };
            let part = self.part(set, change, given);
            given += part;
            sizes.push((index, set.replicas + part));
        }
        if let Some(first) = sizes.first_mut() {
            first.1 = (first.1 + change - given).max(0);
        }
        for (index, size) in sizes {
            self.scale(index, size);
        }
    }

    /// Active sets, largest first; of equal ones the newer first when growing, the older first when shrinking.
    fn largest_first(&self, growing: bool) -> Vec<usize> {
        let mut order: Vec<usize> = self.active().collect();
        if growing {
            order.reverse();
        }
        order.sort_by_key(|index| Reverse(self.sets.get(*index).map_or(0, |set| set.replicas)));
        order
    }

    /// How much of `change` a set takes, `given` being taken already.
    fn part(&self, set: &Set, change: i32, given: i32) -> i32 {
        let left = change - given;
        if left == 0 {
            return 0;
        }
        let fraction = self.fraction(set);
        if change > 0 { fraction.min(left) } else { fraction.max(left) }
    }

    fn fraction(&self, set: &Set) -> i32 {
        if self.desired() == 0 {
            return -set.replicas;
        }
        let most = i64::from(self.desired() + self.max_surge());
        let before = set.remembered_most().filter(|most| *most > 0).or(self.status.replicas).unwrap_or(0).max(1);
        let size = i64::from(set.replicas) * most;
        let rounded = (2 * size + i64::from(before)).div_euclid(2 * i64::from(before));
        i32::try_from(rounded).unwrap_or(i32::MAX) - set.replicas
    }
}

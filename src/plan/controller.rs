//! The shape of every controller: an event only marks keys, the reconciler sees state and never the event.

use std::time::Duration;

use rand::RngCore;

use super::{Command, Snapshot};
use crate::kube::object::{DecodeError, Object};
use crate::model::{ObjectKey, Timestamp};

/// A controller: pure, stateless between calls.
pub trait Controller: Send + Sync + 'static {
    /// The controller's name, e.g. `deployment`; its identity is `system:controller:<name>`.
    fn name(&self) -> &'static str;

    /// Which keys a change of `object` (its version after the change, or its last one) gives reason to reconcile.
    /// `snapshot` already includes the change.
    fn marks(&self, object: &Object, snapshot: &Snapshot) -> Vec<ObjectKey>;

    /// Keys to reconcile at start, besides what `marks` says of every existing object.
    fn initial(&self) -> Vec<ObjectKey> {
        Vec::new()
    }

    /// What to do about `key` now. Called again after every command's effect is in the snapshot.
    ///
    /// # Errors
    /// Where an object it needs cannot be decoded: the reconciler of that key stops loudly.
    fn reconcile(
        &self,
        key: &ObjectKey,
        snapshot: &Snapshot,
        now: Timestamp,
        rng: &mut dyn RngCore,
    ) -> Result<Plan, DecodeError>;

    /// What to write about a command of `key` that the API refused with `message`. Carried out once, not retried;
    /// conflicts are not reported here.
    ///
    /// # Errors
    /// As [`Controller::reconcile`].
    fn refused(
        &self,
        _key: &ObjectKey,
        _command: &Command,
        _message: &str,
        _snapshot: &Snapshot,
        _now: Timestamp,
    ) -> Result<Vec<Command>, DecodeError> {
        Ok(Vec::new())
    }

    /// Whether a plan only says something that can wait while many others say the same; see [`super::pace`].
    fn can_wait(&self, _plan: &Plan) -> bool {
        false
    }

    /// The most keys that [`Controller::reconcile_batch`] is given at once.
    fn batch(&self) -> usize {
        1
    }

    /// Plans several keys from one snapshot. Only a controller whose choices for one key depend on its choices for
    /// another (the scheduler) does more than to take the keys one by one.
    fn reconcile_batch(
        &self,
        keys: &[ObjectKey],
        snapshot: &Snapshot,
        now: Timestamp,
        rng: &mut dyn RngCore,
    ) -> Vec<Result<Plan, DecodeError>> {
        keys.iter().map(|key| self.reconcile(key, snapshot, now, rng)).collect()
    }
}

/// What a reconciler decided.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// In order; the executor stops at the first that fails and plans again.
    pub commands: Vec<Command>,
    /// Look again after this long, even if nothing changes.
    pub again_after: Option<Duration>,
}

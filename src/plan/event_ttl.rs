//! Events are kept for an hour.

use std::time::Duration;

use k8s_openapi::api::core::v1::Event;
use rand::RngCore;

use super::{Controller, Plan, Snapshot, write};
use crate::kube::object::{DecodeError, Object};
use crate::kube::resource::id;
use crate::model::{ObjectKey, Timestamp};

/// How long an event is kept after it was last seen.
pub const KEPT: Duration = Duration::from_hours(1);
/// Expired events are collected at multiples of this, so that they go in groups.
const COLLECT_EVERY_MICROS: i64 = 30_000_000;

/// Deletes old events. Each event is a key of its own: thousands of new ones must not make every one be looked at again.
#[derive(Debug, Default)]
pub struct EventTtl;

impl Controller for EventTtl {
    fn name(&self) -> &'static str {
        "event-ttl-controller"
    }

    fn marks(&self, object: &Object, _snapshot: &Snapshot) -> Vec<ObjectKey> {
        object.key.is(id::EVENTS).then(|| object.key.clone()).into_iter().collect()
    }

    fn reconcile(
        &self,
        key: &ObjectKey,
        snapshot: &Snapshot,
        now: Timestamp,
        _rng: &mut dyn RngCore,
    ) -> Result<Plan, DecodeError> {
        let Some(object) = snapshot.get(key).filter(|event| !event.is_terminating()) else {
            return Ok(Plan::default());
        };
        let left = collected_at(last_seen(object)?).since(now);
        if left.is_zero() {
            return Ok(Plan { commands: vec![write::delete(object)], again_after: None });
        }
        Ok(Plan { commands: Vec::new(), again_after: Some(left) })
    }
}

/// When an event that was last seen at `seen` goes.
fn collected_at(seen: Timestamp) -> Timestamp {
    let expired = (seen + KEPT).0;
    Timestamp(expired.saturating_add((-expired).rem_euclid(COLLECT_EVERY_MICROS)))
}

fn last_seen(object: &Object) -> Result<Timestamp, DecodeError> {
    let event = object.view::<Event>()?;
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    let micro = event.event_time.as_ref().map(|time| time.0);
    let created = object.meta.creation_timestamp.as_ref().map(|time| time.0);
    Ok([series, last, micro, created].into_iter().flatten().max().map(Timestamp::from).unwrap_or_default())
}

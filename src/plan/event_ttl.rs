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
/// Most events deleted by one plan; the rest follows in the next plan.
pub const BURST: usize = 200;
/// Expired events are collected this often at most, so that they go in groups.
pub const COLLECT_EVERY: Duration = Duration::from_secs(30);

/// Deletes old events. Its only key stands for all of them.
#[derive(Debug, Default)]
pub struct EventTtl;

impl Controller for EventTtl {
    fn name(&self) -> &'static str {
        "event-ttl-controller"
    }

    fn initial(&self) -> Vec<ObjectKey> {
        vec![ObjectKey::new(id::EVENTS, "", "")]
    }

    fn marks(&self, object: &Object, _snapshot: &Snapshot) -> Vec<ObjectKey> {
        if object.key.is(id::EVENTS) { self.initial() } else { Vec::new() }
    }

    fn reconcile(
        &self,
        _key: &ObjectKey,
        snapshot: &Snapshot,
        now: Timestamp,
        _rng: &mut dyn RngCore,
    ) -> Result<Plan, DecodeError> {
        let mut plan = Plan::default();
        let mut next: Option<Duration> = None;
        for object in snapshot.list(id::EVENTS, None).filter(|event| !event.is_terminating()) {
            let left = KEPT.saturating_sub(now.since(last_seen(object)?));
            if !left.is_zero() {
                next = Some(next.map_or(left, |next| next.min(left)));
            } else if plan.commands.len() < BURST {
                plan.commands.push(write::delete(object));
            } else {
                next = Some(Duration::ZERO);
            }
        }
        plan.again_after = next.map(|next| if next.is_zero() { next } else { next.max(COLLECT_EVERY) });
        Ok(plan)
    }
}

fn last_seen(object: &Object) -> Result<Timestamp, DecodeError> {
    let event = object.view::<Event>()?;
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    let micro = event.event_time.as_ref().map(|time| time.0);
    let created = object.meta.creation_timestamp.as_ref().map(|time| time.0);
    Ok([series, last, micro, created].into_iter().flatten().max().map(Timestamp::from).unwrap_or_default())
}

//! The two faces of an event: stored as core `v1`, served also as `events.k8s.io/v1`.

use serde_json::{Map, Value};

/// Name in core `v1`, name in `events.k8s.io/v1`.
const NAMES: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// The `events.k8s.io/v1` face of a core event.
#[must_use]
pub fn to_events_v1(event: Value) -> Value {
    renamed(event, "events.k8s.io/v1", |core, faced| (core, faced))
}

/// The core event, as it is stored, of an `events.k8s.io/v1` one.
#[must_use]
pub fn from_events_v1(event: Value) -> Value {
    renamed(event, "v1", |core, faced| (faced, core))
}

fn renamed(
    event: Value,
    api_version: &str,
    order: fn(&'static str, &'static str) -> (&'static str, &'static str),
) -> Value {
    let Value::Object(mut fields) = event else { return event };
    let mut moved = Map::new();
    for (core, faced) in NAMES {
        let (from, to) = order(core, faced);
        if let Some(value) = fields.remove(from) {
            moved.insert(to.to_owned(), value);
        }
    }
    fields.append(&mut moved);
    fields.insert("apiVersion".to_owned(), api_version.into());
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{from_events_v1, to_events_v1};

    #[test]
    fn an_event_keeps_everything_on_its_way_to_the_other_face_and_back() {
        let core = json!({ "apiVersion": "v1", "kind": "Event", "metadata": { "name": "e" }, "type": "Normal",
            "involvedObject": { "kind": "Pod" }, "message": "m", "reason": "Started", "count": 3, "eventTime": null,
            "source": { "component": "c" }, "firstTimestamp": "t1", "lastTimestamp": "t2", "reportingComponent": "c" });
        let faced = json!({ "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": { "name": "e" },
            "type": "Normal", "regarding": { "kind": "Pod" }, "note": "m", "reason": "Started", "deprecatedCount": 3,
            "eventTime": null, "deprecatedSource": { "component": "c" }, "deprecatedFirstTimestamp": "t1",
            "deprecatedLastTimestamp": "t2", "reportingController": "c" });
        assert_eq!(to_events_v1(core.clone()), faced);
        assert_eq!(from_events_v1(faced), core);
    }
}

//! Who is stopped when, and traces in which a node and its leader lose each other at every moment.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::model::Revision;

fn pod(meta: Value, tolerations: Value) -> Object {
    let mut meta = meta;
    meta["name"] = "p".into();
    meta["uid"] = "u".into();
    let body = json!({ "metadata": meta, "spec": { "nodeName": "n", "tolerations": tolerations } });
    let key = ObjectKey::new(id::PODS, "default", "p");
    Object::new(key, Revision(1), serde_json::to_vec(&body).unwrap().into()).unwrap()
}

fn single() -> Value {
    json!({ "annotations": { AT_MOST_ONE: "true" } })
}

fn tolerates(seconds: u64) -> Value {
    json!([{ "key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds }])
}

#[test]
fn pods_of_stateful_sets_and_those_that_say_so_must_not_run_twice() {
    let owner = |kind: &str, controller: bool| {
        json!({ "ownerReferences": [{ "apiVersion": "apps/v1", "kind": kind, "name": "s", "uid": "s",
                                      "controller": controller }] })
    };
    let check = |meta: Value, expect: bool| assert_eq!(is_at_most_one(&pod(meta.clone(), json!([]))), expect, "{meta}");
    check(json!({}), false);
    check(single(), true);
    check(json!({ "annotations": { AT_MOST_ONE: "false" } }), false);
    check(owner("StatefulSet", true), true);
    check(owner("StatefulSet", false), false);
    check(owner("ReplicaSet", true), false);
}

#[test]
fn the_time_is_the_pods_own_within_bounds() {
    let check = |tolerations: Value, seconds: u64| {
        let found = tolerated(&pod(single(), tolerations.clone())).unwrap();
        assert_eq!(found, Some(Duration::from_secs(seconds)), "{tolerations}");
    };
    check(tolerates(5), 5);
    check(json!([]), LEAST_TOLERATION.as_secs());
    check(tolerates(0), LEAST_TOLERATION.as_secs());
    check(tolerates(100_000), MOST_TOLERATION.as_secs());
    check(json!([{ "operator": "Exists" }]), MOST_TOLERATION.as_secs());
    assert_eq!(tolerated(&pod(json!({}), tolerates(5))).unwrap(), None);
}

#[test]
fn a_node_without_a_quorum_stops_in_time_and_starts_nothing() {
    let check = |tolerated: Option<u64>, silence: Silence, expect: Verdict| {
        let verdict = judge(tolerated.map(Duration::from_secs), silence, Duration::from_millis(1_500));
        assert_eq!(verdict, expect, "{tolerated:?} {silence:?}");
    };
    let lost = |ms: u64| Silence::For(Duration::from_millis(ms));
    check(Some(5), lost(4_495), Verdict::Run);
    // 4.5 s less 4.5 ms, and a thousandth of it, reach 6.5 s less the margin.
    check(Some(5), lost(4_496), Verdict::Stop);
    check(Some(300), lost(299_200), Verdict::Run);
    check(Some(300), lost(299_201), Verdict::Stop);
    check(None, lost(3_600_000), Verdict::Run);
    check(Some(5), Silence::Never(Duration::ZERO), Verdict::Hold);
    check(Some(300), Silence::Never(FIRST_WORD), Verdict::Stop);
    check(None, Silence::Never(FIRST_WORD), Verdict::Run);
}

#[test]
fn it_must_have_ended_a_grace_after_it_is_stopped() {
    let decide_after = Duration::from_millis(1_500);
    for tolerated in [3, 5, 300].map(Duration::from_secs) {
        let whole = left(tolerated, Duration::ZERO, decide_after);
        let stops = whole - GRACE;
        assert_eq!(judge(Some(tolerated), Silence::For(stops + Duration::from_millis(1)), decide_after), Verdict::Stop);
        assert_eq!(judge(Some(tolerated), Silence::For(stops - Duration::from_millis(1)), decide_after), Verdict::Run);
        assert_eq!(left(tolerated, whole - GRACE, decide_after), GRACE);
        assert_eq!(left(tolerated, whole + GRACE, decide_after), Duration::ZERO);
    }
}

/// A node asks its leader every 250 ms until it is cut off at `cut_ms`; answers take `way_ms` each way, and the last one
/// may get lost. Its clock runs slower than the leader's by one part in [`DRIFT`]. Gives when, by the leader's clock, the
/// pod is certainly ended on the node, and when its replacement can be made at the earliest.
fn lose(cut_ms: u64, way_ms: u64, tolerated: Duration, decide_after: Duration) -> (Duration, Duration) {
    const TICK: u64 = 100;
    let asked: Vec<u64> = (0..).map(|nth| nth * 250).take_while(|at| *at + way_ms <= cut_ms).collect();
    // The leader doubted it long before: only its own answers put the declaration off.
    let answered_here = asked.last().map_or(0, |at| at + way_ms);
    let declared = Duration::from_millis(answered_here) + decide_after;
    let replaced = declared + tolerated;
    let heard = asked.iter().rev().find(|at| *at + 2 * way_ms <= cut_ms).copied().unwrap_or(0);
    let stops = (0_u64..)
        .map(|nth| Duration::from_millis(heard + nth * TICK))
        .find(|now| {
            let real = *now - Duration::from_millis(heard);
            let shown = real - real / (DRIFT + 1);
            judge(Some(tolerated), Silence::For(shown), decide_after) == Verdict::Stop
        })
        .unwrap();
    // One tick more until it is carried out, then the grace.
    (stops + Duration::from_millis(TICK) + GRACE, replaced)
}

#[test]
fn whenever_they_lose_each_other_the_pod_has_ended_before_its_replacement_is_made() {
    let mut tightest = Duration::MAX;
    for (tolerated, decide_after) in [(3, 500), (5, 1_500), (30, 1_500), (300, 1_500), (5, 30_000)] {
        let (tolerated, decide_after) = (Duration::from_secs(tolerated), Duration::from_millis(decide_after));
        for cut_ms in (1_000..3_000).step_by(7) {
            for way_ms in [0, 1, 40, 200, 400] {
                let (ended, replaced) = lose(cut_ms, way_ms, tolerated, decide_after);
                let room = replaced.checked_sub(ended).unwrap_or_else(|| panic!("{ended:?} is after {replaced:?}"));
                tightest = tightest.min(room);
            }
        }
    }
    // What is left is for the kill and for clocks of control nodes; the checks above must not be idle.
    assert!(tightest >= Duration::from_millis(700) && tightest < MARGIN, "{tightest:?}");
}

#[test]
fn a_place_is_held_until_the_pod_has_certainly_ended() {
    let at = |text: &str| Timestamp::parse(text).unwrap();
    let gone = json!({ "deletionTimestamp": "2026-01-01T00:00:00Z", "annotations": { AT_MOST_ONE: "true" } });
    let cluster = |taints: Option<Value>| {
        let mut snapshot = Snapshot::default();
        if let Some(taints) = taints {
            let body = json!({ "metadata": { "name": "n", "uid": "n" }, "spec": { "taints": taints } });
            let key = ObjectKey::new(id::NODES, "", "n");
            let bytes = serde_json::to_vec(&body).unwrap().into();
            snapshot.put(Arc::new(Object::new(key, Revision(2), bytes).unwrap()));
        }
        snapshot
    };
    let dead = json!([{ "key": UNREACHABLE, "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:10Z" }]);
    let check = |meta: &Value, taints: Option<&Value>, now: &str, expect: Place| {
        let found = place(&pod(meta.clone(), tolerates(5)), &cluster(taints.cloned()), at(now)).unwrap();
        assert_eq!(found, expect, "{meta} {taints:?} {now}");
    };
    let late = "2026-01-01T00:01:00Z";
    check(&json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" }), Some(&json!([])), late, Place::Free);
    check(&gone, Some(&json!([])), late, Place::Held(None));
    check(&gone, None, late, Place::Held(None));
    check(&gone, Some(&dead), "2026-01-01T00:00:12Z", Place::Held(Some(Duration::from_secs(3))));
    check(&gone, Some(&dead), "2026-01-01T00:00:15Z", Place::Free);
    let custom = json!([{ "key": "mine", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:10Z" }]);
    check(&gone, Some(&custom), late, Place::Held(None));
}

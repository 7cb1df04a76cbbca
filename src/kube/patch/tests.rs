//! What each patch language makes of an object.

use serde_json::{Value, json};

use super::{Kind, apply};

const POD: &str = "io.k8s.api.core.v1.Pod";
const DEPLOYMENT: &str = "io.k8s.api.apps.v1.Deployment";
const SERVICE: &str = "io.k8s.api.core.v1.Service";

#[track_caller]
fn check(kind: Kind, type_name: &str, current: &Value, patch: &Value, expect: &Value) {
    assert_eq!(&apply(kind, type_name, current, patch).unwrap(), expect);
}

#[track_caller]
fn refused(kind: Kind, current: &Value, patch: &Value) -> (u16, String) {
    let error = apply(kind, POD, current, patch).unwrap_err();
    (error.code, error.message)
}

#[test]
fn json_patches_apply_in_order_or_not_at_all() {
    let object = json!({ "a": { "list": [1, 3] }, "b": "x" });
    let patch = json!([
        { "op": "test", "path": "/b", "value": "x" },
        { "op": "add", "path": "/a/list/1", "value": 2 },
        { "op": "add", "path": "/a/list/-", "value": 4 },
        { "op": "copy", "from": "/a/list", "path": "/c" },
        { "op": "move", "from": "/b", "path": "/a/m~1n" },
        { "op": "remove", "path": "/c/0" },
    ]);
    check(Kind::Json, POD, &object, &patch, &json!({ "a": { "list": [1, 2, 3, 4], "m/n": "x" }, "c": [2, 3, 4] }));
}

#[test]
fn json_patches_that_do_not_fit_say_why() {
    let object = json!({ "a": 1 });
    let bad = "the server rejected our request due to an error in our request: ";
    for (patch, code, expect) in [
        (
            json!([{ "op": "test", "path": "/a", "value": 2 }]),
            422,
            format!("{bad}testing path /a failed (operation 0)"),
        ),
        (
            json!([{ "op": "add", "path": "/b", "value": 2 }, { "op": "remove", "path": "/c" }]),
            422,
            format!("{bad}remove operation 1 does not apply: doc is missing path: /c"),
        ),
        (json!([{ "op": "replace", "path": "", "value": 2 }]), 422, format!("{bad}the patch leaves no object")),
    ] {
        assert_eq!(refused(Kind::Json, &object, &patch), (code, expect));
    }
    assert_eq!(refused(Kind::Json, &object, &json!([{ "op": "grow", "path": "/a" }])).0, 400);
    assert_eq!(refused(Kind::Json, &object, &json!({ "a": 1 })).0, 400);
    let many: Vec<_> = (0..10_001).map(|_| json!({ "op": "test", "path": "/a", "value": 1 })).collect();
    assert_eq!(refused(Kind::Json, &object, &many.into()).0, 413);
    let doubling: Vec<_> = (0..40).map(|i| json!({ "op": "copy", "from": "", "path": format!("/k{i}") })).collect();
    assert_eq!(refused(Kind::Json, &object, &doubling.into()).0, 422);
}

#[test]
fn merge_patches_replace_lists_and_remove_nulls() {
    let object = json!({ "a": { "b": 1, "c": 2 }, "list": [1, 2] });
    let patch = json!({ "a": { "b": null, "d": { "e": null, "f": 3 } }, "list": [3] });
    check(Kind::Merge, POD, &object, &patch, &json!({ "a": { "c": 2, "d": { "f": 3 } }, "list": [3] }));
    assert_eq!(refused(Kind::Merge, &object, &json!([1])).0, 400);
}

fn pod(containers: Value) -> Value {
    json!({ "spec": { "containers": containers } })
}

#[test]
fn containers_merge_by_name_and_new_ones_come_first() {
    let object = pod(json!([{ "name": "a", "image": "1", "args": ["x"] }, { "name": "b", "image": "2" }]));
    let patch = pod(json!([{ "name": "b", "image": "3" }, { "name": "c", "image": "4" }]));
    let expect = pod(json!([
        { "name": "a", "image": "1", "args": ["x"] }, { "name": "b", "image": "3" }, { "name": "c", "image": "4" } ]));
    check(Kind::Strategic, POD, &object, &patch, &expect);
    let patch = pod(json!([{ "name": "new", "image": "5", "tty": null }]));
    let expect = pod(json!([
        { "name": "new", "image": "5" }, { "name": "a", "image": "1", "args": ["x"] }, { "name": "b", "image": "2" } ]));
    check(Kind::Strategic, POD, &object, &patch, &expect);
}

#[test]
fn nested_lists_merge_by_their_own_keys_and_plain_lists_are_replaced() {
    let object = pod(json!([{ "name": "a", "args": ["x", "y"], "env": [{ "name": "K", "value": "1" }],
        "ports": [{ "containerPort": 80, "protocol": "TCP" }], "volumeMounts": [{ "mountPath": "/d", "name": "v" }] }]));
    let patch = pod(json!([{ "name": "a", "args": ["z"], "env": [{ "name": "K", "value": "2" }],
        "ports": [{ "containerPort": 80, "name": "web" }], "volumeMounts": [{ "mountPath": "/d", "readOnly": true }] }]));
    let expect = pod(json!([{ "name": "a", "args": ["z"], "env": [{ "name": "K", "value": "2" }],
        "ports": [{ "containerPort": 80, "protocol": "TCP", "name": "web" }],
        "volumeMounts": [{ "mountPath": "/d", "name": "v", "readOnly": true }] }]));
    check(Kind::Strategic, POD, &object, &patch, &expect);
}

#[test]
fn directives_delete_replace_and_order_items() {
    let object = pod(json!([{ "name": "a" }, { "name": "b" }, { "name": "c" }]));
    let patch = pod(json!([{ "$patch": "delete", "name": "b" }]));
    check(Kind::Strategic, POD, &object, &patch, &pod(json!([{ "name": "a" }, { "name": "c" }])));
    let patch = pod(json!([{ "$patch": "replace" }, { "name": "z" }]));
    check(Kind::Strategic, POD, &object, &patch, &pod(json!([{ "name": "z" }])));
    let patch = json!({ "spec": { "$setElementOrder/containers": [{ "name": "c" }, { "name": "a" }, { "name": "n" }],
        "containers": [{ "name": "n" }, { "name": "a", "image": "i" }] } });
    let expect = pod(json!([{ "name": "b" }, { "name": "c" }, { "name": "a", "image": "i" }, { "name": "n" }]));
    check(Kind::Strategic, POD, &object, &patch, &expect);
    let patch = json!({ "spec": { "$patch": "replace", "nodeName": "n" } });
    check(Kind::Strategic, POD, &object, &patch, &json!({ "spec": { "nodeName": "n" } }));
}

#[test]
fn scalars_in_merging_lists_are_a_set() {
    let object = json!({ "metadata": { "finalizers": ["a", "b", "c"] } });
    let patch = json!({ "metadata": { "$deleteFromPrimitiveList/finalizers": ["b"], "finalizers": ["d", "a"],
        "$setElementOrder/finalizers": ["a", "d", "c"] } });
    check(Kind::Strategic, POD, &object, &patch, &json!({ "metadata": { "finalizers": ["a", "d", "c"] } }));
}

#[test]
fn retained_keys_drop_the_other_members_of_a_union() {
    let object = json!({ "spec": { "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1 } } } });
    let patch = json!({ "spec": { "strategy": { "$retainKeys": ["type"], "type": "Recreate" } } });
    check(Kind::Strategic, DEPLOYMENT, &object, &patch, &json!({ "spec": { "strategy": { "type": "Recreate" } } }));
    let stray = json!({ "spec": { "strategy": { "$retainKeys": ["type"], "rollingUpdate": {} } } });
    assert_eq!(apply(Kind::Strategic, DEPLOYMENT, &object, &stray).unwrap_err().code, 400);
}

#[test]
fn labels_merge_nulls_remove_and_absent_nulls_vanish() {
    let object =
        json!({ "metadata": { "labels": { "a": "1", "b": "2" } }, "spec": { "ports": [{ "port": 80, "name": "x" }] } });
    let patch = json!({ "metadata": { "labels": { "a": null, "c": "3" }, "annotations": { "k": null } },
        "spec": { "ports": [{ "port": 80, "targetPort": 8080 }], "selector": null } });
    let expect = json!({ "metadata": { "labels": { "b": "2", "c": "3" }, "annotations": {} },
        "spec": { "ports": [{ "port": 80, "name": "x", "targetPort": 8080 }] } });
    check(Kind::Strategic, SERVICE, &object, &patch, &expect);
}

#[test]
fn strategic_patches_that_do_not_fit_are_refused() {
    let object = pod(json!([{ "name": "a" }]));
    let (code, message) = refused(Kind::Strategic, &object, &pod(json!([{ "image": "i" }])));
    assert_eq!(code, 422);
    assert!(message.ends_with("an item of containers does not contain declared merge key: name"), "{message}");
    assert_eq!(refused(Kind::Strategic, &object, &json!({ "$patch": "shrink" })).0, 422);
    assert_eq!(refused(Kind::Strategic, &object, &json!("x")).0, 400);
}

/// Merging is idempotent, and merging an object into itself changes nothing.
#[test]
fn applying_a_strategic_patch_twice_changes_nothing_more() {
    let names = ["a", "b", "c", "d"];
    let mut seed: u64 = 7;
    let mut draw = |n: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    for _ in 0..200 {
        let mut containers = |directives: bool| -> Value {
            let mut list = Vec::new();
            for name in names {
                match draw(if directives { 4 } else { 3 }) {
                    0 => {}
                    1 => list.push(json!({ "name": name, "image": draw(3).to_string() })),
                    2 => list.push(json!({ "name": name, "env": [{ "name": draw(3).to_string(), "value": "v" }] })),
                    _ => list.push(json!({ "name": name, "$patch": "delete" })),
                }
            }
            if draw(2) == 0 {
                list.reverse();
            }
            pod(list.into())
        };
        let (object, patch) = (containers(false), containers(true));
        check(Kind::Strategic, POD, &object, &object, &object);
        let once = apply(Kind::Strategic, POD, &object, &patch).unwrap();
        check(Kind::Strategic, POD, &once, &patch, &once);
    }
}

#[test]
fn a_patch_as_long_as_a_request_is_merged_in_good_time() {
    let env = |from: u32| -> Value { (from..from + 40_000).map(|n| json!({ "name": n.to_string() })).collect() };
    let object = pod(json!([{ "name": "a", "env": env(0) }]));
    let patched = apply(Kind::Strategic, POD, &object, &pod(json!([{ "name": "a", "env": env(20_000) }]))).unwrap();
    assert_eq!(patched["spec"]["containers"][0]["env"].as_array().unwrap().len(), 60_000);
}

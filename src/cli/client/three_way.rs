//! What must change so that a live object says what a manifest says: a patch from three sides, as `kubectl apply` makes it.
//!
//! What the manifest says and the live object does not is set; what the manifest said the last time and says no longer
//! is removed; everything else is somebody else's.

use serde_json::{Map, Value, json};

use crate::kube::schema::{self, Shape};

/// Where the manifest of the last time is kept, in the form that kubectl reads too.
pub const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

const NULL: &Value = &Value::Null;

/// The manifest with itself in the annotation.
pub fn annotated(manifest: &Value) -> Value {
    let mut clean = manifest.clone();
    if let Some(annotations) = clean.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(ANNOTATION);
    }
    let mut object = clean.clone();
    let text = format!("{clean}\n");
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if !annotations.is_object() {
            *annotations = json!({});
        }
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(ANNOTATION.into(), text.into());
        }
    }
    object
}

/// The manifest of the last time, where the live object tells it.
pub fn last_applied(live: &Value) -> Value {
    let annotations = live.pointer("/metadata/annotations");
    let text = annotations.and_then(|annotations| annotations.get(ANNOTATION)).and_then(Value::as_str);
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null)
}

/// The patch, and whether it is a strategic one (else a merge patch): that needs a type that is known here.
pub fn patch(type_name: Option<&str>, last: &Value, manifest: &Value, live: &Value) -> (Map<String, Value>, bool) {
    let type_name = type_name.filter(|name| schema::knows(name));
    (object(type_name, last, manifest, live), type_name.is_some())
}

fn object(type_name: Option<&str>, last: &Value, wanted: &Value, live: &Value) -> Map<String, Value> {
    let mut patch = Map::new();
    for (key, wanted) in wanted.as_object().into_iter().flatten() {
        let field = type_name.and_then(|name| schema::field(name, key));
        let last = last.get(key).unwrap_or(NULL);
        match live.get(key) {
            None => {
                if !wanted.is_null() {
                    patch.insert(key.clone(), wanted.clone());
                }
            }
            Some(live) => value(&mut patch, key, field, [last, wanted, live]),
        }
    }
    for key in last.as_object().into_iter().flatten().map(|(key, _)| key) {
        if wanted.get(key).is_none() && live.get(key).is_some() {
            patch.insert(key.clone(), Value::Null);
        }
    }
    patch
}

fn value(patch: &mut Map<String, Value>, key: &str, field: Option<schema::Field>, [last, wanted, live]: [&Value; 3]) {
    let inner = field.and_then(|field| field.type_name);
    let is_map = field.is_some_and(|field| field.shape == Shape::Map);
    match (wanted, live) {
        (Value::Object(_), Value::Object(_)) if !is_map || inner.is_none() => {
            let inner = if is_map { None } else { inner };
            let changes = object(inner, last, wanted, live);
            if !changes.is_empty() {
                patch.insert(key.into(), changes.into());
            }
        }
        (Value::Array(wanted_items), Value::Array(live_items)) if field.is_some_and(|field| field.facts.merges()) => {
            let last_items = last.as_array().map_or(&[][..], Vec::as_slice);
            match field.and_then(|field| field.facts.merge_key) {
                Some(merge_key) => keyed(patch, key, inner, merge_key, [last_items, wanted_items, live_items]),
                None => scalars(patch, key, [last_items, wanted_items, live_items]),
            }
        }
        _ if covers(live, wanted) => {}
        _ => drop(patch.insert(key.into(), wanted.clone())),
    }
}

/// A list whose items are told apart by a key.
fn keyed(
    patch: &mut Map<String, Value>,
    field: &str,
    inner: Option<&str>,
    merge_key: &str,
    [last, wanted, live]: [&[Value]; 3],
) {
    let mut changes = Vec::new();
    let with = |items: &'_ [Value], id: &Value| items.iter().find(|item| item.get(merge_key) == Some(id)).cloned();
    for item in wanted {
        let id = item.get(merge_key).unwrap_or(NULL);
        let Some(found) = with(live, id) else {
            changes.push(item.clone());
            continue;
        };
        let mut change = object(inner, &with(last, id).unwrap_or(Value::Null), item, &found);
        if !change.is_empty() {
            change.insert(merge_key.into(), id.clone());
            changes.push(change.into());
        }
    }
    for id in last.iter().filter_map(|item| item.get(merge_key)) {
        if with(wanted, id).is_none() && with(live, id).is_some() {
            changes.push(json!({"$patch": "delete", merge_key: id}));
        }
    }
    if !changes.is_empty() {
        patch.insert(field.into(), changes.into());
    }
}

/// A list of scalars that is a set.
fn scalars(patch: &mut Map<String, Value>, field: &str, [last, wanted, live]: [&[Value]; 3]) {
    let missing: Vec<Value> = wanted.iter().filter(|item| !live.contains(item)).cloned().collect();
    let gone: Vec<Value> = last.iter().filter(|item| !wanted.contains(item) && live.contains(item)).cloned().collect();
    if !missing.is_empty() {
        patch.insert(field.into(), missing.into());
    }
    if !gone.is_empty() {
        patch.insert(format!("$deleteFromPrimitiveList/{field}"), gone.into());
    }
}

/// Whether `live` says all that `wanted` says; what the server has filled in does not count.
fn covers(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| live.get(key).is_some_and(|live| covers(live, wanted)))
        }
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| covers(live, wanted))
        }
        (live, wanted) => live == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::patch as engine;

    const DEPLOYMENT: &str = "io.k8s.api.apps.v1.Deployment";

    fn deployment(containers: Value, labels: Value) -> Value {
        json!({"metadata": {"name": "a", "labels": labels}, "spec": {"template": {"spec": {"containers": containers}}}})
    }

    #[test]
    fn what_the_server_filled_in_stays_and_nothing_changes_twice() {
        let manifest = deployment(json!([{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]), json!({}));
        let live = deployment(
            json!([{"name": "c", "image": "i", "imagePullPolicy": "Always", "ports": [{"containerPort": 80, "protocol": "TCP"}]}]),
            json!({"other": "x"}),
        );
        assert_eq!(patch(Some(DEPLOYMENT), &manifest, &manifest, &live), (Map::new(), true));
    }

    #[test]
    fn containers_merge_by_name_and_go_when_the_manifest_drops_them() {
        let last = deployment(
            json!([{"name": "a", "image": "1", "tty": true}, {"name": "b", "image": "1"}]),
            json!({"x": "1"}),
        );
        let manifest = deployment(json!([{"name": "a", "image": "2"}, {"name": "c", "image": "1"}]), json!({}));
        let live = deployment(
            json!([{"name": "a", "image": "1", "tty": true}, {"name": "b", "image": "1"}, {"name": "injected", "image": "9"}]),
            json!({"x": "1", "y": "2"}),
        );
        let (changes, _) = patch(Some(DEPLOYMENT), &last, &manifest, &live);
        let after = engine::apply(engine::Kind::Strategic, DEPLOYMENT, &live, &changes.into()).unwrap();
        let mut names: Vec<String> = after["spec"]["template"]["spec"]["containers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|container| format!("{}={}", container["name"], container["image"]).replace('"', ""))
            .collect();
        names.sort();
        assert_eq!(names, ["a=2", "c=1", "injected=9"]);
        assert_eq!(after["metadata"]["labels"], json!({"y": "2"}));
        assert!(!after.to_string().contains("tty"));
    }

    #[test]
    fn a_type_that_is_not_known_gets_a_merge_patch() {
        let (changes, strategic) = patch(
            None,
            &json!({"spec": {"a": 1, "b": 2}}),
            &json!({"spec": {"a": 2}}),
            &json!({"spec": {"a": 1, "b": 2, "c": 3}}),
        );
        assert_eq!((Value::from(changes), strategic), (json!({"spec": {"a": 2, "b": null}}), false));
    }

    #[test]
    fn the_annotation_holds_the_manifest_without_itself() {
        let once = annotated(&json!({"metadata": {"name": "a"}}));
        assert_eq!(last_applied(&once), json!({"metadata": {"name": "a"}}));
        assert_eq!(last_applied(&annotated(&once)), json!({"metadata": {"name": "a", "annotations": {}}}));
    }
}

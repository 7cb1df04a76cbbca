//! Pod specs, in pods and in templates, and what may change of a pod.

use serde_json::Value;

use super::{Causes, container, items, meta, syntax, text, volume};
use crate::kube::status::Cause;

const RESTART: [&str; 3] = ["Always", "OnFailure", "Never"];
const DNS: [&str; 4] = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
const ONLY: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// A pod.
pub(super) fn pod(pod: &Value, found: &mut Causes) {
    spec(&pod["spec"], "spec", found);
}

/// A pod's spec at `path`.
pub(super) fn spec(spec: &Value, path: &str, found: &mut Causes) {
    let volumes = volume::volumes(spec, path, found);
    container::containers(spec, path, &volumes, found);
    one_of(spec, "restartPolicy", path, &RESTART, found);
    one_of(spec, "dnsPolicy", path, &DNS, found);
    if spec["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0) {
        let path = format!("{path}.terminationGracePeriodSeconds");
        found.invalid(path, &spec["terminationGracePeriodSeconds"], "must be greater than or equal to 0");
    }
    if spec["activeDeadlineSeconds"].as_i64().is_some_and(|seconds| !(1..=i64::from(i32::MAX)).contains(&seconds)) {
        let path = format!("{path}.activeDeadlineSeconds");
        found.invalid(path, &spec["activeDeadlineSeconds"], "must be between 1 and 2147483647, inclusive");
    }
    meta::labels(&spec["nodeSelector"], &format!("{path}.nodeSelector"), found);
    for (field, rule) in [
        ("serviceAccountName", syntax::subdomain_name as fn(&str) -> Vec<String>),
        ("nodeName", syntax::subdomain_name),
        ("hostname", syntax::label_name),
        ("subdomain", syntax::label_name),
    ] {
        let name = text(spec, field);
        if !name.is_empty() {
            found.syntax(&format!("{path}.{field}"), &spec[field], rule(name));
        }
    }
    for (path, alias) in items(spec, "hostAliases", path) {
        if text(alias, "ip").parse::<std::net::IpAddr>().is_err() {
            found.invalid(format!("{path}.ip"), &alias["ip"], "must be a valid IP address");
        }
    }
    for (path, toleration) in items(spec, "tolerations", path) {
        self::toleration(toleration, &path, found);
    }
}

/// Reports a value that is set and not allowed; an unset one has been defaulted or is optional.
pub(super) fn one_of(holder: &Value, field: &str, path: &str, allowed: &[&str], found: &mut Causes) {
    let value = &holder[field];
    if !value.is_null() && !value.as_str().is_some_and(|value| allowed.contains(&value)) {
        found.push(Cause::not_supported(format!("{path}.{field}"), value, allowed));
    }
}

fn toleration(toleration: &Value, path: &str, found: &mut Causes) {
    let (key, operator, effect) = (text(toleration, "key"), text(toleration, "operator"), text(toleration, "effect"));
    if !key.is_empty() {
        found.syntax(&format!("{path}.key"), &toleration["key"], syntax::qualified_name(key));
    } else if operator != "Exists" {
        let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        found.invalid(format!("{path}.operator"), &toleration["operator"], detail);
    }
    if !toleration["tolerationSeconds"].is_null() && effect != "NoExecute" {
        let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        found.invalid(format!("{path}.effect"), &toleration["effect"], detail);
    }
    match operator {
        "Exists" if !text(toleration, "value").is_empty() => {
            let detail = "value must be empty when `operator` is 'Exists'";
            found.invalid(format!("{path}.operator"), &toleration["value"], detail);
        }
        "" | "Equal" | "Exists" => {}
        _ => {
            found.push(Cause::not_supported(format!("{path}.operator"), &toleration["operator"], &["Equal", "Exists"]));
        }
    }
    if !effect.is_empty() {
        one_of(toleration, "effect", path, &EFFECTS, found);
    }
}

/// What a plain update may not change.
pub(super) fn change(old: &Value, new: &Value, found: &mut Causes) {
    let (old, new) = (&old["spec"], &new["spec"]);
    let count = |spec: &Value, list: &str| spec[list].as_array().map_or(0, Vec::len);
    for list in ["containers", "initContainers"] {
        if count(old, list) != count(new, list) {
            let detail = "pod updates may not add or remove containers";
            return found.push(Cause::forbidden(format!("spec.{list}"), detail));
        }
    }
    deadline_change(old, new, found);
    let mut as_old = new.clone();
    forget_changes(old, &mut as_old);
    if as_old != *old {
        found.push(Cause::forbidden("spec", ONLY));
    }
}

fn deadline_change(old: &Value, new: &Value, found: &mut Causes) {
    let seconds = |spec: &Value| spec["activeDeadlineSeconds"].as_i64();
    let path = "spec.activeDeadlineSeconds";
    match (seconds(old), seconds(new)) {
        (Some(before), Some(after)) if after > before => {
            let detail = format!("must be less than or equal to previous value \"{before}\"");
            found.invalid(path, &new["activeDeadlineSeconds"], &detail);
        }
        (Some(_), None) => {
            let detail = "must not update from a positive integer to nil value";
            found.invalid(path, &Value::Null, detail);
        }
        _ => {}
    }
}

/// Puts back what may change, so that what is left can be compared.
fn forget_changes(old: &Value, new: &mut Value) {
    for list in ["containers", "initContainers"] {
        let before = old[list].as_array().into_iter().flatten();
        let after = new.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        for (before, after) in before.zip(after) {
            restore(before, after, "image");
        }
    }
    restore(old, new, "activeDeadlineSeconds");
    if old["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0) {
        restore(old, new, "terminationGracePeriodSeconds");
    }
    let before = old["tolerations"].as_array().map(Vec::as_slice).unwrap_or_default();
    let after = new["tolerations"].as_array().map(Vec::as_slice).unwrap_or_default();
    // Kubernetes looks at all but how long a toleration lasts.
    let same = |a: &Value, b: &Value| ["key", "operator", "value", "effect"].iter().all(|part| a[*part] == b[*part]);
    if before.iter().all(|kept| after.iter().any(|candidate| same(kept, candidate))) {
        restore(old, new, "tolerations");
    }
}

fn restore(old: &Value, new: &mut Value, field: &str) {
    let Some(new) = new.as_object_mut() else { return };
    match old.get(field) {
        Some(value) => new.insert(field.to_owned(), value.clone()),
        None => new.remove(field),
    };
}

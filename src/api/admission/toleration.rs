//! `DefaultTolerationSeconds`: how long a pod stays on a node that is not ready or not reachable, where it does not say.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Admission, Attempt, Operation};
use crate::kube::resource::id;
use crate::kube::status::Status;
use crate::store::Op;

/// Taints of such nodes.
const KEYS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct DefaultToleration {
    /// In whole seconds.
    pub wait: Duration,
}

impl Admission for DefaultToleration {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    fn admit(&self, attempt: &Attempt<'_>, object: &mut Value) -> Result<Vec<Op>, Status> {
        let written = matches!(attempt.operation, Operation::Create | Operation::Update);
        if written && attempt.resource.id == id::PODS && attempt.subresource.is_none() {
            self.complete(attempt.old, object);
        }
        Ok(Vec::new())
    }
}

impl DefaultToleration {
    /// Adds what is missing: what the pod had before, else the default of now. A pod that is there does not follow the
    /// setting.
    fn complete(&self, old: Option<&Value>, object: &mut Value) {
        let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
        let tolerations = spec.entry("tolerations").or_insert(Value::Null);
        if tolerations.is_null() {
            *tolerations = json!([]);
        }
        let Some(tolerations) = tolerations.as_array_mut() else { return };
        let had = old.and_then(|old| old.pointer("/spec/tolerations")).and_then(Value::as_array);
        for key in KEYS {
            if tolerations.iter().any(|one| covers(one, key)) {
                continue;
            }
            let before = had.into_iter().flatten().find(|one| covers(one, key) && text(one, "key") == key);
            tolerations.push(before.cloned().unwrap_or_else(|| {
                let seconds = self.wait.as_secs();
                json!({ "effect": "NoExecute", "key": key, "operator": "Exists", "tolerationSeconds": seconds })
            }));
        }
    }
}

fn covers(toleration: &Value, key: &str) -> bool {
    let covered = text(toleration, "key");
    (covered == key || covered.is_empty()) && matches!(text(toleration, "effect"), "" | "NoExecute")
}

fn text<'a>(toleration: &'a Value, field: &str) -> &'a str {
    toleration.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(key: &str, seconds: u64) -> Value {
        json!({ "effect": "NoExecute", "key": key, "operator": "Exists", "tolerationSeconds": seconds })
    }

    fn check(old: Option<Value>, tolerations: Value, expect: Value) {
        let mut pod = json!({ "spec": { "tolerations": tolerations.clone() } });
        let old = old.map(|tolerations| json!({ "spec": { "tolerations": tolerations } }));
        DefaultToleration { wait: Duration::from_secs(5) }.complete(old.as_ref(), &mut pod);
        assert_eq!(pod["spec"]["tolerations"], expect, "{old:?} {tolerations}");
    }

    #[test]
    fn a_pod_that_says_nothing_waits_as_long_as_the_setting_says() {
        let both = json!([wait(KEYS[0], 5), wait(KEYS[1], 5)]);
        check(None, Value::Null, both.clone());
        check(None, json!([]), both);
        check(None, json!([wait(KEYS[1], 60)]), json!([wait(KEYS[1], 60), wait(KEYS[0], 5)]));
        let all = json!([{ "operator": "Exists" }]);
        check(None, all.clone(), all);
        let other = json!({ "key": KEYS[0], "operator": "Exists", "effect": "NoSchedule" });
        check(None, json!([other]), json!([other, wait(KEYS[0], 5), wait(KEYS[1], 5)]));
    }

    #[test]
    fn a_pod_that_is_there_keeps_what_it_was_given() {
        let before = json!([wait(KEYS[0], 300), wait(KEYS[1], 300)]);
        check(Some(before.clone()), Value::Null, before.clone());
        check(Some(before.clone()), before.clone(), before);
        check(Some(json!([{ "operator": "Exists" }])), Value::Null, json!([wait(KEYS[0], 5), wait(KEYS[1], 5)]));
    }
}

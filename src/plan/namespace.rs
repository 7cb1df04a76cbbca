//! Namespaces: the four that always exist, and the emptying of those that are deleted.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Namespace;
use rand::RngCore;
use serde_json::{Value, json};

use super::command::Propagation;
use super::{Command, Controller, Plan, Snapshot, write};
use crate::kube::object::{DecodeError, Object};
use crate::kube::resource::id;
use crate::model::{ObjectKey, Timestamp};

/// Namespaces that exist from the first start.
pub const SYSTEM: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];
/// Most objects that one plan deletes; the rest follows in the next plan.
pub const BURST: usize = 500;
/// The entry of `spec.finalizers` that stands for the emptying done here.
const FINALIZER: &str = "kubernetes";

/// Makes and empties namespaces.
#[derive(Debug, Default)]
pub struct Namespaces;

impl Controller for Namespaces {
    fn name(&self) -> &'static str {
        "namespace-controller"
    }

    fn initial(&self) -> Vec<ObjectKey> {
        SYSTEM.iter().map(|name| key(name)).collect()
    }

    fn marks(&self, object: &Object, snapshot: &Snapshot) -> Vec<ObjectKey> {
        if object.key.is(id::NAMESPACES) {
            return vec![object.key.clone()];
        }
        let home = key(&object.key.namespace);
        let emptying = snapshot.get(&home).is_some_and(|namespace| namespace.is_terminating());
        emptying.then_some(home).into_iter().collect()
    }

    fn reconcile(
        &self,
        key: &ObjectKey,
        snapshot: &Snapshot,
        now: Timestamp,
        _rng: &mut dyn RngCore,
    ) -> Result<Plan, DecodeError> {
        let commands = match snapshot.get(key) {
            None if SYSTEM.contains(&&*key.name) => vec![create(&key.name)],
            Some(namespace) if namespace.is_terminating() => empty(namespace, snapshot, now)?,
            _ => Vec::new(),
        };
        Ok(Plan { commands, again_after: None })
    }
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(id::NAMESPACES, "", name)
}

fn create(name: &str) -> Command {
    let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    Command::Create { resource: id::NAMESPACES, namespace: String::new(), body }
}

/// Deletes what is left; where nothing is, gives the name free.
fn empty(namespace: &Object, snapshot: &Snapshot, now: Timestamp) -> Result<Vec<Command>, DecodeError> {
    let view = namespace.view::<Namespace>()?;
    let held = view.spec.as_ref().and_then(|spec| spec.finalizers.as_ref());
    if !held.is_some_and(|finalizers| finalizers.iter().any(|one| one == FINALIZER)) {
        return Ok(Vec::new());
    }
    let contents: Vec<_> = snapshot.in_namespace(&namespace.key.name).collect();
    if contents.is_empty() {
        return Ok(vec![finalize(namespace)?]);
    }
    let alive = contents.iter().filter(|object| !object.is_terminating()).take(BURST);
    let mut commands: Vec<Command> = alive
        .map(|object| Command::Delete {
            key: object.key.clone(),
            uid: Some(object.uid().to_owned()),
            propagation: Some(Propagation::Background),
            grace_seconds: None,
        })
        .collect();
    if commands.is_empty() {
        let objects = contents.iter().map(|object| &***object);
        commands.extend(report(namespace, &conditions(objects), now)?);
    }
    Ok(commands)
}

fn finalize(namespace: &Object) -> Result<Command, DecodeError> {
    let mut body = namespace.value()?;
    if let Some(finalizers) = body.pointer_mut("/spec/finalizers").and_then(Value::as_array_mut) {
        finalizers.retain(|one| one.as_str() != Some(FINALIZER));
    }
    Ok(write::replace(namespace, Some("finalize"), body))
}

/// Type, whether it is so, reason, message.
type Condition = (&'static str, bool, &'static str, String);

fn conditions<'a>(contents: impl Iterator<Item = &'a Object>) -> Vec<Condition> {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    let mut finalizers: BTreeMap<&str, usize> = BTreeMap::new();
    for object in contents {
        *kinds.entry(&object.key.resource).or_default() += 1;
        for finalizer in object.meta.finalizers.iter().flatten() {
            *finalizers.entry(finalizer).or_default() += 1;
        }
    }
    let left: Vec<String> =
        kinds.iter().map(|(kind, count)| format!("{kind} has {count} resource instances")).collect();
    let held: Vec<String> =
        finalizers.iter().map(|(name, count)| format!("{name} in {count} resource instances")).collect();
    let remaining = format!("Some resources are remaining: {}", left.join(", "));
    let deleted = "All content successfully deleted, may be waiting on finalization";
    let finalizing = if held.is_empty() {
        (
            "NamespaceFinalizersRemaining",
            false,
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished".into(),
        )
    } else {
        let message = format!("Some content in the namespace has finalizers remaining: {}", held.join(", "));
        ("NamespaceFinalizersRemaining", true, "SomeFinalizersRemain", message)
    };
    vec![
        (
            "NamespaceDeletionDiscoveryFailure",
            false,
            "ResourcesDiscovered",
            "All resources successfully discovered".into(),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            false,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed".into(),
        ),
        ("NamespaceDeletionContentFailure", false, "ContentDeleted", deleted.into()),
        ("NamespaceContentRemaining", true, "SomeResourcesRemain", remaining),
        finalizing,
    ]
}

/// The status write, where a condition would say something new.
fn report(namespace: &Object, conditions: &[Condition], now: Timestamp) -> Result<Option<Command>, DecodeError> {
    let mut body = namespace.value()?;
    let current = body.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let next: Vec<Value> = conditions.iter().map(|condition| render(condition, &current, now)).collect();
    if next == current {
        return Ok(None);
    }
    write::set(&mut body, "status", json!({ "phase": "Terminating", "conditions": next }));
    Ok(Some(write::replace(namespace, Some("status"), body)))
}

fn render((name, so, reason, message): &Condition, current: &[Value], now: Timestamp) -> Value {
    let status = if *so { "True" } else { "False" };
    let before = current.iter().find(|one| one.get("type").and_then(Value::as_str) == Some(name));
    let kept = before.filter(|one| one.get("status").and_then(Value::as_str) == Some(status));
    let since = kept.and_then(|one| one.get("lastTransitionTime")).cloned();
    json!({
        "type": name,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since.unwrap_or_else(|| now.rfc3339().into()),
    })
}

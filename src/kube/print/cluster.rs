//! Nodes, namespaces, config maps, secrets, events and leases.

use std::collections::BTreeSet;

use serde_json::Value;

use super::column::{AGE, Column, NAME, Shown};
use super::peek::{NONE, entries, is_true, joined, list, number, or, text, text_or};

const UNKNOWN: &str = "<unknown>";

pub(super) const NODE: &[Column] = &[
    NAME,
    Column::text("Status", "Whether the node is ready, and takes new pods."),
    Column::text("Roles", "The roles that the node's labels give it."),
    AGE,
    Column::text("Version", "The version of the node's agent."),
    Column::text("Internal-IP", "The node's address inside the cluster.").wide(),
    Column::text("External-IP", "The node's address for the outside.").wide(),
    Column::text("OS-Image", "The operating system that the node runs.").wide(),
    Column::text("Kernel-Version", "The kernel that the node runs.").wide(),
    Column::text("Container-Runtime", "The container runtime of the node and its version.").wide(),
];

pub(super) fn node(shown: Shown<'_>) -> Vec<Value> {
    let object = shown.object;
    let address = |kind: &str| {
        let found = list(object, "/status/addresses").iter().find(|address| text(address, "/type") == kind);
        found.map_or(NONE, |address| text(address, "/address"))
    };
    vec![
        shown.name().into(),
        node_status(object).into(),
        or(&joined(roles(object)), NONE).into(),
        shown.age().into(),
        text(object, "/status/nodeInfo/kubeletVersion").into(),
        address("InternalIP").into(),
        address("ExternalIP").into(),
        text_or(object, "/status/nodeInfo/osImage", UNKNOWN).into(),
        text_or(object, "/status/nodeInfo/kernelVersion", UNKNOWN).into(),
        text_or(object, "/status/nodeInfo/containerRuntimeVersion", UNKNOWN).into(),
    ]
}

fn node_status(node: &Value) -> String {
    let ready = list(node, "/status/conditions").iter().rfind(|condition| text(condition, "/type") == "Ready");
    let status = match ready.map(|condition| text(condition, "/status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let cordoned = if is_true(node, "/spec/unschedulable") { ",SchedulingDisabled" } else { "" };
    format!("{status}{cordoned}")
}

fn roles(node: &Value) -> BTreeSet<&str> {
    let labels = node.pointer("/metadata/labels").and_then(Value::as_object).into_iter().flatten();
    labels
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect()
}

pub(super) const NAMESPACE: &[Column] =
    &[NAME, Column::text("Status", "Whether the namespace is in use or being emptied."), AGE];

pub(super) fn namespace(shown: Shown<'_>) -> Vec<Value> {
    vec![shown.name().into(), text(shown.object, "/status/phase").into(), shown.age().into()]
}

pub(super) const CONFIG_MAP: &[Column] = &[NAME, Column::text("Data", "How many entries it has."), AGE];

pub(super) fn config_map(shown: Shown<'_>) -> Vec<Value> {
    let count = entries(shown.object, "/data") + entries(shown.object, "/binaryData");
    vec![shown.name().into(), count.into(), shown.age().into()]
}

pub(super) const SECRET: &[Column] =
    &[NAME, Column::text("Type", "What the secret is for."), Column::text("Data", "How many entries it has."), AGE];

pub(super) fn secret(shown: Shown<'_>) -> Vec<Value> {
    let object = shown.object;
    vec![shown.name().into(), text(object, "/type").into(), entries(object, "/data").into(), shown.age().into()]
}

pub(super) const LEASE: &[Column] = &[NAME, Column::text("Holder", "Who holds the lease."), AGE];

pub(super) fn lease(shown: Shown<'_>) -> Vec<Value> {
    vec![shown.name().into(), text(shown.object, "/spec/holderIdentity").into(), shown.age().into()]
}

pub(super) const EVENT: &[Column] = &[
    Column::text("Last Seen", "When it was last seen."),
    Column::text("Type", "Normal or Warning."),
    Column::text("Reason", "Why it happened, in one word."),
    Column::text("Object", "What it is about."),
    Column::text("Subobject", "The part of the object that it is about.").wide(),
    Column::text("Source", "Who reported it.").wide(),
    Column::text("Message", "What happened, in words."),
    Column::text("First Seen", "When it was first seen.").wide(),
    Column::text("Count", "How often it was seen.").wide(),
    Column { priority: 1, ..NAME },
];

/// Of either face of an event: core `v1` or `events.k8s.io/v1`.
pub(super) fn event(shown: Shown<'_>) -> Vec<Value> {
    let object = shown.object;
    let either = |core: &'static str, faced: &'static str| {
        if object.pointer(core).is_some_and(|value| !value.is_null()) { core } else { faced }
    };
    let first = either(either("/firstTimestamp", "/deprecatedFirstTimestamp"), "/eventTime");
    let last = either(either("/lastTimestamp", "/deprecatedLastTimestamp"), first);
    let about = either("/involvedObject", "/regarding");
    let series = object.pointer("/series").filter(|series| series.is_object());
    let count = match (series, number(object, either("/count", "/deprecatedCount"))) {
        (Some(series), _) => number(series, "/count"),
        (None, 0) => 1,
        (None, count) => count,
    };
    vec![
        shown.since(if series.is_some() { "/series/lastObservedTime" } else { last }).into(),
        text(object, "/type").into(),
        text(object, "/reason").into(),
        target(object.pointer(about).unwrap_or(&Value::Null)).into(),
        text(object, &format!("{about}/fieldPath")).into(),
        source(object).into(),
        text(object, either("/message", "/note")).trim().into(),
        shown.since(first).into(),
        count.into(),
        shown.name().into(),
    ]
}

fn target(about: &Value) -> String {
    let kind = text(about, "/kind").to_lowercase();
    match text(about, "/name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    }
}

fn source(event: &Value) -> String {
    let first = |pointers: &[&str]| {
        pointers.iter().map(|pointer| text(event, pointer)).find(|text| !text.is_empty()).unwrap_or_default()
    };
    let component =
        first(&["/source/component", "/deprecatedSource/component", "/reportingComponent", "/reportingController"]);
    match first(&["/source/host", "/deprecatedSource/host", "/reportingInstance"]) {
        "" => component.to_owned(),
        instance => format!("{component}, {instance}"),
    }
}

//! Defaults of pods, and of the pod templates in workloads.

use serde_json::{Value, json};

use super::{Fields, existing, items, part, put, put_over_zero};

const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// The two classes that every cluster has, with their priorities.
const SYSTEM_CLASSES: [(&str, i64); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

/// A pod: its spec as in a template, and what only a pod itself gets.
pub(super) fn pod(object: &mut Fields) {
    part(object, "status");
    let Some(spec) = part(object, "spec") else { return };
    self::spec(spec);
    put(spec, "enableServiceLinks", true);
    let class = spec.get("priorityClassName").and_then(Value::as_str).unwrap_or_default();
    let priority = SYSTEM_CLASSES.iter().find(|(name, _)| *name == class).map_or(0, |(_, priority)| *priority);
    put(spec, "priority", priority);
    put(spec, "preemptionPolicy", "PreemptLowerPriority");
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["initContainers", "containers"] {
        for container in items(spec, list) {
            requests_from_limits(container);
            if host_network {
                items(container, "ports").for_each(host_port);
            }
        }
    }
    requests_from_limits(spec);
}

/// The template in a workload's spec.
pub(super) fn template(workload: &mut Fields) {
    let Some(template) = part(workload, "template") else { return };
    part(template, "metadata");
    if let Some(spec) = part(template, "spec") {
        self::spec(spec);
    }
}

fn spec(spec: &mut Fields) {
    put_over_zero(spec, "dnsPolicy", "ClusterFirst");
    put_over_zero(spec, "restartPolicy", "Always");
    put_over_zero(spec, "schedulerName", "default-scheduler");
    put(spec, "terminationGracePeriodSeconds", 30);
    part(spec, "securityContext");
    same_account(spec);
    items(spec, "volumes").for_each(volume);
    for list in CONTAINER_LISTS {
        items(spec, list).for_each(container);
    }
}

/// `serviceAccount` is the old name of `serviceAccountName`; both are always served.
fn same_account(spec: &mut Fields) {
    let name = spec.get("serviceAccountName").or_else(|| spec.get("serviceAccount")).cloned();
    if let Some(name) = name.filter(|name| name != "") {
        put_over_zero(spec, "serviceAccountName", name.clone());
        spec.insert("serviceAccount".into(), name);
    }
}

fn container(container: &mut Fields) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let policy = if is_latest(image) { "Always" } else { "IfNotPresent" };
    put_over_zero(container, "imagePullPolicy", policy);
    put_over_zero(container, "terminationMessagePath", "/dev/termination-log");
    put_over_zero(container, "terminationMessagePolicy", "File");
    part(container, "resources");
    items(container, "ports").for_each(|port| put_over_zero(port, "protocol", "TCP"));
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = existing(container, name) {
            self::probe(probe);
        }
    }
    if let Some(lifecycle) = existing(container, "lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(hook) = existing(lifecycle, hook) {
                http_get(hook);
            }
        }
    }
    for variable in items(container, "env") {
        if let Some(source) = existing(variable, "valueFrom") {
            downward(source);
        }
    }
}

/// Whether an image is asked for by the tag `latest`, which no tag and no digest means too.
fn is_latest(image: &str) -> bool {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.rsplit_once(':') {
        Some((_, tag)) => tag == "latest",
        None => digest.is_none(),
    }
}

fn probe(probe: &mut Fields) {
    for (field, value) in
        [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        put_over_zero(probe, field, value);
    }
    http_get(probe);
    if let Some(grpc) = existing(probe, "grpc") {
        put(grpc, "service", "");
    }
}

fn http_get(handler: &mut Fields) {
    if let Some(get) = existing(handler, "httpGet") {
        put_over_zero(get, "path", "/");
        put_over_zero(get, "scheme", "HTTP");
    }
}

/// `fieldRef` and `resourceFieldRef`, wherever they stand.
fn downward(source: &mut Fields) {
    if let Some(field) = existing(source, "fieldRef") {
        put_over_zero(field, "apiVersion", "v1");
    }
    if let Some(field) = existing(source, "resourceFieldRef") {
        put(field, "divisor", "0");
    }
}

fn volume(volume: &mut Fields) {
    if volume.len() == 1 && volume.contains_key("name") {
        volume.insert("emptyDir".into(), json!({}));
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = existing(volume, source) {
            put(source, "defaultMode", 0o644);
        }
    }
    if let Some(path) = existing(volume, "hostPath") {
        put(path, "type", "");
    }
    if let Some(api) = existing(volume, "downwardAPI") {
        items(api, "items").for_each(downward);
    }
    if let Some(projected) = existing(volume, "projected") {
        items(projected, "sources").for_each(projection);
    }
    if let Some(iscsi) = existing(volume, "iscsi") {
        put_over_zero(iscsi, "iscsiInterface", "default");
    }
}

fn projection(source: &mut Fields) {
    if let Some(token) = existing(source, "serviceAccountToken") {
        put(token, "expirationSeconds", 3600);
    }
    if let Some(api) = existing(source, "downwardAPI") {
        items(api, "items").for_each(downward);
    }
}

/// What is limited but not requested is requested up to the limit.
fn requests_from_limits(holder: &mut Fields) {
    let Some(resources) = existing(holder, "resources") else { return };
    let Some(Value::Object(limits)) = resources.get("limits").cloned() else { return };
    if let Some(requests) = part(resources, "requests") {
        for (name, limit) in limits {
            put(requests, &name, limit);
        }
    }
}

fn host_port(port: &mut Fields) {
    if let Some(number) = port.get("containerPort").cloned() {
        put_over_zero(port, "hostPort", number);
    }
}

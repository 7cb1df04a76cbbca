//! Containers of a pod: names, images, ports, environment, mounts, resources; `probe` holds probes and hooks.

mod probe;

use std::collections::BTreeSet;

use serde_json::Value;

use super::pod::one_of;
use super::{Causes, items, syntax, text, volume};
use crate::kube::status::Cause;
use crate::model::Quantity;

const PULL: [&str; 3] = ["Always", "IfNotPresent", "Never"];
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const MESSAGE: [&str; 2] = ["FallbackToLogsOnError", "File"];

type Names<'a> = BTreeSet<&'a str>;
type HostPorts = BTreeSet<(String, String, i64)>;

/// All containers of a pod's spec.
pub(super) fn containers(spec: &Value, path: &str, volumes: &Names, found: &mut Causes) {
    if spec["containers"].as_array().is_none_or(Vec::is_empty) {
        found.required(format!("{path}.containers"), "");
    }
    let mut names = Names::new();
    let mut host_ports = HostPorts::new();
    let host_network = spec["hostNetwork"] == true;
    for list in ["initContainers", "containers"] {
        for (path, container) in items(spec, list, path) {
            self::container(container, &path, volumes, found);
            unique_name(container, &path, &mut names, found);
            // Init containers end before the others start, so that they may use the same ports.
            let mut own = HostPorts::new();
            let taken = if list == "containers" { &mut host_ports } else { &mut own };
            ports(container, &path, host_network, taken, found);
            if list == "initContainers" && container["restartPolicy"] != "Always" {
                without_probes(container, &path, found);
            }
        }
    }
}

fn unique_name<'a>(container: &'a Value, path: &str, names: &mut Names<'a>, found: &mut Causes) {
    let name = text(container, "name");
    let path = format!("{path}.name");
    if name.is_empty() {
        return found.required(path, "");
    }
    found.syntax(&path, &container["name"], syntax::label_name(name));
    if !names.insert(name) {
        found.push(Cause::duplicate(path, &container["name"]));
    }
}

fn without_probes(container: &Value, path: &str, found: &mut Causes) {
    for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        if !container[field].is_null() {
            let detail = "may not be set for init containers without restartPolicy=Always";
            found.push(Cause::forbidden(format!("{path}.{field}"), detail));
        }
    }
}

fn container(container: &Value, path: &str, volumes: &Names, found: &mut Causes) {
    let image = text(container, "image");
    if image.is_empty() {
        found.required(format!("{path}.image"), "");
    } else if image.trim() != image {
        found.invalid(format!("{path}.image"), &container["image"], "must not have leading or trailing whitespace");
    }
    one_of(container, "imagePullPolicy", path, &PULL, found);
    one_of(container, "terminationMessagePolicy", path, &MESSAGE, found);
    environment(container, path, found);
    mounts(container, path, volumes, found);
    resources(&container["resources"], &format!("{path}.resources"), found);
    probe::probes(container, path, found);
}

fn ports(container: &Value, path: &str, host_network: bool, taken: &mut HostPorts, found: &mut Causes) {
    let mut names = Names::new();
    for (path, port) in items(container, "ports", path) {
        let name = text(port, "name");
        if !name.is_empty() {
            let complaints = syntax::port_name(name);
            if complaints.is_empty() && !names.insert(name) {
                found.push(Cause::duplicate(format!("{path}.name"), &port["name"]));
            }
            found.syntax(&format!("{path}.name"), &port["name"], complaints);
        }
        let number = port["containerPort"].as_i64().unwrap_or(0);
        if number == 0 {
            found.required(format!("{path}.containerPort"), "");
        } else {
            found.syntax(&format!("{path}.containerPort"), &port["containerPort"], syntax::port_number(number));
        }
        one_of(port, "protocol", &path, &PROTOCOLS, found);
        let host = port["hostPort"].as_i64().unwrap_or(0);
        if host != 0 {
            host_port(port, host, host_network, &path, taken, found);
        }
    }
}

fn host_port(port: &Value, host: i64, host_network: bool, path: &str, taken: &mut HostPorts, found: &mut Causes) {
    let path = format!("{path}.hostPort");
    found.syntax(&path, &port["hostPort"], syntax::port_number(host));
    if host_network && port["containerPort"] != port["hostPort"] {
        let detail = "must match `containerPort` when `hostNetwork` is true";
        found.invalid(&path, &port["containerPort"], detail);
    }
    let place = (text(port, "protocol").to_owned(), text(port, "hostIP").to_owned(), host);
    let shown = format!("{}/{}/{host}", place.0, place.1);
    if !taken.insert(place) {
        found.push(Cause::duplicate(path, &Value::String(shown)));
    }
}

fn environment(container: &Value, path: &str, found: &mut Causes) {
    for (path, variable) in items(container, "env", path) {
        let name = text(variable, "name");
        if name.is_empty() {
            found.required(format!("{path}.name"), "");
        } else {
            found.syntax(&format!("{path}.name"), &variable["name"], syntax::variable_name(name));
        }
        if variable["valueFrom"].is_object() {
            value_from(variable, &format!("{path}.valueFrom"), found);
        }
    }
    for (path, source) in items(container, "envFrom", path) {
        let kinds = ["configMapRef", "secretRef"].map(|kind| &source[kind]);
        match kinds.iter().filter(|kind| kind.is_object()).count() {
            0 => found.invalid(path, &Value::from(""), "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => found.invalid(path, &Value::from(""), "may not have more than one field specified at a time"),
        }
    }
}

fn value_from(variable: &Value, path: &str, found: &mut Causes) {
    let source = &variable["valueFrom"];
    let kinds = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];
    let nothing = Value::from("");
    match kinds.iter().filter(|kind| source[**kind].is_object()).count() {
        0 => {
            let detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
            found.invalid(path, &nothing, detail);
        }
        1 => {}
        _ => found.invalid(path, &nothing, "may not have more than one field specified at a time"),
    }
    if !text(variable, "value").is_empty() {
        found.invalid(path, &nothing, "may not be specified when `value` is not empty");
    }
    for kind in ["configMapKeyRef", "secretKeyRef"] {
        for field in ["name", "key"] {
            if source[kind].is_object() && text(&source[kind], field).is_empty() {
                found.required(format!("{path}.{kind}.{field}"), "");
            }
        }
    }
    if source["fieldRef"].is_object() && text(&source["fieldRef"], "fieldPath").is_empty() {
        found.required(format!("{path}.fieldRef.fieldPath"), "");
    }
}

fn mounts(container: &Value, path: &str, volumes: &Names, found: &mut Causes) {
    let mut points = Names::new();
    for (path, mount) in items(container, "volumeMounts", path) {
        let name = text(mount, "name");
        if name.is_empty() {
            found.required(format!("{path}.name"), "");
        } else if !volumes.contains(name) {
            let message = format!("Not found: {}", mount["name"]);
            found.push(Cause { reason: "FieldValueNotFound", message, field: format!("{path}.name") });
        }
        let point = text(mount, "mountPath");
        if point.is_empty() {
            found.required(format!("{path}.mountPath"), "");
        } else if !points.insert(point) {
            found.invalid(format!("{path}.mountPath"), &mount["mountPath"], "must be unique");
        }
        volume::relative(mount, "subPath", &path, false, found);
        volume::relative(mount, "subPathExpr", &path, false, found);
        if !text(mount, "subPath").is_empty() && !text(mount, "subPathExpr").is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            found.invalid(format!("{path}.subPathExpr"), &mount["subPathExpr"], detail);
        }
    }
}

fn amount(value: &Value) -> Option<Quantity> {
    value.as_str().and_then(Quantity::parse)
}

fn resources(resources: &Value, path: &str, found: &mut Causes) {
    for part in ["limits", "requests"] {
        for (name, value) in resources[part].as_object().into_iter().flatten() {
            if amount(value).is_some_and(|amount| amount.nano < 0) {
                found.invalid(format!("{path}.{part}[{name}]"), value, "must be greater than or equal to 0");
            }
        }
    }
    for (name, request) in resources["requests"].as_object().into_iter().flatten() {
        let limit = &resources["limits"][name.as_str()];
        if let (Some(asked), Some(most)) = (amount(request), amount(limit))
            && asked > most
        {
            let limit = limit.as_str().unwrap_or_default();
            let detail = format!("must be less than or equal to {name} limit of {limit}");
            found.invalid(format!("{path}.requests"), request, &detail);
        }
    }
}

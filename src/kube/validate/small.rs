//! Kinds with few rules: config maps, secrets, leases, endpoints, endpoint slices, events.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use super::{Causes, items, syntax, text};
use crate::kube::resource::Resource;
use crate::kube::status::Cause;

/// Data of one config map or secret together, in bytes.
const DATA_MAX: usize = 1024 * 1024;
const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;

pub(super) fn config_map(value: &Value, found: &mut Causes) {
    let mut size = 0;
    for part in ["data", "binaryData"] {
        for (key, item) in value[part].as_object().into_iter().flatten() {
            found.syntax(&format!("{part}[{key}]"), &Value::String(key.clone()), syntax::data_key(key));
            let length = item.as_str().map_or(0, str::len);
            size += if part == "data" { length } else { decoded(length) };
        }
    }
    for key in value["binaryData"].as_object().into_iter().flatten().map(|(key, _)| key) {
        if !value["data"][key.as_str()].is_null() {
            let detail = "duplicate of key present in data";
            found.invalid(format!("binaryData[{key}]"), &Value::String(key.clone()), detail);
        }
    }
    too_long(size, "[]", found);
}

pub(super) fn secret(value: &Value, found: &mut Causes) {
    let mut size = 0;
    for (key, item) in value["data"].as_object().into_iter().flatten() {
        found.syntax(&format!("data[{key}]"), &Value::String(key.clone()), syntax::data_key(key));
        size += decoded(item.as_str().map_or(0, str::len));
    }
    too_long(size, "data", found);
    let required: &[&str] = match text(value, "type") {
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        _ => &[],
    };
    for key in required.iter().filter(|key| value["data"][**key].is_null()) {
        found.required(format!("data[{key}]"), "");
    }
}

/// How many bytes so much base64 text stands for, at most.
fn decoded(length: usize) -> usize {
    length / 4 * 3
}

fn too_long(size: usize, path: &str, found: &mut Causes) {
    if size > DATA_MAX {
        let message = format!("Too long: may not be more than {DATA_MAX} bytes");
        found.push(Cause { reason: "FieldValueTooLong", message, field: path.to_owned() });
    }
}

/// Config maps and secrets that are immutable, and the type of secrets, which always is.
pub(super) fn change(res: &Resource, old: &Value, new: &Value, found: &mut Causes) {
    if res.kind == "Secret" && old["type"] != new["type"] {
        found.invalid("type", &new["type"], "field is immutable");
    }
    if old["immutable"] != true {
        return;
    }
    for field in ["immutable", "data", "binaryData"] {
        if old[field] != new[field] {
            found.push(Cause::forbidden(field, "field is immutable when `immutable` is set"));
        }
    }
}

pub(super) fn lease(value: &Value, found: &mut Causes) {
    let spec = &value["spec"];
    if spec["leaseDurationSeconds"].as_i64().is_some_and(|seconds| seconds <= 0) {
        found.invalid("spec.leaseDurationSeconds", &spec["leaseDurationSeconds"], "must be greater than 0");
    }
    if spec["leaseTransitions"].as_i64().is_some_and(|count| count < 0) {
        found.invalid("spec.leaseTransitions", &spec["leaseTransitions"], "must be greater than or equal to 0");
    }
    if spec["holderIdentity"] == "" {
        found.invalid("spec.holderIdentity", &spec["holderIdentity"], "must not be empty");
    }
}

pub(super) fn endpoint_slice(value: &Value, found: &mut Causes) {
    let family = text(value, "addressType");
    if family.is_empty() {
        found.required("addressType", "");
    } else if !["FQDN", "IPv4", "IPv6"].contains(&family) {
        found.push(Cause::not_supported("addressType", &value["addressType"], &["FQDN", "IPv4", "IPv6"]));
    }
    let count = value["endpoints"].as_array().map_or(0, Vec::len);
    if count > ENDPOINTS_MAX {
        let message = format!("Too many: {count}: must have at most {ENDPOINTS_MAX} items");
        found.push(Cause { reason: "FieldValueTooMany", message, field: "endpoints".into() });
        return;
    }
    for (path, endpoint) in items(value, "endpoints", "") {
        addresses(endpoint, family, path.trim_start_matches('.'), found);
    }
    let mut names = BTreeSet::new();
    for (path, port) in items(value, "ports", "") {
        let path = path.trim_start_matches('.');
        if !names.insert(text(port, "name")) {
            found.push(Cause::duplicate(format!("{path}.name"), &port["name"]));
        }
        super::pod::one_of(port, "protocol", path, &["SCTP", "TCP", "UDP"], found);
    }
}

fn addresses(endpoint: &Value, family: &str, path: &str, found: &mut Causes) {
    let list = endpoint["addresses"].as_array().map(Vec::as_slice).unwrap_or_default();
    if list.is_empty() {
        found.required(format!("{path}.addresses"), "must contain at least 1 address");
    }
    for (at, address) in list.iter().enumerate().take(ADDRESSES_MAX) {
        let path = format!("{path}.addresses[{at}]");
        let text = address.as_str().unwrap_or_default();
        match family {
            "IPv4" if text.parse::<Ipv4Addr>().is_err() => found.invalid(path, address, "must be an IPv4 address"),
            "IPv6" if text.parse::<Ipv6Addr>().is_err() => found.invalid(path, address, "must be an IPv6 address"),
            "FQDN" => found.syntax(&path, address, syntax::subdomain_name(text)),
            _ => {}
        }
    }
}

pub(super) fn endpoint_slice_change(old: &Value, new: &Value, found: &mut Causes) {
    if old["addressType"] != new["addressType"] {
        found.invalid("addressType", &new["addressType"], "field is immutable");
    }
}

pub(super) fn endpoints(value: &Value, found: &mut Causes) {
    for (path, subset) in items(value, "subsets", "") {
        let path = path.trim_start_matches('.');
        for list in ["addresses", "notReadyAddresses"] {
            for (path, address) in items(subset, list, path) {
                if text(address, "ip").parse::<IpAddr>().is_err() {
                    found.invalid(format!("{path}.ip"), &address["ip"], "must be a valid IP address");
                }
            }
        }
        for (path, port) in items(subset, "ports", path) {
            let number = port["port"].as_i64().unwrap_or(0);
            found.syntax(&format!("{path}.port"), &port["port"], syntax::port_number(number));
        }
    }
}

/// An event lives where the object lives that it is about; events about cluster-scoped objects live in `default`.
pub(super) fn event(value: &Value, found: &mut Causes) {
    let field = if value["involvedObject"].is_object() { "involvedObject" } else { "regarding" };
    let about = text(&value[field], "namespace");
    let namespace = text(&value["metadata"], "namespace");
    let agrees = if about.is_empty() { matches!(namespace, "default" | "kube-system") } else { about == namespace };
    if !agrees {
        let path = format!("{field}.namespace");
        found.invalid(path, &value[field]["namespace"], "does not match event.namespace");
    }
}

//! Services.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Causes, items, meta, syntax, text};
use crate::kube::status::Cause;

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const AFFINITIES: [&str; 2] = ["ClientIP", "None"];
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const POLICIES: [&str; 2] = ["Cluster", "Local"];

/// A service.
pub(super) fn service(service: &Value, found: &mut Causes) {
    let spec = &service["spec"];
    let kind = text(spec, "type");
    super::pod::one_of(spec, "type", "spec", &TYPES, found);
    super::pod::one_of(spec, "sessionAffinity", "spec", &AFFINITIES, found);
    super::pod::one_of(spec, "internalTrafficPolicy", "spec", &POLICIES, found);
    super::pod::one_of(spec, "externalTrafficPolicy", "spec", &POLICIES, found);
    meta::labels(&spec["selector"], "spec.selector", found);
    let headless = spec["clusterIP"] == "None";
    if kind == "ExternalName" {
        external_name(spec, found);
    } else if !headless && spec["ports"].as_array().is_none_or(Vec::is_empty) {
        found.required("spec.ports", "");
    }
    if headless && matches!(kind, "LoadBalancer" | "NodePort") {
        let detail = format!("may not be set to 'None' for {kind} services");
        found.invalid("spec.clusterIPs[0]", &spec["clusterIP"], &detail);
    }
    for (at, address) in spec["clusterIPs"].as_array().into_iter().flatten().enumerate() {
        let address_text = address.as_str().unwrap_or_default();
        if address_text != "None" && address_text.parse::<std::net::IpAddr>().is_err() {
            found.invalid(format!("spec.clusterIPs[{at}]"), address, "must be a valid IP address");
        }
    }
    ports(spec, kind, headless, found);
}

/// What may not change of a service.
pub(super) fn change(old: &Value, new: &Value, found: &mut Causes) {
    let external = |service: &Value| service["spec"]["type"] == "ExternalName";
    let address = |service: &Value| text(&service["spec"], "clusterIP").to_owned();
    if !external(old) && !external(new) && !address(old).is_empty() && address(old) != address(new) {
        found.invalid("spec.clusterIPs[0]", &new["spec"]["clusterIPs"], "may not change once set");
    }
}

fn external_name(spec: &Value, found: &mut Causes) {
    let name = text(spec, "externalName").trim_end_matches('.');
    if name.is_empty() {
        found.required("spec.externalName", "");
    } else {
        found.syntax("spec.externalName", &spec["externalName"], syntax::subdomain_name(name));
    }
    if !text(spec, "clusterIP").is_empty() {
        found.push(Cause::forbidden("spec.clusterIPs", "may not be set for ExternalName services"));
    }
}

fn ports(spec: &Value, kind: &str, headless: bool, found: &mut Causes) {
    let several = spec["ports"].as_array().is_some_and(|ports| ports.len() > 1);
    let mut names = BTreeSet::new();
    let mut pairs = BTreeSet::new();
    let mut node_ports = BTreeSet::new();
    for (path, port) in items(spec, "ports", "spec") {
        let name = text(port, "name");
        let path_of_name = format!("{path}.name");
        if name.is_empty() {
            if several {
                found.required(path_of_name, "");
            }
        } else {
            found.syntax(&path_of_name, &port["name"], syntax::label_name(name));
            if !names.insert(name) {
                found.push(Cause::duplicate(path_of_name, &port["name"]));
            }
        }
        self::port(port, kind, headless, &path, found);
        let protocol = text(port, "protocol");
        if !pairs.insert((protocol, port["port"].as_i64())) {
            let shown = json!({ "port": port["port"], "protocol": protocol });
            found.push(Cause::duplicate(path.as_str(), &shown));
        }
        let node_port = port["nodePort"].as_i64().unwrap_or(0);
        if node_port != 0 && !node_ports.insert((protocol, node_port)) {
            let shown = json!({ "nodePort": node_port, "protocol": protocol });
            found.push(Cause::duplicate(format!("{path}.nodePort"), &shown));
        }
    }
}

fn port(port: &Value, kind: &str, headless: bool, path: &str, found: &mut Causes) {
    let number = port["port"].as_i64().unwrap_or(0);
    found.syntax(&format!("{path}.port"), &port["port"], syntax::port_number(number));
    super::pod::one_of(port, "protocol", path, &PROTOCOLS, found);
    let target = &port["targetPort"];
    let unused = target.is_null() || headless && target == 0;
    if !unused {
        found.syntax(&format!("{path}.targetPort"), target, syntax::port_reference(target));
    }
    let node_port = port["nodePort"].as_i64().unwrap_or(0);
    if node_port != 0 {
        found.syntax(&format!("{path}.nodePort"), &port["nodePort"], syntax::port_number(node_port));
        if matches!(kind, "ClusterIP" | "ExternalName") {
            let detail = format!("may not be used when `type` is '{kind}'");
            found.push(Cause::forbidden(format!("{path}.nodePort"), &detail));
        }
    }
}

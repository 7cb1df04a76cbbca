//! Defaults of services and of the endpoints behind them.

use serde_json::{Value, json};

use super::{Fields, items, part, put, put_over_zero};

/// Three hours, from the Kubernetes API reference.
const CLIENT_IP_TIMEOUT_SECONDS: i64 = 10_800;

pub(super) fn service(object: &mut Fields) {
    if let Some(status) = part(object, "status") {
        part(status, "loadBalancer");
    }
    let Some(spec) = part(object, "spec") else { return };
    put_over_zero(spec, "type", "ClusterIP");
    put_over_zero(spec, "sessionAffinity", "None");
    affinity(spec);
    for port in items(spec, "ports") {
        put_over_zero(port, "protocol", "TCP");
        if let Some(number) = port.get("port").cloned() {
            put_over_zero(port, "targetPort", number);
        }
    }
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    if kind == "ExternalName" {
        return;
    }
    put_over_zero(spec, "internalTrafficPolicy", "Cluster");
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        put_over_zero(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        put(spec, "allocateLoadBalancerNodePorts", true);
    }
    families(spec);
}

fn affinity(spec: &mut Fields) {
    if spec.get("sessionAffinity").is_some_and(|kind| kind == "ClientIP") {
        if let Some(config) = part(spec, "sessionAffinityConfig")
            && let Some(client) = part(config, "clientIP")
        {
            put(client, "timeoutSeconds", CLIENT_IP_TIMEOUT_SECONDS);
        }
    } else {
        spec.remove("sessionAffinityConfig");
    }
}

/// One family, the one of the address where there is an address already.
fn families(spec: &mut Fields) {
    let address = spec.get("clusterIP").and_then(Value::as_str).unwrap_or_default().to_owned();
    if !address.is_empty() {
        put(spec, "clusterIPs", json!([address]));
    }
    put(spec, "ipFamilies", json!([if address.contains(':') { "IPv6" } else { "IPv4" }]));
    put_over_zero(spec, "ipFamilyPolicy", "SingleStack");
}

pub(super) fn endpoints(object: &mut Fields) {
    for subset in items(object, "subsets") {
        items(subset, "ports").for_each(|port| put_over_zero(port, "protocol", "TCP"));
    }
}

pub(super) fn endpoint_slice(object: &mut Fields) {
    for port in items(object, "ports") {
        put(port, "name", "");
        put(port, "protocol", "TCP");
    }
}

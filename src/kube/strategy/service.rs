//! What a service keeps over an update that does not mention it: addresses and node ports that were allocated to it.

use serde_json::Value;

/// Fills addresses and node ports that `new` leaves out from `old`, as long as both need them.
pub(super) fn keep_allocations(old: &Value, new: &mut Value) {
    let external = |service: &Value| service["spec"]["type"] == "ExternalName";
    if external(old) || external(new) {
        return;
    }
    let node_ports = uses_node_ports(old) && uses_node_ports(new);
    let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let unset = |value: Option<&Value>| value.and_then(Value::as_str).is_none_or(str::is_empty);
    if unset(spec.get("clusterIP")) && spec.get("clusterIPs").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        for field in ["clusterIP", "clusterIPs"] {
            if let Some(value) = old["spec"].get(field) {
                spec.insert(field.into(), value.clone());
            }
        }
    }
    for field in ["ipFamilies", "ipFamilyPolicy"] {
        if spec.get(field).is_none_or(Value::is_null)
            && let Some(value) = old["spec"].get(field)
        {
            spec.insert(field.into(), value.clone());
        }
    }
    if node_ports && let Some(ports) = spec.get_mut("ports").and_then(Value::as_array_mut) {
        for port in ports {
            keep_node_port(&old["spec"]["ports"], port);
        }
    }
}

fn uses_node_ports(service: &Value) -> bool {
    matches!(service["spec"]["type"].as_str(), Some("NodePort" | "LoadBalancer"))
}

fn keep_node_port(old: &Value, port: &mut Value) {
    if port["nodePort"].as_i64().unwrap_or(0) != 0 {
        return;
    }
    let protocol = |port: &Value| port["protocol"].as_str().unwrap_or("TCP").to_owned();
    let same = |candidate: &&Value| candidate["port"] == port["port"] && protocol(candidate) == protocol(port);
    let kept = old.as_array().into_iter().flatten().find(same).and_then(|old| old.get("nodePort")).cloned();
    if let (Some(kept), Some(port)) = (kept, port.as_object_mut()) {
        port.insert("nodePort".into(), kept);
    }
}

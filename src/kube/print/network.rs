//! Services, endpoints and endpoint slices.

use std::collections::BTreeSet;

use serde_json::Value;

use super::column::{AGE, Column, NAME, SELECTOR, Shown};
use super::peek::{NONE, joined, labels, list, number, or, text, text_or};

/// Most addresses or ports that a cell lists before it only counts.
const MAX_LISTED: usize = 3;

pub(super) const SERVICE: &[Column] = &[
    NAME,
    Column::text("Type", "How the service can be reached."),
    Column::text("Cluster-IP", "The service's address inside the cluster."),
    Column::text("External-IP", "The addresses at which the service is reached from outside."),
    Column::text("Port(s)", "The ports of the service."),
    AGE,
    SELECTOR,
];

pub(super) fn service(shown: Shown<'_>) -> Vec<Value> {
    let object = shown.object;
    vec![
        shown.name().into(),
        text(object, "/spec/type").into(),
        text_or(object, "/spec/clusterIPs/0", NONE).into(),
        external_ip(object).into(),
        or(&service_ports(object), NONE).into(),
        shown.age().into(),
        labels(object, "/spec/selector").into(),
    ]
}

fn service_ports(service: &Value) -> String {
    joined(list(service, "/spec/ports").iter().map(|port| {
        let (number_, protocol) = (number(port, "/port"), text(port, "/protocol"));
        match number(port, "/nodePort") {
            0 => format!("{number_}/{protocol}"),
            node => format!("{number_}:{node}/{protocol}"),
        }
    }))
}

fn external_ip(service: &Value) -> String {
    let external: Vec<&str> = list(service, "/spec/externalIPs").iter().filter_map(Value::as_str).collect();
    match text(service, "/spec/type") {
        "ClusterIP" | "NodePort" => or(&joined(external), NONE).to_owned(),
        "LoadBalancer" => {
            let balancers: BTreeSet<&str> = list(service, "/status/loadBalancer/ingress")
                .iter()
                .map(|ingress| text_or(ingress, "/ip", text(ingress, "/hostname")))
                .filter(|address| !address.is_empty())
                .collect();
            or(&joined(balancers.into_iter().chain(external)), "<pending>").to_owned()
        }
        "ExternalName" => text(service, "/spec/externalName").to_owned(),
        _ => "<unknown>".to_owned(),
    }
}

pub(super) const ENDPOINTS: &[Column] =
    &[NAME, Column::text("Endpoints", "The addresses and ports that stand behind the service."), AGE];

pub(super) fn endpoints(shown: Shown<'_>) -> Vec<Value> {
    let subsets = list(shown.object, "/subsets");
    let cell = if subsets.is_empty() { NONE.to_owned() } else { listed(subsets.iter().flat_map(addresses)) };
    vec![shown.name().into(), cell.into(), shown.age().into()]
}

/// Addresses of a subset, each with every port; without ports (of a headless service) the addresses alone.
fn addresses(subset: &Value) -> Vec<String> {
    let ips = || list(subset, "/addresses").iter().map(|address| text(address, "/ip"));
    let ports = list(subset, "/ports");
    if ports.is_empty() {
        return ips().map(str::to_owned).collect();
    }
    let of_port = |port: &Value| {
        let port = number(port, "/port");
        ips().map(move |ip| if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") })
    };
    ports.iter().flat_map(of_port).collect()
}

pub(super) const ENDPOINT_SLICE: &[Column] = &[
    NAME,
    Column::text("AddressType", "What kind of addresses the slice has."),
    Column::text("Ports", "The ports of every endpoint in the slice."),
    Column::text("Endpoints", "The addresses of the endpoints in the slice."),
    AGE,
];

pub(super) fn endpoint_slice(shown: Shown<'_>) -> Vec<Value> {
    let object = shown.object;
    let port = |port: &Value| match number(port, "/port") {
        0 => port.get("name").and_then(Value::as_str).unwrap_or("*").to_owned(),
        number => number.to_string(),
    };
    let addresses = list(object, "/endpoints").iter().flat_map(|endpoint| list(endpoint, "/addresses"));
    vec![
        shown.name().into(),
        text(object, "/addressType").into(),
        or(&listed(list(object, "/ports").iter().map(port)), "<unset>").into(),
        or(&listed(addresses.filter_map(Value::as_str)), "<unset>").into(),
        shown.age().into(),
    ]
}

/// The first few items, and how many more there are.
fn listed(items: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let mut items = items.into_iter();
    let shown = joined(items.by_ref().take(MAX_LISTED));
    match items.count() {
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}

//! The quality of service class, which a pod's requests and limits decide at its creation.

use serde_json::Value;

use crate::model::Quantity;

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub(super) fn qos_class(pod: &Value) -> &'static str {
    let spec = &pod["spec"];
    let containers: Vec<&Value> =
        ["initContainers", "containers"].iter().filter_map(|list| spec[*list].as_array()).flatten().collect();
    let stated = |container: &Value, part: &str, name: &str| positive(&container["resources"][part][name]);
    let any = containers.iter().any(|container| {
        ["requests", "limits"].iter().any(|part| ["cpu", "memory"].iter().any(|name| stated(container, part, name)))
    });
    let guaranteed = !containers.is_empty()
        && containers.iter().all(|container| ["cpu", "memory"].iter().all(|name| is_fixed(container, name)));
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// Whether the container states a limit and requests exactly that (or leaves the request to follow the limit).
fn is_fixed(container: &Value, name: &str) -> bool {
    let limit = &container["resources"]["limits"][name];
    let request = &container["resources"]["requests"][name];
    positive(limit)
        && (request.is_null() || request == limit || amount(request).is_some_and(|r| Some(r) == amount(limit)))
}

fn amount(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => Quantity::parse(text),
        Value::Number(number) => Quantity::parse(&number.to_string()),
        _ => None,
    }
}

fn positive(value: &Value) -> bool {
    amount(value).is_some_and(|amount| amount.nano > 0)
}

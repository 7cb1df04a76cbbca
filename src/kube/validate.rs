//! Validation: what an object may not be, in Kubernetes' words and with the path of the field.
//!
//! `meta` holds for every kind; `syntax` knows names, labels and quantities; `pod` and `container` (with `volume`) serve
//! pods and templates alike; `workload`, `service` and `small` hold the other kinds.

#![allow(
    clippy::indexing_slicing,
    reason = "a missing field of a JSON value reads as null; only values made right here are written so"
)]

mod container;
mod meta;
mod pod;
mod service;
mod small;
mod syntax;
mod volume;
mod workload;

use serde_json::Value;

use super::resource::Resource;
use super::status::Cause;

/// At most this many causes are gathered for an object; a hostile one could have millions.
const CAUSES_MAX: usize = 100;

/// What is wrong with a new object, after defaulting and `strategy::prepare_create`. Empty where nothing is.
pub fn create(res: &Resource, value: &Value) -> Vec<Cause> {
    let mut found = Causes::default();
    meta::object(res, &value["metadata"], &mut found);
    kind(res, value, &mut found);
    found.0
}

/// What is wrong with the next version of an object, after defaulting and `strategy::prepare_update`.
pub fn update(res: &Resource, subresource: Option<&str>, old: &Value, new: &Value) -> Vec<Cause> {
    let mut found = Causes::default();
    meta::object(res, &new["metadata"], &mut found);
    meta::change(&old["metadata"], &new["metadata"], &mut found);
    if !matches!(subresource, Some("status" | "finalize")) {
        kind(res, new, &mut found);
        match res.kind {
            "Pod" if subresource.is_none() => pod::change(old, new, &mut found),
            "Deployment" | "ReplicaSet" => workload::change(res, old, new, &mut found),
            "Service" => service::change(old, new, &mut found),
            "ConfigMap" | "Secret" => small::change(res, old, new, &mut found),
            "EndpointSlice" => small::endpoint_slice_change(old, new, &mut found),
            _ => {}
        }
    }
    found.0
}

fn kind(res: &Resource, value: &Value, found: &mut Causes) {
    match res.kind {
        "Pod" => pod::pod(value, found),
        "Deployment" | "ReplicaSet" | "ReplicationController" => workload::workload(res, value, found),
        "Service" => service::service(value, found),
        "ConfigMap" => small::config_map(value, found),
        "Secret" => small::secret(value, found),
        "Lease" => small::lease(value, found),
        "EndpointSlice" => small::endpoint_slice(value, found),
        "Endpoints" => small::endpoints(value, found),
        "Event" => small::event(value, found),
        _ => {}
    }
}

/// The causes found so far.
#[derive(Default)]
struct Causes(Vec<Cause>);

impl Causes {
    fn push(&mut self, cause: Cause) {
        if self.0.len() < CAUSES_MAX {
            self.0.push(cause);
        }
    }

    fn invalid(&mut self, field: impl Into<String>, value: &Value, detail: &str) {
        self.push(Cause::invalid(field, value, detail));
    }

    fn required(&mut self, field: impl Into<String>, detail: &str) {
        self.push(Cause::required(field, detail));
    }

    /// One cause for each complaint of a syntax rule.
    fn syntax(&mut self, field: &str, value: &Value, complaints: impl IntoIterator<Item = String>) {
        for complaint in complaints {
            self.invalid(field, value, &complaint);
        }
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// The items of a list with their paths.
fn items<'a, 'p>(
    value: &'a Value,
    list: &'p str,
    path: &'p str,
) -> impl Iterator<Item = (String, &'a Value)> + use<'a, 'p> {
    let items = value[list].as_array().into_iter().flatten().enumerate();
    items.map(move |(at, item)| (format!("{path}.{list}[{at}]"), item))
}

#[cfg(test)]
mod tests;

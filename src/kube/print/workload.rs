//! Deployments, replica sets and replication controllers.

use serde_json::Value;

use super::column::{AGE, CONTAINERS, Column, IMAGES, NAME, SELECTOR, Shown};
use super::peek::{containers, labels, number, selector};

const TEMPLATE: &str = "/spec/template/spec/containers";

pub(super) const DEPLOYMENT: &[Column] = &[
    NAME,
    Column::text("Ready", "How many of the wanted pods are ready."),
    Column::text("Up-to-date", "How many pods run the current template."),
    Column::text("Available", "How many pods have been ready for long enough to count on."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) fn deployment(shown: Shown<'_>) -> Vec<Value> {
    let object = shown.object;
    let (names, images) = containers(object, TEMPLATE);
    vec![
        shown.name().into(),
        format!("{}/{}", number(object, "/status/readyReplicas"), number(object, "/spec/replicas")).into(),
        number(object, "/status/updatedReplicas").into(),
        number(object, "/status/availableReplicas").into(),
        shown.age().into(),
        names.into(),
        images.into(),
        selector(object, "/spec/selector").into(),
    ]
}

pub(super) const REPLICAS: &[Column] = &[
    NAME,
    Column::number("Desired", "How many pods are wanted."),
    Column::number("Current", "How many pods there are."),
    Column::number("Ready", "How many pods are ready."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) fn replica_set(shown: Shown<'_>) -> Vec<Value> {
    replicas(shown, selector(shown.object, "/spec/selector"))
}

pub(super) fn replication_controller(shown: Shown<'_>) -> Vec<Value> {
    replicas(shown, labels(shown.object, "/spec/selector"))
}

fn replicas(shown: Shown<'_>, selector: String) -> Vec<Value> {
    let object = shown.object;
    let (names, images) = containers(object, TEMPLATE);
    vec![
        shown.name().into(),
        number(object, "/spec/replicas").into(),
        number(object, "/status/replicas").into(),
        number(object, "/status/readyReplicas").into(),
        shown.age().into(),
        names.into(),
        images.into(),
        selector.into(),
    ]
}

//! What a replica set and a replication controller have in common.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{PodTemplateSpec, ReplicationController};
use serde_json::{Value, json};

use crate::kube::object::{DecodeError, Object};
use crate::kube::resource::id;
use crate::model::selector::LabelSelector;
use crate::plan::{owner, select, write};

/// Longest prefix that leaves room for the five letters of a generated suffix in a DNS label.
const PREFIX_BYTES: usize = 58;

/// A set of pods as the planner sees it, whichever kind declared it.
pub(super) struct Set {
    pub object: Arc<Object>,
    pub replicas: usize,
    pub min_ready: Duration,
    pub selector: LabelSelector,
    pub template_labels: BTreeMap<String, String>,
    /// A replication controller's status has the same shape.
    pub status: ReplicaSetStatus,
}

impl Set {
    pub(super) fn read(object: &Arc<Object>) -> Result<Self, DecodeError> {
        if object.key.is(id::REPLICA_SETS) { Self::read_set(object) } else { Self::read_controller(object) }
    }

    fn read_set(object: &Arc<Object>) -> Result<Self, DecodeError> {
        let view = object.view::<ReplicaSet>()?;
        let spec = view.spec.clone().unwrap_or_default();
        Ok(Self {
            object: Arc::clone(object),
            replicas: count(spec.replicas.unwrap_or(1)),
            min_ready: seconds(spec.min_ready_seconds),
            selector: select::of_object(&spec.selector),
            template_labels: labels(spec.template),
            status: view.status.clone().unwrap_or_default(),
        })
    }

    fn read_controller(object: &Arc<Object>) -> Result<Self, DecodeError> {
        let view = object.view::<ReplicationController>()?;
        let spec = view.spec.clone().unwrap_or_default();
        let status = serde_json::to_value(view.status.clone().unwrap_or_default())
            .and_then(serde_json::from_value)
            .map_err(|error| DecodeError { key: object.key.clone(), reason: error.to_string() })?;
        Ok(Self {
            object: Arc::clone(object),
            replicas: count(spec.replicas.unwrap_or(1)),
            min_ready: seconds(spec.min_ready_seconds),
            selector: select::of_map(spec.selector.as_ref()),
            template_labels: labels(spec.template),
            status,
        })
    }

    /// What its pods' names start with; with the suffix at most 63 bytes, so that they can be host names.
    pub(super) fn name_prefix(&self) -> String {
        let name: String = self.object.key.name.chars().take(PREFIX_BYTES - 1).collect();
        format!("{name}-")
    }

    /// A pod from the template, taken from the stored JSON so that fields unknown here survive.
    pub(super) fn pod_body(&self) -> Result<Value, DecodeError> {
        let mut template = self.object.value()?.pointer_mut("/spec/template").map(Value::take).unwrap_or_default();
        let mut meta = json!({
            "generateName": self.name_prefix(),
            "namespace": &*self.object.key.namespace,
            "ownerReferences": [owner::reference(&self.object)],
        });
        for field in ["labels", "annotations", "finalizers"] {
            if let Some(value) = template.pointer_mut(&format!("/metadata/{field}")).map(Value::take)
                && !value.is_null()
            {
                write::set(&mut meta, field, value);
            }
        }
        let spec = template.get_mut("spec").map(Value::take).unwrap_or_default();
        Ok(json!({ "apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec }))
    }
}

fn count(replicas: i32) -> usize {
    usize::try_from(replicas).unwrap_or(0)
}

fn seconds(value: Option<i32>) -> Duration {
    Duration::from_secs(u64::try_from(value.unwrap_or(0)).unwrap_or(0))
}

fn labels(template: Option<PodTemplateSpec>) -> BTreeMap<String, String> {
    template.and_then(|template| template.metadata).and_then(|meta| meta.labels).unwrap_or_default()
}

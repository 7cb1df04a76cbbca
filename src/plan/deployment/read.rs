//! The deployment and its replica sets as one working state: read once, changed in memory, written at the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStatus, ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use super::revision;
use crate::kube::object::{DecodeError, Object};
use crate::kube::resource::id;
use crate::model::Timestamp;
use crate::plan::{Command, write};

/// A replica set of the deployment.
pub(super) struct Set {
    /// `None` for one that this plan creates.
    pub object: Option<Arc<Object>>,
    pub name: String,
    pub created: Timestamp,
    pub replicas: i32,
    pub min_ready: i32,
    pub template: PodTemplateSpec,
    pub annotations: BTreeMap<String, String>,
    pub status: ReplicaSetStatus,
    /// Whether `replicas`, `min_ready` or `annotations` differ from what is stored.
    pub changed: bool,
    /// The body of one that this plan creates.
    pub body: Value,
}

/// A deployment in the middle of a step.
pub(super) struct Rollout<'a> {
    pub object: &'a Arc<Object>,
    pub spec: &'a DeploymentSpec,
    pub now: Timestamp,
    /// Oldest first.
    pub sets: Vec<Set>,
    /// Index of the set with the deployment's template, once looked for.
    pub new: Option<usize>,
    pub seen_status: DeploymentStatus,
    pub status: DeploymentStatus,
    pub events: Vec<Command>,
    pub deletions: Vec<Arc<Object>>,
    /// The revision annotation that the deployment should get.
    pub new_revision: Option<String>,
    pub again_after: Option<Duration>,
}

impl<'a> Rollout<'a> {
    pub(super) fn read(
        object: &'a Arc<Object>,
        view: &'a Deployment,
        owned: &[Arc<Object>],
        now: Timestamp,
    ) -> Result<Self, DecodeError> {
        let Some(spec) = &view.spec else {
            return Err(DecodeError { key: object.key.clone(), reason: "no spec".into() });
        };
        let mut sets = owned.iter().map(Set::read).collect::<Result<Vec<_>, _>>()?;
        sets.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
        let status = view.status.clone().unwrap_or_default();
        Ok(Self {
            object,
            spec,
            now,
            sets,
            new: None,
            seen_status: status.clone(),
            status,
            events: Vec::new(),
            deletions: Vec::new(),
            new_revision: None,
            again_after: None,
        })
    }

    /// How many pods are asked for.
    pub(super) fn desired(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }

    pub(super) fn paused(&self) -> bool {
        self.spec.paused.unwrap_or(false)
    }

    pub(super) fn recreates(&self) -> bool {
        self.spec.strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
    }

    /// The set with the deployment's template.
    pub(super) fn new_set(&self) -> Option<&Set> {
        self.new.and_then(|new| self.sets.get(new))
    }

    /// Indices of the other sets, oldest first.
    pub(super) fn old(&self) -> impl Iterator<Item = usize> + use<> {
        let new = self.new;
        (0..self.sets.len()).filter(move |index| Some(*index) != new)
    }

    /// Pods that all sets together ask for.
    pub(super) fn total_asked(&self) -> i32 {
        self.sets.iter().map(|set| set.replicas).sum()
    }

    /// Pods of all sets that are available.
    pub(super) fn total_available(&self) -> i32 {
        self.sets.iter().map(Set::available).sum()
    }

    /// How many pods may exist beyond the desired number: a percentage rounds up. Zero for `Recreate`.
    pub(super) fn max_surge(&self) -> i32 {
        self.fence_posts().0
    }

    /// How many pods may be missing: a percentage rounds down, and one where both limits come to nothing.
    pub(super) fn max_unavailable(&self) -> i32 {
        self.fence_posts().1.min(self.desired())
    }

    fn fence_posts(&self) -> (i32, i32) {
        if self.recreates() {
            return (0, 0);
        }
        let rolling = self.spec.strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
        let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref());
        let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
        let surge = share(surge, self.desired(), true);
        let unavailable = share(unavailable, self.desired(), false);
        if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
    }

    /// Sets a set's size and the annotations that remember the deployment's; says so in an event where the size changes.
    pub(super) fn scale(&mut self, index: usize, size: i32) -> bool {
        let (desired, most) = (self.desired(), self.desired() + self.max_surge());
        let Some(set) = self.sets.get_mut(index) else { return false };
        let before = set.replicas;
        let annotated = revision::remember_size(&mut set.annotations, desired, most);
        set.replicas = size;
        set.changed |= annotated || before != size;
        if before == size {
            return false;
        }
        let direction = if before < size { "up" } else { "down" };
        let message = format!("Scaled {direction} replica set {} from {before} to {size}", set.name);
        self.events.push(write::event(self.object, false, "ScalingReplicaSet", message));
        true
    }
}

impl Set {
    fn read(object: &Arc<Object>) -> Result<Self, DecodeError> {
        let view = object.view::<ReplicaSet>()?;
        let spec = view.spec.clone().unwrap_or_default();
        let created = object.meta.creation_timestamp.as_ref();
        Ok(Self {
            name: object.key.name.to_string(),
            created: created.map(|time| Timestamp::from(time.0)).unwrap_or_default(),
            replicas: spec.replicas.unwrap_or(1),
            min_ready: spec.min_ready_seconds.unwrap_or(0),
            template: spec.template.unwrap_or_default(),
            annotations: object.meta.annotations.clone().unwrap_or_default(),
            status: view.status.clone().unwrap_or_default(),
            object: Some(Arc::clone(object)),
            changed: false,
            body: Value::Null,
        })
    }

    pub(super) fn available(&self) -> i32 {
        self.status.available_replicas.unwrap_or(0)
    }

    /// The write that makes the stored set like this one.
    pub(super) fn write(&self) -> Result<Option<Command>, DecodeError> {
        let Some(object) = &self.object else {
            let mut body = self.body.clone();
            self.fill(&mut body);
            let namespace = body.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
            return Ok(Some(Command::Create { resource: id::REPLICA_SETS, namespace: namespace.to_owned(), body }));
        };
        if !self.changed {
            return Ok(None);
        }
        let mut body = object.value()?;
        self.fill(&mut body);
        Ok(Some(write::replace(object, None, body)))
    }

    fn fill(&self, body: &mut Value) {
        if let Some(spec) = body.get_mut("spec") {
            write::set(spec, "replicas", self.replicas.into());
            if self.min_ready != 0 || spec.get("minReadySeconds").is_some() {
                write::set(spec, "minReadySeconds", self.min_ready.into());
            }
        }
        if let Some(meta) = body.get_mut("metadata") {
            write::set(meta, "annotations", json!(self.annotations));
        }
    }
}

/// A number or a percentage of `total` (25 % where unset, as Kubernetes defaults it).
fn share(limit: Option<&IntOrString>, total: i32, round_up: bool) -> i32 {
    let percent = match limit {
        None => 25,
        Some(IntOrString::Int(number)) => return (*number).max(0),
        Some(IntOrString::String(text)) => match text.strip_suffix('%') {
            Some(percent) => percent.parse::<i64>().unwrap_or(0),
            None => return text.parse().unwrap_or(0),
        },
    };
    let hundredths = percent.max(0) * i64::from(total.max(0));
    let whole = if round_up { (hundredths + 99) / 100 } else { hundredths / 100 };
    i32::try_from(whole).unwrap_or(i32::MAX)
}

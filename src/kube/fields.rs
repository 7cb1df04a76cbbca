//! Field selectors: which fields of a resource can be selected on, their values, and whether an object is selected.

use std::borrow::Cow;

use serde_json::Value;

use super::object::{DecodeError, Object};
use super::resource::{Resource, id};
use super::status::Status;
use crate::model::ResourceId;
use crate::model::selector::{FieldSelector, LabelSelector};

/// Fields that every resource can be selected on.
const METADATA: &[&str] = &["metadata.name", "metadata.namespace"];

/// Further fields, by the resource that stores the objects. Source: the field label conversions of Kubernetes 1.36.
const SELECTABLE: &[(ResourceId, &[&str])] = &[
    (
        id::PODS,
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
    ),
    (
        id::EVENTS,
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
    ),
    (id::NODES, &["spec.unschedulable"]),
    (id::NAMESPACES, &["status.phase"]),
    (id::SECRETS, &["type"]),
    (id::SERVICES, &["spec.clusterIP", "spec.type"]),
    (id::REPLICATION_CONTROLLERS, &["status.replicas"]),
    (id::REPLICA_SETS, &["status.replicas"]),
];

/// Names that `events.k8s.io` gives to fields of the stored core event, beside `regarding.*`.
const EVENTS_V1: &[(&str, &str)] =
    &[("reportingController", "reportingComponent"), ("reason", "reason"), ("type", "type")];

/// Label and field selector of a request, checked against its resource.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Filter {
    /// Checks that every field of `fields` can be selected on, and translates it to the stored form.
    ///
    /// # Errors
    /// 400 where one cannot.
    pub fn new(resource: &Resource, labels: LabelSelector, mut fields: FieldSelector) -> Result<Self, Status> {
        for term in &mut fields.terms {
            term.path = stored_path(resource, &term.path).ok_or_else(|| unsupported(resource, &term.path))?.to_owned();
        }
        Ok(Self { labels, fields })
    }

    /// Reads both selectors of a query; the empty text selects everything.
    ///
    /// # Errors
    /// 400 where one does not parse, or asks for a field that cannot be selected on.
    pub fn parse(resource: &Resource, labels: &str, fields: &str) -> Result<Self, Status> {
        let labels = LabelSelector::parse(labels).map_err(|error| Status::bad_request(error.reason))?;
        let fields = FieldSelector::parse(fields).map_err(|error| Status::bad_request(error.reason))?;
        Self::new(resource, labels, fields)
    }

    /// Whether everything is selected; then no object needs to be looked at.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// The one name that can be selected, where the fields say so.
    pub fn name(&self) -> Option<&str> {
        self.fields.required("metadata.name")
    }

    /// Whether an object in its stored form is selected.
    pub fn matches(&self, object: &Value) -> bool {
        let label = |key: &str| object.get("metadata")?.get("labels")?.get(key)?.as_str();
        self.labels.matches_with(label) && self.fields.matches_with(|path| stored_value(object, path))
    }

    /// Like [`Filter::matches`]; reads the whole object only where a field beyond its metadata is asked for.
    ///
    /// # Errors
    /// Where the object cannot be read.
    pub fn matches_object(&self, object: &Object) -> Result<bool, DecodeError> {
        if self.is_empty() {
            return Ok(true);
        }
        let labels = object.meta.labels.as_ref();
        if !self.labels.matches_with(|key| labels?.get(key).map(String::as_str)) {
            return Ok(false);
        }
        let known = |path: &str| match path {
            "metadata.name" => Some(&*object.key.name),
            "metadata.namespace" => Some(&*object.key.namespace),
            "spec.nodeName" => Some(object.pod_node().unwrap_or_default()),
            _ => None,
        };
        if self.fields.terms.iter().all(|term| known(&term.path).is_some()) {
            return Ok(self.fields.matches_with(|path| Cow::Borrowed(known(path).unwrap_or_default())));
        }
        let value = object.value()?;
        Ok(self.fields.matches_with(|path| stored_value(&value, path)))
    }
}

/// Whether `path` can be selected on.
pub fn selectable(resource: &Resource, path: &str) -> bool {
    stored_path(resource, path).is_some()
}

/// The text that a selector on `path` compares with, of an object in its stored form; empty where the field is unset.
pub fn value(resource: &Resource, object: &Value, path: &str) -> String {
    stored_path(resource, path).map(|path| stored_value(object, path).into_owned()).unwrap_or_default()
}

/// Whether an object is selected. Of a selector on fields that the resource does not offer, nothing is.
pub fn matches(resource: &Resource, labels: &LabelSelector, fields: &FieldSelector, object: &Value) -> bool {
    if labels.is_empty() && fields.is_empty() {
        return true;
    }
    Filter::new(resource, labels.clone(), fields.clone()).is_ok_and(|filter| filter.matches(object))
}

/// The path of the field in the stored object; `None` where it cannot be selected on.
fn stored_path<'a>(resource: &Resource, path: &'a str) -> Option<&'a str> {
    let stored = resource.storage();
    let path = if resource.id == id::EVENTS_V1 {
        return events_v1_path(path);
    } else if stored == id::PODS && path == "spec.host" {
        "spec.nodeName"
    } else {
        path
    };
    let further = SELECTABLE.iter().find(|(id, _)| *id == stored).map_or(&[][..], |(_, paths)| paths);
    let is_listed = METADATA.iter().chain(further).any(|known| *known == path);
    (is_listed && (resource.namespaced || path != "metadata.namespace")).then_some(path)
}

fn events_v1_path(path: &str) -> Option<&'static str> {
    if let Some(path) = METADATA.iter().find(|known| **known == path) {
        return Some(path);
    }
    if let Some((_, stored)) = EVENTS_V1.iter().find(|(name, _)| *name == path) {
        return Some(stored);
    }
    let part = path.strip_prefix("regarding.")?;
    let (_, paths) = SELECTABLE.iter().find(|(stored, _)| *stored == id::EVENTS)?;
    paths.iter().find(|known| known.strip_prefix("involvedObject.") == Some(part)).copied()
}

fn stored_value<'a>(object: &'a Value, path: &str) -> Cow<'a, str> {
    match path {
        "source" => {
            let component = text(object, "source.component");
            if component.is_empty() { text(object, "reportingComponent") } else { component }
        }
        "spec.unschedulable" | "spec.hostNetwork" => or_default(text(object, path), "false"),
        "status.replicas" => or_default(text(object, path), "0"),
        _ => text(object, path),
    }
}

fn or_default<'a>(value: Cow<'a, str>, default: &'static str) -> Cow<'a, str> {
    if value.is_empty() { Cow::Borrowed(default) } else { value }
}

fn text<'a>(object: &'a Value, path: &str) -> Cow<'a, str> {
    match path.split('.').try_fold(object, |value, part| value.get(part)) {
        Some(Value::String(text)) => Cow::Borrowed(text),
        None | Some(Value::Null) => Cow::Borrowed(""),
        Some(other) => Cow::Owned(other.to_string()),
    }
}

fn unsupported(resource: &Resource, path: &str) -> Status {
    let has_own = SELECTABLE.iter().any(|(stored, _)| *stored == resource.storage());
    Status::bad_request(if has_own {
        format!("field label not supported: {path}")
    } else {
        format!("{path:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Filter, value};
    use crate::kube::object::Object;
    use crate::kube::resource::{find, id};
    use crate::model::{ObjectKey, Revision};

    #[test]
    fn fields_are_selected_by_the_rules_of_their_resource() {
        let pod = json!({ "metadata": { "name": "a", "namespace": "x", "labels": { "app": "web" } },
            "spec": { "nodeName": "n1", "restartPolicy": "Always" }, "status": { "phase": "Running" } });
        let pods = find("", "v1", "pods").unwrap();
        let key = ObjectKey::new(id::PODS, "x", "a");
        let object = Object::new(key, Revision(1), pod.to_string().into()).unwrap();
        for (labels, fields, expect) in [
            ("", "", true),
            ("app=web", "spec.nodeName=n1,metadata.namespace=x", true),
            ("app!=web", "", false),
            ("", "spec.host=n1,status.phase!=Failed", true),
            ("", "status.phase=Running,spec.hostNetwork=false", true),
            ("", "spec.nodeName=", false),
            ("", "status.podIP=", true),
        ] {
            let filter = Filter::parse(pods, labels, fields).unwrap();
            assert_eq!(filter.matches(&pod), expect, "{labels} {fields}");
            assert_eq!(filter.matches_object(&object).unwrap(), expect, "{labels} {fields}");
        }
    }

    #[test]
    fn a_field_that_cannot_be_selected_on_is_refused() {
        let message = |group, plural, fields| {
            let error = Filter::parse(find(group, "v1", plural).unwrap(), "", fields).unwrap_err();
            assert_eq!(error.code, 400);
            error.message
        };
        assert_eq!(message("", "pods", "spec.foo=1"), "field label not supported: spec.foo");
        assert_eq!(
            message("", "configmaps", "data=1"),
            "\"data\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        );
        assert_eq!(message("", "pods", "x"), "invalid selector: 'x'; can't understand 'x'");
    }

    #[test]
    fn both_faces_of_an_event_select_on_the_stored_one() {
        let event = json!({ "metadata": { "name": "e" }, "involvedObject": { "kind": "Pod", "name": "a" },
            "source": {}, "reportingComponent": "agent", "type": "Warning" });
        let core = find("", "v1", "events").unwrap();
        let faced = find("events.k8s.io", "v1", "events").unwrap();
        for (resource, fields) in [
            (core, "involvedObject.kind=Pod,involvedObject.name=a,source=agent,reportingComponent=agent,type=Warning"),
            (faced, "regarding.kind=Pod,regarding.name=a,reportingController=agent,type=Warning,metadata.name=e"),
        ] {
            assert!(Filter::parse(resource, "", fields).unwrap().matches(&event), "{fields}");
        }
        assert!(Filter::parse(faced, "", "involvedObject.kind=Pod").is_err());
        assert_eq!(value(core, &event, "source"), "agent");
    }
}

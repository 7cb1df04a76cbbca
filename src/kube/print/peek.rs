//! Reads fields of untyped objects, by JSON pointer; what is missing or of another type reads as empty.

use serde_json::Value;

use super::age::age;
use super::column::Shown;
use crate::model::selector::{LabelSelector, Operator};

pub(super) const NONE: &str = "<none>";

pub(super) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn text_or<'v>(value: &'v Value, pointer: &str, default: &'v str) -> &'v str {
    or(text(value, pointer), default)
}

pub(super) fn or<'v>(text: &'v str, default: &'v str) -> &'v str {
    if text.is_empty() { default } else { text }
}

pub(super) fn number(value: &Value, pointer: &str) -> i64 {
    value.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

pub(super) fn is_true(value: &Value, pointer: &str) -> bool {
    value.pointer(pointer).and_then(Value::as_bool).unwrap_or_default()
}

pub(super) fn list<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn entries(value: &Value, pointer: &str) -> usize {
    value.pointer(pointer).and_then(Value::as_object).map_or(0, serde_json::Map::len)
}

pub(super) fn joined(parts: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let mut out = String::new();
    for (index, part) in parts.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(part.as_ref());
    }
    out
}

/// The map at `pointer` as `a=1,b=2`, ordered by key.
pub(super) fn labels(value: &Value, pointer: &str) -> String {
    let map = value.pointer(pointer).and_then(Value::as_object);
    let pairs = map.into_iter().flatten().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
    or(&joined(pairs), NONE).to_owned()
}

/// The `metav1.LabelSelector` at `pointer` in its query form.
pub(super) fn selector(value: &Value, pointer: &str) -> String {
    let Ok(selector) = LabelSelector::from_value(value.pointer(pointer).unwrap_or(&Value::Null)) else {
        return "<error>".to_owned();
    };
    let selector = selector.unwrap_or_default();
    let labels = value.pointer(pointer).and_then(|value| value.get("matchLabels"));
    let parts = selector.requirements.iter().map(|requirement| match &requirement.operator {
        // An expression with one value is shown as a set; only `matchLabels` are shown as an equality.
        Operator::In(values) if !is_label(labels, &requirement.key, values) => {
            format!("{} in ({})", requirement.key, joined(values))
        }
        Operator::NotIn(values) => format!("{} notin ({})", requirement.key, joined(values)),
        _ => requirement.to_string(),
    });
    or(&joined(parts), NONE).to_owned()
}

fn is_label(labels: Option<&Value>, key: &str, values: &[String]) -> bool {
    let label = labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
    label.is_some_and(|label| values == [label])
}

/// Names and images of the containers at `pointer`.
pub(super) fn containers(value: &Value, pointer: &str) -> (String, String) {
    let containers = list(value, pointer);
    let all = |field: &str| joined(containers.iter().map(|container| text(container, field)));
    (all("/name"), all("/image"))
}

impl<'v> Shown<'v> {
    pub(super) fn name(self) -> &'v str {
        text(self.object, "/metadata/name")
    }

    /// The time since the object was created.
    pub(super) fn age(self) -> String {
        self.since("/metadata/creationTimestamp")
    }

    /// The time since the time at `pointer`.
    pub(super) fn since(self, pointer: &str) -> String {
        age(self.object.pointer(pointer).and_then(Value::as_str), self.now)
    }
}

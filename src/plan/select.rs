//! Label selectors of objects as the selectors that the model matches with.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;

use crate::kube::object::Object;
use crate::model::selector::{LabelSelector, Operator, Requirement};

/// A `metav1.LabelSelector` as requirements. An unknown operator matches nothing.
pub fn of_object(selector: &meta::LabelSelector) -> LabelSelector {
    let mut out = of_map(selector.match_labels.as_ref());
    for one in selector.match_expressions.iter().flatten() {
        let values = one.values.clone().unwrap_or_default();
        let operator = match one.operator.as_str() {
            "NotIn" => Operator::NotIn(values),
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::Absent,
            "In" => Operator::In(values),
            _ => Operator::In(Vec::new()),
        };
        out.requirements.push(Requirement { key: one.key.clone(), operator });
    }
    out
}

/// A plain map of labels as requirements.
pub fn of_map(labels: Option<&BTreeMap<String, String>>) -> LabelSelector {
    let requirements = labels
        .into_iter()
        .flatten()
        .map(|(key, value)| Requirement { key: key.clone(), operator: Operator::In(vec![value.clone()]) })
        .collect();
    LabelSelector { requirements }
}

/// Whether an object's labels satisfy the selector.
pub fn matches(selector: &LabelSelector, object: &Object) -> bool {
    selector.matches_with(|key| label(object, key))
}

/// One label of an object.
pub fn label<'a>(object: &'a Object, key: &str) -> Option<&'a str> {
    object.meta.labels.as_ref()?.get(key).map(String::as_str)
}

/// One annotation of an object.
pub fn annotation<'a>(object: &'a Object, key: &str) -> Option<&'a str> {
    object.meta.annotations.as_ref()?.get(key).map(String::as_str)
}

//! Deployments, replica sets, replication controllers: selectors that match templates, and do not change.

use serde_json::Value;

use super::{Causes, meta, pod, syntax, text};
use crate::kube::resource::Resource;
use crate::kube::status::Cause;

/// A workload of any of the three kinds.
pub(super) fn workload(res: &Resource, value: &Value, found: &mut Causes) {
    let spec = &value["spec"];
    for field in ["replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"] {
        not_negative(&spec[field], &format!("spec.{field}"), found);
    }
    if res.kind == "ReplicationController" {
        plain_selector(spec, found);
    } else {
        selector(spec, found);
    }
    if spec["template"].is_null() {
        found.required("spec.template", "");
    } else {
        template(&spec["template"], found);
    }
    if res.kind == "Deployment" {
        deployment(spec, found);
    }
}

/// Selectors of apps/v1 are fixed.
pub(super) fn change(_res: &Resource, old: &Value, new: &Value, found: &mut Causes) {
    if old["spec"]["selector"] != new["spec"]["selector"] {
        found.invalid("spec.selector", &new["spec"]["selector"], "field is immutable");
    }
}

fn not_negative(value: &Value, path: &str, found: &mut Causes) {
    if value.as_i64().is_some_and(|number| number < 0) {
        found.invalid(path, value, "must be greater than or equal to 0");
    }
}

fn template(template: &Value, found: &mut Causes) {
    meta::labels(&template["metadata"]["labels"], "spec.template.labels", found);
    meta::annotations(&template["metadata"]["annotations"], "spec.template.annotations", found);
    pod::spec(&template["spec"], "spec.template.spec", found);
    let policy = text(&template["spec"], "restartPolicy");
    if policy != "Always" && matches!(policy, "OnFailure" | "Never") {
        let value = &template["spec"]["restartPolicy"];
        found.push(Cause::not_supported("spec.template.spec.restartPolicy", value, &["Always"]));
    }
    if !template["spec"]["activeDeadlineSeconds"].is_null() {
        let detail = "activeDeadlineSeconds in ReplicaSet is not Supported";
        found.push(Cause::forbidden("spec.template.spec.activeDeadlineSeconds", detail));
    }
}

fn plain_selector(spec: &Value, found: &mut Causes) {
    let Some(selector) = spec["selector"].as_object().filter(|selector| !selector.is_empty()) else {
        return found.required("spec.selector", "");
    };
    let labels = &spec["template"]["metadata"]["labels"];
    if !spec["template"].is_null() && selector.iter().any(|(key, value)| labels.get(key) != Some(value)) {
        found.invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`");
    }
}

fn selector(spec: &Value, found: &mut Causes) {
    let selector = &spec["selector"];
    if selector.is_null() {
        return found.required("spec.selector", "");
    }
    let empty = |field: &str| selector[field].as_object().is_none_or(serde_json::Map::is_empty);
    let expressions = selector["matchExpressions"].as_array().map_or(0, Vec::len);
    if empty("matchLabels") && expressions == 0 {
        found.invalid("spec.selector", selector, "empty selector is invalid for deployment");
    }
    let before = found.0.len();
    meta::labels(&selector["matchLabels"], "spec.selector.matchLabels", found);
    for (path, expression) in super::items(selector, "matchExpressions", "spec.selector") {
        self::expression(expression, &path, found);
    }
    let labels = &spec["template"]["metadata"]["labels"];
    if before == found.0.len() && !spec["template"].is_null() && !matches(selector, labels) {
        found.invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`");
    }
}

fn expression(expression: &Value, path: &str, found: &mut Causes) {
    let values = expression["values"].as_array().map_or(0, Vec::len);
    match text(expression, "operator") {
        "In" | "NotIn" if values == 0 => {
            found.required(format!("{path}.values"), "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if values > 0 => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            found.push(Cause::forbidden(format!("{path}.values"), detail));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        _ => found.invalid(format!("{path}.operator"), &expression["operator"], "not a valid selector operator"),
    }
    found.syntax(&format!("{path}.key"), &expression["key"], syntax::qualified_name(text(expression, "key")));
}

fn matches(selector: &Value, labels: &Value) -> bool {
    let plain = selector["matchLabels"].as_object().into_iter().flatten();
    let expressions = selector["matchExpressions"].as_array().into_iter().flatten();
    plain.into_iter().all(|(key, value)| labels.get(key) == Some(value))
        && expressions.into_iter().all(|expression| {
            let label = labels.get(text(expression, "key"));
            let among =
                || expression["values"].as_array().is_some_and(|values| values.iter().any(|v| Some(v) == label));
            match text(expression, "operator") {
                "In" => among(),
                "NotIn" => !among(),
                "Exists" => label.is_some(),
                _ => label.is_none(),
            }
        })
}

fn deployment(spec: &Value, found: &mut Causes) {
    let strategy = &spec["strategy"];
    match text(strategy, "type") {
        "RollingUpdate" => rolling(&strategy["rollingUpdate"], found),
        "Recreate" if !strategy["rollingUpdate"].is_null() => {
            let detail = "may not be specified when strategy `type` is 'Recreate'";
            found.push(Cause::forbidden("spec.strategy.rollingUpdate", detail));
        }
        "Recreate" => {}
        _ => found.push(Cause::not_supported("spec.strategy.type", &strategy["type"], &["Recreate", "RollingUpdate"])),
    }
    let number = |field: &str| spec[field].as_i64();
    if let (Some(deadline), ready) = (number("progressDeadlineSeconds"), number("minReadySeconds").unwrap_or(0))
        && deadline <= ready
    {
        let detail = "must be greater than minReadySeconds";
        found.invalid("spec.progressDeadlineSeconds", &spec["progressDeadlineSeconds"], detail);
    }
}

fn rolling(rolling: &Value, found: &mut Causes) {
    const PATH: &str = "spec.strategy.rollingUpdate";
    for field in ["maxUnavailable", "maxSurge"] {
        let path = format!("{PATH}.{field}");
        match &rolling[field] {
            Value::String(text) => match percent(text) {
                None => {
                    let detail = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
                    found.invalid(path, &rolling[field], detail);
                }
                Some(percent) if percent > 100 && field == "maxUnavailable" => {
                    found.invalid(path, &rolling[field], "must not be greater than 100%");
                }
                Some(_) => {}
            },
            value => not_negative(value, &path, found),
        }
    }
    let zero = |value: &Value| value == 0 || value.as_str().and_then(percent) == Some(0);
    if zero(&rolling["maxUnavailable"]) && zero(&rolling["maxSurge"]) {
        let detail = "may not be 0 when `maxSurge` is 0";
        found.invalid(format!("{PATH}.maxUnavailable"), &rolling["maxUnavailable"], detail);
    }
}

fn percent(text: &str) -> Option<u64> {
    text.strip_suffix('%').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

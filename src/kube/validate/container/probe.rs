//! Probes and lifecycle hooks of a container.

use serde_json::Value;

use crate::kube::status::Cause;
use crate::kube::validate::pod::one_of;
use crate::kube::validate::{Causes, syntax, text};

const PROBE_HANDLERS: [&str; 4] = ["exec", "httpGet", "tcpSocket", "grpc"];
const HOOK_HANDLERS: [&str; 4] = ["exec", "httpGet", "tcpSocket", "sleep"];
const COUNTS: [&str; 5] =
    ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"];
const SCHEMES: [&str; 2] = ["HTTP", "HTTPS"];

/// All probes and hooks of a container.
pub(super) fn probes(container: &Value, path: &str, found: &mut Causes) {
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = &container[name];
        if probe.is_null() {
            continue;
        }
        let path = format!("{path}.{name}");
        handler(probe, &PROBE_HANDLERS, &path, found);
        for field in COUNTS {
            if probe[field].as_i64().is_some_and(|count| count < 0) {
                found.invalid(format!("{path}.{field}"), &probe[field], "must be greater than or equal to 0");
            }
        }
        if name != "readinessProbe" && probe["successThreshold"].as_i64().is_some_and(|count| count != 1) {
            found.invalid(format!("{path}.successThreshold"), &probe["successThreshold"], "must be 1");
        }
    }
    for name in ["postStart", "preStop"] {
        let hook = &container["lifecycle"][name];
        if !hook.is_null() {
            handler(hook, &HOOK_HANDLERS, &format!("{path}.lifecycle.{name}"), found);
        }
    }
}

fn handler(holder: &Value, kinds: &[&str], path: &str, found: &mut Causes) {
    let mut given = kinds.iter().filter(|kind| holder[**kind].is_object());
    let Some(kind) = given.next() else {
        return found.required(path, "must specify a handler type");
    };
    for other in given {
        found.push(Cause::forbidden(format!("{path}.{other}"), "may not specify more than 1 handler type"));
    }
    let handler = &holder[*kind];
    let path = format!("{path}.{kind}");
    match *kind {
        "exec" if handler["command"].as_array().is_none_or(Vec::is_empty) => {
            found.required(format!("{path}.command"), "");
        }
        "httpGet" => {
            if text(handler, "path").is_empty() {
                found.required(format!("{path}.path"), "");
            }
            one_of(handler, "scheme", &path, &SCHEMES, found);
            found.syntax(&format!("{path}.port"), &handler["port"], syntax::port_reference(&handler["port"]));
        }
        "tcpSocket" => {
            found.syntax(&format!("{path}.port"), &handler["port"], syntax::port_reference(&handler["port"]));
        }
        _ => {}
    }
}

//! Paths that name no object: version, discovery, OpenAPI, health, metrics.

use http::Response;
use serde_json::{Value, json};

use super::body::Body;
use super::service::{Incoming, Service};
use super::{answer, health};
use crate::kube::status::Status;

/// The version of Kubernetes that is spoken, and the server's own.
const GIT_VERSION: &str = "v1.36.2+shoal";

/// Documents that are made once.
#[derive(Default)]
pub struct Documents {}

/// Serves a path that names no object.
pub fn serve(service: &Service, path: &str, incoming: &Incoming) -> Result<Response<Body>, Status> {
    if !matches!(incoming.method.as_str(), "GET" | "HEAD") {
        return Err(Status::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        ));
    }
    match path.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().as_slice() {
        ["version"] => Ok(answer::response("application/json", version().to_string())),
        ["healthz" | "livez" | "readyz", ..] => {
            health::serve(path, &incoming.query, &service.registry, &service.readiness)
        }
        ["metrics"] => Ok(answer::response("text/plain; version=0.0.4; charset=utf-8", metrics(service))),
        [] => Ok(answer::response("application/json", paths().to_string())),
        _ => Err(Status::new(404, "NotFound", "the server could not find the requested resource")),
    }
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc", "platform": "linux/amd64",
    })
}

fn paths() -> Value {
    json!({ "paths": ["/api", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"] })
}

fn metrics(service: &Service) -> String {
    let stats = service.registry.store().stats();
    #[allow(clippy::cast_precision_loss)] // gauges are floats by definition
    let gauges = [
        ("shoal_store_revision", "Newest applied revision", stats.revision as f64),
        ("shoal_store_compacted_revision", "Oldest revision that can be read", stats.compacted as f64),
        ("shoal_store_objects", "Objects that exist", stats.objects as f64),
        ("shoal_store_history_changes", "Changes retained for watches", stats.history_changes as f64),
        ("shoal_store_history_bytes", "Bytes of history", stats.history_bytes as f64),
        ("shoal_store_log_bytes", "Bytes of log on disk", stats.log_bytes as f64),
        ("shoal_store_syncs", "Syncs of the log", stats.sync.count as f64),
        ("shoal_store_sync_p99_seconds", "99th percentile of a sync", stats.sync.quantile(0.99).as_secs_f64()),
        ("shoal_store_disk_full", "Whether only reads and deletes are taken", f64::from(u8::from(stats.disk_full))),
    ];
    service.metrics.text(&gauges)
}

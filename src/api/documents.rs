//! Paths that name no object: version, discovery, OpenAPI, health, metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, ETAG, HOST, HeaderValue, IF_NONE_MATCH, LOCATION, VARY};
use http::{HeaderMap, Response, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::body::{self, Body};
use super::service::{Incoming, Service, header};
use super::{answer, health, negotiate};
use crate::kube::status::Status;
use crate::kube::{discovery, openapi};

/// The version of Kubernetes that is spoken, and the server's own.
const GIT_VERSION: &str = "v1.36.2+shoal";
const JSON: &str = "application/json";
const PROTOBUF_V2: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Documents that are made when first asked for and kept. Their number is bounded by the resource table: what names
/// nothing is not kept.
#[derive(Default)]
pub struct Documents(Mutex<BTreeMap<String, Document>>);

#[derive(Clone)]
struct Document {
    bytes: Bytes,
    etag: Arc<str>,
}

impl Documents {
    fn get(&self, name: &str, make: impl FnOnce() -> Option<Value>) -> Result<Document, Status> {
        self.keep(name, || make().map(|value| value.to_string().into()))
    }

    fn keep(&self, name: &str, make: impl FnOnce() -> Option<Bytes>) -> Result<Document, Status> {
        if let Some(document) = self.0.lock().get(name) {
            return Ok(document.clone());
        }
        let bytes = make().ok_or_else(Status::no_such_path)?;
        let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
        let tag = URL_SAFE_NO_PAD.encode(digest);
        let document = Document { bytes, etag: format!("\"{tag}\"").into() };
        self.0.lock().insert(name.to_owned(), document.clone());
        Ok(document)
    }
}

/// Serves a path that names no object.
pub fn serve(service: &Service, path: &str, incoming: &Incoming) -> Result<Response<Body>, Status> {
    if !matches!(incoming.method.as_str(), "GET" | "HEAD") {
        let why = "the server does not allow this method on the requested resource";
        return Err(Status::new(405, "MethodNotAllowed", why));
    }
    let headers = &incoming.headers;
    match path.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().as_slice() {
        ["version"] => Ok(answer::response(JSON, version().to_string())),
        ["healthz" | "livez" | "readyz", ..] => {
            health::serve(path, &incoming.query, &service.registry, &service.readiness)
        }
        ["metrics"] => Ok(answer::response("text/plain; version=0.0.4; charset=utf-8", metrics(service))),
        ["api"] if !aggregated(headers) => {
            Ok(answer::response(JSON, discovery::core_versions(header(headers, &HOST)).to_string()))
        }
        ["openapi", "v3", place @ ..] if !place.is_empty() => openapi_v3(service, &place.join("/"), incoming),
        [] => Ok(answer::response(JSON, paths().to_string())),
        parts => document(service, parts, headers),
    }
}

/// Documents that a client may have already.
fn document(service: &Service, parts: &[&str], headers: &HeaderMap) -> Result<Response<Body>, Status> {
    let kept = &service.documents;
    let (kind, document) = match parts {
        ["api"] => (AGGREGATED, kept.get("aggregated/api", || Some(discovery::aggregated(true)))?),
        ["apis"] if aggregated(headers) => {
            (AGGREGATED, kept.get("aggregated/apis", || Some(discovery::aggregated(false)))?)
        }
        ["apis"] => (JSON, kept.get("apis", || Some(discovery::groups()))?),
        ["apis", group] => (JSON, kept.get(&format!("apis/{group}"), || discovery::group(group))?),
        ["api", version] => (JSON, kept.get(&format!("api/{version}"), || discovery::resources("", version))?),
        ["apis", group, version] => {
            (JSON, kept.get(&format!("apis/{group}/{version}"), || discovery::resources(group, version))?)
        }
        ["openapi", "v2"] if wants_protobuf(headers) => {
            (PROTOBUF_V2, kept.keep("openapi/v2.pb", || Some(openapi::v2_protobuf().into()))?)
        }
        ["openapi", "v2"] => {
            negotiate::accepted(header(headers, &ACCEPT))?;
            (JSON, kept.get("openapi/v2", || Some(openapi::v2()))?)
        }
        ["openapi", "v3"] => (JSON, kept.get("openapi/v3", || Some(openapi::v3_index()))?),
        _ => return Err(Status::no_such_path()),
    };
    Ok(cached(&document, kind, headers))
}

fn aggregated(headers: &HeaderMap) -> bool {
    let first = negotiate::alternatives(header(headers, &ACCEPT)).into_iter().find(|one| one.media == JSON);
    first.is_some_and(|one| {
        one.parameter("as") == Some("APIGroupDiscoveryList") && one.parameter("g") == Some("apidiscovery.k8s.io")
    })
}

/// Whether a client would rather have the version 2 document in protobuf; both spellings of the type are in use.
fn wants_protobuf(headers: &HeaderMap) -> bool {
    let old = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let best = negotiate::alternatives(header(headers, &ACCEPT)).into_iter().next();
    best.is_some_and(|one| [PROTOBUF_V2, old].contains(&one.media))
}

/// The document, or 304 where the client has it.
fn cached(document: &Document, kind: &'static str, headers: &HeaderMap) -> Response<Body> {
    let known = header(headers, &IF_NONE_MATCH).split(',').any(|etag| etag.trim() == &*document.etag);
    let mut response = answer::response(kind, document.bytes.clone());
    if known {
        *response.body_mut() = body::empty();
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    if let Ok(etag) = HeaderValue::from_str(&document.etag) {
        response.headers_mut().insert(ETAG, etag);
    }
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    response
}

/// A document of one group and version. A URL with the right hash never changes; one with another leads to that.
fn openapi_v3(service: &Service, place: &str, incoming: &Incoming) -> Result<Response<Body>, Status> {
    negotiate::accepted(header(&incoming.headers, &ACCEPT))?;
    let document = service.documents.get(&format!("openapi/v3/{place}"), || openapi::v3(place))?;
    let mut response = cached(&document, JSON, &incoming.headers);
    let Some(asked) = incoming.query.get("hash") else { return Ok(response) };
    let index = service.documents.get("openapi/v3", || Some(openapi::v3_index()))?;
    let index: Value = serde_json::from_slice(&index.bytes).unwrap_or_default();
    let url = index.get("paths").and_then(|paths| paths.get(place)?.get("serverRelativeURL")?.as_str());
    if url.is_some_and(|url| url.ends_with(&format!("?hash={asked}"))) {
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable, max-age=31536000"));
        return Ok(response);
    }
    let mut moved = answer::typed(JSON, body::empty());
    *moved.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let location = url.and_then(|url| HeaderValue::from_str(url).ok()).ok_or_else(Status::no_such_path)?;
    moved.headers_mut().insert(LOCATION, location);
    Ok(moved)
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc", "platform": "linux/amd64",
    })
}

fn paths() -> Value {
    let mut paths =
        vec!["/api", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"];
    paths.extend(["/shoal/v1/members", "/shoal/v1/tokens"]);
    json!({ "paths": paths })
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

//! Answers: what a verb produced, written as the client wants it.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WARNING};
use http::{HeaderMap, Response, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::body::{self, Body, ListBody};
use super::negotiate::{Accepted, Encoding, Shape};
use super::registry::{Listing, face, parse};
use crate::kube::print::{self, IncludeObject};
use crate::kube::resource::Resource;
use crate::kube::status::Status;
use crate::model::{Revision, Timestamp};

/// Bound on the warnings of one answer.
const MAX_WARNINGS: usize = 32;
/// Bound on one warning, in bytes.
const MAX_WARNING_BYTES: usize = 512;

/// What a verb produced.
pub enum Payload {
    /// One object of the resource.
    Object(&'static Resource, Bytes),
    /// Objects of the resource.
    List(&'static Resource, Listing),
    /// Something that has no table: a `Status`, a `Scale`.
    Plain(Bytes),
    /// An answer that is complete.
    Whole(Response<Body>),
}

/// What a verb answers.
pub struct Answer {
    /// Status code.
    pub code: StatusCode,
    /// What it produced.
    pub payload: Payload,
    /// For `Warning` headers.
    pub warnings: Vec<String>,
}

impl Answer {
    /// 200.
    pub fn ok(payload: Payload) -> Self {
        Self { code: StatusCode::OK, payload, warnings: Vec::new() }
    }

    /// 201.
    pub fn created(payload: Payload) -> Self {
        Self { code: StatusCode::CREATED, ..Self::ok(payload) }
    }

    /// With a warning, where there is something to warn of.
    pub fn warn(mut self, of: Option<impl std::fmt::Display>) -> Self {
        self.warnings.extend(of.map(|of| of.to_string()));
        self
    }
}

/// Writes an answer as `accepted` says.
pub fn write(answer: Answer, accepted: Accepted, now: Timestamp, with: TableOptions) -> Result<Response<Body>, Status> {
    let Answer { code, payload, warnings } = answer;
    let mut response = match (payload, accepted.shape) {
        (Payload::Whole(response), _) => response,
        (Payload::Plain(bytes), _) | (Payload::Object(_, bytes), Shape::Object) => encoded(bytes, accepted.encoding)?,
        (Payload::Object(_, bytes), Shape::Metadata) => encoded(metadata_only(&bytes)?.into(), accepted.encoding)?,
        (Payload::Object(resource, bytes), Shape::Table) => {
            encoded(table(resource, &[parse(&bytes)?], None, now, with)?, accepted.encoding)?
        }
        (Payload::List(resource, listing), Shape::Object) => list(resource, listing, accepted.encoding)?,
        (Payload::List(_, listing), Shape::Metadata) => encoded(metadata_list(&listing)?, accepted.encoding)?,
        (Payload::List(resource, listing), Shape::Table) => {
            let rows: Result<Vec<Value>, Status> =
                listing.records.iter().map(|record| parse(&face(resource, record)?)).collect();
            encoded(table(resource, &rows?, Some(&listing), now, with)?, accepted.encoding)?
        }
    };
    if response.status() == StatusCode::OK {
        *response.status_mut() = code;
    }
    warn(response.headers_mut(), &warnings);
    Ok(response)
}

/// How a table is wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct TableOptions {
    /// What each row carries of its object.
    pub include: IncludeObject,
    /// Leave the column definitions out (all but the first event of a watch).
    pub no_headers: bool,
}

fn encoded(bytes: Bytes, encoding: Encoding) -> Result<Response<Body>, Status> {
    let (kind, bytes) = match encoding {
        Encoding::Json => ("application/json", bytes),
        Encoding::Yaml => ("application/yaml", yaml(&bytes)?),
    };
    Ok(response(kind, bytes))
}

/// A complete answer.
pub fn response(content_type: &'static str, bytes: impl Into<Bytes>) -> Response<Body> {
    typed(content_type, body::full(bytes))
}

/// An answer with any body.
pub fn typed(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

fn yaml(json: &[u8]) -> Result<Bytes, Status> {
    let value: Value = serde_json::from_slice(json).map_err(|error| Status::internal(error.to_string()))?;
    let text = serde_saphyr::to_string(&value).map_err(|error| Status::internal(error.to_string()))?;
    Ok(text.into())
}

fn list(resource: &'static Resource, listing: Listing, encoding: Encoding) -> Result<Response<Body>, Status> {
    let head = format!(
        r#"{{"kind":"{}List","apiVersion":"{}","metadata":{},"items":["#,
        resource.kind,
        resource.api_version(),
        list_metadata(&listing)
    );
    if encoding == Encoding::Json && resource.stored_as.is_none() {
        let body = ListBody::new(head.into(), listing.records, Bytes::from_static(b"]}\n"));
        return Ok(typed("application/json", http_body_util::BodyExt::boxed_unsync(body)));
    }
    let mut out = head.into_bytes();
    for (at, record) in listing.records.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&face(resource, record)?);
    }
    out.extend_from_slice(b"]}");
    encoded(out.into(), encoding)
}

fn list_metadata(listing: &Listing) -> Value {
    let mut metadata = serde_json::Map::new();
    metadata.insert("resourceVersion".into(), listing.revision.to_string().into());
    if let Some(token) = &listing.continue_token {
        metadata.insert("continue".into(), token.as_str().into());
    }
    if let Some(remaining) = listing.remaining {
        metadata.insert("remainingItemCount".into(), remaining.into());
    }
    Value::Object(metadata)
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    metadata: &'a RawValue,
}

/// An object's metadata as `PartialObjectMetadata`.
pub fn metadata_only(object: &[u8]) -> Result<String, Status> {
    let head: Head<'_> = serde_json::from_slice(object).map_err(|error| Status::internal(error.to_string()))?;
    let metadata = head.metadata.get();
    Ok(format!(r#"{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{metadata}}}"#))
}

fn metadata_list(listing: &Listing) -> Result<Bytes, Status> {
    let items: Vec<String> =
        listing.records.iter().map(|record| metadata_only(&record.value)).collect::<Result<_, _>>()?;
    let text = format!(
        r#"{{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{},"items":[{}]}}"#,
        list_metadata(listing),
        items.join(",")
    );
    Ok(text.into())
}

fn table(
    resource: &'static Resource,
    objects: &[Value],
    listing: Option<&Listing>,
    now: Timestamp,
    with: TableOptions,
) -> Result<Bytes, Status> {
    let metadata = match (listing, objects.first()) {
        (Some(listing), _) => list_metadata(listing),
        (None, Some(object)) => json!({ "resourceVersion": object.pointer("/metadata/resourceVersion") }),
        (None, None) => json!({}),
    };
    let table = print::table(resource, objects, now, with.include, !with.no_headers, metadata);
    serde_json::to_vec(&table).map(Bytes::from).map_err(|error| Status::internal(error.to_string()))
}

/// A table of one object, for a watch event.
pub fn table_of(
    resource: &'static Resource,
    object: &[u8],
    now: Timestamp,
    with: TableOptions,
) -> Result<Bytes, Status> {
    table(resource, &[parse(object)?], None, now, with)
}

/// Writes a failure.
pub fn failure(status: &Status, encoding: Encoding) -> Response<Body> {
    let bytes = Bytes::from(status.to_value().to_string());
    let mut response = encoded(bytes.clone(), encoding).unwrap_or_else(|_| self::response("application/json", bytes));
    *response.status_mut() = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(seconds) = status.retry_after_seconds {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    warn(response.headers_mut(), status.warning.as_slice());
    response
}

/// The `Status` that says that something was done.
pub fn success(revision: Option<Revision>) -> Bytes {
    let metadata = revision.map_or_else(|| json!({}), |at| json!({ "resourceVersion": at.to_string() }));
    let body = json!({ "kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Success" });
    Bytes::from(body.to_string())
}

/// Adds `Warning` headers.
pub fn warn(headers: &mut HeaderMap, warnings: &[String]) {
    for warning in warnings.iter().take(MAX_WARNINGS) {
        let text: String = warning.chars().filter(|c| !c.is_control()).take(MAX_WARNING_BYTES).collect();
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            headers.append(WARNING, value);
        }
    }
}

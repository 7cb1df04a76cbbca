//! The version 3 documents: an index, and one for each group and version.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::operations::{self, Operation, Path};
use super::parameters::{Parameter, Place};
use super::types::{self, Dialect, META};
use super::v2::{MEDIA, PATCHES, STREAMS, meaning, tag};
use crate::kube::discovery;

/// `/openapi/v3`: where each document is, with a hash of its content, so that clients keep what they have.
pub fn index() -> Value {
    let all = types::all(Dialect::V3);
    let entry = |(group, version): (&'static str, &'static str)| {
        let place = operations::root(group, version).trim_start_matches('/').to_owned();
        let hash = hash(&build(&all, group, version)?);
        let url = format!("/openapi/v3/{place}?hash={hash}");
        Some((place, json!({ "serverRelativeURL": url })))
    };
    let paths: Map<String, Value> = types::every_version().into_iter().filter_map(entry).collect();
    json!({ "paths": paths })
}

/// The document at `/openapi/v3/{place}`, e.g. `api/v1`, `apis/apps/v1`; `None` where nothing is served there.
pub fn document(place: &str) -> Option<Value> {
    let served = types::every_version().into_iter();
    let (group, version) = served
        .into_iter()
        .find(|(group, version)| operations::root(group, version).trim_start_matches('/') == place)?;
    build(&types::all(Dialect::V3), group, version)
}

fn build(all: &Map<String, Value>, group: &str, version: &str) -> Option<Value> {
    let rows: Vec<_> = discovery::rows(group, version).collect();
    rows.first()?;
    let mut paths = Map::new();
    for path in rows.iter().flat_map(|row| operations::of(row)) {
        paths.insert(path.template.clone(), self::path(&path));
    }
    let list = format!("{}/", operations::root(group, version));
    paths.insert(list, resource_list(group, version));
    let paths = Value::Object(paths);
    let mut roots = BTreeSet::new();
    types::mentioned(&paths, &mut |name| {
        roots.insert(name.to_owned());
    });
    Some(json!({
        "openapi": "3.0.0",
        "info": { "title": "Kubernetes", "version": "v1.36.0" },
        "paths": paths,
        "components": {
            "schemas": types::reachable(all, roots),
            "securitySchemes": {
                "BearerToken": { "description": "A bearer token.", "type": "apiKey", "name": "authorization", "in": "header" },
            },
        },
    }))
}

fn hash(document: &Value) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, document.to_string().as_bytes());
    digest.as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}

fn path(path: &Path) -> Value {
    let mut item = Map::new();
    for operation in &path.operations {
        item.insert(operation.method.into(), self::operation(operation));
    }
    item.insert("parameters".into(), path.parameters.iter().map(parameter).collect());
    Value::Object(item)
}

fn content(media: &[&str], schema: &Value) -> Value {
    media.iter().map(|media| ((*media).to_owned(), json!({ "schema": schema }))).collect::<Map<_, _>>().into()
}

fn operation(operation: &Operation) -> Value {
    let (group, version, kind) = &operation.kind;
    let mut rendered = json!({
        "description": operation.description,
        "operationId": operation.id,
        "tags": [tag(operation)],
        "responses": responses(operation),
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": { "group": group, "version": version, "kind": kind },
    });
    if !operation.parameters.is_empty() {
        rendered["parameters"] = operation.parameters.iter().map(parameter).collect();
    }
    if let Some((type_name, required)) = &operation.body {
        let media: &[&str] = if operation.method == "patch" { &PATCHES } else { &["*/*"] };
        let mut body = json!({ "content": content(media, &Dialect::V3.reference(type_name)) });
        if *required {
            body["required"] = true.into();
        }
        rendered["requestBody"] = body;
    }
    rendered
}

fn responses(operation: &Operation) -> Value {
    let mut media: Vec<&str> = MEDIA.to_vec();
    if operation.streams {
        media.extend(STREAMS);
    }
    let content = match &operation.answer {
        Some(type_name) => self::content(&media, &Dialect::V3.reference(type_name)),
        None => self::content(
            &[if operation.action == "connect" { "*/*" } else { "text/plain" }],
            &json!({ "type": "string" }),
        ),
    };
    let mut responses = Map::new();
    for code in operation.codes {
        responses.insert((*code).into(), json!({ "description": meaning(code), "content": content }));
    }
    responses.insert("401".into(), json!({ "description": "Unauthorized" }));
    Value::Object(responses)
}

fn parameter(parameter: &Parameter) -> Value {
    let place = if parameter.place == Place::Path { "path" } else { "query" };
    let mut rendered = json!({
        "name": parameter.name, "in": place, "description": parameter.description,
        "schema": { "type": parameter.kind, "uniqueItems": true },
    });
    if parameter.place == Place::Path {
        rendered["required"] = true.into();
    }
    rendered
}

fn resource_list(group: &str, version: &str) -> Value {
    let part = operations::id_part(group, version);
    json!({ "get": {
        "description": "resources of a version",
        "operationId": format!("get{part}APIResources"),
        "responses": {
            "200": { "description": "OK", "content": content(&MEDIA, &Dialect::V3.reference(&format!("{META}.APIResourceList"))) },
            "401": { "description": "Unauthorized" },
        },
    } })
}

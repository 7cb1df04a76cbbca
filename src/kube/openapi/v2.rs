//! The version 2 document (Swagger).

use serde_json::{Map, Value, json};

use super::operations::{self, Operation, Path};
use super::parameters::{Parameter, Place};
use super::types::{self, Dialect, META};
use crate::kube::discovery;
use crate::kube::resource::TABLE;

pub(super) const MEDIA: [&str; 3] = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
pub(super) const STREAMS: [&str; 2] =
    ["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];
pub(super) const PATCHES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

/// `/openapi/v2`.
pub fn document() -> Value {
    let mut paths = Map::new();
    for path in TABLE.iter().flat_map(operations::of) {
        paths.insert(path.template.clone(), self::path(&path));
    }
    paths.extend(documents());
    json!({
        "swagger": "2.0",
        "info": { "title": "Kubernetes", "version": "v1.36.0" },
        "paths": paths,
        "definitions": types::all(Dialect::V2),
        "securityDefinitions": {
            "BearerToken": { "description": "A bearer token.", "type": "apiKey", "name": "authorization", "in": "header" },
        },
        "security": [{ "BearerToken": [] }],
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

fn operation(operation: &Operation) -> Value {
    let (group, version, kind) = &operation.kind;
    let mut produces: Vec<&str> = MEDIA.to_vec();
    if operation.streams {
        produces.extend(STREAMS);
    }
    if operation.answer.is_none() {
        produces = vec![if operation.action == "connect" { "*/*" } else { "text/plain" }];
    }
    let consumes: &[&str] = if operation.method == "patch" { &PATCHES } else { &["*/*"] };
    let body = operation.body.iter().map(|(type_name, required)| {
        let mut body = json!({ "name": "body", "in": "body", "schema": Dialect::V2.reference(type_name) });
        if *required {
            body["required"] = true.into();
        }
        body
    });
    let parameters: Vec<Value> = body.chain(operation.parameters.iter().map(parameter)).collect();
    let mut rendered = json!({
        "description": operation.description,
        "operationId": operation.id,
        "consumes": consumes,
        "produces": produces,
        "schemes": ["https"],
        "tags": [tag(operation)],
        "responses": responses(operation),
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": { "group": group, "version": version, "kind": kind },
    });
    if !parameters.is_empty() {
        rendered["parameters"] = parameters.into();
    }
    rendered
}

/// `core_v1`, `apps_v1`, ...: from the id, because a subresource's kind may be of another group.
pub(super) fn tag(operation: &Operation) -> String {
    let row = TABLE.iter().find(|row| operation.id.contains(&operations::id_part(row.id.group, row.version)));
    row.map(|row| version_tag(row.id.group, row.version)).unwrap_or_default()
}

fn version_tag(group: &str, version: &str) -> String {
    let first = if group.is_empty() { "core" } else { group.split('.').next().unwrap_or(group) };
    format!("{first}_{version}")
}

fn responses(operation: &Operation) -> Value {
    let schema =
        operation.answer.as_ref().map_or_else(|| json!({ "type": "string" }), |name| Dialect::V2.reference(name));
    let mut responses = Map::new();
    for code in operation.codes {
        responses.insert((*code).into(), json!({ "description": meaning(code), "schema": schema }));
    }
    responses.insert("401".into(), json!({ "description": "Unauthorized" }));
    Value::Object(responses)
}

pub(super) fn meaning(code: &str) -> &'static str {
    match code {
        "201" => "Created",
        "202" => "Accepted",
        _ => "OK",
    }
}

fn parameter(parameter: &Parameter) -> Value {
    let place = if parameter.place == Place::Path { "path" } else { "query" };
    let mut rendered = json!({
        "name": parameter.name, "in": place, "type": parameter.kind, "description": parameter.description,
        "uniqueItems": true,
    });
    if parameter.place == Place::Path {
        rendered["required"] = true.into();
    }
    rendered
}

/// The paths of discovery and version.
fn documents() -> Map<String, Value> {
    let mut paths = Map::new();
    let mut put = |path: String, id: &str, tag: &str, description: &str, answer: String| {
        let get = json!({
            "description": description, "operationId": id, "consumes": MEDIA, "produces": MEDIA,
            "schemes": ["https"], "tags": [tag],
            "responses": {
                "200": { "description": "OK", "schema": Dialect::V2.reference(&answer) },
                "401": { "description": "Unauthorized" },
            },
        });
        paths.insert(path, json!({ "get": get }));
    };
    let meta = |kind: &str| format!("{META}.{kind}");
    put("/api/".into(), "getCoreAPIVersions", "core", "versions of the core group", meta("APIVersions"));
    put("/apis/".into(), "getAPIVersions", "apis", "all groups", meta("APIGroupList"));
    let version = "io.k8s.apimachinery.pkg.version.Info".to_owned();
    put("/version/".into(), "getCodeVersion", "version", "version of the server", version);
    for group in discovery::group_names() {
        let first = group.split('.').next().unwrap_or(group);
        let id = format!("get{}APIGroup", operations::capital(first));
        put(format!("/apis/{group}/"), &id, first, "versions of a group", meta("APIGroup"));
    }
    for (group, version) in types::every_version() {
        let part = operations::id_part(group, version);
        let path = format!("{}/", operations::root(group, version));
        let tag = version_tag(group, version);
        put(path, &format!("get{part}APIResources"), &tag, "resources of a version", meta("APIResourceList"));
    }
    paths
}

//! The types as the documents show them: schemas of `k8s-openapi`, facts of our own, group-version-kinds of the table.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::operations::capital;
use crate::kube::discovery;
use crate::kube::facts::{self, Facts, ListType};
use crate::kube::resource::TABLE;
use crate::kube::schema;

pub(super) const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";

/// The two dialects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    V2,
    V3,
}

impl Dialect {
    /// A reference to a type.
    pub fn reference(self, type_name: &str) -> Value {
        json!({ "$ref": format!("{}{type_name}", self.prefix()) })
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::V2 => "#/definitions/",
            Self::V3 => "#/components/schemas/",
        }
    }
}

/// All types in a dialect, by name.
pub(super) fn all(dialect: Dialect) -> Map<String, Value> {
    let render = |(name, schema): (String, Value)| {
        let rendered = render_type(&name, schema, dialect);
        (name, rendered)
    };
    schema::definitions().into_iter().map(render).collect()
}

/// The types that `roots` mention, and those that these mention, and so on.
pub(super) fn reachable(all: &Map<String, Value>, roots: BTreeSet<String>) -> Map<String, Value> {
    let mut wanted: Vec<String> = roots.into_iter().collect();
    let mut found = Map::new();
    while let Some(name) = wanted.pop() {
        if let Some(schema) = all.get(&name).filter(|_| !found.contains_key(&name)) {
            mentioned(schema, &mut |target| wanted.push(target.to_owned()));
            found.insert(name, schema.clone());
        }
    }
    found
}

/// Calls `see` with the name of every type that the value refers to.
pub(super) fn mentioned(value: &Value, see: &mut dyn FnMut(&str)) {
    match value {
        Value::Object(fields) => {
            if let Some(target) = fields.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next()) {
                see(target);
            }
            fields.values().for_each(|value| mentioned(value, see));
        }
        Value::Array(items) => items.iter().for_each(|value| mentioned(value, see)),
        _ => {}
    }
}

fn render_type(name: &str, mut schema: Value, dialect: Dialect) -> Value {
    let Some(fields) = schema.as_object_mut() else { return schema };
    fields.remove("x-kubernetes-int-or-string");
    match (name, dialect) {
        (QUANTITY, Dialect::V2) => drop(fields.insert("type".into(), "string".into())),
        (INT_OR_STRING, Dialect::V2) => {
            fields.insert("type".into(), "string".into());
            fields.insert("format".into(), "int-or-string".into());
        }
        (QUANTITY, Dialect::V3) => {
            drop(fields.insert("oneOf".into(), json!([{ "type": "string" }, { "type": "number" }])));
        }
        (INT_OR_STRING, Dialect::V3) => {
            fields.insert("oneOf".into(), json!([{ "type": "integer" }, { "type": "string" }]));
            fields.insert("format".into(), "int-or-string".into());
        }
        _ => {}
    }
    only_published_requirements(name, fields);
    if let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) {
        for (field, property) in properties {
            render_property(property, facts::of(name, field), dialect);
        }
    }
    extend(fields, facts::of_type(name));
    let kinds = kinds(name);
    if !kinds.is_empty() {
        fields.insert("x-kubernetes-group-version-kind".into(), Value::Array(kinds));
    }
    schema
}

/// `k8s-openapi` requires the metadata of every object, and more; Kubernetes' documents do not.
fn only_published_requirements(name: &str, fields: &mut Map<String, Value>) {
    let facts = facts::of_type(name);
    if let Some(required) = facts.required {
        fields.insert("required".into(), required.split(',').collect());
    }
    let is_object = fields.get("properties").is_some_and(|properties| !properties["kind"].is_null());
    let Some(required) = fields.get_mut("required").and_then(Value::as_array_mut) else { return };
    let metadata = is_object && facts.required.is_none();
    required.retain(|name| !(metadata && name == "metadata") && name.as_str() != facts.optional);
    if required.is_empty() {
        fields.remove("required");
    }
}

fn render_property(property: &mut Value, facts: &Facts, dialect: Dialect) {
    point_references(property, dialect);
    let Some(fields) = property.as_object_mut() else { return };
    extend(fields, facts);
    // In version 3, nothing may stand beside a `$ref`.
    if dialect == Dialect::V3
        && fields.len() > 1
        && let Some(target) = fields.remove("$ref")
    {
        fields.insert("allOf".into(), json!([{ "$ref": target }]));
    }
}

fn point_references(value: &mut Value, dialect: Dialect) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                match value {
                    Value::String(target) if field == "$ref" => {
                        *target = target.replacen("#/$defs/", dialect.prefix(), 1);
                    }
                    value => point_references(value, dialect),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|value| point_references(value, dialect)),
        _ => {}
    }
}

fn extend(fields: &mut Map<String, Value>, facts: &Facts) {
    let mut put = |name: &str, value: Value| drop(fields.insert(format!("x-kubernetes-{name}"), value));
    match facts.list_type {
        Some(ListType::Atomic) => put("list-type", "atomic".into()),
        Some(ListType::Set) => put("list-type", "set".into()),
        Some(ListType::Map) => put("list-type", "map".into()),
        None => {}
    }
    if !facts.map_keys.is_empty() {
        put("list-map-keys", json!(facts.map_keys));
    }
    if let Some(kind) = facts.map_type {
        put("map-type", kind.into());
    }
    if let Some(key) = facts.merge_key {
        put("patch-merge-key", key.into());
    }
    if !facts.patch_strategies.is_empty() {
        put("patch-strategy", facts.patch_strategies.join(",").into());
    }
    if let Some((discriminator, members)) = facts.union {
        let names: Map<String, Value> =
            members.split(',').map(|field| (field.to_owned(), capital(field).into())).collect();
        let mut union = json!({ "fields-to-discriminateBy": names });
        if !discriminator.is_empty() {
            union["discriminator"] = discriminator.into();
        }
        put("unions", json!([union]));
    }
}

fn kinds(type_name: &str) -> Vec<Value> {
    let kind = type_name.rsplit('.').next().unwrap_or(type_name);
    let one = |group: &str, version: &str| json!({ "group": group, "kind": kind, "version": version });
    if type_name.strip_prefix(META).is_some() {
        return match kind {
            // These two are bodies in every group.
            "DeleteOptions" | "WatchEvent" => {
                every_version().iter().map(|(group, version)| one(group, version)).collect()
            }
            "Status" | "APIGroup" | "APIGroupList" | "APIResourceList" | "APIVersions" => vec![one("", "v1")],
            _ => Vec::new(),
        };
    }
    let base = type_name.strip_suffix("List").unwrap_or(type_name);
    if let Some(row) = TABLE.iter().find(|row| row.type_name == type_name || row.type_name == base) {
        return vec![one(row.id.group, row.version)];
    }
    match type_name {
        "io.k8s.api.core.v1.Binding" => vec![one("", "v1")],
        "io.k8s.api.autoscaling.v1.Scale" => vec![one("autoscaling", "v1")],
        "io.k8s.api.policy.v1.Eviction" => vec![one("policy", "v1")],
        _ => Vec::new(),
    }
}

/// Every group and version that is served.
pub(super) fn every_version() -> Vec<(&'static str, &'static str)> {
    let groups = std::iter::once("").chain(discovery::group_names());
    groups.flat_map(|group| discovery::versions_of(group).into_iter().map(move |version| (group, version))).collect()
}

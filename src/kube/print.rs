//! Objects as `kubectl get` shows them: the server's Table, and objects reduced to their metadata.
//!
//! Rooms: `column` what a column is; `age` times as people read them; `peek` reads fields of untyped objects; `pod`,
//! `workload`, `network`, `cluster` the columns and cells of each resource, with `columns` the table of them all.

mod age;
mod cluster;
mod column;
mod columns;
mod network;
mod peek;
mod pod;
#[cfg(test)]
mod tests;
mod workload;

use serde_json::{Map, Value};

use super::resource::Resource;
use crate::model::Timestamp;

pub use self::age::{age, human_duration};

/// How much of an object a table row carries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// Its metadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

impl IncludeObject {
    /// Reads the query parameter `includeObject`; `None` where it is neither of `None`, `Metadata`, `Object`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "Metadata" => Some(Self::Metadata),
            "None" => Some(Self::None),
            "Object" => Some(Self::Object),
            _ => None,
        }
    }
}

/// A `meta.k8s.io/v1` Table of objects. `list_meta` is the metadata of the list (of the object, where there is one):
/// `resourceVersion`, `continue`, `remainingItemCount`. In a watch only the first table has columns.
pub fn table<'v>(
    resource: &Resource,
    objects: impl IntoIterator<Item = &'v Value>,
    now: Timestamp,
    include: IncludeObject,
    with_columns: bool,
    list_meta: Value,
) -> Value {
    let printer = columns::printer(resource);
    let rows: Vec<Value> = objects.into_iter().map(|object| row(&printer, object, now, include)).collect();
    let definitions: Vec<Value> =
        if with_columns { printer.columns.iter().map(column::Column::definition).collect() } else { Vec::new() };
    let parts = [("columnDefinitions", Value::Array(definitions)), ("rows", Value::Array(rows))];
    document("Table", list_meta, parts)
}

fn row(printer: &column::Printer, object: &Value, now: Timestamp, include: IncludeObject) -> Value {
    let shown = column::Shown { object, now };
    let mut row = Map::new();
    row.insert("cells".to_owned(), Value::Array((printer.cells)(shown)));
    if let Some(conditions) = printer.conditions.and_then(|conditions| conditions(object)) {
        row.insert("conditions".to_owned(), conditions);
    }
    let carried = match include {
        IncludeObject::None => Value::Null,
        IncludeObject::Metadata => partial(object),
        IncludeObject::Object => object.clone(),
    };
    row.insert("object".to_owned(), carried);
    Value::Object(row)
}

/// An object as `PartialObjectMetadata` of `meta.k8s.io/v1`.
pub fn partial(object: &Value) -> Value {
    document("PartialObjectMetadata", object.get("metadata").cloned().unwrap_or_default(), [])
}

/// Objects as `PartialObjectMetadataList` of `meta.k8s.io/v1`.
pub fn partial_list<'v>(objects: impl IntoIterator<Item = &'v Value>, list_meta: Value) -> Value {
    let items: Vec<Value> = objects.into_iter().map(partial).collect();
    document("PartialObjectMetadataList", list_meta, [("items", Value::Array(items))])
}

/// Moves the parts into a document; `json!` would copy them.
fn document<const N: usize>(kind: &str, metadata: Value, parts: [(&str, Value); N]) -> Value {
    let head = [("kind", kind.into()), ("apiVersion", "meta.k8s.io/v1".into()), ("metadata", metadata)];
    Value::Object(head.into_iter().chain(parts).map(|(name, value)| (name.to_owned(), value)).collect())
}

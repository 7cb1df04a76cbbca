//! The types as a compact graph, compiled once from their schemas.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::Value;

use super::roots;
use crate::kube::facts::{self, Facts};

/// All types.
pub(in crate::kube) struct Graph {
    types: Vec<Type>,
    names: HashMap<Box<str>, u16>,
}

/// An object type.
pub(in crate::kube) struct Type {
    /// Full schema name.
    pub name: Box<str>,
    /// Fields, sorted by name.
    fields: Vec<Entry>,
}

/// A field.
pub(in crate::kube) struct Entry {
    name: Box<str>,
    /// What it holds.
    pub node: Node,
    /// Whether the schema requires it.
    pub required: bool,
    /// How it merges.
    pub facts: &'static Facts,
}

/// What a field, an item or a value holds.
#[derive(Clone)]
pub(in crate::kube) enum Node {
    /// An object type.
    Object(u16),
    /// A list of these.
    List(Box<Node>),
    /// A map to these.
    Map(Box<Node>),
    /// A scalar.
    Leaf(Leaf),
}

/// Scalars, and what is not looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kube) enum Leaf {
    String,
    /// Base64 text.
    Bytes,
    Bool,
    Int32,
    Int64,
    Float,
    Quantity,
    IntOrString,
    Time,
    MicroTime,
    /// An object with unknown fields.
    AnyObject,
    Any,
}

/// The graph; built at the first call.
pub(in crate::kube) fn graph() -> &'static Graph {
    static GRAPH: OnceLock<Graph> = OnceLock::new();
    GRAPH.get_or_init(Graph::compile)
}

impl Graph {
    /// A type by its full name.
    pub fn by_name(&self, name: &str) -> Option<&Type> {
        self.names.get(name).and_then(|id| self.by_id(*id))
    }

    /// A type by its number.
    pub fn by_id(&self, id: u16) -> Option<&Type> {
        self.types.get(usize::from(id))
    }

    fn compile() -> Self {
        let definitions = roots::definitions();
        let objects = definitions.iter().filter(|(_, schema)| schema.get("properties").is_some());
        let names: HashMap<Box<str>, u16> =
            objects.clone().zip(0..).map(|((name, _), id)| (name.as_str().into(), id)).collect();
        let types = objects.map(|(name, schema)| Type::compile(name, schema, &names)).collect();
        Self { types, names }
    }
}

impl Type {
    /// A field by its name.
    pub fn field(&self, name: &str) -> Option<&Entry> {
        let at = self.fields.binary_search_by(|entry| (*entry.name).cmp(name)).ok()?;
        self.fields.get(at)
    }

    /// The name of the Go struct, as its errors print it.
    pub fn go_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or(&self.name)
    }

    fn compile(name: &str, schema: &Value, names: &HashMap<Box<str>, u16>) -> Self {
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let properties = schema["properties"].as_object().into_iter().flatten();
        let mut fields: Vec<Entry> = properties
            .map(|(field, schema)| Entry {
                name: field.as_str().into(),
                node: Node::compile(schema, names),
                required: required.contains(&field.as_str()),
                facts: facts::of(name, field),
            })
            .collect();
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        Self { name: name.into(), fields }
    }
}

impl Node {
    fn compile(schema: &Value, names: &HashMap<Box<str>, u16>) -> Self {
        if let Some(target) = schema["$ref"].as_str().and_then(|target| target.rsplit('/').next()) {
            return names.get(target).map_or_else(|| Self::Leaf(Leaf::named(target)), |id| Self::Object(*id));
        }
        match schema["type"].as_str() {
            Some("array") => Self::List(Box::new(Self::compile(&schema["items"], names))),
            Some("object") if schema["additionalProperties"].is_object() => {
                Self::Map(Box::new(Self::compile(&schema["additionalProperties"], names)))
            }
            Some(kind) => Self::Leaf(Leaf::plain(kind, schema["format"].as_str())),
            None => Self::Leaf(Leaf::Any),
        }
    }
}

impl Leaf {
    fn named(target: &str) -> Self {
        match target {
            "io.k8s.apimachinery.pkg.api.resource.Quantity" => Self::Quantity,
            "io.k8s.apimachinery.pkg.util.intstr.IntOrString" => Self::IntOrString,
            "io.k8s.apimachinery.pkg.apis.meta.v1.Time" => Self::Time,
            "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime" => Self::MicroTime,
            "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1" => Self::AnyObject,
            _ => Self::Any,
        }
    }

    fn plain(kind: &str, format: Option<&str>) -> Self {
        match (kind, format) {
            ("string", Some("byte")) => Self::Bytes,
            ("string", Some("date-time")) => Self::Time,
            ("string", _) => Self::String,
            ("boolean", _) => Self::Bool,
            ("integer", Some("int32")) => Self::Int32,
            ("integer", _) => Self::Int64,
            ("number", _) => Self::Float,
            ("object", _) => Self::AnyObject,
            _ => Self::Any,
        }
    }
}

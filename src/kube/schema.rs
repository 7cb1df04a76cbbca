//! Shapes of types at run time: what a field is, and whether a body fits its type.
//!
//! `roots` lists the types that bodies can have and asks `k8s-openapi` for their schemas; `graph` compiles them, once, to
//! a compact table; `check` and `normalize` walk a body beside it.

mod check;
mod graph;
mod normalize;
mod roots;

pub use check::{Fault, Finding, check};
pub use normalize::normalize;
pub use roots::definitions;

use crate::kube::facts::Facts;
pub(in crate::kube) use graph::{Leaf, Node, Type};

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// An object with known fields.
    Object,
    /// A list.
    List,
    /// Free keys to values of one type.
    Map,
    /// A scalar, or anything that has no known fields.
    Leaf,
}

/// A field of a type.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// The object type, or that of the list's items or the map's values; `None` where that is a leaf.
    pub type_name: Option<&'static str>,
    /// What the field holds.
    pub shape: Shape,
    /// Whether the type's schema requires it.
    pub required: bool,
    /// How it merges.
    pub facts: &'static Facts,
}

/// A field of a type, by the type's full schema name; `None` where the type or the field is unknown.
pub fn field(type_name: &str, field: &str) -> Option<Field> {
    let graph = graph::graph();
    let entry = graph.by_name(type_name)?.field(field)?;
    let (shape, inner) = match &entry.node {
        Node::Object(_) => (Shape::Object, &entry.node),
        Node::List(item) => (Shape::List, &**item),
        Node::Map(value) => (Shape::Map, &**value),
        Node::Leaf(_) => (Shape::Leaf, &entry.node),
    };
    let type_name = if let Node::Object(id) = inner { graph.by_id(*id).map(|found| &*found.name) } else { None };
    Some(Field { type_name, shape, required: entry.required, facts: entry.facts })
}

/// A type by its full schema name.
pub(in crate::kube) fn type_of(name: &str) -> Option<&'static Type> {
    graph::graph().by_name(name)
}

/// A type by the number that a [`Node`] holds.
pub(in crate::kube) fn type_by_id(id: u16) -> Option<&'static Type> {
    graph::graph().by_id(id)
}

/// Whether the type is known here.
pub fn knows(type_name: &str) -> bool {
    graph::graph().by_name(type_name).is_some()
}

#[cfg(test)]
mod tests;

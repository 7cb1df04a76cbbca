//! A body as a typed decoder would have left it: no nulls, no empty lists and maps where those mean "unset", quantities
//! and times in their canonical form.

use serde_json::Value;

use super::graph::{Graph, Leaf, Node, Type, graph};
use crate::model::{Quantity, Timestamp};

/// Brings a body to the form that Kubernetes stores. Unknown fields stay, or go where `drop_unknown` says so. Values of
/// a wrong type are left alone; [`super::check`] reports them.
pub fn normalize(type_name: &str, value: &mut Value, drop_unknown: bool) {
    let graph = graph();
    if let Some(kind) = graph.by_name(type_name) {
        Walk { graph, drop_unknown }.object(kind, value);
    }
}

struct Walk {
    graph: &'static Graph,
    drop_unknown: bool,
}

impl Walk {
    fn object(&self, kind: &Type, value: &mut Value) {
        let Value::Object(fields) = value else { return };
        fields.retain(|name, value| match kind.field(name) {
            None => !self.drop_unknown,
            Some(_) if value.is_null() => false,
            Some(entry) => {
                self.node(&entry.node, value);
                entry.required || !is_unset(&entry.node, value)
            }
        });
    }

    fn node(&self, node: &Node, value: &mut Value) {
        match (node, value) {
            (Node::Object(id), value) => {
                if value.is_null() {
                    *value = Value::Object(serde_json::Map::new());
                }
                if let Some(kind) = self.graph.by_id(*id) {
                    self.object(kind, value);
                }
            }
            (Node::List(node), Value::Array(items)) => items.iter_mut().for_each(|item| self.node(node, item)),
            (Node::Map(node), Value::Object(entries)) => {
                entries.iter_mut().for_each(|(_, value)| self.node(node, value));
            }
            (Node::Leaf(leaf), value) => canonical(*leaf, value),
            _ => {}
        }
    }
}

fn is_unset(node: &Node, value: &Value) -> bool {
    match (node, value) {
        (Node::List(_), Value::Array(items)) => items.is_empty(),
        (Node::Map(_), Value::Object(entries)) => entries.is_empty(),
        _ => false,
    }
}

fn canonical(leaf: Leaf, value: &mut Value) {
    let text = match (leaf, &*value) {
        (Leaf::Quantity, Value::String(text)) => Quantity::canonical(text).filter(|canonical| canonical != text),
        (Leaf::Quantity, Value::Number(number)) => Quantity::canonical(&number.to_string()),
        (Leaf::Time, Value::String(text)) if !is_plain_time(text) => Timestamp::parse(text).map(Timestamp::rfc3339),
        (Leaf::MicroTime, Value::String(text)) if text.len() != "2026-11-20T08:00:00.000000Z".len() => {
            Timestamp::parse(text).map(Timestamp::rfc3339_micro)
        }
        (Leaf::String, Value::Null) => Some(String::new()),
        _ => None,
    };
    if let Some(text) = text {
        *value = Value::String(text);
    }
}

fn is_plain_time(text: &str) -> bool {
    text.len() == "2026-11-20T08:00:00Z".len() && text.ends_with('Z')
}

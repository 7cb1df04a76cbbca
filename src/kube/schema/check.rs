//! A body beside its type: unknown fields and wrong types, worded as Kubernetes' decoder words them.

use std::fmt::Write as _;

use serde_json::Value;

use super::graph::{Graph, Leaf, Node, Type, graph};

/// What is wrong with a body, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// E.g. `spec.containers[0].imagee`.
    pub path: String,
    /// What is wrong there.
    pub fault: Fault,
}

/// How a value does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The type has no such field. Kubernetes words it `unknown field "<path>"`.
    Unknown,
    /// The value has another type; the text is what follows `cannot be handled as a Pod: `.
    WrongType(String),
}

/// At most this many findings are gathered for a body: a reader learns nothing from more, and a hostile body may have
/// millions.
const FINDINGS_MAX: usize = 100;

/// What does not fit. Empty where everything does, or where the type is unknown here. `null` fits everywhere.
pub fn check(type_name: &str, value: &Value) -> Vec<Finding> {
    let graph = graph();
    let mut walk = Walk { graph, findings: Vec::new() };
    if let Some(root) = graph.by_name(type_name) {
        walk.object(root, value, &Place::Root, root);
    }
    walk.findings
}

/// Where the walk is; printed only when there is something to say.
enum Place<'a> {
    Root,
    Field(&'a Place<'a>, &'a str),
    Key(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

struct Walk {
    graph: &'static Graph,
    findings: Vec<Finding>,
}

impl Walk {
    fn object(&mut self, kind: &Type, value: &Value, place: &Place, owner: &Type) {
        let fields = match value {
            Value::Object(fields) => fields,
            Value::Null => return,
            other => return self.wrong(other, place, owner, &go_struct(&kind.name)),
        };
        for (name, value) in fields {
            let place = Place::Field(place, name);
            match kind.field(name) {
                Some(entry) => self.node(&entry.node, value, &place, kind),
                None => self.report(&place, Fault::Unknown),
            }
        }
    }

    fn node(&mut self, node: &Node, value: &Value, place: &Place, owner: &Type) {
        match (node, value) {
            (_, Value::Null) => {}
            (Node::Leaf(leaf), value) => self.leaf(*leaf, value, place, owner),
            (Node::Object(id), value) => {
                if let Some(kind) = self.graph.by_id(*id) {
                    self.object(kind, value, place, owner);
                }
            }
            (Node::List(node), Value::Array(items)) => {
                for (at, item) in items.iter().enumerate() {
                    self.node(node, item, &Place::Item(place, at), owner);
                }
            }
            (Node::Map(node), Value::Object(entries)) => {
                for (key, value) in entries {
                    self.node(node, value, &Place::Key(place, key), owner);
                }
            }
            (node, other) => self.wrong(other, place, owner, &self.go_type(node)),
        }
    }

    fn leaf(&mut self, leaf: Leaf, value: &Value, place: &Place, owner: &Type) {
        let text = match (leaf, value) {
            (Leaf::Any, _)
            | (Leaf::String | Leaf::IntOrString, Value::String(_))
            | (Leaf::Bool, Value::Bool(_))
            | (Leaf::Float, Value::Number(_))
            | (Leaf::AnyObject, Value::Object(_)) => return,
            (Leaf::Bytes, Value::String(text)) => base64_fault(text),
            (Leaf::Quantity, Value::String(text)) => quantity_fault(text),
            (Leaf::Quantity, Value::Number(number)) => quantity_fault(&number.to_string()),
            (Leaf::Time | Leaf::MicroTime, Value::String(text)) => time_fault(text, leaf == Leaf::MicroTime),
            (Leaf::Int32 | Leaf::Int64 | Leaf::IntOrString, Value::Number(number)) if fits(leaf, number) => return,
            _ => return self.wrong(value, place, owner, go_leaf(leaf)),
        };
        if let Some(text) = text {
            self.report(place, Fault::WrongType(text));
        }
    }

    fn wrong(&mut self, value: &Value, place: &Place, owner: &Type, want: &str) {
        let have = match value {
            Value::Null => "null".into(),
            Value::Bool(_) => "bool".into(),
            Value::Number(number) if matches!(want, "int32" | "int64") => format!("number {number}"),
            Value::Number(_) => "number".into(),
            Value::String(_) => "string".into(),
            Value::Array(_) => "array".into(),
            Value::Object(_) => "object".into(),
        };
        let mut fields = String::new();
        place.write_fields(&mut fields);
        let text = if fields.is_empty() {
            format!("json: cannot unmarshal {have} into Go value of type {want}")
        } else {
            format!("json: cannot unmarshal {have} into Go struct field {}.{fields} of type {want}", owner.go_name())
        };
        self.report(place, Fault::WrongType(text));
    }

    fn report(&mut self, place: &Place, fault: Fault) {
        if self.findings.len() < FINDINGS_MAX {
            let mut path = String::new();
            place.write(&mut path);
            self.findings.push(Finding { path, fault });
        }
    }

    fn go_type(&self, node: &Node) -> String {
        match node {
            Node::Object(id) => self.graph.by_id(*id).map(|kind| go_struct(&kind.name)).unwrap_or_default(),
            Node::List(node) => format!("[]{}", self.go_type(node)),
            Node::Map(node) => format!("map[string]{}", self.go_type(node)),
            Node::Leaf(leaf) => go_leaf(*leaf).to_owned(),
        }
    }
}

impl Place<'_> {
    /// `spec.containers[0].image`.
    fn write(&self, out: &mut String) {
        match self {
            Self::Root => {}
            Self::Field(parent, name) | Self::Key(parent, name) => {
                parent.write(out);
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(name);
            }
            Self::Item(parent, at) => {
                parent.write(out);
                let _ = write!(out, "[{at}]");
            }
        }
    }

    /// `spec.containers.image`: field names only, as Go's decoder has it.
    fn write_fields(&self, out: &mut String) {
        match self {
            Self::Root => {}
            Self::Key(parent, _) | Self::Item(parent, _) => parent.write_fields(out),
            Self::Field(parent, name) => {
                parent.write_fields(out);
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(name);
            }
        }
    }
}

/// `io.k8s.api.core.v1.Container` as Go prints it: `v1.Container`.
fn go_struct(name: &str) -> String {
    let mut parts = name.rsplitn(3, '.');
    let kind = parts.next().unwrap_or_default();
    format!("{}.{kind}", parts.next().unwrap_or_default())
}

fn go_leaf(leaf: Leaf) -> &'static str {
    match leaf {
        Leaf::String | Leaf::Time | Leaf::MicroTime | Leaf::Quantity => "string",
        Leaf::Bytes => "[]uint8",
        Leaf::Bool => "bool",
        Leaf::Int32 | Leaf::IntOrString => "int32",
        Leaf::Int64 => "int64",
        Leaf::Float => "float64",
        Leaf::AnyObject => "map[string]interface {}",
        Leaf::Any => "interface {}",
    }
}

/// Whether an integer is in the range of its type.
fn fits(leaf: Leaf, number: &serde_json::Number) -> bool {
    number.as_i64().is_some_and(|number| leaf == Leaf::Int64 || i32::try_from(number).is_ok())
}

fn base64_fault(text: &str) -> Option<String> {
    use base64::Engine as _;
    let at = match base64::engine::general_purpose::STANDARD.decode(text).err()? {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
        base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => text.len(),
    };
    Some(format!("illegal base64 data at input byte {at}"))
}

/// The form only; amounts out of range are capped, as Kubernetes does.
fn quantity_fault(text: &str) -> Option<String> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = unsigned.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, suffix) = unsigned.split_at_checked(digits)?;
    let number_fits =
        number.bytes().any(|byte| byte.is_ascii_digit()) && number.bytes().filter(|b| *b == b'.').count() <= 1;
    let exponent = |text: &str| text.parse::<i32>().is_ok();
    let suffix_fits = matches!(
        suffix,
        "" | "n" | "u" | "m" | "k" | "M" | "G" | "T" | "P" | "E" | "Ki" | "Mi" | "Gi" | "Ti" | "Pi" | "Ei"
    ) || suffix.strip_prefix(['e', 'E']).is_some_and(exponent);
    if number_fits && suffix_fits {
        return None;
    }
    if text.is_empty()
        || !number_fits
        || suffix.is_empty()
        || !suffix.bytes().all(|byte| b"eEinumkKMGTP+-0123456789".contains(&byte))
    {
        return Some(
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'".into(),
        );
    }
    Some("unable to parse quantity's suffix".into())
}

fn time_fault(text: &str, micro: bool) -> Option<String> {
    if text.is_empty() && !micro || crate::model::Timestamp::parse(text).is_some() {
        return None;
    }
    let layout = if micro { "2006-01-02T15:04:05.000000Z07:00" } else { "2006-01-02T15:04:05Z07:00" };
    Some(format!("parsing time \"\\\"{text}\\\"\" as \"\\\"{layout}\\\"\": cannot parse \"{text}\" as \"2006\""))
}

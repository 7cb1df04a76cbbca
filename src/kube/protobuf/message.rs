//! A message beside its type's schema, made a JSON value.

use base64::Engine as _;
use serde_json::{Map, Value};

use super::numbers::{Slot, slot};
use super::wire::{Raw, Reader, text};
use crate::kube::decode::Limits;
use crate::kube::schema::{Leaf, Node, Type, type_by_id};
use crate::model::Timestamp;

type Outcome<T> = Result<T, &'static str>;

/// A walk through one body, within its bounds.
pub(super) struct Walk {
    depth_left: usize,
    values_left: usize,
}

impl Walk {
    /// A walk that may cost what `limits` say.
    pub fn new(limits: Limits) -> Self {
        Self { depth_left: limits.max_depth, values_left: limits.max_nodes }
    }

    /// Adds the fields of `message` to an object of type `kind`.
    pub fn fields(&mut self, message: &str, kind: &Type, bytes: &[u8], out: &mut Map<String, Value>) -> Outcome<()> {
        self.depth_left = self.depth_left.checked_sub(1).ok_or("it is nested too deeply")?;
        let mut fields = Reader::new(bytes);
        while let Some((number, raw)) = fields.field()? {
            self.count()?;
            match slot(message, number) {
                Some(Slot::Inline(inner)) => self.fields(inner, kind, bytes_of(raw)?, out)?,
                Some(Slot::Field { name, keeps_zero }) => {
                    if let Some(entry) = kind.field(name) {
                        self.field(name, &entry.node, *keeps_zero, raw, out)?;
                    }
                }
                None => {}
            }
        }
        self.depth_left += 1;
        Ok(())
    }

    fn count(&mut self) -> Outcome<()> {
        self.values_left = self.values_left.checked_sub(1).ok_or("it has too many values")?;
        Ok(())
    }

    fn field(&mut self, name: &str, node: &Node, keeps: bool, raw: Raw, out: &mut Map<String, Value>) -> Outcome<()> {
        match node {
            Node::List(item) => {
                let value = self.value(item, raw)?.unwrap_or_default();
                if let Value::Array(items) = out.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
                    items.push(value);
                }
            }
            Node::Map(item) => {
                let (key, value) = self.entry(item, bytes_of(raw)?)?;
                if let Value::Object(entries) = out.entry(name).or_insert_with(|| Value::Object(Map::new())) {
                    entries.insert(key, value);
                }
            }
            node => {
                if let Some(value) = self.value(node, raw)?.filter(|value| keeps || !is_zero(value)) {
                    out.insert(name.to_owned(), value);
                }
            }
        }
        Ok(())
    }

    /// An entry of a map: a message of a key and a value.
    fn entry(&mut self, node: &Node, bytes: &[u8]) -> Outcome<(String, Value)> {
        let (mut key, mut value) = (String::new(), Raw::Bytes(&[]));
        let mut fields = Reader::new(bytes);
        while let Some((number, raw)) = fields.field()? {
            match number {
                1 => text(bytes_of(raw)?)?.clone_into(&mut key),
                2 => value = raw,
                _ => {}
            }
        }
        Ok((key, self.value(node, value)?.unwrap_or_default()))
    }

    /// A single value; `None` where it says that it is unset.
    fn value(&mut self, node: &Node, raw: Raw) -> Outcome<Option<Value>> {
        match node {
            Node::Object(id) => {
                let kind = type_by_id(*id).ok_or("a type has no schema")?;
                let mut object = Map::new();
                self.fields(&kind.name, kind, bytes_of(raw)?, &mut object)?;
                Ok(Some(Value::Object(object)))
            }
            Node::Leaf(leaf) => scalar(*leaf, raw),
            Node::List(_) | Node::Map(_) => Err("a list holds lists"),
        }
    }
}

fn scalar(leaf: Leaf, raw: Raw) -> Outcome<Option<Value>> {
    Ok(Some(match (leaf, raw) {
        (Leaf::String, Raw::Bytes(bytes)) => text(bytes)?.into(),
        (Leaf::Bytes, Raw::Bytes(bytes)) => base64::engine::general_purpose::STANDARD.encode(bytes).into(),
        (Leaf::Bool, Raw::Varint(number)) => (number != 0).into(),
        (Leaf::Int32 | Leaf::Int64, Raw::Varint(number)) => number.cast_signed().into(),
        (Leaf::Float, Raw::Fixed64(bits)) => f64::from_bits(bits).into(),
        (Leaf::Quantity, Raw::Bytes(bytes)) => match first(bytes)? {
            [] => "0".into(),
            amount => text(amount)?.into(),
        },
        (Leaf::IntOrString, Raw::Bytes(bytes)) => int_or_string(bytes)?,
        (Leaf::Time | Leaf::MicroTime, Raw::Bytes(bytes)) => return time(bytes, leaf == Leaf::MicroTime),
        (Leaf::Any | Leaf::AnyObject, Raw::Bytes(bytes)) => match first(bytes)? {
            [] => return Ok(None),
            json => serde_json::from_slice(json).map_err(|_| "a raw value is not JSON")?,
        },
        _ => return Err("a field has another wire type than its type says"),
    }))
}

/// The bytes of a message's first field.
fn first(bytes: &[u8]) -> Outcome<&[u8]> {
    let mut fields = Reader::new(bytes);
    while let Some(field) = fields.field()? {
        if let (1, Raw::Bytes(bytes)) = field {
            return Ok(bytes);
        }
    }
    Ok(&[])
}

fn int_or_string(bytes: &[u8]) -> Outcome<Value> {
    let (mut is_text, mut number, mut said) = (false, 0, "");
    let mut fields = Reader::new(bytes);
    while let Some(field) = fields.field()? {
        match field {
            (1, Raw::Varint(kind)) => is_text = kind == 1,
            (2, Raw::Varint(value)) => number = value.cast_signed(),
            (3, Raw::Bytes(value)) => said = text(value)?,
            _ => {}
        }
    }
    Ok(if is_text { said.into() } else { number.into() })
}

/// Seconds and nanoseconds since 1970; an empty message is no time.
fn time(bytes: &[u8], micro: bool) -> Outcome<Option<Value>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let (mut seconds, mut nanos) = (0, 0);
    let mut fields = Reader::new(bytes);
    while let Some(field) = fields.field()? {
        match field {
            (1, Raw::Varint(value)) => seconds = value.cast_signed(),
            (2, Raw::Varint(value)) => nanos = value.cast_signed(),
            _ => {}
        }
    }
    let micros = seconds.checked_mul(1_000_000).and_then(|micros| micros.checked_add(nanos / 1000));
    let at = Timestamp(micros.ok_or("a time is out of range")?);
    Ok(Some(if micro { at.rfc3339_micro() } else { at.rfc3339() }.into()))
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(_) | Value::Object(_) => false,
    }
}

fn bytes_of(raw: Raw<'_>) -> Outcome<&[u8]> {
    match raw {
        Raw::Bytes(bytes) => Ok(bytes),
        Raw::Varint(_) | Raw::Fixed64(_) | Raw::Fixed32 => Err("a message is expected where there is a number"),
    }
}

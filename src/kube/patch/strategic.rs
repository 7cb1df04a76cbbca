//! Strategic merge patch: a partial object whose lists merge as their type says, with directives inside.

use serde_json::{Map, Value};

use super::{lists, unprocessable};
use crate::kube::schema;
use crate::kube::status::Status;

pub(super) const PATCH: &str = "$patch";
pub(super) const RETAIN_KEYS: &str = "$retainKeys";
pub(super) const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
pub(super) const SET_ORDER: &str = "$setElementOrder/";

/// How one field merges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FieldRule<'t> {
    /// Type of the object, of the list's items or of the map's values; `None` where that is a leaf or unknown.
    pub type_name: Option<&'t str>,
    /// The key that tells list items apart; `None` for lists of scalars.
    pub merge_key: Option<&'t str>,
    /// Lists merge instead of being replaced.
    pub merges: bool,
    /// Objects are replaced whole.
    pub replaces: bool,
    /// It is a map from free keys to values of `type_name`.
    pub is_map: bool,
}

/// What the engine needs to know of types.
pub trait Types {
    /// The rule of a field; the default rule where the type or the field is unknown.
    fn rule(&self, type_name: &str, field: &str) -> FieldRule<'_>;
}

/// The types that the API serves.
pub(super) struct Schema;

impl Types for Schema {
    fn rule(&self, type_name: &str, field: &str) -> FieldRule<'_> {
        let Some(found) = schema::field(type_name, field) else { return FieldRule::default() };
        FieldRule {
            type_name: found.type_name,
            merge_key: found.facts.merge_key,
            merges: found.facts.merges(),
            replaces: found.facts.patch_strategies.contains(&"replace"),
            is_map: found.shape == schema::Shape::Map,
        }
    }
}

/// Where the engine is: a type, the values of a map of it, or something that is not known.
#[derive(Clone, Copy)]
pub(super) enum At<'t> {
    Type(&'t str),
    MapOf(Option<&'t str>),
    Unknown,
}

impl<'t> At<'t> {
    fn of(type_name: Option<&'t str>) -> Self {
        type_name.map_or(Self::Unknown, Self::Type)
    }

    pub(super) fn item(rule: FieldRule<'t>) -> Self {
        Self::of(rule.type_name)
    }
}

/// One merge: the types that it follows.
pub(super) struct Engine<'t> {
    types: &'t dyn Types,
}

pub(super) fn apply(types: &dyn Types, type_name: &str, current: &Value, patch: &Value) -> Result<Value, Status> {
    let (Value::Object(current), Value::Object(patch)) = (current, patch) else {
        return Err(Status::bad_request("a strategic merge patch must be a JSON object"));
    };
    let engine = Engine { types };
    engine.object(current.clone(), patch, At::Type(type_name)).map(Value::Object)
}

impl<'t> Engine<'t> {
    fn rule(&self, at: At<'t>, field: &str) -> FieldRule<'t> {
        match at {
            At::Type(name) => self.types.rule(name, field),
            At::MapOf(type_name) => FieldRule { type_name, ..FieldRule::default() },
            At::Unknown => FieldRule::default(),
        }
    }

    /// Merges an object.
    pub(super) fn object(
        &self,
        mut original: Map<String, Value>,
        patch: &Map<String, Value>,
        at: At<'t>,
    ) -> Result<Map<String, Value>, Status> {
        match patch.get(PATCH).map(|directive| directive.as_str().unwrap_or_default()) {
            None | Some("merge") => {}
            Some("replace") => return Ok(without_directives(patch)),
            Some("delete") => return Ok(Map::new()),
            Some(other) => return Err(unprocessable(&format!("unknown patch type: {other:?}"))),
        }
        if let Some(keys) = patch.get(RETAIN_KEYS) {
            retain(&mut original, patch, keys)?;
        }
        let before = original.clone();
        for (name, value) in patch {
            if let Some(field) = name.strip_prefix(DELETE_FROM) {
                lists::delete_scalars(&mut original, field, value)?;
            } else if !is_directive(name) {
                self.field(&mut original, name, value, at)?;
            }
        }
        for (name, order) in patch {
            if let Some(field) = name.strip_prefix(SET_ORDER) {
                let rule = self.rule(at, field);
                lists::order(&mut original, &before, field, order, rule.merge_key)?;
            }
        }
        Ok(original)
    }

    fn field(&self, original: &mut Map<String, Value>, name: &str, patch: &Value, at: At<'t>) -> Result<(), Status> {
        let rule = self.rule(at, name);
        let merged = match (original.remove(name), patch) {
            (_, Value::Null) => return Ok(()),
            (Some(Value::Object(old)), Value::Object(new)) if !rule.replaces => {
                let at = if rule.is_map { At::MapOf(rule.type_name) } else { At::item(rule) };
                Value::Object(self.object(old, new, at)?)
            }
            (Some(Value::Array(old)), Value::Array(new)) if rule.merges => {
                Value::Array(lists::merge(self, &old, new, rule, name)?)
            }
            _ => clean(patch),
        };
        original.insert(name.to_owned(), merged);
        Ok(())
    }
}

/// Drops what `$retainKeys` does not name. The patch may set only what it retains.
fn retain(original: &mut Map<String, Value>, patch: &Map<String, Value>, keys: &Value) -> Result<(), Status> {
    let keys: Vec<&str> = keys.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let is_retained = |name: &str| keys.contains(&name);
    let stray = patch.iter().find(|(name, value)| !is_directive(name) && !value.is_null() && !is_retained(name));
    if let Some((name, _)) = stray {
        return Err(Status::bad_request(format!("invalid patch format of retainKeys: {name} is set but not retained")));
    }
    original.retain(|name, _| is_retained(name));
    Ok(())
}

/// A value of the patch that meets nothing in the object: without its directives and nulls.
pub(super) fn clean(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(without_directives(map)),
        Value::Array(list) => {
            let is_order = |item: &&Value| item.get(PATCH).is_none_or(|directive| directive == "merge");
            list.iter().filter(is_order).map(clean).collect()
        }
        other => other.clone(),
    }
}

fn without_directives(map: &Map<String, Value>) -> Map<String, Value> {
    let kept = map.iter().filter(|(name, value)| !is_directive(name) && !value.is_null());
    kept.map(|(name, value)| (name.clone(), clean(value))).collect()
}

fn is_directive(name: &str) -> bool {
    name == PATCH || name == RETAIN_KEYS || name.starts_with(DELETE_FROM) || name.starts_with(SET_ORDER)
}

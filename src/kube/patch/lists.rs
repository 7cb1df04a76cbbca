//! How strategic merge patch merges, deletes from and orders lists.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::strategic::{At, Engine, PATCH, clean};
use super::unprocessable;
use crate::kube::patch::strategic::FieldRule;
use crate::kube::status::Status;

/// Merges a list of the patch into one of the object. What is new comes before what it has no place relative to, as
/// Kubernetes has it.
pub(super) fn merge<'t>(
    engine: &Engine<'t>,
    original: &[Value],
    patch: &[Value],
    rule: FieldRule<'t>,
    name: &str,
) -> Result<Vec<Value>, Status> {
    let Some(key) = rule.merge_key else { return Ok(merge_scalars(original, patch)) };
    let mut items = Vec::new();
    let mut deleted = HashSet::new();
    let mut replaces = false;
    for item in patch {
        let Value::Object(object) = item else {
            return Err(unprocessable(&format!("an item of {name} is not an object")));
        };
        match object.get(PATCH).map(|directive| directive.as_str().unwrap_or_default()) {
            None | Some("merge") => items.push(object),
            Some("replace") => replaces = true,
            Some("delete") => {
                deleted.insert(key_of(object, key, name)?);
            }
            Some(other) => return Err(unprocessable(&format!("unknown patch type: {other:?}"))),
        }
    }
    if replaces {
        return Ok(items.into_iter().map(|item| clean(&Value::Object(item.clone()))).collect());
    }
    let is_kept = |item: &&Value| item.get(key).is_none_or(|id| !deleted.contains(id));
    let merged = original.iter().filter(is_kept).cloned().collect();
    let merged = merge_items(engine, merged, &items, key, rule, name)?;
    let wanted: Vec<Value> = items.iter().filter_map(|item| item.get(key).cloned()).collect();
    Ok(arranged(merged, &wanted, original, Some(key)))
}

fn merge_items<'t>(
    engine: &Engine<'t>,
    mut merged: Vec<Value>,
    items: &[&Map<String, Value>],
    key: &str,
    rule: FieldRule<'t>,
    name: &str,
) -> Result<Vec<Value>, Status> {
    let mut places: HashMap<Value, usize> = HashMap::new();
    for (place, old) in merged.iter().enumerate() {
        if let Some(id) = old.get(key) {
            places.entry(id.clone()).or_insert(place);
        }
    }
    for item in items {
        let id = key_of(item, key, name)?;
        if let Some(old) = places.get(id).and_then(|place| merged.get_mut(*place)) {
            if let Value::Object(fields) = old.take() {
                *old = Value::Object(engine.object(fields, item, At::item(rule))?);
            }
        } else {
            places.insert(id.clone(), merged.len());
            merged.push(clean(&Value::Object((*item).clone())));
        }
    }
    Ok(merged)
}

fn key_of<'v>(item: &'v Map<String, Value>, key: &str, name: &str) -> Result<&'v Value, Status> {
    item.get(key).ok_or_else(|| unprocessable(&format!("an item of {name} does not contain declared merge key: {key}")))
}

fn merge_scalars(original: &[Value], patch: &[Value]) -> Vec<Value> {
    let mut seen = HashSet::new();
    let all = original.iter().chain(patch);
    let merged: Vec<Value> = all.filter(|item| seen.insert(*item)).cloned().collect();
    arranged(merged, patch, original, None)
}

/// Takes the scalars of a `$deleteFromPrimitiveList` out of a list.
pub(super) fn delete_scalars(object: &mut Map<String, Value>, field: &str, scalars: &Value) -> Result<(), Status> {
    let Value::Array(scalars) = scalars else {
        return Err(Status::bad_request(format!("invalid patch format of primitive list: {field}")));
    };
    if let Some(Value::Array(list)) = object.get_mut(field) {
        let scalars: HashSet<&Value> = scalars.iter().collect();
        list.retain(|item| !scalars.contains(item));
    }
    Ok(())
}

/// Brings a list into the order of a `$setElementOrder`; what it does not name keeps its place relative to the rest.
pub(super) fn order(
    object: &mut Map<String, Value>,
    before: &Map<String, Value>,
    field: &str,
    order: &Value,
    merge_key: Option<&str>,
) -> Result<(), Status> {
    let Value::Array(order) = order else {
        return Err(Status::bad_request(format!("invalid patch format of setElementOrder list: {field}")));
    };
    let Some(Value::Array(list)) = object.get_mut(field) else { return Ok(()) };
    let wanted: Vec<Value> = match merge_key {
        None => order.clone(),
        Some(key) => order.iter().filter_map(|item| item.get(key).cloned()).collect(),
    };
    let original = before.get(field).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    *list = arranged(std::mem::take(list), &wanted, original, merge_key);
    Ok(())
}

/// Items that the patch names in its order, the others in their own, the two woven together: one of the others goes
/// first only where the object had it before the named one.
fn arranged(merged: Vec<Value>, wanted: &[Value], before: &[Value], merge_key: Option<&str>) -> Vec<Value> {
    let ranks = places(wanted.iter());
    let places = places(before.iter().filter_map(|item| identity(item, merge_key)));
    let rank = |item: &Value| identity(item, merge_key).and_then(|id| ranks.get(id).copied());
    let place = |item: &Value| identity(item, merge_key).and_then(|id| places.get(id).copied());
    let (mut named, others): (Vec<Value>, Vec<Value>) = merged.into_iter().partition(|item| rank(item).is_some());
    named.sort_by_key(|item| rank(item));
    let mut out = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for item in named {
        let here = place(&item);
        while let Some(other) = others.next_if(|other| matches!((place(other), here), (Some(a), Some(b)) if a < b)) {
            out.push(other);
        }
        out.push(item);
    }
    out.extend(others);
    out
}

/// What tells an item apart: its merge key, or for a scalar itself.
fn identity<'v>(item: &'v Value, merge_key: Option<&str>) -> Option<&'v Value> {
    merge_key.map_or(Some(item), |key| item.get(key))
}

/// The first place of each value. Lists can be as long as a request, so nothing here may be quadratic.
fn places<'v>(items: impl Iterator<Item = &'v Value>) -> HashMap<&'v Value, usize> {
    let mut places = HashMap::new();
    for (place, item) in items.enumerate() {
        places.entry(item).or_insert(place);
    }
    places
}

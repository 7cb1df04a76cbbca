//! How strategic merge patch merges, deletes from and orders lists.

use serde_json::{Map, Value};

use super::strategic::{At, Engine, PATCH, clean};
use super::unprocessable;
use crate::kube::patch::strategic::FieldRule;
use crate::kube::status::Status;

/// Merges a list of the patch into one of the object. What is new comes before what it has no place relative to, as
/// Kubernetes has it.
pub(super) fn merge<'t>(
    engine: &Engine<'t>,
    original: Vec<Value>,
    patch: &[Value],
    rule: FieldRule<'t>,
    name: &str,
) -> Result<Vec<Value>, Status> {
    let Some(key) = rule.merge_key else { return Ok(merge_scalars(original, patch)) };
    let before = original.clone();
    let mut merged = original;
    let mut items = Vec::new();
    let mut replaces = false;
    for item in patch {
        let Value::Object(object) = item else {
            return Err(unprocessable(&format!("an item of {name} is not an object")));
        };
        match object.get(PATCH).map(|directive| directive.as_str().unwrap_or_default()) {
            None | Some("merge") => items.push(object),
            Some("replace") => replaces = true,
            Some("delete") => {
                let wanted = key_of(object, key, name)?;
                merged.retain(|item| item.get(key) != Some(wanted));
            }
            Some(other) => return Err(unprocessable(&format!("unknown patch type: {other:?}"))),
        }
    }
    if replaces {
        return Ok(items.into_iter().map(|item| clean(&Value::Object(item.clone()))).collect());
    }
    for item in &items {
        merge_item(engine, &mut merged, item, key, rule, name)?;
    }
    let wanted: Vec<Value> = items.iter().filter_map(|item| item.get(key).cloned()).collect();
    Ok(arranged(merged, &wanted, &before, Some(key)))
}

fn merge_item<'t>(
    engine: &Engine<'t>,
    merged: &mut Vec<Value>,
    item: &Map<String, Value>,
    key: &str,
    rule: FieldRule<'t>,
    name: &str,
) -> Result<(), Status> {
    let wanted = key_of(item, key, name)?;
    let Some(found) = merged.iter_mut().find(|old| old.get(key) == Some(wanted)) else {
        merged.push(clean(&Value::Object(item.clone())));
        return Ok(());
    };
    if let Value::Object(old) = found.take() {
        *found = Value::Object(engine.object(old, item, At::item(rule))?);
    }
    Ok(())
}

fn key_of<'v>(item: &'v Map<String, Value>, key: &str, name: &str) -> Result<&'v Value, Status> {
    item.get(key).ok_or_else(|| unprocessable(&format!("an item of {name} does not contain declared merge key: {key}")))
}

fn merge_scalars(original: Vec<Value>, patch: &[Value]) -> Vec<Value> {
    let before = original.clone();
    let mut merged: Vec<Value> = Vec::with_capacity(original.len() + patch.len());
    for item in original.into_iter().chain(patch.iter().cloned()) {
        if !merged.contains(&item) {
            merged.push(item);
        }
    }
    arranged(merged, patch, &before, None)
}

/// Takes the scalars of a `$deleteFromPrimitiveList` out of a list.
pub(super) fn delete_scalars(object: &mut Map<String, Value>, field: &str, scalars: &Value) -> Result<(), Status> {
    let Value::Array(scalars) = scalars else {
        return Err(Status::bad_request(format!("invalid patch format of primitive list: {field}")));
    };
    if let Some(Value::Array(list)) = object.get_mut(field) {
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
    let identity = |item: &Value| match merge_key {
        None => Some(item.clone()),
        Some(key) => item.get(key).cloned(),
    };
    let rank = |item: &Value| identity(item).and_then(|id| wanted.iter().position(|one| *one == id));
    let place = |item: &Value| {
        let id = identity(item)?;
        before.iter().position(|old| identity(old).as_ref() == Some(&id))
    };
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

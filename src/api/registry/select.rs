//! Whether a record is selected, reading no more of it than the selectors ask for.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use super::parse;
use crate::api::options::Selection;
use crate::kube::fields;
use crate::kube::resource::Resource;
use crate::kube::status::Status;
use crate::model::selector::FieldTerm;
use crate::store::Record;

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    metadata: Metadata<'a>,
}

#[derive(Deserialize, Default)]
struct Metadata<'a> {
    #[serde(borrow, default)]
    labels: Option<BTreeMap<Cow<'a, str>, Cow<'a, str>>>,
}

/// Whether `record` is in the selection.
pub fn selected(resource: &'static Resource, selection: &Selection, record: &Record) -> Result<bool, Status> {
    let (by_key, rest): (Vec<&FieldTerm>, Vec<&FieldTerm>) =
        selection.fields.terms.iter().partition(|term| key_field(record, &term.path).is_some());
    if by_key.iter().any(|term| (key_field(record, &term.path) == Some(term.value.as_str())) != term.equal) {
        return Ok(false);
    }
    if rest.is_empty() {
        return if selection.labels.is_empty() { Ok(true) } else { labels_match(selection, record) };
    }
    Ok(fields::matches(resource, &selection.labels, &selection.fields, &parse(&record.value)?))
}

fn key_field<'a>(record: &'a Record, path: &str) -> Option<&'a str> {
    match path {
        "metadata.name" => Some(&record.key.name),
        "metadata.namespace" => Some(&record.key.namespace),
        _ => None,
    }
}

fn labels_match(selection: &Selection, record: &Record) -> Result<bool, Status> {
    let head: Head<'_> = serde_json::from_slice(&record.value)
        .map_err(|error| Status::internal(format!("a stored object cannot be read: {error}")))?;
    let labels = head.metadata.labels.unwrap_or_default();
    Ok(selection.labels.matches_with(|key| labels.get(key).map(|value| &**value)))
}

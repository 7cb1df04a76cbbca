//! Bodies in Kubernetes' protobuf form (`application/vnd.kubernetes.protobuf`), which kubectl and client-go send.
//!
//! Rooms: `wire` cuts bytes into numbered fields; `numbers` says what a number is called in JSON; `message` walks a
//! message beside its type's schema and makes the JSON value of it. Answers are JSON: every client offers to take it.

mod message;
mod numbers;
mod wire;

use serde_json::{Map, Value};

use self::message::Walk;
use self::wire::{Raw, Reader};
use super::decode::Limits;
use super::resource;
use super::schema;
use super::status::Status;

/// What a body begins with.
const MAGIC: &[u8] = b"k8s\0";

/// Reads a body: the envelope that says the type, then a message of that type.
///
/// # Errors
/// 400 where it is malformed, too deep, has too many values, or is of a type that is not served here.
pub fn decode(bytes: &[u8], limits: Limits) -> Result<Value, Status> {
    let envelope = bytes.strip_prefix(MAGIC).ok_or_else(|| malformed("the body does not begin with \"k8s\\0\""))?;
    let Envelope { api_version, kind, raw } = Envelope::read(envelope).map_err(malformed)?;
    let name = type_name(api_version, kind).ok_or_else(|| {
        Status::bad_request(format!("no kind {kind:?} is registered for version {api_version:?} in this server"))
    })?;
    let known = schema::type_of(name).ok_or_else(|| malformed("the type has no schema"))?;
    let mut object = Map::new();
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    Walk::new(limits).fields(name, known, raw, &mut object).map_err(malformed)?;
    Ok(Value::Object(object))
}

struct Envelope<'a> {
    api_version: &'a str,
    kind: &'a str,
    raw: &'a [u8],
}

impl<'a> Envelope<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, &'static str> {
        let mut envelope = Self { api_version: "", kind: "", raw: &[] };
        let mut fields = Reader::new(bytes);
        while let Some(field) = fields.field()? {
            match field {
                (1, Raw::Bytes(meta)) => envelope.type_meta(meta)?,
                (2, Raw::Bytes(raw)) => envelope.raw = raw,
                (3, Raw::Bytes(encoding)) if !encoding.is_empty() => return Err("the content is encoded"),
                _ => {}
            }
        }
        Ok(envelope)
    }

    fn type_meta(&mut self, bytes: &'a [u8]) -> Result<(), &'static str> {
        let mut fields = Reader::new(bytes);
        while let Some(field) = fields.field()? {
            match field {
                (1, Raw::Bytes(text)) => self.api_version = wire::text(text)?,
                (2, Raw::Bytes(text)) => self.kind = wire::text(text)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// The schema name of what a body says it is: an object of the table, or a body that subresources and DELETE take.
fn type_name(api_version: &str, kind: &str) -> Option<&'static str> {
    match (api_version, kind) {
        (_, "DeleteOptions") => Some("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"),
        ("v1", "Binding") => Some("io.k8s.api.core.v1.Binding"),
        ("policy/v1", "Eviction") => Some("io.k8s.api.policy.v1.Eviction"),
        ("autoscaling/v1", "Scale") => Some("io.k8s.api.autoscaling.v1.Scale"),
        _ => resource::by_kind(api_version, kind).map(|row| row.type_name),
    }
}

fn malformed(why: &str) -> Status {
    Status::bad_request(format!("couldn't get version/kind; proto parse error: {why}"))
}

#[cfg(test)]
mod tests;

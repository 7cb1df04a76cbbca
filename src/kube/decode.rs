//! Bodies in: bytes to a JSON value, with bounds on size, depth and node count, and every duplicate key found.
//!
//! Rooms: `build` makes the value in one pass from any serde deserializer; `yaml` has the YAML options and cuts
//! documents apart.

mod build;
#[cfg(test)]
mod tests;
mod yaml;

use serde::de::DeserializeSeed;
use serde_json::Value;

use self::build::{Builder, Seen};
use super::status::Status;

pub use self::yaml::{Document, split_yaml_documents};

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/json`.
    Json,
    /// `application/yaml`. One document.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
}

/// What a body may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of the body.
    pub max_bytes: usize,
    /// Objects and lists inside each other.
    pub max_depth: usize,
    /// Values and keys together; bounds the memory of the decoded value to some tens of megabytes.
    pub max_nodes: usize,
}

impl Limits {
    /// What a request may send: 3 MiB, as in Kubernetes.
    pub const REQUEST: Self = Self { max_bytes: 3 << 20, max_depth: 100, max_nodes: 500_000 };
}

/// A decoded body.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The value; of a key that appears twice, the last one.
    pub value: Value,
    /// Paths of the keys that appear more than once, e.g. `spec.containers[0].image`, in order of appearance.
    pub duplicates: Vec<String>,
}

/// Reads a body.
///
/// # Errors
/// 413 where it is larger than `limits` allows; 400 with line and column where it is not the format it claims to be,
/// too deep, or has too many values.
pub fn decode(bytes: &[u8], format: Format, limits: Limits) -> Result<Decoded, Status> {
    if bytes.len() > limits.max_bytes {
        return Err(too_large(limits.max_bytes));
    }
    let mut seen = Seen::new(limits);
    let value = match format {
        Format::Json => json(bytes, &mut seen).map_err(|reason| syntax(&reason))?,
        Format::Protobuf => super::protobuf::decode(bytes, limits)?,
        Format::Yaml => yaml::single(bytes, &mut seen).map_err(|reason| yaml_syntax(&reason))?,
    };
    Ok(Decoded { value, duplicates: seen.duplicates })
}

/// Reads one document of a stream that [`split_yaml_documents`] cut; errors count lines from the stream's start.
///
/// # Errors
/// As [`decode`].
pub fn decode_yaml_document(document: Document<'_>, limits: Limits) -> Result<Decoded, Status> {
    if document.text.len() > limits.max_bytes {
        return Err(too_large(limits.max_bytes));
    }
    let mut seen = Seen::new(limits);
    let value = yaml::document(document, &mut seen).map_err(|reason| yaml_syntax(&reason))?;
    Ok(Decoded { value, duplicates: seen.duplicates })
}

/// 413, as Kubernetes says it.
pub fn too_large(max_bytes: usize) -> Status {
    Status::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {max_bytes}"))
}

fn json(bytes: &[u8], seen: &mut Seen) -> Result<Value, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Builder::root(seen).deserialize(&mut deserializer).map_err(|error| error.to_string())?;
    deserializer.end().map_err(|error| error.to_string())?;
    Ok(value)
}

fn syntax(reason: &str) -> Status {
    Status::bad_request(format!("couldn't get version/kind; json parse error: {reason}"))
}

fn yaml_syntax(reason: &str) -> Status {
    syntax(&format!("error converting YAML to JSON: yaml: {reason}"))
}

//! Objects to bytes with a known place for their revision, and what is done to such bytes without reading them.

use bytes::{Bytes, BytesMut};
use serde_json::{Map, Value};

use crate::model::Revision;
use crate::store::Record;

/// Bound on one object's JSON, in bytes (Kubernetes' own bound on a stored object: 1.5 MiB).
pub const MAX_OBJECT_BYTES: usize = 3 << 19;

/// An object's JSON with `"resourceVersion":""` in its metadata, and the offset between those quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The JSON.
    pub value: Bytes,
    /// Where the revision's digits go.
    pub splice: u32,
}

/// Why an object has no encoding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not a JSON object with `metadata`.
    #[error("an object needs metadata")]
    Shape,
    /// It is larger than [`MAX_OBJECT_BYTES`].
    #[error("object of {0} bytes is too large: limit is {MAX_OBJECT_BYTES}")]
    TooLarge(usize),
}

/// Encodes an object; whatever `metadata.resourceVersion` it has is left out.
pub fn encode(object: &Value) -> Result<Encoded, Error> {
    let fields = object.as_object().ok_or(Error::Shape)?;
    let metadata = fields.get("metadata").and_then(Value::as_object).ok_or(Error::Shape)?;
    let mut out = Vec::with_capacity(1024);
    let mut splice = 0;
    let mut separator = b'{';
    for (name, value) in fields {
        out.push(std::mem::replace(&mut separator, b','));
        write_json(&mut out, name)?;
        out.push(b':');
        if name == "metadata" {
            splice = write_metadata(&mut out, metadata)?;
        } else {
            write_json(&mut out, value)?;
        }
    }
    out.push(b'}');
    if out.len() > MAX_OBJECT_BYTES {
        return Err(Error::TooLarge(out.len()));
    }
    Ok(Encoded { value: out.into(), splice: u32::try_from(splice).map_err(|_| Error::Shape)? })
}

fn write_metadata(out: &mut Vec<u8>, metadata: &Map<String, Value>) -> Result<usize, Error> {
    out.push(b'{');
    for (name, value) in metadata.iter().filter(|(name, _)| *name != "resourceVersion") {
        write_json(out, name)?;
        out.push(b':');
        write_json(out, value)?;
        out.push(b',');
    }
    out.extend_from_slice(b"\"resourceVersion\":\"");
    let splice = out.len();
    out.extend_from_slice(b"\"}");
    Ok(splice)
}

fn write_json(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) -> Result<(), Error> {
    serde_json::to_writer(out, value).map_err(|_| Error::Shape)
}

impl Encoded {
    /// The JSON as it reads at `revision`.
    pub fn at(&self, revision: Revision) -> Bytes {
        with_digits(&self.value, self.splice as usize, 0, revision)
    }
}

/// A record's JSON with another revision in it.
pub fn at_revision(record: &Record, revision: Revision) -> Bytes {
    let length = record.modified.to_string().len();
    with_digits(&record.value, record.splice as usize, length, revision)
}

fn with_digits(value: &[u8], splice: usize, length: usize, revision: Revision) -> Bytes {
    let digits = revision.to_string();
    let mut out = BytesMut::with_capacity(value.len() + digits.len());
    out.extend_from_slice(value.get(..splice).unwrap_or_default());
    out.extend_from_slice(digits.as_bytes());
    out.extend_from_slice(value.get(splice + length..).unwrap_or_default());
    out.freeze()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_splice_lies_between_the_quotes_of_the_revision() {
        for metadata in
            [json!({}), json!({ "name": "a", "resourceVersion": "7" }), json!({ "zone": "resourceVersion" })]
        {
            let object = json!({ "kind": "ConfigMap", "metadata": metadata, "data": { "resourceVersion": "x" } });
            let read: Value = serde_json::from_slice(&encode(&object).unwrap().at(Revision(42))).unwrap();
            let mut expect = object;
            expect["metadata"]["resourceVersion"] = "42".into();
            assert_eq!(read, expect);
        }
    }

    #[test]
    fn what_is_no_object_or_too_large_is_refused() {
        assert_eq!(encode(&json!([])), Err(Error::Shape));
        assert_eq!(encode(&json!({ "metadata": null })), Err(Error::Shape));
        let large = json!({ "metadata": {}, "data": "x".repeat(MAX_OBJECT_BYTES) });
        assert!(matches!(encode(&large), Err(Error::TooLarge(_))));
    }
}

//! An object as its JSON bytes, with its metadata at hand and its typed view decoded once, on demand.

use std::any::Any;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::model::{ObjectKey, Revision};

/// An object's bytes could not be read as its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} cannot be decoded: {reason}")]
pub struct DecodeError {
    /// Which object.
    pub key: ObjectKey,
    /// What the decoder said.
    pub reason: String,
}

/// One version of an object.
pub struct Object {
    /// Where it lives.
    pub key: ObjectKey,
    /// Its version.
    pub revision: Revision,
    /// Its JSON, as stored.
    pub bytes: Bytes,
    /// Its metadata.
    pub meta: ObjectMeta,
    node: Option<String>,
    ended: bool,
    typed: OnceLock<Arc<dyn Any + Send + Sync>>,
}

#[derive(Deserialize)]
struct Head {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Option<HeadSpec>,
    #[serde(default)]
    status: Option<HeadStatus>,
}

#[derive(Deserialize)]
struct HeadSpec {
    #[serde(default, rename = "nodeName")]
    node_name: Option<String>,
}

#[derive(Deserialize)]
struct HeadStatus {
    #[serde(default)]
    phase: Option<String>,
}

impl Object {
    /// Reads the metadata of `bytes`.
    ///
    /// # Errors
    /// Where the bytes are not an object with metadata.
    pub fn new(key: ObjectKey, revision: Revision, bytes: Bytes) -> Result<Self, DecodeError> {
        let head: Head = serde_json::from_slice(&bytes)
            .map_err(|error| DecodeError { key: key.clone(), reason: error.to_string() })?;
        let is_pod = &*key.resource == "pods";
        let node = head.spec.and_then(|spec| spec.node_name).filter(|node| is_pod && !node.is_empty());
        let phase = head.status.and_then(|status| status.phase);
        let ended = is_pod && matches!(phase.as_deref(), Some("Succeeded" | "Failed"));
        Ok(Self { key, revision, bytes, meta: head.metadata, node, ended, typed: OnceLock::new() })
    }

    /// The typed view. Decoded at most once; ask for one type per object.
    ///
    /// # Errors
    /// Where the bytes are not a `T`.
    pub fn view<T: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Arc<T>, DecodeError> {
        if let Some(view) = self.typed.get().and_then(|typed| Arc::clone(typed).downcast::<T>().ok()) {
            return Ok(view);
        }
        let view: Arc<T> = Arc::new(self.decode()?);
        let _ = self.typed.set(Arc::clone(&view) as Arc<dyn Any + Send + Sync>);
        Ok(view)
    }

    /// The typed form, decoded anew and kept by nobody.
    ///
    /// # Errors
    /// Where the bytes are not a `T`.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        serde_json::from_slice(&self.bytes)
            .map_err(|error| DecodeError { key: self.key.clone(), reason: error.to_string() })
    }

    /// The untyped view, for changing and writing back.
    ///
    /// # Errors
    /// Where the bytes are not JSON.
    pub fn value(&self) -> Result<serde_json::Value, DecodeError> {
        self.decode()
    }

    /// The object's uid; empty where it has none.
    pub fn uid(&self) -> &str {
        self.meta.uid.as_deref().unwrap_or_default()
    }

    /// Uids of its owners.
    pub fn owner_uids(&self) -> impl Iterator<Item = &str> {
        self.meta.owner_references.iter().flatten().map(|owner| owner.uid.as_str())
    }

    /// The node that a pod is bound to; `None` for other kinds and unbound pods.
    pub fn pod_node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    /// Whether this is a pod that has succeeded or failed.
    pub fn is_ended_pod(&self) -> bool {
        self.ended
    }

    /// Whether deletion has been asked for.
    pub fn is_terminating(&self) -> bool {
        self.meta.deletion_timestamp.is_some()
    }
}

//! The items of an image, as they are written and read: their text and values are lent, by the state or by a frame.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::{ObjectKey, Revision};
use crate::store::Record;
use crate::store::mvcc::Refusal;

#[derive(Serialize, Deserialize)]
pub enum Item<'a> {
    Head {
        version: u32,
        applied: u64,
        compacted: u64,
        consensus: Bytes,
    },
    Fence {
        actor: String,
        epoch: u64,
    },
    Base(#[serde(borrow)] Row<'a>),
    Change {
        kind: u8,
        #[serde(borrow)]
        row: Row<'a>,
        cause: u64,
    },
    End {
        items: u64,
    },
    Done {
        revision: u64,
        session: u64,
        sequence: u64,
        refusal: Option<Box<Refusal>>,
    },
}

/// A record.
#[derive(Serialize, Deserialize)]
pub struct Row<'a> {
    #[serde(borrow)]
    key: Key<'a>,
    created: u64,
    modified: u64,
    #[serde(borrow)]
    pub value: Raw<'a>,
    splice: u32,
}

/// An [`ObjectKey`].
#[derive(Serialize, Deserialize)]
struct Key<'a> {
    resource: &'a str,
    namespace: &'a str,
    name: &'a str,
}

/// Bytes, written as such and not one by one.
pub struct Raw<'a>(pub &'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&[u8]>::deserialize(deserializer).map(Self)
    }
}

/// The last names that were read: objects in key order share most of them.
pub struct Names {
    resource: Arc<str>,
    namespace: Arc<str>,
}

impl Default for Names {
    fn default() -> Self {
        Self { resource: "".into(), namespace: "".into() }
    }
}

fn shared(known: &mut Arc<str>, text: &str) -> Arc<str> {
    if **known != *text {
        *known = text.into();
    }
    known.clone()
}

impl<'a> Row<'a> {
    pub fn of(record: &'a Record) -> Self {
        let key = &record.key;
        Self {
            key: Key { resource: &key.resource, namespace: &key.namespace, name: &key.name },
            created: record.created.0,
            modified: record.modified.0,
            value: Raw(&record.value),
            splice: record.splice,
        }
    }

    /// The record, whose value is `value`.
    pub fn record(self, value: Bytes, names: &mut Names) -> Record {
        let resource = shared(&mut names.resource, self.key.resource);
        let namespace = shared(&mut names.namespace, self.key.namespace);
        Record {
            key: ObjectKey { resource, namespace, name: self.key.name.into() },
            created: Revision(self.created),
            modified: Revision(self.modified),
            value,
            splice: self.splice,
        }
    }
}

//! The part of the API below HTTP: verbs on resources, for handlers, controllers and agents alike.
//!
//! A write goes: decode checks, defaults, strategy, admission, validation, encoding, one transaction. Rooms: `create`,
//! `update` (and patch), `delete`, `read`, `select`, `watch`, `subresource`, `execute` (planned commands), `event`, `encode`.

mod create;
mod delete;
pub mod encode;
mod event;
mod execute;
mod read;
mod select;
mod subresource;
mod update;
mod watch;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

pub use delete::Deleted;
pub use read::{Listing, Stale};
pub use watch::{Event, EventKind, Events};

use super::admission::{Admission, Attempt, Operation};
use super::identity::Identity;
use super::language;
use super::options::FieldValidation;
use crate::kube::resource::Resource;
use crate::kube::status::Status;
use crate::model::id::name_suffix;
use crate::model::{ObjectKey, Revision, Uid};
use crate::store::{self, Fence, Op, Record, Store, Txn};
use crate::world::World;

/// How often a write that lost a race is made again before the caller hears of it.
pub const MAX_ATTEMPTS: usize = 16;

/// Who asks, and under which causal id.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who.
    pub identity: Identity,
    /// The causal id of the request; goes into the log with its writes.
    pub cause: u64,
    /// The epoch that a control actor writes under.
    pub fence: Option<Fence>,
}

impl Caller {
    /// A caller without a fence.
    pub fn new(identity: Identity, cause: u64) -> Self {
        Self { identity, cause, fence: None }
    }
}

/// A write's result.
#[derive(Debug, Clone)]
pub struct Written {
    /// The object as it is now (as it would be, for a dry run).
    pub value: Bytes,
    /// The revision that it is at.
    pub revision: Revision,
    /// Whether the object did not exist before.
    pub created: bool,
    /// For `Warning` headers.
    pub warnings: Vec<String>,
}

/// Verbs on resources. Share it behind an [`Arc`].
pub struct Registry {
    store: Store,
    world: World,
    admission: Vec<Box<dyn Admission>>,
    told: event::Told,
}

impl Registry {
    /// Serves what is in `store`; every write passes `admission`, in order.
    pub fn new(store: Store, world: World, admission: Vec<Box<dyn Admission>>) -> Arc<Self> {
        Arc::new(Self { store, world, admission, told: event::Told::default() })
    }

    /// The store below.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Clock and randomness.
    pub fn world(&self) -> &World {
        &self.world
    }

    fn stamp(&self, caller: &Caller) -> language::Stamp {
        let mut rng = self.world.entropy.fork();
        language::Stamp {
            now: self.world.clock.now(),
            uid: Uid::random(&mut rng),
            suffix: name_suffix(&mut rng),
            user: caller.identity.user.to_string(),
        }
    }

    fn admit(
        &self,
        caller: &Caller,
        operation: Operation,
        target: &Place<'_>,
        old: Option<&Value>,
        object: &mut Value,
    ) -> Result<Vec<Op>, Status> {
        let attempt = Attempt {
            identity: &caller.identity,
            operation,
            resource: target.resource,
            subresource: target.subresource,
            namespace: target.namespace,
            old,
            store: &self.store,
            entropy: &*self.world.entropy,
        };
        let mut ops = Vec::new();
        for rule in &self.admission {
            ops.extend(rule.admit(&attempt, object)?);
        }
        Ok(ops)
    }

    /// Makes a write again that was refused for what this replica has, where that turns out to be old: a client may have
    /// seen something newer on another node. A leader asks too: it may have been replaced and not know it yet.
    async fn unless_behind<T, F>(&self, write: impl Fn() -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let known = self.store.revision();
        let refused = match write().await {
            Err(status) if matches!(status.code, 404 | 409) => status,
            settled => return settled,
        };
        match self.store.barrier().await {
            Ok(newest) if newest > known => write().await,
            Ok(_) => Err(refused),
            // Nobody here knows whether the reason still holds.
            Err(error) => Err(store_failure(&error)),
        }
    }

    async fn commit(&self, caller: &Caller, ops: Vec<Op>) -> Result<Revision, store::Error> {
        let txn = Txn { ops, fence: caller.fence.clone(), cause: caller.cause };
        self.store.commit(txn).await.map(|outcome| outcome.revision)
    }
}

/// Where a write goes.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The row.
    pub resource: &'static Resource,
    /// The subresource; `None` for the object itself.
    pub subresource: Option<&'a str>,
    /// Empty for cluster-scoped objects.
    pub namespace: &'a str,
    /// Empty where the object has no name yet.
    pub name: &'a str,
}

impl<'a> Place<'a> {
    /// An object.
    pub fn object(resource: &'static Resource, namespace: &'a str, name: &'a str) -> Self {
        Self { resource, subresource: None, namespace, name }
    }

    /// Its key.
    pub fn key(&self) -> ObjectKey {
        self.resource.key(self.namespace, self.name)
    }

    fn not_found(&self) -> Status {
        Status::not_found(self.resource.id.group, self.resource.id.plural, self.name)
    }

    fn conflict(&self, why: &str) -> Status {
        Status::conflict(self.resource.id.group, self.resource.id.plural, self.name, why)
    }
}

/// What a client reads of a record: the stored bytes, or their other face where the resource is one of two.
pub fn face(resource: &'static Resource, record: &Record) -> Result<Bytes, Status> {
    if resource.stored_as.is_none() {
        return Ok(record.value.clone());
    }
    let value = language::from_storage(resource, parse(&record.value)?);
    serde_json::to_vec(&value).map(Bytes::from).map_err(|error| Status::internal(error.to_string()))
}

/// Reads stored bytes.
pub fn parse(bytes: &[u8]) -> Result<Value, Status> {
    serde_json::from_slice(bytes).map_err(|error| Status::internal(format!("a stored object cannot be read: {error}")))
}

/// What a client hears of a store's failure.
pub fn store_failure(error: &store::Error) -> Status {
    match error {
        store::Error::Conflict { key, .. } => {
            let (group, plural) = key.group_plural();
            Status::conflict(group, plural, &key.name, MODIFIED)
        }
        store::Error::Fenced => Status::new(409, "Conflict", error.to_string()),
        store::Error::Compacted { .. } => Status::expired("The resourceVersion for the provided list is too old."),
        store::Error::Future { .. } => too_large(&error.to_string()),
        store::Error::Busy => {
            let mut status = Status::new(429, "TooManyRequests", error.to_string());
            status.retry_after_seconds = Some(1);
            status
        }
        // The process ends, and another node answers.
        store::Error::Disk | store::Error::Unavailable | store::Error::NotLeader { .. } => {
            Status::new(503, "ServiceUnavailable", error.to_string())
        }
        store::Error::NoQuorum { .. } => {
            let mut status = Status::new(503, "ServiceUnavailable", error.to_string());
            status.retry_after_seconds = Some(1);
            status
        }
        store::Error::Invalid => Status::new(413, "RequestEntityTooLarge", error.to_string()),
        // Nothing was written; deletes still pass, and make the room.
        store::Error::DiskFull => Status::new(507, "InsufficientStorage", format!("{error}: {MAKE_ROOM}")),
        store::Error::Damaged(_) | store::Error::Foreign(_) | store::Error::Locked(_) => {
            Status::internal(error.to_string())
        }
    }
}

const MODIFIED: &str = "the object has been modified; please apply your changes to the latest version and try again";

const MAKE_ROOM: &str = "the node that leads the cluster has no room for more; nothing was written. Reads and deletes \
                         go on, and so do writes once there is room";

/// This replica did not come to the revision in time.
fn too_large(what: &str) -> Status {
    let mut status = Status::new(504, "Timeout", format!("Too large resource version: {what}"));
    status.causes.push(crate::kube::status::Cause {
        reason: "ResourceVersionTooLarge",
        message: "Too large resource version".into(),
        field: String::new(),
    });
    status.retry_after_seconds = Some(1);
    status
}

/// The warnings that unknown and duplicate fields give, or the failure.
fn check_fields(
    resource: &Resource,
    body: &Value,
    validation: FieldValidation,
    duplicates: &[String],
) -> Result<Vec<String>, Status> {
    let unknown = language::findings(resource, body)?;
    if validation == FieldValidation::Ignore {
        return Ok(Vec::new());
    }
    let duplicates = duplicates.iter().map(|path| format!("duplicate field {path:?}"));
    let found: Vec<String> = duplicates.chain(unknown).collect();
    if validation == FieldValidation::Warn || found.is_empty() {
        return Ok(found);
    }
    Err(Status::bad_request(format!(
        "{} in version {:?} cannot be handled as a {}: strict decoding error: {}",
        resource.kind,
        resource.version,
        resource.kind,
        found.join(", ")
    )))
}

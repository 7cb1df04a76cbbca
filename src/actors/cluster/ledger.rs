//! What the cluster keeps about itself: flat maps of text in ConfigMaps and Secrets of `kube-system`, written with
//! compare-and-swap.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::actors::control::seat::Seat;
use crate::api::identity::Identity;
use crate::api::registry::{Caller, Registry};
use crate::kube::resource::id;
use crate::kube::status::Status;
use crate::model::{ObjectKey, ResourceId, Revision, Scope};
use crate::plan::Command;
use crate::store::{Fence, Record};

/// Where they are.
pub const NAMESPACE: &str = "kube-system";
/// ConfigMap: node → time before which its certificates count no more.
pub const REVOKED: &str = "shoal-revoked";
/// ConfigMap: node → when it said that it leaves.
pub const LEAVING: &str = "shoal-leaving";
/// ConfigMap: the authorities that everybody believes.
pub const AUTHORITIES: &str = "shoal-authorities";
/// Key of the bundle in [`AUTHORITIES`].
pub const BUNDLE: &str = "ca.crt";
/// Type of the Secrets that hold join tokens.
pub const TOKEN_TYPE: &str = "shoal.dev/join-token";
/// How often a write that lost a race is made again.
const MAX_ATTEMPTS: usize = 16;

/// A flat map.
pub type Entries = BTreeMap<String, String>;

/// The objects.
#[derive(Clone)]
pub struct Ledger {
    registry: Arc<Registry>,
    seat: Option<Arc<Seat>>,
}

/// A map as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What it says.
    pub entries: Entries,
    /// What it was read at.
    pub revision: Revision,
}

impl Ledger {
    /// The ledger behind a registry.
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry, seat: None }
    }

    /// The same one, in which only whoever has the `seat` writes.
    #[must_use]
    pub fn seated(&self, seat: Arc<Seat>) -> Self {
        Self { registry: self.registry.clone(), seat: Some(seat) }
    }

    /// Waits until reads see everything that was acknowledged before.
    ///
    /// # Errors
    /// Where the quorum cannot be reached.
    pub async fn refresh(&self) -> Result<Revision, Status> {
        self.registry.store().barrier().await.map_err(|error| Status::internal(error.to_string()))
    }

    /// A ConfigMap or Secret, as this node has it.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn read(&self, resource: ResourceId, name: &str) -> Result<Option<Page>, Status> {
        let record = self.registry.store().get(&ObjectKey::new(resource, NAMESPACE, name));
        record.map(|record| page(&record)).transpose()
    }

    /// Every Secret of a type, by name.
    ///
    /// # Errors
    /// Where one cannot be read.
    pub fn secrets(&self, of_type: &str) -> Result<Vec<(String, Page)>, Status> {
        let scope = Scope::resource(id::SECRETS, Some(NAMESPACE));
        let listed = self.registry.store().list(&scope, None, None, 0);
        let listed = listed.map_err(|error| Status::internal(error.to_string()))?;
        let mut found = Vec::new();
        for record in &listed.records {
            if object(record)?.get("type").and_then(Value::as_str) == Some(of_type) {
                found.push((record.key.name.to_string(), page(record)?));
            }
        }
        Ok(found)
    }

    /// Changes a map, from what it says now (nothing where it is not there). `change` may be called again where
    /// another write came first; where it refuses, nothing is written.
    ///
    /// # Errors
    /// What `change` says, or the API.
    pub async fn change<E: From<Status>>(
        &self,
        resource: ResourceId,
        name: &str,
        mut change: impl FnMut(Option<&Entries>) -> Result<Entries, E>,
    ) -> Result<(), E> {
        let mut last = Status::internal("no attempt was made");
        for _ in 0..MAX_ATTEMPTS {
            let known = self.read(resource, name)?;
            let next = change(known.as_ref().map(|page| &page.entries))?;
            if known.as_ref().is_some_and(|page| page.entries == next) {
                return Ok(());
            }
            match self.write(resource, name, known.as_ref().map(|page| page.revision), &next, "").await {
                Ok(()) => return Ok(()),
                Err(status) if status.code == 409 => last = status,
                Err(status) => return Err(status.into()),
            }
            // The write that came first may not be here yet.
            self.refresh().await?;
        }
        Err(last.into())
    }

    /// Makes a Secret.
    ///
    /// # Errors
    /// As the API has it.
    pub async fn create_secret(&self, name: &str, of_type: &str, entries: &Entries) -> Result<(), Status> {
        self.write(id::SECRETS, name, None, entries, of_type).await
    }

    /// Removes an object; it may be gone already.
    ///
    /// # Errors
    /// As the API has it.
    pub async fn remove(&self, resource: ResourceId, name: &str) -> Result<(), Status> {
        self.remove_key(ObjectKey::new(resource, NAMESPACE, name)).await
    }

    /// Removes an object of any namespace; it may be gone already.
    ///
    /// # Errors
    /// As the API has it.
    pub async fn remove_key(&self, key: ObjectKey) -> Result<(), Status> {
        self.execute(Command::Delete { key, uid: None, propagation: None, grace_seconds: None }).await
    }

    /// Carries out a command as the cluster itself.
    ///
    /// # Errors
    /// As the API has it.
    pub async fn execute(&self, command: Command) -> Result<(), Status> {
        self.registry.execute(&self.caller()?, command).await.map(drop)
    }

    /// Begins an actor's next epoch with a command: from its revision on, writes of older ones are refused.
    ///
    /// # Errors
    /// As the API has it; a conflict where somebody else was first.
    pub async fn begin_epoch(&self, fence: Fence, command: Command) -> Result<(), Status> {
        let mut caller = Caller::new(Identity::controller("shoal"), 0);
        caller.fence = Some(fence);
        self.registry.execute(&caller, command).await.map(drop)
    }

    fn caller(&self) -> Result<Caller, Status> {
        let mut caller = Caller::new(Identity::controller("shoal"), 0);
        if let Some(seat) = &self.seat {
            let fence = seat.fence();
            caller.fence = Some(fence.ok_or_else(|| Status::internal(format!("{} is not placed here", seat.actor())))?);
        }
        Ok(caller)
    }

    async fn write(
        &self,
        resource: ResourceId,
        name: &str,
        known: Option<Revision>,
        entries: &Entries,
        of_type: &str,
    ) -> Result<(), Status> {
        let key = ObjectKey::new(resource, NAMESPACE, name);
        let mut body = match self.registry.store().get(&key) {
            Some(record) if known.is_some() => Value::Object(object(&record)?),
            _ => fresh(resource, name, of_type),
        };
        if let Some(body) = body.as_object_mut() {
            body.insert("data".into(), encoded(resource, entries));
        }
        match known {
            Some(revision) => self.execute(Command::Update { key, subresource: None, revision, body }).await,
            None => self.create(resource, body).await,
        }
    }

    /// "Already exists" is a lost race here.
    async fn create(&self, resource: ResourceId, body: Value) -> Result<(), Status> {
        let command = Command::Create { resource, namespace: NAMESPACE.into(), body };
        match self.registry.execute(&self.caller()?, command).await? {
            Some(_) => Ok(()),
            None => Err(Status::conflict("", resource.plural, "", "it was made meanwhile")),
        }
    }
}

fn fresh(resource: ResourceId, name: &str, of_type: &str) -> Value {
    let kind = if resource == id::SECRETS { "Secret" } else { "ConfigMap" };
    let mut body = json!({
        "apiVersion": "v1", "kind": kind, "metadata": { "name": name, "namespace": NAMESPACE },
    });
    if let (false, Some(body)) = (of_type.is_empty(), body.as_object_mut()) {
        body.insert("type".into(), of_type.into());
    }
    body
}

fn encoded(resource: ResourceId, entries: &Entries) -> Value {
    let encode = |value: &String| if resource == id::SECRETS { STANDARD.encode(value) } else { value.clone() };
    entries.iter().map(|(key, value)| (key.clone(), Value::from(encode(value)))).collect::<Map<_, _>>().into()
}

/// What a record of a ConfigMap or Secret says.
///
/// # Errors
/// Where it cannot be read.
pub fn page(record: &Record) -> Result<Page, Status> {
    let object = object(record)?;
    let secret = record.key.is(id::SECRETS);
    let mut entries = Entries::new();
    for (key, value) in object.get("data").and_then(Value::as_object).into_iter().flatten() {
        let text = value.as_str().unwrap_or_default();
        let text = if secret { decoded(text).ok_or_else(|| unreadable(record, key))? } else { text.to_owned() };
        entries.insert(key.clone(), text);
    }
    Ok(Page { entries, revision: record.modified })
}

fn decoded(text: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(text).ok()?).ok()
}

fn object(record: &Record) -> Result<Map<String, Value>, Status> {
    serde_json::from_slice(&record.value).map_err(|error| unreadable(record, &error))
}

fn unreadable(record: &Record, why: &impl std::fmt::Display) -> Status {
    Status::internal(format!("{} cannot be read: {why}", record.key))
}

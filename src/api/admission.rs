//! Admission: what every write passes between decoding and the store. Each plugin is a row; handlers know none of them.

mod allocation;
mod lifecycle;
mod service_account;
mod toleration;

use serde_json::Value;

pub use allocation::ServiceAddresses;
pub use lifecycle::NamespaceLifecycle;
pub use service_account::ServiceAccount;
pub use toleration::DefaultToleration;

use super::identity::Identity;
use crate::kube::resource::Resource;
use crate::kube::status::Status;
use crate::store::{Op, Store};
use crate::world::entropy::Entropy;

/// What is being done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It comes to be.
    Create,
    /// It changes.
    Update,
    /// It goes, now.
    Delete,
}

/// A write, as admission sees it.
pub struct Attempt<'a> {
    /// Who asks.
    pub identity: &'a Identity,
    /// What for.
    pub operation: Operation,
    /// Of which resource.
    pub resource: &'static Resource,
    /// Of which subresource; `None` for the object itself.
    pub subresource: Option<&'a str>,
    /// Empty for cluster-scoped objects.
    pub namespace: &'a str,
    /// The version before, where there is one.
    pub old: Option<&'a Value>,
    /// Reads of what exists now.
    pub store: &'a Store,
    /// Randomness for choices among equals.
    pub entropy: &'a dyn Entropy,
}

/// One rule of admission.
pub trait Admission: Send + Sync + 'static {
    /// Its name, as Kubernetes calls it where there is one.
    fn name(&self) -> &'static str;

    /// Lets the write pass, perhaps changed, or not. What is returned is committed in the same transaction, so that a
    /// rule that was true when it was looked at is still true when the write is made.
    fn admit(&self, attempt: &Attempt<'_>, object: &mut Value) -> Result<Vec<Op>, Status>;
}

/// The rules every cluster has.
pub fn standard(addresses: ServiceAddresses, toleration: DefaultToleration) -> Vec<Box<dyn Admission>> {
    vec![Box::new(NamespaceLifecycle), Box::new(ServiceAccount), Box::new(toleration), Box::new(addresses)]
}

//! Where an object lives: resource, namespace, name. The only module that joins or splits key strings.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A resource without its version: API group (empty for core) and plural name, e.g. `apps` / `deployments`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ResourceId {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Plural, lower-case name as in URLs.
    pub plural: &'static str,
}

impl ResourceId {
    /// Names a resource.
    pub const fn new(group: &'static str, plural: &'static str) -> Self {
        Self { group, plural }
    }
}

/// The place of one object. Ordered by resource, then namespace, then name: a list is a range.
///
/// `resource` is `plural` for core and `plural.group` otherwise (`pods`, `deployments.apps`): owned text, so that
/// custom resources and old snapshots need no static table. `namespace` is empty for cluster-scoped objects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectKey {
    /// `plural` or `plural.group`.
    pub resource: Arc<str>,
    /// Empty for cluster-scoped objects.
    pub namespace: Arc<str>,
    /// The object's name.
    pub name: Arc<str>,
}

impl ObjectKey {
    /// Builds a key; `namespace` is empty for cluster-scoped objects.
    pub fn new(resource: ResourceId, namespace: &str, name: &str) -> Self {
        Self { resource: resource.to_string().into(), namespace: namespace.into(), name: name.into() }
    }

    /// Whether the key belongs to `resource`.
    pub fn is(&self, resource: ResourceId) -> bool {
        match self.resource.split_once('.') {
            None => resource.group.is_empty() && &*self.resource == resource.plural,
            Some((plural, group)) => plural == resource.plural && group == resource.group,
        }
    }

    /// `group` and `plural` of the key's resource.
    pub fn group_plural(&self) -> (&str, &str) {
        match self.resource.split_once('.') {
            None => ("", &self.resource),
            Some((plural, group)) => (group, plural),
        }
    }

    /// The key as ordered bytes: the three parts separated by NUL, which no part may contain.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.resource.len() + self.namespace.len() + self.name.len() + 2);
        out.extend_from_slice(self.resource.as_bytes());
        out.push(0);
        out.extend_from_slice(self.namespace.as_bytes());
        out.push(0);
        out.extend_from_slice(self.name.as_bytes());
        out
    }

    /// Reads what [`ObjectKey::encode`] wrote; `None` where the bytes are not a key.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(bytes).ok()?.split('\0');
        let key = Self { resource: parts.next()?.into(), namespace: parts.next()?.into(), name: parts.next()?.into() };
        parts.next().is_none().then_some(key)
    }
}

/// What a list or a watch covers: one resource, in one namespace or in all, or one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// `None` covers every resource (the hub of a node).
    pub resource: Option<Arc<str>>,
    /// `None` covers every namespace.
    pub namespace: Option<Arc<str>>,
    /// `None` covers every name.
    pub name: Option<Arc<str>>,
}

impl Scope {
    /// Everything in the store.
    pub const ALL: Self = Self { resource: None, namespace: None, name: None };

    /// All objects of a resource, in one namespace where it is given.
    pub fn resource(resource: ResourceId, namespace: Option<&str>) -> Self {
        Self { resource: Some(resource.to_string().into()), namespace: namespace.map(Arc::from), name: None }
    }

    /// Whether `key` is covered.
    pub fn covers(&self, key: &ObjectKey) -> bool {
        let agrees = |want: &Option<Arc<str>>, have: &Arc<str>| want.as_ref().is_none_or(|want| want == have);
        agrees(&self.resource, &key.resource)
            && agrees(&self.namespace, &key.namespace)
            && agrees(&self.name, &key.name)
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() { f.write_str(self.plural) } else { write!(f, "{}.{}", self.plural, self.group) }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.resource)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

//! Authorization: whether an identity may do what a request asks.

use super::authn::unauthorized;
use super::identity::{CONTROLLER_PREFIX, Identity, MASTERS, NODES};
use super::review::is_review;
use crate::kube::resource::{Resource, id};
use crate::kube::status::Status;
use crate::model::ResourceId;

/// What a request asks to do.
#[derive(Debug, Clone)]
pub struct Action<'a> {
    /// Who.
    pub identity: &'a Identity,
    /// `get`, `list`, `create`, ...; the method in lower case for paths without a resource.
    pub verb: &'static str,
    /// The path.
    pub path: &'a str,
    /// What it names; `None` for paths without a resource.
    pub object: Option<Named<'a>>,
}

/// The objects that a path names.
#[derive(Debug, Clone)]
pub struct Named<'a> {
    /// The row.
    pub resource: &'static Resource,
    /// Empty for none.
    pub subresource: &'a str,
    /// Empty for all, and for cluster-scoped objects.
    pub namespace: &'a str,
    /// Empty for all.
    pub name: &'a str,
}

/// Decides. `Ok(false)` is a plain no.
pub trait Authorizer: Send + Sync + 'static {
    /// Whether the action is allowed.
    fn allows(&self, action: &Action<'_>) -> bool;
}

/// The rules that a cluster is born with: administrators may do everything, the cluster's own parts what they need.
pub struct BuiltIn;

impl Authorizer for BuiltIn {
    fn allows(&self, action: &Action<'_>) -> bool {
        let identity = action.identity;
        if identity.is_in(MASTERS) || identity.user.starts_with(CONTROLLER_PREFIX) {
            return true;
        }
        match &action.object {
            None => is_public(action.path) || (!identity.is_anonymous() && is_document(action.path)),
            Some(named) if is_review(named.resource) => !identity.is_anonymous(),
            Some(named) => identity.is_in(NODES) && node_may(action.verb, named),
        }
    }
}

/// Refuses what the authorizer does not allow: 401 to those who showed nothing, 403 to the others.
pub fn check(authorizer: &dyn Authorizer, action: &Action<'_>) -> Result<(), Status> {
    if authorizer.allows(action) {
        return Ok(());
    }
    if action.identity.is_anonymous() {
        return Err(unauthorized());
    }
    Err(forbidden(action))
}

/// Whether somebody may do everything.
pub fn is_administrator(identity: &Identity) -> bool {
    identity.is_in(MASTERS)
}

/// What anybody may read.
fn is_public(path: &str) -> bool {
    matches!(path.split('/').nth(1), Some("version" | "healthz" | "livez" | "readyz"))
}

/// What any authenticated user may read.
fn is_document(path: &str) -> bool {
    matches!(path.split('/').nth(1), Some("api" | "apis" | "openapi"))
}

const READ: [&str; 3] = ["get", "list", "watch"];
const NODE_READS: [ResourceId; 8] = [
    id::NODES,
    id::PODS,
    id::CONFIG_MAPS,
    id::SECRETS,
    id::SERVICES,
    id::ENDPOINTS,
    id::ENDPOINT_SLICES,
    id::SERVICE_ACCOUNTS,
];

fn node_may(verb: &str, named: &Named<'_>) -> bool {
    let (resource, sub) = (named.resource.id, named.subresource);
    if READ.contains(&verb) {
        return NODE_READS.contains(&resource) || resource == id::LEASES || resource == id::NAMESPACES;
    }
    match (resource, sub) {
        (id::PODS, "status" | "eviction") | (id::NODES, "status") => true,
        (id::PODS, "") => matches!(verb, "create" | "delete"),
        (id::NODES, "") => matches!(verb, "create" | "update" | "patch"),
        (id::LEASES, "") => matches!(verb, "create" | "update" | "patch" | "delete"),
        (id::EVENTS | id::EVENTS_V1, "") => matches!(verb, "create" | "update" | "patch"),
        _ => false,
    }
}

fn forbidden(action: &Action<'_>) -> Status {
    let user = &action.identity.user;
    let Some(named) = &action.object else {
        let why = format!("User {user:?} cannot {} path {:?}", action.verb, action.path);
        return Status::new(403, "Forbidden", format!("forbidden: {why}"));
    };
    let (group, plural) = (named.resource.id.group, named.resource.id.plural);
    let sub = if named.subresource.is_empty() { String::new() } else { format!("/{}", named.subresource) };
    let place = match (named.resource.namespaced, named.namespace) {
        (true, namespace) if !namespace.is_empty() => format!("in the namespace {namespace:?}"),
        _ => "at the cluster scope".to_owned(),
    };
    let what = format!("{plural}{sub}");
    let why = format!("User {user:?} cannot {} resource {what:?} in API group {group:?} {place}", action.verb);
    if !named.name.is_empty() {
        return Status::forbidden(group, &what, named.name, &why);
    }
    let full = if group.is_empty() { what.clone() } else { format!("{plural}.{group}{sub}") };
    Status::new(403, "Forbidden", format!("{full} is forbidden: {why}")).about(group, &what, "")
}

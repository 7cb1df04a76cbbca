//! The resource table: one row a resource. Discovery, routing, OpenAPI, strategy and printing follow from the row.

use crate::model::{ObjectKey, ResourceId};

/// A verb of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// POST.
    Create,
    /// DELETE of one.
    Delete,
    /// DELETE of a collection.
    DeleteCollection,
    /// GET of one.
    Get,
    /// GET of a collection.
    List,
    /// PATCH.
    Patch,
    /// PUT.
    Update,
    /// GET with `watch`.
    Watch,
}

/// All verbs, in the order that discovery lists them.
pub const ALL_VERBS: &[Verb] = &[
    Verb::Create,
    Verb::Delete,
    Verb::DeleteCollection,
    Verb::Get,
    Verb::List,
    Verb::Patch,
    Verb::Update,
    Verb::Watch,
];

/// A resource at one version.
#[derive(Debug)]
pub struct Resource {
    /// Group and plural.
    pub id: ResourceId,
    /// `v1`, ...
    pub version: &'static str,
    /// `Pod`, ...
    pub kind: &'static str,
    /// Singular, lower-case name.
    pub singular: &'static str,
    /// `po`, ...
    pub short_names: &'static [&'static str],
    /// `all`, ...
    pub categories: &'static [&'static str],
    /// Whether its objects live in a namespace.
    pub namespaced: bool,
    /// What the collection and its objects offer.
    pub verbs: &'static [Verb],
    /// Subresources.
    pub subresources: &'static [Subresource],
    /// The type's name in the published schema, e.g. `io.k8s.api.core.v1.Pod`.
    pub type_name: &'static str,
    /// Where this resource is a second face of another (`events.k8s.io` of core events): the resource that stores it.
    pub stored_as: Option<ResourceId>,
    /// What a client that still uses it is warned of.
    pub deprecation: Option<&'static str>,
}

/// A subresource of a resource.
#[derive(Debug)]
pub struct Subresource {
    /// `status`, `scale`, `log`, ...
    pub name: &'static str,
    /// Kind of the body.
    pub kind: &'static str,
    /// Group and version of the body where it is not the resource's own.
    pub group_version: Option<(&'static str, &'static str)>,
    /// What it offers.
    pub verbs: &'static [Verb],
}

impl Resource {
    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.id.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.id.group, self.version) }
    }

    /// The resource whose key its objects are stored under.
    pub fn storage(&self) -> ResourceId {
        self.stored_as.unwrap_or(self.id)
    }

    /// The key of one of its objects.
    pub fn key(&self, namespace: &str, name: &str) -> ObjectKey {
        ObjectKey::new(self.storage(), namespace, name)
    }

    /// A subresource by its name.
    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|sub| sub.name == name)
    }
}

impl Verb {
    /// The verb as discovery and authorization spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Get => "get",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Update => "update",
            Self::Watch => "watch",
        }
    }
}

/// The resource at `/apis/<group>/<version>/<plural>` (`/api/v1/<plural>` for the empty group).
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    TABLE.iter().find(|row| row.id.group == group && row.version == version && row.id.plural == plural)
}

/// The resource of a kind.
pub fn by_kind(api_version: &str, kind: &str) -> Option<&'static Resource> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    TABLE.iter().find(|row| row.id.group == group && row.version == version && row.kind == kind)
}

/// The row that stores a key's objects.
pub fn of_key(key: &ObjectKey) -> Option<&'static Resource> {
    TABLE.iter().find(|row| row.stored_as.is_none() && key.is(row.id))
}

/// Ids of the resources that code names.
pub mod id {
    use crate::model::ResourceId;

    pub const NAMESPACES: ResourceId = ResourceId::new("", "namespaces");
    pub const NODES: ResourceId = ResourceId::new("", "nodes");
    pub const PODS: ResourceId = ResourceId::new("", "pods");
    pub const CONFIG_MAPS: ResourceId = ResourceId::new("", "configmaps");
    pub const SECRETS: ResourceId = ResourceId::new("", "secrets");
    pub const SERVICE_ACCOUNTS: ResourceId = ResourceId::new("", "serviceaccounts");
    pub const EVENTS: ResourceId = ResourceId::new("", "events");
    pub const REPLICATION_CONTROLLERS: ResourceId = ResourceId::new("", "replicationcontrollers");
    pub const SERVICES: ResourceId = ResourceId::new("", "services");
    pub const ENDPOINTS: ResourceId = ResourceId::new("", "endpoints");
    pub const REPLICA_SETS: ResourceId = ResourceId::new("apps", "replicasets");
    pub const DEPLOYMENTS: ResourceId = ResourceId::new("apps", "deployments");
    pub const ENDPOINT_SLICES: ResourceId = ResourceId::new("discovery.k8s.io", "endpointslices");
    pub const LEASES: ResourceId = ResourceId::new("coordination.k8s.io", "leases");
    pub const SELF_SUBJECT_REVIEWS: ResourceId = ResourceId::new("authentication.k8s.io", "selfsubjectreviews");
    pub const SELF_SUBJECT_ACCESS_REVIEWS: ResourceId =
        ResourceId::new("authorization.k8s.io", "selfsubjectaccessreviews");
    pub const SELF_SUBJECT_RULES_REVIEWS: ResourceId =
        ResourceId::new("authorization.k8s.io", "selfsubjectrulesreviews");
    pub const CUSTOM_RESOURCE_DEFINITIONS: ResourceId =
        ResourceId::new("apiextensions.k8s.io", "customresourcedefinitions");
    pub const EVENTS_V1: ResourceId = ResourceId::new("events.k8s.io", "events");
}

const READ_WRITE: &[Verb] = &[Verb::Get, Verb::Patch, Verb::Update];
const CREATE: &[Verb] = &[Verb::Create];
const GET: &[Verb] = &[Verb::Get];
const GET_CREATE: &[Verb] = &[Verb::Create, Verb::Get];

const fn status(kind: &'static str) -> Subresource {
    Subresource { name: "status", kind, group_version: None, verbs: READ_WRITE }
}

const fn scale() -> Subresource {
    Subresource { name: "scale", kind: "Scale", group_version: Some(("autoscaling", "v1")), verbs: READ_WRITE }
}

/// A question that is answered when it is created, and not stored.
const fn review(id: ResourceId, kind: &'static str, singular: &'static str, type_name: &'static str) -> Resource {
    Resource { namespaced: false, verbs: CREATE, ..row(id, kind, singular, type_name) }
}

const fn row(id: ResourceId, kind: &'static str, singular: &'static str, type_name: &'static str) -> Resource {
    Resource {
        id,
        version: "v1",
        kind,
        singular,
        short_names: &[],
        categories: &[],
        namespaced: true,
        verbs: ALL_VERBS,
        subresources: &[],
        type_name,
        stored_as: None,
        deprecation: None,
    }
}

/// Every resource that the API serves.
pub static TABLE: &[Resource] = &[
    Resource { short_names: &["cm"], ..row(id::CONFIG_MAPS, "ConfigMap", "configmap", "io.k8s.api.core.v1.ConfigMap") },
    Resource {
        short_names: &["ep"],
        deprecation: Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
        ..row(id::ENDPOINTS, "Endpoints", "endpoints", "io.k8s.api.core.v1.Endpoints")
    },
    Resource { short_names: &["ev"], ..row(id::EVENTS, "Event", "event", "io.k8s.api.core.v1.Event") },
    Resource {
        short_names: &["ns"],
        namespaced: false,
        verbs: &[Verb::Create, Verb::Delete, Verb::Get, Verb::List, Verb::Patch, Verb::Update, Verb::Watch],
        subresources: &[
            Subresource { name: "finalize", kind: "Namespace", group_version: None, verbs: &[Verb::Update] },
            status("Namespace"),
        ],
        ..row(id::NAMESPACES, "Namespace", "namespace", "io.k8s.api.core.v1.Namespace")
    },
    Resource {
        short_names: &["no"],
        namespaced: false,
        subresources: &[status("Node")],
        ..row(id::NODES, "Node", "node", "io.k8s.api.core.v1.Node")
    },
    Resource {
        short_names: &["po"],
        categories: &["all"],
        subresources: &[
            Subresource { name: "binding", kind: "Binding", group_version: None, verbs: CREATE },
            Subresource { name: "eviction", kind: "Eviction", group_version: Some(("policy", "v1")), verbs: CREATE },
            Subresource { name: "exec", kind: "PodExecOptions", group_version: None, verbs: GET_CREATE },
            Subresource { name: "log", kind: "Pod", group_version: None, verbs: GET },
            status("Pod"),
        ],
        ..row(id::PODS, "Pod", "pod", "io.k8s.api.core.v1.Pod")
    },
    Resource {
        short_names: &["rc"],
        categories: &["all"],
        subresources: &[scale(), status("ReplicationController")],
        ..row(
            id::REPLICATION_CONTROLLERS,
            "ReplicationController",
            "replicationcontroller",
            "io.k8s.api.core.v1.ReplicationController",
        )
    },
    row(id::SECRETS, "Secret", "secret", "io.k8s.api.core.v1.Secret"),
    Resource {
        short_names: &["sa"],
        ..row(id::SERVICE_ACCOUNTS, "ServiceAccount", "serviceaccount", "io.k8s.api.core.v1.ServiceAccount")
    },
    Resource {
        short_names: &["svc"],
        categories: &["all"],
        subresources: &[status("Service")],
        ..row(id::SERVICES, "Service", "service", "io.k8s.api.core.v1.Service")
    },
    Resource {
        short_names: &["deploy"],
        categories: &["all"],
        subresources: &[scale(), status("Deployment")],
        ..row(id::DEPLOYMENTS, "Deployment", "deployment", "io.k8s.api.apps.v1.Deployment")
    },
    Resource {
        short_names: &["rs"],
        categories: &["all"],
        subresources: &[scale(), status("ReplicaSet")],
        ..row(id::REPLICA_SETS, "ReplicaSet", "replicaset", "io.k8s.api.apps.v1.ReplicaSet")
    },
    review(
        id::SELF_SUBJECT_REVIEWS,
        "SelfSubjectReview",
        "selfsubjectreview",
        "io.k8s.api.authentication.v1.SelfSubjectReview",
    ),
    review(
        id::SELF_SUBJECT_ACCESS_REVIEWS,
        "SelfSubjectAccessReview",
        "selfsubjectaccessreview",
        "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
    ),
    review(
        id::SELF_SUBJECT_RULES_REVIEWS,
        "SelfSubjectRulesReview",
        "selfsubjectrulesreview",
        "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
    ),
    // None can be made yet. kubectl lists them to tell a misspelt kind from one that is defined.
    Resource {
        short_names: &["crd", "crds"],
        categories: &["api-extensions"],
        namespaced: false,
        verbs: &[Verb::Get, Verb::List, Verb::Watch],
        ..row(
            id::CUSTOM_RESOURCE_DEFINITIONS,
            "CustomResourceDefinition",
            "customresourcedefinition",
            "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
        )
    },
    row(id::LEASES, "Lease", "lease", "io.k8s.api.coordination.v1.Lease"),
    row(id::ENDPOINT_SLICES, "EndpointSlice", "endpointslice", "io.k8s.api.discovery.v1.EndpointSlice"),
    Resource {
        short_names: &["ev"],
        stored_as: Some(id::EVENTS),
        ..row(id::EVENTS_V1, "Event", "event", "io.k8s.api.events.v1.Event")
    },
];

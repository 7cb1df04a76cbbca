//! Who asks: the user and groups that a connection or a control actor acts as.

use std::sync::Arc;

/// The group that may do everything.
pub const MASTERS: &str = "system:masters";
/// The group of nodes.
pub const NODES: &str = "system:nodes";
/// What the names of control actors start with.
pub const CONTROLLER_PREFIX: &str = "system:controller:";
const ANONYMOUS: &str = "system:anonymous";

/// A user and its groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Common name of a client certificate, or the name of a control actor.
    pub user: Arc<str>,
    /// Organizations of a client certificate.
    pub groups: Vec<Arc<str>>,
}

impl Identity {
    /// A user with groups.
    pub fn new(user: &str, groups: &[&str]) -> Self {
        Self { user: user.into(), groups: groups.iter().copied().map(Arc::from).collect() }
    }

    /// A caller that showed no credentials.
    pub fn anonymous() -> Self {
        Self::new(ANONYMOUS, &["system:unauthenticated"])
    }

    /// The cluster's administrator.
    pub fn admin() -> Self {
        Self::new("kubernetes-admin", &[MASTERS])
    }

    /// A control actor.
    pub fn controller(name: &str) -> Self {
        Self::new(&format!("{CONTROLLER_PREFIX}{name}"), &["system:controllers"])
    }

    /// A node's agent.
    pub fn node(name: &str) -> Self {
        Self::new(&format!("system:node:{name}"), &[NODES])
    }

    /// Whether no credentials were shown.
    pub fn is_anonymous(&self) -> bool {
        &*self.user == ANONYMOUS
    }

    /// Whether the user is in `group`.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|one| &**one == group)
    }
}

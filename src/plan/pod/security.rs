//! Users and privileges of a container: its own security context over the pod's.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};

/// User, privileges and file system of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Numeric user; the image's where `None`.
    pub run_as_user: Option<u32>,
    /// Numeric group.
    pub run_as_group: Option<u32>,
    /// Refuse to run as user 0.
    pub run_as_non_root: bool,
    /// `fsGroup` and `supplementalGroups`.
    pub supplemental_groups: Vec<u32>,
    /// Every capability, every device.
    pub privileged: bool,
    /// Read-only root file system.
    pub read_only_root: bool,
    /// `allowPrivilegeEscalation: false`.
    pub no_new_privileges: bool,
    /// Added capabilities.
    pub add_capabilities: Vec<String>,
    /// Dropped capabilities.
    pub drop_capabilities: Vec<String>,
    /// Kernel parameters of the pod.
    pub sysctls: BTreeMap<String, String>,
}

/// The rules of one container.
pub fn of(pod: &Pod, container: &Container) -> Rules {
    let outer = pod.spec.as_ref().and_then(|spec| spec.security_context.clone()).unwrap_or_default();
    let own = container.security_context.clone().unwrap_or_default();
    let id = |value: i64| u32::try_from(value).ok();
    let capabilities = own.capabilities.unwrap_or_default();
    let groups = outer.fs_group.into_iter().chain(outer.supplemental_groups.unwrap_or_default());
    let sysctls = outer.sysctls.unwrap_or_default();
    Rules {
        run_as_user: own.run_as_user.or(outer.run_as_user).and_then(id),
        run_as_group: own.run_as_group.or(outer.run_as_group).and_then(id),
        run_as_non_root: own.run_as_non_root.or(outer.run_as_non_root) == Some(true),
        supplemental_groups: groups.filter_map(id).collect(),
        privileged: own.privileged == Some(true),
        read_only_root: own.read_only_root_filesystem == Some(true),
        no_new_privileges: own.allow_privilege_escalation == Some(false),
        add_capabilities: capabilities.add.unwrap_or_default(),
        drop_capabilities: capabilities.drop.unwrap_or_default(),
        sysctls: sysctls.into_iter().map(|one| (one.name, one.value)).collect(),
    }
}

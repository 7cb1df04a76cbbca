//! Turns a container's spec and its image's configuration into an OCI runtime spec. Pure: what it must know of the
//! machine is in [`Host`], which `host.rs` reads. Both real runtimes use it. `defaults.rs` has the constants that every container gets,
//! `user.rs` finds users in an image, `resources.rs` speaks cgroup.

pub mod defaults;
pub mod host;
pub mod resources;
pub mod user;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::container::{Mount, Propagation};
use super::{ContainerSpec, Error, SandboxSpec};
pub use user::User;

/// The part of an image's configuration that running it needs (the `config` object of an OCI image configuration).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    /// `NAME=value`.
    pub env: Option<Vec<String>>,
    /// First words of the command line.
    pub entrypoint: Option<Vec<String>>,
    /// Further words, or all of them.
    pub cmd: Option<Vec<String>>,
    /// Where it starts.
    pub working_dir: Option<String>,
    /// `user`, `uid`, `user:group`, `uid:gid`.
    pub user: Option<String>,
    /// The signal that ends it politely.
    pub stop_signal: Option<String>,
}

/// What the spec depends on beside the container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// Capabilities that this process may give away (its bounding set), e.g. `CAP_CHOWN`.
    pub capabilities: BTreeSet<String>,
    /// `oom_score_adj` of this process; a lower one needs a capability that is not taken for granted.
    pub oom_score_adj: i32,
    /// Whether the unified cgroup hierarchy is the one in use.
    pub cgroup_v2: bool,
    /// Device nodes that privileged containers get.
    pub devices: Vec<Device>,
}

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Below `/dev`.
    pub path: String,
    /// `c` or `b`.
    pub kind: char,
    /// Major number.
    pub major: u64,
    /// Minor number.
    pub minor: u64,
    /// Permission bits.
    pub mode: u32,
}

/// Builds the spec. `cgroup` is the absolute path below the hierarchies' roots; `user` was found in the image.
pub fn spec(
    container: &ContainerSpec,
    image: &ImageConfig,
    user: &User,
    rootfs: &str,
    cgroup: &str,
    host: &Host,
) -> Result<Value, Error> {
    let args = command_line(container, image)?;
    if container.security.run_as_non_root && user.uid == 0 {
        return Err(Error::Config(runs_as_root(container)));
    }
    let mut process = json!({
        "terminal": container.tty,
        "user": { "uid": user.uid, "gid": user.gid, "additionalGids": user.additional_gids },
        "args": args,
        "env": environment(container, image),
        "cwd": working_dir(container, image),
        "capabilities": capabilities(container, host),
        "noNewPrivileges": container.security.no_new_privileges,
    });
    if container.resources.oom_score_adj >= host.oom_score_adj {
        put(&mut process, "oomScoreAdj", json!(container.resources.oom_score_adj));
    }
    Ok(json!({
        "ociVersion": "1.0.2",
        "process": process,
        "root": { "path": rootfs, "readonly": container.security.read_only_root },
        "mounts": mounts(container),
        "linux": linux(container, cgroup, host),
    }))
}

/// Why a container that must not run as root does not run, in the kubelet's words.
fn runs_as_root(container: &ContainerSpec) -> String {
    let why = match container.security.run_as_user {
        Some(_) => "container's runAsUser breaks non-root policy",
        None => "container has runAsNonRoot and image will run as root",
    };
    let SandboxSpec { name, namespace, pod_uid, .. } = &container.sandbox;
    format!("{why} (pod: \"{name}_{namespace}({pod_uid})\", container: {})", container.id.container)
}

fn linux(container: &ContainerSpec, cgroup: &str, host: &Host) -> Value {
    let privileged = container.security.privileged;
    let mut linux = json!({
        "cgroupsPath": cgroup,
        "namespaces": namespaces(container, host),
        "resources": resources::resources(&container.resources, privileged, host.cgroup_v2),
        "sysctl": container.security.sysctls,
    });
    if privileged {
        put(&mut linux, "devices", host.devices.iter().map(device).collect());
    } else {
        put(&mut linux, "maskedPaths", json!(defaults::MASKED_PATHS));
        put(&mut linux, "readonlyPaths", json!(defaults::READ_ONLY_PATHS));
    }
    // A mount can only be shared or slave where what it is mounted on is not private.
    let widest = container.mounts.iter().map(|mount| mount.propagation).max_by_key(|p| *p as u8);
    match widest {
        Some(Propagation::Shared) => put(&mut linux, "rootfsPropagation", json!("rshared")),
        Some(Propagation::Slave) => put(&mut linux, "rootfsPropagation", json!("rslave")),
        _ => {}
    }
    linux
}

/// Sets a field of what is known to be an object.
fn put(object: &mut Value, key: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(key.to_owned(), value);
    }
}

/// The rules of Kubernetes: `command` replaces the entrypoint and drops the image's cmd; `args` replaces the cmd.
fn command_line(container: &ContainerSpec, image: &ImageConfig) -> Result<Vec<String>, Error> {
    let entrypoint = image.entrypoint.clone().unwrap_or_default();
    let cmd = image.cmd.clone().unwrap_or_default();
    let (first, rest) = match (container.command.is_empty(), container.args.is_empty()) {
        (true, true) => (entrypoint, cmd),
        (true, false) => (entrypoint, container.args.clone()),
        (false, _) => (container.command.clone(), container.args.clone()),
    };
    let line: Vec<_> = first.into_iter().chain(rest).collect();
    if line.is_empty() { Err(Error::Create("no command specified".to_owned())) } else { Ok(line) }
}

fn environment(container: &ContainerSpec, image: &ImageConfig) -> Vec<String> {
    let mut env: Vec<(String, String)> = vec![("PATH".to_owned(), defaults::PATH.to_owned())];
    env.push(("HOSTNAME".to_owned(), container.sandbox.hostname.clone()));
    if container.tty {
        env.push(("TERM".to_owned(), "xterm".to_owned()));
    }
    let from_image = image.env.iter().flatten().filter_map(|entry| entry.split_once('='));
    let from_image = from_image.map(|(name, value)| (name.to_owned(), value.to_owned()));
    for (name, value) in from_image.chain(container.env.iter().cloned()) {
        match env.iter_mut().find(|(known, _)| *known == name) {
            Some(entry) => entry.1 = value,
            None => env.push((name, value)),
        }
    }
    env.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn working_dir<'a>(container: &'a ContainerSpec, image: &'a ImageConfig) -> &'a str {
    [container.working_dir.as_str(), image.working_dir.as_deref().unwrap_or_default()]
        .into_iter()
        .find(|dir| !dir.is_empty())
        .unwrap_or("/")
}

fn capabilities(container: &ContainerSpec, host: &Host) -> Value {
    let security = &container.security;
    let full = |name: &String| {
        let upper = name.to_ascii_uppercase();
        if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") }
    };
    let add: BTreeSet<_> = security.add_capabilities.iter().map(full).collect();
    let drop: BTreeSet<_> = security.drop_capabilities.iter().map(full).collect();
    let all = |set: &BTreeSet<String>| set.contains("CAP_ALL");
    let mut set: BTreeSet<String> = if security.privileged || all(&add) {
        host.capabilities.clone()
    } else if all(&drop) {
        BTreeSet::new()
    } else {
        defaults::CAPABILITIES.iter().map(|name| (*name).to_owned()).collect()
    };
    if !security.privileged {
        set.retain(|name| !drop.contains(name));
        set.extend(add);
    }
    set.retain(|name| host.capabilities.contains(name));
    json!({ "bounding": set, "effective": set, "permitted": set })
}

fn namespaces(container: &ContainerSpec, host: &Host) -> Value {
    let sandbox = &container.sandbox;
    let mut list = vec![json!({ "type": "mount" })];
    if !sandbox.host_pid {
        list.push(json!({ "type": "pid" }));
    }
    if host.cgroup_v2 && !container.security.privileged {
        list.push(json!({ "type": "cgroup" }));
    }
    let pinned =
        [("network", &sandbox.network_namespace), ("ipc", &sandbox.ipc_namespace), ("uts", &sandbox.uts_namespace)];
    list.extend(pinned.iter().filter_map(|(kind, path)| Some(json!({ "type": kind, "path": path.as_ref()? }))));
    Value::Array(list)
}

fn mounts(container: &ContainerSpec) -> Value {
    let given: BTreeSet<_> = container.mounts.iter().map(|mount| mount.destination.as_path()).collect();
    let base = defaults::mounts(container.security.privileged);
    let base = base.into_iter().filter(|mount| {
        mount.get("destination").and_then(Value::as_str).is_none_or(|path| !given.contains(std::path::Path::new(path)))
    });
    base.chain(container.mounts.iter().map(bind)).collect()
}

fn bind(mount: &Mount) -> Value {
    let propagation = match mount.propagation {
        Propagation::Private => "rprivate",
        Propagation::Slave => "rslave",
        Propagation::Shared => "rshared",
    };
    let access = if mount.read_only { "ro" } else { "rw" };
    json!({
        "destination": mount.destination,
        "source": mount.source,
        "type": "bind",
        "options": ["rbind", propagation, access],
    })
}

fn device(device: &Device) -> Value {
    json!({
        "path": device.path, "type": device.kind.to_string(),
        "major": device.major, "minor": device.minor, "fileMode": device.mode,
    })
}

#[cfg(test)]
mod tests;

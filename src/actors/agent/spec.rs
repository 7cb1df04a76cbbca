//! Builds what the runtime is asked with: sandbox, volumes and containers of a pod.
//!
//! Rooms: `mounts` where things appear in a container; `sources` the objects that values come from.

mod mounts;
pub mod sources;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Pod, Volume};

use super::pod::perform::Site;
use crate::model::Quantity;
use crate::plan::pod::containers::{self, Slot};
use crate::plan::pod::fields::Facts;
use crate::plan::pod::{Failure, env, files, resources, security};
use crate::runtime::container::{Resources, Security};
use crate::runtime::logs;
use crate::runtime::network::{HostPort, Protocol};
use crate::runtime::volume::{VolumeKind, VolumeSpec};
use crate::runtime::{ContainerSpec, Error, SandboxSpec};
pub use mounts::termination_file;
pub use sources::ObjectSources;

/// The pod's sandbox.
pub fn sandbox(site: &Site) -> SandboxSpec {
    let spec = site.pod.spec.as_ref();
    let addresses = site.addresses.as_ref();
    SandboxSpec {
        pod_uid: site.uid().to_owned(),
        namespace: site.object.key.namespace.to_string(),
        name: site.object.key.name.to_string(),
        hostname: crate::plan::pod::etc::hostname(&site.pod),
        network_namespace: addresses.and_then(|addresses| addresses.network_namespace.clone()),
        ipc_namespace: addresses.and_then(|addresses| addresses.ipc_namespace.clone()),
        uts_namespace: addresses.and_then(|addresses| addresses.uts_namespace.clone()),
        host_pid: spec.and_then(|spec| spec.host_pid) == Some(true),
        cgroup: resources::cgroup(&site.pod),
    }
}

/// The pod's directory of logs.
pub fn log_directory(site: &Site) -> PathBuf {
    let key = &site.object.key;
    logs::pod_directory(&site.parts.node.log_root, &key.namespace, &key.name, site.uid())
}

/// Ports of the node that lead to the pod.
pub fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let ports = containers::slots(pod).flat_map(|slot| slot.container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let host_port = u16::try_from(port.host_port?).ok().filter(|port| *port > 0)?;
            let ip = port.host_ip.as_deref().and_then(|ip| ip.parse().ok());
            Some(HostPort {
                host: SocketAddr::new(ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), host_port),
                container_port: u16::try_from(port.container_port).ok()?,
                protocol: match port.protocol.as_deref() {
                    Some("UDP") => Protocol::Udp,
                    Some("SCTP") => Protocol::Sctp,
                    _ => Protocol::Tcp,
                },
            })
        })
        .collect()
}

/// The pod's volumes.
///
/// # Errors
/// Why one of them cannot be made yet.
pub fn volumes(site: &Site) -> Result<Vec<VolumeSpec>, Error> {
    let sources = ObjectSources(&site.parts);
    let facts = facts(site, &sources);
    let spec = site.pod.spec.as_ref();
    let group = spec.and_then(|spec| spec.security_context.as_ref()).and_then(|context| context.fs_group);
    let group = group.and_then(|group| u32::try_from(group).ok());
    let mut out = vec![mounts::shared_memory()];
    for volume in spec.and_then(|spec| spec.volumes.as_deref()).unwrap_or_default() {
        let kind = volume_kind(volume, &facts).map_err(|reason| {
            Error::Config(format!("MountVolume.SetUp failed for volume {:?} : {reason}", volume.name))
        })?;
        out.push(VolumeSpec { name: volume.name.clone(), kind, group });
    }
    Ok(out)
}

fn volume_kind(volume: &Volume, facts: &Facts<'_>) -> Result<VolumeKind, String> {
    if let Some(empty) = &volume.empty_dir {
        let limit = empty.size_limit.as_ref().and_then(|limit| Quantity::parse(&limit.0));
        let limit_bytes = limit.and_then(|limit| u64::try_from(limit.units()).ok()).filter(|bytes| *bytes > 0);
        let memory = empty.medium.as_deref() == Some("Memory");
        return Ok(if memory { VolumeKind::Memory { limit_bytes } } else { VolumeKind::Empty });
    }
    if let Some(host) = &volume.host_path {
        let check = host.type_.clone().unwrap_or_default();
        return Ok(VolumeKind::Host { path: PathBuf::from(&host.path), check });
    }
    let files = files::of(volume, facts)?;
    files.map(VolumeKind::Files).ok_or_else(|| "this kind of volume is not supported".to_owned())
}

/// What values of the pod's specs come from.
pub fn facts<'a>(site: &'a Site, sources: &'a ObjectSources<'a>) -> Facts<'a> {
    Facts {
        pod: &site.pod,
        node_ips: &site.parts.node.ips,
        pod_ips: site.addresses.as_ref().map(|addresses| addresses.ips.as_slice()).unwrap_or_default(),
        node_cpus: site.parts.node.machine.cpus,
        node_memory_bytes: site.parts.node.machine.memory_bytes,
        sources,
    }
}

/// One incarnation of one container.
///
/// # Errors
/// Why it cannot be made yet.
pub async fn container(site: &Site, name: &str, attempt: u32, image_id: &str) -> Result<ContainerSpec, Failure> {
    let config = |message: String| Failure { reason: "CreateContainerConfigError", message };
    let slot = containers::find(&site.pod, name).ok_or_else(|| config(format!("no container {name:?}")))?;
    let env = {
        let sources = ObjectSources(&site.parts);
        env::of(slot.container, &facts(site, &sources)).map_err(config)?
    };
    let mounts = mounts::of(site, &slot, attempt, &env).await.map_err(|error| config(error.to_string()))?;
    let container = slot.container;
    Ok(ContainerSpec {
        id: site.id(name, attempt),
        sandbox: sandbox(site),
        image_id: image_id.to_owned(),
        command: env::expand_all(container.command.as_deref().unwrap_or_default(), &env),
        args: env::expand_all(container.args.as_deref().unwrap_or_default(), &env),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        mounts,
        resources: cgroup_values(site, &slot),
        security: security_of(site, &slot),
        tty: container.tty == Some(true),
        log_path: logs::container_path(&log_directory(site), name, attempt),
        labels: labels(site, name),
        env: with_hostname(env, site),
    })
}

fn with_hostname(env: Vec<(String, String)>, site: &Site) -> Vec<(String, String)> {
    if env.iter().any(|(name, _)| name == "HOSTNAME") {
        return env;
    }
    let hostname = crate::plan::pod::etc::hostname(&site.pod);
    std::iter::once(("HOSTNAME".to_owned(), hostname)).chain(env).collect()
}

fn labels(site: &Site, container: &str) -> std::collections::BTreeMap<String, String> {
    let label = |key: &str, value: &str| (format!("io.kubernetes.{key}"), value.to_owned());
    [
        label("pod.name", &site.object.key.name),
        label("pod.namespace", &site.object.key.namespace),
        label("pod.uid", site.uid()),
        label("container.name", container),
    ]
    .into()
}

fn cgroup_values(site: &Site, slot: &Slot<'_>) -> Resources {
    let values = resources::cgroup_values(&site.pod, slot.container, site.parts.node.machine.memory_bytes);
    Resources {
        cpu_request_millis: values.cpu_request_millis,
        cpu_limit_millis: values.cpu_limit_millis,
        memory_limit_bytes: values.memory_limit_bytes,
        oom_score_adj: values.oom_score_adj,
    }
}

fn security_of(site: &Site, slot: &Slot<'_>) -> Security {
    let rules = security::of(&site.pod, slot.container);
    Security {
        run_as_user: rules.run_as_user,
        run_as_group: rules.run_as_group,
        run_as_non_root: rules.run_as_non_root,
        supplemental_groups: rules.supplemental_groups,
        privileged: rules.privileged,
        read_only_root: rules.read_only_root,
        no_new_privileges: rules.no_new_privileges,
        add_capabilities: rules.add_capabilities,
        drop_capabilities: rules.drop_capabilities,
        sysctls: rules.sysctls,
    }
}

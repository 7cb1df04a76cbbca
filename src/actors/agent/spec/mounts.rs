//! What appears in a container's file system besides its image.

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::VolumeMount;

use crate::actors::agent::pod::perform::{self, Site};
use crate::plan::pod::containers::Slot;
use crate::plan::pod::{env, etc};
use crate::runtime::Error;
use crate::runtime::container::{Mount, Propagation};
use crate::runtime::volume::{PayloadFile, VolumeKind, VolumeSpec};

/// Size of a pod's `/dev/shm` (what container engines give).
const SHARED_MEMORY_BYTES: u64 = 64 * 1024 * 1024;
/// Name of the volume behind it; not a name that a pod can give.
const SHARED_MEMORY: &str = ".shm";
/// Where containers write their last words, unless they say otherwise.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// The memory that the pod's containers share.
pub fn shared_memory() -> VolumeSpec {
    let kind = VolumeKind::Memory { limit_bytes: Some(SHARED_MEMORY_BYTES) };
    VolumeSpec { name: SHARED_MEMORY.to_owned(), kind, group: None }
}

/// The file of the pod's own that a container writes its last words to.
pub fn termination_file(container: &str, attempt: u32) -> String {
    format!("{container}.{attempt}.termination")
}

/// The mounts of one incarnation, outermost first.
///
/// # Errors
/// Where one of them is not there.
pub async fn of(site: &Site, slot: &Slot<'_>, attempt: u32, env: &[(String, String)]) -> Result<Vec<Mount>, Error> {
    let volumes = perform::volumes(site).await?;
    let mut out = Vec::new();
    for mount in slot.container.volume_mounts.iter().flatten() {
        let volume = volumes.iter().find(|(name, _)| *name == mount.name);
        let (_, path) = volume.ok_or_else(|| Error::Config(format!("no volume {:?}", mount.name)))?;
        out.push(volume_mount(site, mount, path, env).await?);
    }
    if let Some((_, path)) = volumes.iter().find(|(name, _)| name == SHARED_MEMORY) {
        own(&mut out, path.clone(), "/dev/shm");
    }
    own_files(site, slot, attempt, &mut out).await?;
    out.sort_by_key(|mount| mount.destination.components().count());
    Ok(out)
}

async fn volume_mount(
    site: &Site,
    mount: &VolumeMount,
    volume: &Path,
    env: &[(String, String)],
) -> Result<Mount, Error> {
    let expr = mount.sub_path_expr.as_deref().filter(|expr| !expr.is_empty());
    let lookup = |name: &str| env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let sub_path = match expr {
        Some(expr) => env::expand(expr, lookup),
        None => mount.sub_path.clone().unwrap_or_default(),
    };
    let source =
        if sub_path.is_empty() { volume.to_owned() } else { site.parts.volumes.sub_path(volume, &sub_path).await? };
    Ok(Mount {
        source,
        destination: PathBuf::from(&mount.mount_path),
        read_only: mount.read_only == Some(true),
        propagation: match mount.mount_propagation.as_deref() {
            Some("HostToContainer") => Propagation::Slave,
            Some("Bidirectional") => Propagation::Shared,
            _ => Propagation::Private,
        },
    })
}

/// Adds a mount of the node's own, unless the pod has one in its place.
fn own(out: &mut Vec<Mount>, source: PathBuf, destination: &str) {
    let destination = PathBuf::from(destination);
    if !out.iter().any(|mount| mount.destination == destination) {
        out.push(Mount { source, destination, read_only: false, propagation: Propagation::Private });
    }
}

async fn own_files(site: &Site, slot: &Slot<'_>, attempt: u32, out: &mut Vec<Mount>) -> Result<(), Error> {
    let node = &site.parts.node;
    let dns = etc::Dns { server: node.cluster_dns, domain: &node.cluster_domain, node: &node.resolv_conf };
    let ips = site.addresses.as_ref().map(|addresses| addresses.ips.as_slice()).unwrap_or_default();
    let termination = termination_file(&slot.container.name, attempt);
    let message_path = slot.container.termination_message_path.as_deref().unwrap_or(TERMINATION_LOG);
    let files = [
        ("etc-hosts", etc::hosts(&site.pod, ips, &node.cluster_domain), "/etc/hosts", 0o644),
        ("hostname", etc::hostname(&site.pod) + "\n", "/etc/hostname", 0o644),
        ("resolv.conf", etc::resolv_conf(&site.pod, &dns), "/etc/resolv.conf", 0o644),
        (termination.as_str(), String::new(), message_path, 0o666),
    ];
    for (name, text, destination, mode) in files {
        let file = PayloadFile { bytes: text.into_bytes(), mode };
        let path = site.parts.volumes.write(site.uid(), name, &file).await?;
        own(out, path, destination);
    }
    Ok(())
}

//! Prepares a container: its directories and its OCI spec.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::layout::{Pod, make, name_of, system, write};
use crate::runtime::oci::user::Database;
use crate::runtime::oci::{self, Host, ImageConfig};
use crate::runtime::shim::wire::Start;
use crate::runtime::{ContainerSpec, Error};

/// Makes everything that starting needs. `spec.json` comes last: with it, the container is there.
pub(super) fn prepare(
    pod: &Pod,
    spec: &ContainerSpec,
    image: &ImageConfig,
    (layers, lower): (&Path, Vec<String>),
    cgroup: &Path,
    mut host: Host,
) -> Result<(), Error> {
    let paths: Vec<PathBuf> = lower.iter().map(|name| layers.join(name)).collect();
    let user = Database::read(&paths).resolve(image.user.as_deref().unwrap_or_default(), &spec.security)?;
    if spec.security.privileged {
        host.devices = oci::host::devices();
    }
    let config = oci::spec(spec, image, &user, "rootfs", &cgroup.to_string_lossy(), &host)?;
    let name = name_of(&spec.id);
    let (directory, scratch) = pod.paths(&name);
    let start = Start {
        container: name,
        log: spec.log_path.clone(),
        tty: spec.tty,
        layers: layers.to_owned(),
        lower,
        upper: scratch.join("upper"),
        work: scratch.join("work"),
        cgroup: cgroup.to_owned(),
    };
    make(&directory.join("rootfs"))
        .and_then(|()| make(&start.upper))
        .and_then(|()| make(&start.work))
        // The root directory that the container's users see.
        .and_then(|()| std::fs::set_permissions(&start.upper, std::fs::Permissions::from_mode(0o755)))
        .and_then(|()| write(&directory.join("config.json"), &config))
        .and_then(|()| write(&directory.join("start.json"), &start))
        .and_then(|()| write(&directory.join("spec.json"), spec))
        .map_err(|error| system("prepare a container", &error))
}

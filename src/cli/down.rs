//! `shoal down`: stops the node's process and ends everything that it left on the machine. Each step works without the
//! ones before it, so that a second `down` finishes what a first one could not.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::arguments::DownFlags;
use super::failure::Failure;
use super::lock::{Error as LockError, NodeLock};
use super::{client, started};
use crate::actors::node::boot::ground;
use crate::actors::settings::{NodeSettings, RuntimeKind};
use crate::runtime::cgroup;
use crate::runtime::network::bridge::BridgeNetwork;
use crate::world::World;
use crate::world::clock::SystemClock;
use crate::world::disk::real::RealDisk;
use crate::world::entropy::SystemEntropy;

/// How long the process may take to stop before it is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(20);
/// How often the lock is looked at while waiting.
const POLL: Duration = Duration::from_millis(50);

/// Ends the node.
pub fn run(flags: &DownFlags) -> Result<ExitCode, Failure> {
    let settings = started::settings(flags.node.config.as_deref(), flags.node.data.as_deref())?;
    if !settings.data.exists() {
        println!("nothing to do: there is no {}", settings.data.display());
        return Ok(ExitCode::SUCCESS);
    }
    let lock = stop_process(&settings.data)?;
    if settings.runtime != RuntimeKind::Hollow {
        if !nix::unistd::geteuid().is_root() {
            return Err(Failure::new("ending containers needs root: run `sudo shoal down`"));
        }
        client::run(end_all(&settings))?;
    }
    let _ = std::fs::remove_file(super::control::path(&settings.run));
    drop(lock);
    if flags.purge {
        std::fs::remove_dir_all(&settings.data)
            .map_err(|error| Failure::new(format!("cannot remove {}: {error}", settings.data.display())))?;
        println!("removed {}", settings.data.display());
    } else {
        println!("the node is down; its data stays in {} (--purge removes it)", settings.data.display());
    }
    Ok(ExitCode::SUCCESS)
}

async fn end_all(settings: &NodeSettings) -> Result<(), Failure> {
    let sandboxes = end_sandboxes(settings).await;
    let network = BridgeNetwork::destroy(&ground::network_options(settings, settings.network.own_pod_cidr())).await;
    let mounts = unmount(&[&settings.run, &settings.data]);
    let group = ground::cgroup_root(settings);
    let groups = cgroup::remove(Path::new(&group))
        .map_err(|error| Failure::new(format!("cannot remove the control group {group}: {error}")));
    sandboxes?;
    network?;
    mounts?;
    groups
}

async fn end_sandboxes(settings: &NodeSettings) -> Result<(), Failure> {
    let world =
        World { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy::new()), disk: Arc::new(RealDisk) };
    let runtime = ground::container_runtime(settings, &world).await?;
    let sandboxes = runtime.sandboxes().await?;
    if sandboxes.is_empty() {
        return Ok(());
    }
    println!("ending {} pods", sandboxes.len());
    let ended = futures::future::join_all(sandboxes.iter().map(|uid| runtime.remove_sandbox(uid))).await;
    for outcome in ended {
        outcome?;
    }
    Ok(())
}

/// Takes away what is mounted below the directories, the innermost first.
fn unmount(directories: &[&Path]) -> Result<(), Failure> {
    let text = std::fs::read_to_string("/proc/self/mountinfo")?;
    for path in mounts_below(&text, directories).into_iter().rev() {
        umount2(&path, MntFlags::MNT_DETACH)
            .map_err(|error| Failure::new(format!("cannot unmount {}: {error}", path.display())))?;
    }
    Ok(())
}

/// Mount points below the directories, in the order of their mounting.
fn mounts_below(mountinfo: &str, directories: &[&Path]) -> Vec<PathBuf> {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    // The kernel writes blanks as octal numbers.
    let points = points.map(|point| PathBuf::from(point.replace("\\040", " ").replace("\\134", "\\")));
    points.filter(|point| directories.iter().any(|dir| point.starts_with(dir) && point != dir)).collect()
}

/// Stops the process that has the data directory, and takes its lock.
fn stop_process(data: &Path) -> Result<NodeLock, Failure> {
    let mut waited = Duration::ZERO;
    let mut told = None;
    loop {
        let pid = match NodeLock::acquire(data) {
            Ok(lock) => return Ok(lock),
            Err(LockError::InUse { pid, .. }) => pid,
            Err(error) => return Err(error.into()),
        };
        let wanted = if waited < STOP_DEADLINE { Signal::SIGTERM } else { Signal::SIGKILL };
        if pid > 0 && told != Some((pid, wanted)) {
            println!("stopping process {pid}");
            kill(Pid::from_raw(pid), wanted)
                .map_err(|error| Failure::new(format!("cannot stop process {pid}: {error}")))?;
            told = Some((pid, wanted));
        }
        if waited > STOP_DEADLINE.saturating_mul(2) {
            return Err(Failure::new(format!("process {pid} does not end")));
        }
        std::thread::sleep(POLL);
        waited += POLL;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mounts_below_the_nodes_directories_are_taken() {
        let text = "22 1 0:1 / / rw - ext4 a b\n\
                    30 22 0:2 / /run/shoal rw - tmpfs a b\n\
                    31 30 0:3 / /run/shoal/ns/a/net rw - nsfs nsfs rw\n\
                    32 22 0:4 / /run/shoals/x rw - tmpfs a b\n\
                    33 22 0:5 / /data/a\\040b/merged rw - overlay a b\n";
        let found = mounts_below(text, &[Path::new("/run/shoal"), Path::new("/data/a b")]);
        assert_eq!(found, [Path::new("/run/shoal/ns/a/net"), Path::new("/data/a b/merged")]);
    }
}

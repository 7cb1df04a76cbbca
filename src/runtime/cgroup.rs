//! Control groups of pods: where they are (both hierarchies), why they were killed, and taking them away.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Where hierarchies are mounted.
const MOUNT: &str = "/sys/fs/cgroup";
/// Controllers of the old hierarchy that are looked at; those that are not mounted are passed over.
const V1_CONTROLLERS: [&str; 14] = [
    "memory",
    "cpu",
    "cpuacct",
    "cpu,cpuacct",
    "cpuset",
    "pids",
    "devices",
    "freezer",
    "blkio",
    "hugetlb",
    "perf_event",
    "net_cls",
    "net_prio",
    "systemd",
];
/// Attempts at removing a group whose last process is just going.
const REMOVE_ATTEMPTS: u32 = 50;
/// Between them.
const REMOVE_PAUSE: Duration = Duration::from_millis(2);

/// Whether the unified hierarchy is the one in use.
pub fn is_v2() -> bool {
    Path::new(MOUNT).join("cgroup.controllers").exists()
}

/// The directories of the group `path` (below the hierarchies' roots), one a hierarchy.
pub fn directories(path: &Path) -> Vec<PathBuf> {
    let path = path.strip_prefix("/").unwrap_or(path);
    let mount = Path::new(MOUNT);
    if is_v2() {
        return vec![mount.join(path)];
    }
    let controllers = V1_CONTROLLERS.iter().map(|name| mount.join(name)).chain([mount.join("unified")]);
    controllers.filter(|root| root.join("cgroup.procs").exists()).map(|root| root.join(path)).collect()
}

/// How often the kernel killed a process of the group for its memory limit.
pub fn oom_kills(path: &Path) -> u64 {
    let path = path.strip_prefix("/").unwrap_or(path);
    let file = if is_v2() {
        Path::new(MOUNT).join(path).join("memory.events")
    } else {
        Path::new(MOUNT).join("memory").join(path).join("memory.oom_control")
    };
    let text = fs::read_to_string(file).unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

/// Moves this process, or the one with `pid`, into the group; makes it where it is not there.
pub fn enter(path: &Path, pid: u32) -> io::Result<()> {
    for directory in directories(path) {
        fs::create_dir_all(&directory)?;
        prepare_cpuset(&directory);
        fs::write(directory.join("cgroup.procs"), pid.to_string())?;
    }
    Ok(())
}

/// A new group of the old cpuset hierarchy holds nobody before it is given processors and memory.
fn prepare_cpuset(directory: &Path) {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let mut missing = Vec::new();
        for level in directory.ancestors() {
            match fs::read_to_string(level.join(file)) {
                Ok(text) if text.trim().is_empty() => missing.push(level),
                Ok(text) => {
                    missing.iter().rev().for_each(|level| drop(fs::write(level.join(file), text.trim())));
                    break;
                }
                Err(_) => break,
            }
        }
    }
}

/// Kills what is in the group and the groups below it, and removes them all. A group that is not there is fine.
///
/// # Errors
/// Where processes do not go.
pub fn remove(path: &Path) -> io::Result<()> {
    let mut result = Ok(());
    for directory in directories(path) {
        result = remove_tree(&directory).and(result);
    }
    result
}

fn remove_tree(directory: &Path) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(directory) else { return Ok(()) };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_tree(&entry.path())?;
    }
    let mut attempts = 0;
    loop {
        match fs::remove_dir(directory) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if attempts == REMOVE_ATTEMPTS => return Err(error),
            Err(_) => kill_all(directory),
        }
        attempts += 1;
        std::thread::sleep(REMOVE_PAUSE);
    }
}

fn kill_all(directory: &Path) {
    let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    for pid in text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 1) {
        // It may have ended since.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

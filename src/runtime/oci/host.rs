//! What the OCI spec must know of this machine.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use super::{Device, Host};

/// Names of capabilities by their numbers (`linux/capability.h`).
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Reads it from `/proc`.
pub fn read(cgroup_v2: bool) -> Host {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let bits = bounding.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    let has = |(number, _): &(usize, &&str)| (bits >> number) & 1 == 1;
    let capabilities: BTreeSet<_> =
        CAPABILITIES.iter().enumerate().filter(has).map(|(_, name)| format!("CAP_{name}")).collect();
    let score = fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    Host { capabilities, oom_score_adj: score.trim().parse().unwrap_or(0), cgroup_v2, devices: Vec::new() }
}

/// The machine's device nodes, for privileged containers; terminals and what containers have of their own left out.
pub fn devices() -> Vec<Device> {
    let Ok(entries) = fs::read_dir("/dev") else { return Vec::new() };
    let own = ["null", "zero", "full", "random", "urandom", "tty", "console", "ptmx"];
    let device = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let found = entry.metadata().ok()?;
        let kind = match found.file_type() {
            kind if kind.is_char_device() => 'c',
            kind if kind.is_block_device() => 'b',
            _ => return None,
        };
        let number = found.rdev();
        (!own.contains(&name.as_str())).then(|| Device {
            path: format!("/dev/{name}"),
            kind,
            major: nix::sys::stat::major(number),
            minor: nix::sys::stat::minor(number),
            mode: found.mode() & 0o7777,
        })
    };
    entries.flatten().filter_map(device).collect()
}

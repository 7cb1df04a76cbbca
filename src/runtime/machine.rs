//! What the machine is: cores, memory, disk, names. Read once, at start.

use std::fs;
use std::path::Path;

use nix::sys::statvfs::statvfs;
use nix::sys::utsname::uname;

/// What was read. What cannot be read is zero or empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MachineFacts {
    /// Cores that this process may use.
    pub cpus: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes of the file system that `data` is on.
    pub disk_bytes: u64,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// The mainboard's id.
    pub system_uuid: String,
    /// Changes with every start of the machine.
    pub boot_id: String,
    /// E.g. `6.1.0-13-amd64`.
    pub kernel_version: String,
    /// E.g. `Debian GNU/Linux 12 (bookworm)`.
    pub os_image: String,
    /// As Kubernetes spells it: `amd64`, `arm64`.
    pub architecture: String,
}

/// Reads all of it; `data` is a directory on the disk that counts.
pub fn facts(data: &Path) -> MachineFacts {
    let kernel = uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default();
    MachineFacts {
        cpus: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64),
        memory_bytes: memory(&line_of("/proc/meminfo", "MemTotal:")),
        disk_bytes: statvfs(data).map_or(0, |fs| fs.blocks() * fs.fragment_size()),
        machine_id: text_of("/etc/machine-id"),
        system_uuid: text_of("/sys/class/dmi/id/product_uuid"),
        boot_id: text_of("/proc/sys/kernel/random/boot_id"),
        kernel_version: kernel,
        os_image: line_of("/etc/os-release", "PRETTY_NAME=").trim_matches('"').to_owned(),
        architecture: architecture(std::env::consts::ARCH).to_owned(),
    }
}

fn architecture(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `16384 kB` in bytes.
fn memory(text: &str) -> u64 {
    text.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
}

fn line_of(path: &str, prefix: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix(prefix)).unwrap_or_default().to_owned()
}

fn text_of(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_cores_memory_and_a_kernel() {
        let facts = facts(Path::new("/"));
        assert!(facts.cpus > 0 && facts.memory_bytes > 1 << 20 && facts.disk_bytes > 1 << 20);
        assert!(facts.kernel_version.contains('.'), "{}", facts.kernel_version);
        assert_eq!(memory("   16384 kB"), 16 << 20);
    }
}

/// Load of the last minute in thousandths of a core, as Linux counts it; `None` where it does not tell.
pub fn load_millicores() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    let (whole, part) = text.split_whitespace().next()?.split_once('.')?;
    let hundredths: u64 = part.get(..2)?.parse().ok()?;
    Some(whole.parse::<u64>().ok()? * 1000 + hundredths * 10)
}

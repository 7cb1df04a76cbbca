//! What a node needs of its machine, checked before anything is started, with a message for each lack.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};

use super::failure::Failure;
use crate::actors::settings::{NodeSettings, RuntimeKind};

/// Checks that the node can start here.
pub fn check(settings: &NodeSettings) -> Result<(), Failure> {
    port_is_free(settings.listen)?;
    if settings.runtime == RuntimeKind::Hollow {
        return Ok(());
    }
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::new(
            "running containers needs root: run `sudo shoal up`, or `shoal up --runtime hollow` to only try the API",
        ));
    }
    namespaces_are_there()?;
    overlay_is_there()?;
    nft_is_there()
}

/// Makes the data directory, private to this user.
pub fn data_directory(dir: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| {
        let advice = match error.kind() {
            ErrorKind::PermissionDenied => "; run as root, or name a directory of yours with --data",
            ErrorKind::StorageFull => "; the disk is full: free some space",
            ErrorKind::AlreadyExists => "; it is a file: name another with --data",
            _ => "",
        };
        Failure::new(format!("cannot make the data directory {}: {error}{advice}", dir.display()))
    })
}

fn port_is_free(listen: SocketAddr) -> Result<(), Failure> {
    let tcp = TcpListener::bind(listen).map(drop);
    tcp.and_then(|()| UdpSocket::bind(listen).map(drop)).map_err(|error| {
        let advice = match error.kind() {
            ErrorKind::AddrInUse => "; another process listens there: stop it, or choose another with --listen",
            ErrorKind::AddrNotAvailable => "; this machine has no such address: choose another with --listen",
            ErrorKind::PermissionDenied => "; ports below 1024 need root",
            _ => "",
        };
        Failure::new(format!("cannot listen on {listen}: {error}{advice}"))
    })
}

fn namespaces_are_there() -> Result<(), Failure> {
    for name in ["net", "ipc", "uts", "mnt", "pid"] {
        if !Path::new("/proc/self/ns").join(name).exists() {
            return Err(Failure::new(format!(
                "this kernel has no {name} namespaces; containers need a kernel with CONFIG_NAMESPACES and CONFIG_{}_NS",
                name.to_uppercase()
            )));
        }
    }
    Ok(())
}

fn overlay_is_there() -> Result<(), Failure> {
    if has_overlay() {
        return Ok(());
    }
    let _ = Command::new("modprobe").arg("overlay").stderr(Stdio::null()).status();
    if has_overlay() {
        return Ok(());
    }
    Err(Failure::new(
        "this kernel has no overlay file system, which images are put together with; load the module `overlay`, or use \
         a kernel with CONFIG_OVERLAY_FS",
    ))
}

fn has_overlay() -> bool {
    std::fs::read_to_string("/proc/filesystems").is_ok_and(|text| text.lines().any(|line| line.ends_with("\toverlay")))
}

fn nft_is_there() -> Result<(), Failure> {
    match Command::new("nft").args(["list", "tables"]).stdout(Stdio::null()).stderr(Stdio::piped()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(Failure::new(format!(
            "nftables do not work here ({}); use a kernel with CONFIG_NF_TABLES",
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Failure::new(
            "the program `nft` is missing, which host ports and the way out of pods are set up with: `apt install \
             nftables`",
        )),
        Err(error) => Err(Failure::new(format!("cannot run `nft`: {error}"))),
    }
}

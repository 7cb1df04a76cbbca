//! Starts the zygote when the first pod needs a shim, and asks it for shims.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use super::client::Connection;
use super::layout::system;
use crate::runtime::shim::wire::{Reply, Spawn};
use crate::runtime::{Error, cgroup};

/// Times that a shim is asked for: the zygote may have been killed since the last time.
const ATTEMPTS: u32 = 2;

/// The zygote, where there is one.
pub(super) struct Zygote {
    binary: PathBuf,
    cgroup: PathBuf,
    running: Mutex<Option<Running>>,
}

struct Running {
    connection: Connection,
    /// Held so that it is reaped; it ends when the connection does.
    _process: Child,
}

impl Zygote {
    /// None is started yet. Shims live in `cgroup`, so that they stay when the node's service is stopped.
    pub(super) fn new(binary: PathBuf, cgroup: PathBuf) -> Self {
        Self { binary, cgroup, running: Mutex::new(None) }
    }

    /// Makes a shim that listens in `directory`.
    pub(super) async fn spawn(&self, directory: &Path) -> Result<(), Error> {
        let spawn = Spawn { directory: directory.to_owned() };
        let mut running = self.running.lock().await;
        for _ in 0..ATTEMPTS {
            let zygote = match running.as_mut() {
                Some(zygote) => zygote,
                None => running.insert(self.start()?),
            };
            match zygote.connection.ask(&spawn).await? {
                Some(Reply::Done) => return Ok(()),
                Some(Reply::Failed(reason)) => {
                    return Err(Error::System(format!("cannot start a pod's shim: {reason}")));
                }
                _ => *running = None,
            }
        }
        Err(Error::System("cannot start a pod's shim: the process that makes them ends at once".to_owned()))
    }

    fn start(&self) -> Result<Running, Error> {
        let failed = |error: std::io::Error| system("start the process that makes shims", &error);
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
            .map_err(|error| failed(error.into()))?;
        set_nonblocking(&ours).map_err(|error| failed(error.into()))?;
        let process = Command::new(&self.binary)
            .arg("shim")
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .map_err(failed)?;
        if let Some(pid) = process.id() {
            cgroup::enter(&self.cgroup, pid).map_err(failed)?;
        }
        Ok(Running { connection: Connection::wrap(ours)?, _process: process })
    }
}

fn set_nonblocking(fd: &OwnedFd) -> nix::Result<()> {
    let flags = OFlag::from_bits_truncate(fcntl(fd.as_fd(), FcntlArg::F_GETFL)?);
    fcntl(fd.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

//! Messages between node, zygote and shims: JSON packets on `SOCK_SEQPACKET` sockets, with file descriptors beside them.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::path::PathBuf;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recv, recvmsg, sendmsg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::runtime::{Exit, Phase};

/// Largest packet: a socket's default send buffer holds it.
pub const MESSAGE_BYTES: usize = 128 << 10;
/// File descriptors beside one packet, at most.
const FDS: usize = 4;

/// What the zygote is asked: a shim for the pod whose directory this is. It answers with a [`Reply`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Spawn {
    /// The pod's directory; the shim listens on `shim.sock` in it.
    pub directory: PathBuf,
}

/// Name of the socket in a pod's directory.
pub const SOCKET: &str = "shim.sock";

/// What a shim is asked; one request a connection. Containers go by the names of their directories.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Make and start a container. Answered when its program runs.
    Start(Box<Start>),
    /// Signal its first process.
    Signal {
        /// Which.
        container: String,
        /// What.
        signal: i32,
    },
    /// Answered with [`Reply::Exited`] when it has ended.
    Wait {
        /// Which.
        container: String,
    },
    /// Answered with [`Reply::States`].
    States,
    /// Run another process; answered twice, with [`Reply::Running`] and [`Reply::ExecEnded`]. Closing the connection
    /// ends the process.
    Exec(Box<Exec>),
    /// Forget an ended container.
    Forget {
        /// Which.
        container: String,
    },
    /// Kill everything and end. Answered when all have ended.
    Stop,
    /// Kill every container unless this is asked again in time.
    Hold {
        /// In how many milliseconds; `None`: no more.
        within_ms: Option<u64>,
    },
}

/// A container to start; its directory has `config.json` (the OCI spec).
#[derive(Debug, Serialize, Deserialize)]
pub struct Start {
    /// Name of its directory below the pod's.
    pub container: String,
    /// The CRI log.
    pub log: PathBuf,
    /// Whether it gets a terminal.
    pub tty: bool,
    /// Directory of the image store's layers.
    pub layers: PathBuf,
    /// Its layers in there, topmost first.
    pub lower: Vec<String>,
    /// The writable directory.
    pub upper: PathBuf,
    /// overlayfs's own directory, on the same file system.
    pub work: PathBuf,
    /// Its cgroup below the hierarchies' roots.
    pub cgroup: PathBuf,
}

/// Another process. Without a terminal, standard input, output and error come beside the message.
#[derive(Debug, Serialize, Deserialize)]
pub struct Exec {
    /// In which container.
    pub container: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Whether it gets a terminal, whose master then comes beside [`Reply::Running`].
    pub tty: bool,
}

/// What a shim, or the zygote, answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Reply {
    /// Done.
    Done,
    /// Done; the process's id on the node.
    Running(i32),
    /// The container has ended.
    Exited(Exit),
    /// The exec has ended, with this code.
    ExecEnded(i32),
    /// Every container that was started here.
    States(Vec<(String, Phase)>),
    /// No such container.
    Unknown,
    /// It did not work.
    Failed(String),
}

/// Sends one packet.
pub fn send<T: Serialize>(socket: BorrowedFd<'_>, message: &T, fds: &[RawFd]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MESSAGE_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a command line or environment of over 128 KiB"));
    }
    let rights = [ControlMessage::ScmRights(fds)];
    let control = if fds.is_empty() { &[][..] } else { &rights[..] };
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(&bytes)], control, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Receives one packet and what came beside it; `None` when the other side has closed.
pub fn receive<T: DeserializeOwned>(socket: BorrowedFd<'_>) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let fd = socket.as_raw_fd();
    let length = recv(fd, &mut [], MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC)?;
    if length == 0 || length > MESSAGE_BYTES {
        return Ok(None);
    }
    let mut bytes = vec![0; length];
    let mut control = nix::cmsg_space!([RawFd; FDS]);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let message = recvmsg::<()>(fd, &mut parts, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = part {
            // SAFETY: the kernel has just made these descriptors for this process; nothing else owns them.
            fds.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    Ok(Some((serde_json::from_slice(&bytes)?, fds)))
}

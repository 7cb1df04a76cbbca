//! Talks to a pod's shim.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use serde::Serialize;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::layout::{Pod, system};
use crate::runtime::Error;
use crate::runtime::shim::wire::{Reply, SOCKET, receive, send};

/// One request's connection.
pub(super) struct Connection {
    socket: AsyncFd<OwnedFd>,
}

impl Connection {
    /// Connects; `None` where no shim listens.
    pub(super) async fn open(pod: &Pod) -> Result<Option<Self>, Error> {
        let directory = match File::open(&pod.directory) {
            Ok(directory) => directory,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(system("open a pod's directory", &error)),
        };
        // By way of the open directory: the path itself may be longer than a socket's address can be.
        let path = format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd());
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).map_err(failed)?;
        let address = UnixAddr::new(path.as_str()).map_err(failed)?;
        loop {
            match connect(socket.as_raw_fd(), &address) {
                Ok(()) => break,
                Err(Errno::ENOENT | Errno::ECONNREFUSED) => return Ok(None),
                // The shim's backlog is full for the moment.
                Err(Errno::EAGAIN) => tokio::task::yield_now().await,
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(Some(Self::wrap(socket)?))
    }

    /// Takes an open socket.
    pub(super) fn wrap(socket: OwnedFd) -> Result<Self, Error> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        // SAFETY: an `OwnedFd` keeps its descriptor open, and the same one, for as long as it lives.
        let socket = unsafe { AsyncFd::register_with_interest(socket, interest) };
        let socket = socket.map_err(|error| system("watch a socket", &error.into()))?;
        Ok(Self { socket })
    }

    /// Sends a request and waits for its answer; `None` where the shim goes meanwhile.
    pub(super) async fn ask<T: Serialize>(&mut self, request: &T) -> Result<Option<Reply>, Error> {
        self.send(request, &[]).await?;
        Ok(self.receive().await?.map(|(reply, _)| reply))
    }

    /// Sends one packet with descriptors.
    pub(super) async fn send<T: Serialize>(&self, message: &T, fds: &[RawFd]) -> Result<(), Error> {
        let sent = self.socket.async_io(Interest::WRITABLE, |socket| send(socket.as_fd(), message, fds)).await;
        match sent {
            // The answer, which does not come, tells.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Err(Error::Config(error.to_string())),
            other => other.map_err(|error| system("talk to a pod's shim", &error)),
        }
    }

    /// Receives one packet; `None` at the end.
    pub(super) async fn receive(&self) -> Result<Option<(Reply, Vec<OwnedFd>)>, Error> {
        match self.socket.async_io(Interest::READABLE, |socket| receive::<Reply>(socket.as_fd())).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            other => other.map_err(|error| system("hear from a pod's shim", &error)),
        }
    }
}

fn failed(error: Errno) -> Error {
    system("reach a pod's shim", &error.into())
}

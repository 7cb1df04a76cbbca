//! `shoal log-pump PATH`: writes what containerd's shim hands over (standard output on descriptor 3, standard error on
//! 4) as a CRI log. It is started by containerd, so that output is kept while no node process runs.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd as _, OwnedFd};
use std::path::Path;
use std::process::ExitCode;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::cri::Stream;
use super::writer::{LogWriter, Rotation};
use crate::world::clock::{Clock as _, SystemClock};

/// Bytes that are read at once.
const READ_BYTES: usize = 16 << 10;

/// Runs the command; `args` are those after `log-pump`.
pub fn main(args: &[OsString]) -> ExitCode {
    match args.first().map(|path| run(Path::new(path))) {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(error)) => {
            eprintln!("shoal log-pump: {error}");
            ExitCode::FAILURE
        }
        None => ExitCode::FAILURE,
    }
}

fn run(path: &Path) -> io::Result<()> {
    ignore_sigterm()?;
    let mut writer = LogWriter::open(path, Rotation::default())?;
    let [stdout, stderr, ready] = inherited()?;
    // Closing it tells the shim that it may start the container.
    drop(ready);
    let mut sources = vec![(Stream::Stdout, stdout), (Stream::Stderr, stderr)];
    let mut buffer = vec![0; READ_BYTES];
    while !sources.is_empty() {
        let mut fds: Vec<_> = sources.iter().map(|(_, fd)| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
        match poll(&mut fds, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            other => other?,
        };
        let readable: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        let mut readable = readable.into_iter();
        sources.retain(|(stream, fd)| {
            !readable.next().unwrap_or(false) || copy(&mut writer, *stream, fd.as_fd(), &mut buffer)
        });
    }
    writer.finish(SystemClock.now())
}

/// Whether the source goes on.
fn copy(writer: &mut LogWriter, stream: Stream, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> bool {
    match nix::unistd::read(fd, buffer) {
        Ok(0) | Err(nix::errno::Errno::EIO) => false,
        Ok(count) => {
            // A full disk loses lines, but must not end or block the container.
            let _ = writer.write(SystemClock.now(), stream, buffer.get(..count).unwrap_or_default());
            true
        }
        Err(nix::errno::Errno::EINTR | nix::errno::Errno::EAGAIN) => true,
        Err(_) => false,
    }
}

/// containerd sends SIGTERM when the container is deleted; the end of the output comes then too, and is what counts.
fn ignore_sigterm() -> io::Result<()> {
    use nix::sys::signal::{SigHandler, Signal, signal};
    // SAFETY: no handler runs; the signal is only ignored.
    unsafe { signal(Signal::SIGTERM, SigHandler::SigIgn) }?;
    Ok(())
}

fn inherited() -> io::Result<[OwnedFd; 3]> {
    for fd in 3..6 {
        // SAFETY: fcntl only looks at the number; this says whether the descriptor is open.
        if unsafe { nix::libc::fcntl(fd, nix::libc::F_GETFD) } < 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "to be started by containerd's shim only"));
        }
    }
    // SAFETY: the descriptors are open (checked above) and nothing else in this fresh process owns them.
    Ok([3, 4, 5].map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }))
}

//! The process that every shim is a fork of. It ends when the node process does; its shims stay.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::{ForkResult, fork, setsid};

use super::wire::{Reply, Spawn, receive, send};

/// Serves requests for shims on standard input, which is one end of a socket pair.
pub(super) fn run() -> io::Result<()> {
    // Shims that end need no one to wait for them.
    // SAFETY: no handler runs; the signal's disposition only changes.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }?;
    let stdin = io::stdin();
    let control = stdin.as_fd();
    loop {
        match receive::<Spawn>(control) {
            Ok(Some((spawn, _))) => serve(control, &spawn)?,
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn serve(control: BorrowedFd<'_>, spawn: &Spawn) -> io::Result<()> {
    // SAFETY: this process has one thread, so the child may run any code.
    match unsafe { fork() } {
        Ok(ForkResult::Parent { .. }) => Ok(()),
        Ok(ForkResult::Child) => {
            let code = i32::from(become_shim(control, spawn).is_err());
            std::process::exit(code)
        }
        Err(error) => send(control, &Reply::Failed(format!("cannot fork: {error}")), &[]),
    }
}

/// Turns this process into a pod's shim; the requester hears when it listens.
fn become_shim(control: BorrowedFd<'_>, spawn: &Spawn) -> io::Result<()> {
    setsid()?;
    // SAFETY: as above; the shim waits for its children itself.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
    match super::pod::Pod::open(&spawn.directory) {
        Ok(pod) => {
            send(control, &Reply::Done, &[])?;
            silence()?;
            pod.run()
        }
        Err(error) => send(control, &Reply::Failed(error.to_string()), &[]),
    }
}

/// Lets go of what was inherited: the control socket, and a terminal or pipe of the node process.
fn silence() -> io::Result<()> {
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(())
}

//! The process that owns a pod's containers, so that they, their logs and their exit codes outlive the node process.
//!
//! The node starts one *zygote* (`shoal shim`, this same binary) and asks it over a socket for a shim per pod; each is a
//! fork of the zygote, so that it costs few pages of its own and no time to load. A shim (`pod.rs`) is one thread around
//! `poll`: it listens on a socket in its pod's directory, holds the pipes of its containers and reaps them. Everything
//! that allocates much or can go wrong (`launch.rs`: mounts, namespaces, cgroups through `libcontainer`) happens in a
//! short-lived fork of the shim. `wire.rs` is what travels on the sockets.

mod executor;
mod launch;
mod pod;
mod state;
pub mod wire;
mod zygote;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs `shoal shim`. To be called before any thread is started; `args` are those after `shim`.
pub fn main(_args: &[OsString]) -> ExitCode {
    match zygote::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shoal shim: {error}");
            ExitCode::FAILURE
        }
    }
}

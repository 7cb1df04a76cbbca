//! A new beginning of the same process: what can only be done while no store is open, then the program once more, with the
//! same words. Nothing of the former tree can be left over that way, and containers notice as little as of any restart.

use std::convert::Infallible;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use crate::actors::node::boot;
use crate::actors::node::restart::Restart;
use crate::actors::settings::NodeSettings;
use crate::cli::failure::Failure;

/// This program where its file was replaced since.
const PROGRAM: &str = "/proc/self/exe";

/// Does what `restart` asks for and begins anew; returns only where that is impossible.
pub fn run(settings: &NodeSettings, restart: &Restart) -> Result<ExitCode, Failure> {
    match restart {
        Restart::Recover(rebuild) => match boot::rebuild(settings, rebuild) {
            Ok(revision) => tracing::warn!(%revision, "this node is the only voter of its cluster now"),
            // It starts as it was then.
            Err(error) => tracing::error!(failure = Failure::from(error).message(), "the quorum was not rebuilt"),
        },
        Restart::Rejoin => {}
    }
    eprintln!("starting again; containers keep running");
    match begin()? {}
}

fn begin() -> Result<Infallible, Failure> {
    let mut words = std::env::args_os();
    let program = std::env::current_exe().ok().filter(|path| path.exists());
    let mut command = Command::new(program.unwrap_or_else(|| PROGRAM.into()));
    if let Some(name) = words.next() {
        command.arg0(name);
    }
    Err(Failure::from(command.args(words).exec()).context("the program cannot be started again"))
}

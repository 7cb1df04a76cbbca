//! The command line.
//!
//! `arguments` is what can be typed, `failure` how a command ends badly; every command has its room: `up` and `down`
//! a node, the rest a client of the API.

mod arguments;
mod down;
mod failure;
mod lock;
mod logging;
mod preflight;
pub mod settings;
mod toolbox;
mod up;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};
use failure::Failure;

/// Runs the command line and says how the process should end: 0 done, 1 failed, 2 mistyped.
pub fn run() -> ExitCode {
    let typed: Vec<_> = std::env::args_os().collect();
    if let Some(code) = toolbox::called_by_name(&typed).or_else(|| toolbox::called_as_command(&typed)) {
        return code;
    }
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    if let Some(code) = crate::runtime::hidden_command(&args) {
        return code;
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match dispatch(arguments) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn dispatch(arguments: Arguments) -> Result<ExitCode, Failure> {
    // Both providers of cryptography may be linked; the first call decides, later ones change nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match arguments.command {
        Command::Up(flags) => up::run(flags),
        Command::Down(flags) => down::run(&flags),
        Command::Version => {
            println!("shoal {}", env!("CARGO_PKG_VERSION"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

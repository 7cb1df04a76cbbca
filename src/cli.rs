//! The command line.
//!
//! `arguments` is what can be typed, `failure` how a command ends badly; every command has its room: `up` and `down`
//! a node, the rest a client of the API.

mod actors;
mod apply;
mod arguments;
mod authority;
mod backup;
mod chaos;
mod client;
mod control;
mod delete;
mod describe;
mod down;
mod exec;
mod failure;
mod get;
mod image;
mod leave;
mod lock;
mod logging;
mod logs;
mod members;
mod preflight;
mod reader;
mod recover;
pub mod settings;
mod sim;
mod started;
mod status;
mod token;
mod toolbox;
mod up;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};
use failure::Failure;

/// Runs the command line and says how the process should end: 0 done, 1 failed, 2 mistyped.
pub fn run() -> ExitCode {
    let typed: Vec<_> = std::env::args_os().collect();
    if let Some(code) = before_clap(&typed) {
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

/// What must find no other thread and nothing of a node set up: programs of the toolbox, by the name of the process or
/// as `shoal toolbox`, and the commands that this binary gives itself.
fn before_clap(typed: &[OsString]) -> Option<ExitCode> {
    let (called, rest) = typed.split_first()?;
    toolbox::by_name(called, rest).or_else(|| match rest {
        [word, rest @ ..] if word == "toolbox" => Some(toolbox::run(rest)),
        _ => crate::runtime::hidden_command(rest),
    })
}

fn dispatch(arguments: Arguments) -> Result<ExitCode, Failure> {
    // Both providers of cryptography may be linked; the first call decides, later ones change nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Whoever has things to remove at the end must come to it.
    if !matches!(arguments.command, Command::Up(_) | Command::Down(_) | Command::Chaos(_)) {
        reader::end_quietly_without();
    }
    match arguments.command {
        Command::Up(flags) => up::run(flags),
        Command::Down(flags) => down::run(&flags),
        Command::Apply(flags) => apply::run(&flags),
        Command::Get(flags) => get::run(&flags),
        Command::Describe(flags) => describe::run(&flags),
        Command::Logs(flags) => logs::run(&flags),
        Command::Exec(flags) => exec::run(&flags),
        Command::Delete(flags) => delete::run(&flags),
        Command::Image(flags) => image::run(&flags),
        Command::Sim(flags) => sim::run(&flags),
        Command::Chaos(flags) => chaos::run(&flags),
        Command::Status(flags) => status::run(&flags),
        Command::Token(flags) => token::run(&flags),
        Command::Authority(flags) => authority::run(&flags),
        Command::Control(flags) => actors::run(&flags),
        Command::Members(flags) => members::run(&flags),
        Command::Backup(flags) => backup::run(&flags),
        Command::Restore(flags) => backup::restore(&flags),
        Command::Recover(flags) => recover::run(&flags),
        Command::Leave(flags) => leave::run(&flags),
        // Caught before: the toolbox reads its own arguments.
        Command::Toolbox => Ok(ExitCode::SUCCESS),
        Command::Version => {
            println!("shoal {}", env!("CARGO_PKG_VERSION"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

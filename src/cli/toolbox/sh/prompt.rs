//! The shell at a terminal.

use std::io::{self, Read, Write};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::cli::toolbox::Outcome;
use crate::cli::toolbox::failure::Failure;

use super::parser;
use super::run::{Files, Flow};
use super::state::Shell;
use super::syntax::Wrong;

/// Longest command that can be typed, in bytes.
const COMMAND_BYTES: usize = 256 * 1024;

extern "C" fn interrupted(_: i32) {}

/// Reads commands and runs them until the input ends.
pub(super) fn talk(mut shell: Shell, files: &Files) -> Outcome {
    // A handler rather than "ignore", which programs would inherit; without restart, so that Ctrl-C ends a read.
    let action = SigAction::new(SigHandler::Handler(interrupted), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing, so it cannot touch what it interrupts.
    unsafe { sigaction(Signal::SIGINT, &action) }.map_err(Failure::at("signals"))?;
    let mut typed = String::new();
    loop {
        let sign = if typed.is_empty() { prompt(&shell) } else { "> ".to_owned() };
        files.out().write_all(sign.as_bytes())?;
        match read_line(files)? {
            Line::Interrupted => {
                typed.clear();
                files.out().write_all(b"\n")?;
                continue;
            }
            Line::End => return Ok(shell.status),
            Line::Text(line) => typed.push_str(&line),
        }
        match parser::parse(&typed) {
            Err(Wrong::Unfinished) if typed.len() < COMMAND_BYTES => continue,
            Err(wrong) => {
                files.complain(&wrong.to_string());
                shell.status = 2;
            }
            Ok(list) if shell.list(&list, files) == Flow::Exit => return Ok(shell.status),
            Ok(_) => {}
        }
        typed.clear();
    }
}

fn prompt(shell: &Shell) -> String {
    let sign = if nix::unistd::geteuid().is_root() { '#' } else { '$' };
    format!("{} {sign} ", shell.directory.display())
}

enum Line {
    /// With its end.
    Text(String),
    /// Ctrl-C
    Interrupted,
    /// Ctrl-D, or the terminal went away.
    End,
}

fn read_line(files: &Files) -> io::Result<Line> {
    let mut bytes = Vec::new();
    // A terminal gives at most a line; a pipe more, so one byte is asked for: programs read what follows.
    let mut byte = [0];
    while bytes.len() < COMMAND_BYTES {
        match files.input().read(&mut byte) {
            Ok(0) if bytes.is_empty() => return Ok(Line::End),
            Ok(0) => break,
            Ok(_) => bytes.extend(byte),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Line::Interrupted),
            Err(error) => return Err(error),
        }
        if byte == *b"\n" {
            break;
        }
    }
    Ok(Line::Text(String::from_utf8_lossy(&bytes).into_owned()))
}

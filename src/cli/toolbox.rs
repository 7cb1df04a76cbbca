//! `shoal toolbox`: small programs for the built-in image, in one binary that is called by many names.
//!
//! `flags` reads their arguments; `serve`, `files`, `process`, `fetch` hold the programs; `shell` is `sh`. None of them
//! starts a tokio runtime: they must be there at once.

mod fetch;
mod files;
mod flags;
mod process;
mod serve;
mod shell;

use std::ffi::OsString;
use std::process::ExitCode;

use flags::Flags;

/// A program: its arguments in, its exit code out, or what went wrong.
type Program = fn(&[String]) -> Result<u8, String>;

/// Every program: name, arguments, what it does.
const PROGRAMS: &[(&str, &str, &str, Program)] = &[
    (
        "http-echo",
        "[--port 8080] [--text TEXT] [--status 200] [--ready-after S]",
        "answer every request with a text",
        serve::http_echo,
    ),
    ("tcp-echo", "[--port 7000]", "send back what comes", serve::tcp_echo),
    ("http-get", "URL", "print what a URL answers; fails on status 400 and above", fetch::get),
    ("wget", "[-q] [-O -] URL", "the same", fetch::get),
    ("sleep", "SECONDS|forever", "wait", process::sleep),
    ("crash", "[--after S] [--code N]", "end with a failure", process::crash),
    ("signal", "", "print every signal that comes; TERM ends it", process::signals),
    ("write-loop", "[--interval S] [--text TEXT] [--count N]", "print numbered lines for ever", process::write_loop),
    ("true", "", "succeed", |_| Ok(0)),
    ("false", "", "fail", |_| Ok(1)),
    ("env", "", "print the environment", process::env),
    ("hostname", "", "print the host name", process::hostname),
    ("date", "", "print the time", process::date),
    ("id", "", "print user and groups", process::id),
    ("kill", "[-SIGNAL] PID...", "send a signal", process::kill),
    ("ps", "", "print processes", process::ps),
    ("echo", "[-n] TEXT...", "print a text", process::echo),
    ("cat", "[FILE...]", "print files", files::cat),
    ("ls", "[-l] [-a] [PATH...]", "print names", files::ls),
    ("touch", "FILE...", "make files", files::touch),
    ("mkdir", "[-p] DIR...", "make directories", files::mkdir),
    ("rm", "[-r] [-f] PATH...", "remove files", files::rm),
    ("sh", "[-c SCRIPT [NAME ARGS...]] [FILE]", "a small shell", shell::main),
];

/// Runs the program that the process was called as (`/bin/sh` as a link to this binary, say); `None` where it was
/// called by another name.
pub fn called_by_name(arguments: &[OsString]) -> Option<ExitCode> {
    let called = arguments.first()?.to_str()?;
    let name = called.rsplit('/').next()?.trim_start_matches('-');
    let program = find(name)?;
    Some(end(name, program(&texts(arguments.get(1..)?))))
}

/// Runs `shoal toolbox NAME ...`; `None` where the first words are others.
pub fn called_as_command(arguments: &[OsString]) -> Option<ExitCode> {
    let [_, command, rest @ ..] = arguments else { return None };
    if command != "toolbox" {
        return None;
    }
    let words = texts(rest);
    let Some((name, rest)) = words.split_first() else {
        print!("{}", help());
        return Some(ExitCode::SUCCESS);
    };
    if matches!(name.as_str(), "-h" | "--help" | "help") {
        print!("{}", help());
        return Some(ExitCode::SUCCESS);
    }
    let Some(program) = find(name) else {
        eprintln!("error: the toolbox has no {name:?}; `shoal toolbox` lists what it has");
        return Some(ExitCode::from(2));
    };
    Some(end(name, program(rest)))
}

/// Whether the toolbox has a program of this name.
fn has(name: &str) -> bool {
    find(name).is_some()
}

fn find(name: &str) -> Option<Program> {
    PROGRAMS.iter().find(|(known, ..)| *known == name).map(|(.., program)| *program)
}

fn end(name: &str, outcome: Result<u8, String>) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(message) => {
            eprintln!("{name}: {message}");
            ExitCode::FAILURE
        }
    }
}

fn texts(arguments: &[OsString]) -> Vec<String> {
    arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect()
}

fn help() -> String {
    let mut text = String::from("Small programs of the built-in image:\n\n");
    for (name, arguments, meaning, _) in PROGRAMS {
        text.push_str(&format!("  {:<72} {meaning}\n", format!("{name} {arguments}")));
    }
    text
}

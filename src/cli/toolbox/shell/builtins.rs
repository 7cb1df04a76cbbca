//! Commands that the shell does itself.

use std::io;
use std::os::unix::process::CommandExt;

use nix::sys::signal::Signal;

use super::run::{self, Flow, Outcome, Shell, complain};
use super::test_command;

/// Runs a command where the shell does it itself.
pub fn run(shell: &mut Shell, fields: &[String]) -> Option<Outcome> {
    let (name, arguments) = fields.split_first()?;
    let first = arguments.first().map(String::as_str);
    Some(match name.as_str() {
        ":" | "true" => Ok(0),
        "false" => Ok(1),
        "echo" => Ok(crate::cli::toolbox::process::echo(arguments).unwrap_or(1)),
        "exit" => Err(Flow::Exit(first.and_then(|code| code.parse().ok()).unwrap_or(shell.status))),
        "break" => Err(Flow::Break(first.and_then(|count| count.parse().ok()).unwrap_or(1))),
        "continue" => Err(Flow::Continue(first.and_then(|count| count.parse().ok()).unwrap_or(1))),
        "cd" => Ok(change_directory(shell, first)),
        "pwd" => Ok(print_directory()),
        "export" => Ok(export(shell, arguments)),
        "unset" => {
            arguments.iter().for_each(|name| shell.unset(name));
            Ok(0)
        }
        "shift" => {
            shell.shift(first.and_then(|count| count.parse().ok()).unwrap_or(1));
            Ok(0)
        }
        "set" => {
            shell.errexit = first.map_or(shell.errexit, |flag| flag.starts_with('-') && flag.contains('e'));
            Ok(0)
        }
        "exec" => exec(shell, arguments),
        "eval" => shell.run_text(&arguments.join(" ")),
        "wait" => Ok(shell.wait_all()),
        "read" => Ok(read(shell, arguments)),
        "trap" => Ok(trap(shell, arguments)),
        "[" | "test" => Ok(test_command::run(name, arguments)),
        _ => return None,
    })
}

fn change_directory(shell: &mut Shell, target: Option<&str>) -> u8 {
    let home = || shell.variable("HOME").unwrap_or_else(|| "/".into());
    let target = target.map_or_else(home, String::from);
    match std::env::set_current_dir(&target) {
        Ok(()) => {
            let here = std::env::current_dir().map(|dir| dir.display().to_string()).unwrap_or(target);
            shell.set("PWD", &here);
            0
        }
        Err(error) => complain("cd", &format!("{target}: {error}"), 1),
    }
}

fn print_directory() -> u8 {
    match std::env::current_dir() {
        Ok(dir) => {
            println!("{}", dir.display());
            0
        }
        Err(error) => complain("pwd", &error.to_string(), 1),
    }
}

fn export(shell: &mut Shell, arguments: &[String]) -> u8 {
    if arguments.is_empty() {
        for (name, value) in shell.environment() {
            println!("export {name}='{value}'");
        }
    }
    for argument in arguments {
        let (name, value) = argument.split_once('=').map_or((argument.as_str(), None), |(n, v)| (n, Some(v)));
        if let Some(value) = value {
            shell.set(name, value);
        }
        shell.export(name);
    }
    0
}

/// Replaces the shell by a program; without one, only its redirections were meant, which have been undone by then.
fn exec(shell: &mut Shell, arguments: &[String]) -> Outcome {
    let Some(name) = arguments.first() else { return Ok(0) };
    let error = shell.prepare(arguments, &[]).exec();
    Err(Flow::Exit(run::not_run(name, &error)))
}

fn read(shell: &mut Shell, names: &[String]) -> u8 {
    let mut line = String::new();
    let bytes = read_line(&mut line).unwrap_or(0);
    let mut rest = line.trim_end_matches('\n').trim_start();
    let names: Vec<&String> = names.iter().filter(|name| !name.starts_with('-')).collect();
    for (index, name) in names.iter().enumerate() {
        let last = index + 1 == names.len();
        let end = if last { rest.len() } else { rest.find(char::is_whitespace).unwrap_or(rest.len()) };
        let (word, more) = rest.split_at(end);
        shell.set(name, word);
        rest = more.trim_start();
    }
    u8::from(bytes == 0)
}

/// Reads one line byte by byte, so that what follows is left to others; its length, 0 at the end.
pub fn read_line(line: &mut String) -> io::Result<usize> {
    // Not by `io::stdin()`'s buffer, which would take more than the line.
    let mut bytes = Vec::new();
    let mut byte = [0u8];
    while nix::unistd::read(io::stdin(), &mut byte)? == 1 {
        bytes.extend(byte);
        if byte == *b"\n" {
            break;
        }
    }
    line.push_str(&String::from_utf8_lossy(&bytes));
    Ok(bytes.len())
}

fn trap(shell: &mut Shell, arguments: &[String]) -> u8 {
    let Some((script, signals)) = arguments.split_first() else { return 0 };
    for name in signals {
        let number = match name.as_str() {
            "EXIT" | "0" => Some(0),
            name => name
                .parse::<i32>()
                .ok()
                .or_else(|| format!("SIG{}", name.trim_start_matches("SIG")).parse::<Signal>().ok().map(|s| s as i32)),
        };
        let Some(number) = number else { return complain("trap", &format!("no signal {name}"), 1) };
        if script == "-" {
            shell.traps.remove(&number);
        } else {
            shell.traps.insert(number, script.clone());
            if let Ok(signal) = Signal::try_from(number) {
                run::on_term(signal);
            }
        }
    }
    0
}

//! What the shell does itself: what changes it, and small programs that need no process.

use std::io::{self, Read, Write};

use crate::cli::toolbox::failure::Failure;
use crate::cli::toolbox::{Main, Outcome, Streams, text, words};

use super::run::{Files, Flow};
use super::state::Shell;

const NAMES: &[&str] = &[
    ":", "[", "break", "cd", "continue", "echo", "exec", "exit", "export", "false", "pwd", "read", "set", "shift",
    "test", "true", "unset",
];

/// Whether the shell does `name` itself.
pub(super) fn is_one(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Does `name` and says what next and how it ended; `None` where it is a program.
pub(super) fn run(shell: &mut Shell, name: &str, words: &[String], files: &Files) -> Option<(Flow, u8)> {
    let outcome = match name {
        "exit" => return Some((Flow::Exit, exit(shell, words, files))),
        "break" => return Some((Flow::Break, 0)),
        "continue" => return Some((Flow::Continue, 0)),
        ":" | "true" | "set" | "exec" => Ok(0),
        "false" => Ok(1),
        "cd" => cd(shell, words),
        "pwd" => pwd(shell, files),
        "export" => {
            export(shell, words);
            Ok(0)
        }
        "unset" => {
            for name in words {
                shell.unset(name);
            }
            Ok(0)
        }
        "shift" => Ok(shift(shell)),
        "read" => read(shell, words, files),
        "echo" => applet(text::echo, words, files),
        "test" => applet(text::test, words, files),
        "[" => words::without_bracket(words.to_vec()).and_then(|words| applet(text::test, &words, files)),
        _ => return None,
    };
    let status = outcome.unwrap_or_else(|failure| {
        files.complain(&format!("sh: {name}: {failure}"));
        if matches!(failure, Failure::Usage(_)) { 2 } else { 1 }
    });
    Some((Flow::Next, status))
}

fn pwd(shell: &Shell, files: &Files) -> Outcome {
    files.out().write_all(
        format!(
            "{}
",
            shell.directory.display()
        )
        .as_bytes(),
    )?;
    Ok(0)
}

fn applet(main: Main, words: &[String], files: &Files) -> Outcome {
    // One write for the whole line, so that lines of a pipeline's parts do not mix.
    let mut out = Vec::new();
    let status = main(words, &mut Streams { input: &mut files.input(), out: &mut out })?;
    files.out().write_all(&out)?;
    Ok(status)
}

fn exit(shell: &mut Shell, words: &[String], files: &Files) -> u8 {
    let status = match words.first().map(|code| code.parse::<i64>()) {
        None => shell.status,
        // Only a byte of it reaches the parent.
        Some(Ok(code)) => u8::try_from(code.rem_euclid(256)).unwrap_or(u8::MAX),
        Some(Err(_)) => {
            files.complain("sh: exit: the code is no number");
            2
        }
    };
    shell.status = status;
    status
}

fn cd(shell: &mut Shell, words: &[String]) -> Outcome {
    let home = || shell.get("HOME").unwrap_or_else(|| "/".to_owned());
    let to = words.first().cloned().unwrap_or_else(home);
    let found = shell.path(&to).canonicalize().map_err(Failure::at(&to))?;
    if !found.is_dir() {
        return Err(Failure::At { what: to, source: io::ErrorKind::NotADirectory.into() });
    }
    shell.directory = found;
    Ok(0)
}

fn export(shell: &mut Shell, words: &[String]) {
    for word in words {
        let (name, value) = word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
        if let Some(value) = value {
            shell.set(name, value.to_owned());
        }
        shell.export(name);
    }
}

fn shift(shell: &mut Shell) -> u8 {
    if shell.arguments.len() < 2 {
        return 1;
    }
    shell.arguments.remove(1);
    0
}

/// Reads a line into variables, the last one gets the rest; 1 at the end of the input.
fn read(shell: &mut Shell, words: &[String], files: &Files) -> Outcome {
    let names: Vec<&String> = words.iter().filter(|word| *word != "-r").collect();
    let (line, ended) = line(files)?;
    let mut rest = line.trim();
    for (index, name) in names.iter().enumerate() {
        let (value, after) = match rest.split_once(char::is_whitespace) {
            Some((value, after)) if index + 1 < names.len() => (value, after.trim_start()),
            _ => (rest, ""),
        };
        shell.set(name, value.to_owned());
        rest = after;
    }
    Ok(u8::from(ended && line.is_empty()))
}

#[allow(clippy::unbuffered_bytes, reason = "a buffer would take what is not this line")]
/// A byte at a time: what follows the line belongs to whoever reads next.
fn line(files: &Files) -> io::Result<(String, bool)> {
    let mut bytes = Vec::new();
    for byte in files.input().bytes() {
        match byte? {
            b'\n' => return Ok((String::from_utf8_lossy(&bytes).into_owned(), false)),
            byte => bytes.push(byte),
        }
    }
    Ok((String::from_utf8_lossy(&bytes).into_owned(), true))
}

//! `sh`: enough of a POSIX shell to look around in a container and to run the scripts of manifests.
//!
//! `words` cuts text into words, `parse` makes commands of them, `expand` fills in variables, `run` carries commands
//! out, `builtins` are those that the shell does itself. There are no functions, here-documents, globs or job control.

mod builtins;
mod expand;
mod parse;
mod run;
mod test_command;
mod words;

use std::io::{BufRead, IsTerminal, Write};

use nix::sys::signal::Signal;

use run::{Flow, Shell};

/// Runs the shell.
pub fn main(arguments: &[String]) -> Result<u8, String> {
    let mut shell = Shell::new();
    let mut rest = arguments;
    while let [flag, more @ ..] = rest {
        match flag.as_str() {
            "-c" => {
                let [script, params @ ..] = more else { return Err("-c takes a script".into()) };
                shell.set_parameters(params.first().map_or("sh", String::as_str), params.get(1..).unwrap_or_default());
                run::on_term(Signal::SIGTERM);
                return Ok(script_text(&mut shell, script));
            }
            "-e" => shell.errexit = true,
            "-i" | "-l" | "-" | "--" => {}
            "-ec" | "-ce" => {
                shell.errexit = true;
                let [script, ..] = more else { return Err("-c takes a script".into()) };
                return Ok(script_text(&mut shell, script));
            }
            file if !file.starts_with('-') => {
                let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
                shell.set_parameters(file, more);
                run::on_term(Signal::SIGTERM);
                return Ok(script_text(&mut shell, &text));
            }
            flag => return Err(format!("unknown flag {flag}")),
        }
        rest = more;
    }
    Ok(converse(&mut shell))
}

fn script_text(shell: &mut Shell, text: &str) -> u8 {
    match parse::program(text) {
        Ok(program) => shell.run_program(&program),
        Err(error) => {
            eprintln!("sh: {}", error.message());
            2
        }
    }
}

/// Reads commands from standard input, with a prompt where a person types them.
fn converse(shell: &mut Shell) -> u8 {
    let interactive = std::io::stdin().is_terminal();
    if interactive {
        run::on_interrupt();
    }
    let mut text = String::new();
    loop {
        if interactive {
            prompt(text.is_empty());
        }
        // Unbuffered beyond the line: what a command reads must still be there for it.
        let mut line = String::new();
        let read =
            if interactive { std::io::stdin().lock().read_line(&mut line) } else { builtins::read_line(&mut line) };
        if read.is_ok_and(|bytes| bytes == 0) {
            return if text.trim().is_empty() { shell.leave() } else { script_text(shell, &text) };
        }
        text.push_str(&line);
        match parse::program(&text) {
            Err(parse::Error::Incomplete(_)) => continue,
            Err(error) => eprintln!("sh: {}", error.message()),
            Ok(program) => {
                if let Err(Flow::Exit(code)) = shell.run_list(&program) {
                    shell.status = code;
                    return shell.leave();
                }
            }
        }
        text.clear();
    }
}

fn prompt(first: bool) {
    let directory = std::env::current_dir().map(|dir| dir.display().to_string()).unwrap_or_default();
    let sign = if nix::unistd::geteuid().is_root() { '#' } else { '$' };
    if first {
        eprint!("{directory} {sign} ");
    } else {
        eprint!("> ");
    }
    let _ = std::io::stderr().flush();
}

#[cfg(test)]
mod tests;

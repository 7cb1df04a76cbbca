//! A small shell: `syntax` is what can be said, `lexer` and `parser` read it, `expand` makes words of words, `state` is
//! what a shell remembers, `builtin` what it does itself and `run` how it does the rest.
//!
//! Nothing forks: a part of a pipeline and a `$(...)` run in threads with a copy of the state, and files travel as
//! values, not as the process's descriptors. Programs of the toolbox and of the image are started as processes.
//! Not there: functions, `case`, here-documents, patterns in file names, `&`, `trap`.

mod builtin;
mod expand;
mod lexer;
mod parser;
mod prompt;
mod run;
mod state;
mod syntax;

use std::fs;
use std::io::{IsTerminal, Read};

use super::failure::Failure;
use super::{Outcome, Streams};
use run::Files;
use state::Shell;

/// Runs `-c` commands, a script, or what the input says; with a prompt where that is a terminal.
pub(super) fn main(words: &[String], _: &mut Streams) -> Outcome {
    let mut words = words.iter();
    let mut interactive = false;
    let mut first = words.next();
    // Flags that change nothing here, in front of the one that does.
    while let Some(flag) = first.filter(|word| matches!(word.as_str(), "-i" | "-l" | "-e" | "--login" | "-s")) {
        interactive |= flag == "-i";
        first = words.next();
    }
    let files = Files::of_process()?;
    match first.map(String::as_str) {
        Some("-c") => {
            let commands = words.next().ok_or_else(|| Failure::Usage("-c needs commands".to_owned()))?;
            let mut arguments: Vec<String> = words.cloned().collect();
            if arguments.is_empty() {
                arguments.push("sh".to_owned());
            }
            Ok(script(Shell::of_process(arguments)?, commands, &files))
        }
        Some(flag) if flag.starts_with('-') && flag != "-" => Err(Failure::Usage(format!("unknown flag {flag}"))),
        Some(file) if file != "-" => {
            let commands = fs::read_to_string(file).map_err(Failure::at(file))?;
            let arguments = std::iter::once(file.to_owned()).chain(words.cloned()).collect();
            Ok(script(Shell::of_process(arguments)?, &commands, &files))
        }
        _ => {
            let shell = Shell::of_process(vec!["sh".to_owned()])?;
            if interactive || std::io::stdin().is_terminal() {
                return prompt::talk(shell, &files);
            }
            let mut commands = String::new();
            std::io::stdin().read_to_string(&mut commands)?;
            Ok(script(shell, &commands, &files))
        }
    }
}

fn script(mut shell: Shell, commands: &str, files: &Files) -> u8 {
    match parser::parse(commands) {
        Ok(list) => shell.run_last(&list, files),
        Err(wrong) => {
            files.complain(&wrong.to_string());
            2
        }
    }
}

#[cfg(test)]
mod tests;

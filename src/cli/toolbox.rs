//! The small programs of the built-in image `shoal.local/toolbox`, all inside the one binary.
//!
//! `words` reads arguments, `failure` is how a program ends badly, `endings` answers signals. Every other room holds
//! programs: `serve` and `reach` the network, `load` things that wait, crash or eat, `files` and `text` the file
//! system, `system` and `processes` what the kernel tells, `sh` the shell. Standard library and system calls only: a
//! program starts in milliseconds, with no async runtime and little memory.

mod endings;
mod failure;
mod files;
mod load;
mod processes;
mod reach;
mod serve;
mod sh;
mod system;
mod text;
mod words;

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use failure::Failure;

/// Where a program reads and writes; its complaints go to the process's standard error.
struct Streams<'a> {
    input: &'a mut dyn Read,
    out: &'a mut dyn Write,
}

/// What a program ends with: its exit code, or why it failed.
type Outcome = Result<u8, Failure>;

type Main = fn(&[String], &mut Streams) -> Outcome;

/// A program: its name, the arguments it takes, and what it does.
type Applet = (&'static str, &'static str, Main);

const TABLE: &[Applet] = &[
    ("[", "EXPRESSION ]", text::test),
    ("cat", "[FILE...]", files::cat),
    ("cpu", "SECONDS", load::cpu),
    ("crash", "[--after DURATION] [--code N]", load::crash),
    ("date", "", system::date),
    ("df", "", system::df),
    ("echo", "[-n] [WORD...]", text::echo),
    ("env", "", system::env),
    ("false", "", text::no),
    ("grep", "[-v] [-c] [-i] [-q] TEXT [FILE...]", text::grep),
    ("head", "[-n LINES] [FILE...]", text::head),
    ("hostname", "", system::hostname),
    ("http-echo", "[--port 8080] [--text TEXT]", serve::http_echo),
    ("http-get", "[-q] [-O FILE] [-T SECONDS] URL", reach::http_get),
    ("id", "[-u | -g]", system::id),
    ("ip", "", system::ip),
    ("kill", "[-SIGNAL] PID...", processes::kill),
    ("ls", "[-a] [-l] [PATH...]", files::ls),
    ("mem", "MEBIBYTES", load::mem),
    ("mkdir", "[-p] DIRECTORY...", files::mkdir),
    ("mount", "", system::mount),
    ("nc", "HOST PORT", reach::tcp),
    ("nslookup", "NAME", reach::resolve),
    ("ps", "", processes::ps),
    ("pwd", "", system::pwd),
    ("resolve", "NAME", reach::resolve),
    ("rm", "[-r] [-f] PATH...", files::rm),
    ("sh", "[-c COMMANDS | FILE] [ARGUMENT...]", sh::main),
    ("signals", "[--linger DURATION]", endings::signals),
    ("sleep", "[DURATION | forever | infinity]", load::sleep),
    ("tail", "[-n LINES] [FILE...]", text::tail),
    ("tcp", "HOST PORT", reach::tcp),
    ("tcp-echo", "[--port 8080]", serve::tcp_echo),
    ("test", "EXPRESSION", text::test),
    ("touch", "FILE...", files::touch),
    ("true", "", text::yes),
    ("uname", "[-a] [-s] [-n] [-r] [-m]", system::uname),
    ("wc", "[-l] [-w] [-c] [FILE...]", text::wc),
    ("wget", "[-q] [-O FILE] [-T SECONDS] URL", reach::http_get),
    ("write-loop", "[--every 1s]", load::write_loop),
];

/// Every program's name: what gets a link in the image's `/bin`.
pub const APPLETS: &[&str] = &names();

#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler, where an iterator cannot be")]
const fn names() -> [&'static str; TABLE.len()] {
    let mut names = [""; TABLE.len()];
    let mut index = 0;
    while index < TABLE.len() {
        names[index] = TABLE[index].0;
        index += 1;
    }
    names
}

/// Runs the program that the first of `args` names (what follows `toolbox` on the command line).
///
/// Exit codes are the program's own; 2 for an unknown program or arguments it does not take.
pub fn run(args: &[OsString]) -> ExitCode {
    let Some((name, rest)) = args.split_first() else { return list() };
    match find(name) {
        Some(applet) => start(applet, rest),
        None => list(),
    }
}

/// Runs the program that the process was called as, where `argv0`'s last part is a program's name.
///
/// `args` is what follows `argv0`. A login shell's `-sh` is `sh`.
pub fn by_name(argv0: &OsStr, args: &[OsString]) -> Option<ExitCode> {
    find(Path::new(argv0).file_name()?).map(|applet| start(applet, args))
}

fn find(name: &OsStr) -> Option<&'static Applet> {
    let name = name.to_str()?;
    let name = name.strip_prefix('-').unwrap_or(name);
    TABLE.iter().find(|(known, _, _)| *known == name)
}

fn list() -> ExitCode {
    let _ = writeln!(io::stderr(), "usage: shoal toolbox PROGRAM [ARGUMENT...]\nprograms: {}", APPLETS.join(" "));
    ExitCode::from(2)
}

fn start((name, usage, main): &Applet, args: &[OsString]) -> ExitCode {
    let words: Vec<_> = args.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let words = if *name == "[" { words::without_bracket(words) } else { Ok(words) };
    let mut streams = Streams { input: &mut io::stdin(), out: &mut io::stdout() };
    let outcome = words.and_then(|words: Vec<String>| main(&words, &mut streams)).and_then(|code| {
        streams.out.flush()?;
        Ok(code)
    });
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(name, usage),
    }
}

#[cfg(test)]
mod tests;

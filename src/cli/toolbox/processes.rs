//! Programs about processes: ps, kill.

use std::fs;
use std::str::FromStr;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use super::failure::Failure;
use super::words;
use super::{Outcome, Streams};

/// Prints the processes that can be seen: number, parent, state and command.
pub(super) fn ps(_: &[String], streams: &mut Streams) -> Outcome {
    let entries = fs::read_dir("/proc").map_err(Failure::at("/proc"))?;
    let mut pids: Vec<u32> = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    writeln!(streams.out, "{:>7} {:>7} S COMMAND", "PID", "PPID")?;
    // A process that ended since is skipped.
    for (pid, (parent, state, command)) in pids.into_iter().filter_map(|pid| Some((pid, process(pid)?))) {
        writeln!(streams.out, "{pid:>7} {parent:>7} {state} {command}")?;
    }
    Ok(0)
}

fn process(pid: u32) -> Option<(String, String, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may contain anything, more parentheses too.
    let (front, back) = stat.rsplit_once(')')?;
    let mut fields = back.split_whitespace().map(str::to_owned);
    let (state, parent) = (fields.next()?, fields.next()?);
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    let command = match line.trim_end() {
        "" => format!("[{}]", front.split_once('(')?.1),
        line => line.to_owned(),
    };
    Some((parent, state, command))
}

/// Sends a signal, SIGTERM unless another is named (`-9`, `-KILL`, `-s KILL`; `-0` only asks).
pub(super) fn kill(words: &[String], _: &mut Streams) -> Outcome {
    let (signal, pids) = match words {
        [flag, name, pids @ ..] if flag == "-s" => (by_name(name)?, pids),
        [flag, pids @ ..] if flag.len() > 1 && flag.starts_with('-') => (by_name(flag.trim_start_matches('-'))?, pids),
        pids => (Some(Signal::SIGTERM), pids),
    };
    if pids.is_empty() {
        return Err(Failure::Usage("a process is missing".to_owned()));
    }
    for pid in pids {
        signal::kill(Pid::from_raw(words::number(pid)?), signal).map_err(Failure::at(pid))?;
    }
    Ok(0)
}

fn by_name(name: &str) -> Result<Option<Signal>, Failure> {
    let unknown = |_| Failure::Usage(format!("unknown signal {name}"));
    match name.parse::<i32>() {
        Ok(0) => Ok(None),
        Ok(number) => Signal::try_from(number).map(Some).map_err(unknown),
        Err(_) => {
            let name = name.to_ascii_uppercase();
            Signal::from_str(&format!("SIG{}", name.trim_start_matches("SIG"))).map(Some).map_err(unknown)
        }
    }
}

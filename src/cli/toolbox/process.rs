//! Small programs about processes: waiting, failing, signals, the environment.

use std::io::Write;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::Pid;

use super::Flags;
use super::flags::duration;
use crate::world::clock::{Clock, SystemClock};

/// Exit code of the handler that [`end_on_term`] installs.
static END_CODE: AtomicI32 = AtomicI32::new(0);

/// Ends the process with `code` on TERM and INT. The first process of a container has no default handlers: without
/// this it would have to be killed.
pub fn end_on_term(code: i32) {
    extern "C" fn end(_: nix::libc::c_int) {
        // SAFETY: `_exit` may be called in a signal handler (POSIX lists it as async-signal-safe).
        unsafe { nix::libc::_exit(END_CODE.load(Ordering::Relaxed)) }
    }
    END_CODE.store(code, Ordering::Relaxed);
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        install(signal, SigHandler::Handler(end));
    }
    // As the first process it inherits orphans: the kernel shall reap them.
    install(Signal::SIGCHLD, SigHandler::SigIgn);
}

fn install(signal: Signal, handler: SigHandler) {
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handlers of this file only call functions that are async-signal-safe.
    let _ = unsafe { sigaction(signal, &action) };
}

/// Waits some seconds, or for ever.
pub fn sleep(arguments: &[String]) -> Result<u8, String> {
    end_on_term(143);
    let text = arguments.first().map_or("", String::as_str);
    match text {
        "forever" | "infinity" | "inf" => loop {
            std::thread::park();
        },
        "" => Err("how long?".into()),
        text => {
            std::thread::sleep(duration(text)?);
            Ok(0)
        }
    }
}

/// Ends with a failure, after a while.
pub fn crash(arguments: &[String]) -> Result<u8, String> {
    let flags = Flags::parse(arguments, &["after", "code"])?;
    end_on_term(143);
    let after = flags.duration("after", Duration::ZERO)?;
    let code = flags.get("code", 1)?;
    eprintln!("crashing with code {code} after {after:?}");
    std::thread::sleep(after);
    Ok(code)
}

/// Prints every signal; TERM ends it.
pub fn signals(_: &[String]) -> Result<u8, String> {
    let mut set = SigSet::all();
    for fatal in [Signal::SIGKILL, Signal::SIGSTOP, Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE] {
        set.remove(fatal);
    }
    set.thread_block().map_err(|error| error.to_string())?;
    println!("waiting for signals");
    loop {
        let signal = set.wait().map_err(|error| error.to_string())?;
        println!("{signal}");
        if signal == Signal::SIGTERM {
            return Ok(0);
        }
    }
}

/// Prints numbered lines.
pub fn write_loop(arguments: &[String]) -> Result<u8, String> {
    let flags = Flags::parse(arguments, &["interval", "text", "count"])?;
    end_on_term(0);
    let interval = flags.duration("interval", Duration::from_secs(1))?;
    let text = flags.get("text", "line".to_string())?;
    let count: u64 = flags.get("count", u64::MAX)?;
    for number in 1..=count {
        println!("{text} {number}");
        std::io::stdout().flush().map_err(|error| error.to_string())?;
        std::thread::sleep(interval);
    }
    Ok(0)
}

/// Prints the environment.
pub fn env(_: &[String]) -> Result<u8, String> {
    for (name, value) in std::env::vars_os() {
        println!("{}={}", name.to_string_lossy(), value.to_string_lossy());
    }
    Ok(0)
}

/// Prints the host name.
pub fn hostname(_: &[String]) -> Result<u8, String> {
    println!("{}", host_name());
    Ok(0)
}

/// The host name; empty where there is none.
pub fn host_name() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Prints the time.
pub fn date(_: &[String]) -> Result<u8, String> {
    println!("{}", SystemClock.now().rfc3339());
    Ok(0)
}

/// Prints user and groups.
pub fn id(_: &[String]) -> Result<u8, String> {
    let groups = nix::unistd::getgroups().unwrap_or_default();
    let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
    println!("uid={} gid={} groups={}", nix::unistd::geteuid(), nix::unistd::getegid(), groups.join(","));
    Ok(0)
}

/// Prints a text.
pub fn echo(arguments: &[String]) -> Result<u8, String> {
    let (end, words) = match arguments {
        [first, rest @ ..] if first == "-n" => ("", rest),
        all => ("\n", all),
    };
    let mut out = std::io::stdout().lock();
    write!(out, "{}{end}", words.join(" ")).and_then(|()| out.flush()).map_err(|error| error.to_string())?;
    Ok(0)
}

/// Sends a signal.
pub fn kill(arguments: &[String]) -> Result<u8, String> {
    let mut signal = Signal::SIGTERM;
    for argument in arguments {
        if let Some(name) = argument.strip_prefix('-') {
            let by_number = name.parse::<i32>().ok().and_then(|number| Signal::try_from(number).ok());
            let by_name = || format!("SIG{}", name.trim_start_matches("SIG")).parse().ok();
            signal = by_number.or_else(by_name).ok_or_else(|| format!("no signal {name}"))?;
            continue;
        }
        let pid = argument.parse().map_err(|_| format!("no process {argument}"))?;
        nix::sys::signal::kill(Pid::from_raw(pid), signal).map_err(|error| format!("{argument}: {error}"))?;
    }
    Ok(0)
}

/// Prints processes.
pub fn ps(_: &[String]) -> Result<u8, String> {
    let entries = std::fs::read_dir("/proc").map_err(|error| format!("/proc: {error}"))?;
    let mut pids: Vec<u32> = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    println!("{:>7} COMMAND", "PID");
    for pid in pids {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        println!("{pid:>7} {}", words.join(" ").trim_end());
    }
    Ok(0)
}

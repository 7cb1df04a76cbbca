//! Signals, also as a container's first process, where the kernel drops what has no handler.
//!
//! A blocked signal is kept, first process or not; so signals are blocked and a thread waits for them. That needs no
//! handler, and with it no unsafe code.

use std::process;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

use super::failure::Failure;
use super::words::{self, Words};
use super::{Outcome, Streams};

/// Ends the process at once, with code 0, on SIGTERM or SIGINT. Call it before other threads start.
pub(super) fn on_term() -> Result<(), Failure> {
    let set = blocked([Signal::SIGTERM, Signal::SIGINT])?;
    thread::Builder::new().stack_size(64 * 1024).spawn(move || {
        let _ = set.wait();
        process::exit(0);
    })?;
    Ok(())
}

fn blocked(signals: impl IntoIterator<Item = Signal>) -> Result<SigSet, Failure> {
    let set: SigSet = signals.into_iter().collect();
    set.thread_block().map_err(Failure::at("signals"))?;
    Ok(set)
}

/// Prints every signal it gets; SIGTERM ends it, `--linger` later.
pub(super) fn signals(words: &[String], streams: &mut Streams) -> Outcome {
    let words = Words::read(words, &[], &["--linger"])?;
    let linger = words.value("--linger").map_or(Ok(Some(Duration::ZERO)), words::duration)?;
    // A fault (SIGSEGV and its kind) must end the process, and the two others cannot be caught.
    let deadly = [Signal::SIGKILL, Signal::SIGSTOP, Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL];
    let set = blocked(Signal::iterator().filter(|signal| !deadly.contains(signal)))?;
    writeln!(streams.out, "waiting for signals as process {}", process::id())?;
    loop {
        let signal = set.wait().map_err(Failure::at("signals"))?;
        writeln!(streams.out, "got {signal}")?;
        if signal == Signal::SIGTERM {
            match linger {
                Some(linger) => thread::sleep(linger),
                None => forever(),
            }
            return Ok(0);
        }
    }
}

/// Waits for a signal that ends the process.
pub(super) fn forever() -> ! {
    loop {
        thread::park();
    }
}

//! Programs that wait, crash, write or eat.

use std::hint::black_box;
use std::thread;
use std::time::Duration;

use crate::world::clock::{Clock, SystemClock};

use super::endings;
use super::failure::Failure;
use super::words::{self, Words};
use super::{Outcome, Streams};

const MEBIBYTE: usize = 1 << 20;

/// Waits, forever if nothing else is said; SIGTERM ends it at once with code 0.
pub(super) fn sleep(words: &[String], _: &mut Streams) -> Outcome {
    let words = Words::read(words, &[], &[])?;
    let time = if words.rest.is_empty() { None } else { words::duration(words.only("duration")?)? };
    endings::on_term()?;
    match time {
        Some(time) => thread::sleep(time),
        None => endings::forever(),
    }
    Ok(0)
}

/// Says a last word and fails.
pub(super) fn crash(words: &[String], streams: &mut Streams) -> Outcome {
    let words = Words::read(words, &[], &["--after", "--code"])?;
    let code = words.number("--code", 1)?;
    let after = words.value("--after").map_or(Ok(Some(Duration::ZERO)), words::duration)?;
    endings::on_term()?;
    match after {
        Some(after) => thread::sleep(after),
        None => endings::forever(),
    }
    writeln!(streams.out, "crashing with code {code}, as asked")?;
    Ok(code)
}

/// Prints numbered lines until it is stopped.
pub(super) fn write_loop(words: &[String], streams: &mut Streams) -> Outcome {
    let words = Words::read(words, &[], &["--every"])?;
    let every = words.value("--every").map_or(Ok(Some(Duration::from_secs(1))), words::duration)?;
    let every = every.ok_or_else(|| Failure::Usage("--every needs a finite duration".to_owned()))?;
    endings::on_term()?;
    for number in 1_u64.. {
        writeln!(streams.out, "line {number}")?;
        thread::sleep(every);
    }
    Ok(0)
}

/// Takes memory, one mebibyte after the other, and keeps it until it is stopped.
pub(super) fn mem(words: &[String], streams: &mut Streams) -> Outcome {
    let words = Words::read(words, &[], &[])?;
    let mebibytes: usize = words::number(words.only("number of mebibytes")?)?;
    endings::on_term()?;
    let mut held = Vec::new();
    for _ in 0..mebibytes {
        // Not zero: a zeroed page is not backed by memory before it is written.
        held.push(black_box(vec![1_u8; MEBIBYTE]));
    }
    writeln!(streams.out, "holding {mebibytes} MiB")?;
    black_box(&held);
    endings::forever()
}

/// Keeps one processor busy for a while.
pub(super) fn cpu(words: &[String], streams: &mut Streams) -> Outcome {
    let words = Words::read(words, &[], &[])?;
    let time = words::duration(words.only("number of seconds")?)?;
    endings::on_term()?;
    let (start, mut rounds) = (SystemClock.now(), 0_u64);
    while time.is_none_or(|time| SystemClock.now().since(start) < time) {
        for _ in 0..1_000_000 {
            rounds = black_box(rounds.wrapping_add(1));
        }
    }
    writeln!(streams.out, "counted to {rounds}")?;
    Ok(0)
}

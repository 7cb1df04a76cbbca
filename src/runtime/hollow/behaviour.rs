//! What a pretended container does, read from its command line and environment.

use std::time::Duration;

use crate::runtime::ContainerSpec;

/// Environment: milliseconds until the container ends by itself.
pub const EXIT_AFTER_MS: &str = "HOLLOW_EXIT_AFTER_MS";
/// Environment: the code it ends with (0 where unset).
pub const EXIT_CODE: &str = "HOLLOW_EXIT_CODE";
/// Environment: the container is killed for its memory when it ends.
pub const OOM: &str = "HOLLOW_OOM";
/// Environment: the text with which starting fails.
pub const FAIL_START: &str = "HOLLOW_FAIL_START";
/// Environment: the text with which creating fails.
pub const FAIL_CREATE: &str = "HOLLOW_FAIL_CREATE";
/// Environment: milliseconds that starting takes, instead of the machine's latency.
pub const START_MS: &str = "HOLLOW_START_MS";
/// Environment: milliseconds from SIGTERM to the end; `never` to ignore it.
pub const TERM_MS: &str = "HOLLOW_TERM_MS";
/// Environment: a line to print on standard output when started.
pub const PRINT: &str = "HOLLOW_PRINT";

/// A container's script.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Behaviour {
    /// Starting takes this long; the machine's own latency where `None`.
    pub start: Option<Duration>,
    /// Creating fails with this.
    pub fail_create: Option<String>,
    /// Starting fails with this.
    pub fail_start: Option<String>,
    /// Ends by itself after this long; `None` runs until it is signalled.
    pub ends_after: Option<Duration>,
    /// The code it ends with.
    pub exit_code: i32,
    /// The kernel kills it for its memory.
    pub oom: bool,
    /// SIGTERM ends it after this long; `None` ignores SIGTERM.
    pub term: Option<Duration>,
    /// Printed when started.
    pub prints: Vec<String>,
}

/// Reads the script of `spec`: the environment decides, then the words of the toolbox (`sleep 5`, `exit 3`,
/// `crash --after 2s`) and of a shell one-liner (`exit 3`).
pub fn of(spec: &ContainerSpec) -> Behaviour {
    let mut behaviour = from_words(&words(spec));
    for (name, value) in &spec.env {
        match name.as_str() {
            EXIT_AFTER_MS => behaviour.ends_after = millis(value),
            EXIT_CODE => behaviour.exit_code = value.parse().unwrap_or(1),
            OOM => behaviour.oom = value != "false",
            FAIL_START => behaviour.fail_start = Some(value.clone()),
            FAIL_CREATE => behaviour.fail_create = Some(value.clone()),
            START_MS => behaviour.start = millis(value),
            TERM_MS => behaviour.term = millis(value),
            PRINT => behaviour.prints.push(value.clone()),
            _ => {}
        }
    }
    behaviour
}

fn words(spec: &ContainerSpec) -> Vec<String> {
    spec.command
        .iter()
        .chain(&spec.args)
        .flat_map(|arg| arg.split([' ', ';', '&', '\n']))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

fn from_words(words: &[String]) -> Behaviour {
    let mut behaviour = Behaviour { term: Some(Duration::ZERO), ..Behaviour::default() };
    let mut slept = Duration::ZERO;
    let mut rest = words.iter().map(String::as_str).peekable();
    while let Some(word) = rest.next() {
        match word {
            "sleep" => match rest.next().unwrap_or_default() {
                "infinity" | "inf" => return behaviour,
                text => slept += seconds(text).unwrap_or_default(),
            },
            "exit" => {
                behaviour.exit_code = rest.next().and_then(|code| code.parse().ok()).unwrap_or(0);
                behaviour.ends_after = Some(slept);
                return behaviour;
            }
            "crash" => behaviour = crash(behaviour, &mut rest),
            "true" | "/bin/true" => behaviour.ends_after = Some(slept),
            "false" | "/bin/false" => {
                behaviour.exit_code = 1;
                behaviour.ends_after = Some(slept);
            }
            "echo" => behaviour.prints.extend(rest.peek().map(|text| (*text).to_owned())),
            _ => {}
        }
    }
    if !slept.is_zero() && behaviour.ends_after.is_none() {
        behaviour.ends_after = Some(slept);
    }
    behaviour
}

fn crash<'a>(mut behaviour: Behaviour, rest: &mut impl Iterator<Item = &'a str>) -> Behaviour {
    behaviour.exit_code = 1;
    behaviour.ends_after = Some(Duration::ZERO);
    let mut name = "";
    for word in rest {
        let (flag, value) = word.split_once('=').unwrap_or((name, word));
        match flag {
            "--after" => behaviour.ends_after = seconds(value),
            "--code" => behaviour.exit_code = value.parse().unwrap_or(1),
            _ => {}
        }
        name = word;
    }
    behaviour
}

fn millis(text: &str) -> Option<Duration> {
    text.parse().ok().map(Duration::from_millis)
}

/// `5`, `0.5`, `5s`, `200ms`, `1m`.
fn seconds(text: &str) -> Option<Duration> {
    let (number, unit) = match text.find(|c: char| c.is_ascii_alphabetic()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let scale = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    number.parse::<f64>().ok().and_then(|n| Duration::try_from_secs_f64(n * scale).ok())
}

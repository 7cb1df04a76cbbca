//! Arguments of small programs: `--name value`, `--name=value`, and the rest.

use std::str::FromStr;
use std::time::Duration;

/// Arguments, taken apart.
pub struct Flags {
    values: Vec<(String, String)>,
    /// What is no flag.
    pub rest: Vec<String>,
}

impl Flags {
    /// Takes arguments apart; each of `known` has a value.
    ///
    /// # Errors
    /// For a flag that is not known or lacks its value.
    pub fn parse(arguments: &[String], known: &[&str]) -> Result<Self, String> {
        let mut flags = Self { values: Vec::new(), rest: Vec::new() };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let Some(flag) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else {
                flags.rest.push(argument.clone());
                continue;
            };
            let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value.into())));
            if !known.contains(&name) {
                return Err(format!("unknown flag {argument}; known are {}", known.join(", ")));
            }
            let value =
                value.or_else(|| arguments.next().cloned()).ok_or_else(|| format!("{argument} takes a value"))?;
            flags.values.push((name.into(), value));
        }
        Ok(flags)
    }

    /// The value of a flag, or its default.
    ///
    /// # Errors
    /// Where the value is of another kind.
    pub fn get<T: FromStr>(&self, name: &str, default: T) -> Result<T, String> {
        match self.values.iter().rev().find(|(known, _)| known == name) {
            Some((_, value)) => value.parse().map_err(|_| format!("--{name} does not take {value:?}")),
            None => Ok(default),
        }
    }

    /// A duration, or its default.
    ///
    /// # Errors
    /// Where the value is no duration.
    pub fn duration(&self, name: &str, default: Duration) -> Result<Duration, String> {
        let text: String = self.get(name, String::new())?;
        if text.is_empty() { Ok(default) } else { duration(&text) }
    }
}

/// `5`, `0.5`, `5s`, `200ms`, `1m`, `2h`.
///
/// # Errors
/// Where the text is no duration.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    let scale = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("{text:?} is no duration")),
    };
    let seconds: f64 = number.parse().map_err(|_| format!("{text:?} is no duration"))?;
    Duration::try_from_secs_f64(seconds * scale).map_err(|_| format!("{text:?} is no duration"))
}

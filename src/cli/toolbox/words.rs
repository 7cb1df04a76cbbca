//! Reads the arguments of a program: flags with and without values, numbers and durations.

use std::time::Duration;

use super::failure::Failure;

/// Longest sleep that is not forever: a hundred years, far from where arithmetic on time overflows.
const LONGEST_SECONDS: f64 = 3.2e9;

/// Arguments once read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Words<'a> {
    switches: Vec<&'a str>,
    values: Vec<(&'a str, &'a str)>,
    /// What is not a flag, in order.
    pub(super) rest: Vec<&'a str>,
}

impl<'a> Words<'a> {
    /// Reads `words`: `switches` stand alone, `valued` take a value (`--flag v`, `--flag=v`, `-nv`); short switches
    /// may be written together (`-qO-`). `--` ends the flags.
    pub(super) fn read(words: &'a [String], switches: &[&str], valued: &[&str]) -> Result<Self, Failure> {
        let mut read = Self::default();
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            if word == "--" {
                read.rest.extend(words);
                break;
            }
            if word == "-" || !word.starts_with('-') {
                read.rest.push(word);
            } else {
                read.flag(word, switches, valued, &mut words)?;
            }
        }
        Ok(read)
    }

    fn flag(
        &mut self,
        word: &'a str,
        switches: &[&str],
        valued: &[&str],
        rest: &mut impl Iterator<Item = &'a str>,
    ) -> Result<(), Failure> {
        let (name, attached) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        if valued.contains(&name) {
            let value = attached.or_else(|| rest.next());
            let value = value.ok_or_else(|| Failure::Usage(format!("{name} needs a value")))?;
            self.values.push((name, value));
            return Ok(());
        }
        if switches.contains(&word) {
            self.switches.push(word);
            return Ok(());
        }
        self.cluster(word, switches, valued, rest)
    }

    fn cluster(
        &mut self,
        word: &'a str,
        switches: &[&str],
        valued: &[&str],
        rest: &mut impl Iterator<Item = &'a str>,
    ) -> Result<(), Failure> {
        let unknown = || Failure::Usage(format!("unknown flag {word}"));
        let letters = word.strip_prefix('-').filter(|letters| !letters.starts_with('-')).ok_or_else(unknown)?;
        for (at, letter) in letters.char_indices() {
            let short = |flag: &&str| flag.strip_prefix('-').is_some_and(|name| name.chars().eq([letter]));
            let after = letters.get(at + letter.len_utf8()..).unwrap_or_default();
            if valued.iter().any(&short) {
                let value = Some(after).filter(|value| !value.is_empty()).or_else(|| rest.next());
                let value = value.ok_or_else(|| Failure::Usage(format!("-{letter} needs a value")))?;
                let name = letters.get(at..at + letter.len_utf8()).unwrap_or_default();
                self.values.push((name, value));
                return Ok(());
            }
            if !switches.iter().any(|flag| short(flag)) {
                return Err(unknown());
            }
            self.switches.push(letters.get(at..at + letter.len_utf8()).unwrap_or_default());
        }
        Ok(())
    }

    /// Whether a switch (`-a`, `--all`) was given.
    pub(super) fn has(&self, switch: &str) -> bool {
        self.switches.iter().any(|given| same(given, switch))
    }

    /// The last value given for `flag`.
    pub(super) fn value(&self, flag: &str) -> Option<&'a str> {
        self.values.iter().rev().find(|(given, _)| same(given, flag)).map(|(_, value)| *value)
    }

    /// The number given for `flag`, or `default`.
    pub(super) fn number<T: std::str::FromStr>(&self, flag: &str, default: T) -> Result<T, Failure> {
        self.value(flag).map_or(Ok(default), number)
    }

    /// The only argument that is not a flag.
    pub(super) fn only(&self, what: &str) -> Result<&'a str, Failure> {
        match self.rest.as_slice() {
            [one] => Ok(one),
            _ => Err(Failure::Usage(format!("expected one {what}"))),
        }
    }
}

/// A flag as given (`-n`, or `n` out of a cluster) is the flag `-n`.
fn same(given: &str, flag: &str) -> bool {
    given == flag || flag.strip_prefix('-') == Some(given)
}

/// Reads a number.
pub(super) fn number<T: std::str::FromStr>(text: &str) -> Result<T, Failure> {
    text.parse().map_err(|_| Failure::Usage(format!("{text:?} is not a number that fits here")))
}

/// Reads a duration: `30`, `0.5`, `100ms`, `30s`, `5m`, `2h`, `1d`; `None` for `forever`, `infinity` and `inf`.
pub(super) fn duration(text: &str) -> Result<Option<Duration>, Failure> {
    if matches!(text, "forever" | "infinity" | "inf") {
        return Ok(None);
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.strip_prefix(digits).unwrap_or_default() {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return Err(Failure::Usage(format!("{text:?} is not a duration"))),
    };
    let seconds = number::<f64>(digits)? * unit;
    if !(0.0..=LONGEST_SECONDS).contains(&seconds) {
        return Err(Failure::Usage(format!("{text:?} is not a duration")));
    }
    Ok(Some(Duration::from_secs_f64(seconds)))
}

/// `[` wants a `]` at the end and is `test` otherwise.
pub(super) fn without_bracket(mut words: Vec<String>) -> Result<Vec<String>, Failure> {
    match words.pop() {
        Some(last) if last == "]" => Ok(words),
        _ => Err(Failure::Usage("the closing ] is missing".to_owned())),
    }
}

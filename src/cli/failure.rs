//! How a command ends badly: one message, its causes, and what to do about it.

use std::error::Error;
use std::fmt::Write;
use std::process::ExitCode;

/// Done, but not with success.
pub const FAILED: u8 = 1;
/// Mistyped.
pub const USAGE: u8 = 2;

/// Why a command failed, as the user reads it.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// A failure that a plain message explains.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: FAILED }
    }

    /// The command was mistyped.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: USAGE }
    }

    /// Puts what was tried in front.
    #[must_use]
    pub fn context(mut self, tried: &str) -> Self {
        self.message = format!("{tried}: {}", self.message);
        self
    }

    /// The message.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Prints it, coloured where a person reads it.
    pub fn report(&self) -> ExitCode {
        let label = if super::logging::colours_stderr() { "\x1b[1;31merror\x1b[0m" } else { "error" };
        eprintln!("{label}: {}", self.message);
        ExitCode::from(self.code)
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !message.contains(&text) {
                let _ = write!(message, ": {text}");
            }
            source = cause.source();
        }
        Self::new(message)
    }
}

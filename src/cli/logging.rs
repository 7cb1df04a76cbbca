//! Log lines and colours: who gets which.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::failure::Failure;
use super::settings::{LogFormat, LogSettings};

/// Whether standard error is read by a person who wants colours (`NO_COLOR` is the convention of no-color.org).
pub fn colours_stderr() -> bool {
    wants_colour() && std::io::stderr().is_terminal()
}

/// The same for standard output.
pub fn colours_stdout() -> bool {
    wants_colour() && std::io::stdout().is_terminal()
}

fn wants_colour() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Sends `tracing` to standard error.
pub fn start(settings: &LogSettings) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&settings.filter)
        .map_err(|error| Failure::new(format!("log.filter {:?} is not a filter: {error}", settings.filter)))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let outcome = match settings.format {
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Auto => lines.with_ansi(colours_stderr()).try_init(),
    };
    outcome.map_err(|error| Failure::new(format!("cannot set up logging: {error}")))
}

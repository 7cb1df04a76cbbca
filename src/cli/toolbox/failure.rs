//! How a program of the toolbox ends badly.

use std::io::{self, Write};
use std::process::ExitCode;

/// What a shell reports for a writer whose reader went away: 128 and SIGPIPE.
const BROKEN_PIPE_CODE: u8 = 141;

/// Why a program could not do its work.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The arguments mean nothing; nothing was done. Exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The program's own output or input failed. Exit code 1, or 141 and silence when the reader is gone.
    #[error("{0}")]
    Stream(#[from] io::Error),
    /// The named thing failed; what came before it is done. Exit code 1.
    #[error("{what}: {source}")]
    At {
        /// A path, an address, a name.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// Something else went wrong, in a sentence. Exit code 1.
    #[error("{0}")]
    Said(String),
}

impl Failure {
    /// Wraps what went wrong with `what`: for `map_err`.
    pub(super) fn at<E: Into<io::Error>>(what: impl ToString) -> impl FnOnce(E) -> Self {
        move |source| Self::At { what: what.to_string(), source: source.into() }
    }

    /// Tells standard error and says what to exit with.
    pub(super) fn report(&self, name: &str, usage: &str) -> ExitCode {
        // A complaint that cannot be written has nobody to read it.
        let mut err = io::stderr();
        match self {
            Self::Stream(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(BROKEN_PIPE_CODE),
            Self::Usage(_) => {
                let _ = writeln!(err, "{name}: {self}\nusage: {name} {usage}");
                ExitCode::from(2)
            }
            _ => {
                let _ = writeln!(err, "{name}: {self}");
                ExitCode::FAILURE
            }
        }
    }
}

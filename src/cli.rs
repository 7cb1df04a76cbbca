//! The command line.

pub mod settings;

/// Runs the command line and says how the process should end.
pub fn run() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}

//! The command line.

/// Runs the command line and says how the process should end.
pub fn run() -> std::process::ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    crate::runtime::hidden_command(&args).unwrap_or(std::process::ExitCode::SUCCESS)
}

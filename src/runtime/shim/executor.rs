//! Starts the container's program, and says what is wrong with it in the words that users know from other runtimes.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::{Executor, ExecutorError, ExecutorValidationError};
use nix::errno::Errno;

/// What failures of the program begin with.
pub(super) const PREFIX: &str = "unable to start container process: ";

/// Replaces the process; where that fails, the reason goes to `report`, which closes by itself on success.
#[derive(Clone)]
pub(super) struct Program {
    report: RawFd,
}

impl Program {
    /// `report` must stay open until the container was started.
    pub(super) fn reporting_to(report: &OwnedFd) -> Self {
        Self { report: report.as_raw_fd() }
    }
}

impl Executor for Program {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let reason = match try_exec(spec) {
            Ok(never) => match never {},
            Err(reason) => reason,
        };
        // SAFETY: the descriptor is held open by the caller of `reporting_to`, and this process is a fork of it.
        let report = unsafe { BorrowedFd::borrow_raw(self.report) };
        let _ = nix::unistd::write(report.as_fd(), reason.as_bytes());
        Err(ExecutorError::Other(reason))
    }

    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        let (args, path) = command(spec).map_err(ExecutorValidationError::ArgValidationError)?;
        find(args.first().map_or("", String::as_str), &path).map_err(ExecutorValidationError::ArgValidationError)?;
        Ok(())
    }
}

fn try_exec(spec: &Spec) -> Result<std::convert::Infallible, String> {
    let (args, path) = command(spec)?;
    let name = args.first().map_or("", String::as_str);
    let program = find(name, &path)?;
    let text =
        |text: &str| std::ffi::CString::new(text).map_err(|_| format!("{PREFIX}exec: {name:?}: invalid argument"));
    let words = args.iter().map(|arg| text(arg)).collect::<Result<Vec<_>, _>>()?;
    nix::unistd::execv(&text(&program.to_string_lossy())?, &words)
        .map_err(|error| format!("{PREFIX}exec {}: {}", program.display(), describe(error)))
}

fn command(spec: &Spec) -> Result<(Vec<String>, String), String> {
    let process = spec.process().as_ref().ok_or("no process in the spec")?;
    let args = process.args().clone().unwrap_or_default();
    let env = process.env().iter().flatten();
    let path = env.filter_map(|entry| entry.strip_prefix("PATH=")).next_back().unwrap_or_default();
    Ok((args, path.to_owned()))
}

/// Looks a program up as a shell would: names with a slash as they are, others along `PATH`.
fn find(name: &str, path: &str) -> Result<PathBuf, String> {
    if name.contains('/') {
        return check(Path::new(name)).map_err(|error| match error {
            Errno::ENOENT => format!("{PREFIX}exec: {name:?}: stat {name}: no such file or directory"),
            other => format!("{PREFIX}exec: {name:?}: {}", describe(other)),
        });
    }
    let mut denied = false;
    for directory in path.split(':') {
        match check(&Path::new(if directory.is_empty() { "." } else { directory }).join(name)) {
            Ok(found) => return Ok(found),
            Err(error) => denied |= error == Errno::EACCES,
        }
    }
    let reason = if denied { "permission denied" } else { "executable file not found in $PATH" };
    Err(format!("{PREFIX}exec: {name:?}: {reason}"))
}

fn check(path: &Path) -> Result<PathBuf, Errno> {
    let found = std::fs::metadata(path).map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
    if found.is_dir() {
        return Err(Errno::EISDIR);
    }
    if found.permissions().mode() & 0o111 == 0 {
        return Err(Errno::EACCES);
    }
    Ok(path.to_owned())
}

fn describe(error: Errno) -> String {
    error.desc().to_lowercase()
}

//! `shoal down`: stops the node's process and ends everything that it left on the machine.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::arguments::DownFlags;
use super::failure::Failure;
use super::lock::{Error as LockError, NodeLock};
use super::settings::{Settings, Sources};

/// How long the process may take to stop before it is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(20);
/// How often the lock is looked at while waiting.
const POLL: Duration = Duration::from_millis(50);

/// Ends the node.
pub fn run(flags: &DownFlags) -> Result<ExitCode, Failure> {
    let data = flags.data.iter().map(|data| ("data".to_string(), data.clone())).collect();
    let sources = Sources { file: flags.config.clone(), environment: super::up::environment(), flags: data };
    let settings = Settings::load(&sources)?.node;
    if !settings.data.exists() {
        println!("nothing to do: there is no {}", settings.data.display());
        return Ok(ExitCode::SUCCESS);
    }
    let lock = stop_process(&settings.data)?;
    drop(lock);
    if flags.purge {
        std::fs::remove_dir_all(&settings.data)
            .map_err(|error| Failure::new(format!("cannot remove {}: {error}", settings.data.display())))?;
        println!("removed {}", settings.data.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Stops the process that has the data directory, and takes its lock.
fn stop_process(data: &Path) -> Result<NodeLock, Failure> {
    let mut waited = Duration::ZERO;
    let mut told = None;
    loop {
        let pid = match NodeLock::acquire(data) {
            Ok(lock) => return Ok(lock),
            Err(LockError::InUse { pid, .. }) => pid,
            Err(error) => return Err(error.into()),
        };
        let wanted = if waited < STOP_DEADLINE { Signal::SIGTERM } else { Signal::SIGKILL };
        if pid > 0 && told != Some((pid, wanted)) {
            println!("stopping process {pid}");
            kill(Pid::from_raw(pid), wanted)
                .map_err(|error| Failure::new(format!("cannot stop process {pid}: {error}")))?;
            told = Some((pid, wanted));
        }
        if waited > STOP_DEADLINE.saturating_mul(2) {
            return Err(Failure::new(format!("process {pid} does not end")));
        }
        std::thread::sleep(POLL);
        waited += POLL;
    }
}

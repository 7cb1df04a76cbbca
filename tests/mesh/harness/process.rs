//! Programs, run within bounds of time and where they are to run.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Where `ip netns` pins a namespace.
pub fn pin(namespace: &str) -> PathBuf {
    Path::new("/run/netns").join(namespace)
}

/// A command that runs in a network namespace. Unlike with `ip netns exec`, mounts stay those of the machine, which
/// the pins of pods and `/sys/fs/cgroup` need.
pub fn within(namespace: &str, program: &str) -> Command {
    let file = File::open(pin(namespace)).expect("the namespace is there");
    let mut command = Command::new(program);
    // SAFETY: between fork and exec only one system call is made.
    unsafe {
        command.pre_exec(move || setns(&file, CloneFlags::CLONE_NEWNET).map_err(std::io::Error::from));
    }
    command.stdin(Stdio::null()).env("NO_COLOR", "1");
    command
}

/// Runs a command to its end; what it printed, or its complaint. Killed after `bound`.
pub fn bounded(command: &mut Command, bound: Duration) -> Result<String, String> {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    let (done, wait) = mpsc::channel();
    std::thread::spawn(move || done.send(child.wait_with_output()));
    match wait.recv_timeout(bound) {
        Ok(output) => outcome(&output.map_err(|error| error.to_string())?),
        Err(_) => {
            let _ = kill(pid, Signal::SIGKILL);
            Err(format!("no end within {bound:?}"))
        }
    }
}

/// Output of a command, or what it complained about.
fn outcome(output: &Output) -> Result<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stdout) + &text(&output.stderr)) }
}

/// Runs `ip` with words separated by blanks; it must succeed.
pub fn ip(words: &str) {
    let mut command = Command::new("ip");
    bounded(command.args(words.split_whitespace()), Duration::from_secs(20))
        .unwrap_or_else(|error| panic!("ip {words}: {error}"));
}

/// Gives `nft` of a namespace a script, which it must accept.
pub fn nft(namespace: &str, script: &str) {
    let mut child = within(namespace, "nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft is installed");
    child.stdin.take().expect("a pipe").write_all(script.as_bytes()).expect("nft reads");
    assert!(child.wait().expect("nft ends").success(), "nft refused:\n{script}");
}

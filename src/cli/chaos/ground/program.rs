//! Programs: `ip` and `nft` for the ground, and this binary again, in the network of a node.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;

use crate::cli::failure::Failure;

/// How long `nft` may take.
const QUICK: Duration = Duration::from_secs(20);

/// Where `ip netns` pins a namespace.
pub fn pin(namespace: &str) -> PathBuf {
    Path::new("/run/netns").join(namespace)
}

/// Runs `ip` with words separated by blanks.
///
/// # Errors
/// What it complains about.
pub fn ip(words: &str) -> Result<(), Failure> {
    let output = Command::new("ip").args(words.split_whitespace()).stdin(Stdio::null()).output();
    let output = output.map_err(|error| Failure::from(error).context("cannot run `ip`"))?;
    outcome(&output).map(drop).map_err(|failure| failure.context(&format!("ip {words}")))
}

/// A program in a network namespace. Unlike with `ip netns exec`, mounts stay those of the machine, which the pins of pods
/// and `/sys/fs/cgroup` need. It gets no signals from the terminal, and dies with the thread that starts it.
///
/// # Errors
/// Where the namespace is gone.
pub fn within(namespace: &str, program: &Path) -> Result<Command, Failure> {
    use std::os::unix::process::CommandExt;
    let file = File::open(pin(namespace))?;
    let mut command = Command::new(program);
    // SAFETY: between fork and exec only system calls are made.
    unsafe {
        command.pre_exec(move || {
            setns(&file, CloneFlags::CLONE_NEWNET)?;
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            Ok(())
        });
    }
    command.process_group(0).stdin(Stdio::null()).env("NO_COLOR", "1");
    // What the caller's shell says about some other node is not meant for these.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SHOAL_")) {
        command.env_remove(name);
    }
    Ok(command)
}

/// Runs a command to its end, or kills it after `bound`.
///
/// # Errors
/// What it complains about.
pub async fn bounded(command: Command, bound: Duration) -> Result<String, Failure> {
    let mut command = tokio::process::Command::from(command);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    match tokio::time::timeout(bound, command.output()).await {
        Ok(output) => outcome(&output?),
        Err(_) => Err(Failure::new(format!("no end within {bound:?}"))),
    }
}

/// Gives `nft` of a namespace a script.
pub async fn nft(namespace: &str, script: &str) -> Result<(), Failure> {
    let mut command = within(namespace, Path::new("nft"))?;
    let (reader, mut writer) = std::io::pipe()?;
    // A script is shorter than a pipe holds.
    writer.write_all(script.as_bytes())?;
    drop(writer);
    command.args(["-f", "-"]).stdin(reader);
    bounded(command, QUICK).await.map(drop).map_err(|failure| failure.context("nft"))
}

fn outcome(output: &Output) -> Result<String, Failure> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let said = [text(&output.stdout), text(&output.stderr)].join(" ");
    Err(Failure::new(if said.trim().is_empty() { output.status.to_string() } else { said.trim().to_owned() }))
}

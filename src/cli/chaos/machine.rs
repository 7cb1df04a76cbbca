//! One node of the run: its process, which is started, killed, held up and made to run out of disk.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::ground::Plot;
use super::ground::program::{bounded, within};
use super::scenario::{Runtime, Scenario};
use crate::cli::failure::Failure;

/// Lines of a node's log that are told when it ends by itself.
const TAIL: usize = 20;
/// How long a command about the node may take.
const COMMAND: Duration = Duration::from_secs(60);
/// How long `shoal down` may take, and how often it is looked after.
const DOWN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// In the data directory: what fills the disk.
const FILLER: &str = "chaos.filler";
/// Bytes that are written at once, first and when these no longer fit.
const PIECES: [usize; 2] = [1 << 20, 4096];

/// A node.
pub struct Machine {
    /// Where it stands.
    pub plot: Plot,
    runtime: Runtime,
    settings: Vec<String>,
    config: PathBuf,
    process: Option<Child>,
    held: bool,
}

impl Machine {
    /// A node that has never run.
    ///
    /// # Errors
    /// Where its settings cannot be written.
    pub fn new(plot: Plot, scenario: &Scenario) -> Result<Self, Failure> {
        let config = plot.dir.join("config.toml");
        let text = format!("runtime = \"{}\"\n[network]\nbridge = \"{}\"\n", scenario.runtime.word(), plot.bridge);
        std::fs::write(&config, text)?;
        let settings = scenario.settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
        Ok(Self { plot, runtime: scenario.runtime, settings, config, process: None, held: false })
    }

    /// Starts its process; `join` names a member and gives a token.
    ///
    /// # Errors
    /// Where it runs already or cannot be started.
    pub fn start(&mut self, join: Option<(&str, &str)>) -> Result<(), Failure> {
        if self.process.is_some() {
            return Err(Failure::new(format!("{} runs already", self.plot.name)));
        }
        let log = File::options().create(true).append(true).open(self.plot.log())?;
        let mut command = self.shoal()?;
        command.args(["up", "--name", &self.plot.name]).arg("--data").arg(&self.plot.data);
        command.arg("--config").arg(&self.config).args(self.settings.iter().flat_map(|pair| ["--set", pair]));
        if let Some((at, token)) = join {
            command.args(["--join", at]).env(crate::cli::settings::TOKEN_VARIABLE, token);
        }
        self.process = Some(command.stdout(log.try_clone()?).stderr(log).spawn()?);
        Ok(())
    }

    fn shoal(&self) -> Result<std::process::Command, Failure> {
        within(&self.plot.namespace, &std::env::current_exe()?)
    }

    /// Runs this binary as a client on the node's machine, with the node's own credentials.
    ///
    /// # Errors
    /// What it complains about.
    pub async fn command(&self, words: &[&str]) -> Result<String, Failure> {
        let mut command = self.shoal()?;
        command.args(words).arg("--data").arg(&self.plot.data);
        bounded(command, COMMAND).await
    }

    /// Whether it runs and is not held up.
    pub fn runs(&self) -> bool {
        self.process.is_some() && !self.held
    }

    /// Ends it as a power cut would, except that the kernel keeps what was written.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn kill(&mut self) -> Result<(), Failure> {
        let mut process = self.process.take().ok_or_else(|| self.absent())?;
        self.held = false;
        process.kill()?;
        process.wait()?;
        Ok(())
    }

    /// Holds it up, or lets it go on.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn hold(&mut self, held: bool) -> Result<(), Failure> {
        let process = self.process.as_ref().ok_or_else(|| self.absent())?;
        let id = Pid::from_raw(i32::try_from(process.id())?);
        kill(id, if held { Signal::SIGSTOP } else { Signal::SIGCONT })?;
        self.held = held;
        Ok(())
    }

    fn absent(&self) -> Failure {
        Failure::new(format!("{} does not run", self.plot.name))
    }

    /// How it ended, where it did so by itself since the last question.
    pub fn death(&mut self) -> Option<String> {
        let status = self.process.as_mut()?.try_wait().ok().flatten()?;
        self.process = None;
        Some(format!("{} ended ({status}):\n{}", self.plot.name, self.log_tail()))
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read(self.plot.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().rev().take(TAIL).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Takes all the room that its disk has.
    ///
    /// # Errors
    /// Where the disk refuses for another reason than being full.
    pub async fn fill(&self) -> Result<(), Failure> {
        let file = self.plot.data.join(FILLER);
        tokio::task::spawn_blocking(move || fill(&file)).await??;
        Ok(())
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn free(&self) -> Result<(), Failure> {
        Ok(std::fs::remove_file(self.plot.data.join(FILLER))?)
    }

    /// Ends containers, which outlive their node's process.
    fn down(&self) -> Result<(), Failure> {
        let mut command = self.shoal()?;
        command.arg("down").arg("--data").arg(&self.plot.data).arg("--config").arg(&self.config);
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        for _ in 0..DOWN.as_millis() / POLL.as_millis() {
            if process.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(POLL);
        }
        process.kill()?;
        process.wait()?;
        Err(Failure::new(format!("no end within {DOWN:?}")))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.kill();
        if self.runtime != Runtime::Hollow
            && let Err(failure) = self.down()
        {
            eprintln!("shoal down of {}: {}", self.plot.name, failure.message());
        }
    }
}

fn fill(file: &Path) -> std::io::Result<()> {
    let mut file = File::create(file)?;
    for size in PIECES {
        let piece = vec![0; size];
        loop {
            match file.write_all(&piece) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

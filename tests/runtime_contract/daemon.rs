//! A containerd of a test's own, with its own root, state and socket; it and its shims go with the value.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Until the daemon answers.
const PATIENCE: Duration = Duration::from_secs(20);

/// The daemon.
pub struct Containerd {
    process: Child,
    directory: tempfile::TempDir,
}

impl Containerd {
    /// Starts one and waits until its socket is there.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("config.toml"), config(directory.path())).unwrap();
        let process = Command::new("containerd")
            .arg("--config")
            .arg(at("config.toml"))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(at("containerd.log")).unwrap())
            .spawn()
            .expect("containerd cannot be started; on Debian: apt-get install containerd");
        let daemon = Self { process, directory };
        let begun = Instant::now();
        while std::os::unix::net::UnixStream::connect(daemon.socket()).is_err() {
            assert!(begun.elapsed() < PATIENCE, "containerd does not answer: {}", daemon.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        daemon
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("containerd.sock")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("containerd.log")).unwrap_or_default()
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // Asked politely first: it then unmounts what it has mounted.
        let pid = nix::unistd::Pid::from_raw(self.process.id().try_into().unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.process.wait();
    }
}

/// No plugin that opens a port or looks after pods of its own.
fn config(directory: &Path) -> String {
    format!(
        "version = 2\nroot = \"{0}/root\"\nstate = \"{0}/state\"\n\
         disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n\
         [grpc]\naddress = \"{0}/containerd.sock\"\n",
        directory.display()
    )
}

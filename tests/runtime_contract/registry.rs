//! A registry of a test's own on loopback, with a password, filled by `skopeo`.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Until it answers.
const PATIENCE: Duration = Duration::from_secs(10);
/// Who may pull.
pub const USER: &str = "alice";
/// And with what.
pub const PASSWORD: &str = "wonder land";
/// Both as a bcrypt password file has them.
const HTPASSWD: &str = "alice:$2y$05$abcdefghijklmnopqrstuursDchxTEEtpfrQZuzTh/cOvMRDwFApK\n";

/// The registry.
pub struct Registry {
    process: Child,
    port: u16,
}

impl Registry {
    /// Starts one that keeps its things in `directory`.
    pub fn start(directory: &Path) -> Self {
        std::fs::create_dir_all(directory).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        std::fs::write(directory.join("htpasswd"), HTPASSWD).unwrap();
        let mut config = std::fs::File::create(directory.join("config.yml")).unwrap();
        write!(
            config,
            "version: 0.1\nlog: {{ level: error }}\nstorage: {{ filesystem: {{ rootdirectory: {0}/data }} }}\n\
             http: {{ addr: '127.0.0.1:{port}' }}\nauth: {{ htpasswd: {{ realm: test, path: {0}/htpasswd }} }}\n",
            directory.display()
        )
        .unwrap();
        let process = Command::new("docker-registry")
            .args(["serve".as_ref(), directory.join("config.yml").as_os_str()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry cannot be started; on Debian: apt-get install docker-registry");
        let registry = Self { process, port };
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < PATIENCE, "the registry does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        registry
    }

    /// `127.0.0.1:<port>/<name>`.
    pub fn name(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }

    /// Pushes a Docker archive.
    pub fn push(&self, archive: &Path, name: &str) {
        let outcome = Command::new("skopeo")
            .args(["--insecure-policy", "copy", "--dest-tls-verify=false", "--dest-creds"])
            .arg(format!("{USER}:{PASSWORD}"))
            .arg(format!("docker-archive:{}", archive.display()))
            .arg(format!("docker://{}", self.name(name)))
            .output()
            .expect("skopeo cannot be started; on Debian: apt-get install skopeo");
        assert!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stderr));
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

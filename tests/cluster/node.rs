//! A node of the test's own: started, asked through kubectl, killed, ended with all that it made.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The binary under test.
pub const SHOAL: &str = env!("CARGO_BIN_EXE_shoal");
/// How long anything may take before the test fails. Generous: the machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Tells nodes of one test run apart: bridges, tables and pod networks of their own.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// A running node.
pub struct Node {
    /// Its data directory, removed at the end.
    pub data: tempfile::TempDir,
    /// Port of its API.
    pub port: u16,
    runtime: String,
    bridge: String,
    process: Option<Child>,
}

impl Node {
    /// Starts a node on `runtime` and waits until it is Ready.
    pub fn start(runtime: &str) -> Self {
        Self::start_with(runtime, "")
    }

    /// Like [`Node::start`], with further settings (TOML).
    pub fn start_with(runtime: &str, settings: &str) -> Self {
        let data = tempfile::tempdir().expect("a temporary directory");
        let nth = NEXT.fetch_add(1, Ordering::SeqCst);
        let bridge = format!("sht{}", std::process::id() % 1000 * 10 + u32::from(nth));
        let mut node = Self { data, port: free_port(), runtime: runtime.into(), bridge, process: None };
        node.configure(settings, nth);
        node.launch();
        node
    }

    fn configure(&self, settings: &str, nth: u16) {
        let bridge = &self.bridge;
        let text = format!(
            "{settings}\n[network]\nbridge = \"{bridge}\"\ntable = \"shoal_{bridge}\"\npod_cidr = \"10.{}.{}.0/24\"\n",
            200 + nth / 200,
            nth % 200,
        );
        fs::write(self.config(), text).expect("the test's settings");
    }

    fn config(&self) -> PathBuf {
        self.data.path().join("test.toml")
    }

    /// Starts the process (again) on the same data.
    pub fn launch(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.log_path()).expect("a log file");
        let process = Command::new(SHOAL)
            .args(["up", "--name", "node-a", "--runtime", &self.runtime])
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .arg("--data")
            .arg(self.data.path().join("node"))
            .arg("--config")
            .arg(self.config())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .spawn()
            .expect("shoal starts");
        self.process = Some(process);
        self.wait_ready();
    }

    fn wait_ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ready = r"-o=jsonpath={.status.conditions[?(@.type=='Ready')].status}";
            if self.kubeconfig().exists()
                && self.try_kubectl(&["get", "node", "node-a", ready]).is_ok_and(|out| out == "True")
            {
                return;
            }
            let ended = self.process.as_mut().and_then(|process| process.try_wait().ok().flatten());
            assert!(ended.is_none() && Instant::now() < deadline, "the node is not Ready ({ended:?}):\n{}", self.log());
            sleep(Duration::from_millis(100));
        }
    }

    /// The bridge of its pods.
    pub fn bridge(&self) -> &str {
        &self.bridge
    }

    /// The control group that all pods of the node are below.
    pub fn cgroup(&self) -> String {
        format!("/shoal-{}/", self.bridge)
    }

    /// The admin's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.data.path().join("node/admin.kubeconfig")
    }

    /// Ends the process as a power cut would.
    pub fn kill_9(&mut self) {
        let mut process = self.process.take().expect("the node runs");
        process.kill().expect("kill -9");
        process.wait().expect("the process ends");
    }

    /// Asks the process to stop, as Ctrl-C does.
    pub fn terminate(&mut self) {
        let mut process = self.process.take().expect("the node runs");
        run(Command::new("kill").arg(process.id().to_string()));
        process.wait().expect("the process ends");
    }

    /// Ends the node with everything on it.
    pub fn down(&self) -> String {
        let mut down = Command::new(SHOAL);
        run(down.arg("down").arg("--data").arg(self.data.path().join("node")).arg("--config").arg(self.config()))
    }

    fn log_path(&self) -> PathBuf {
        self.data.path().join("shoal.log")
    }

    /// The end of the node's log.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(80)..].join("\n")
    }

    /// A command with the node's kubeconfig in its environment.
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).env("KUBECONFIG", self.kubeconfig()).env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    /// Runs kubectl; its output where it succeeds, its complaint where it does not.
    pub fn try_kubectl(&self, args: &[&str]) -> Result<String, String> {
        outcome(&self.command("kubectl", args).output().expect("kubectl is installed"))
    }

    /// Runs kubectl, which must succeed.
    pub fn kubectl(&self, args: &[&str]) -> String {
        self.try_kubectl(args).unwrap_or_else(|error| panic!("kubectl {args:?}: {error}\nnode:\n{}", self.log()))
    }

    /// Runs shoal as a client, which must succeed.
    pub fn shoal(&self, args: &[&str]) -> String {
        let output = self.command(SHOAL, args).output().expect("shoal runs");
        outcome(&output).unwrap_or_else(|error| panic!("shoal {args:?}: {error}\nnode:\n{}", self.log()))
    }

    /// Runs kubectl with a manifest on its standard input.
    pub fn apply(&self, manifest: &str) -> String {
        self.try_apply(manifest).unwrap_or_else(|error| panic!("apply: {error}\nnode:\n{}", self.log()))
    }

    /// Like [`Node::apply`], for manifests that may be refused.
    pub fn try_apply(&self, manifest: &str) -> Result<String, String> {
        let file = self.data.path().join("manifest.yaml");
        fs::write(&file, manifest).expect("a manifest file");
        self.try_kubectl(&["apply", "-f", file.to_str().expect("a plain path")])
    }

    /// Asks again until `accept` likes kubectl's answer.
    pub fn eventually(&self, args: &[&str], accept: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.try_kubectl(args);
            match &answer {
                Ok(text) if accept(text) => return text.clone(),
                _ if Instant::now() > deadline => {
                    panic!("kubectl {args:?} still says {answer:?}\nnode:\n{}", self.log())
                }
                _ => sleep(Duration::from_millis(100)),
            }
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        let mut down = Command::new(SHOAL);
        down.arg("down").arg("--data").arg(self.data.path().join("node")).arg("--config").arg(self.config());
        let output = down.output().expect("shoal down runs");
        if let (Err(error), false) = (outcome(&output), std::thread::panicking()) {
            panic!("shoal down: {error}");
        }
        if std::thread::panicking() {
            eprintln!("node log:\n{}", self.log());
        }
    }
}

/// Output of a command, or what it complained about.
pub fn outcome(output: &Output) -> Result<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stdout) + &text(&output.stderr)) }
}

/// Runs a command that must succeed.
pub fn run(command: &mut Command) -> String {
    outcome(&command.output().expect("the program is installed")).unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// A port of loopback that nothing listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// A manifest of the example's shape: `replicas` of the toolbox, answering `text`.
pub fn web(name: &str, replicas: u32, text: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
spec:
  replicas: {replicas}
  selector:
    matchLabels: {{app: {name}}}
  template:
    metadata:
      labels: {{app: {name}}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
      - name: web
        image: shoal.local/toolbox:latest
        imagePullPolicy: IfNotPresent
        args: [http-echo, --port, \"8080\", --text, {text}]
        ports:
        - containerPort: 8080
        readinessProbe:
          httpGet: {{path: /, port: 8080}}
          periodSeconds: 1
"
    )
}

/// A path as text.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

//! A machine: a network namespace on a segment, with a node that is started, asked, stopped, killed and moved.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::process::{bounded, ip, nft, pin, within};
use super::segment::{Place, Segment};
use super::{PATIENCE, wait_until};

/// The binary under test.
const SHOAL: &str = env!("CARGO_BIN_EXE_shoal");
/// How long one question may take.
const ANSWER: Duration = Duration::from_secs(20);
/// Condition of a node, as kubectl prints it.
const READY: &str = r"-o=jsonpath={.status.conditions[?(@.type=='Ready')].status}";

/// A machine with at most one node on it.
pub struct Machine {
    /// Name of its node.
    pub name: String,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Data directory of its node.
    pub data: PathBuf,
    place: Place,
    /// Versions of the mesh that its node is told to speak.
    speaks: Option<String>,
    /// The admin's credentials that its programs use.
    pub kubeconfig: PathBuf,
    process: Option<Child>,
}

impl Machine {
    /// A machine on which nothing runs yet. Its node will pretend its containers where `runtime` is `hollow`.
    pub fn new(segment: &Segment, name: &str, runtime: &str) -> Self {
        // Most tests are not about what a death does to pods: theirs stay where they are.
        Self::tuned(segment, name, runtime, "default_toleration = \"300s\"")
    }

    /// Like [`Machine::new`], with other settings of `control` (TOML), and tables behind them.
    pub fn tuned(segment: &Segment, name: &str, runtime: &str, control: &str) -> Self {
        let place = segment.connect(name);
        let data = place.dir.join("node");
        let kubeconfig = data.join("admin.kubeconfig");
        // Namespaces keep networks apart; control groups are the host's, and named after the bridge.
        let control = format!("replace_after = \"2s\"\n{control}");
        let settings =
            format!("runtime = \"{runtime}\"\n[control]\n{control}\n[network]\nbridge = \"{}\"\n", place.unique);
        fs::write(place.dir.join("test.toml"), settings).expect("the test's settings");
        let machine = Self { name: name.into(), ip: place.ip, data, place, kubeconfig, speaks: None, process: None };
        machine.take_address();
        machine
    }

    /// A machine whose node makes a cluster of its own.
    pub fn found(segment: &Segment, name: &str, runtime: &str) -> Self {
        let mut machine = Self::new(segment, name, runtime);
        machine.up(&[]);
        machine.wait_ready();
        machine
    }

    /// A machine whose node joins the cluster of `seed`, and is Ready.
    pub fn joined(segment: &Segment, name: &str, runtime: &str, seed: &Self, token: &str) -> Self {
        let mut machine = Self::new(segment, name, runtime);
        machine.join(seed, token);
        machine.wait_ready();
        machine
    }

    /// Uses another machine's admin credentials from now on.
    pub fn take_credentials_of(&mut self, seed: &Self) {
        self.kubeconfig.clone_from(&seed.kubeconfig);
    }

    /// Begins to join; the admin's credentials are the seed's from now on.
    pub fn join(&mut self, seed: &Self, token: &str) {
        self.take_credentials_of(seed);
        self.up(&["--join", &seed.at(), "--token", token]);
    }

    /// Has its node speak these versions of the mesh from its next start on, as other releases would: `2`, or `1-2`.
    pub fn speak(&mut self, versions: &str) {
        self.speaks = Some(versions.to_owned());
    }

    /// Name of its network namespace.
    pub fn namespace(&self) -> String {
        self.place.namespace.clone()
    }

    /// Where its API and mesh are.
    pub fn at(&self) -> String {
        format!("{}:6443", self.ip)
    }

    /// Starts the node's process.
    pub fn up(&mut self, args: &[&str]) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        let log = fs::File::options().create(true).append(true).open(self.log_path()).expect("a log file");
        let mut command = within(&self.place.namespace, SHOAL);
        command.args(["up", "--name", &self.name]).arg("--data").arg(&self.data);
        command.arg("--config").arg(self.place.dir.join("test.toml")).args(args);
        command.envs(self.speaks.iter().map(|versions| ("SHOAL_TEST_MESH_VERSIONS", versions)));
        command.stdout(log.try_clone().expect("a log file")).stderr(log);
        self.process = Some(command.spawn().expect("shoal starts"));
    }

    /// Starts the node, which must end by itself, and not well; what it said.
    pub fn refused(&mut self, args: &[&str], bound: Duration) -> String {
        let before = self.whole_log().len();
        self.up(args);
        let status = self.wait_end(bound);
        let said = self.whole_log().get(before..).unwrap_or_default().to_owned();
        assert!(!status.success(), "{} ended well with {args:?}:\n{said}", self.name);
        said
    }

    /// Waits for the node's process to end.
    pub fn wait_end(&mut self, bound: Duration) -> ExitStatus {
        let mut process = self.process.take().expect("the node runs");
        let deadline = Instant::now() + bound;
        loop {
            if let Some(status) = process.try_wait().expect("a child of the test") {
                return status;
            }
            if Instant::now() > deadline {
                let _ = process.kill();
                let _ = process.wait();
                panic!("{} still ran after {bound:?}:\n{}", self.name, self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the node's own API shows it Ready.
    pub fn wait_ready(&mut self) {
        wait_until(&format!("node {} is Ready", self.name), PATIENCE, || {
            let ended = self.process.as_mut().and_then(|process| process.try_wait().ok().flatten());
            assert!(ended.is_none(), "{} ended ({ended:?}):\n{}", self.name, self.log());
            self.sees_ready(&self.name, true)
        });
    }

    /// Whether its API shows a node as Ready, or as not.
    pub fn sees_ready(&self, node: &str, wanted: bool) -> Result<(), String> {
        let status = self.try_kubectl(&["get", "node", node, READY])?;
        if (status == "True") == wanted { Ok(()) } else { Err(format!("{node} has Ready={status:?}")) }
    }

    /// Changes of a node's Ready condition as its API tells them, each with the time at which it came.
    pub fn watch_ready(&self, node: &str) -> Watch {
        let template = r"-o=jsonpath={.status.conditions[?(@.type=='Ready')].status}{'\n'}";
        let mut command = self.command("kubectl");
        command.args(["get", "node", node, "--watch", template]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("kubectl is installed");
        let lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let (tell, changes) = mpsc::channel();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).try_for_each(|line| tell.send((Instant::now(), line)).map_err(drop))
        });
        Watch { process, changes }
    }

    /// Ends the process as a power cut would.
    pub fn kill_9(&mut self) {
        let mut process = self.process.take().expect("the node runs");
        process.kill().expect("kill -9");
        process.wait().expect("the process ends");
    }

    /// Ends the process where it has not ended by itself.
    pub fn kill_9_if_it_runs(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Holds the process up.
    pub fn stop(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let id = self.process.as_ref().expect("the node runs").id();
        kill(Pid::from_raw(i32::try_from(id).expect("a process id")), signal).expect("the process is there");
    }

    /// Loses everything that `from` sends to this machine, until [`Machine::heal`].
    pub fn lose_from(&self, from: &Self) {
        nft(&self.place.namespace, &format!("add element netdev cut lost {{ {} }}\n", from.place.mac));
    }

    /// Cuts the link between two machines in both directions.
    pub fn cut_from(&self, other: &Self) {
        self.lose_from(other);
        other.lose_from(self);
    }

    /// Loses nothing any more.
    pub fn heal(&self) {
        nft(&self.place.namespace, "flush set netdev cut lost\n");
    }

    /// Gives the machine another address.
    pub fn readdress(&mut self, address: Ipv4Addr) {
        ip(&format!("-n {} address flush dev eth0", self.place.namespace));
        self.ip = address;
        self.take_address();
    }

    fn take_address(&self) {
        ip(&format!("-n {} address add {}/24 dev eth0", self.place.namespace, self.ip));
        ip(&format!("-n {} route replace default via {}", self.place.namespace, self.place.gateway));
    }

    /// A program on this machine, with the admin's credentials in its environment.
    pub fn command(&self, program: &str) -> Command {
        let mut command = within(&self.place.namespace, program);
        command.env("KUBECONFIG", &self.kubeconfig);
        if program == "kubectl" {
            command.args(["--server", &format!("https://{}", self.at())]);
            command.arg("--cache-dir").arg(self.place.dir.join("kubectl"));
        }
        command
    }

    /// Asks this node's API through kubectl.
    pub fn try_kubectl(&self, args: &[&str]) -> Result<String, String> {
        bounded(self.command("kubectl").args(args), ANSWER)
    }

    /// Asks this node's API through kubectl, which must succeed.
    pub fn kubectl(&self, args: &[&str]) -> String {
        self.try_kubectl(args).unwrap_or_else(|error| panic!("kubectl {args:?} at {}: {error}", self.name))
    }

    /// Applies a manifest through this node's API.
    pub fn apply(&self, manifest: &str) {
        let file = self.place.dir.join("manifest.yaml");
        fs::write(&file, manifest).expect("a manifest file");
        self.kubectl(&["apply", "-f", file.to_str().expect("a plain path")]);
    }

    /// Runs shoal as a client of this node.
    pub fn try_shoal(&self, args: &[&str]) -> Result<String, String> {
        let mut command = self.command(SHOAL);
        bounded(command.args(args).args(["--server", &format!("https://{}", self.at())]), ANSWER)
    }

    /// Runs shoal as a client of this node, which must succeed.
    pub fn shoal(&self, args: &[&str]) -> String {
        self.try_shoal(args).unwrap_or_else(|error| panic!("shoal {args:?} at {}: {error}", self.name))
    }

    /// Makes a token.
    pub fn token(&self, args: &[&str]) -> String {
        let mut words = vec!["token", "create"];
        words.extend(args);
        let printed = self.shoal(&words);
        assert_eq!(printed.lines().count(), 1, "one string: {printed:?}");
        printed.trim().to_owned()
    }

    /// Takes this machine's node out of its cluster.
    pub fn leave(&self) -> Result<String, String> {
        bounded(within(&self.place.namespace, SHOAL).arg("leave").arg("--data").arg(&self.data), ANSWER)
    }

    /// The members as this node sees them, with their states; those that left are not told.
    pub fn members(&self) -> Result<BTreeMap<String, String>, String> {
        let members: Value =
            serde_json::from_str(&self.try_shoal(&["members", "-o", "json"])?).map_err(|e| e.to_string())?;
        let text = |member: &Value, key: &str| member[key].as_str().unwrap_or_default().to_owned();
        let items = members["items"].as_array().ok_or("no items")?;
        let all = items.iter().map(|member| (text(member, "name"), text(member, "state")));
        Ok(all.filter(|(_, state)| state != "left").collect())
    }

    /// Whether this node sees exactly these members, in these states.
    pub fn sees(&self, wanted: &[(&str, &str)]) -> Result<(), String> {
        let wanted: BTreeMap<String, String> = wanted.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect();
        let found = self.members()?;
        if found == wanted { Ok(()) } else { Err(format!("{} sees {found:?}, not {wanted:?}", self.name)) }
    }

    /// What this node says of the quorum, see `/shoal/v1/quorum`.
    pub fn quorum(&self) -> Result<Value, String> {
        serde_json::from_str(&self.try_shoal(&["status", "-o", "json"])?).map_err(|error| error.to_string())
    }

    /// The nodes that vote, as this one knows.
    pub fn voters(&self) -> Result<BTreeSet<String>, String> {
        let quorum = self.quorum()?;
        let all = quorum["replicas"].as_array().into_iter().flatten();
        let voters = all.filter(|one| one["standing"] != "learner");
        Ok(voters.filter_map(|one| one["node"].as_str()).map(str::to_owned).collect())
    }

    /// Names of the Node objects, by this node's API.
    pub fn nodes(&self) -> Result<Vec<String>, String> {
        let names = self.try_kubectl(&["get", "nodes", "-o=jsonpath={.items[*].metadata.name}"])?;
        Ok(names.split_whitespace().map(str::to_owned).collect())
    }

    /// Runs `job` on a thread inside the machine's network.
    pub fn inside<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let file = fs::File::open(pin(&self.place.namespace)).expect("the namespace is there");
        let entered = std::thread::spawn(move || {
            nix::sched::setns(&file, nix::sched::CloneFlags::CLONE_NEWNET).expect("the namespace can be entered");
            job()
        });
        entered.join().expect("the job ends")
    }

    fn log_path(&self) -> PathBuf {
        self.place.dir.join("shoal.log")
    }

    fn whole_log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The end of the node's log.
    pub fn log(&self) -> String {
        let text = self.whole_log();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// Copies the data directory of a hollow node; pins of real pods cannot be copied.
    pub fn copy_data(&self, to: &Path) {
        bounded(Command::new("cp").arg("-a").arg(&self.data).arg(to), ANSWER).expect("the data can be copied");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill_9_if_it_runs();
        let mut down = within(&self.place.namespace, SHOAL);
        down.arg("down").arg("--data").arg(&self.data).arg("--config").arg(self.place.dir.join("test.toml"));
        let outcome = bounded(&mut down, PATIENCE);
        let _ = Command::new("ip").args(["netns", "del", &self.place.namespace]).output();
        if std::thread::panicking() {
            eprintln!("log of node {}:\n{}\n", self.name, self.log());
        } else if let Err(error) = outcome {
            panic!("shoal down of {}: {error}", self.name);
        }
    }
}

/// What a watch tells; its process ends with it.
pub struct Watch {
    process: Child,
    changes: mpsc::Receiver<(Instant, String)>,
}

impl Watch {
    /// When the next change came that `accept` likes.
    pub fn wait(&self, what: &str, accept: impl Fn(&str) -> bool) -> Instant {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.changes.recv_timeout(left) {
                Ok((at, change)) if accept(&change) => return at,
                Ok(_) => {}
                Err(error) => panic!("{what}: {error}"),
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

//! Settings of `shoal up`, layer over layer: defaults, files, environment, flags.
//!
//! `table` has a row for each setting, `file` reads TOML with line numbers, `parse` reads single values, `reference`
//! writes the documentation.

mod file;
mod parse;
pub mod reference;
mod table;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::actors::settings::{
    AgentSettings, ApiSettings, BackupSettings, ControlSettings, MeshSettings, NetworkSettings, NodeSettings,
    RegistrySettings, RuntimeKind, StoreSettings,
};
use crate::runtime::network::Cidr;
pub use parse::{duration, size};
pub use table::nearest;
use table::{Reader, SETTINGS, Setting, Value};

/// The lowest layer.
const DEFAULTS: &str = include_str!("../../config/default.toml");
/// Read where it exists and `--config` does not name another.
const SYSTEM_FILE: &str = "/etc/shoal/config.toml";
/// The data directory that `run` goes to `/run` for.
pub const SYSTEM_DATA: &str = "/var/lib/shoal";
/// Variables that begin like settings and are none.
const OTHER_VARIABLES: &[&str] = &["SHOAL_MUTANT", "SHOAL_TEST_", "SHOAL_KUBECONFIG", "SHOAL_SERVICE_", "SHOAL_PORT"];
/// The variable that a token is read from; no setting, so that it is never written down with them.
pub const TOKEN_VARIABLE: &str = "SHOAL_TOKEN";

/// Everything `shoal up` is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The node's part.
    pub node: NodeSettings,
    /// How to log.
    pub log: LogSettings,
    /// File that a joining node's token stands in.
    pub token_file: Option<PathBuf>,
    address: Option<IpAddr>,
}

/// How to log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Directives of `tracing_subscriber::EnvFilter`.
    pub filter: String,
    /// Form of a line.
    pub format: LogFormat,
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text, coloured on a terminal.
    Auto,
    /// Plain text.
    Text,
    /// One JSON object each.
    Json,
}

/// What the layers above the defaults are read from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// The process's environment.
    pub environment: Vec<(String, String)>,
    /// Key of a setting and its value, from a flag.
    pub flags: Vec<(String, String)>,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file.
    Line(PathBuf, usize),
    /// A variable of the environment.
    Variable(String),
    /// A flag.
    Flag(String),
    /// Put together from several.
    Derived,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Derived => f.write_str("settings"),
        }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file is not TOML.
    #[error("{origin}: {reason}")]
    Syntax {
        /// Where.
        origin: Origin,
        /// What is wrong.
        reason: String,
    },
    /// There is no such setting.
    #[error("{origin}: there is no setting {key:?}{}", suggestion.as_ref().map_or_else(|| "; config/REFERENCE.md lists them all".to_string(), |name| format!("; did you mean {name:?}?")))]
    Unknown {
        /// Where.
        origin: Origin,
        /// The name that is not known.
        key: String,
        /// A known name that is near.
        suggestion: Option<String>,
    },
    /// The value does not fit.
    #[error("{origin}: {key} takes {expected}, not {value:?}")]
    Value {
        /// Where.
        origin: Origin,
        /// The setting.
        key: String,
        /// What it takes.
        expected: String,
        /// What it was given.
        value: String,
    },
}

impl Settings {
    /// Puts the layers together.
    ///
    /// # Errors
    /// Where a file cannot be read, a setting is unknown or a value does not fit.
    pub fn load(sources: &Sources) -> Result<Self, Error> {
        let mut settings = Self::blank();
        settings.apply_text(DEFAULTS, Path::new("config/default.toml"))?;
        for path in files(sources.file.as_deref())? {
            let text = std::fs::read_to_string(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
            settings.apply_text(&text, &path)?;
        }
        settings.apply_environment(&sources.environment)?;
        for (key, value) in &sources.flags {
            let origin = Origin::Flag(format!("--{}", key.rsplit('.').next().unwrap_or(key).replace('_', "-")));
            settings.apply(key, &Value::One(value.clone()), &origin)?;
        }
        settings.derive()?;
        Ok(settings)
    }

    fn apply_text(&mut self, text: &str, path: &Path) -> Result<(), Error> {
        let origin = |line| Origin::Line(path.to_path_buf(), line);
        let entries = file::read(text)
            .map_err(|malformed| Error::Syntax { origin: origin(malformed.line), reason: malformed.reason })?;
        entries.iter().try_for_each(|entry| self.apply(&entry.key, &entry.value, &origin(entry.line)))
    }

    fn apply_environment(&mut self, environment: &[(String, String)]) -> Result<(), Error> {
        for (name, value) in environment {
            let other = OTHER_VARIABLES.iter().any(|other| name.starts_with(other));
            if other || name == TOKEN_VARIABLE || !name.starts_with("SHOAL_") {
                continue;
            }
            let origin = Origin::Variable(name.clone());
            let Some(setting) = SETTINGS.iter().find(|setting| setting.variable() == *name) else {
                let suggestion = table::nearest(name, SETTINGS.iter().map(Setting::variable));
                return Err(Error::Unknown { origin, key: name.clone(), suggestion });
            };
            self.apply(setting.key, &Value::One(value.clone()), &origin)?;
        }
        Ok(())
    }

    fn apply(&mut self, key: &str, value: &Value, origin: &Origin) -> Result<(), Error> {
        let Some(setting) = table::find(key) else {
            let suggestion = table::nearest(key, SETTINGS.iter().map(|setting| setting.key.to_string()));
            return Err(Error::Unknown { origin: origin.clone(), key: key.to_string(), suggestion });
        };
        let outcome = match (&setting.reader, value) {
            (Reader::One(read), Value::One(text)) => read(self, text),
            (Reader::Many(read), Value::Many(items)) => read(self, items),
            (Reader::Many(read), Value::One(text)) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                read(self, &items.map(String::from).collect::<Vec<_>>())
            }
            (Reader::One(_), Value::Many(_)) => Err("one value".into()),
        };
        outcome.map_err(|expected| Error::Value {
            origin: origin.clone(),
            key: key.to_string(),
            expected,
            value: match value {
                Value::One(text) => text.clone(),
                Value::Many(items) => items.join(","),
            },
        })
    }

    /// Fills in what is left empty, and checks what two settings must agree on.
    fn derive(&mut self) -> Result<(), Error> {
        if self.node.data.is_relative() {
            self.node.data = std::path::absolute(&self.node.data)
                .map_err(|source| Error::Read { path: self.node.data.clone(), source })?;
        }
        if self.node.run.as_os_str().is_empty() {
            self.node.run = run_directory(&self.node.data);
        }
        if self.node.name.is_empty() {
            self.node.name = host_name();
        }
        self.node.address = self.address.unwrap_or_else(|| reachable_address(self.node.listen));
        if self.node.mesh.advertise.is_empty() {
            self.node.mesh.advertise = vec![SocketAddr::new(self.node.address, self.node.listen.port())];
        }
        self.ranges_are_apart()
    }

    fn ranges_are_apart(&self) -> Result<(), Error> {
        let network = &self.node.network;
        let wrong = |key: &str, expected: String, value: String| {
            Err(Error::Value { origin: Origin::Derived, key: key.into(), expected, value })
        };
        let services = network.service_cidr;
        let pods = [("network.pod_cidr", network.pod_cidr), ("network.cluster_cidr", Some(network.cluster_cidr))];
        for (key, range) in pods.into_iter().filter_map(|(key, range)| Some((key, range?))) {
            if range.contains(services.network()) || services.contains(range.network()) {
                return wrong(key, format!("a range apart from network.service_cidr ({services})"), range.to_string());
            }
        }
        if network.node_prefix < network.cluster_cidr.prefix() {
            let expected = format!("a prefix within network.cluster_cidr ({})", network.cluster_cidr);
            return wrong("network.node_prefix", expected, network.node_prefix.to_string());
        }
        Ok(())
    }

    /// Values that the defaults replace; a test checks that they set every one.
    fn blank() -> Self {
        let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let node = NodeSettings {
            programs: super::toolbox::APPLETS,
            data: PathBuf::new(),
            run: PathBuf::new(),
            listen: SocketAddr::new(nowhere, 0),
            name: String::new(),
            address: nowhere,
            runtime: RuntimeKind::Auto,
            containerd_socket: PathBuf::new(),
            cluster_domain: String::new(),
            network: NetworkSettings {
                pod_cidr: None,
                cluster_cidr: Cidr::nothing(),
                node_prefix: 0,
                vxlan_port: 0,
                service_cidr: Cidr::nothing(),
                bridge: String::new(),
                nft_table: String::new(),
                mtu: 0,
            },
            mesh: MeshSettings {
                join: Vec::new(),
                token: None,
                zone: String::new(),
                certificate_lifetime: Duration::ZERO,
                advertise: Vec::new(),
            },
            control: ControlSettings {
                voters_max: 0,
                replace_after: Duration::ZERO,
                declare_after: Duration::ZERO,
                default_toleration: Duration::ZERO,
                slow_disk: Duration::ZERO,
            },
            store: StoreSettings { history: Duration::ZERO, snapshot_bytes: 0 },
            backup: BackupSettings { directory: PathBuf::new(), every: Duration::ZERO, keep: 0 },
            api: ApiSettings { max_in_flight: 0 },
            agent: AgentSettings { max_pods: 0, parallel_pulls: 0 },
            registries: RegistrySettings::default(),
        };
        Self {
            node,
            log: LogSettings { filter: String::new(), format: LogFormat::Auto },
            token_file: None,
            address: None,
        }
    }
}

/// Where a node with this data directory keeps what lives only while the machine is up.
pub fn run_directory(data: &Path) -> PathBuf {
    if data == Path::new(SYSTEM_DATA) { PathBuf::from("/run/shoal") } else { data.join("run") }
}

/// The files to read, lowest layer first.
fn files(named: Option<&Path>) -> Result<Vec<PathBuf>, Error> {
    let main = named.unwrap_or(Path::new(SYSTEM_FILE));
    let drop_ins = main.with_extension("d");
    let mut files = Vec::new();
    if named.is_some() || main.exists() {
        files.push(main.to_path_buf());
    }
    let mut more = match std::fs::read_dir(&drop_ins) {
        Ok(entries) => entries.filter_map(Result::ok).map(|entry| entry.path()).collect::<Vec<_>>(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(Error::Read { path: drop_ins, source }),
    };
    more.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    more.sort();
    files.extend(more);
    Ok(files)
}

fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    parse::dns_name(&name.to_lowercase()).unwrap_or_else(|_| "node".into())
}

/// The address that others see: the one listened on, else the one that the default route would leave from.
fn reachable_address(listen: SocketAddr) -> IpAddr {
    if !listen.ip().is_unspecified() {
        return listen.ip();
    }
    // Connecting a datagram socket sends nothing; it only asks the routing table. 192.0.2.0/24 is for documentation.
    let asked = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    });
    asked.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}

#[cfg(test)]
mod tests;

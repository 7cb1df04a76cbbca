//! What a run does: a scenario file, read strictly. A key that is not known, a value out of bounds and a fault that
//! reaches beyond the run are refused before anything is made.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::cli::failure::Failure;
use crate::cli::settings;

/// Most nodes of a run.
pub const MAX_NODES: u8 = 9;
/// Longest load.
const MAX_DURATION: Duration = Duration::from_hours(1);
/// Longest wait for the cluster to heal and to converge.
const MAX_SETTLE: Duration = Duration::from_mins(10);
/// Most faults of a file, and most nodes that one of them names.
const MAX_FAULTS: usize = 200;
/// Least and most bytes of a node's disk, where it has one of its own: a file in memory.
const DISK_BYTES: std::ops::RangeInclusive<u64> = 64 << 20..=4 << 30;

/// A scenario file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name, as reports show it.
    pub name: String,
    /// What it is for, in a sentence.
    #[serde(default)]
    pub about: String,
    /// Nodes of the cluster: `n1` founds it, the others join.
    pub nodes: u8,
    /// What runs their containers.
    #[serde(default)]
    pub runtime: Runtime,
    /// How long the load goes on.
    #[serde(deserialize_with = "duration")]
    pub duration: Duration,
    /// How long the cluster may take afterwards to heal, to converge and to tell every watcher everything.
    #[serde(deserialize_with = "duration", default = "a_minute")]
    pub settle: Duration,
    /// First address of the /24 that the nodes are on. It leads nowhere and is seen by nobody else.
    #[serde(default = "subnet")]
    pub subnet: Ipv4Addr,
    /// Size of each node's disk, e.g. `512Mi`: in memory, and its own. Without it data lie where `--data` says, and
    /// disks cannot be filled.
    #[serde(deserialize_with = "size", default)]
    pub disk: Option<u64>,
    /// Settings of every node, as `shoal up --set` takes them.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// What clients do meanwhile.
    #[serde(default)]
    pub load: Load,
    /// What goes wrong.
    #[serde(default)]
    pub fault: Vec<Fault>,
}

/// What runs containers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// Pretended: runs everywhere as root.
    #[default]
    Hollow,
    /// Real containers.
    Embedded,
}

impl Runtime {
    /// As `shoal up --runtime` takes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hollow => "hollow",
            Self::Embedded => "embedded",
        }
    }
}

/// What clients do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Load {
    /// Clients, each with one request at a time.
    pub clients: u16,
    /// ConfigMaps that each of them has for itself.
    pub keys: u16,
    /// Time from the begin of a client's request to that of its next.
    #[serde(deserialize_with = "duration")]
    pub every: Duration,
    /// Bytes of a value.
    pub value_bytes: u32,
    /// Of a hundred requests, how many read.
    pub reads: u8,
    /// Of a hundred writes to what is there, how many delete it.
    pub deletes: u8,
    /// Watchers of everything that clients write; the first begins at n1, the second at n2.
    pub watchers: u16,
    /// How long a client waits for an answer.
    #[serde(deserialize_with = "duration")]
    pub request_timeout: Duration,
    /// Deployments that are rolled over and over.
    pub deployments: u16,
    /// Replicas of each.
    pub replicas: u16,
    /// Time from one rollout of a deployment to its next.
    #[serde(deserialize_with = "duration")]
    pub rollout_every: Duration,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            clients: 6,
            keys: 8,
            every: Duration::from_millis(50),
            value_bytes: 256,
            reads: 30,
            deletes: 10,
            watchers: 3,
            request_timeout: Duration::from_secs(5),
            deployments: 2,
            replicas: 3,
            rollout_every: Duration::from_secs(10),
        }
    }
}

/// One thing that goes wrong, and ends.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When, from the begin of the load.
    #[serde(deserialize_with = "duration")]
    pub at: Duration,
    /// What.
    #[serde(rename = "do")]
    pub act: Act,
    /// Whom: `n1` to `n9`, or who leads, follows or survives at that moment.
    pub nodes: Vec<Target>,
    /// How long, except for what only happens once.
    #[serde(rename = "for", deserialize_with = "some_duration", default)]
    pub lasts: Option<Duration>,
    /// Where it is given: one node after another, so far apart; else all at once.
    #[serde(deserialize_with = "some_duration", default)]
    pub in_turn: Option<Duration>,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// `kill -9`, and a start afterwards.
    Kill,
    /// `SIGSTOP`, and `SIGCONT` afterwards.
    Stop,
    /// Packets between two nodes are lost.
    Cut,
    /// Packets from the first of two nodes to the second are lost.
    CutOneWay,
    /// Packets between these nodes and all others are lost.
    Isolate,
    /// The disk is full.
    Fill,
    /// `kill -9`, other bytes in the files of the log and the state, and a start afterwards.
    Damage,
    /// `shoal recover` on one node.
    Recover,
}

impl Act {
    /// As scenarios say it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Cut => "cut",
            Self::CutOneWay => "cut-one-way",
            Self::Isolate => "isolate",
            Self::Fill => "fill",
            Self::Damage => "damage",
            Self::Recover => "recover",
        }
    }

    /// Whether it goes on until it is undone.
    pub fn lasts(self) -> bool {
        self != Self::Recover
    }
}

/// Which node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A node by its number, from 0.
    Node(usize),
    /// Who leads.
    Leader,
    /// Every running node that does not lead.
    Followers,
    /// The first node that runs.
    Survivor,
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let number =
            |digits: &str| digits.parse::<usize>().ok().filter(|nth| (1..=usize::from(MAX_NODES)).contains(nth));
        match text.as_str() {
            "leader" => Ok(Self::Leader),
            "followers" => Ok(Self::Followers),
            "survivor" => Ok(Self::Survivor),
            name => name.strip_prefix('n').and_then(number).map(|nth| Self::Node(nth - 1)).ok_or_else(|| {
                serde::de::Error::custom(format!(
                    "nodes are n1 to n{MAX_NODES}, leader, followers or survivor, not {name:?}"
                ))
            }),
        }
    }
}

impl Scenario {
    /// Reads a file's text.
    ///
    /// # Errors
    /// Where it is not TOML, has a key that is not known, or does not fit together; the message says where.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let scenario: Self = toml::from_str(text).map_err(|error| Failure::new(error.to_string().trim_end()))?;
        scenario.check().map_err(Failure::new)?;
        Ok(scenario)
    }

    /// Whether it fits together.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> Result<(), String> {
        let name = !self.name.is_empty() && self.name.len() <= 64 && !self.name.contains(char::is_control);
        demand(name, "name is a line of at most 64 bytes")?;
        demand((1..=MAX_NODES).contains(&self.nodes), &format!("nodes is a number from 1 to {MAX_NODES}"))?;
        let second = Duration::from_secs(1);
        demand((second..=MAX_DURATION).contains(&self.duration), "duration is a time from 1s to 1h")?;
        demand((second..=MAX_SETTLE).contains(&self.settle), "settle is a time from 1s to 10m")?;
        demand(
            self.subnet.octets()[3] == 0 && self.subnet.is_private(),
            "subnet is a private address that ends in .0",
        )?;
        demand(self.disk.is_none_or(|bytes| DISK_BYTES.contains(&bytes)), "disk is a size from 64Mi to 4Gi")?;
        self.load.check()?;
        demand(self.fault.len() <= MAX_FAULTS, &format!("a scenario has at most {MAX_FAULTS} faults"))?;
        self.fault.iter().enumerate().try_for_each(|(nth, fault)| {
            fault
                .check(self)
                .map_err(|wrong| format!("fault {} ({} at {:?}): {wrong}", nth + 1, fault.act.word(), fault.at))
        })
    }

    /// Name of a node, by its number from 0.
    pub fn node_name(nth: usize) -> String {
        format!("n{}", nth + 1)
    }
}

impl Load {
    fn check(&self) -> Result<(), String> {
        let (millis, hour) = (Duration::from_millis(1), Duration::from_hours(1));
        demand((1..=64).contains(&self.clients), "load.clients is a number from 1 to 64")?;
        demand((1..=1000).contains(&self.keys), "load.keys is a number from 1 to 1000")?;
        demand((millis..=hour).contains(&self.every), "load.every is a time from 1ms to 1h")?;
        demand(self.value_bytes <= 512 << 10, "load.value_bytes is at most 524288")?;
        demand(self.reads <= 90, "load.reads is at most 90 of a hundred")?;
        demand(self.deletes <= 100, "load.deletes is at most 100 of a hundred")?;
        demand(self.watchers <= 64, "load.watchers is at most 64")?;
        let patience = Duration::from_millis(100)..=Duration::from_mins(1);
        demand(patience.contains(&self.request_timeout), "load.request_timeout is a time from 100ms to 1m")?;
        demand(self.deployments <= 50, "load.deployments is at most 50")?;
        demand((1..=100).contains(&self.replicas), "load.replicas is a number from 1 to 100")?;
        let turn = Duration::from_millis(500)..=hour;
        demand(turn.contains(&self.rollout_every), "load.rollout_every is a time from 500ms to 1h")
    }
}

impl Fault {
    fn check(&self, scenario: &Scenario) -> Result<(), String> {
        demand(!self.nodes.is_empty() && self.nodes.len() <= MAX_FAULTS, "nodes names at least one node")?;
        for target in &self.nodes {
            if let Target::Node(nth) = target {
                let there = *nth < usize::from(scenario.nodes);
                demand(
                    there,
                    &format!("there is no {}: the cluster has {}", Scenario::node_name(*nth), scenario.nodes),
                )?;
            }
        }
        let pair = matches!(self.act, Act::Cut | Act::CutOneWay);
        demand(!pair || (self.nodes.len() == 2 && self.in_turn.is_none()), "a cut is between two nodes, at once")?;
        demand(!pair || !self.nodes.contains(&Target::Followers), "a cut is between two nodes; followers may be more")?;
        demand(!pair || self.nodes.first() != self.nodes.get(1), "a cut is between two different nodes")?;
        let single = self.act != Act::Recover || (self.nodes.len() == 1 && self.nodes != [Target::Followers]);
        demand(single, "shoal recover is run on one node")?;
        demand(
            self.act != Act::Fill || scenario.disk.is_some(),
            "only a disk of a node's own can be filled: set `disk`",
        )?;
        match (self.act.lasts(), self.lasts) {
            (true, None) => Err("how long? `for` is missing".into()),
            (false, Some(_)) => Err("it happens once: it takes no `for`".into()),
            _ => demand(self.end() <= scenario.duration, "it reaches beyond the duration of the run"),
        }
    }

    /// When the last of it is over.
    pub fn end(&self) -> Duration {
        let turns = u32::try_from(self.nodes.len().saturating_sub(1)).unwrap_or(u32::MAX);
        let between = self.in_turn.unwrap_or_default().saturating_mul(turns);
        self.at.saturating_add(between).saturating_add(self.lasts.unwrap_or_default())
    }
}

fn demand(holds: bool, wanted: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(wanted.into()) }
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    settings::duration(&String::deserialize(from)?)
        .map_err(|expected| serde::de::Error::custom(format!("expected {expected}")))
}

fn some_duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    duration(from).map(Some)
}

fn size<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    settings::size(&String::deserialize(from)?)
        .map(Some)
        .map_err(|expected| serde::de::Error::custom(format!("expected {expected}")))
}

fn a_minute() -> Duration {
    Duration::from_mins(1)
}

fn subnet() -> Ipv4Addr {
    Ipv4Addr::new(10, 213, 0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "name = \"x\"\nnodes = 3\nduration = \"60s\"\n";

    #[test]
    fn every_shipped_scenario_is_read_and_fits_together() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/config/chaos");
        let mut read = Vec::new();
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let scenario = Scenario::parse(&std::fs::read_to_string(&path).unwrap());
            let scenario = scenario.unwrap_or_else(|failure| panic!("{}: {}", path.display(), failure.message()));
            assert_eq!(Some(scenario.name.as_str()), path.file_stem().and_then(|stem| stem.to_str()));
            read.push(scenario.name);
        }
        read.sort();
        assert_eq!(read, ["blackout", "cuts", "damage", "disks", "pauses", "rolling-kill"]);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_reason() {
        let check = |more: &str, expect: &str| {
            let said = match Scenario::parse(&format!("{HEAD}{more}")) {
                Ok(_) => "accepted".to_owned(),
                Err(failure) => failure.message().to_owned(),
            };
            assert!(said.contains(expect), "{more:?}: {said:?} has no {expect:?}");
        };
        check("", "accepted");
        check("colour = 1\n", "unknown field `colour`");
        check("[load]\nclints = 3\n", "unknown field `clints`");
        check("[load]\nevery = \"5\"\n", "line 5");
        check("[load]\nclients = 0\n", "load.clients is a number from 1 to 64");
        check("settle = \"0s\"\n", "settle is a time");
        check("subnet = \"8.8.8.0\"\n", "a private address");
        check("runtime = \"docker\"\n", "unknown variant `docker`");
        let fault = |text: &str, expect: &str| check(&format!("[[fault]]\n{text}\n"), expect);
        fault("at = \"1s\"\ndo = \"kill\"\nnodes = [\"n1\"]\nfor = \"2s\"", "accepted");
        fault("at = \"1s\"\ndo = \"kill\"\nnodes = [\"n4\"]\nfor = \"2s\"", "there is no n4");
        fault("at = \"1s\"\ndo = \"kill\"\nnodes = [\"x\"]\nfor = \"2s\"", "not \"x\"");
        fault("at = \"1s\"\ndo = \"kill\"\nnodes = [\"n1\"]", "`for` is missing");
        fault("at = \"59s\"\ndo = \"kill\"\nnodes = [\"n1\"]\nfor = \"2s\"", "beyond the duration");
        fault(
            "at = \"50s\"\ndo = \"kill\"\nnodes = [\"n1\",\"n2\"]\nfor = \"2s\"\nin_turn = \"9s\"",
            "beyond the duration",
        );
        fault("at = \"1s\"\ndo = \"cut\"\nnodes = [\"n1\"]\nfor = \"2s\"", "between two nodes");
        fault("at = \"1s\"\ndo = \"cut\"\nnodes = [\"n1\", \"n1\"]\nfor = \"2s\"", "two different nodes");
        fault("at = \"1s\"\ndo = \"fill\"\nnodes = [\"n1\"]\nfor = \"2s\"", "set `disk`");
        fault("at = \"1s\"\ndo = \"recover\"\nnodes = [\"n1\"]\nfor = \"2s\"", "takes no `for`");
    }
}

//! What a node must remember of its cluster, so that a restart needs neither seed nor token: one private file.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::mesh::identity::{self, write_private};

/// Name of the file in the data directory.
pub const FILE: &str = "member.json";
/// Most nodes whose addresses are remembered; the ones whose names come last are forgotten.
pub const MAX_PEERS: usize = 256;

/// Why it cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is not what this program writes. Nothing was changed.
    #[error("{} is damaged ({reason}); this node's place in the cluster is in it: restore it, or remove the data directory and join again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It cannot be written; the old one stays.
    #[error(transparent)]
    Write(#[from] identity::Error),
}

/// A node's place in its cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// The node's name: its data belongs to this name.
    pub name: String,
    /// Whether it made the cluster.
    pub founder: bool,
    /// Its number in the replicated log.
    pub raft_id: u64,
    /// Addresses of its pods.
    pub pod_cidr: String,
    /// What is the same on every node.
    pub cluster: ClusterFacts,
    /// Which start of the process this is: grows with every one.
    pub generation: u64,
    /// Where others were last reached.
    #[serde(default)]
    pub peers: BTreeMap<String, Vec<SocketAddr>>,
    /// The number that the store's directory may still belong to: it is put aside at the next start.
    #[serde(default)]
    pub former: Option<u64>,
}

/// What is the same on every node of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterFacts {
    /// Addresses of all pods.
    pub cluster_cidr: String,
    /// Addresses of services.
    pub service_cidr: String,
    /// DNS domain.
    pub cluster_domain: String,
}

impl Remembered {
    /// Reads what is remembered in the data directory; `None` where the node has no place yet.
    ///
    /// # Errors
    /// Where the file cannot be read or is damaged.
    pub fn load(data: &Path) -> Result<Option<Self>, Error> {
        let path = data.join(FILE);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Io { path, source }),
        };
        match serde_json::from_slice(&text) {
            Ok(found) => Ok(Some(found)),
            Err(error) => Err(Error::Damaged { path, reason: error.to_string() }),
        }
    }

    /// Writes it (mode 0600), as a whole or not at all.
    ///
    /// # Errors
    /// Where the file system refuses.
    pub fn save(&self, data: &Path) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        Ok(write_private(&data.join(FILE), &text)?)
    }

    /// Takes in where others are now; says whether anything changed.
    pub fn meet(&mut self, peers: impl IntoIterator<Item = (String, Vec<SocketAddr>)>) -> bool {
        let next: BTreeMap<_, _> =
            peers.into_iter().filter(|(name, at)| *name != self.name && !at.is_empty()).collect();
        let next = next.into_iter().take(MAX_PEERS).collect();
        if next == self.peers {
            return false;
        }
        self.peers = next;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered() -> Remembered {
        Remembered {
            name: "a".into(),
            founder: true,
            raft_id: 1,
            pod_cidr: "10.244.0.0/24".into(),
            cluster: ClusterFacts {
                cluster_cidr: "10.244.0.0/16".into(),
                service_cidr: "10.96.0.0/16".into(),
                cluster_domain: "cluster.local".into(),
            },
            generation: 7,
            peers: BTreeMap::new(),
            former: None,
        }
    }

    #[test]
    fn what_was_saved_is_read_back_and_damage_is_told() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Remembered::load(dir.path()).unwrap(), None);
        remembered().save(dir.path()).unwrap();
        assert_eq!(Remembered::load(dir.path()).unwrap(), Some(remembered()));
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(Remembered::load(dir.path()).unwrap_err().to_string().contains("damaged"));
    }

    #[test]
    fn a_node_does_not_remember_itself_and_its_memory_is_bounded() {
        let mut it = remembered();
        let at = vec!["10.0.0.1:6443".parse().unwrap()];
        let many = (0..MAX_PEERS + 9).map(|n| (format!("n{n:04}"), at.clone())).chain([("a".to_owned(), at.clone())]);
        assert!(it.meet(many.clone()) && !it.meet(many));
        assert_eq!(it.peers.len(), MAX_PEERS);
        assert!(!it.peers.contains_key("a"));
    }
}

//! A node whose replica is of no use any more begins anew under a number that was never used: its store is put aside, the
//! cluster's authority gives it a number, and it follows as a learner until the quorum's keeper lets it vote again.
//!
//! Each step can be repeated: the reason is noted first, then the number, and the old store goes last.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::remembered::{self, Remembered};
use crate::actors::cluster::desk::{Ask, AuthorityCalls, Told};
use crate::mesh::address::{Address, Failure};
use crate::mesh::exports::Protocol as _;
use crate::mesh::handle::Mesh;
use crate::mesh::identity::write_private;
use crate::model::{NodeId, Timestamp};
use crate::store;

/// In the data directory: why the node must begin anew.
const NOTE: &str = "rejoin";
/// The store's directory in the data directory.
const STORE: &str = "store";
/// What a store that was put aside is called, with a time behind it; one is kept.
const ASIDE: &str = "store.removed-";
/// Bound on finding somebody who gives a number.
const ASK_WITHIN: Duration = Duration::from_secs(30);
/// Bound on one answer.
const CALL: Duration = Duration::from_secs(5);
/// Pause between two rounds.
const PAUSE: Duration = Duration::from_millis(500);

/// Why it did not begin anew. The store is where it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody leads, or the leader says no.
    #[error("no node gives this one a new number: {last}")]
    Nobody {
        /// What the last one said.
        last: String,
    },
    /// The new number cannot be kept.
    #[error(transparent)]
    Remember(#[from] remembered::Error),
    /// The old store cannot be put aside.
    #[error("the old store cannot be put aside")]
    Io(#[from] io::Error),
}

/// Notes that the node must begin anew at its next start.
///
/// # Errors
/// As the file system says.
pub fn note(data: &Path, reason: &str) -> Result<(), crate::mesh::identity::Error> {
    write_private(&data.join(NOTE), reason.as_bytes())
}

/// Why the node must begin anew; `None` where it need not. A founder whose store is gone must not found a second, empty
/// cluster where it has known others.
///
/// # Errors
/// As the file system says.
pub fn reason(data: &Path, remembered: &Remembered) -> io::Result<Option<String>> {
    match std::fs::read_to_string(data.join(NOTE)) {
        Ok(reason) => return Ok(Some(reason)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    if remembered.founder && !remembered.peers.is_empty() && is_empty(&data.join(STORE))? {
        return Ok(Some("its store is gone".into()));
    }
    Ok(None)
}

/// Asks the cluster for a number and takes it; the old store is put aside.
///
/// # Errors
/// See [`Error`]; the next start tries again.
pub async fn begin(data: &Path, remembered: &mut Remembered, mesh: &Mesh, now: Timestamp) -> Result<(), Error> {
    let number = ask(remembered, mesh).await?;
    remembered.former.get_or_insert(remembered.raft_id);
    remembered.raft_id = number;
    remembered.founder = false;
    remembered.save(data)?;
    finish(data, remembered, now)
}

/// Puts the store of a former number aside, where that has not been done yet.
///
/// # Errors
/// As the file system says.
pub fn finish(data: &Path, remembered: &mut Remembered, now: Timestamp) -> Result<(), Error> {
    if remembered.former.is_none() {
        return Ok(());
    }
    put_aside(data, now)?;
    remembered.former = None;
    remembered.save(data)?;
    match std::fs::remove_file(data.join(NOTE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

async fn ask(remembered: &Remembered, mesh: &Mesh) -> Result<u64, Error> {
    let until = Instant::now() + ASK_WITHIN;
    let mut last = "none was reached".to_owned();
    while Instant::now() < until {
        // Whoever is remembered, and whoever gossip has found since.
        let view = mesh.view().borrow().clone();
        let found = view.reachable().map(|member| member.node.clone()).filter(|node| *node != view.me);
        let known = remembered.peers.keys().map(|node| NodeId(node.as_str().into()));
        for node in known.chain(found).collect::<BTreeSet<_>>() {
            let to = Address::new(&node, AuthorityCalls::ACTOR);
            match mesh.call::<AuthorityCalls>(&to, Ask::Renumber, CALL).await {
                Ok(Told::Number(number)) => return Ok(number),
                Ok(_) => last = format!("{node} answered something else"),
                // Not the leader.
                Err(Failure::Refused(crate::mesh::address::Refusal::Busy)) => last = format!("{node} does not lead"),
                Err(failure) => last = format!("{node}: {failure}"),
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(Error::Nobody { last })
}

/// Whether a store's directory has nothing that was ever acknowledged.
fn is_empty(dir: &Path) -> io::Result<bool> {
    for (folder, extension) in [("log", "log"), ("state", "image")] {
        match std::fs::read_dir(dir.join(folder)) {
            Ok(mut entries) => {
                let kept = |entry: &io::Result<std::fs::DirEntry>| match entry {
                    Ok(entry) => entry.path().extension().is_some_and(|found| found == extension),
                    Err(_) => true,
                };
                if entries.any(|entry| kept(&entry)) {
                    return Ok(false);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Renames the store; one that was put aside before goes.
fn put_aside(data: &Path, now: Timestamp) -> io::Result<()> {
    let store = data.join(STORE);
    if !store.try_exists()? {
        return Ok(());
    }
    for old in aside(data)? {
        std::fs::remove_dir_all(old)?;
    }
    let to = data.join(format!("{ASIDE}{}", now.rfc3339().replace(':', "")));
    std::fs::rename(&store, &to)?;
    std::fs::File::open(data)?.sync_all()?;
    tracing::warn!(kept_in = %to.display(), "the store was put aside; this node follows the cluster as a new replica");
    Ok(())
}

fn aside(data: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(data)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(ASIDE) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Whether a store's failure is one that a new copy from the others mends.
pub fn mends(error: &store::Error) -> bool {
    matches!(error, store::Error::Damaged(_))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::actors::node::remembered::ClusterFacts;

    fn founder(peers: bool) -> Remembered {
        let at = vec!["10.0.0.2:6443".parse().unwrap()];
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
            peers: if peers { BTreeMap::from([("b".to_owned(), at)]) } else { BTreeMap::new() },
            former: None,
        }
    }

    #[test]
    fn a_founder_without_its_store_founds_again_only_where_it_was_always_alone() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(reason(data.path(), &founder(false)).unwrap(), None);
        assert_eq!(reason(data.path(), &founder(true)).unwrap().as_deref(), Some("its store is gone"));
        std::fs::create_dir_all(data.path().join("store/log")).unwrap();
        assert!(reason(data.path(), &founder(true)).unwrap().is_some());
        std::fs::write(data.path().join("store/log/1.log"), "").unwrap();
        assert_eq!(reason(data.path(), &founder(true)).unwrap(), None);
        note(data.path(), "damaged").unwrap();
        assert_eq!(reason(data.path(), &founder(false)).unwrap().as_deref(), Some("damaged"));
    }

    #[test]
    fn the_old_store_goes_aside_once_and_one_is_kept() {
        let data = tempfile::tempdir().unwrap();
        for round in 1..=2 {
            std::fs::create_dir_all(data.path().join("store")).unwrap();
            std::fs::write(data.path().join("store/replica"), round.to_string()).unwrap();
            note(data.path(), "damaged").unwrap();
            let mut remembered = Remembered { raft_id: 9, former: Some(1), ..founder(true) };
            finish(data.path(), &mut remembered, Timestamp(round)).unwrap();
            assert_eq!(remembered.former, None);
            assert_eq!(reason(data.path(), &Remembered { founder: false, ..remembered.clone() }).unwrap(), None);
            finish(data.path(), &mut remembered, Timestamp(round)).unwrap();
        }
        let kept = aside(data.path()).unwrap();
        assert_eq!(kept.len(), 1);
        assert_eq!(std::fs::read_to_string(kept[0].join("replica")).unwrap(), "2");
        assert!(!data.path().join("store").exists());
    }
}

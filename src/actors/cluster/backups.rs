//! Backups on a schedule, to a directory, by the node that leads.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt as _;
use ractor::ActorProcessingErr;
use tokio::io::AsyncWriteExt as _;

use crate::actors::service::Service as Task;
use crate::actors::settings::BackupSettings;
use crate::actors::supervisor::Child;
use crate::mesh::identity::LiveIdentity;
use crate::model::Timestamp;
use crate::store::Store;
use crate::store::backup::{Head, chunks};
use crate::world::World;

/// How often is looked whether one is due, at most.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// What the files are called: this, a time, and the end below.
const NAME: &str = "shoal-";
const END: &str = ".backup";
/// End of the name of one that is not whole yet; one whose writer died is removed once the next is made.
const DRAFT_END: &str = ".backup.part";

/// What making them takes.
#[derive(Clone)]
pub struct Backups {
    /// What is backed up.
    pub store: Store,
    /// The authority's fingerprint.
    pub live: LiveIdentity,
    /// Where to, how often, how many.
    pub settings: BackupSettings,
    /// Clock.
    pub world: World,
}

impl Backups {
    /// The child `backups` of a supervisor.
    pub fn child(self) -> Child {
        Task::child("backups", move || {
            let this = self.clone();
            async move { this.run().await }
        })
    }

    async fn run(self) -> Result<(), ActorProcessingErr> {
        if self.settings.directory.as_os_str().is_empty() {
            return std::future::pending().await;
        }
        loop {
            if self.store.leads()
                && let Err(error) = self.look().await
            {
                tracing::error!(%error, directory = %self.settings.directory.display(), "no backup was made");
            }
            tokio::time::sleep(LOOK_EVERY.min(self.settings.every)).await;
        }
    }

    async fn look(&self) -> io::Result<()> {
        let directory = &self.settings.directory;
        tokio::fs::create_dir_all(directory).await?;
        let now = self.world.clock.now();
        let made = list(directory, END).await?;
        if made.last().is_some_and(|(at, _)| now.since(*at) < self.settings.every) {
            return Ok(());
        }
        // A leader that was deposed would make an old one.
        self.store.barrier().await.map_err(io::Error::other)?;
        let path = directory.join(name(now));
        let head = Head {
            cluster: self.live.bundle().signing().to_string(),
            revision: self.store.revision().0,
            time: now.rfc3339(),
            release: env!("CARGO_PKG_VERSION").into(),
        };
        write(&self.store, &head, &path).await?;
        tracing::info!(file = %path.display(), revision = head.revision, "a backup was made");
        let excess = (made.len() + 1).saturating_sub(self.settings.keep);
        let drafts = list(directory, DRAFT_END).await?;
        for (_, old) in made.into_iter().take(excess).chain(drafts.into_iter().filter(|(at, _)| *at < now)) {
            tokio::fs::remove_file(old).await?;
        }
        Ok(())
    }
}

fn name(at: Timestamp) -> String {
    format!("{NAME}{}{END}", at.rfc3339().replace(':', "-"))
}

/// When a file of that name and `end` was made.
fn made_at(name: &str, end: &str) -> Option<Timestamp> {
    let text = name.strip_prefix(NAME)?.strip_suffix(end)?;
    let (date, time) = text.split_once('T')?;
    Timestamp::parse(&format!("{date}T{}", time.replace('-', ":")))
}

/// The backups of a directory, oldest first, or their drafts. What else is there is nobody's business.
async fn list(directory: &Path, end: &str) -> io::Result<Vec<(Timestamp, PathBuf)>> {
    let mut found = Vec::new();
    let mut entries = tokio::fs::read_dir(directory).await?;
    while let Some(entry) = entries.next_entry().await? {
        if let Some(at) = entry.file_name().to_str().and_then(|name| made_at(name, end)) {
            found.push((at, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// Writes one (mode 0600), as a whole or not at all.
async fn write(store: &Store, head: &Head, path: &Path) -> io::Result<()> {
    let draft = path.with_extension("backup.part");
    let written = async {
        let mut options = tokio::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft).await?;
        let mut chunks = std::pin::pin!(chunks(store.clone(), head));
        while let Some(chunk) = chunks.next().await {
            file.write_all(&chunk?).await?;
        }
        file.flush().await?;
        file.sync_all().await?;
        tokio::fs::rename(&draft, path).await?;
        tokio::fs::File::open(path.parent().unwrap_or(Path::new("."))).await?.sync_all().await
    };
    let written = written.await;
    if written.is_err() {
        let _ = tokio::fs::remove_file(&draft).await;
    }
    written
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::Revision;
    use crate::store::backup::verify;
    use crate::store::{Action, Expect, Op};
    use crate::store::{StoreOptions, Txn};

    #[test]
    fn a_file_says_when_it_was_made() {
        let at = Timestamp::parse("2026-11-20T08:00:07Z").unwrap();
        assert_eq!(name(at), "shoal-2026-11-20T08-00-07Z.backup");
        assert_eq!(made_at(&name(at), END), Some(at));
        assert_eq!(made_at("shoal-2026-11-20T08-00-07Z.backup.part", DRAFT_END), Some(at));
        for other in ["shoal-x.backup", "shoal-2026-11-20T08-00-07Z.backup.part", "notes.txt", ""] {
            assert_eq!(made_at(other, END), None, "{other}");
        }
    }

    #[tokio::test]
    async fn a_backup_of_a_store_that_is_written_is_whole_and_of_one_revision() {
        let dir = tempfile::tempdir().unwrap();
        let world = World {
            clock: Arc::new(crate::world::clock::SystemClock),
            entropy: Arc::new(crate::world::entropy::SeededEntropy::new(1)),
            disk: Arc::new(crate::world::disk::real::RealDisk),
        };
        let store = Store::open(StoreOptions::new(dir.path().join("s"), "n1"), world).await.unwrap();
        let put = |name: String| {
            let key = crate::model::ObjectKey::new(crate::kube::resource::id::CONFIG_MAPS, "a", &name);
            let value = format!(r#"{{"name":"{name}","resourceVersion":""}}"#);
            let splice = u32::try_from(value.len() - 2).unwrap();
            Txn::one(Op { key, expect: Expect::Any, action: Action::Put { value: value.into(), splice } }, 1)
        };
        for n in 0..50 {
            store.commit(put(format!("{n:02}"))).await.unwrap();
        }
        let head = Head { cluster: "c".into(), revision: store.revision().0, time: "t".into(), release: "r".into() };
        store.commit(put("later".into())).await.unwrap();
        let path = dir.path().join("b");
        write(&store, &head, &path).await.unwrap();
        assert_eq!(verify(std::fs::File::open(&path).unwrap()).unwrap(), (head.clone(), 50));
        store.compact(Revision(store.revision().0)).await.unwrap();
        assert!(write(&store, &head, &path).await.is_err(), "that revision is not retained any more");
        assert_eq!(verify(std::fs::File::open(&path).unwrap()).unwrap().1, 50, "the last one is still there");
    }
}

//! Damage to a stopped replica's store, as a failing disk does it: a byte of each file of the log and of the state is
//! another one than was written. And what the cluster says of it afterwards.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::door::Door;
use super::history::Repair;
use super::load::Shared;
use crate::cli::actors::QUORUM;
use crate::cli::client::resources::{items, text};
use crate::cli::failure::Failure;

/// Below the data directory: the folders whose files are damaged, and how those are called.
const FOLDERS: [(&str, &str); 2] = [("store/log", "log"), ("store/state", "image")];
/// How often the cluster is asked.
const POLL: Duration = Duration::from_millis(100);
/// The event by which a node says that its replica began anew, and where it is.
const REBUILT: &str = "ReplicaRebuilt";
const EVENTS: &str = "/api/v1/events?fieldSelector=reason%3DReplicaRebuilt";

/// Damages the store below `data`; says what it did.
///
/// # Errors
/// Where there is nothing to damage, or the file system refuses.
pub fn damage(data: &Path) -> Result<String, Failure> {
    let mut told = Vec::new();
    for (folder, extension) in FOLDERS {
        for path in files(&data.join(folder), extension)? {
            if let Some(at) = flip(&path)? {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                told.push(format!("{folder}/{name} at byte {at}"));
            }
        }
    }
    if told.is_empty() {
        return Err(Failure::new("there is nothing to damage"));
    }
    Ok(format!("changed {}", told.join(", ")))
}

fn files(dir: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|is| is == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Changes the byte in the middle of what is written: behind it is more, so that nobody may take it for a write that was
/// torn. Logs are allocated ahead, and zero where nothing is written yet.
fn flip(path: &Path) -> io::Result<Option<u64>> {
    let bytes = fs::read(path)?;
    let Some(middle) = bytes.iter().rposition(|byte| *byte != 0).map(|last| last / 2) else { return Ok(None) };
    let Some(byte) = bytes.get(middle) else { return Ok(None) };
    let file = File::options().write(true).open(path)?;
    file.write_all_at(&[!byte], middle as u64)?;
    file.sync_data()?;
    Ok(Some(middle as u64))
}

/// The number of the replica on `node`, as any node that answers tells it.
pub async fn number(doors: &[Door], node: &str) -> Option<u64> {
    for door in doors {
        let Ok(said) = door.get(QUORUM).await else { continue };
        let mine = items(&said, "replicas").iter().filter(|replica| text(replica, "/node") == node);
        let newest = mine.filter_map(|replica| replica.get("raftId").and_then(Value::as_u64)).max();
        if newest.is_some() {
            return newest;
        }
    }
    None
}

/// Waits until every damaged replica has another number and its node has said so.
pub async fn mended(shared: &Shared, patience: Duration) {
    let began = Instant::now();
    let mut repairs = Vec::new();
    shared.recorder.note(|history| repairs = std::mem::take(&mut history.ending.repairs));
    for repair in &mut repairs {
        loop {
            look(shared, repair).await;
            if repair.is_done() || began.elapsed() > patience {
                break;
            }
            sleep(POLL).await;
        }
    }
    shared.recorder.note(|history| history.ending.repairs = repairs);
}

async fn look(shared: &Shared, repair: &mut Repair) {
    repair.after = number(&shared.doors, &repair.node).await;
    for door in &shared.doors {
        let Ok(list) = door.get(EVENTS).await else { continue };
        let mine =
            |event: &&Value| text(event, "/reason") == REBUILT && text(event, "/involvedObject/name") == repair.node;
        repair.said = items(&list, "items").iter().find(mine).map(|event| text(event, "/message"));
        return;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_in_the_middle_of_what_is_written_changes_and_empty_files_stay() {
        let data = tempfile::tempdir().unwrap();
        for (folder, _) in FOLDERS {
            fs::create_dir_all(data.path().join(folder)).unwrap();
        }
        assert!(damage(data.path()).is_err(), "there is nothing yet");
        let (log, spare) = (data.path().join("store/log/1.log"), data.path().join("store/log/2.log"));
        fs::write(&log, [7, 7, 7, 7, 7, 0, 0, 0]).unwrap();
        fs::write(&spare, [0; 8]).unwrap();
        assert_eq!(damage(data.path()).unwrap_or_default(), "changed store/log/1.log at byte 2");
        assert_eq!(fs::read(&log).unwrap(), [7, 7, !7, 7, 7, 0, 0, 0]);
        assert_eq!(fs::read(&spare).unwrap(), [0; 8]);
    }
}

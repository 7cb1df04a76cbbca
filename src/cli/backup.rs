//! `shoal backup FILE` and `shoal restore FILE`, while the cluster runs.
//!
//! `difference` compares a backup with what the cluster has.

mod difference;

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use http::{Method, Request, header};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio_util::compat::FuturesAsyncReadCompatExt;

use self::difference::{Difference, compare};
use super::arguments::cluster::{BackupFlags, RestoreFlags};
use super::client::{self, JSON, Session};
use super::failure::Failure;
use crate::api::backup::{Batch, Change};
use crate::plan::restore::PASSES;
use crate::store::Txn;
use crate::store::backup::{Head, Reader, verify};

const BACKUP: &str = "/shoal/v1/backup";
const RESTORE: &str = "/shoal/v1/restore";
/// A batch is sent once its objects have this many bytes.
const BATCH_BYTES: usize = 1024 * 1024;
/// Bytes read from the server at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// Runs `shoal backup`.
pub fn run(flags: &BackupFlags) -> Result<ExitCode, Failure> {
    client::run(async {
        let session = Session::open(&flags.client).await?;
        let (head, objects) = fetch(&session, &flags.file).await?;
        println!("{objects} objects as of revision {} are in {}", head.revision, flags.file.display());
        Ok(ExitCode::SUCCESS)
    })
}

/// Runs `shoal restore`.
pub fn restore(flags: &RestoreFlags) -> Result<ExitCode, Failure> {
    let name = flags.file.display().to_string();
    let file = File::open(&flags.file).map_err(|error| Failure::from(error).context(&name))?;
    let (head, objects) = verify(BufReader::new(file)).map_err(|error| Failure::from(error).context(&name))?;
    println!("{objects} objects as of revision {}, made {}", head.revision, head.time);
    client::run(async {
        let session = Session::open(&flags.client).await?;
        let now = beside(&flags.file, "now");
        let (current, _) = fetch(&session, &now).await?;
        if current.cluster != head.cluster {
            eprintln!(
                "note: it is of another cluster; what was signed by that one's authority is not good in this one"
            );
        }
        let outcome = apply(&session, &flags.file, &now, flags.dry_run).await;
        let _ = std::fs::remove_file(&now);
        let told = outcome?;
        println!("{}{}", if flags.dry_run { "would have: " } else { "" }, told.text());
        Ok(ExitCode::SUCCESS)
    })
}

/// Fetches a backup, checks all of it, and only then gives it its name. Mode 0600: Secrets are in it.
async fn fetch(session: &Session, path: &Path) -> Result<(Head, u64), Failure> {
    let unwritable = |error: io::Error| Failure::from(error).context(&format!("cannot write {}", path.display()));
    let draft = beside(path, "part");
    let _ = std::fs::remove_file(&draft);
    // Before the cluster is asked: where there is no room for a file, none is made.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).map_err(unwritable)?;
    let done = match fetch_into(session, file, &unwritable).await {
        Ok(()) => keep(&draft, path, &unwritable),
        Err(failure) => Err(failure),
    };
    if done.is_err() {
        let _ = std::fs::remove_file(&draft);
    }
    done
}

async fn fetch_into(
    session: &Session,
    mut file: File,
    unwritable: &impl Fn(io::Error) -> Failure,
) -> Result<(), Failure> {
    let request = client::request(Method::GET, BACKUP, "*/*", None)?;
    let stream = session.client.request_stream(request).await.map_err(|error| session.explain(error))?;
    let mut stream = stream.compat();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            return file.sync_all().map_err(unwritable);
        }
        file.write_all(chunk.get(..read).unwrap_or_default()).map_err(unwritable)?;
    }
}

fn keep(draft: &Path, path: &Path, unwritable: &impl Fn(io::Error) -> Failure) -> Result<(Head, u64), Failure> {
    let found = verify(BufReader::new(File::open(draft)?))?;
    std::fs::rename(draft, path).map_err(unwritable)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(unwritable)?;
    Ok(found)
}

fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{extension}"));
    name.into()
}

/// What a restore did.
#[derive(Debug, Default)]
struct Told {
    created: u64,
    updated: u64,
    deleted: u64,
    same: u64,
    own: u64,
}

impl Told {
    fn count(&mut self, difference: &Difference) {
        match difference {
            Difference::Create(_) => self.created += 1,
            Difference::Update(_) => self.updated += 1,
            Difference::Delete(_) => self.deleted += 1,
            Difference::Same => self.same += 1,
            Difference::Own => self.own += 1,
        }
    }

    fn text(&self) -> String {
        format!(
            "created {}, updated {}, deleted {}; {} were the same, {} of the cluster's own were left alone",
            self.created, self.updated, self.deleted, self.same, self.own
        )
    }
}

/// Sends what differs, owners before what they own, deletions last.
async fn apply(session: &Session, backup: &Path, now: &Path, dry_run: bool) -> Result<Told, Failure> {
    let open = |path: &Path| -> Result<_, Failure> { Ok(Reader::open(BufReader::new(File::open(path)?))?) };
    let mut told = Told::default();
    for pass in 0..=PASSES {
        let mut batch = Pending::default();
        let mut differences = compare(open(backup)?, open(now)?);
        while let Some(difference) = differences.next_difference()? {
            if pass == 0 {
                told.count(&difference);
            }
            if let Some(change) = difference.change(pass).filter(|_| !dry_run)
                && let Some(full) = batch.push(change)
            {
                send(session, full).await?;
            }
        }
        send(session, std::mem::take(&mut batch.changes)).await?;
    }
    Ok(told)
}

/// Changes that wait for their batch to be full.
#[derive(Default)]
struct Pending {
    changes: Vec<Change>,
    bytes: usize,
}

impl Pending {
    /// Adds a change; gives those before it where it does not fit.
    fn push(&mut self, change: Change) -> Option<Vec<Change>> {
        let size = change.value.as_ref().map_or(0, bytes::Bytes::len);
        let full = self.changes.len() >= Txn::MAX_OPS || (self.bytes + size > BATCH_BYTES && !self.changes.is_empty());
        let before = full.then(|| std::mem::take(&mut self.changes));
        self.bytes = if full { size } else { self.bytes + size };
        self.changes.push(change);
        before
    }
}

async fn send(session: &Session, changes: Vec<Change>) -> Result<(), Failure> {
    if changes.is_empty() {
        return Ok(());
    }
    let body = rmp_serde::to_vec_named(&Batch(changes))?;
    let request = Request::builder().method(Method::POST).uri(RESTORE).header(header::ACCEPT, JSON);
    let request = request.header(header::CONTENT_TYPE, "application/msgpack").body(body)?;
    session.client.request::<Value>(request).await.map(drop).map_err(|error| session.explain(error))
}

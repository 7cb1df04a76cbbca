//! Whose directory it is: a replica's number, noted before its first vote, so that no other ever speaks with its log.

use std::io;
use std::path::Path;

use crate::store::raft::FIRST_VOTER;
use crate::store::{Error, disk_error};
use crate::world::disk::Disk;

/// Name of the file; it holds the number and its checksum.
const NAME: &str = "replica";
/// Name that it is written under.
const NEW: &str = "replica.new";

/// Claims `dir` for replica `raft_id`. `used`: whether its log has anything; one from before there were others belongs to the
/// first voter.
///
/// # Errors
/// [`Error::Foreign`] where it belongs to another, [`Error::Damaged`], [`Error::Disk`], [`Error::DiskFull`].
pub fn claim(disk: &dyn Disk, dir: &Path, raft_id: u64, used: bool) -> Result<(), Error> {
    let noted = read(disk, dir)?;
    match noted.or(used.then_some(FIRST_VOTER)) {
        Some(owner) if owner != raft_id => Err(Error::Foreign(format!(
            "{}: this is the data of replica {owner}, and this node is replica {raft_id} now. Nothing was changed. Move the \
             directory away to start empty; what it held comes from the others",
            dir.display()
        ))),
        _ if noted.is_some() => Ok(()),
        _ => write(disk, dir, raft_id).map_err(|error| disk_error(&error)),
    }
}

fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<u64>, Error> {
    let path = dir.join(NAME);
    let file = match disk.open(&path, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(|error| disk_error(&error))?,
    };
    let mut bytes = [0; 12];
    let read = file.read_at(0, &mut bytes).map_err(|error| disk_error(&error))?;
    let [number @ .., a, b, c, d] = bytes;
    if read != bytes.len() || u32::from_le_bytes([a, b, c, d]) != crc32fast::hash(&number) {
        return Err(Error::Damaged(format!(
            "{}: the replica's number is not readable. Nothing was changed",
            path.display()
        )));
    }
    Ok(Some(u64::from_le_bytes(number)))
}

fn write(disk: &dyn Disk, dir: &Path, raft_id: u64) -> io::Result<()> {
    let number = raft_id.to_le_bytes();
    let mut file = disk.open(&dir.join(NEW), true)?;
    file.set_len(0)?;
    file.write_at(0, &[&number[..], &crc32fast::hash(&number).to_le_bytes()].concat())?;
    file.sync()?;
    disk.rename(&dir.join(NEW), &dir.join(NAME))?;
    disk.sync_dir(dir)
}

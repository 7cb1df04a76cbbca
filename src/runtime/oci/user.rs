//! Finds the user of a container in its image's `/etc/passwd` and `/etc/group`.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::runtime::Error;
use crate::runtime::container::Security;

/// Bytes of a passwd or group file that are looked at.
const FILE_LIMIT: u64 = 1 << 20;

/// A numeric user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Further groups, sorted.
    pub additional_gids: Vec<u32>,
}

/// The user database of an image.
#[derive(Debug, Clone, Default)]
pub struct Database {
    passwd: String,
    group: String,
}

impl Database {
    /// Reads it from unpacked layers, topmost first. A layer that removes a file hides it in those below. Symbolic links
    /// are not followed, so that an image cannot point at the node's own files.
    pub fn read(layers: &[PathBuf]) -> Self {
        Self { passwd: read_first(layers, "passwd"), group: read_first(layers, "group") }
    }

    /// Who `security` and the image's `USER` ask for.
    pub fn resolve(&self, image_user: &str, security: &Security) -> Result<User, Error> {
        let (name, group) = image_user.split_once(':').map_or((image_user, None), |(u, g)| (u, Some(g)));
        let asked = security.run_as_user.map(|uid| uid.to_string());
        let name = asked.as_deref().unwrap_or(if name.is_empty() { "0" } else { name });
        let entry = self.passwd_entry(name);
        let uid = match (&entry, name.parse()) {
            (_, Ok(uid)) => uid,
            (Some(entry), _) => entry.uid,
            (None, Err(_)) => {
                return Err(Error::Create(format!("unable to find user {name}: no matching entries in passwd file")));
            }
        };
        // The image's group belongs to the image's user.
        let group = group.filter(|group| !group.is_empty() && security.run_as_user.is_none());
        let gid = match (security.run_as_group, group) {
            (Some(gid), _) => gid,
            (None, Some(group)) => self.gid(group)?,
            (None, None) => entry.as_ref().map_or(0, |entry| entry.gid),
        };
        let mut additional_gids = entry.map(|entry| self.groups_of(&entry.name)).unwrap_or_default();
        additional_gids.extend(&security.supplemental_groups);
        additional_gids.push(gid);
        additional_gids.sort_unstable();
        additional_gids.dedup();
        Ok(User { uid, gid, additional_gids })
    }

    fn passwd_entry(&self, name: &str) -> Option<Entry> {
        self.passwd.lines().filter_map(Entry::parse).find(|entry| entry.name == name || entry.uid.to_string() == name)
    }

    fn gid(&self, group: &str) -> Result<u32, Error> {
        if let Ok(gid) = group.parse() {
            return Ok(gid);
        }
        let found = self.group.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == group).then(|| fields.nth(1)?.parse().ok())?
        });
        found.ok_or_else(|| Error::Create(format!("unable to find group {group}: no matching entries in group file")))
    }

    fn groups_of(&self, name: &str) -> Vec<u32> {
        let member = |line: &str| -> Option<u32> {
            let mut fields = line.split(':').skip(2);
            let gid = fields.next()?.parse().ok()?;
            fields.next()?.split(',').any(|member| member == name).then_some(gid)
        };
        self.group.lines().filter_map(member).collect()
    }
}

struct Entry {
    name: String,
    uid: u32,
    gid: u32,
}

impl Entry {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let mut numbers = fields.skip(1).map(str::parse);
        Some(Self { name, uid: numbers.next()?.ok()?, gid: numbers.next()?.ok()? })
    }
}

fn read_first(layers: &[PathBuf], name: &str) -> String {
    for layer in layers {
        let directory = layer.join("etc");
        match fs::symlink_metadata(&directory) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return String::new(),
            Err(_) => continue,
        }
        match fs::symlink_metadata(directory.join(name)) {
            Ok(found) if found.is_file() => return read_bounded(&directory.join(name)),
            Ok(_) => return String::new(),
            Err(_) => {}
        }
    }
    String::new()
}

fn read_bounded(path: &Path) -> String {
    let mut text = Vec::new();
    match fs::File::open(path).and_then(|file| file.take(FILE_LIMIT).read_to_end(&mut text)) {
        Ok(_) => String::from_utf8_lossy(&text).into_owned(),
        Err(_) => String::new(),
    }
}

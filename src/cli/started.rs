//! What a node was started with, written down in its data directory: commands about the node read its settings here.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::settings::{SYSTEM_DATA, Settings, Sources};
use crate::actors::settings::NodeSettings;

const FILE: &str = "started.json";

#[derive(Debug, Serialize, Deserialize)]
struct Started {
    file: Option<PathBuf>,
    flags: Vec<(String, String)>,
}

/// Writes down what this process was started with.
///
/// # Errors
/// Where the file system refuses.
pub fn write(data: &Path, sources: &Sources) -> Result<(), Failure> {
    let file = sources.file.as_deref().map(std::path::absolute).transpose()?;
    let text = serde_json::to_vec(&Started { file, flags: sources.flags.clone() })?;
    let draft = data.join("started.new");
    let mut out = std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    out.write_all(&text)?;
    Ok(std::fs::rename(&draft, data.join(FILE))?)
}

/// The settings of the node that has a data directory: as it was started with, or else as a start would read them now.
///
/// # Errors
/// Where the settings cannot be used.
pub fn settings(config: Option<&Path>, data: Option<&str>) -> Result<NodeSettings, Failure> {
    let environment = super::up::environment();
    let given = data.map(|data| ("data".to_string(), data.to_string()));
    let plain = Sources { file: config.map(Path::to_path_buf), environment, flags: given.into_iter().collect() };
    let plain_settings = Settings::load(&plain);
    let dir = match (&plain_settings, data) {
        (Ok(settings), _) => settings.node.data.clone(),
        (Err(_), data) => PathBuf::from(data.unwrap_or(SYSTEM_DATA)),
    };
    let text = std::fs::read(dir.join(FILE)).unwrap_or_default();
    let Ok(started) = serde_json::from_slice::<Started>(&text) else { return Ok(plain_settings?.node) };
    let mut flags = started.flags;
    flags.push(("data".into(), dir.display().to_string()));
    let file = plain.file.or(started.file.filter(|file| file.exists()));
    Ok(Settings::load(&Sources { file, environment: plain.environment, flags })?.node)
}

//! What a node is told about the cluster it joins, checked before anything is changed.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::actors::settings::Secret;
use crate::cli::failure::Failure;
use crate::cli::settings::{Settings, TOKEN_VARIABLE};
use crate::cli::token;

/// Bytes of a token's file.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// In the data directory of a node that belongs to a cluster: its certificate, or the authority of its founder.
const MEMBER: [&str; 2] = ["pki/node.pem", "pki/ca.crt"];

/// Finds the token: the flag's, else the environment's, else the file's. A node that founds a cluster or is a member
/// already needs none, and none is read then.
///
/// # Errors
/// Where a node is to join and the token is missing or cannot be one, or a token says that it should and no seed does.
pub fn check(settings: &mut Settings, flag: Option<String>, environment: &[(String, String)]) -> Result<(), Failure> {
    if MEMBER.iter().any(|file| settings.node.data.join(file).exists()) {
        return Ok(());
    }
    let token = find(settings, flag, environment)?;
    let join = &settings.node.mesh.join;
    match (&token, join.is_empty()) {
        (Some(_), true) => Err(Failure::usage(
            "a token is given and no node to join through: name one with --join HOST:PORT (without a token, this node \
             would found a cluster of its own)",
        )),
        (None, false) => Err(Failure::usage(format!(
            "joining through {} needs a token: `shoal token create` on a node of that cluster prints one; give it with \
             --token, --token-file or the variable {TOKEN_VARIABLE}",
            join.join(", ")
        ))),
        _ => {
            settings.node.mesh.token = token;
            Ok(())
        }
    }
}

fn find(
    settings: &Settings,
    flag: Option<String>,
    environment: &[(String, String)],
) -> Result<Option<Secret>, Failure> {
    let variable = || environment.iter().find(|(name, _)| name == TOKEN_VARIABLE).map(|(_, token)| token.clone());
    let text = match (flag.or_else(variable), &settings.token_file) {
        (Some(token), _) => token,
        (None, Some(path)) => read(path).map_err(|failure| failure.context("the token cannot be read"))?,
        (None, None) => return Ok(None),
    };
    Ok(Some(Secret::new(token::check(&text)?)))
}

/// The text of a file that only its owner may read.
fn read(path: &Path) -> Result<String, Failure> {
    let told = |error: std::io::Error| Failure::new(format!("{}: {error}", path.display()));
    let metadata = std::fs::metadata(path).map_err(told)?;
    if metadata.is_file() && metadata.mode() & 0o077 != 0 {
        let path = path.display();
        return Err(Failure::new(format!("others may read {path}: `chmod 600 {path}`, and better make a new token")));
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(Failure::new(format!("{} is too large to be a token", path.display())));
    }
    std::fs::read_to_string(path).map_err(told)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::cli::settings::Sources;

    const TOKEN: &str = "shoal1.aa.bb.cc";

    fn checked(
        data: &Path,
        flags: &[(&str, &str)],
        flag: Option<&str>,
        variable: Option<&str>,
    ) -> Result<String, String> {
        let file = data.join("no-settings.toml");
        std::fs::write(&file, "").unwrap();
        let mut flags: Vec<(String, String)> = flags.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        flags.push(("data".into(), data.join("node").display().to_string()));
        let sources = Sources { file: Some(file), flags, ..Sources::default() };
        let mut settings = Settings::load(&sources).unwrap();
        let environment: Vec<_> = variable.iter().map(|token| (TOKEN_VARIABLE.into(), (*token).into())).collect();
        check(&mut settings, flag.map(Into::into), &environment).map_err(|failure| failure.message().to_owned())?;
        Ok(settings.node.mesh.token.map(|token| token.reveal().to_owned()).unwrap_or_default())
    }

    #[test]
    fn the_token_comes_from_the_flag_then_the_environment_then_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, format!("{TOKEN}file\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let flags = [("join", "a:1"), ("token_file", file.to_str().unwrap())];
        let (flag, variable) = (format!("{TOKEN}flag"), format!("{TOKEN}env"));
        let all = checked(dir.path(), &flags, Some(&flag), Some(&variable));
        assert_eq!(all.unwrap(), flag);
        assert_eq!(checked(dir.path(), &flags, None, Some(&variable)).unwrap(), variable);
        assert_eq!(checked(dir.path(), &flags, None, None).unwrap(), format!("{TOKEN}file"));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(checked(dir.path(), &flags, None, None).unwrap_err().contains("chmod 600"));
    }

    #[test]
    fn half_of_what_joining_needs_is_refused_before_anything_changes() {
        let dir = tempfile::tempdir().unwrap();
        assert!(checked(dir.path(), &[("join", "a:1")], None, None).unwrap_err().contains("shoal token create"));
        assert!(checked(dir.path(), &[], Some(TOKEN), None).unwrap_err().contains("--join"));
        assert!(checked(dir.path(), &[("join", "a:1")], Some("garbage"), None).unwrap_err().contains("incomplete"));
        assert_eq!(checked(dir.path(), &[], None, None).unwrap(), "", "a founder needs nothing");
        assert!(!dir.path().join("node").exists());
    }

    #[test]
    fn a_member_needs_no_token_again() {
        for file in MEMBER {
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(dir.path().join("node/pki")).unwrap();
            std::fs::write(dir.path().join("node").join(file), "").unwrap();
            assert_eq!(checked(dir.path(), &[("join", "a:1")], None, None).unwrap(), "", "{file}");
            assert_eq!(checked(dir.path(), &[("token_file", "/nowhere")], None, None).unwrap(), "", "{file}");
        }
    }
}

//! The parts of an identity on disk: read, judged, made where they are missing, written.

use std::path::Path;

use super::issue::{Authority, Leaf};
use super::{ADMIN, ADMINS_GROUP, Bundle, Credential, Error, Lifetimes, Subject, files, inspect, renewal_due};
use crate::model::{NodeId, Timestamp};

pub const AUTHORITIES: &str = "authorities.crt";
pub const NODE: &str = "node.pem";
const KEY_BEGINS: &str = "-----BEGIN PRIVATE KEY-----";

pub fn has_authority(dir: &Path) -> bool {
    dir.join("ca.crt").exists() || dir.join("ca.key").exists()
}

/// The authority's certificate on a node that forgets its key.
pub const GONE: &str = "ca-gone.crt";

/// Forgetting renames the certificate first: where that is all it did, the keys are still to go.
pub fn finish_dismissal(dir: &Path) -> Result<(), Error> {
    if dir.join(GONE).exists() {
        files::remove(dir, &["ca.key", "ca-next.key", "ca-next.crt", GONE])?;
    }
    Ok(())
}

/// The administrator that a node's files name: the founder's, or a joined node's own.
pub fn admin_user(dir: &Path, node: &NodeId) -> Result<String, Error> {
    let own = inspect::admin_of(node);
    let found = read_pair(dir, "admin")?;
    let told = found.and_then(|found| inspect::first_certificate(&found.certificate_pem).ok());
    Ok(if told.is_some_and(|told| told.leaf.common_name == own) { own } else { ADMIN.into() })
}

/// A switch renames the key first: where that is all it did, the certificate is still to be renamed.
pub fn finish_switch(dir: &Path) -> Result<(), Error> {
    let (next, key) = (files::read(&dir.join("ca-next.crt"))?, files::read(&dir.join("ca.key"))?);
    if let (Some(certificate_pem), Some(key_pem), false) = (next, key, dir.join("ca-next.key").exists()) {
        if is_whole(&Credential { certificate_pem, key_pem }) {
            return files::rename(dir, "ca-next.crt", "ca.crt");
        }
        files::remove(dir, &["ca-next.crt"])?; // its key is lost, and it has signed nothing
    }
    Ok(())
}

pub fn load_authority(dir: &Path, now: Timestamp) -> Result<Authority, Error> {
    let damaged =
        |file: &str, reason: String| Error::Authority { path: dir.join(file), directory: dir.to_path_buf(), reason };
    match (files::read(&dir.join("ca.crt"))?, files::read(&dir.join("ca.key"))?) {
        (None, None) => {
            let made = Authority::generate(now)?;
            store(dir, "ca", made.credential())?;
            Ok(made)
        }
        (Some(certificate_pem), Some(key_pem)) => {
            Authority::kept(Credential { certificate_pem, key_pem }, now).map_err(|reason| damaged("ca.crt", reason))
        }
        (None, Some(key_pem)) if files::is_first_start(dir)? => {
            // The process ended between the two writes of a first start: nobody has seen this key yet.
            let made = Authority::with_key(&key_pem, now).map_err(|error| damaged("ca.key", error.to_string()))?;
            store(dir, "ca", made.credential())?;
            Ok(made)
        }
        (None, Some(_)) => Err(damaged("ca.crt", "it is missing".into())),
        (Some(_), None) => Err(damaged("ca.key", "it is missing".into())),
    }
}

/// A successor that cannot be used is left out: it has signed nothing, and another can be made.
pub fn load_successor(dir: &Path, now: Timestamp) -> Result<Option<Authority>, Error> {
    let Some(pair) = read_pair(dir, "ca-next")? else { return Ok(None) };
    let read = Authority::kept(pair, now);
    Ok(read.inspect_err(|reason| tracing::warn!(reason, "the authority's successor cannot be used")).ok())
}

/// The bundle as it was left, with the authority in front and its successor in it.
pub fn load_bundle(dir: &Path, authority: &Authority, successor: Option<&Authority>) -> Result<Bundle, Error> {
    let kept = files::read(&dir.join(AUTHORITIES))?.unwrap_or_default();
    let own = Bundle::from_pem(authority.certificate_pem())?;
    let mut bundle = match Bundle::from_pem(&kept) {
        Ok(kept) => kept.with_signing(authority.certificate_pem())?,
        Err(error) if kept.is_empty() => {
            tracing::debug!(%error, "no authorities were kept");
            own
        }
        Err(error) => {
            tracing::warn!(%error, "the kept authorities cannot be used; trusting this node's alone");
            own
        }
    };
    if let Some(successor) = successor {
        bundle = bundle.with_trusted(successor.certificate_pem())?;
    }
    Ok(bundle)
}

pub fn load_node(
    dir: &Path,
    subject: &Subject,
    authority: &Authority,
    lifetimes: &Lifetimes,
    now: Timestamp,
) -> Result<Credential, Error> {
    let found = read_node(dir)?.ok_or_else(|| "there is none".to_owned());
    let fits = |found: Credential| {
        will_do(&found, &Leaf::node(subject), authority.certificate_pem(), lifetimes, now).map(|()| found)
    };
    match found.and_then(fits) {
        Ok(found) => Ok(found),
        Err(reason) => {
            tracing::info!(reason, "the node's certificate is made anew");
            let made = authority.issue_node(subject, lifetimes.node, now)?;
            write_node(dir, &made)?;
            Ok(made)
        }
    }
}

pub fn load_admin(
    dir: &Path,
    authority: &Authority,
    node: &NodeId,
    lifetimes: &Lifetimes,
    now: Timestamp,
) -> Result<Credential, Error> {
    let user = admin_user(dir, node)?;
    if let Some(found) = read_pair(dir, "admin")? {
        match will_do(&found, &Leaf::client(&user, ADMINS_GROUP), authority.certificate_pem(), lifetimes, now) {
            Ok(()) => return Ok(found),
            Err(reason) => tracing::info!(reason, "the administrator's certificate is made anew"),
        }
    }
    let made = authority.issue_client(&user, ADMINS_GROUP, lifetimes.admin, now)?;
    store(dir, "admin", &made)?;
    Ok(made)
}

pub fn will_do(
    found: &Credential,
    want: &Leaf,
    authority_pem: &str,
    lifetimes: &Lifetimes,
    now: Timestamp,
) -> Result<(), String> {
    let told = inspect::leaf(found, want, authority_pem)?;
    if renewal_due(told.not_before, told.not_after, lifetimes.renew_fraction, now, 0.0) <= now {
        return Err("it ends soon".into());
    }
    Ok(())
}

pub fn is_whole(credential: &Credential) -> bool {
    inspect::first_certificate(&credential.certificate_pem)
        .and_then(|certificate| inspect::matches_key(&certificate, credential))
        .is_ok()
}

pub fn check_node(node: &Credential, name: &NodeId, bundle: &Bundle) -> Result<(), String> {
    let der = inspect::first_der(&node.certificate_pem)?;
    let certificate = inspect::certificate_of(&der)?;
    inspect::matches_key(&certificate, node)?;
    if certificate.node().as_ref() != Some(name) {
        return Err(format!("it does not name {name}"));
    }
    bundle.issuer_of(&der).map(drop).ok_or_else(|| "no trusted authority has signed it".to_owned())
}

pub fn read_node(dir: &Path) -> Result<Option<Credential>, Error> {
    let Some(text) = files::read(&dir.join(NODE))? else { return Ok(None) };
    let (certificate_pem, key_pem) = text.split_at(text.find(KEY_BEGINS).unwrap_or(text.len()));
    Ok(Some(Credential { certificate_pem: certificate_pem.to_owned(), key_pem: key_pem.to_owned() }))
}

pub fn write_node(dir: &Path, node: &Credential) -> Result<(), Error> {
    files::write_private(&dir.join(NODE), format!("{}{}", node.certificate_pem, node.key_pem).as_bytes())
}

pub fn read_pair(dir: &Path, name: &str) -> Result<Option<Credential>, Error> {
    let certificate = files::read(&dir.join(format!("{name}.crt")))?;
    let key = files::read(&dir.join(format!("{name}.key")))?;
    Ok(certificate.zip(key).map(|(certificate_pem, key_pem)| Credential { certificate_pem, key_pem }))
}

/// The key first: a certificate without its key is never on disk.
pub fn store(dir: &Path, name: &str, credential: &Credential) -> Result<(), Error> {
    files::write_private(&dir.join(format!("{name}.key")), credential.key_pem.as_bytes())?;
    files::write_private(&dir.join(format!("{name}.crt")), credential.certificate_pem.as_bytes())
}

//! Pretended images: any reference is there to be pulled, except the names that say otherwise.

use super::machine::Machine;
use crate::runtime::{Error, Image, PullAuth};

/// A repository whose last part begins so does not exist.
const MISSING: &str = "missing";
/// A repository whose last part begins so wants credentials.
const PRIVATE: &str = "private";
/// A repository whose last part begins so cannot be reached.
const UNREACHABLE: &str = "unreachable";
/// Bytes that a pretended image has.
const SIZE_BYTES: u64 = 1 << 20;

pub(super) fn pull(machine: &Machine, reference: &str, auth: Option<&PullAuth>) -> Result<Image, Error> {
    let name = normalize(reference)?;
    let failed = |reason: &str| Error::Pull { reference: reference.to_owned(), reason: reason.to_owned() };
    let last = name.rsplit('/').next().unwrap_or_default();
    if last.starts_with(MISSING) {
        return Err(failed("not found"));
    }
    if last.starts_with(UNREACHABLE) {
        return Err(failed("connection refused"));
    }
    if last.starts_with(PRIVATE) && auth.is_none() {
        return Err(failed("unauthorized: authentication required"));
    }
    Ok(put(machine, &name))
}

pub(super) fn put(machine: &Machine, name: &str) -> Image {
    let id = crate::runtime::images::digest(name.as_bytes());
    let repository = name.split(['@']).next().unwrap_or(name);
    let repository = repository.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(repository, |(r, _)| r);
    let image = Image {
        id: id.clone(),
        references: vec![name.to_owned()],
        digests: vec![format!("{repository}@{id}")],
        size_bytes: SIZE_BYTES,
        user: String::new(),
    };
    machine.state.lock().images.insert(id, image.clone());
    image
}

pub(super) fn find(machine: &Machine, reference: &str) -> Option<Image> {
    let state = machine.state.lock();
    if let Some(image) = state.images.get(reference) {
        return Some(image.clone());
    }
    let name = normalize(reference).ok()?;
    state.images.values().find(|image| image.references.contains(&name)).cloned()
}

pub(super) fn remove(machine: &Machine, reference: &str) -> Result<(), Error> {
    let found = find(machine, reference).ok_or_else(|| Error::NotFound(format!("image {reference}")))?;
    machine.state.lock().images.remove(&found.id);
    Ok(())
}

pub(super) fn normalize(reference: &str) -> Result<String, Error> {
    crate::runtime::images::reference::normalize(reference)
}

//! The content of volumes that are made from objects: config maps, secrets, the downward API, and several at once.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Pod, Volume, VolumeProjection};

use super::fields::Facts;
use crate::model::ObjectKey;

/// Permission bits where a volume says none.
const DEFAULT_MODE: i32 = 0o644;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Content.
    pub bytes: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
}

/// Files by their path inside the volume.
pub type Files = BTreeMap<String, File>;

/// Whether a volume of `pod` is made from the object at `key`.
pub fn refers_to(pod: &Pod, key: &ObjectKey) -> bool {
    if pod.metadata.namespace.as_deref() != Some(&*key.namespace) {
        return false;
    }
    let is_map = key.is(crate::kube::resource::id::CONFIG_MAPS);
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    volumes.iter().any(|volume| {
        let direct = if is_map {
            volume.config_map.as_ref().map(|source| source.name.as_str())
        } else {
            volume.secret.as_ref().and_then(|source| source.secret_name.as_deref())
        };
        let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        let mut projected = projected.filter_map(|source| {
            if is_map {
                source.config_map.as_ref().map(|source| source.name.as_str())
            } else {
                source.secret.as_ref().map(|source| source.name.as_str())
            }
        });
        direct == Some(&*key.name) || projected.any(|name| name == &*key.name)
    })
}

/// Whether volumes of the pod tell of what differs between two versions of it: its labels and annotations.
pub fn tells_of(before: &Pod, after: &Pod) -> bool {
    let (before, metadata) = (&before.metadata, &after.metadata);
    if before.labels == metadata.labels && before.annotations == metadata.annotations {
        return false;
    }
    let volumes = after.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    volumes.iter().any(|volume| {
        let mut projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        volume.downward_api.is_some() || projected.any(|source| source.downward_api.is_some())
    })
}

/// The files of a volume; `None` where it is not made from objects.
///
/// # Errors
/// Why it cannot be made yet.
pub fn of(volume: &Volume, facts: &Facts<'_>) -> Result<Option<Files>, String> {
    let mut out = Files::new();
    if let Some(source) = &volume.config_map {
        let optional = source.optional == Some(true);
        config_map(&source.name, source.items.as_deref(), optional, source.default_mode, facts, &mut out)?;
    } else if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        secret(name, source.items.as_deref(), source.optional == Some(true), source.default_mode, facts, &mut out)?;
    } else if let Some(source) = &volume.downward_api {
        downward(source.items.as_deref(), source.default_mode, facts, &mut out)?;
    } else if let Some(source) = &volume.projected {
        for projection in source.sources.iter().flatten() {
            project(projection, source.default_mode, facts, &mut out)?;
        }
    } else {
        return Ok(None);
    }
    Ok(Some(out))
}

fn project(source: &VolumeProjection, mode: Option<i32>, facts: &Facts<'_>, out: &mut Files) -> Result<(), String> {
    if let Some(map) = &source.config_map {
        return config_map(&map.name, map.items.as_deref(), map.optional == Some(true), mode, facts, out);
    }
    if let Some(one) = &source.secret {
        return secret(&one.name, one.items.as_deref(), one.optional == Some(true), mode, facts, out);
    }
    if let Some(api) = &source.downward_api {
        return downward(api.items.as_deref(), mode, facts, out);
    }
    Err("this kind of projected source is not supported".to_owned())
}

fn config_map(
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: bool,
    mode: Option<i32>,
    facts: &Facts<'_>,
    out: &mut Files,
) -> Result<(), String> {
    let Some(map) = facts.sources.config_map(facts.namespace(), name)? else {
        return if optional { Ok(()) } else { Err(format!("configmap {name:?} not found")) };
    };
    let text = map.data.into_iter().flatten().map(|(key, value)| (key, value.into_bytes()));
    let binary = map.binary_data.into_iter().flatten().map(|(key, value)| (key, value.0));
    select(&text.chain(binary).collect(), items, optional, mode, out)
}

fn secret(
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: bool,
    mode: Option<i32>,
    facts: &Facts<'_>,
    out: &mut Files,
) -> Result<(), String> {
    let Some(secret) = facts.sources.secret(facts.namespace(), name)? else {
        return if optional { Ok(()) } else { Err(format!("secret {name:?} not found")) };
    };
    let data = secret.data.into_iter().flatten().map(|(key, value)| (key, value.0));
    select(&data.collect(), items, optional, mode, out)
}

fn select(
    data: &BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    optional: bool,
    mode: Option<i32>,
    out: &mut Files,
) -> Result<(), String> {
    let Some(items) = items else {
        out.extend(data.iter().map(|(key, bytes)| (key.clone(), file(bytes.clone(), None, mode))));
        return Ok(());
    };
    for item in items {
        match data.get(&item.key) {
            Some(bytes) => drop(out.insert(item.path.clone(), file(bytes.clone(), item.mode, mode))),
            None if optional => {}
            None => return Err(format!("references non-existent key: {}", item.key)),
        }
    }
    Ok(())
}

fn downward(
    items: Option<&[DownwardAPIVolumeFile]>,
    mode: Option<i32>,
    facts: &Facts<'_>,
    out: &mut Files,
) -> Result<(), String> {
    for item in items.unwrap_or_default() {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => facts.field(&field.field_path)?,
            (_, Some(resource)) => facts.resource(resource, None)?,
            _ => String::new(),
        };
        out.insert(item.path.clone(), file(text.into_bytes(), item.mode, mode));
    }
    Ok(())
}

fn file(bytes: Vec<u8>, own: Option<i32>, default: Option<i32>) -> File {
    let mode = own.or(default).unwrap_or(DEFAULT_MODE);
    File { bytes, mode: u32::try_from(mode).unwrap_or(0o644) & 0o777 }
}

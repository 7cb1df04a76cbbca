//! Volumes of a pod: one source each, and the sources that a node can mount.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Causes, items, syntax, text};
use crate::kube::status::Cause;

const HOST_PATH_TYPES: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
const MODE_MAX: i64 = 0o777;

/// Checks the volumes and returns their names, for the mounts.
pub(super) fn volumes<'a>(spec: &'a Value, path: &str, found: &mut Causes) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for (path, volume) in items(spec, "volumes", path) {
        let name = text(volume, "name");
        let path_of_name = format!("{path}.name");
        if name.is_empty() {
            found.required(path_of_name, "");
        } else {
            let complaints = syntax::label_name(name);
            if complaints.is_empty() && !names.insert(name) {
                found.push(Cause::duplicate(path_of_name, &volume["name"]));
            } else {
                found.syntax(&path_of_name, &volume["name"], complaints);
            }
        }
        source(volume, &path, found);
    }
    names
}

fn source(volume: &Value, path: &str, found: &mut Causes) {
    let mut sources = volume.as_object().into_iter().flatten().filter(|(field, _)| *field != "name");
    let Some((kind, value)) = sources.next() else {
        return found.required(path, "must specify a volume type");
    };
    for (other, _) in sources {
        found.push(Cause::forbidden(format!("{path}.{other}"), "may not specify more than 1 volume type"));
    }
    let path = format!("{path}.{kind}");
    match kind.as_str() {
        "hostPath" => host_path(value, &path, found),
        "configMap" => files(value, "name", &path, found),
        "secret" => files(value, "secretName", &path, found),
        "downwardAPI" => mode(value, "defaultMode", &path, found),
        "projected" => projected(value, &path, found),
        "persistentVolumeClaim" if text(value, "claimName").is_empty() => {
            found.required(format!("{path}.claimName"), "");
        }
        _ => {}
    }
}

fn host_path(value: &Value, path: &str, found: &mut Causes) {
    let target = text(value, "path");
    if target.is_empty() {
        found.required(format!("{path}.path"), "");
    } else if target.split('/').any(|part| part == "..") {
        found.invalid(format!("{path}.path"), &value["path"], "must not contain '..'");
    }
    super::pod::one_of(value, "type", path, &HOST_PATH_TYPES, found);
}

fn files(value: &Value, name: &str, path: &str, found: &mut Causes) {
    if text(value, name).is_empty() {
        found.required(format!("{path}.{name}"), "");
    }
    mode(value, "defaultMode", path, found);
    keys(value, path, found);
}

fn keys(value: &Value, path: &str, found: &mut Causes) {
    for (path, item) in items(value, "items", path) {
        if text(item, "key").is_empty() {
            found.required(format!("{path}.key"), "");
        }
        relative(item, "path", &path, true, found);
        mode(item, "mode", &path, found);
    }
}

fn projected(value: &Value, path: &str, found: &mut Causes) {
    mode(value, "defaultMode", path, found);
    for (path, source) in items(value, "sources", path) {
        for kind in ["configMap", "secret"] {
            if source[kind].is_object() {
                let path = format!("{path}.{kind}");
                if text(&source[kind], "name").is_empty() {
                    found.required(format!("{path}.name"), "");
                }
                keys(&source[kind], &path, found);
            }
        }
        let token = &source["serviceAccountToken"];
        if token.is_object() {
            relative(token, "path", &format!("{path}.serviceAccountToken"), true, found);
        }
    }
}

/// A path that stays below where it is mounted.
pub(super) fn relative(holder: &Value, field: &str, path: &str, required: bool, found: &mut Causes) {
    let target = text(holder, field);
    let path = format!("{path}.{field}");
    if target.is_empty() {
        if required {
            found.required(path, "");
        }
    } else if target.starts_with('/') {
        found.invalid(path, &holder[field], "must be a relative path");
    } else if target.split('/').any(|part| part == "..") {
        found.invalid(path, &holder[field], "must not contain '..'");
    }
}

fn mode(holder: &Value, field: &str, path: &str, found: &mut Causes) {
    if holder[field].as_i64().is_some_and(|mode| !(0..=MODE_MAX).contains(&mode)) {
        let detail = "must be a number between 0 and 0777 (octal), both inclusive";
        found.invalid(format!("{path}.{field}"), &holder[field], detail);
    }
}

//! Manifests: files, directories or standard input, cut into objects that know where they stand.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cli::failure::Failure;
use crate::kube::decode::{Format, Limits, decode, decode_yaml_document, split_yaml_documents};

/// Files that one directory may hold.
const MAX_FILES: usize = 10_000;

/// An object and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The object.
    pub object: Value,
    /// `FILE:LINE`.
    pub place: String,
}

/// All objects of files, directories (their `.yaml`, `.yml` and `.json`) and `-` for standard input.
///
/// # Errors
/// Where a file cannot be read, is malformed, or holds something that is no object; the message names file and line.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Manifest>, Failure> {
    let mut manifests = Vec::new();
    for path in paths {
        if path == Path::new("-") {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| Failure::from(error).context("standard input"))?;
            documents("standard input", &text, &mut manifests)?;
            continue;
        }
        for file in files(path)? {
            let name = file.display().to_string();
            let text = std::fs::read_to_string(&file).map_err(|error| Failure::from(error).context(&name))?;
            documents(&name, &text, &mut manifests)?;
        }
    }
    if manifests.is_empty() {
        return Err(Failure::new("there is no object in what was given"));
    }
    Ok(manifests)
}

fn files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let entries = std::fs::read_dir(path).map_err(|error| Failure::from(error).context(&path.display().to_string()))?;
    let mut files: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).take(MAX_FILES).collect();
    files.retain(|file| file.extension().is_some_and(|kind| kind == "yaml" || kind == "yml" || kind == "json"));
    files.sort();
    Ok(files)
}

/// The objects of one text.
fn documents(name: &str, text: &str, manifests: &mut Vec<Manifest>) -> Result<(), Failure> {
    if text.trim_start().starts_with('{') {
        let decoded = decode(text.as_bytes(), Format::Json, Limits::REQUEST);
        let decoded = decoded.map_err(|status| Failure::new(format!("{name}: {}", status.message)))?;
        return collect(name, 1, decoded.value, manifests);
    }
    for document in split_yaml_documents(text) {
        let line = document.first_line + document.text.lines().take_while(|line| is_filler(line)).count();
        let decoded = decode_yaml_document(document, Limits::REQUEST)
            .map_err(|status| Failure::new(format!("{name}: {}", status.message)))?;
        if let Some(path) = decoded.duplicates.first() {
            return Err(Failure::new(format!("{name}:{line}: {path} is set twice")));
        }
        collect(name, line, decoded.value, manifests)?;
    }
    Ok(())
}

fn is_filler(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

fn collect(name: &str, line: usize, object: Value, manifests: &mut Vec<Manifest>) -> Result<(), Failure> {
    let place = format!("{name}:{line}");
    let missing = |field: &str| Failure::new(format!("{place}: {field} is missing; every object needs it"));
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default().to_string();
    if text("apiVersion").is_empty() {
        return Err(missing("apiVersion"));
    }
    if text("kind").is_empty() {
        return Err(missing("kind"));
    }
    if text("kind") == "List" {
        for item in super::resources::items(&object, "items") {
            collect(name, line, item.clone(), manifests)?;
        }
        return Ok(());
    }
    let named = |field| object.pointer(field).and_then(Value::as_str).is_some_and(|text: &str| !text.is_empty());
    if !named("/metadata/name") && !named("/metadata/generateName") {
        return Err(missing("metadata.name"));
    }
    manifests.push(Manifest { object, place });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Result<Vec<String>, String> {
        let mut manifests = Vec::new();
        documents("f", text, &mut manifests).map_err(|failure| failure.message().to_string())?;
        Ok(manifests.into_iter().map(|manifest| manifest.place).collect())
    }

    #[test]
    fn objects_know_their_line() {
        let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n";
        assert_eq!(places(&format!("# first\n\n{pod}---\n# second\n{pod}---\n---\n")).unwrap(), ["f:3", "f:8"]);
        assert_eq!(places("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\"}}").unwrap(), ["f:1"]);
        let list =
            format!("apiVersion: v1\nkind: List\nitems:\n- {{apiVersion: v1, kind: Pod, metadata: {{name: a}}}}\n");
        assert_eq!(places(&list).unwrap(), ["f:1"]);
    }

    #[test]
    fn what_is_wrong_names_its_line() {
        let check = |text: &str, expect: &str| {
            let error = places(text).unwrap_err();
            assert!(error.contains(expect), "{error:?} has no {expect:?}");
        };
        check("kind: Pod\n", "f:1: apiVersion is missing");
        check("apiVersion: v1\nkind: Pod\n", "f:1: metadata.name is missing");
        check("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\na: b\n c: d\n", "line 6");
        check("apiVersion: v1\nkind: Pod\nmetadata: {name: a, name: b}\n", "metadata.name is set twice");
    }
}

//! The rules of the house, kept by a machine: layers, forbidden names, a `//!` on every file, budgets as a ratchet.
//!
//! What is over a budget stands in `tests/tidy/ratchet.txt` and may shrink, never grow; what got under it must leave
//! the list. `TIDY_BLESS=1 cargo test --test tidy` rewrites the list with what is true now, and the diff shows it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file, tests not counted.
const FILE_LINES: usize = 400;
/// Lines of a function.
const FUNCTION_LINES: usize = 60;
const RATCHET: &str = "tests/tidy/ratchet.txt";

/// Who may import whom: a layer and everything it may name of the crate.
const EDGES: &[(&str, &[&str])] = &[
    ("model", &["model"]),
    ("world", &["world", "model"]),
    ("kube", &["kube", "model"]),
    ("plan", &["plan", "kube", "model"]),
    ("store", &["store", "plan", "kube", "world", "model"]),
    ("mesh", &["mesh", "plan", "kube", "world", "model"]),
    ("runtime", &["runtime", "plan", "kube", "world", "model"]),
    ("api", &["api", "runtime", "mesh", "store", "plan", "kube", "world", "model"]),
    ("actors", &["actors", "api", "runtime", "mesh", "store", "plan", "kube", "world", "model"]),
    ("sim", &["sim", "actors", "api", "runtime", "mesh", "store", "plan", "kube", "world", "model"]),
    ("cli", &["cli", "sim", "actors", "api", "runtime", "mesh", "store", "plan", "kube", "world", "model"]),
];

/// Names that a layer must not contain, because it is pure.
const PURE: &[&str] = &["model", "kube", "plan"];
const IMPURE_NAMES: &[&str] = &[
    "tokio",
    "ractor",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "SystemTime",
    "Instant::now",
    "rand::rng",
    "OsRng",
];
/// Names that only the named file may contain.
const OWNED_NAMES: &[(&str, &str)] =
    &[("SystemTime::now", "src/world/clock.rs"), ("from_os_rng", "src/world/entropy.rs")];
/// Words that say nothing as a module's name.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "manager", "misc", "data", "info"];

#[test]
fn layers_import_only_downwards() {
    let mut faults = Vec::new();
    for file in sources() {
        let Some(layer) = file.layer() else { continue };
        let allowed = EDGES.iter().find(|(name, _)| *name == layer).map(|(_, may)| *may);
        let Some(allowed) = allowed else {
            faults.push(format!("{}: layer {layer:?} is not in the plan", file.name));
            continue;
        };
        for (number, line) in file.code() {
            for named in crate_imports(line) {
                if EDGES.iter().any(|(name, _)| *name == named) && !allowed.contains(&named.as_str()) {
                    faults.push(format!("{}:{number}: {layer} must not import {named}", file.name));
                }
            }
        }
    }
    none(&faults);
}

#[test]
fn pure_layers_name_no_world() {
    let mut faults = Vec::new();
    for file in sources() {
        let pure = file.layer().is_some_and(|layer| PURE.contains(&layer.as_str()));
        for (number, line) in file.code() {
            for name in IMPURE_NAMES.iter().filter(|name| pure && line.contains(**name)) {
                faults.push(format!("{}:{number}: a pure layer names {name}", file.name));
            }
        }
    }
    none(&faults);
}

#[test]
fn clock_and_randomness_have_one_owner() {
    let mut faults = Vec::new();
    for file in sources() {
        for (number, line) in file.code() {
            for (name, owner) in OWNED_NAMES {
                if line.contains(name) && file.name != *owner {
                    faults.push(format!("{}:{number}: only {owner} may name {name}", file.name));
                }
            }
        }
    }
    none(&faults);
}

#[test]
fn every_file_opens_with_its_purpose_and_has_a_telling_name() {
    let mut faults = Vec::new();
    for file in sources() {
        if !file.text.starts_with("//! ") {
            faults.push(format!("{}: does not open with `//! ` and what lives there", file.name));
        }
        let stem = Path::new(&file.name).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if EMPTY_NAMES.contains(&stem) || stem == "mod" {
            faults.push(format!("{}: the name says nothing", file.name));
        }
    }
    none(&faults);
}

#[test]
fn files_and_functions_keep_their_budgets() {
    let over = over_budget();
    if std::env::var_os("TIDY_BLESS").is_some() {
        let text: String = over.iter().map(|(what, lines)| format!("{lines} {what}\n")).collect();
        fs::write(root().join(RATCHET), text).expect("the ratchet can be written");
    }
    let known = ratchet();
    let mut faults = Vec::new();
    for (what, lines) in &over {
        match known.get(what) {
            None => faults.push(format!("{what}: {lines} lines, over the budget")),
            Some(was) if lines > was => faults.push(format!("{what}: grew from {was} to {lines} lines")),
            Some(was) if lines < was => {
                faults.push(format!("{what}: is down to {lines} lines; lower it from {was} in {RATCHET}"))
            }
            Some(_) => {}
        }
    }
    for what in known.keys().filter(|what| !over.contains_key(*what)) {
        faults.push(format!("{what}: is within its budget now; take it out of {RATCHET}"));
    }
    none(&faults);
}

#[test]
fn the_rules_themselves_catch_a_breach() {
    assert_eq!(crate_imports("use crate::store::{Store, Txn};"), ["store"]);
    assert_eq!(crate_imports("    let x = crate::actors::node::start();"), ["actors"]);
    assert_eq!(crate_imports("use crate::{api::x, model};"), ["api", "model"]);
    let text = "fn short() {\n}\n\n    pub async fn long(\n        a: u8,\n    ) {\n        a;\n    }\n";
    assert_eq!(functions(text), [("short".to_owned(), 2), ("long".to_owned(), 5)]);
}

struct Source {
    name: String,
    text: String,
}

impl Source {
    /// The first folder (or file) below `src`; `None` for the map itself.
    fn layer(&self) -> Option<String> {
        let inside = self.name.strip_prefix("src/")?;
        let first = inside.split('/').next()?.trim_end_matches(".rs");
        (!matches!(first, "lib" | "main")).then(|| first.to_owned())
    }

    /// Numbered lines that are neither comments nor tests.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let is_test_file = self.name.ends_with("/tests.rs") || self.name.contains("/tests/");
        self.text
            .lines()
            .enumerate()
            .take_while(move |(_, line)| !is_test_file && !line.starts_with("#[cfg(test)]"))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(index, line)| (index + 1, line))
    }
}

fn crate_imports(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rest in line.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => found.push(word(rest)),
            Some(group) => found.extend(group.split(',').map(|part| word(part.trim()))),
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Name and length of each function, by its indentation.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let Some(name) = function_name(line.trim_start()) else { continue };
        let close = format!("{}}}", " ".repeat(indent));
        let signature_only = line.trim_end().ends_with(';');
        let end = lines.iter().skip(start).position(|line| *line == close);
        if let (Some(end), false) = (end, signature_only || line.trim_end().ends_with('}')) {
            found.push((name, end + 1));
        }
    }
    found
}

fn function_name(line: &str) -> Option<String> {
    let mut rest = line;
    for prefix in ["pub ", "pub(crate) ", "pub(super) ", "const ", "async ", "unsafe "] {
        rest = rest.strip_prefix(prefix).unwrap_or(rest);
    }
    rest.strip_prefix("fn ").map(word)
}

fn over_budget() -> BTreeMap<String, usize> {
    let mut over = BTreeMap::new();
    for file in sources() {
        let lines = file.code().last().map_or(0, |(number, _)| number);
        if lines > FILE_LINES {
            over.insert(file.name.clone(), lines);
        }
        let code: String = file.text.lines().take(lines).flat_map(|line| [line, "\n"]).collect();
        for (name, lines) in functions(&code).into_iter().filter(|(_, lines)| *lines > FUNCTION_LINES) {
            over.insert(format!("{}::{name}", file.name), lines);
        }
    }
    over
}

fn ratchet() -> BTreeMap<String, usize> {
    let text = fs::read_to_string(root().join(RATCHET)).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(lines, what)| (what.to_owned(), lines.parse().expect("a number opens each line of the ratchet")))
        .collect()
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    walk(&root().join("src"), &mut files);
    files.sort();
    files
        .into_iter()
        .map(|path| Source {
            name: path.strip_prefix(root()).expect("below the root").display().to_string(),
            text: fs::read_to_string(&path).expect("a source file is readable"),
        })
        .collect()
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a source folder is readable") {
        let path = entry.expect("a source folder is readable").path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            files.push(path);
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

//! YAML as Kubernetes clients write it: YAML 1.1 booleans and octal numbers, bounded aliases, documents cut at `---`.

use serde::de::DeserializeSeed;
use serde_json::Value;
use serde_saphyr::options::{AliasLimits, DuplicateKeyPolicy};
use serde_saphyr::{Budget, Options};

use super::build::{Builder, Seen};

/// Most aliases (`*name`) in one document, and most events that they may be expanded to.
const MAX_ALIASES: usize = 1_000;
/// Deepest nesting of a document. Each level costs some 20 KiB of stack in an unoptimised build, and a thread has 2 MiB.
const MAX_DEPTH: usize = 50;
/// Most parser events in one document, aliases included.
const MAX_EVENTS: usize = 2_000_000;

/// One document of a YAML stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Document<'a> {
    /// Its text, without the `---` line.
    pub text: &'a str,
    /// The line of the stream that its text begins at, from 1.
    pub first_line: usize,
}

/// Cuts a stream into its documents. Documents of nothing but blanks and comments are left out.
pub fn split_yaml_documents(stream: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let (mut start, mut first_line, mut at) = (0, 1, 0);
    for (index, line) in stream.split_inclusive('\n').enumerate() {
        if is_separator(line) {
            documents.push(Document { text: stream.get(start..at).unwrap_or_default(), first_line });
            // What follows the dashes on their line (a comment or a value) belongs to the next document.
            (start, first_line) = (at + 3, index + 1);
        }
        at += line.len();
    }
    documents.push(Document { text: stream.get(start..).unwrap_or_default(), first_line });
    documents.retain(|document| !is_blank(document.text));
    documents
}

fn is_separator(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

fn is_blank(text: &str) -> bool {
    text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with(['#', '%']) || line == "...")
}

/// Reads the one document of `bytes`; the error names line and column.
pub(super) fn single(bytes: &[u8], seen: &mut Seen) -> Result<Value, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("not UTF-8 at byte {}", error.valid_up_to()))?;
    let documents = split_yaml_documents(text);
    if documents.len() > 1 {
        let lines = documents.get(1).map_or(0, |document| document.first_line);
        return Err(format!("line {lines}: a second document begins; send one document in one request"));
    }
    let first = documents.first().copied().unwrap_or(Document { text: "", first_line: 1 });
    document(first, seen)
}

/// Reads one document; the error names line and column of the stream that it was cut from.
pub(super) fn document(document: Document<'_>, seen: &mut Seen) -> Result<Value, String> {
    serde_saphyr::with_deserializer_from_str_with_options(document.text, options(seen), |deserializer| {
        Builder::root(seen).deserialize(deserializer)
    })
    .map_err(|error| describe(&error, document.first_line))
}

fn options(seen: &Seen) -> Options {
    let limits = seen.limits();
    let mut budget = Budget::default();
    budget.max_depth = limits.max_depth.min(MAX_DEPTH);
    budget.max_nodes = limits.max_nodes;
    budget.max_events = MAX_EVENTS;
    budget.max_aliases = MAX_ALIASES;
    budget.max_total_scalar_bytes = limits.max_bytes;
    budget.max_documents = 1;
    let mut aliases = AliasLimits::default();
    aliases.max_total_replayed_events = limits.max_nodes;
    let mut options = Options::default();
    options.budget = Some(budget);
    options.alias_limits = aliases;
    // Duplicates are found and reported by the builder; whether they are refused is the request's `fieldValidation`.
    options.duplicate_keys = DuplicateKeyPolicy::LastWins;
    options.legacy_octal_numbers = true;
    options.ignore_binary_tag_for_string = true;
    options.with_snippet = false;
    options
}

fn describe(error: &serde_saphyr::Error, first_line: usize) -> String {
    let message = error.without_snippet().to_string();
    let Some(location) = error.location() else { return message };
    // The library ends its sentence with the place, counted from the document's start.
    let message = message.split(" at line ").next().unwrap_or(&message).trim_end_matches([':', ' ']);
    let line = usize::try_from(location.line()).unwrap_or(0) + first_line - 1;
    format!("line {line} column {}: {message}", location.column())
}

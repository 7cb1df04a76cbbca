//! Reads a settings file: TOML to keys and values, each with the line that it stands in.

use toml::de::{DeTable, DeValue};

use super::table::Value;

/// A key with its value and line (from 1), or what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Tables joined by dots.
    pub key: String,
    /// What it is set to.
    pub value: Value,
    /// Where the key stands.
    pub line: usize,
}

/// What is wrong with a file's text, and in which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

/// All entries of a file, in its order of tables.
pub fn read(text: &str) -> Result<Vec<Entry>, Malformed> {
    let table = DeTable::parse(text).map_err(|error| Malformed {
        line: line(text, error.span().map_or(0, |span| span.start)),
        reason: error.message().to_string(),
    })?;
    let mut entries = Vec::new();
    collect(text, "", table.get_ref(), &mut entries)?;
    Ok(entries)
}

fn collect(text: &str, prefix: &str, table: &DeTable<'_>, entries: &mut Vec<Entry>) -> Result<(), Malformed> {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.get_ref().to_string() } else { format!("{prefix}.{}", name.get_ref()) };
        let line = line(text, name.span().start);
        if let DeValue::Table(inner) = value.get_ref() {
            collect(text, &key, inner, entries)?;
            continue;
        }
        let value = convert(value.get_ref())
            .ok_or_else(|| Malformed { line, reason: format!("{key}: values are text, numbers, or lists of text") })?;
        entries.push(Entry { key, value, line });
    }
    Ok(())
}

fn convert(value: &DeValue<'_>) -> Option<Value> {
    if let DeValue::Array(items) = value {
        return items.iter().map(|item| scalar(item.get_ref())).collect::<Option<_>>().map(Value::Many);
    }
    scalar(value).map(Value::One)
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        _ => None,
    }
}

fn line(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

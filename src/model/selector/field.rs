//! Reads field selectors. Grammar and wording: `k8s.io/apimachinery/pkg/fields`.

use super::{Error, FieldSelector, FieldTerm};

pub(super) fn parse(text: &str) -> Result<FieldSelector, Error> {
    let mut terms = Vec::new();
    for part in split(text) {
        if part.is_empty() {
            continue;
        }
        let (path, equal, value) =
            cut(part).ok_or_else(|| Error::new(format!("invalid selector: '{text}'; can't understand '{part}'")))?;
        terms.push(FieldTerm { path: path.to_owned(), value: unescape(value)?, equal });
    }
    Ok(FieldSelector { terms })
}

/// Writes a value so that [`parse`] reads it back.
pub(super) fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '\\' | ',' | '=') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// The terms between commas that no backslash escapes.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == ',' {
            parts.push(text.get(start..at).unwrap_or_default());
            start = at + 1;
        }
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts
}

/// The path, whether equality is asked, and the still escaped value.
fn cut(term: &str) -> Option<(&str, bool, &str)> {
    let at = term.find(['=', '!']).filter(|at| term.get(*at..).is_some_and(|rest| rest != "!"))?;
    let path = term.get(..at)?;
    let rest = term.get(at..)?;
    if let Some(value) = rest.strip_prefix("!=") {
        return Some((path, false, value));
    }
    if let Some(value) = rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')) {
        return Some((path, true, value));
    }
    // A lone '!' belongs to the path: look for the operator behind it.
    let (_, equal, value) = cut(rest.get(1..)?)?;
    let operator = if equal { rest.find('=')? } else { rest.find("!=")? };
    Some((term.get(..at + operator)?, equal, value))
}

fn unescape(value: &str) -> Result<String, Error> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(next @ ('\\' | ',' | '=')) => out.push(next),
                Some(next) => {
                    return Err(Error::new(format!("invalid field selector: invalid escape sequence: \\{next}")));
                }
                None => return Err(Error::new("invalid field selector: invalid escape sequence: \\")),
            },
            ',' | '=' => {
                return Err(Error::new(format!("invalid field selector: unescaped character in value: {c}")));
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

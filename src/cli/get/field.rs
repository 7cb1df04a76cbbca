//! `-o jsonpath=`: paths with names, indexes, `[*]` and `["quoted names"]`, and text between them.

use serde_json::Value;

/// A template: texts and paths.
pub struct Template(Vec<Piece>);

enum Piece {
    Text(String),
    Path(Vec<Step>),
}

enum Step {
    Name(String),
    Index(i64),
    All,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// Where it has what is not known here (filters, ranges).
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find('{') {
            let (before, from) = rest.split_at(start);
            let end = from.find('}').ok_or_else(|| format!("{text:?}: a brace is open"))?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.into()));
            }
            pieces.push(piece(from.get(1..end).unwrap_or_default().trim())?);
            rest = from.get(end + 1..).unwrap_or_default();
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        Ok(Self(pieces))
    }

    /// Fills the template in; several values are joined by blanks.
    pub fn fill(&self, object: &Value) -> String {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Path(steps) => select(object, steps).into_iter().map(plain).collect::<Vec<_>>().join(" "),
            })
            .collect()
    }
}

fn piece(inner: &str) -> Result<Piece, String> {
    if let Some(text) = inner.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        return Ok(Piece::Text(text.replace("\\n", "\n").replace("\\t", "\t")));
    }
    let mut steps = Vec::new();
    let mut rest = inner.strip_prefix('$').unwrap_or(inner);
    while !rest.is_empty() {
        if let Some(from) = rest.strip_prefix('[') {
            let (index, after) = from.split_once(']').ok_or_else(|| format!("{inner:?}: a bracket is open"))?;
            let quoted = index.trim_matches(['\'', '"']);
            steps.push(match (index, index.parse()) {
                ("*", _) => Step::All,
                (_, Ok(number)) => Step::Index(number),
                _ if quoted.len() + 2 == index.len() => Step::Name(quoted.into()),
                _ => return Err(format!("[{index}] is not known here; use kubectl for filters and ranges")),
            });
            rest = after;
            continue;
        }
        let from = rest.strip_prefix('.').unwrap_or(rest);
        // A dot that belongs to a name is written `\.`.
        let mut name = String::new();
        let mut chars = from.char_indices();
        let mut end = from.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => name.extend(chars.next().map(|(_, c)| c)),
                '.' | '[' => {
                    end = at;
                    break;
                }
                ' ' | '?' | '(' | '@' => {
                    return Err(format!("{inner:?} is not known here; use kubectl for filters and ranges"));
                }
                c => name.push(c),
            }
        }
        match name.as_str() {
            "" => {}
            "*" => steps.push(Step::All),
            _ => steps.push(Step::Name(name)),
        }
        rest = from.get(end..).unwrap_or_default();
    }
    Ok(Piece::Path(steps))
}

fn select<'a>(object: &'a Value, steps: &[Step]) -> Vec<&'a Value> {
    let mut found = vec![object];
    for step in steps {
        found = found
            .into_iter()
            .flat_map(|value| match (step, value) {
                (Step::Name(name), value) => value.get(name).into_iter().collect::<Vec<_>>(),
                (Step::Index(index), Value::Array(items)) => {
                    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
                    let index = if *index < 0 { index + length } else { *index };
                    usize::try_from(index).ok().and_then(|index| items.get(index)).into_iter().collect()
                }
                (Step::All, Value::Array(items)) => items.iter().collect(),
                (Step::All, Value::Object(fields)) => fields.values().collect(),
                _ => Vec::new(),
            })
            .collect();
    }
    found
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), String::from)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_reach_fields() {
        let object = json!({"items": [{"a": {"b.c": 1, "d": "x"}}, {"a": {"d": "y"}}]});
        let check = |template: &str, expect: &str| {
            let filled = Template::parse(template).map(|template| template.fill(&object));
            assert_eq!(filled.unwrap_or_else(|error| error), expect, "{template}");
        };
        check("{.items[*].a.d}", "x y");
        check("{.items[0].a.b\\.c}{\"\\n\"}", "1\n");
        check("<{.items[-1].a['d']}>", "<y>");
        check("{.nothing}", "");
        check("{.items[0].a}", "{\"b.c\":1,\"d\":\"x\"}");
        check("{.items[?(@.a)]}", "[?(@.a)] is not known here; use kubectl for filters and ranges");
        check("{.a", "\"{.a\": a brace is open");
    }
}

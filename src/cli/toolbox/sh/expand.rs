//! Makes the words that a program gets of the words that were written.

use std::io::Read;
use std::thread;

use super::run::Files;
use super::state::Shell;
use super::syntax::{List, Part, Word};

/// Most bytes that `$(...)` keeps; what is printed after them is dropped.
const OUTPUT_BYTES: u64 = 16 * 1024 * 1024;

impl Shell {
    /// Expands `words`: variables and outputs outside quotes are split at white space.
    pub(super) fn expand(&mut self, words: &[Word], files: &Files) -> Vec<String> {
        words.iter().flat_map(|word| self.fields(word, files)).collect()
    }

    /// Expands one word without splitting it.
    pub(super) fn expand_one(&mut self, word: &Word, files: &Files) -> String {
        word.iter().map(|part| self.value(part, files)).collect()
    }

    fn fields(&mut self, word: &Word, files: &Files) -> Vec<String> {
        let (mut fields, mut open) = (Vec::new(), None::<String>);
        for part in word {
            if is_every_argument(part) {
                self.spread(&mut fields, &mut open);
                continue;
            }
            let value = self.value(part, files);
            if stays_whole(part) {
                open.get_or_insert_default().push_str(&value);
            } else {
                split_into(&value, &mut fields, &mut open);
            }
        }
        fields.extend(open);
        fields
    }

    /// `"$@"`: every argument a word of its own.
    fn spread(&self, fields: &mut Vec<String>, open: &mut Option<String>) {
        for (index, argument) in self.arguments.iter().skip(1).enumerate() {
            if index > 0 {
                fields.extend(open.take());
            }
            open.get_or_insert_default().push_str(argument);
        }
    }

    fn value(&mut self, part: &Part, files: &Files) -> String {
        match part {
            Part::Text { text, .. } => text.clone(),
            Part::Variable { name, fallback, .. } => {
                let value = self.get(name);
                match fallback {
                    Some(other) => value.filter(|value| !value.is_empty()).unwrap_or_else(|| other.clone()),
                    None => value.unwrap_or_default(),
                }
            }
            Part::Output { commands, .. } => self.output(commands, files),
            Part::Sum { text } => self.sum(text, files),
        }
    }

    /// What `commands` print, without the line ends at the end.
    fn output(&mut self, commands: &List, files: &Files) -> String {
        let Ok((reader, writer)) = std::io::pipe() else {
            files.complain("sh: no pipe is left");
            return String::new();
        };
        let files = files.with(1, writer);
        let mut inner = self.clone();
        let (status, text) = thread::scope(|scope| {
            let running = scope.spawn(move || inner.run_to_end(commands, &files));
            let mut bytes = Vec::new();
            // What cannot be read was not printed.
            let _ = (&reader).take(OUTPUT_BYTES).read_to_end(&mut bytes);
            let _ = std::io::copy(&mut &reader, &mut std::io::sink());
            (running.join().unwrap_or(2), String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned())
        });
        self.status = status;
        text
    }

    /// Numbers and names with `+ - * / %`, from left to right, `* / %` first.
    fn sum(&self, text: &str, files: &Files) -> String {
        let value = self.terms(text);
        if value.is_none() {
            files.complain(&format!("sh: {text:?} cannot be computed"));
        }
        value.unwrap_or(0).to_string()
    }

    fn terms(&self, text: &str) -> Option<i64> {
        let spaced = ["+", "-", "*", "/", "%"]
            .iter()
            .fold(text.to_owned(), |text, sign| text.replace(sign, &format!(" {sign} ")));
        let (mut total, mut product, mut sign) = (0_i64, None::<i64>, "+");
        let mut operator = None;
        for word in spaced.split_whitespace() {
            match (word, product, operator) {
                ("-" | "+", None, None) => sign = if (word == "-") == (sign == "-") { "+" } else { "-" },
                ("-" | "+", Some(done), None) => {
                    total = add(total, sign, done)?;
                    (product, sign) = (None, word);
                }
                ("*" | "/" | "%", Some(_), None) => operator = Some(word),
                (word, None, None) => product = Some(self.operand(word)?),
                (word, Some(left), Some(doing)) => {
                    product = Some(multiply(left, doing, self.operand(word)?)?);
                    operator = None;
                }
                _ => return None,
            }
        }
        if operator.is_some() { None } else { add(total, sign, product?) }
    }

    fn operand(&self, word: &str) -> Option<i64> {
        let name = word.trim_start_matches('$');
        if name.starts_with(|c: char| c.is_ascii_digit()) && name == word {
            return word.parse().ok();
        }
        self.get(name).filter(|value| !value.is_empty()).map_or(Some(0), |value| value.trim().parse().ok())
    }
}

fn add(total: i64, sign: &str, term: i64) -> Option<i64> {
    if sign == "-" { total.checked_sub(term) } else { total.checked_add(term) }
}

fn multiply(left: i64, operator: &str, right: i64) -> Option<i64> {
    match operator {
        "*" => left.checked_mul(right),
        "/" => left.checked_div(right),
        _ => left.checked_rem(right),
    }
}

fn is_every_argument(part: &Part) -> bool {
    matches!(part, Part::Variable { name, quoted: true, .. } if name == "@")
}

fn stays_whole(part: &Part) -> bool {
    match part {
        Part::Text { .. } | Part::Sum { .. } => true,
        Part::Variable { quoted, .. } | Part::Output { quoted, .. } => *quoted,
    }
}

fn split_into(value: &str, fields: &mut Vec<String>, open: &mut Option<String>) {
    if value.starts_with(char::is_whitespace) {
        fields.extend(open.take());
    }
    for (index, piece) in value.split_whitespace().enumerate() {
        if index > 0 {
            fields.extend(open.take());
        }
        open.get_or_insert_default().push_str(piece);
    }
    if value.ends_with(char::is_whitespace) {
        fields.extend(open.take());
    }
}

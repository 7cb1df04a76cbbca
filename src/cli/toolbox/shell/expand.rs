//! Fills in variables, commands and sums.

use super::parse::Word;
use super::run::Shell;
use super::words::{Fill, Part, name_length};

/// The words that a word becomes: unquoted values are split at blanks.
pub fn fields(shell: &mut Shell, word: &Word) -> Result<Vec<String>, String> {
    let mut done: Vec<String> = Vec::new();
    let mut open: Option<String> = None;
    for part in word {
        match part {
            Part::Text(text) | Part::Quoted(text) => open.get_or_insert_default().push_str(text),
            Part::Fill(Fill::Variable(name), true) if name == "@" => {
                for (index, parameter) in shell.parameters().to_vec().iter().enumerate() {
                    if index > 0 {
                        done.extend(open.take());
                    }
                    open.get_or_insert_default().push_str(parameter);
                }
                if shell.parameters().is_empty() && open.as_deref() == Some("") {
                    open = None;
                }
            }
            Part::Fill(fill, true) => open.get_or_insert_default().push_str(&value(shell, fill)?),
            Part::Fill(fill, false) => split(&value(shell, fill)?, &mut done, &mut open),
        }
    }
    done.extend(open);
    Ok(done)
}

/// The one text that a word becomes, as in an assignment.
pub fn text(shell: &mut Shell, word: &Word) -> Result<String, String> {
    let mut out = String::new();
    for part in word {
        match part {
            Part::Text(text) | Part::Quoted(text) => out.push_str(text),
            Part::Fill(fill, _) => out.push_str(&value(shell, fill)?),
        }
    }
    Ok(out)
}

fn split(value: &str, done: &mut Vec<String>, open: &mut Option<String>) {
    if value.starts_with(char::is_whitespace) {
        done.extend(open.take());
    }
    for (index, word) in value.split_whitespace().enumerate() {
        if index > 0 {
            done.extend(open.take());
        }
        open.get_or_insert_default().push_str(word);
    }
    if value.ends_with(char::is_whitespace) {
        done.extend(open.take());
    }
}

fn value(shell: &mut Shell, fill: &Fill) -> Result<String, String> {
    match fill {
        Fill::Variable(name) => Ok(shell.variable(name).unwrap_or_default()),
        Fill::Length(name) => Ok(shell.variable(name).unwrap_or_default().chars().count().to_string()),
        Fill::Command(script) => shell.capture(script),
        Fill::Arithmetic(sum) => calculate(shell, sum).map(|number| number.to_string()),
        Fill::Conditional(name, operator, word) => conditional(shell, name, operator, word),
    }
}

fn conditional(shell: &mut Shell, name: &str, operator: &str, word: &str) -> Result<String, String> {
    let found = shell.variable(name).filter(|value| !operator.starts_with(':') || !value.is_empty());
    let other = |shell: &mut Shell| {
        let tokens = super::words::tokens(&format!("\"{word}\"")).map_err(|error| error.message())?;
        let parts = tokens.into_iter().find_map(|token| match token {
            super::words::Token::Word(parts) => Some(parts),
            _ => None,
        });
        text(shell, &parts.unwrap_or_default())
    };
    match (operator.trim_start_matches(':'), found) {
        ("+", Some(_)) => other(shell),
        ("+", None) => Ok(String::new()),
        ("-" | "=" | "?", Some(value)) => Ok(value),
        ("-", None) => other(shell),
        ("=", None) => {
            let value = other(shell)?;
            shell.set(name, &value);
            Ok(value)
        }
        ("?", None) => Err(format!("{name}: {}", other(shell)?)),
        (operator, _) => Err(format!("${{{name}{operator}...}} is not known here")),
    }
}

/// A sum of whole numbers: `+ - * / %`, comparisons, parentheses, variables.
fn calculate(shell: &mut Shell, sum: &str) -> Result<i64, String> {
    let mut calculation = Calculation { shell, rest: sum, depth: 0 };
    let value = calculation.comparison()?;
    if calculation.rest.trim().is_empty() { Ok(value) } else { Err(format!("{sum:?} is not a sum")) }
}

/// Parentheses within parentheses.
const MAX_DEPTH: usize = 50;

struct Calculation<'a> {
    shell: &'a mut Shell,
    rest: &'a str,
    depth: usize,
}

impl Calculation<'_> {
    fn take(&mut self, operators: &[&'static str]) -> Option<&'static str> {
        self.rest = self.rest.trim_start();
        let found = operators.iter().find(|operator| self.rest.starts_with(**operator))?;
        self.rest = self.rest.get(found.len()..)?;
        Some(found)
    }

    fn comparison(&mut self) -> Result<i64, String> {
        let left = self.sum()?;
        let Some(operator) = self.take(&["<=", ">=", "==", "!=", "<", ">"]) else { return Ok(left) };
        let right = self.sum()?;
        Ok(i64::from(match operator {
            "<=" => left <= right,
            ">=" => left >= right,
            "==" => left == right,
            "!=" => left != right,
            "<" => left < right,
            _ => left > right,
        }))
    }

    fn sum(&mut self) -> Result<i64, String> {
        let mut left = self.product()?;
        while let Some(operator) = self.take(&["+", "-"]) {
            let right = self.product()?;
            left = if operator == "+" { left.wrapping_add(right) } else { left.wrapping_sub(right) };
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<i64, String> {
        let mut left = self.unit()?;
        while let Some(operator) = self.take(&["*", "/", "%"]) {
            let right = self.unit()?;
            left = match operator {
                "*" => left.wrapping_mul(right),
                _ if right == 0 => return Err("division by zero".into()),
                "/" => left.wrapping_div(right),
                _ => left.wrapping_rem(right),
            };
        }
        Ok(left)
    }

    fn unit(&mut self) -> Result<i64, String> {
        if self.take(&["-"]).is_some() {
            return self.unit().map(i64::wrapping_neg);
        }
        if self.take(&["("]).is_some() {
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err("too many parentheses".into());
            }
            let value = self.comparison()?;
            self.depth -= 1;
            return self.take(&[")"]).map(|_| value).ok_or_else(|| "a parenthesis is open".into());
        }
        let _ = self.take(&["$"]);
        let digits = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(digits.max(name_length(self.rest)));
        self.rest = rest;
        let text = if digits > 0 { token.to_string() } else { self.shell.variable(token).unwrap_or_default() };
        if token.is_empty() {
            return Err(format!("{:?} is not a number", self.rest));
        }
        if text.is_empty() { Ok(0) } else { text.parse().map_err(|_| format!("{text:?} is not a number")) }
    }
}

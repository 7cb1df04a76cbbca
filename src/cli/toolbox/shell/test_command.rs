//! `test` and `[`.

use std::path::Path;

use super::run::complain;

/// Answers a question: 0 yes, 1 no, 2 mistyped.
pub fn run(name: &str, arguments: &[String]) -> u8 {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let words = match (name, words.as_slice()) {
        ("[", [inner @ .., "]"]) => inner,
        ("[", _) => return complain("[", "missing ]", 2),
        (_, all) => all,
    };
    match holds(words) {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(message) => complain(name, &message, 2),
    }
}

fn holds(words: &[&str]) -> Result<bool, String> {
    if let Some(at) = words.iter().position(|word| *word == "-o") {
        let (left, right) = words.split_at(at);
        return Ok(holds(left)? || holds(right.get(1..).unwrap_or_default())?);
    }
    if let Some(at) = words.iter().position(|word| *word == "-a") {
        let (left, right) = words.split_at(at);
        return Ok(holds(left)? && holds(right.get(1..).unwrap_or_default())?);
    }
    match words {
        [] => Ok(false),
        ["!", rest @ ..] => holds(rest).map(|answer| !answer),
        [text] => Ok(!text.is_empty()),
        ["-n", text] => Ok(!text.is_empty()),
        ["-z", text] => Ok(text.is_empty()),
        ["-e", path] => Ok(Path::new(path).exists()),
        ["-f", path] => Ok(Path::new(path).is_file()),
        ["-d", path] => Ok(Path::new(path).is_dir()),
        ["-L" | "-h", path] => Ok(Path::new(path).is_symlink()),
        ["-r" | "-w" | "-x", path] => Ok(Path::new(path).exists()),
        ["-s", path] => Ok(std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0)),
        [left, "=" | "==", right] => Ok(left == right),
        [left, "!=", right] => Ok(left != right),
        [left, operator, right] => compare(left, operator, right),
        _ => Err("too many words".into()),
    }
}

fn compare(left: &str, operator: &str, right: &str) -> Result<bool, String> {
    let number = |text: &str| text.trim().parse::<i64>().map_err(|_| format!("{text:?} is not a number"));
    let (left, right) = (number(left)?, number(right)?);
    Ok(match operator {
        "-eq" => left == right,
        "-ne" => left != right,
        "-lt" => left < right,
        "-le" => left <= right,
        "-gt" => left > right,
        "-ge" => left >= right,
        _ => return Err(format!("unknown operator {operator}")),
    })
}

//! Programs about text and truth: echo, grep, head, tail, wc, test, true, false.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, IsTerminal as _, Read, Write};

use super::failure::Failure;
use super::words::{self, Words};
use super::{Outcome, Streams};

/// Most lines that `tail` keeps in memory.
const TAIL_LINES: usize = 100_000;

/// Succeeds.
#[allow(clippy::unnecessary_wraps, reason = "every program has this form")]
pub(super) fn yes(_: &[String], _: &mut Streams) -> Outcome {
    Ok(0)
}

/// Fails.
#[allow(clippy::unnecessary_wraps, reason = "every program has this form")]
pub(super) fn no(_: &[String], _: &mut Streams) -> Outcome {
    Ok(1)
}

/// Prints its arguments; `-n` without the end of the line, `-e` reads `\n` and `\t`.
pub(super) fn echo(words: &[String], streams: &mut Streams) -> Outcome {
    let flags = words.iter().take_while(|word| matches!(word.as_str(), "-n" | "-e" | "-ne" | "-en")).count();
    let (flags, rest) = words.split_at(flags);
    let has = |letter| flags.iter().any(|flag| flag.contains(letter));
    let mut line = rest.join(" ");
    if has('e') {
        line = line.replace("\\n", "\n").replace("\\t", "\t");
    }
    let end = if has('n') { "" } else { "\n" };
    write!(streams.out, "{line}{end}")?;
    streams.out.flush()?;
    Ok(0)
}

/// Calls `each` with every file that is named, or with the input.
fn inputs(
    files: &[&str],
    streams: &mut Streams,
    mut each: impl FnMut(&str, &mut dyn BufRead, &mut dyn Write) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if files.is_empty() {
        return each("", &mut BufReader::new(&mut *streams.input), streams.out);
    }
    for file in files {
        let opened = File::open(file).map_err(Failure::at(file))?;
        each(file, &mut BufReader::new(opened), streams.out)?;
    }
    Ok(())
}

/// Prints the lines that contain a text; 1 when there are none.
pub(super) fn grep(words: &[String], streams: &mut Streams) -> Outcome {
    let words = Words::read(words, &["-v", "-c", "-i", "-q", "-F", "-n"], &["-e"])?;
    let mut files = words.rest.iter().copied();
    let wanted = words.value("-e").or_else(|| files.next());
    let wanted = wanted.ok_or_else(|| Failure::Usage("what to look for is missing".to_owned()))?;
    let fold = |text: &str| if words.has("-i") { text.to_lowercase() } else { text.to_owned() };
    let wanted = fold(wanted);
    let files: Vec<&str> = files.collect();
    let mut found = 0_u64;
    inputs(&files, streams, |name, input, out| {
        let mut here = 0_u64;
        for (number, line) in input.split(b'\n').enumerate() {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            if fold(&line).contains(&wanted) == words.has("-v") {
                continue;
            }
            here += 1;
            if !words.has("-q") && !words.has("-c") {
                let name = if files.len() > 1 { format!("{name}:") } else { String::new() };
                let number = if words.has("-n") { format!("{}:", number + 1) } else { String::new() };
                writeln!(out, "{name}{number}{line}")?;
            }
        }
        if words.has("-c") {
            writeln!(out, "{here}")?;
        }
        found += here;
        Ok(())
    })?;
    Ok(u8::from(found == 0))
}

/// Reads `-n LINES`, or the older `-LINES`.
fn count_of_lines(words: &[String]) -> Result<(usize, Vec<String>), Failure> {
    let old = words.first().and_then(|word| word.strip_prefix('-')).and_then(|digits| digits.parse().ok());
    if let Some(lines) = old {
        return Ok((lines, words.iter().skip(1).cloned().collect()));
    }
    let read = Words::read(words, &[], &["-n"])?;
    Ok((read.number("-n", 10)?, read.rest.iter().map(|&word| word.to_owned()).collect()))
}

/// Prints the first lines.
pub(super) fn head(words: &[String], streams: &mut Streams) -> Outcome {
    let (lines, files) = count_of_lines(words)?;
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    inputs(&files, streams, |_, input, out| {
        let mut line = Vec::new();
        for _ in 0..lines {
            line.clear();
            if input.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            out.write_all(&line)?;
        }
        Ok(())
    })?;
    Ok(0)
}

/// Prints the last lines.
pub(super) fn tail(words: &[String], streams: &mut Streams) -> Outcome {
    let (lines, files) = count_of_lines(words)?;
    if lines > TAIL_LINES {
        return Err(Failure::Usage(format!("at most {TAIL_LINES} lines")));
    }
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    inputs(&files, streams, |_, input, out| {
        let mut kept = VecDeque::new();
        for line in input.split(b'\n') {
            kept.push_back(line?);
            if kept.len() > lines {
                kept.pop_front();
            }
        }
        for line in kept {
            out.write_all(&line)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    })?;
    Ok(0)
}

/// Counts lines, words and bytes.
pub(super) fn wc(words: &[String], streams: &mut Streams) -> Outcome {
    let words = Words::read(words, &["-l", "-w", "-c"], &[])?;
    let all = !["-l", "-w", "-c"].iter().any(|flag| words.has(flag));
    inputs(&words.rest, streams, |name, input, out| {
        let mut counts = [("-l", 0), ("-w", 0), ("-c", 0)];
        let (mut in_word, [(_, lines), (_, count), (_, bytes)]) = (false, &mut counts);
        for byte in input.bytes() {
            let byte = byte?;
            *lines += u64::from(byte == b'\n');
            *bytes += 1;
            *count += u64::from(!in_word && !byte.is_ascii_whitespace());
            in_word = !byte.is_ascii_whitespace();
        }
        let mut shown: Vec<String> =
            counts.into_iter().filter(|(flag, _)| all || words.has(flag)).map(|(_, count)| count.to_string()).collect();
        shown.extend(Some(name).filter(|name| !name.is_empty()).map(str::to_owned));
        Ok(writeln!(out, "{}", shown.join(" "))?)
    })?;
    Ok(0)
}

/// Decides an expression: 0 true, 1 false.
pub(super) fn test(words: &[String], _: &mut Streams) -> Outcome {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    holds(&words).map(|holds| u8::from(!holds))
}

fn holds(words: &[&str]) -> Result<bool, Failure> {
    Ok(match words {
        [] => false,
        [word] => !word.is_empty(),
        ["!", rest @ ..] => !holds(rest)?,
        [flag, word] => holds_of_one(flag, word)?,
        [left, operator, right] if !matches!(*operator, "-a" | "-o") => holds_of_two(left, operator, right)?,
        _ => return holds_joined(words),
    })
}

/// Splits at the first `-o`, else at the first `-a`: the one binds looser.
fn holds_joined(words: &[&str]) -> Result<bool, Failure> {
    for joint in ["-o", "-a"] {
        let Some(at) = words.iter().position(|word| *word == joint) else { continue };
        let (left, rest) = words.split_at(at);
        let (left, right) = (holds(left)?, holds(rest.get(1..).unwrap_or_default())?);
        return Ok(if joint == "-o" { left || right } else { left && right });
    }
    Err(Failure::Usage("the expression has too many words".to_owned()))
}

fn holds_of_one(flag: &str, word: &str) -> Result<bool, Failure> {
    let is = |test: fn(&fs::Metadata) -> bool| fs::metadata(word).is_ok_and(|found| test(&found));
    Ok(match flag {
        "-n" => !word.is_empty(),
        "-z" => word.is_empty(),
        "-e" => is(|_| true),
        "-f" => is(fs::Metadata::is_file),
        "-d" => is(fs::Metadata::is_dir),
        "-s" => is(|found| found.len() > 0),
        "-L" | "-h" => fs::symlink_metadata(word).is_ok_and(|found| found.is_symlink()),
        "-r" => may(word, nix::unistd::AccessFlags::R_OK),
        "-w" => may(word, nix::unistd::AccessFlags::W_OK),
        "-x" => may(word, nix::unistd::AccessFlags::X_OK),
        "-t" => is_terminal(words::number(word)?),
        _ => return Err(Failure::Usage(format!("unknown operator {flag}"))),
    })
}

fn is_terminal(descriptor: u32) -> bool {
    match descriptor {
        0 => io::stdin().is_terminal(),
        1 => io::stdout().is_terminal(),
        2 => io::stderr().is_terminal(),
        _ => false,
    }
}

fn may(path: &str, how: nix::unistd::AccessFlags) -> bool {
    nix::unistd::access(path, how).is_ok()
}

fn holds_of_two(left: &str, operator: &str, right: &str) -> Result<bool, Failure> {
    let compare = || Ok::<_, Failure>(words::number::<i64>(left)?.cmp(&words::number::<i64>(right)?));
    Ok(match operator {
        "=" | "==" => left == right,
        "!=" => left != right,
        "-eq" => compare()?.is_eq(),
        "-ne" => compare()?.is_ne(),
        "-lt" => compare()?.is_lt(),
        "-le" => compare()?.is_le(),
        "-gt" => compare()?.is_gt(),
        "-ge" => compare()?.is_ge(),
        _ => return Err(Failure::Usage(format!("unknown operator {operator}"))),
    })
}

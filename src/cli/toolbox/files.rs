//! Programs about files: cat, ls, mkdir, rm, touch.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::failure::Failure;
use super::words::Words;
use super::{Outcome, Streams};

/// Copies files, or its input, to its output.
pub(super) fn cat(words: &[String], streams: &mut Streams) -> Outcome {
    let words = Words::read(words, &[], &[])?;
    if words.rest.is_empty() {
        io::copy(streams.input, streams.out)?;
    }
    for file in words.rest {
        if file == "-" {
            io::copy(streams.input, streams.out)?;
        } else {
            let mut opened = File::open(file).map_err(Failure::at(file))?;
            io::copy(&mut opened, streams.out)?;
        }
    }
    Ok(0)
}

/// Lists directories, names sorted; `-l` with mode, owner and size.
pub(super) fn ls(words: &[String], streams: &mut Streams) -> Outcome {
    let words = Words::read(words, &["-a", "-l", "-1"], &[])?;
    let (all, long) = (words.has("-a"), words.has("-l"));
    let paths = if words.rest.is_empty() { vec!["."] } else { words.rest };
    let many = paths.len() > 1;
    for path in paths {
        let found = fs::symlink_metadata(path).map_err(Failure::at(path))?;
        if !fs::metadata(path).unwrap_or(found).is_dir() {
            entry(streams, Path::new(path), path, long)?;
            continue;
        }
        if many {
            writeln!(streams.out, "{path}:")?;
        }
        for name in names(path)?.iter().filter(|name| all || !name.starts_with('.')) {
            entry(streams, &Path::new(path).join(name), name, long)?;
        }
    }
    Ok(0)
}

fn names(path: &str) -> Result<Vec<String>, Failure> {
    let entries = fs::read_dir(path).map_err(Failure::at(path))?;
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok().map(|entry| entry.file_name().to_string_lossy().into_owned())).collect();
    names.sort();
    Ok(names)
}

fn entry(streams: &mut Streams, path: &Path, name: &str, long: bool) -> Result<(), Failure> {
    if !long {
        return Ok(writeln!(streams.out, "{name}")?);
    }
    let found = fs::symlink_metadata(path).map_err(Failure::at(path.display()))?;
    let target = fs::read_link(path).map_or_else(|_| String::new(), |to| format!(" -> {}", to.display()));
    let (mode, links, user, group, size) = (mode(&found), found.nlink(), found.uid(), found.gid(), found.size());
    Ok(writeln!(streams.out, "{mode} {links:>3} {user:>5} {group:>5} {size:>10} {name}{target}")?)
}

fn mode(found: &Metadata) -> String {
    let kind = match found.mode() >> 12 {
        0o04 => 'd',
        0o12 => 'l',
        0o02 => 'c',
        0o06 => 'b',
        0o01 => 'p',
        0o14 => 's',
        _ => '-',
    };
    let bits = (0..9).rev().zip("rwxrwxrwx".chars());
    let bits = bits.map(|(bit, letter)| if found.mode() >> bit & 1 == 1 { letter } else { '-' });
    std::iter::once(kind).chain(bits).collect()
}

/// Makes directories; `-p` with their parents, and content if they are there.
pub(super) fn mkdir(words: &[String], _: &mut Streams) -> Outcome {
    let words = Words::read(words, &["-p"], &[])?;
    for path in some(&words)? {
        let made = if words.has("-p") { fs::create_dir_all(path) } else { fs::create_dir(path) };
        made.map_err(Failure::at(path))?;
    }
    Ok(0)
}

/// Removes files; `-r` directories too, `-f` without a word about what is not there.
pub(super) fn rm(words: &[String], _: &mut Streams) -> Outcome {
    let words = Words::read(words, &["-r", "-R", "-f"], &[])?;
    let deep = words.has("-r") || words.has("-R");
    for path in some(&words)? {
        match remove(Path::new(path), deep) {
            Err(error) if words.has("-f") && error.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(Failure::at(path))?,
        }
    }
    Ok(0)
}

fn remove(path: &Path, deep: bool) -> io::Result<()> {
    if deep && fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// Makes files that are not there; those that are get the present as their time.
pub(super) fn touch(words: &[String], _: &mut Streams) -> Outcome {
    let words = Words::read(words, &[], &[])?;
    for path in some(&words)? {
        // No truncation: a file that is there keeps its content.
        let opened = OpenOptions::new().create(true).append(true).open(path).map_err(Failure::at(path))?;
        nix::sys::stat::futimens(&opened, &nix::sys::time::TimeSpec::UTIME_NOW, &nix::sys::time::TimeSpec::UTIME_NOW)
            .map_err(Failure::at(path))?;
    }
    Ok(0)
}

fn some<'a, 'b>(words: &'b Words<'a>) -> Result<&'b [&'a str], Failure> {
    if words.rest.is_empty() { Err(Failure::Usage("a path is missing".to_owned())) } else { Ok(&words.rest) }
}

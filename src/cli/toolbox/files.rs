//! Small programs about files.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Prints files, or standard input.
pub fn cat(arguments: &[String]) -> Result<u8, String> {
    let mut out = io::stdout().lock();
    if arguments.is_empty() {
        io::copy(&mut io::stdin().lock(), &mut out).map_err(|error| error.to_string())?;
    }
    for path in arguments {
        let copied = match path.as_str() {
            "-" => io::copy(&mut io::stdin().lock(), &mut out),
            path => File::open(path).and_then(|mut file| io::copy(&mut file, &mut out)),
        };
        copied.map_err(|error| format!("{path}: {error}"))?;
    }
    out.flush().map_err(|error| error.to_string())?;
    Ok(0)
}

/// Prints names.
pub fn ls(arguments: &[String]) -> Result<u8, String> {
    let (flags, mut paths): (Vec<&String>, Vec<&String>) = arguments.iter().partition(|word| word.starts_with('-'));
    let has = |letter| flags.iter().any(|flag| flag.contains(letter));
    let here = ".".to_string();
    if paths.is_empty() {
        paths.push(&here);
    }
    for path in &paths {
        let failed = |error: io::Error| format!("{path}: {error}");
        let metadata = fs::symlink_metadata(path).map_err(failed)?;
        if !fs::metadata(path).is_ok_and(|target| target.is_dir()) {
            print_entry(path, &metadata, has('l'));
            continue;
        }
        if paths.len() > 1 {
            println!("{path}:");
        }
        let mut entries: Vec<_> = fs::read_dir(path).map_err(failed)?.filter_map(Result::ok).collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let (true, Ok(metadata)) = (has('a') || !name.starts_with('.'), entry.metadata()) {
                print_entry(&name, &metadata, has('l'));
            }
        }
    }
    Ok(0)
}

fn print_entry(name: &str, metadata: &fs::Metadata, long: bool) {
    if !long {
        println!("{name}");
        return;
    }
    let kind = match metadata.file_type() {
        kind if kind.is_dir() => 'd',
        kind if kind.is_symlink() => 'l',
        _ => '-',
    };
    let bits = |shift: u32| {
        let mode = metadata.mode() >> shift;
        let letter = |bit: u32, letter| if mode & bit != 0 { letter } else { '-' };
        [letter(4, 'r'), letter(2, 'w'), letter(1, 'x')]
    };
    let mode: String = [kind].into_iter().chain([6, 3, 0].into_iter().flat_map(bits)).collect();
    println!("{mode} {:>5} {:>5} {:>10} {name}", metadata.uid(), metadata.gid(), metadata.len());
}

/// Makes files.
pub fn touch(arguments: &[String]) -> Result<u8, String> {
    each(arguments, |path| File::options().create(true).append(true).open(path).map(drop))
}

/// Makes directories.
pub fn mkdir(arguments: &[String]) -> Result<u8, String> {
    let parents = arguments.iter().any(|word| word == "-p");
    each(arguments, |path| if parents { fs::create_dir_all(path) } else { fs::create_dir(path) })
}

/// Removes files.
pub fn rm(arguments: &[String]) -> Result<u8, String> {
    let flag = |letter| arguments.iter().any(|word| word.starts_with('-') && word.contains(letter));
    let (recursive, force) = (flag('r'), flag('f'));
    each(arguments, |path| {
        let is_dir = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
        let removed = if recursive && is_dir { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        match removed {
            Err(error) if force && error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    })
}

fn each(arguments: &[String], job: impl Fn(&Path) -> io::Result<()>) -> Result<u8, String> {
    for path in arguments.iter().filter(|word| !word.starts_with('-')) {
        job(Path::new(path)).map_err(|error| format!("{path}: {error}"))?;
    }
    Ok(0)
}

//! Programs that print what the kernel knows: env, pwd, id, hostname, date, uname, df, mount, ip.

use std::fs;

use nix::ifaddrs::getifaddrs;
use nix::sys::statvfs::statvfs;
use nix::sys::utsname::uname as kernel;
use nix::unistd::{getegid, geteuid, getgroups};

use crate::world::clock::{Clock, SystemClock};

use super::failure::Failure;
use super::words::Words;
use super::{Outcome, Streams};

/// Prints the environment, sorted.
pub(super) fn env(_: &[String], streams: &mut Streams) -> Outcome {
    let mut vars: Vec<_> = std::env::vars_os().collect();
    vars.sort();
    for (name, value) in vars {
        writeln!(streams.out, "{}={}", name.display(), value.display())?;
    }
    Ok(0)
}

/// Prints the working directory.
pub(super) fn pwd(_: &[String], streams: &mut Streams) -> Outcome {
    writeln!(streams.out, "{}", std::env::current_dir()?.display())?;
    Ok(0)
}

/// Prints who it runs as.
pub(super) fn id(words: &[String], streams: &mut Streams) -> Outcome {
    let words = Words::read(words, &["-u", "-g"], &[])?;
    let (user, group) = (geteuid(), getegid());
    if words.has("-u") {
        writeln!(streams.out, "{user}")?;
    } else if words.has("-g") {
        writeln!(streams.out, "{group}")?;
    } else {
        let groups = getgroups().map_err(Failure::at("groups"))?;
        let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
        writeln!(streams.out, "uid={user} gid={group} groups={}", groups.join(","))?;
    }
    Ok(0)
}

/// The host's name, empty where the kernel does not tell.
pub(super) fn host_name() -> String {
    nix::unistd::gethostname().map_or_else(|_| String::new(), |name| name.to_string_lossy().into_owned())
}

/// Prints the host's name.
pub(super) fn hostname(_: &[String], streams: &mut Streams) -> Outcome {
    writeln!(streams.out, "{}", host_name())?;
    Ok(0)
}

/// Prints the time, RFC 3339, UTC; `+%s` as seconds since 1970.
pub(super) fn date(words: &[String], streams: &mut Streams) -> Outcome {
    let now = SystemClock.now();
    match words {
        [format] if format == "+%s" => writeln!(streams.out, "{}", now.jiff().as_second())?,
        [format] if format.starts_with('+') => {
            return Err(Failure::Usage("the only format is +%s".to_owned()));
        }
        _ => writeln!(streams.out, "{}", now.rfc3339())?,
    }
    Ok(0)
}

/// Prints what kernel this is.
pub(super) fn uname(words: &[String], streams: &mut Streams) -> Outcome {
    let words = Words::read(words, &["-a", "-s", "-n", "-r", "-v", "-m"], &[])?;
    let found = kernel().map_err(Failure::at("uname"))?;
    let parts = [
        ("-s", found.sysname()),
        ("-n", found.nodename()),
        ("-r", found.release()),
        ("-v", found.version()),
        ("-m", found.machine()),
    ];
    let asked = parts.iter().any(|(flag, _)| words.has(flag));
    let shown: Vec<String> = parts
        .iter()
        .filter(|(flag, _)| words.has("-a") || words.has(flag) || (!asked && *flag == "-s"))
        .map(|(_, part)| part.to_string_lossy().into_owned())
        .collect();
    writeln!(streams.out, "{}", shown.join(" "))?;
    Ok(0)
}

/// Prints the size and use of every file system that has one, in kibibytes.
pub(super) fn df(_: &[String], streams: &mut Streams) -> Outcome {
    writeln!(streams.out, "{:<20} {:>12} {:>12} {:>12} MOUNTED ON", "FILESYSTEM", "KIBIBYTES", "USED", "AVAILABLE")?;
    for line in mounts()?.lines() {
        let mut words = line.split(' ');
        let (Some(source), Some(target)) = (words.next(), words.next()) else { continue };
        let Ok(found) = statvfs(target) else { continue };
        let kibibytes = |blocks: u64| blocks.saturating_mul(found.fragment_size()) / 1024;
        let (size, free) = (kibibytes(found.blocks()), kibibytes(found.blocks_free()));
        if size > 0 {
            let (used, left) = (size.saturating_sub(free), kibibytes(found.blocks_available()));
            writeln!(streams.out, "{source:<20} {size:>12} {used:>12} {left:>12} {target}")?;
        }
    }
    Ok(0)
}

fn mounts() -> Result<String, Failure> {
    fs::read_to_string("/proc/mounts").map_err(Failure::at("/proc/mounts"))
}

/// Prints what is mounted.
pub(super) fn mount(words: &[String], streams: &mut Streams) -> Outcome {
    if !words.is_empty() {
        return Err(Failure::Usage("it only prints what is mounted".to_owned()));
    }
    streams.out.write_all(mounts()?.as_bytes())?;
    Ok(0)
}

/// Prints the addresses of every interface.
pub(super) fn ip(_: &[String], streams: &mut Streams) -> Outcome {
    for found in getifaddrs().map_err(Failure::at("interfaces"))? {
        let Some(address) = found.address else { continue };
        let text = match (address.as_sockaddr_in(), address.as_sockaddr_in6(), address.as_link_addr()) {
            (Some(v4), _, _) => format!("inet {}", v4.ip()),
            (_, Some(v6), _) => format!("inet6 {}", v6.ip()),
            (_, _, Some(link)) if link.addr().is_some() => format!("link {link}"),
            _ => continue,
        };
        writeln!(streams.out, "{} {text}", found.interface_name)?;
    }
    Ok(0)
}

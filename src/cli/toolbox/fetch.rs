//! A small HTTP client, for plain HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long connecting, or a silence, may last.
const PATIENCE: Duration = Duration::from_secs(10);

/// Prints what a URL answers.
pub fn get(arguments: &[String]) -> Result<u8, String> {
    // `-q`, `-S` and `-O -` are what people type out of habit; they change nothing here.
    let url = arguments.iter().find(|word| !word.starts_with('-')).ok_or("which URL?")?;
    let (authority, path) = split(url)?;
    let address = authority.to_socket_addrs().map_err(|error| format!("{authority}: {error}"))?;
    let mut last = format!("{authority}: no address");
    for address in address {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return talk(stream, &authority, path),
            Err(error) => last = format!("{address}: {error}"),
        }
    }
    Err(last)
}

fn split(url: &str) -> Result<(String, &str), String> {
    if url.starts_with("https://") {
        return Err("only http:// is spoken here".into());
    }
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let port = if authority.rsplit(']').next().is_some_and(|end| end.contains(':')) { "" } else { ":80" };
    Ok((format!("{authority}{port}"), if path.is_empty() { "/" } else { path }))
}

fn talk(mut stream: TcpStream, authority: &str, path: &str) -> Result<u8, String> {
    let failed = |error: std::io::Error| error.to_string();
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {authority}\r\nUser-Agent: shoal-toolbox\r\n\r\n").map_err(failed)?;
    let mut reader = BufReader::new(stream);
    let mut status = String::new();
    reader.read_line(&mut status).map_err(failed)?;
    let mut length = u64::MAX;
    let mut line = String::new();
    while reader.read_line(&mut line).map_err(failed)? > 0 && line.trim_end() != "" {
        if let Some((name, value)) =
            line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        {
            debug_assert!(!name.is_empty());
            length = value.trim().parse().unwrap_or(u64::MAX);
        }
        line.clear();
    }
    std::io::copy(&mut reader.take(length), &mut std::io::stdout().lock()).map_err(failed)?;
    let code: u16 = status.split_whitespace().nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    if (200..400).contains(&code) {
        return Ok(0);
    }
    Err(format!("the server answers {}", status.trim()))
}

//! Clients to test a network with: fetch a page, resolve a name, talk to a port.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::thread;
use std::time::Duration;

use super::failure::Failure;
use super::words::{self, Words};
use super::{Outcome, Streams};

/// How long a connection may take to come about, and then to say something.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest head of an answer, in bytes.
const HEAD_BYTES: u64 = 64 * 1024;

/// Prints what an `http://` address answers; fails where the answer is not a success.
pub(super) fn http_get(words: &[String], streams: &mut Streams) -> Outcome {
    let words = Words::read(words, &["-q", "-S", "--spider"], &["-O", "-T", "--timeout"])?;
    let url = words.only("address")?;
    let patience = words.value("-T").or_else(|| words.value("--timeout"));
    let patience = patience.map_or(Ok(Some(PATIENCE)), words::duration)?;
    let (authority, path) = split(url)?;
    let stream = connect(&with_port(authority), patience)?;
    // The old version, so that no server answers in chunks.
    let ask = format!("GET {path} HTTP/1.0\r\nHost: {authority}\r\nConnection: close\r\nAccept: */*\r\n\r\n");
    (&stream).write_all(ask.as_bytes()).map_err(Failure::at(url))?;
    let mut reader = BufReader::new(&stream);
    let status = status(&mut reader).map_err(Failure::at(url))?;
    if !status.starts_with('2') {
        return Err(Failure::Said(format!("{url}: the server answered {status}")));
    }
    if words.has("--spider") {
        return Ok(0);
    }
    match words.value("-O").filter(|file| *file != "-") {
        Some(file) => io::copy(&mut reader, &mut File::create(file).map_err(Failure::at(file))?)?,
        None => io::copy(&mut reader, streams.out)?,
    };
    Ok(0)
}

/// Splits `http://authority/path`.
fn split(url: &str) -> Result<(&str, &str), Failure> {
    if url.starts_with("https://") {
        return Err(Failure::Usage("only http:// is spoken here".to_owned()));
    }
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.is_empty() {
        return Err(Failure::Usage(format!("{url:?} is not an address")));
    }
    Ok((authority, if path.is_empty() { "/" } else { path }))
}

fn with_port(authority: &str) -> String {
    let host_ends = authority.rfind(']').unwrap_or(0);
    let ported = authority.get(host_ends..).is_some_and(|rest| rest.contains(':'));
    if ported { authority.to_owned() } else { format!("{authority}:80") }
}

/// Reads the head of an answer and returns its status, like `404 Not Found`.
fn status(reader: &mut impl BufRead) -> io::Result<String> {
    let mut reader = reader.take(HEAD_BYTES);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let status = first.split_once(' ').map(|(_, status)| status.trim().to_owned());
    let status = status.filter(|_| first.starts_with("HTTP/"));
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 && !line.trim_end().is_empty() {
        line.clear();
    }
    status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

fn connect(to: &str, patience: Option<Duration>) -> Result<TcpStream, Failure> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in to.to_socket_addrs().map_err(Failure::at(to))? {
        let tried = match patience {
            Some(patience) => TcpStream::connect_timeout(&address, patience),
            None => TcpStream::connect(address),
        };
        match tried {
            Ok(stream) => {
                stream.set_read_timeout(patience)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(Failure::At { what: to.to_owned(), source: last })
}

/// Prints the addresses of a name, one a line.
pub(super) fn resolve(words: &[String], streams: &mut Streams) -> Outcome {
    let words = Words::read(words, &[], &[])?;
    let name = words.only("name")?;
    let mut addresses: Vec<_> =
        (name, 0).to_socket_addrs().map_err(Failure::at(name))?.map(|address| address.ip()).collect();
    addresses.sort();
    addresses.dedup();
    for address in addresses {
        writeln!(streams.out, "{address}")?;
    }
    Ok(0)
}

/// Sends its input to a port and prints what comes back; `-z` only tries the port.
pub(super) fn tcp(words: &[String], streams: &mut Streams) -> Outcome {
    let words = Words::read(words, &["-z", "-v"], &["-w"])?;
    let [host, port] = words.rest.as_slice() else {
        return Err(Failure::Usage("expected a host and a port".to_owned()));
    };
    let host = if host.contains(':') { format!("[{host}]") } else { (*host).to_owned() };
    let patience = words.value("-w").map_or(Ok(Some(PATIENCE)), words::duration)?;
    let stream = connect(&format!("{host}:{port}"), patience)?;
    if words.has("-z") {
        return Ok(0);
    }
    stream.set_read_timeout(None)?;
    let mut sender = stream.try_clone()?;
    // Detached: when the other side is done, what is left to type does not matter.
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut sender);
        let _ = sender.shutdown(Shutdown::Write);
    });
    let mut buffer = [0; 4096];
    loop {
        let count = (&stream).read(&mut buffer)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { return Ok(0) };
        streams.out.write_all(bytes)?;
        streams.out.flush()?;
    }
}

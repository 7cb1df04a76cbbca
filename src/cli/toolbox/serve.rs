//! Servers to test a network with: HTTP that answers, TCP that repeats.

use std::collections::BTreeMap;
use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::endings;
use super::failure::Failure;
use super::system::host_name;
use super::words::Words;
use super::{Outcome, Streams};

const DEFAULT_PORT: u16 = 8080;
/// Most connections at a time; more are closed at once.
const CONNECTIONS: usize = 512;
/// Longest head of a request, in bytes.
const HEAD_BYTES: u64 = 32 * 1024;
/// A connection that says nothing for this long is closed.
const IDLE: Duration = Duration::from_secs(75);
const STACK_BYTES: usize = 128 * 1024;

/// Answers HTTP: `--text` (or the host's name) everywhere, `/env`, `/headers` and `/healthz` what they say.
pub(super) fn http_echo(words: &[String], streams: &mut Streams) -> Outcome {
    let words = Words::read(words, &[], &["--port", "--text"])?;
    let text = words.value("--text").map_or_else(|| format!("hello from {}", host_name()), str::to_owned);
    endings::on_term()?;
    let listener = listen(words.number("--port", DEFAULT_PORT)?, streams)?;
    each(&listener, move |stream| answer(&stream, &text));
    Ok(0)
}

/// Sends back every byte it gets.
pub(super) fn tcp_echo(words: &[String], streams: &mut Streams) -> Outcome {
    let words = Words::read(words, &[], &["--port"])?;
    endings::on_term()?;
    let listener = listen(words.number("--port", DEFAULT_PORT)?, streams)?;
    each(&listener, |stream| {
        say(&format!("{} connected", peer(&stream)));
        let bytes = io::copy(&mut &stream, &mut &stream)?;
        say(&format!("{} sent {bytes} bytes", peer(&stream)));
        Ok(())
    });
    Ok(0)
}

fn listen(port: u16, streams: &mut Streams) -> Result<TcpListener, Failure> {
    // Where IPv6 is there, one socket serves both.
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
        .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
        .map_err(Failure::at(format!("port {port}")))?;
    writeln!(streams.out, "listening on {}", listener.local_addr()?.port())?;
    streams.out.flush()?;
    Ok(listener)
}

/// Serves each connection in its own thread, at most [`CONNECTIONS`] at a time.
pub(super) fn each<F>(listener: &TcpListener, serve: F)
where
    F: Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static,
{
    let serve = Arc::new(serve);
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // Out of file descriptors, mostly: it passes.
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        if Arc::strong_count(&serve) > CONNECTIONS {
            continue;
        }
        let serve = Arc::clone(&serve);
        let body = move || {
            let _ = stream.set_nodelay(true);
            // A connection that breaks is its client's affair.
            let _ = serve(stream);
        };
        // Without a thread the connection is closed: the closure and its stream are dropped.
        let _ = thread::Builder::new().stack_size(STACK_BYTES).spawn(body);
    }
}

fn peer(stream: &TcpStream) -> String {
    stream.peer_addr().map_or_else(|_| "?".to_owned(), |peer| peer.ip().to_canonical().to_string())
}

fn say(line: &str) {
    // Losing a line of the log must not lose the connection.
    let _ = writeln!(io::stdout(), "{line}");
}

struct Request {
    method: String,
    path: String,
    version: String,
    headers: BTreeMap<String, String>,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn keeps_alive(&self) -> bool {
        self.version == "HTTP/1.1" && !self.header("connection").eq_ignore_ascii_case("close")
    }
}

/// Answers the requests of one connection until it closes.
pub(super) fn answer(stream: &TcpStream, text: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(IDLE))?;
    let mut reader = BufReader::with_capacity(4096, stream);
    while let Some(request) = read_head(&mut reader)? {
        let length = request.header("content-length").parse().unwrap_or(0);
        io::copy(&mut (&mut reader).take(length), &mut io::sink())?;
        let (status, body) = respond(&request, text);
        // A body in chunks is not read, so that what follows it cannot be either.
        let keep = request.keeps_alive() && request.header("transfer-encoding").is_empty();
        write_answer(stream, &request, status, &body, keep)?;
        say(&format!("{} {} {} {status}", peer(stream), request.method, request.path));
        if !keep {
            break;
        }
    }
    Ok(())
}

fn write_answer(mut to: &TcpStream, request: &Request, status: u16, body: &str, keep: bool) -> io::Result<()> {
    let reason = if status == 200 { "OK" } else { "Bad Request" };
    let connection = if keep { "keep-alive" } else { "close" };
    let length = body.len();
    let mut bytes = format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {length}\r\n\
         connection: {connection}\r\n\r\n"
    );
    if request.method != "HEAD" {
        bytes.push_str(body);
    }
    to.write_all(bytes.as_bytes())
}

fn respond(request: &Request, text: &str) -> (u16, String) {
    if !request.version.starts_with("HTTP/1.") {
        return (400, "this is not HTTP/1.1\n".to_owned());
    }
    let body = match request.path.split('?').next().unwrap_or_default() {
        "/healthz" => "ok".to_owned(),
        "/env" => {
            let sorted: BTreeMap<_, _> = env::vars_os().collect();
            let lines = sorted.iter().map(|(name, value)| format!("{}={}", name.display(), value.display()));
            lines.collect::<Vec<_>>().join("\n")
        }
        "/headers" => {
            request.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join("\n")
        }
        _ => text.to_owned(),
    };
    (200, body + "\n")
}

/// Reads a request up to its empty line; `None` when the connection ended before one began.
fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut reader = reader.take(HEAD_BYTES);
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut words = first.split_whitespace().map(str::to_owned);
    let mut next = || words.next().unwrap_or_default();
    let mut request = Request { method: next(), path: next(), version: next(), headers: BTreeMap::new() };
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(Some(request));
        }
        if let Some((name, value)) = line.split_once(':') {
            request.headers.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
}

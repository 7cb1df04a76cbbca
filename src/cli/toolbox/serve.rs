//! Small servers: plain threads, one for each connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::Flags;
use super::process::{end_on_term, host_name};
use crate::model::Timestamp;
use crate::world::clock::{Clock, SystemClock};

/// Connections that are served at once; further ones are closed.
const MAX_CONNECTIONS: usize = 512;
/// Bytes of a request's head.
const MAX_HEAD_BYTES: u64 = 64 * 1024;
/// How long a client may be silent.
const IDLE: Duration = Duration::from_secs(60);

/// What every request is answered with.
struct Answer {
    text: String,
    status: u16,
    ready_at: Timestamp,
}

/// Answers every request with a text.
pub fn http_echo(arguments: &[String]) -> Result<u8, String> {
    let flags = Flags::parse(arguments, &["port", "text", "status", "ready-after"])?;
    end_on_term(0);
    let port: u16 = flags.get("port", 8080)?;
    let answer = Answer {
        text: flags.get("text", format!("hello from {}", host_name()))?,
        status: flags.get("status", 200)?,
        ready_at: SystemClock.now() + flags.duration("ready-after", Duration::ZERO)?,
    };
    serve(port, move |stream| answer_requests(&stream, &answer))
}

/// Sends back what comes.
pub fn tcp_echo(arguments: &[String]) -> Result<u8, String> {
    let flags = Flags::parse(arguments, &["port"])?;
    end_on_term(0);
    serve(flags.get("port", 7000)?, |stream| {
        let mut reader = stream.try_clone()?;
        let mut writer = stream;
        io::copy(&mut reader, &mut writer).map(drop)
    })
}

fn serve(port: u16, job: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Result<u8, String> {
    let listener = TcpListener::bind(("::", port)).or_else(|_| TcpListener::bind(("0.0.0.0", port)));
    let listener = listener.map_err(|error| format!("cannot listen on port {port}: {error}"))?;
    println!("listening on port {port}");
    let job = Arc::new(job);
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        if open.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
            open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (job, open) = (Arc::clone(&job), Arc::clone(&open));
        std::thread::spawn(move || {
            let _ = stream.set_read_timeout(Some(IDLE));
            let _ = job(stream);
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
    Ok(0)
}

fn answer_requests(stream: &TcpStream, answer: &Answer) -> io::Result<()> {
    let peer = stream.peer_addr()?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_head(&mut reader)? {
        let status = if SystemClock.now() < answer.ready_at { 503 } else { answer.status };
        let body = format!("{}\n", answer.text);
        let body = if request.starts_with("HEAD ") { "" } else { &body };
        write!(
            &mut &*stream,
            "HTTP/1.1 {status} {}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\r\n{body}",
            if status < 400 { "OK" } else { "Not OK" },
            body.len()
        )?;
        println!("{} {request} {status}", peer.ip().to_canonical());
    }
    Ok(())
}

/// The first line of a request, when its head is whole; `None` at the end of the connection. Bodies are passed over
/// where their length is given.
fn read_head(reader: &mut BufReader<&TcpStream>) -> io::Result<Option<String>> {
    let mut head = reader.by_ref().take(MAX_HEAD_BYTES);
    let mut first = String::new();
    if head.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut length = 0u64;
    loop {
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    io::copy(&mut reader.by_ref().take(length), &mut io::sink())?;
    let mut words = first.split_whitespace();
    let request = format!("{} {}", words.next().unwrap_or("-"), words.next().unwrap_or("-"));
    Ok(Some(request))
}

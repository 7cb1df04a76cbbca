//! The toolbox from outside.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::{APPLETS, find, serve, words};

#[test]
fn a_process_is_a_program_only_by_a_programs_name() {
    let called = |name: &str| find(OsStr::new(name)).map(|(name, _, _)| *name);
    assert_eq!(called("-sh"), Some("sh"));
    assert_eq!(called("["), Some("["));
    assert_eq!((called("shoal"), called("toolbox"), called("")), (None, None, None));
    assert!(APPLETS.is_sorted() && APPLETS.contains(&"http-echo"));
}

#[test]
fn a_duration_has_a_unit_or_is_seconds() {
    let check =
        |text, expect: Option<Duration>| assert_eq!(words::duration(text).expect("a duration"), expect, "{text}");
    check("30", Some(Duration::from_secs(30)));
    check("1.5s", Some(Duration::from_millis(1500)));
    check("100ms", Some(Duration::from_millis(100)));
    check("2m", Some(Duration::from_secs(120)));
    check("infinity", None);
    for wrong in ["", "x", "-1", "5 s", "1e99", "NaN", "3w"] {
        assert!(words::duration(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn flags_stand_alone_with_values_or_together() {
    let given = ["-qO-", "--timeout=5", "-T", "7", "a", "--", "-b"].map(str::to_owned);
    let read = words::Words::read(&given, &["-q"], &["-O", "-T", "--timeout"]).expect("flags");
    assert!(read.has("-q"));
    assert_eq!((read.value("-O"), read.value("--timeout"), read.value("-T")), (Some("-"), Some("5"), Some("7")));
    assert_eq!(read.rest, ["a", "-b"]);
    for wrong in ["-x", "--quiet", "-T"] {
        assert!(words::Words::read(&[wrong.to_owned()], &["-q"], &["-T"]).is_err(), "{wrong}");
    }
}

/// Sends one request and returns the answer's status line and body.
fn asked(stream: &mut BufReader<TcpStream>, request: &str) -> (String, String) {
    stream.get_mut().write_all(request.as_bytes()).expect("sent");
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line: &String| !line.trim().is_empty()) {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).expect("a line") > 0, "the answer ended early: {lines:?}");
        lines.push(line);
    }
    let length = lines.iter().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    let mut body = vec![0; length.trim().parse().expect("a number")];
    stream.read_exact(&mut body).expect("a body");
    (lines[0].trim().to_owned(), String::from_utf8(body).expect("text"))
}

#[test]
fn http_echo_answers_one_request_after_the_other_on_a_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || serve::each(&listener, |stream| serve::answer(&stream, "hello")));
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
    let mut stream = BufReader::new(stream);
    let ok = "HTTP/1.1 200 OK".to_owned();
    assert_eq!(
        asked(&mut stream, "POST /any HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody"),
        (ok.clone(), "hello\n".to_owned())
    );
    assert_eq!(asked(&mut stream, "GET /healthz?a=b HTTP/1.1\r\n\r\n"), (ok.clone(), "ok\n".to_owned()));
    assert_eq!(asked(&mut stream, "GET /headers HTTP/1.1\r\nX-A:  1 \r\n\r\n"), (ok, "x-a: 1\n".to_owned()));
    assert_eq!(asked(&mut stream, "GET / SPDY\r\n\r\n").0, "HTTP/1.1 400 Bad Request");
    assert_eq!(stream.read(&mut [0]).expect("an end"), 0, "closed after what is not HTTP");
}

//! The CRI log line: `2026-11-20T08:00:00.123456000Z stdout F text`, where `P` says that the line goes on.

use crate::model::Timestamp;

/// Longest text of one record; longer lines are cut into several (what containerd does too).
pub const RECORD_BYTES: usize = 16 << 10;

/// Which output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// One line of a log file, taken apart; `text` has no newline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// As written.
    pub time: &'a str,
    /// Whether the line ends here.
    pub full: bool,
    /// The output.
    pub text: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads one line (without its newline). `None` where it is no record: a torn write.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let mut parts = line.splitn(4, |b| *b == b' ');
        let time = std::str::from_utf8(parts.next()?).ok()?;
        let _stream = parts.next()?;
        let full = match parts.next()? {
            b"F" => true,
            b"P" => false,
            _ => return None,
        };
        Some(Self { time, full, text: parts.next().unwrap_or_default() })
    }
}

/// Appends a record to `out`.
pub fn encode(out: &mut Vec<u8>, at: Timestamp, stream: Stream, full: bool, text: &[u8]) {
    out.extend_from_slice(at.rfc3339_nano().as_bytes());
    out.push(b' ');
    out.extend_from_slice(stream.name().as_bytes());
    out.extend_from_slice(if full { b" F " } else { b" P " });
    out.extend_from_slice(text);
    out.push(b'\n');
}

/// Cuts a stream of bytes into records; keeps what has no newline yet.
#[derive(Debug)]
pub struct Splitter {
    stream: Stream,
    rest: Vec<u8>,
}

impl Splitter {
    /// For one output of one container.
    pub fn new(stream: Stream) -> Self {
        Self { stream, rest: Vec::new() }
    }

    /// Takes what was read and appends the records that it completes.
    pub fn push(&mut self, out: &mut Vec<u8>, at: Timestamp, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            let (line, rest) = bytes.split_at(end);
            self.line(out, at, line);
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.rest.extend_from_slice(bytes);
        while self.rest.len() > RECORD_BYTES {
            let tail = self.rest.split_off(RECORD_BYTES);
            encode(out, at, self.stream, false, &self.rest);
            self.rest = tail;
        }
    }

    /// Appends what is left when the output ends without a newline.
    pub fn finish(&mut self, out: &mut Vec<u8>, at: Timestamp) {
        if !self.rest.is_empty() {
            encode(out, at, self.stream, false, &std::mem::take(&mut self.rest));
        }
    }

    fn line(&mut self, out: &mut Vec<u8>, at: Timestamp, line: &[u8]) {
        if self.rest.is_empty() && line.len() <= RECORD_BYTES {
            return encode(out, at, self.stream, true, line);
        }
        let mut whole = std::mem::take(&mut self.rest);
        whole.extend_from_slice(line);
        let mut chunks = whole.chunks(RECORD_BYTES).peekable();
        while let Some(chunk) = chunks.next() {
            encode(out, at, self.stream, chunks.peek().is_none(), chunk);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `pieces`, and gives each record as (`full`, length or text).
    fn check(pieces: &[&[u8]], expect: &[(bool, &[u8])]) {
        let mut splitter = Splitter::new(Stream::Stdout);
        let mut out = Vec::new();
        pieces.iter().for_each(|piece| splitter.push(&mut out, Timestamp(0), piece));
        splitter.finish(&mut out, Timestamp(0));
        let lines: Vec<_> = out.split(|b| *b == b'\n').filter(|line| !line.is_empty()).collect();
        let seen: Vec<_> = lines.iter().map(|line| Record::parse(line).unwrap()).map(|r| (r.full, r.text)).collect();
        assert_eq!(seen, expect);
    }

    #[test]
    fn output_is_cut_at_newlines_and_at_the_size_of_a_record() {
        check(&[b"one\ntwo\n"], &[(true, b"one"), (true, b"two")]);
        check(&[b"on", b"e\n\nx y"], &[(true, b"one"), (true, b""), (false, b"x y")]);
        let long = vec![b'a'; RECORD_BYTES + 3];
        check(&[&long, b"\n"], &[(false, &long[..RECORD_BYTES]), (true, b"aaa")]);
        let exact = vec![b'b'; RECORD_BYTES];
        check(&[&exact, b"\n"], &[(true, &exact)]);
    }

    #[test]
    fn a_record_reads_as_other_tools_write_it() {
        let mut out = Vec::new();
        encode(&mut out, Timestamp(1_000_001), Stream::Stderr, true, b"a b");
        assert_eq!(out, b"1970-01-01T00:00:01.000001000Z stderr F a b\n");
        assert_eq!(Record::parse(b"garbage"), None);
    }
}

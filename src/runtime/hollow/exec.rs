//! Processes that are pretended inside a pretended container.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::{mpsc, oneshot};

use crate::runtime::{ExecSession, ExecSpec};

/// Bytes between the two ends of a pretended pipe.
const PIPE_BYTES: usize = 64 << 10;
/// Terminal sizes that wait to be read; nothing reads them.
const RESIZES: usize = 8;

/// Pretends `echo`, `cat`, `true`, `false` and `exit N` (also in `sh -c`); anything else succeeds silently.
pub(super) fn pretend(spec: &ExecSpec) -> ExecSession {
    let (ended, exit) = oneshot::channel();
    let words: Vec<&str> = spec.command.iter().flat_map(|arg| arg.split_whitespace()).collect();
    let (near, far) = tokio::io::duplex(PIPE_BYTES);
    let echoes = spec.stdin && words.contains(&"cat");
    let (stdin, stdout): (Option<Box<dyn tokio::io::AsyncWrite + Send + Unpin>>, Box<dyn AsyncRead + Send + Unpin>) =
        if echoes {
            (Some(Box::new(near)), Box::new(UntilEnd { inner: far, ended: Some(ended), code: 0 }))
        } else {
            // A oneshot whose receiver is gone is fine: nobody asked for the code.
            let _ = ended.send(code(&words));
            let stdin = spec.stdin.then(|| Box::new(tokio::io::sink()) as _);
            (stdin, Box::new(io::Cursor::new(output(&words))))
        };
    let stderr = (!spec.tty).then(|| Box::new(tokio::io::empty()) as _);
    ExecSession { stdin, stdout, stderr, resize: spec.tty.then(|| mpsc::channel(RESIZES).0), exit }
}

fn code(words: &[&str]) -> i32 {
    match words {
        [.., "exit", code] => code.parse().unwrap_or(2),
        [.., "false" | "/bin/false"] => 1,
        _ => 0,
    }
}

fn output(words: &[&str]) -> Vec<u8> {
    match words.iter().position(|word| *word == "echo") {
        Some(at) => format!("{}\n", words.iter().skip(at + 1).copied().collect::<Vec<_>>().join(" ")).into_bytes(),
        None => Vec::new(),
    }
}

/// Reports the exit when its input ends.
struct UntilEnd {
    inner: tokio::io::DuplexStream,
    ended: Option<oneshot::Sender<i32>>,
    code: i32,
}

impl AsyncRead for UntilEnd {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if matches!(polled, Poll::Ready(Ok(()))) && buf.filled().len() == before && buf.remaining() > 0 {
            let code = self.code;
            if let Some(ended) = self.ended.take() {
                let _ = ended.send(code);
            }
        }
        polled
    }
}

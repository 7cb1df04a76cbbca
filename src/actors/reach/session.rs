//! An exec's streams over one byte stream: frames of a channel byte, a length (32 bits, big endian) and that many bytes.
//!
//! An empty frame of standard input, output or error ends it. The frame of the exit code is the last.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};

use crate::mesh::fabric::{Duplex, ReceiveStream};
use crate::runtime::{ExecSession, ExecSpec};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const EXIT: u8 = 3;
const RESIZE: u8 = 4;

/// Most bytes of one frame.
const MAX_FRAME_BYTES: usize = 64 << 10;
/// Bytes that are read from a process, or a client, at a time.
const CHUNK_BYTES: usize = 16 << 10;
/// Frames that may wait to be sent.
const MAX_WAITING: usize = 16;
/// Bytes of each output that may wait for its reader.
const PIPE_BYTES: usize = 64 << 10;
/// Terminal sizes that may wait.
const MAX_SIZES: usize = 8;

struct Frame {
    channel: u8,
    bytes: Bytes,
}

type Frames = mpsc::Sender<Frame>;
type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// Serves a session to the node that asked for it, until it has ended or that node is gone; then the process ends too.
pub async fn serve(session: ExecSession, duplex: Duplex) {
    let Duplex { send, receive } = duplex;
    let ExecSession { stdin, stdout, stderr, resize, exit } = session;
    let (frames, waiting) = mpsc::channel(MAX_WAITING);
    let outputs = async move {
        tokio::join!(pump(stdout, STDOUT, frames.clone()), async {
            if let Some(stderr) = stderr {
                pump(stderr, STDERR, frames.clone()).await;
            }
        });
        let code = exit.await.ok();
        let bytes = code.map(|code| Bytes::copy_from_slice(&code.to_be_bytes())).unwrap_or_default();
        let _ = frames.send(Frame { channel: EXIT, bytes }).await;
    };
    let sending = async { tokio::join!(outputs, write(send, waiting)).1 };
    let ended = tokio::select! {
        sent = sending => sent,
        received = requests(receive, stdin, resize) => received,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an exec session of another node ended early");
    }
}

/// What the client sends: input and terminal sizes. Ends only with the connection.
async fn requests(
    mut receive: Box<dyn ReceiveStream>,
    mut stdin: Option<Writer>,
    resize: Option<mpsc::Sender<(u16, u16)>>,
) -> io::Result<()> {
    loop {
        let frame = read(&mut receive).await?;
        match (frame.channel, &mut stdin, &resize) {
            (STDIN, Some(_), _) if frame.bytes.is_empty() => stdin = None,
            (STDIN, Some(input), _) => {
                // A process that has closed its input still runs.
                if input.write_all(&frame.bytes).await.is_err() || input.flush().await.is_err() {
                    stdin = None;
                }
            }
            (RESIZE, _, Some(resize)) => {
                if let Some(size) = size(&frame.bytes) {
                    let _ = resize.try_send(size);
                }
            }
            _ => {}
        }
    }
}

/// A session on another node. Dropping its `exit` ends it.
pub fn remote(duplex: Duplex, spec: &ExecSpec) -> ExecSession {
    let Duplex { send, receive } = duplex;
    let (frames, waiting) = mpsc::channel(MAX_WAITING);
    let (stdout, out) = tokio::io::duplex(PIPE_BYTES);
    let (stderr, err) = tokio::io::duplex(PIPE_BYTES);
    let (input, stdin) = tokio::io::duplex(PIPE_BYTES);
    let (resize, sizes) = mpsc::channel(MAX_SIZES);
    let (ended, exit) = oneshot::channel();
    let (with_input, tty) = (spec.stdin, spec.tty);
    let asking = async move {
        tokio::join!(
            async {
                if with_input {
                    pump(Box::new(input), STDIN, frames.clone()).await;
                }
            },
            resizes(sizes, frames.clone())
        );
        // Closing this side would end the session: it stays open until the exit code is there.
        std::future::pending::<()>().await;
    };
    // Owned by the session: ends with it, because the receiver of the exit code goes with it.
    tokio::spawn(async move {
        let mut ended = ended;
        let code = tokio::select! {
            code = outputs(receive, Box::new(out), Box::new(err)) => code,
            _ = async { tokio::join!(asking, write(send, waiting)) } => None,
            () = ended.closed() => None,
        };
        if let Some(code) = code {
            let _ = ended.send(code);
        }
    });
    ExecSession {
        stdin: with_input.then(|| Box::new(stdin) as Writer),
        stdout: Box::new(stdout),
        stderr: (!tty).then(|| Box::new(stderr) as Reader),
        resize: tty.then_some(resize),
        exit,
    }
}

/// What the process's node sends, to the exit code; `None` where it never comes.
async fn outputs(mut receive: Box<dyn ReceiveStream>, out: Writer, err: Writer) -> Option<i32> {
    let (mut out, mut err) = (Some(out), Some(err));
    loop {
        let frame = read(&mut receive).await.ok()?;
        let pipe = match frame.channel {
            STDOUT => &mut out,
            STDERR => &mut err,
            EXIT => return frame.bytes.as_ref().try_into().ok().map(i32::from_be_bytes),
            _ => continue,
        };
        let Some(writer) = pipe else { continue };
        if frame.bytes.is_empty() || writer.write_all(&frame.bytes).await.is_err() {
            *pipe = None;
        }
    }
}

async fn resizes(mut sizes: mpsc::Receiver<(u16, u16)>, frames: Frames) {
    while let Some((columns, rows)) = sizes.recv().await {
        let mut bytes = BytesMut::with_capacity(4);
        bytes.put_u16(columns);
        bytes.put_u16(rows);
        let _ = frames.send(Frame { channel: RESIZE, bytes: bytes.freeze() }).await;
    }
}

fn size(bytes: &[u8]) -> Option<(u16, u16)> {
    let [a, b, c, d] = <[u8; 4]>::try_from(bytes).ok()?;
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

/// Makes frames of what `from` gives; an empty one at its end.
async fn pump(mut from: Reader, channel: u8, frames: Frames) {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        let bytes = Bytes::copy_from_slice(buffer.get(..read).unwrap_or_default());
        if frames.send(Frame { channel, bytes }).await.is_err() || read == 0 {
            return;
        }
    }
}

async fn write(mut send: impl AsyncWrite + Unpin, mut waiting: mpsc::Receiver<Frame>) -> io::Result<()> {
    while let Some(frame) = waiting.recv().await {
        let length = u32::try_from(frame.bytes.len()).map_err(io::Error::other)?;
        send.write_u8(frame.channel).await?;
        send.write_u32(length).await?;
        send.write_all(&frame.bytes).await?;
        send.flush().await?;
    }
    send.shutdown().await
}

async fn read(receive: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let channel = receive.read_u8().await?;
    let length = receive.read_u32().await? as usize;
    if length > MAX_FRAME_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame over the bound"));
    }
    let mut bytes = vec![0; length];
    receive.read_exact(&mut bytes).await?;
    Ok(Frame { channel, bytes: bytes.into() })
}

#[cfg(test)]
mod tests;

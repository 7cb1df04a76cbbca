//! Another process in a container: its descriptors, its terminal, its exit code.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{mpsc, oneshot};

use super::client::Connection;
use super::layout::system;
use crate::runtime::shim::wire::{Exec, Reply, Request};
use crate::runtime::{Error, ExecSession, ExecSpec};

/// Terminal sizes that wait to be set.
const RESIZES: usize = 8;

/// Starts it.
pub(super) async fn start(connection: Connection, container: String, spec: &ExecSpec) -> Result<ExecSession, Error> {
    let request = Request::Exec(Box::new(Exec { container, command: spec.command.clone(), tty: spec.tty }));
    if spec.tty {
        terminal(connection, &request, spec.stdin).await
    } else {
        pipes(connection, &request, spec.stdin).await
    }
}

async fn pipes(connection: Connection, request: &Request, stdin: bool) -> Result<ExecSession, Error> {
    let failed = |error: io::Error| system("make pipes", &error);
    let (input, ours_in) = if stdin {
        let (theirs, ours) = pipe().map_err(failed)?;
        (theirs, Some(ours))
    } else {
        (OwnedFd::from(std::fs::File::open("/dev/null").map_err(failed)?), None)
    };
    let (ours_out, output) = pipe().map_err(failed)?;
    let (ours_err, errors) = pipe().map_err(failed)?;
    let fds = [input.as_raw_fd(), output.as_raw_fd(), errors.as_raw_fd()];
    connection.send(request, &fds).await?;
    drop((input, output, errors));
    running(&connection).await?;
    Ok(ExecSession {
        stdin: ours_in.map(Stream::boxed_writer).transpose()?,
        stdout: Stream::boxed_reader(ours_out)?,
        stderr: Some(Stream::boxed_reader(ours_err)?),
        resize: None,
        exit: watch(connection, None),
    })
}

async fn terminal(connection: Connection, request: &Request, stdin: bool) -> Result<ExecSession, Error> {
    connection.send(request, &[]).await?;
    let master = running(&connection).await?.pop();
    let master = master.ok_or_else(|| Error::System("the terminal did not arrive".to_owned()))?;
    let stream = Stream::new(master)?;
    let (resize, sizes) = mpsc::channel(RESIZES);
    Ok(ExecSession {
        stdin: stdin.then(|| Box::new(stream.clone()) as _),
        stdout: Box::new(stream.clone()),
        stderr: None,
        resize: Some(resize),
        exit: watch(connection, Some((stream, sizes))),
    })
}

/// Waits until the program runs.
async fn running(connection: &Connection) -> Result<Vec<OwnedFd>, Error> {
    match connection.receive().await? {
        Some((Reply::Running(_), fds)) => Ok(fds),
        Some((Reply::Failed(reason), _)) => Err(Error::Start(reason)),
        Some((Reply::Unknown, _)) => Err(Error::Start("container not running".to_owned())),
        Some((other, _)) => Err(super::unexpected(&other)),
        None => Err(Error::System("the pod's shim is gone".to_owned())),
    }
}

/// Keeps the connection (its end would end the process) until the exit code comes or nobody wants it; sets sizes.
fn watch(connection: Connection, terminal: Option<(Stream, mpsc::Receiver<(u16, u16)>)>) -> oneshot::Receiver<i32> {
    let (mut sender, exit) = oneshot::channel();
    let resizes = async move {
        if let Some((stream, mut sizes)) = terminal {
            while let Some((columns, rows)) = sizes.recv().await {
                stream.resize(columns, rows);
            }
        }
        std::future::pending::<()>().await;
    };
    // Bounded by the exec itself: it ends with the process, or when the session is dropped.
    tokio::spawn(async move {
        let ended = tokio::select! {
            reply = connection.receive() => reply,
            () = sender.closed() => return,
            () = resizes => return,
        };
        if let Ok(Some((Reply::ExecEnded(code), _))) = ended {
            // Nobody waits for it any more: fine.
            let _ = sender.send(code);
        }
    });
    exit
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(OFlag::O_CLOEXEC)?)
}

/// One of our ends of a pipe, or a terminal's master.
#[derive(Clone)]
struct Stream(Arc<AsyncFd<OwnedFd>>);

impl Stream {
    fn new(fd: OwnedFd) -> Result<Self, Error> {
        let nonblocking = || -> io::Result<AsyncFd<OwnedFd>> {
            let flags = OFlag::from_bits_truncate(fcntl(&fd, FcntlArg::F_GETFL)?);
            fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
            // SAFETY: an `OwnedFd` keeps its descriptor open, and the same one, for as long as it lives.
            Ok(unsafe { AsyncFd::register(fd) }?)
        };
        Ok(Self(Arc::new(nonblocking().map_err(|error| system("watch a pipe", &error))?)))
    }

    fn boxed_reader(fd: OwnedFd) -> Result<Box<dyn AsyncRead + Send + Unpin>, Error> {
        Ok(Box::new(Self::new(fd)?))
    }

    fn boxed_writer(fd: OwnedFd) -> Result<Box<dyn AsyncWrite + Send + Unpin>, Error> {
        Ok(Box::new(Self::new(fd)?))
    }

    fn resize(&self, columns: u16, rows: u16) {
        let size = nix::libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the descriptor is open and the kernel only reads the structure. A terminal that is gone has no size.
        unsafe { nix::libc::ioctl(self.0.as_raw_fd(), nix::libc::TIOCSWINSZ, &raw const size) };
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            match guard.try_io(|fd| Ok(nix::unistd::read(fd.get_ref(), buf.initialize_unfilled())?)) {
                Ok(Ok(count)) => {
                    buf.advance(count);
                    return Poll::Ready(Ok(()));
                }
                // A terminal whose other side has closed: its end.
                Ok(Err(error)) if error.raw_os_error() == Some(nix::libc::EIO) => return Poll::Ready(Ok(())),
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(cx))?;
            match guard.try_io(|fd| Ok(nix::unistd::write(fd.get_ref(), bytes)?)) {
                Ok(result) => return Poll::Ready(result),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

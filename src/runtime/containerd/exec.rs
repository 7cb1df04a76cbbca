//! Another process in a container: its pipes are FIFOs in a directory of ours, which the daemon's shim opens.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use containerd_client::services::v1::{
    CloseIoRequest, DeleteProcessRequest, ExecProcessRequest, KillRequest, ResizePtyRequest, StartRequest, WaitRequest,
};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use prost_types::Any;
use tokio::io::AsyncWrite;
use tokio::net::unix::pipe::{OpenOptions, Receiver, Sender};
use tokio::sync::{mpsc, oneshot};

use super::api::{Api, request, system};
use super::containers::{Found, refused};
use super::pods::{self, Scratch};
use crate::runtime::{Error, ExecSession, ExecSpec};

/// How the daemon knows a process description.
const PROCESS_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";
/// Terminal sizes that wait to be set.
const RESIZES: usize = 8;
const SIGKILL: u32 = 9;

/// Which process of which container.
#[derive(Clone)]
struct Process {
    api: Api,
    container: String,
    exec: String,
}

/// Starts it.
pub(super) async fn start(
    api: &Api,
    container: &Found,
    spec: &ExecSpec,
    scratch: Scratch,
) -> Result<ExecSession, Error> {
    let process = Process { api: api.clone(), container: container.id.clone(), exec: api.unique("exec") };
    let pipes = Pipes::make(&scratch.path, spec)?;
    // Opened before anyone writes; the daemon's shim has opened the other ends when the process runs.
    let stdout = reader(&pipes.stdout)?;
    let stderr = pipes.stderr.as_ref().map(|path| reader(path)).transpose()?;
    process.make(&pipes, describe(container, spec)?, spec.tty).await?;
    if let Err(error) = process.run().await {
        process.forget().await;
        return Err(error);
    }
    let (closed, stdin_closed) = oneshot::channel();
    let stdin = pipes.stdin.as_ref().map(|path| Input::open(path, closed)).transpose()?;
    let (resize, sizes) = mpsc::channel(RESIZES);
    Ok(ExecSession {
        stdin: stdin.map(|input| Box::new(input) as _),
        stdout: Box::new(stdout),
        stderr: stderr.map(|stderr| Box::new(stderr) as _),
        resize: spec.tty.then_some(resize),
        exit: watch(process, sizes, stdin_closed, scratch),
    })
}

/// The container's own process with another command.
fn describe(container: &Found, spec: &ExecSpec) -> Result<Vec<u8>, Error> {
    let damaged = || Error::System(format!("container {} has a damaged spec", container.id));
    let mut oci: serde_json::Value = serde_json::from_slice(&container.oci).map_err(|_| damaged())?;
    let process = oci.get_mut("process").and_then(serde_json::Value::as_object_mut).ok_or_else(damaged)?;
    process.insert("args".to_owned(), spec.command.clone().into());
    process.insert("terminal".to_owned(), spec.tty.into());
    serde_json::to_vec(process).map_err(|_| damaged())
}

struct Pipes {
    stdin: Option<PathBuf>,
    stdout: PathBuf,
    stderr: Option<PathBuf>,
}

impl Pipes {
    fn make(directory: &Path, spec: &ExecSpec) -> Result<Self, Error> {
        let make = |name: &str| {
            let path = directory.join(name);
            mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).map_err(|error| pods::system("make a pipe", &error.into()))?;
            Ok::<_, Error>(path)
        };
        Ok(Self {
            stdin: spec.stdin.then(|| make("stdin")).transpose()?,
            stdout: make("stdout")?,
            stderr: (!spec.tty).then(|| make("stderr")).transpose()?,
        })
    }
}

fn reader(path: &Path) -> Result<Receiver, Error> {
    OpenOptions::new().open_receiver(path).map_err(|error| pods::system("open a pipe", &error))
}

impl Process {
    async fn make(&self, pipes: &Pipes, description: Vec<u8>, terminal: bool) -> Result<(), Error> {
        let text = |path: Option<&PathBuf>| path.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        let exec = ExecProcessRequest {
            container_id: self.container.clone(),
            exec_id: self.exec.clone(),
            stdin: text(pipes.stdin.as_ref()),
            stdout: text(Some(&pipes.stdout)),
            stderr: text(pipes.stderr.as_ref()),
            terminal,
            spec: Some(Any { type_url: PROCESS_TYPE.to_owned(), value: description }),
        };
        self.api.tasks().exec(request(exec)).await.map(drop).map_err(|status| refused(&status))
    }

    async fn run(&self) -> Result<(), Error> {
        let start = StartRequest { container_id: self.container.clone(), exec_id: self.exec.clone() };
        self.api.tasks().start(request(start)).await.map(drop).map_err(|status| refused(&status))
    }

    async fn wait(&self) -> Result<i32, Error> {
        let wait = WaitRequest { container_id: self.container.clone(), exec_id: self.exec.clone() };
        let answer = self.api.tasks().wait(request(wait)).await;
        let status = answer.map_err(|status| system("wait for a process", &status))?.into_inner().exit_status;
        Ok(i32::try_from(status).unwrap_or(-1))
    }

    async fn resize(&self, columns: u16, rows: u16) {
        let resize = ResizePtyRequest {
            container_id: self.container.clone(),
            exec_id: self.exec.clone(),
            width: columns.into(),
            height: rows.into(),
        };
        // A process that is gone has no size.
        let _ = self.api.tasks().resize_pty(request(resize)).await;
    }

    async fn close_input(&self) {
        let close = CloseIoRequest { container_id: self.container.clone(), exec_id: self.exec.clone(), stdin: true };
        let _ = self.api.tasks().close_io(request(close)).await;
    }

    async fn kill(&self) {
        let kill = KillRequest {
            container_id: self.container.clone(),
            exec_id: self.exec.clone(),
            signal: SIGKILL,
            all: false,
        };
        let _ = self.api.tasks().kill(request(kill)).await;
        let _ = self.wait().await;
    }

    async fn forget(&self) {
        let delete = DeleteProcessRequest { container_id: self.container.clone(), exec_id: self.exec.clone() };
        let _ = self.api.tasks().delete_process(request(delete)).await;
    }
}

/// Serves the process until it ends or nobody wants its exit code any more, which ends it.
fn watch(
    process: Process,
    mut sizes: mpsc::Receiver<(u16, u16)>,
    mut input_closed: oneshot::Receiver<()>,
    scratch: Scratch,
) -> oneshot::Receiver<i32> {
    let (mut sender, exit) = oneshot::channel();
    // Bounded by the exec itself: it ends with the process, or when the session is dropped.
    tokio::spawn(async move {
        let mut open = true;
        let wait = process.wait();
        tokio::pin!(wait);
        let code = loop {
            tokio::select! {
                code = &mut wait => break code.ok(),
                () = sender.closed() => {
                    process.kill().await;
                    break None;
                }
                Some((columns, rows)) = sizes.recv() => process.resize(columns, rows).await,
                _ = &mut input_closed, if open => {
                    open = false;
                    process.close_input().await;
                }
            }
        };
        process.forget().await;
        drop(scratch);
        if let Some(code) = code {
            // Nobody waits for it any more: fine.
            let _ = sender.send(code);
        }
    });
    exit
}

/// Our end of standard input. When it is dropped, the daemon's shim is told to close its own.
struct Input {
    pipe: Sender,
    _closed: oneshot::Sender<()>,
}

impl Input {
    fn open(path: &Path, closed: oneshot::Sender<()>) -> Result<Self, Error> {
        // Also for reading, so that opening does not fail where the process has closed its end already.
        let pipe = OpenOptions::new().read_write(true).open_sender(path);
        let pipe = pipe.map_err(|error| pods::system("open a pipe", &error))?;
        Ok(Self { pipe, _closed: closed })
    }
}

impl AsyncWrite for Input {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

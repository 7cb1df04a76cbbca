//! What happens in the short-lived fork that makes a container, or another process in one.

use std::error::Error as _;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::error::LibcontainerError;
use libcontainer::syscall::syscall::SyscallType;
use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};
use nix::unistd::{ForkResult, fork, pipe2};

use super::executor::{PREFIX, Program};
use super::wire::{Exec, Reply, Start, send};

/// Directory of `libcontainer`'s own state below the pod's.
const STATE: &str = "oci";
/// Bytes of a failure's reason that are kept.
const REASON_BYTES: u64 = 4 << 10;

/// Standard input, output and error.
pub(super) type Stdio = [OwnedFd; 3];

/// A started process, and the master of its terminal.
type Started = (i32, Option<OwnedFd>);

/// Forks; the child makes and starts the container, tells `report`, and ends.
pub(super) fn start(start: &Start, stdio: Option<Stdio>, report: &OwnedFd) -> io::Result<()> {
    in_child(report, || start_here(start, stdio))
}

/// Forks; the child starts another process in the container, tells `report`, and ends.
pub(super) fn exec(exec: &Exec, stdio: Option<Stdio>, report: &OwnedFd) -> io::Result<()> {
    in_child(report, || exec_here(exec, stdio))
}

fn in_child(report: &OwnedFd, work: impl FnOnce() -> Result<Started, String>) -> io::Result<()> {
    // SAFETY: the shim has one thread, so the child may run any code.
    match unsafe { fork() }? {
        ForkResult::Parent { .. } => Ok(()),
        ForkResult::Child => {
            let told = as_started_afresh().map_err(|error| error.to_string()).and_then(|()| work());
            let (reply, master) = match told {
                Ok((pid, master)) => (Reply::Running(pid), master),
                Err(reason) => (Reply::Failed(reason), None),
            };
            let fds: Vec<_> = master.iter().map(std::os::fd::AsRawFd::as_raw_fd).collect();
            let code = i32::from(send(report.as_fd(), &reply, &fds).is_err());
            // Neither destructors nor buffers of the shim may run here.
            // SAFETY: ends this process, nothing else.
            unsafe { nix::libc::_exit(code) }
        }
    }
}

/// What a program expects: nothing blocked, and the end of a pipe ends its writer (Rust programs ignore that signal).
fn as_started_afresh() -> nix::Result<()> {
    // The node turns huge pages off for itself, which its children inherit.
    prctl::set_thp_disable(false)?;
    // SAFETY: no handler runs; the signal's disposition only changes.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }?;
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
}

fn start_here(start: &Start, stdio: Option<Stdio>) -> Result<Started, String> {
    let bundle = here()?.join(&start.container);
    mount_root(start, &bundle).map_err(|error| format!("cannot mount the root file system: {error}"))?;
    make_working_dir(&bundle)?;
    let (reason, report) = pipe2(OFlag::O_CLOEXEC).map_err(|error| error.to_string())?;
    let console = start.tty.then(|| Console::listen(&start.container)).transpose()?;
    let builder = builder(&start.container, stdio, console.as_ref())?.with_executor(Program::reporting_to(&report));
    let built = builder.as_init(&bundle).with_systemd(false).with_detach(true).build();
    let mut container = built.map_err(|error| explain(&error))?;
    container.start().map_err(|error| explain(&error))?;
    drop(report);
    let pid = container.pid().ok_or("the container has no process")?.as_raw();
    match read_reason(reason) {
        Some(reason) => Err(reason),
        None => Ok((pid, console.map(Console::accept).transpose()?)),
    }
}

fn exec_here(exec: &Exec, stdio: Option<Stdio>) -> Result<Started, String> {
    let process = write_process(exec)?;
    let (reason, report) = pipe2(OFlag::O_CLOEXEC).map_err(|error| error.to_string())?;
    let console = exec.tty.then(|| Console::listen(&exec.container)).transpose()?;
    let builder = builder(&exec.container, stdio, console.as_ref())?.with_executor(Program::reporting_to(&report));
    let built = builder.as_tenant().with_process(Some(&process)).with_detach(true).build();
    let _ = fs::remove_file(&process);
    let pid = built.map_err(|error| explain(&error))?.as_raw();
    drop(report);
    match read_reason(reason) {
        Some(reason) => Err(reason),
        None => Ok((pid, console.map(Console::accept).transpose()?)),
    }
}

/// The pod's directory, where the shim lives.
fn here() -> Result<PathBuf, String> {
    std::env::current_dir().map_err(|error| format!("the pod's directory is gone: {error}"))
}

fn builder(container: &str, stdio: Option<Stdio>, console: Option<&Console>) -> Result<ContainerBuilder, String> {
    let common = ContainerBuilder::new(container.to_owned(), SyscallType::default())
        .with_root_path(here()?.join(STATE))
        .map_err(|error| explain(&error))?
        .with_console_socket(console.map(|console| console.path.clone()));
    Ok(match stdio {
        Some([stdin, stdout, stderr]) => common.with_stdin(stdin).with_stdout(stdout).with_stderr(stderr),
        None => common,
    })
}

/// Mounts the root in a mount namespace of its own: it goes by itself with the container's last process.
fn mount_root(start: &Start, bundle: &Path) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none: Option<&str> = None;
    mount(Some(bundle), bundle, none, MsFlags::MS_BIND, none)?;
    mount(none, bundle, none, MsFlags::MS_PRIVATE, none)?;
    let back = std::env::current_dir()?;
    // Layers are named relative to here: the kernel takes one page of options, and an image may have many layers.
    std::env::set_current_dir(&start.layers)?;
    let target = bundle.join("rootfs");
    let options = |volatile: &str| {
        let lower = start.lower.join(":");
        format!("lowerdir={lower},upperdir={},workdir={}{volatile}", start.upper.display(), start.work.display())
    };
    let overlay =
        |options: String| mount(Some("overlay"), &target, Some("overlay"), MsFlags::empty(), Some(options.as_str()));
    // Volatile: nothing of a container is kept beyond its end, so unmounting need not sync. Kernels before 5.10 lack it.
    overlay(options(",volatile")).or_else(|_| overlay(options("")))?;
    std::env::set_current_dir(back)
}

/// Makes the working directory where the image has none. In a child with its root there, so that no link leads outside.
fn make_working_dir(bundle: &Path) -> Result<(), String> {
    let config = fs::read(bundle.join("config.json")).map_err(|error| format!("config.json: {error}"))?;
    let config: serde_json::Value = serde_json::from_slice(&config).map_err(|error| format!("config.json: {error}"))?;
    let directory = config.pointer("/process/cwd").and_then(serde_json::Value::as_str).unwrap_or("/");
    if directory == "/" {
        return Ok(());
    }
    // SAFETY: this process has one thread, so the child may run any code.
    match unsafe { fork() }.map_err(|error| error.to_string())? {
        ForkResult::Parent { child } => {
            let _ = nix::sys::wait::waitpid(child, None);
            Ok(())
        }
        ForkResult::Child => {
            let made = nix::unistd::chroot(&bundle.join("rootfs")).map_err(io::Error::from);
            // A failure shows when the container is started: it cannot change to the directory.
            let _ = made.and_then(|()| std::env::set_current_dir("/")).and_then(|()| fs::create_dir_all(directory));
            // SAFETY: ends this process, nothing else.
            unsafe { nix::libc::_exit(0) }
        }
    }
}

/// The process description of an exec: the container's own, with another command.
fn write_process(exec: &Exec) -> Result<PathBuf, String> {
    let bundle = here()?.join(&exec.container);
    let config = fs::read(bundle.join("config.json")).map_err(|error| format!("config.json: {error}"))?;
    let mut config: serde_json::Value = serde_json::from_slice(&config).map_err(|error| error.to_string())?;
    let process = config.get_mut("process").and_then(serde_json::Value::as_object_mut).ok_or("no process")?;
    process.insert("args".to_owned(), exec.command.clone().into());
    process.insert("terminal".to_owned(), exec.tty.into());
    process.remove("oomScoreAdj");
    let path = bundle.join(format!("exec-{}.json", std::process::id()));
    let bytes = serde_json::to_vec(process).map_err(|error| error.to_string())?;
    fs::write(&path, bytes).map_err(|error| error.to_string())?;
    Ok(path)
}

/// Reads until the program runs (the pipe closes) or its start has failed.
fn read_reason(pipe: OwnedFd) -> Option<String> {
    let mut text = String::new();
    let _ = File::from(pipe).take(REASON_BYTES).read_to_string(&mut text);
    (!text.is_empty()).then_some(text)
}

/// The text of an error and of what caused it; a failure of the program itself stands alone.
fn explain(error: &LibcontainerError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    let text = text.replace('\0', "");
    match text.find(PREFIX) {
        Some(at) => text.get(at..).unwrap_or_default().trim_end_matches('"').replace("\\\"", "\""),
        None => text,
    }
}

/// Where a terminal's master arrives.
struct Console {
    listener: UnixListener,
    path: PathBuf,
}

impl Console {
    fn listen(container: &str) -> Result<Self, String> {
        let name = format!("tty-{}.sock", std::process::id());
        let path = here()?.join(container).join(&name);
        // Bound by a relative path: the absolute one may be longer than a socket's name can be.
        let relative = Path::new(container).join(&name);
        let listener = UnixListener::bind(relative).map_err(|error| format!("terminal socket: {error}"))?;
        Ok(Self { listener, path })
    }

    fn accept(self) -> Result<OwnedFd, String> {
        let _ = fs::remove_file(&self.path);
        let (stream, _) = self.listener.accept().map_err(|error| format!("terminal socket: {error}"))?;
        let mut bytes = [0u8; 64];
        let mut control = nix::cmsg_space!([std::os::fd::RawFd; 1]);
        let mut parts = [io::IoSliceMut::new(&mut bytes)];
        let flags = nix::sys::socket::MsgFlags::MSG_CMSG_CLOEXEC;
        let message = nix::sys::socket::recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut control), flags)
            .map_err(|error| error.to_string())?;
        for part in message.cmsgs().map_err(|error| error.to_string())? {
            if let nix::sys::socket::ControlMessageOwned::ScmRights(fds) = part
                && let Some(fd) = fds.first()
            {
                // SAFETY: the kernel has just made this descriptor for this process.
                return Ok(unsafe { OwnedFd::from_raw_fd(*fd) });
            }
        }
        Err("no terminal came".to_owned())
    }
}

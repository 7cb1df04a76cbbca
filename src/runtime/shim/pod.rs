//! A pod's shim: one thread around `poll` that starts, reaps and logs.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, accept4, bind, listen, socket, socketpair,
};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::launch::{self, Stdio};
use super::state::{Container, Strays};
use super::wire::{Exec, Reply, Request, SOCKET, Start, receive, send};
use crate::runtime::logs::cri::Stream;
use crate::runtime::logs::writer::{LogWriter, Rotation};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;
/// Connections that are served at the same time; more wait.
const CLIENTS: usize = 256;
/// Exit code of a program that was stopped before it could tell one, as shells have it.
const SIGNAL_BASE: i32 = 128;

/// The shim of one pod.
pub(super) struct Pod {
    listener: OwnedFd,
    signals: SignalFd,
    clients: BTreeMap<u64, OwnedFd>,
    next_client: u64,
    containers: BTreeMap<String, Container>,
    launches: Vec<Launch>,
    /// Clients by the process that they run.
    execs: BTreeMap<i32, u64>,
    strays: Strays,
    stopping: Option<u64>,
    /// Every container is killed then, unless that is put off.
    held: Option<Instant>,
}

/// A fork that is at work for a client.
struct Launch {
    report: OwnedFd,
    client: u64,
    /// `None` for an exec.
    container: Option<Container>,
}

/// What became readable.
enum Event {
    Connection,
    Signal,
    Launch(usize),
    Client(u64),
    Output(String, usize),
}

impl Pod {
    /// Moves into `directory` and listens there.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        std::env::set_current_dir(directory)?;
        // Processes that outlive their parents in the node's PID namespace come here to be reaped.
        nix::sys::prctl::set_child_subreaper(true)?;
        let _ = nix::sys::prctl::set_name(c"shoal-shim");
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&mask), None)?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let listener = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
        let _ = std::fs::remove_file(SOCKET);
        bind(listener.as_raw_fd(), &UnixAddr::new(SOCKET)?)?;
        std::fs::set_permissions(SOCKET, std::fs::Permissions::from_mode(0o600))?;
        listen(&listener, Backlog::new(BACKLOG)?)?;
        Ok(Self {
            listener,
            signals,
            clients: BTreeMap::new(),
            next_client: 0,
            containers: BTreeMap::new(),
            launches: Vec::new(),
            execs: BTreeMap::new(),
            strays: Strays::new(),
            stopping: None,
            held: None,
        })
    }

    /// Serves until it is told to stop and everything has ended.
    pub(super) fn run(mut self) -> io::Result<()> {
        loop {
            for event in self.poll()? {
                self.handle(event);
            }
            if self.held.is_some_and(|until| until <= Instant::now()) {
                self.held = None;
                self.kill_all();
            }
            if self.launches.is_empty() {
                self.strays.clear();
            }
            if let Some(client) = self.stopping
                && self.launches.is_empty()
                && !self.containers.values().any(Container::is_running)
            {
                self.answer(client, &Reply::Done);
                return Ok(());
            }
        }
    }

    fn poll(&self) -> io::Result<Vec<Event>> {
        let mut events = Vec::new();
        let mut fds = Vec::new();
        let mut watch = |event, fd: BorrowedFd<'_>| {
            // SAFETY: every descriptor polled here is owned by `self`, which is borrowed until the end.
            fds.push(PollFd::new(unsafe { BorrowedFd::borrow_raw(fd.as_raw_fd()) }, PollFlags::POLLIN));
            events.push(event);
        };
        // Results of forks come first: what is reaped after them is then known.
        self.launches.iter().enumerate().rev().for_each(|(i, launch)| watch(Event::Launch(i), launch.report.as_fd()));
        watch(Event::Signal, self.signals.as_fd());
        for (name, container) in &self.containers {
            let outputs = container.outputs.iter().enumerate().rev();
            outputs.for_each(|(i, (_, fd))| watch(Event::Output(name.clone(), i), fd.as_fd()));
        }
        self.clients.iter().for_each(|(id, fd)| watch(Event::Client(*id), fd.as_fd()));
        if self.clients.len() < CLIENTS {
            watch(Event::Connection, self.listener.as_fd());
        }
        match poll(&mut fds, self.patience()) {
            Err(Errno::EINTR) => return Ok(Vec::new()),
            other => other?,
        };
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        Ok(events.into_iter().zip(ready).filter_map(|(event, ready)| ready.then_some(event)).collect())
    }

    /// Until the containers are to be killed, rounded up.
    fn patience(&self) -> PollTimeout {
        let Some(until) = self.held else { return PollTimeout::NONE };
        let left = until.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    }

    fn kill_all(&self) {
        let running = self.containers.values().filter(|container| container.is_running());
        running.for_each(|container| drop(deliver(container.pid, Signal::SIGKILL as i32)));
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Connection => self.accept(),
            Event::Signal => self.reap(),
            Event::Launch(index) => self.launched(index),
            Event::Client(id) => self.request(id),
            Event::Output(name, index) => {
                if let Some(container) = self.containers.get_mut(&name)
                    && !container.pump(index)
                {
                    container.close_output(index);
                }
            }
        }
    }

    fn accept(&mut self) {
        if let Ok(fd) = accept4(self.listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC) {
            // SAFETY: the kernel has just made this descriptor for this process.
            let fd = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) };
            self.clients.insert(self.next_client, fd);
            self.next_client += 1;
        }
    }

    fn request(&mut self, id: u64) {
        let Some(client) = self.clients.get(&id) else { return };
        match receive::<Request>(client.as_fd()) {
            Ok(Some((request, fds))) => self.serve(id, request, fds),
            Ok(None) => self.gone(id),
            Err(error) => self.answer(id, &Reply::Failed(format!("bad request: {error}"))),
        }
    }

    fn serve(&mut self, id: u64, request: Request, fds: Vec<OwnedFd>) {
        match request {
            Request::Start(start) => self.start(id, &start),
            Request::Exec(exec) => self.exec(id, &exec, fds),
            Request::Wait { container } => match self.containers.get_mut(&container) {
                Some(container) => match &container.phase {
                    crate::runtime::Phase::Exited { exit, .. } => {
                        let reply = Reply::Exited(exit.clone());
                        self.answer(id, &reply);
                    }
                    _ => container.waiters.push(id),
                },
                None => self.answer(id, &Reply::Unknown),
            },
            Request::Signal { container, signal } => {
                let reply = self.containers.get(&container).map_or(Reply::Unknown, |found| {
                    if found.is_running() { deliver(found.pid, signal) } else { Reply::Done }
                });
                self.answer(id, &reply);
            }
            Request::States => {
                let states = self.containers.iter().map(|(name, found)| (name.clone(), found.phase.clone()));
                let reply = Reply::States(states.collect());
                self.answer(id, &reply);
            }
            Request::Forget { container } => {
                if self.containers.get(&container).is_some_and(|found| !found.is_running()) {
                    self.containers.remove(&container);
                }
                self.answer(id, &Reply::Done);
            }
            Request::Stop => {
                self.stopping = Some(id);
                self.kill_all();
            }
            Request::Hold { within_ms } => {
                self.held = within_ms.and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms)));
                self.answer(id, &Reply::Done);
            }
        }
    }

    fn start(&mut self, id: u64, start: &Start) {
        if self.containers.get(&start.container).is_some_and(Container::is_running) {
            return self.answer(id, &Reply::Done);
        }
        if let Err(error) = self.try_start(id, start) {
            self.answer(id, &Reply::Failed(error.to_string()));
        }
    }

    fn try_start(&mut self, id: u64, start: &Start) -> io::Result<()> {
        let log = LogWriter::open(&start.log, Rotation::default())?;
        let mut container = Container::new(start.container.clone(), log, start.cgroup.clone());
        let stdio = if start.tty { None } else { Some(pipes(&mut container)?) };
        let (report, child) = report_pair()?;
        launch::start(start, stdio, &child)?;
        self.launches.push(Launch { report, client: id, container: Some(container) });
        Ok(())
    }

    fn exec(&mut self, id: u64, exec: &Exec, fds: Vec<OwnedFd>) {
        if !self.containers.get(&exec.container).is_some_and(Container::is_running) {
            return self.answer(id, &Reply::Unknown);
        }
        let stdio = match (exec.tty, Stdio::try_from(fds)) {
            (true, _) => None,
            (false, Ok(stdio)) => Some(stdio),
            (false, Err(_)) => return self.answer(id, &Reply::Failed("three descriptors are needed".to_owned())),
        };
        match report_pair().and_then(|(report, child)| launch::exec(exec, stdio, &child).map(|()| report)) {
            Ok(report) => self.launches.push(Launch { report, client: id, container: None }),
            Err(error) => self.answer(id, &Reply::Failed(error.to_string())),
        }
    }

    /// A fork has told how it went, or has died.
    fn launched(&mut self, index: usize) {
        if index >= self.launches.len() {
            return;
        }
        let Launch { report, client, container } = self.launches.remove(index);
        let (reply, mut fds) = match receive::<Reply>(report.as_fd()) {
            Ok(Some(told)) => told,
            _ => (Reply::Failed("the process that starts containers has died".to_owned()), Vec::new()),
        };
        match (container, &reply) {
            (Some(mut container), Reply::Running(pid)) => {
                container.started(*pid);
                if let Some(master) = fds.pop()
                    && set_nonblocking(&master).is_ok()
                {
                    container.outputs.push((Stream::Stdout, master));
                }
                let name = container.name.clone();
                self.containers.insert(name, container);
                self.answer(client, &reply);
                self.resolve(*pid);
            }
            (None, Reply::Running(pid)) => self.exec_started(client, *pid, &reply, &fds),
            _ => self.answer(client, &reply),
        }
        if self.stopping.is_some() {
            self.kill_all();
        }
    }

    fn exec_started(&mut self, client: u64, pid: i32, reply: &Reply, fds: &[OwnedFd]) {
        let raw: Vec<_> = fds.iter().map(std::os::fd::AsRawFd::as_raw_fd).collect();
        let told = self.clients.get(&client).is_some_and(|socket| send(socket.as_fd(), reply, &raw).is_ok());
        if !told {
            deliver(pid, Signal::SIGKILL as i32);
            return;
        }
        self.execs.insert(pid, client);
        self.resolve(pid);
    }

    /// Collects every child that has ended.
    fn reap(&mut self) {
        while let Ok(Some(_)) = self.signals.read_signal() {}
        loop {
            let (pid, code, signal) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, code, None),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, SIGNAL_BASE + signal as i32, Some(signal as i32)),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => break,
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(_) => break,
            };
            self.strays.put(pid.as_raw(), code, signal);
            self.resolve(pid.as_raw());
        }
    }

    /// Tells of the end of `pid`, where it has ended and something is known to be it.
    fn resolve(&mut self, pid: i32) {
        let container = self.containers.values_mut().find(|found| found.pid == pid && found.is_running());
        if let Some(container) = container {
            let Some((code, signal)) = self.strays.take(pid) else { return };
            let exit = container.ended(code, signal);
            let waiters = std::mem::take(&mut container.waiters);
            for client in waiters {
                self.answer(client, &Reply::Exited(exit.clone()));
            }
        } else if let Some(client) = self.execs.get(&pid).copied()
            && let Some((code, _)) = self.strays.take(pid)
        {
            self.execs.remove(&pid);
            self.answer(client, &Reply::ExecEnded(code));
        }
    }

    /// Answers and closes.
    fn answer(&mut self, client: u64, reply: &Reply) {
        if let Some(socket) = self.clients.remove(&client) {
            // The client may have gone; then nobody wants to know.
            let _ = send(socket.as_fd(), reply, &[]);
        }
    }

    fn gone(&mut self, client: u64) {
        self.clients.remove(&client);
        self.containers.values_mut().for_each(|container| container.waiters.retain(|waiter| *waiter != client));
        let exec = self.execs.iter().find(|(_, owner)| **owner == client).map(|(pid, _)| *pid);
        if let Some(pid) = exec {
            self.execs.remove(&pid);
            deliver(pid, Signal::SIGKILL as i32);
        }
    }
}

/// Sends a signal; a process that has ended is fine.
fn deliver(pid: i32, signal: i32) -> Reply {
    let Ok(signal) = Signal::try_from(signal) else {
        return Reply::Failed(format!("no signal has the number {signal}"));
    };
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => Reply::Done,
        Err(error) => Reply::Failed(error.to_string()),
    }
}

/// The container's standard input (empty), output and error; the shim keeps the ends that it reads.
fn pipes(container: &mut Container) -> io::Result<Stdio> {
    let null = OwnedFd::from(std::fs::File::open("/dev/null")?);
    let (stdout, stdout_end) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    let (stderr, stderr_end) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    set_nonblocking(&stdout)?;
    set_nonblocking(&stderr)?;
    container.outputs = vec![(Stream::Stdout, stdout), (Stream::Stderr, stderr)];
    Ok([null, stdout_end, stderr_end])
}

fn set_nonblocking(fd: &OwnedFd) -> io::Result<()> {
    let flags = OFlag::from_bits_truncate(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

fn report_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?)
}

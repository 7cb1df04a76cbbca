//! Carries commands out. The process has one thread, so that it may fork.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, dup2_stderr, dup2_stdin, dup2_stdout, fork, pipe};

use super::builtins;
use super::expand;
use super::parse::{self, AndOr, Command, Kind, List, Pipeline};

/// The last signal that came and is trapped or ends the shell; 0 for none.
static PENDING: AtomicI32 = AtomicI32::new(0);

/// Why the commands that follow are not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// The shell ends.
    Exit(u8),
    /// So many loops end.
    Break(u32),
    /// The loop that so many loops are in goes on.
    Continue(u32),
}

/// What a command ends with.
pub type Outcome = Result<u8, Flow>;

/// A shell's state.
pub struct Shell {
    name: String,
    parameters: Vec<String>,
    variables: BTreeMap<String, (String, bool)>,
    /// Exit code of the last command.
    pub status: u8,
    /// `set -e`: a failure ends the shell.
    pub errexit: bool,
    /// Commands whose failure does not end the shell, because somebody asks for it.
    asked: u32,
    /// Scripts to run when a signal comes (by number; 0 for the end).
    pub traps: BTreeMap<i32, String>,
    children: Vec<Pid>,
}

extern "C" fn note(signal: nix::libc::c_int) {
    PENDING.store(signal, Ordering::Relaxed);
}

/// Lets `signal` end the shell between two commands; as the first process it would not end otherwise.
pub fn on_term(signal: Signal) {
    let action = SigAction::new(SigHandler::Handler(note), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler only stores to an atomic.
    let _ = unsafe { sigaction(signal, &action) };
}

/// Lets Ctrl-C end the command in front and not the shell.
pub fn on_interrupt() {
    extern "C" fn nothing(_: nix::libc::c_int) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler does nothing.
    let _ = unsafe { sigaction(Signal::SIGINT, &action) };
}

impl Shell {
    /// A shell with the process's environment.
    pub fn new() -> Self {
        let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
        let variables = std::env::vars_os().map(|(name, value)| (text(name), (text(value), true))).collect();
        Self {
            name: "sh".into(),
            parameters: Vec::new(),
            variables,
            status: 0,
            errexit: false,
            asked: 0,
            traps: BTreeMap::new(),
            children: Vec::new(),
        }
    }

    /// `$0` and `$1`...
    pub fn set_parameters(&mut self, name: &str, parameters: &[String]) {
        self.name = name.into();
        self.parameters = parameters.to_vec();
    }

    /// `$1`...
    pub fn parameters(&self) -> &[String] {
        &self.parameters
    }

    /// A variable's value, the special ones included.
    pub fn variable(&self, name: &str) -> Option<String> {
        match name {
            "?" => Some(self.status.to_string()),
            "$" => Some(process::id().to_string()),
            "!" => self.children.last().map(ToString::to_string),
            "#" => Some(self.parameters.len().to_string()),
            "@" | "*" => Some(self.parameters.join(" ")),
            "0" => Some(self.name.clone()),
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                let index: usize = digits.parse().ok()?;
                self.parameters.get(index.checked_sub(1)?).cloned()
            }
            name => self.variables.get(name).map(|(value, _)| value.clone()),
        }
    }

    /// Sets a variable.
    pub fn set(&mut self, name: &str, value: &str) {
        let exported = self.variables.get(name).is_some_and(|(_, exported)| *exported);
        self.variables.insert(name.into(), (value.into(), exported));
    }

    /// Makes a variable part of the environment of programs.
    pub fn export(&mut self, name: &str) {
        self.variables.entry(name.into()).or_default().1 = true;
    }

    /// Removes a variable.
    pub fn unset(&mut self, name: &str) {
        self.variables.remove(name);
    }

    /// Drops the first parameters.
    pub fn shift(&mut self, count: usize) {
        self.parameters.drain(..count.min(self.parameters.len()));
    }

    /// The environment of programs.
    pub fn environment(&self) -> impl Iterator<Item = (&String, &String)> {
        self.variables.iter().filter(|(_, (_, exported))| *exported).map(|(name, (value, _))| (name, value))
    }

    /// Runs a whole script and what it wants done at its end.
    pub fn run_program(&mut self, program: &List) -> u8 {
        self.status = match self.run_list(program) {
            Ok(code) | Err(Flow::Exit(code)) => code,
            Err(_) => self.status,
        };
        self.leave()
    }

    /// Runs the trap for the shell's end; the exit code.
    pub fn leave(&mut self) -> u8 {
        let code = self.status;
        if let Some(script) = self.traps.remove(&0)
            && let Err(Flow::Exit(code)) = self.run_text(&script)
        {
            return code;
        }
        code
    }

    /// Runs a script in this shell.
    pub fn run_text(&mut self, script: &str) -> Outcome {
        match parse::program(script) {
            Ok(program) => self.run_list(&program),
            Err(error) => Ok(complain("syntax", &error.message(), 2)),
        }
    }

    /// Runs commands one after the other.
    pub fn run_list(&mut self, list: &List) -> Outcome {
        for (command, background) in list {
            self.take_signal()?;
            if *background {
                self.in_background(command);
                continue;
            }
            self.and_or(command)?;
        }
        self.take_signal()?;
        Ok(self.status)
    }

    fn take_signal(&mut self) -> Result<(), Flow> {
        let signal = PENDING.swap(0, Ordering::Relaxed);
        if signal == 0 {
            return Ok(());
        }
        match self.traps.get(&signal).cloned() {
            Some(script) => self.run_text(&script).map(drop),
            None => Err(Flow::Exit(u8::try_from(128 + signal).unwrap_or(u8::MAX))),
        }
    }

    fn and_or(&mut self, command: &AndOr) -> Outcome {
        let AndOr { first, rest } = command;
        self.pipeline(first, !rest.is_empty())?;
        for (index, (and, pipeline)) in rest.iter().enumerate() {
            if *and == (self.status == 0) {
                self.pipeline(pipeline, index + 1 < rest.len())?;
            }
        }
        Ok(self.status)
    }

    fn pipeline(&mut self, pipeline: &Pipeline, asked: bool) -> Outcome {
        self.asked += u32::from(asked || pipeline.negated);
        let outcome = match pipeline.commands.as_slice() {
            [command] => self.command(command),
            commands => Ok(self.connected(commands)),
        };
        self.asked -= u32::from(asked || pipeline.negated);
        let code = outcome?;
        self.status = if pipeline.negated { u8::from(code == 0) } else { code };
        if self.errexit && self.status != 0 && self.asked == 0 && !asked && !pipeline.negated {
            return Err(Flow::Exit(self.status));
        }
        Ok(self.status)
    }

    /// Runs each command in a process of its own, joined by pipes.
    fn connected(&mut self, commands: &[Command]) -> u8 {
        let mut input: Option<OwnedFd> = None;
        let mut children = Vec::new();
        for (index, command) in commands.iter().enumerate() {
            let last = index + 1 == commands.len();
            let Ok((reader, writer)) = pipe() else { return complain("pipe", "no more descriptors", 1) };
            let output = (!last).then_some(writer);
            let taken = input.replace(reader);
            children.push(self.fork(|shell| {
                let _ = taken.as_ref().map(dup2_stdin);
                let _ = output.as_ref().map(dup2_stdout);
                // A pipe ends when nobody can write to it any more.
                drop((taken, output));
                shell.command(command)
            }));
        }
        drop(input);
        children.into_iter().map(|child| child.map_or(1, wait_for)).last().unwrap_or(0)
    }

    fn in_background(&mut self, command: &AndOr) {
        let child = self.fork(|shell| {
            if let Ok(null) = File::open("/dev/null") {
                let _ = dup2_stdin(null);
            }
            shell.and_or(command)
        });
        self.children.extend(child);
        self.status = 0;
    }

    /// Waits for all children in the background.
    pub fn wait_all(&mut self) -> u8 {
        std::mem::take(&mut self.children).into_iter().map(wait_for).last().unwrap_or(0)
    }

    fn fork(&mut self, job: impl FnOnce(&mut Self) -> Outcome) -> Option<Pid> {
        let _ = io::stdout().flush();
        // SAFETY: the process has one thread, so the child may do all that its parent may.
        match unsafe { fork() } {
            Ok(ForkResult::Parent { child }) => Some(child),
            Ok(ForkResult::Child) => {
                self.traps.clear();
                let code = match job(self) {
                    Ok(code) | Err(Flow::Exit(code)) => code,
                    Err(_) => self.status,
                };
                let _ = io::stdout().flush();
                process::exit(code.into())
            }
            Err(error) => {
                complain("fork", error.desc(), 1);
                None
            }
        }
    }

    /// The output of a script, without line ends at its end.
    pub fn capture(&mut self, script: &str) -> Result<String, String> {
        let program = parse::program(script).map_err(|error| error.message())?;
        let (reader, writer) = pipe().map_err(|error| error.to_string())?;
        let child = self.fork(|shell| {
            let _ = dup2_stdout(&writer);
            shell.run_list(&program)
        });
        drop(writer);
        let mut bytes = Vec::new();
        File::from(reader).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        self.status = child.map_or(1, wait_for);
        Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_string())
    }

    fn command(&mut self, command: &Command) -> Outcome {
        let saved = match self.redirect(command) {
            Ok(saved) => saved,
            Err(message) => {
                self.status = complain("redirection", &message, 1);
                return Ok(1);
            }
        };
        let outcome = match &command.kind {
            Kind::Simple(assignments, words) => self.simple(assignments, words),
            Kind::Subshell(list) => Ok(self.fork(|shell| shell.run_list(list)).map_or(1, wait_for)),
            Kind::Group(list) => self.run_list(list),
            Kind::If(branches, otherwise) => self.choose(branches, otherwise),
            Kind::While(condition, body, until) => self.repeat(condition, body, *until),
            Kind::For(name, values, body) => self.each(name, values, body),
        };
        let _ = io::stdout().flush();
        saved.restore();
        outcome
    }

    fn simple(&mut self, assignments: &[(String, parse::Word)], words: &[parse::Word]) -> Outcome {
        match self.filled(assignments, words) {
            Ok((values, fields)) if fields.is_empty() => {
                for (name, value) in values {
                    self.set(&name, &value);
                }
                Ok(self.status
                    * u8::from(words.iter().chain(assignments.iter().map(|(_, word)| word)).any(|word| {
                        word.iter()
                            .any(|part| matches!(part, super::words::Part::Fill(super::words::Fill::Command(_), _)))
                    })))
            }
            Ok((values, fields)) => {
                if let Some(outcome) = builtins::run(self, &fields) {
                    return outcome;
                }
                Ok(self.program(&fields, &values))
            }
            Err(message) => Err(Flow::Exit(complain("sh", &message, 1))),
        }
    }

    #[allow(clippy::type_complexity, reason = "assignments and words, filled in")]
    fn filled(
        &mut self,
        assignments: &[(String, parse::Word)],
        words: &[parse::Word],
    ) -> Result<(Vec<(String, String)>, Vec<String>), String> {
        let mut fields = Vec::new();
        for word in words {
            fields.extend(expand::fields(self, word)?);
        }
        let mut values = Vec::new();
        for (name, word) in assignments {
            values.push((name.clone(), expand::text(self, word)?));
        }
        Ok((values, fields))
    }

    /// A program with the shell's environment, ready to run.
    pub fn prepare(&self, fields: &[String], values: &[(String, String)]) -> process::Command {
        let name = fields.first().map_or("", String::as_str);
        let found = name.contains('/') || self.search(name);
        let mut program = if found || !crate::cli::toolbox::has(name) {
            process::Command::new(name)
        } else {
            // No file of that name, but the toolbox has it.
            let mut own = process::Command::new("/proc/self/exe");
            own.arg0(name);
            own
        };
        program.args(fields.get(1..).unwrap_or_default()).env_clear().envs(self.environment());
        program.envs(values.iter().map(|(name, value)| (name, value)));
        program
    }

    fn search(&self, name: &str) -> bool {
        let path = self.variable("PATH").unwrap_or_default();
        path.split(':').any(|dir| std::path::Path::new(dir).join(name).exists())
    }

    fn program(&mut self, fields: &[String], values: &[(String, String)]) -> u8 {
        let name = fields.first().map_or("", String::as_str);
        match self.prepare(fields, values).status() {
            Ok(status) => exit_code(status),
            Err(error) => not_run(name, &error),
        }
    }

    fn choose(&mut self, branches: &[(List, List)], otherwise: &List) -> Outcome {
        for (condition, body) in branches {
            if self.ask(condition)? == 0 {
                return self.run_list(body);
            }
        }
        self.status = 0;
        self.run_list(otherwise)
    }

    fn ask(&mut self, condition: &List) -> Outcome {
        self.asked += 1;
        let outcome = self.run_list(condition);
        self.asked -= 1;
        outcome
    }

    fn repeat(&mut self, condition: &List, body: &List, until: bool) -> Outcome {
        let mut code = 0;
        while (self.ask(condition)? == 0) != until {
            match self.turn(body)? {
                Some(last) => code = last,
                None => break,
            }
        }
        Ok(code)
    }

    fn each(&mut self, name: &str, values: &[parse::Word], body: &List) -> Outcome {
        let fields = match self.filled(&[], values) {
            Ok((_, fields)) => fields,
            Err(message) => return Err(Flow::Exit(complain("for", &message, 1))),
        };
        let mut code = 0;
        for value in fields {
            self.set(name, &value);
            match self.turn(body)? {
                Some(last) => code = last,
                None => break,
            }
        }
        Ok(code)
    }

    /// One turn of a loop; `None` where it was the last one.
    fn turn(&mut self, body: &List) -> Result<Option<u8>, Flow> {
        match self.run_list(body) {
            Ok(code) => Ok(Some(code)),
            Err(Flow::Break(1)) => Ok(None),
            Err(Flow::Continue(1)) => Ok(Some(0)),
            Err(Flow::Break(levels)) => Err(Flow::Break(levels - 1)),
            Err(Flow::Continue(levels)) => Err(Flow::Continue(levels - 1)),
            Err(exit) => Err(exit),
        }
    }

    fn redirect(&mut self, command: &Command) -> Result<Saved, String> {
        let mut saved = Saved::default();
        for (descriptor, operator, target) in &command.redirects {
            let target = expand::text(self, target)?;
            let _ = io::stdout().flush();
            saved.keep(*descriptor);
            let opened = match *operator {
                ">" => File::create(&target).map(OwnedFd::from),
                ">>" => File::options().append(true).create(true).open(&target).map(OwnedFd::from),
                "<" => File::open(&target).map(OwnedFd::from),
                _ => match target.as_str() {
                    "0" => io::stdin().as_fd().try_clone_to_owned(),
                    "1" => io::stdout().as_fd().try_clone_to_owned(),
                    "2" => io::stderr().as_fd().try_clone_to_owned(),
                    _ => Err(io::Error::other("only descriptors 0, 1 and 2 are known here")),
                },
            };
            let put = opened.and_then(|file| put(*descriptor, &file));
            if let Err(error) = put {
                saved.restore();
                return Err(format!("{target}: {error}"));
            }
        }
        Ok(saved)
    }
}

/// Descriptors as they were before a command's redirections.
#[derive(Default)]
struct Saved(Vec<(u8, OwnedFd)>);

impl Saved {
    fn keep(&mut self, descriptor: u8) {
        let copy = match descriptor {
            0 => io::stdin().as_fd().try_clone_to_owned(),
            1 => io::stdout().as_fd().try_clone_to_owned(),
            _ => io::stderr().as_fd().try_clone_to_owned(),
        };
        self.0.extend(copy.ok().map(|copy| (descriptor, copy)));
    }

    fn restore(self) {
        for (descriptor, copy) in self.0.into_iter().rev() {
            let _ = put(descriptor, &copy);
        }
    }
}

fn put(descriptor: u8, file: &OwnedFd) -> io::Result<()> {
    match descriptor {
        0 => dup2_stdin(file),
        1 => dup2_stdout(file),
        _ => dup2_stderr(file),
    }
    .map_err(io::Error::from)
}

fn wait_for(child: Pid) -> u8 {
    loop {
        return match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, code)) => u8::try_from(code).unwrap_or(1),
            Ok(WaitStatus::Signaled(_, signal, _)) => u8::try_from(128 + signal as i32).unwrap_or(1),
            Ok(_) => continue,
            Err(nix::errno::Errno::EINTR) if PENDING.load(Ordering::Relaxed) == 0 => continue,
            Err(_) => 127,
        };
    }
}

fn exit_code(status: process::ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

/// Says why a program did not start; the exit code that shells give then.
pub fn not_run(name: &str, error: &io::Error) -> u8 {
    match error.kind() {
        io::ErrorKind::NotFound => complain(name, "not found", 127),
        _ => complain(name, &error.to_string(), 126),
    }
}

/// Prints what went wrong; the exit code.
pub fn complain(what: &str, message: &str, code: u8) -> u8 {
    eprintln!("sh: {what}: {message}");
    code
}

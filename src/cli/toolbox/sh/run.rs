//! Runs commands.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{self, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;

use crate::cli::toolbox::APPLETS;
use crate::cli::toolbox::failure::Failure;

use super::builtin;
use super::state::Shell;
use super::syntax::{Command, Joint, Kind, List, Part, Pipeline, Redirect, Target, Word};

/// A program that is not there, by convention of shells.
const NOT_FOUND: u8 = 127;
/// A program that is there and cannot be run.
const NOT_RUNNABLE: u8 = 126;

/// Input, output and error of a command.
#[derive(Debug, Clone)]
pub(super) struct Files([Arc<File>; 3]);

impl Files {
    /// The process's own.
    pub(super) fn of_process() -> Result<Self, Failure> {
        let own = |fd: io::Result<OwnedFd>| Ok::<_, Failure>(Arc::new(File::from(fd?)));
        Ok(Self([
            own(io::stdin().as_fd().try_clone_to_owned())?,
            own(io::stdout().as_fd().try_clone_to_owned())?,
            own(io::stderr().as_fd().try_clone_to_owned())?,
        ]))
    }

    /// The same with another file for `fd`.
    pub(super) fn with(&self, fd: usize, file: impl Into<OwnedFd>) -> Self {
        self.with_same(fd, Arc::new(File::from(file.into())))
    }

    fn with_same(&self, fd: usize, file: Arc<File>) -> Self {
        let mut files = self.clone();
        if let Some(place) = files.0.get_mut(fd) {
            *place = file;
        }
        files
    }

    /// Input.
    pub(super) fn input(&self) -> &File {
        let [input, _, _] = &self.0;
        input
    }

    /// Output.
    pub(super) fn out(&self) -> &File {
        let [_, out, _] = &self.0;
        out
    }

    /// Writes a line to the error file; where that fails there is nobody to tell.
    pub(super) fn complain(&self, line: &str) {
        let [_, _, err] = &self.0;
        let _ = err.as_ref().write_all(format!("{line}\n").as_bytes());
    }

    fn stdio(&self) -> io::Result<[Stdio; 3]> {
        let [input, out, err] = &self.0;
        Ok([input.try_clone()?.into(), out.try_clone()?.into(), err.try_clone()?.into()])
    }
}

/// What to do after a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// Go on.
    Next,
    /// Leave the loop.
    Break,
    /// Begin the loop's next round.
    Continue,
    /// Leave the shell.
    Exit,
}

impl Shell {
    /// Runs a list as a subshell or a script does and returns its status.
    pub(super) fn run_to_end(&mut self, list: &List, files: &Files) -> u8 {
        self.list(list, files);
        self.status
    }

    /// Runs the last list of a process: a single program takes the process over, so that it gets the signals itself.
    pub(super) fn run_last(&mut self, list: &List, files: &Files) -> u8 {
        if let [(_, Pipeline { negated: false, commands })] = list.0.as_slice()
            && let [Command { kind: Kind::Simple { assignments, words }, redirects }] = commands.as_slice()
            && assignments.is_empty()
        {
            let Some(files) = self.redirected(redirects, files) else { return self.status };
            let words = self.expand(words, &files);
            let is_program = words.first().is_some_and(|name| !builtin::is_one(name));
            return if is_program { self.replace(&words, &files) } else { self.words(&words, &[], &files).1 };
        }
        self.run_to_end(list, files)
    }

    /// Runs a list.
    pub(super) fn list(&mut self, list: &List, files: &Files) -> Flow {
        for (joint, pipeline) in &list.0 {
            let runs = match joint {
                Joint::Always => true,
                Joint::And => self.status == 0,
                Joint::Or => self.status != 0,
            };
            if runs {
                let flow = self.pipeline(pipeline, files);
                if flow != Flow::Next {
                    return flow;
                }
            }
        }
        Flow::Next
    }

    fn pipeline(&mut self, pipeline: &Pipeline, files: &Files) -> Flow {
        let flow = match pipeline.commands.as_slice() {
            [command] => self.command(command, files),
            commands => {
                self.status = self.piped(commands, files);
                Flow::Next
            }
        };
        if pipeline.negated && flow == Flow::Next {
            self.status = u8::from(self.status == 0);
        }
        flow
    }

    /// Runs each command in a thread with a copy of the shell; the last one's status counts.
    fn piped(&self, commands: &[Command], files: &Files) -> u8 {
        thread::scope(|scope| {
            let (mut input, mut last) = (files.clone(), None);
            for (index, command) in commands.iter().enumerate() {
                let mut here = input.clone();
                if index + 1 < commands.len() {
                    let Ok((reader, writer)) = io::pipe() else {
                        files.complain("sh: no pipe is left");
                        return NOT_RUNNABLE;
                    };
                    here = here.with(1, writer);
                    input = files.with(0, reader);
                } else {
                    // Else the pipe's reader lives on here, and its writer never learns that nobody reads.
                    input = files.clone();
                }
                let mut shell = self.clone();
                last = Some(scope.spawn(move || {
                    shell.command(command, &here);
                    shell.status
                }));
            }
            last.and_then(|last| last.join().ok()).unwrap_or(NOT_RUNNABLE)
        })
    }

    fn command(&mut self, command: &Command, files: &Files) -> Flow {
        let Some(files) = self.redirected(&command.redirects, files) else { return Flow::Next };
        match &command.kind {
            Kind::Simple { assignments, words } => self.simple(assignments, words, &files),
            Kind::If { branches, otherwise } => self.branches(branches, otherwise, &files),
            Kind::Loop { until, condition, body } => self.repeat(*until, condition, body, &files),
            Kind::For { name, words, body } => self.each(name, words.as_deref(), body, &files),
            Kind::Group(list) => self.list(list, &files),
            Kind::Subshell(list) => {
                self.status = self.clone().run_to_end(list, &files);
                Flow::Next
            }
        }
    }

    fn branches(&mut self, branches: &[(List, List)], otherwise: &List, files: &Files) -> Flow {
        for (condition, body) in branches {
            let flow = self.list(condition, files);
            if flow != Flow::Next {
                return flow;
            }
            if self.status == 0 {
                return self.list(body, files);
            }
        }
        self.status = 0;
        self.list(otherwise, files)
    }

    fn repeat(&mut self, until: bool, condition: &List, body: &List, files: &Files) -> Flow {
        let mut status = 0;
        loop {
            let flow = self.list(condition, files);
            if flow == Flow::Exit {
                return flow;
            }
            if flow == Flow::Break || (self.status == 0) == until {
                self.status = status;
                return Flow::Next;
            }
            match self.list(body, files) {
                Flow::Next | Flow::Continue => status = self.status,
                Flow::Break => return Flow::Next,
                Flow::Exit => return Flow::Exit,
            }
        }
    }

    fn each(&mut self, name: &str, words: Option<&[Word]>, body: &List, files: &Files) -> Flow {
        let values = match words {
            Some(words) => self.expand(words, files),
            None => self.arguments.iter().skip(1).cloned().collect(),
        };
        self.status = 0;
        for value in values {
            self.set(name, value);
            match self.list(body, files) {
                Flow::Next | Flow::Continue => {}
                Flow::Break => break,
                Flow::Exit => return Flow::Exit,
            }
        }
        Flow::Next
    }

    /// Opens what `redirects` name, from left to right; says so and sets the status where that fails.
    fn redirected(&mut self, redirects: &[Redirect], files: &Files) -> Option<Files> {
        let mut files = files.clone();
        for redirect in redirects {
            let (word, how) = match &redirect.to {
                Target::Same(same) => {
                    let file = files.0.get(*same).cloned()?;
                    files = files.with_same(redirect.fd, file);
                    continue;
                }
                Target::Read(word) => (word, OpenOptions::new().read(true).clone()),
                Target::Write(word) => (word, OpenOptions::new().write(true).create(true).truncate(true).clone()),
                Target::Append(word) => (word, OpenOptions::new().append(true).create(true).clone()),
            };
            let name = self.expand_one(word, &files);
            match how.open(self.path(&name)) {
                Ok(file) => files = files.with(redirect.fd, file),
                Err(error) => {
                    files.complain(&format!("sh: {name}: {error}"));
                    self.status = 1;
                    return None;
                }
            }
        }
        Some(files)
    }

    fn simple(&mut self, assignments: &[(String, Word)], words: &[Word], files: &Files) -> Flow {
        let outputs = assignments.iter().flat_map(|(_, word)| word).any(|part| matches!(part, Part::Output { .. }));
        let values: Vec<(String, String)> =
            assignments.iter().map(|(name, word)| (name.clone(), self.expand_one(word, files))).collect();
        let words = self.expand(words, files);
        if words.is_empty() {
            // `A=$(false)` fails, `A=1` does not.
            self.status = if outputs { self.status } else { 0 };
            for (name, value) in values {
                self.set(&name, value);
            }
            return Flow::Next;
        }
        let (flow, status) = self.words(&words, &values, files);
        self.status = status;
        flow
    }

    /// Runs expanded words: a builtin, else a program.
    fn words(&mut self, words: &[String], values: &[(String, String)], files: &Files) -> (Flow, u8) {
        match words {
            [] => (Flow::Next, 0),
            [name, rest @ ..] if name == "exec" && !rest.is_empty() => (Flow::Exit, self.replace(rest, files)),
            [name, rest @ ..] => match builtin::run(self, name, rest, files) {
                Some(done) => done,
                None => (Flow::Next, self.program_status(words, values, files)),
            },
        }
    }

    fn program_status(&self, words: &[String], values: &[(String, String)], files: &Files) -> u8 {
        let started = self
            .prepared(words, files)
            .and_then(|mut command| command.envs(values.iter().map(|(name, value)| (name, value))).status());
        match started {
            Ok(status) => code(status),
            Err(error) => refused(words, &error, files),
        }
    }

    /// Becomes a program; returns only where that fails.
    fn replace(&self, words: &[String], files: &Files) -> u8 {
        match self.prepared(words, files) {
            Ok(mut command) => refused(words, &command.exec(), files),
            Err(error) => refused(words, &error, files),
        }
    }

    /// A program of `PATH`; where there is none, of the toolbox.
    fn prepared(&self, words: &[String], files: &Files) -> io::Result<process::Command> {
        let (name, rest) = words.split_first().ok_or(io::ErrorKind::NotFound)?;
        let program = match self.program(name) {
            Some(program) => program,
            None if APPLETS.contains(&name.as_str()) => self.toolbox.clone(),
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        let [input, out, err] = files.stdio()?;
        let mut command = process::Command::new(program);
        command.arg0(name).args(rest).current_dir(&self.directory);
        command.env_clear().envs(self.environment()).stdin(input).stdout(out).stderr(err);
        Ok(command)
    }
}

fn refused(words: &[String], error: &io::Error, files: &Files) -> u8 {
    let name = words.first().map_or("", String::as_str);
    if error.kind() == io::ErrorKind::NotFound {
        files.complain(&format!("sh: {name}: not found"));
        return NOT_FOUND;
    }
    files.complain(&format!("sh: {name}: {error}"));
    NOT_RUNNABLE
}

/// 128 and the signal for a program that was killed, as shells do.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

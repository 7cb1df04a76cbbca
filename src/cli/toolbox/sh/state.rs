//! What a shell remembers.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};

use crate::cli::toolbox::failure::Failure;

/// Where programs are looked for when nothing else is said.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables, the working directory and how the last command ended. A subshell is a copy.
#[derive(Debug, Clone)]
pub(super) struct Shell {
    /// Value, and whether programs see it.
    vars: BTreeMap<String, (String, bool)>,
    /// `$0` and what follows.
    pub(super) arguments: Vec<String>,
    /// The shell's own, not the process's: a subshell's `cd` is its own affair.
    pub(super) directory: PathBuf,
    /// `$?`
    pub(super) status: u8,
    /// The program that holds the toolbox's programs.
    pub(super) toolbox: PathBuf,
}

impl Shell {
    /// A shell with the process's environment and directory.
    pub(super) fn of_process(arguments: Vec<String>) -> Result<Self, Failure> {
        let vars = env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, (value.into_string().ok()?, true))));
        let mut vars: BTreeMap<_, _> = vars.collect();
        vars.entry("PATH".to_owned()).or_insert_with(|| (PATH.to_owned(), true));
        let directory = env::current_dir().map_err(Failure::at("working directory"))?;
        Ok(Self { vars, arguments, directory, status: 0, toolbox: PathBuf::from("/proc/self/exe") })
    }

    /// What `$name` is, `None` where it is not set.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        match name {
            "?" => Some(self.status.to_string()),
            "$" => Some(std::process::id().to_string()),
            "#" => Some(self.arguments.len().saturating_sub(1).to_string()),
            "@" | "*" => Some(self.arguments.iter().skip(1).cloned().collect::<Vec<_>>().join(" ")),
            "PWD" => Some(self.directory.display().to_string()),
            _ => match name.parse::<usize>() {
                Ok(number) => self.arguments.get(number).cloned(),
                Err(_) => self.vars.get(name).map(|(value, _)| value.clone()),
            },
        }
    }

    /// Sets a variable; one that programs see stays so.
    pub(super) fn set(&mut self, name: &str, value: String) {
        let exported = self.vars.get(name).is_some_and(|(_, exported)| *exported);
        self.vars.insert(name.to_owned(), (value, exported));
    }

    /// Lets programs see a variable.
    pub(super) fn export(&mut self, name: &str) {
        self.vars.entry(name.to_owned()).or_default().1 = true;
    }

    /// Forgets a variable.
    pub(super) fn unset(&mut self, name: &str) {
        self.vars.remove(name);
    }

    /// What programs see.
    pub(super) fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        let seen = self.vars.iter().filter(|(name, (_, exported))| *exported && *name != "PWD");
        seen.map(|(name, (value, _))| (name.as_str(), value.as_str()))
    }

    /// `path` from the shell's directory.
    pub(super) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.directory.join(path)
    }

    /// The file of a program: by its path, or the first in `PATH`.
    pub(super) fn program(&self, name: &str) -> Option<PathBuf> {
        let runs = |path: &PathBuf| path.is_file() && nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok();
        if name.contains('/') {
            return Some(self.path(name)).filter(|path| path.exists());
        }
        let path = self.get("PATH").unwrap_or_default();
        path.split(':').map(|folder| self.path(folder).join(name)).find(runs)
    }
}

//! What can be said to the shell.

/// A piece of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Text as it stands.
    Text { text: String, quoted: bool },
    /// `$NAME`, `${NAME}`, `$?`, `$1`; with `fallback` `${NAME:-...}`.
    Variable { name: String, fallback: Option<String>, quoted: bool },
    /// What the commands of `$(...)` print.
    Output { commands: List, quoted: bool },
    /// The value of `$((...))`.
    Sum { text: String },
}

/// A word before expansion.
pub(super) type Word = Vec<Part>;

/// Whether a pipeline runs, by how the one before it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joint {
    /// `;` or the end of a line.
    Always,
    /// `&&`
    And,
    /// `||`
    Or,
}

/// Pipelines, one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct List(pub(super) Vec<(Joint, Pipeline)>);

/// Commands whose output is the next one's input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pipeline {
    /// `!` turns success and failure around.
    pub(super) negated: bool,
    /// At least one.
    pub(super) commands: Vec<Command>,
}

/// A command and where its files go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) kind: Kind,
    pub(super) redirects: Vec<Redirect>,
}

/// What a command does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// `A=1 program words`
    Simple { assignments: Vec<(String, Word)>, words: Vec<Word> },
    /// `if`, every `elif`, `else`.
    If { branches: Vec<(List, List)>, otherwise: List },
    /// `while`, or `until`.
    Loop { until: bool, condition: List, body: List },
    /// `for NAME in WORDS`; without `in`, the script's arguments.
    For { name: String, words: Option<Vec<Word>>, body: List },
    /// `{ ...; }`
    Group(List),
    /// `( ... )`: what it changes of the shell ends with it.
    Subshell(List),
}

/// A file for one of the three descriptors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Redirect {
    /// 0, 1 or 2.
    pub(super) fd: usize,
    pub(super) to: Target,
}

/// Where a descriptor leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// `<`
    Read(Word),
    /// `>`
    Write(Word),
    /// `>>`
    Append(Word),
    /// `>&1`
    Same(usize),
}

/// Why text is no commands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Wrong {
    /// More text could make it right: a quote or an `if` is open.
    #[error("sh: the commands end too early")]
    Unfinished,
    /// Nothing makes this right.
    #[error("sh: {0:?} is not expected here")]
    Unexpected(String),
}

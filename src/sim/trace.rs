//! The trace of a run: one line a step, in virtual time. Two runs of a seed must write the same bytes.

use std::fmt::Write as _;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::model::Timestamp;
use crate::world::clock::Clock;

/// Lines kept; a run that would write more is cut, and says so.
pub const MAX_LINES: usize = 2_000_000;

/// A trace under way. Cheap to clone.
#[derive(Clone)]
pub struct Trace {
    lines: Arc<Mutex<Vec<String>>>,
    clock: Arc<dyn Clock>,
    start: Timestamp,
}

impl Trace {
    /// An empty trace; times are told since now.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let start = clock.now();
        Self { lines: Arc::default(), clock, start }
    }

    /// Adds a line.
    pub fn note(&self, what: impl AsRef<str>) {
        let mut lines = self.lines.lock();
        if lines.len() >= MAX_LINES {
            return;
        }
        let at = self.clock.now().since(self.start);
        let mut line = String::new();
        let _ = write!(line, "{:>6}.{:06} {}", at.as_secs(), at.subsec_micros(), what.as_ref());
        lines.push(line);
    }

    /// All lines so far.
    pub fn text(&self) -> String {
        let mut text = self.lines.lock().join("\n");
        text.push('\n');
        text
    }

    /// The last lines, for a failure.
    pub fn tail(&self, count: usize) -> String {
        let lines = self.lines.lock();
        lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
    }
}

//! Virtual wall-clock time that goes on from one life of the node to the next.

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::model::Timestamp;
use crate::world::clock::Clock;

/// The clock of a run.
pub struct SimClock(Mutex<Face>);

struct Face {
    before: Timestamp,
    since: Option<Instant>,
}

impl SimClock {
    /// Starts at `origin`, standing still until a life begins.
    pub fn new(origin: Timestamp) -> Self {
        Self(Mutex::new(Face { before: origin, since: None }))
    }

    /// A life begins: time follows the runtime that this is called in.
    pub fn enter(&self) {
        self.0.lock().since = Some(Instant::now());
    }

    /// A life ends: time stands still.
    pub fn leave(&self) {
        let mut face = self.0.lock();
        face.before = face.now();
        face.since = None;
    }
}

impl Face {
    fn now(&self) -> Timestamp {
        self.since.map_or(self.before, |since| self.before + since.elapsed())
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.0.lock().now()
    }
}

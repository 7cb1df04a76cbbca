//! Writes the history while it happens.

use parking_lot::Mutex;
use tokio::time::Instant;

use super::history::{Carried, Converged, History, Led, Micros, Request, Sight, Watched};

/// A history that is being written, and the begin of its time.
pub struct Recorder {
    origin: Instant,
    history: Mutex<History>,
}

impl Recorder {
    /// Begins now.
    pub fn begin() -> Self {
        Self { origin: Instant::now(), history: Mutex::new(History::default()) }
    }

    /// Microseconds since the begin.
    pub fn now(&self) -> Micros {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(Micros::MAX)
    }

    /// The begin.
    pub fn origin(&self) -> Instant {
        self.origin
    }

    /// Whether there is no room for more.
    pub fn is_full(&self) -> bool {
        self.history.lock().is_full()
    }

    /// A request has ended.
    pub fn request(&self, request: Request) {
        let mut history = self.history.lock();
        if !history.is_full() {
            history.requests.push(request);
        }
    }

    /// A watcher saw something.
    pub fn watched(&self, watcher: u16, sight: Sight) {
        let at = self.now();
        self.history.lock().watched.push(Watched { watcher, at, sight });
    }

    /// A node said who leads.
    pub fn led(&self, node: usize, term: u64, leader: Option<String>) {
        let at = self.now();
        let mut history = self.history.lock();
        if !history.is_full() {
            history.led.push(Led { at, node, term, leader });
        }
    }

    /// A fault is there; its number.
    pub fn fault(&self, fault: Carried) -> usize {
        let mut history = self.history.lock();
        history.faults.push(fault);
        history.faults.len() - 1
    }

    /// A fault is gone, or could not be undone.
    pub fn undone(&self, fault: usize, outcome: Result<(), String>) {
        let at = self.now();
        if let Some(fault) = self.history.lock().faults.get_mut(fault) {
            match outcome {
                Ok(()) => fault.ended = Some(at),
                Err(why) => fault.said = Err(why),
            }
        }
    }

    /// A process ended by itself.
    pub fn death(&self, told: String) {
        self.history.lock().ending.deaths.push(told);
    }

    /// How a deployment ended.
    pub fn converged(&self, converged: Converged) {
        self.history.lock().ending.deployments.push(converged);
    }

    /// Changes whatever else is to be told.
    pub fn note(&self, change: impl FnOnce(&mut History)) {
        change(&mut self.history.lock());
    }

    /// Who leads, by the highest term that a node told.
    pub fn leader(&self) -> Option<String> {
        let history = self.history.lock();
        let mut best: Option<&Led> = None;
        for led in history.led.iter().filter(|led| led.leader.is_some()) {
            best = best.filter(|best| best.term > led.term).or(Some(led));
        }
        best.and_then(|led| led.leader.clone())
    }

    /// All that was written.
    pub fn finish(&self) -> History {
        std::mem::take(&mut self.history.lock())
    }
}

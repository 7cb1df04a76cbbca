//! The place of a control actor that is no planner: it works while its Lease names this node, under the Lease's epoch.

use std::sync::Arc;

use parking_lot::Mutex;

use super::report::Report;
use crate::model::Epoch;
use crate::store::Fence;

/// A seat; shared by whoever works on it and the host that gives and takes it.
#[derive(Debug)]
pub struct Seat {
    actor: &'static str,
    epoch: Mutex<Option<Epoch>>,
    report: Arc<Report>,
}

impl Seat {
    /// Nobody's yet.
    pub fn new(actor: &'static str) -> Arc<Self> {
        Arc::new(Self { actor, epoch: Mutex::default(), report: Arc::default() })
    }

    /// The actor.
    pub fn actor(&self) -> &'static str {
        self.actor
    }

    /// It is placed here from now on.
    pub fn take(&self, epoch: Epoch) {
        *self.epoch.lock() = Some(epoch);
    }

    /// It is placed here no more.
    pub fn leave(&self) {
        *self.epoch.lock() = None;
    }

    /// What its writes carry; `None` while it is not placed here.
    pub fn fence(&self) -> Option<Fence> {
        self.epoch.lock().map(|epoch| Fence { actor: self.actor.into(), epoch })
    }

    /// What it is doing.
    pub fn report(&self) -> &Arc<Report> {
        &self.report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_has_a_fence_while_it_is_taken() {
        let seat = Seat::new("certificate-issuer");
        assert_eq!(seat.fence(), None);
        seat.take(Epoch(3));
        assert_eq!(seat.fence(), Some(Fence { actor: "certificate-issuer".into(), epoch: Epoch(3) }));
        seat.leave();
        assert_eq!(seat.fence(), None);
    }
}

//! INV-M7: no connection is made with a certificate that is over or revoked, by the clock and the knowledge of whoever
//! it is shown to.

use super::Invariant;
use crate::sim::mesh::history::{History, Opened};

pub const INVARIANT: Invariant = Invariant {
    id: "INV-M7 no-bad-certificate-is-accepted",
    meaning: "Neither side of a new connection shows a certificate that the other knows to be over or revoked.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    history.opened.iter().try_for_each(judge)
}

fn judge(opened: &Opened) -> Result<(), String> {
    opened.shown.iter().try_for_each(|shown| {
        // Certificates and those who judge them count whole seconds.
        if shown.clock.whole_seconds() > shown.not_after {
            return Err(format!(
                "at {:?} {} is accepted with a certificate that is over: {shown:?}",
                opened.at, shown.node
            ));
        }
        if shown.known_revoked {
            return Err(format!("at {:?} {} is accepted though it is revoked: {shown:?}", opened.at, shown.node));
        }
        Ok(())
    })
}

//! INV-M16: the authority signs for a node's own name and no other.

use super::Invariant;
use crate::sim::mesh::history::History;

pub const INVARIANT: Invariant = Invariant {
    id: "INV-M16 only-own-names-are-signed",
    meaning: "A request for a certificate that names another node is refused.",
    check,
};

fn check(history: &History) -> Result<(), String> {
    match history.signed.iter().find(|(_, _, strays)| *strays) {
        Some((at, node, _)) => {
            Err(format!("at {at:?} {node} was granted a certificate for a name that is not its own"))
        }
        None => Ok(()),
    }
}

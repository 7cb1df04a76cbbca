//! Which nodes the leader here has answered lately, so that nobody declares a node dead that has just been told that the
//! quorum lives.
//!
//! The one rule: between the decision to declare a node and the end of the write that says so, the node gets no answer.
//! So whatever answer it got came before the decision, which counted it, or comes after the write, which it then sees.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::mutant::mutant;

/// Most nodes that are remembered; a further one is answered, and nobody can be declared whose answers are not counted.
const MAX_NODES: usize = 16_384;

/// When this node, as leader, was last asked by each other.
#[derive(Default)]
pub struct Contacts(Mutex<BTreeMap<String, Contact>>);

#[derive(Default)]
struct Contact {
    asked: Option<Instant>,
    condemned: bool,
}

impl Contacts {
    /// Notes that `node` asks. False where it must not be answered.
    pub(super) fn note(&self, node: &str, now: Instant) -> bool {
        if mutant("forget-who-asked") {
            return true;
        }
        let mut contacts = self.0.lock();
        if let Some(contact) = contacts.get_mut(node) {
            if !contact.condemned {
                contact.asked = Some(now);
            }
            return !contact.condemned;
        }
        if contacts.len() < MAX_NODES {
            contacts.insert(node.to_owned(), Contact { asked: Some(now), condemned: false });
        }
        true
    }

    /// When `node` last asked this one.
    pub fn asked(&self, node: &str) -> Option<Instant> {
        self.0.lock().get(node).and_then(|contact| contact.asked)
    }

    /// Decides that `node` is dead: it gets no answers until [`Contacts::acquit`]. False, and nothing is decided, where
    /// it has asked within `silent` or nothing could be remembered of it.
    pub fn condemn(&self, node: &str, silent: Duration, now: Instant) -> bool {
        let mut contacts = self.0.lock();
        if !contacts.contains_key(node) && contacts.len() >= MAX_NODES {
            return false;
        }
        let contact = contacts.entry(node.to_owned()).or_default();
        let asked_lately = contact.asked.is_some_and(|at| now.saturating_duration_since(at) < silent);
        contact.condemned |= !asked_lately;
        contact.condemned
    }

    /// `node` is answered again: that it is dead has been written.
    pub fn acquit(&self, node: &str) {
        if let Some(contact) = self.0.lock().get_mut(node) {
            contact.condemned = false;
        }
    }

    /// Everybody is answered again, for whoever decided does so no more.
    pub fn acquit_all(&self) {
        self.0.lock().values_mut().for_each(|contact| contact.condemned = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENT: Duration = Duration::from_secs(3);

    #[tokio::test(start_paused = true)]
    async fn whoever_has_just_asked_is_not_condemned_and_the_condemned_are_not_answered() {
        let contacts = Contacts::default();
        let now = Instant::now();
        assert!(contacts.note("a", now));
        assert!(!contacts.condemn("a", SILENT, now + SILENT / 2) && contacts.note("a", now + SILENT / 2));
        let later = now + SILENT / 2 + SILENT;
        assert!(contacts.condemn("a", SILENT, later) && !contacts.note("a", later));
        assert!(contacts.condemn("a", SILENT, later), "a decision stands");
        assert!(contacts.note("b", later), "others are answered");
        assert_eq!(contacts.asked("a"), Some(now + SILENT / 2), "a question without an answer is no contact");
        contacts.acquit("a");
        assert!(contacts.note("a", later) && !contacts.condemn("a", SILENT, later));
        assert!(contacts.condemn("c", SILENT, later), "one that never asked is silent");
        contacts.acquit_all();
        assert!(contacts.note("c", later));
    }
}

//! What an object may be, after what its only writer was told.
//!
//! Every write but a rollout names the revision that it replaces, so that one whose outcome is not known can only be
//! carried out as long as nothing else was. A creation needs only that nothing is there, and a rollout needs nothing:
//! those may come late.

use crate::cli::chaos::history::{Kind, Outcome, Request};

/// What is known of one object.
#[derive(Debug, Default)]
pub struct Model<'a> {
    /// Its value by the last write that was acknowledged or seen; `None` where it is absent.
    last: Option<&'a str>,
    /// Its revision, where it is known.
    revision: Option<u64>,
    /// Results of writes that may or may not have been carried out since.
    maybe: Vec<Option<&'a str>>,
    /// Values of creations that may still be carried out whenever the object is absent.
    late: Vec<&'a str>,
    /// Values of rollouts that may still be carried out at any time.
    floating: Vec<&'a str>,
}

impl<'a> Model<'a> {
    /// Takes in a write.
    pub fn write(&mut self, request: &'a Request) {
        let result = if request.kind == Kind::Delete { None } else { request.value.as_deref() };
        match request.outcome {
            Outcome::Done { revision, .. } => self.becomes(result, revision),
            Outcome::Unknown { .. } => {
                match (request.kind, result) {
                    (Kind::Create, Some(value)) => self.late.push(value),
                    (Kind::Rollout, Some(value)) => self.floating.push(value),
                    _ => {}
                }
                self.maybe.push(result);
            }
            Outcome::Refused { .. } => {}
        }
    }

    /// Takes in what a read found; whether that is possible. What it found is so from then on.
    pub fn read(&mut self, found: Option<&'a str>, revision: Option<u64>) -> bool {
        if found == self.last {
            // A rollout is not the only writer of its object: its revision says nothing.
            self.revision = self.revision.and(revision);
            return true;
        }
        let possible = self.allows(found);
        if possible {
            self.becomes(found, revision);
        }
        possible
    }

    /// Whether the object may be this now.
    pub fn allows(&self, found: Option<&str>) -> bool {
        found == self.last
            || self.maybe.contains(&found)
            || (self.last.is_none() && found.is_some_and(|value| self.late.contains(&value)))
            || found.is_some_and(|value| self.floating.contains(&value))
    }

    /// Whether nothing but the last known value is possible.
    pub fn is_certain(&self) -> bool {
        self.maybe.is_empty() && (self.last.is_some() || self.late.is_empty()) && self.floating.is_empty()
    }

    /// The revision that the object must have, where it is known and the object is there.
    pub fn revision(&self) -> Option<u64> {
        self.last.and(self.revision)
    }

    /// Whether the object must be absent.
    pub fn is_absent(&self) -> bool {
        self.last.is_none() && self.is_certain()
    }

    /// The last known value.
    pub fn last(&self) -> Option<&'a str> {
        self.last
    }

    fn becomes(&mut self, value: Option<&'a str>, revision: Option<u64>) {
        self.last = value;
        self.revision = revision;
        self.maybe.clear();
        self.late.retain(|late| Some(*late) != value);
        self.floating.retain(|floating| Some(*floating) != value);
    }
}

//! What differs between a backup and what the cluster has: two lists in key order, read side by side.

use std::cmp::Ordering;
use std::io::Read;

use serde_json::Value;

use crate::api::backup::Change;
use crate::cli::failure::Failure;
use crate::model::ObjectKey;
use crate::plan::restore::{PASSES, may_touch, pass, same};
use crate::store::backup::{Object, Reader};

/// What is to be done about one key.
#[derive(Debug, PartialEq, Eq)]
pub enum Difference {
    /// The backup has it, the cluster does not.
    Create(Object),
    /// Both have it, and they differ.
    Update(Object),
    /// Only the cluster has it.
    Delete(ObjectKey),
    /// They say the same.
    Same,
    /// It is the cluster's own.
    Own,
}

impl Difference {
    /// The change that is made in a pass; deletions in the one after the last.
    pub fn change(self, now: u8) -> Option<Change> {
        match self {
            Self::Create(object) | Self::Update(object) => {
                let value: Value = serde_json::from_slice(&object.value).unwrap_or_default();
                let due = pass(&object.key, &value) == now;
                due.then_some(Change { key: object.key, value: Some(object.value) })
            }
            Self::Delete(key) => (now == PASSES).then_some(Change { key, value: None }),
            Self::Same | Self::Own => None,
        }
    }
}

/// Two backups side by side.
pub struct Differences<R> {
    backup: Side<R>,
    current: Side<R>,
}

struct Side<R> {
    reader: Reader<R>,
    next: Option<Object>,
    begun: bool,
}

/// Compares what was with what is.
pub fn compare<R: Read>(backup: Reader<R>, current: Reader<R>) -> Differences<R> {
    let side = |reader| Side { reader, next: None, begun: false };
    Differences { backup: side(backup), current: side(current) }
}

impl<R: Read> Side<R> {
    fn peek(&mut self) -> Result<Option<&Object>, Failure> {
        if !self.begun {
            self.begun = true;
            self.next = self.reader.next_object()?;
        }
        Ok(self.next.as_ref())
    }

    fn take(&mut self) -> Result<Option<Object>, Failure> {
        let taken = self.next.take();
        self.next = self.reader.next_object()?;
        Ok(taken)
    }
}

impl<R: Read> Differences<R> {
    /// The next one, in key order.
    pub fn next_difference(&mut self) -> Result<Option<Difference>, Failure> {
        let order = match (self.backup.peek()?, self.current.peek()?) {
            (None, None) => return Ok(None),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(was), Some(is)) => was.key.cmp(&is.key),
        };
        let was = if order.is_le() { self.backup.take()? } else { None };
        let is = if order.is_ge() { self.current.take()? } else { None };
        Ok(match (was, is) {
            (Some(object), _) | (None, Some(object)) if !may_touch(&object.key) => Some(Difference::Own),
            (Some(was), None) => Some(Difference::Create(was)),
            (Some(was), Some(is)) if equal(&was, &is)? => Some(Difference::Same),
            (Some(was), Some(_)) => Some(Difference::Update(was)),
            (None, Some(is)) => Some(Difference::Delete(is.key)),
            (None, None) => None,
        })
    }
}

fn equal(was: &Object, is: &Object) -> Result<bool, Failure> {
    if was.value == is.value {
        return Ok(true);
    }
    let (was, is): (Value, Value) = (serde_json::from_slice(&was.value)?, serde_json::from_slice(&is.value)?);
    Ok(same(&was, &is))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Revision;
    use crate::store::Record;
    use crate::store::backup::{Encoder, Error, Head, verify};

    fn backup(objects: &[(&str, &str, &str)]) -> Vec<u8> {
        let head = Head { cluster: "c".into(), revision: 7, time: "t".into(), release: "r".into() };
        let (mut encoder, mut bytes) = Encoder::begin(&head).unwrap();
        for (resource, name, data) in objects {
            let key = ObjectKey { resource: (*resource).into(), namespace: "".into(), name: (*name).into() };
            let value =
                json!({ "metadata": { "name": name, "resourceVersion": data.len().to_string() }, "data": data });
            let value = value.to_string().into();
            let record = Record { key, created: Revision(1), modified: Revision(1), value, splice: 0 };
            bytes.extend(encoder.object(&record).unwrap());
        }
        bytes.extend(encoder.end().unwrap());
        bytes
    }

    fn differences(was: &[(&str, &str, &str)], is: &[(&str, &str, &str)]) -> Vec<String> {
        let (was, is) = (backup(was), backup(is));
        let mut found = Vec::new();
        let mut all = compare(Reader::open(&was[..]).unwrap(), Reader::open(&is[..]).unwrap());
        while let Some(difference) = all.next_difference().unwrap() {
            found.push(match difference {
                Difference::Create(object) => format!("create {}", object.key.name),
                Difference::Update(object) => format!("update {}", object.key.name),
                Difference::Delete(key) => format!("delete {}", key.name),
                other => format!("{other:?}"),
            });
        }
        found
    }

    #[test]
    fn lists_are_compared_side_by_side() {
        let was = [("configmaps", "a", "1"), ("configmaps", "b", "1"), ("configmaps", "d", "1"), ("nodes", "n", "1")];
        let is = [("configmaps", "b", "1"), ("configmaps", "c", "1"), ("configmaps", "d", "2")];
        assert_eq!(differences(&was, &is), ["create a", "Same", "delete c", "update d", "Own"]);
        assert_eq!(differences(&[], &is), ["delete b", "delete c", "delete d"]);
        assert_eq!(differences(&is, &[]), ["create b", "create c", "create d"]);
    }

    #[test]
    fn a_backup_that_lost_or_changed_anything_is_refused() {
        let whole = backup(&[("configmaps", "a", "1"), ("configmaps", "b", "2")]);
        assert_eq!(verify(&whole[..]).unwrap().1, 2);
        for at in 0..whole.len() {
            assert!(verify(&whole[..at]).is_err(), "cut at {at}");
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            assert!(verify(&changed[..]).is_err(), "changed at {at}");
        }
        let longer = [&whole[..], b"x"].concat();
        assert!(matches!(verify(&longer[..]), Err(Error::Damaged("something follows its end"))));
        // Frames that are sound each, and one of them missing.
        let (one, two) =
            (backup(&[("configmaps", "a", "1")]), backup(&[("configmaps", "a", "1"), ("configmaps", "b", "2")]));
        let end = one.iter().zip(&two).take_while(|(a, b)| a == b).count();
        assert!(verify(&[&one[..end.min(one.len())], &two[end..]].concat()[..]).is_ok(), "the seam is where they part");
    }
}

//! Tests of the map against a naive model.

use bytes::Bytes;
use rand::{Rng as _, SeedableRng};

use super::*;
use crate::model::ResourceId;
use crate::store::Fence;
use crate::world::entropy::Rng;

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(ResourceId::new("", "pods"), "default", name)
}

fn put(name: &str, expect: Expect) -> Op {
    let value = Bytes::from_static(br#"{"v":"","x":1}"#);
    Op { key: key(name), expect, action: Action::Put { value, splice: 6 } }
}

fn delete(name: &str, expect: Expect) -> Op {
    Op { key: key(name), expect, action: Action::Delete }
}

fn txn(ops: Vec<Op>) -> Txn {
    Txn { ops, ..Txn::default() }
}

#[test]
fn a_compare_that_fails_names_its_key_and_changes_nothing() {
    let conflict =
        |name: &str, actual: Option<u64>| Err(Refusal::Conflict { key: key(name), actual: actual.map(Revision) });
    let mut state = Mvcc::default();
    let mut at = 8;
    let mut check = |ops: Vec<Op>, expect: Result<(), Refusal>| {
        at += 1;
        assert_eq!(state.apply(&txn(ops), Revision(at)), expect);
        state.objects()
    };
    assert_eq!(check(vec![put("a", Expect::Absent)], Ok(())), 1);
    assert_eq!(check(vec![put("b", Expect::Any), put("a", Expect::Absent)], conflict("a", Some(9))), 1);
    assert_eq!(check(vec![put("a", Expect::Revision(Revision(8)))], conflict("a", Some(9))), 1);
    assert_eq!(check(vec![delete("z", Expect::Revision(Revision(9)))], conflict("z", None)), 1);
    assert_eq!(check(vec![put("a", Expect::Revision(Revision(9))), put("b", Expect::Absent)], Ok(())), 2);
    assert_eq!(check(vec![put("c", Expect::Any), put("c", Expect::Any)], Err(Refusal::Invalid)), 2);
    assert_eq!(check(vec![delete("a", Expect::Any), delete("z", Expect::Any)], Ok(())), 1);
    let values: Vec<_> = state.history.iter().map(|change| (change.kind, change.record.value.clone())).collect();
    let value = |at: u64| Bytes::from(format!(r#"{{"v":"{at}","x":1}}"#));
    assert_eq!(
        values,
        [
            (ChangeKind::Created, value(9)),
            (ChangeKind::Updated, value(13)),
            (ChangeKind::Created, value(13)),
            (ChangeKind::Deleted, value(15)),
        ]
    );
}

#[test]
fn a_stale_epoch_is_refused_once_a_newer_one_has_written() {
    let mut state = Mvcc::default();
    let mut write = |at: u64, epoch: u64| {
        let fence = Some(Fence { actor: "scheduler".into(), epoch: Epoch(epoch) });
        state.apply(&Txn { fence, ..txn(vec![put("a", Expect::Any)]) }, Revision(at))
    };
    assert_eq!([write(1, 1), write(2, 3), write(3, 2), write(4, 3)], [Ok(()), Ok(()), Err(Refusal::Fenced), Ok(())]);
}

/// Every revision's objects and every change, kept forever.
#[derive(Default)]
struct Model {
    states: Vec<BTreeMap<ObjectKey, Revision>>,
    changes: Vec<(Revision, ObjectKey, ChangeKind, Option<Revision>)>,
}

impl Model {
    fn step(&mut self, state: &Mvcc) {
        let known = self.changes.last().map_or(Revision(0), |change| change.0);
        let mut now = self.states.last().cloned().unwrap_or_default();
        for change in state.history.iter().filter(|change| change.revision() > known) {
            let key = change.record.key.clone();
            match change.kind {
                ChangeKind::Deleted => drop(now.remove(&key)),
                _ => drop(now.insert(key.clone(), change.revision())),
            }
            let previous = change.previous.as_ref().map(|record| record.modified);
            self.changes.push((change.revision(), key, change.kind, previous));
        }
        self.states.push(now);
    }

    fn agrees(&self, state: &Mvcc) {
        let all = Scope::ALL;
        for (at, expect) in (0u64..).zip(&self.states) {
            let at = Revision(at);
            let listed = state.list(&all, Some(at), None, 0);
            if at < state.compacted() {
                assert_eq!(listed.unwrap_err(), Error::Compacted { oldest: state.compacted() });
                assert_eq!(state.changes(&all, at, 9).unwrap_err(), Error::Compacted { oldest: state.compacted() });
                continue;
            }
            let listed: BTreeMap<_, _> = listed.unwrap().records.iter().map(|r| (r.key.clone(), r.modified)).collect();
            assert_eq!(listed, *expect, "objects at {at}");
            assert_eq!(collect(state, at), self.changes.iter().filter(|c| c.0 > at).cloned().collect::<Vec<_>>());
        }
        assert_eq!(state.objects(), self.states.last().map_or(0, BTreeMap::len));
    }
}

/// All changes after `from`, in small batches.
fn collect(state: &Mvcc, mut from: Revision) -> Vec<(Revision, ObjectKey, ChangeKind, Option<Revision>)> {
    let mut found = Vec::new();
    while from < state.applied() {
        let (changes, reached) = state.changes(&Scope::ALL, from, 2).unwrap();
        assert!(reached > from);
        let row = |change: &Arc<Change>| {
            let previous = change.previous.as_ref().map(|record| record.modified);
            (change.revision(), change.record.key.clone(), change.kind, previous)
        };
        found.extend(changes.iter().map(row));
        from = reached;
    }
    found
}

#[test]
fn reads_and_watches_from_every_retained_revision_are_exact_through_compaction_and_restart() {
    for seed in 0..60 {
        let mut rng = Rng::seed_from_u64(seed);
        let (mut state, mut model) = (Mvcc::default(), Model::default());
        model.step(&state);
        for at in 1..80 {
            let at = Revision(at);
            let ops = (0..4).filter_map(|n| match rng.random_range(0..4) {
                0 => Some(put(&n.to_string(), Expect::Any)),
                1 => Some(delete(&n.to_string(), Expect::Any)),
                _ => None,
            });
            assert_eq!(state.apply(&txn(ops.collect()), at), Ok(()));
            model.step(&state);
            if rng.random_bool(0.1) {
                state.compact(Revision(rng.random_range(state.compacted().0..=at.0)));
            }
            if rng.random_bool(0.1) {
                let mut bytes = Vec::new();
                crate::store::table::image::encode(&state.image(), &mut |chunk| {
                    bytes.extend_from_slice(chunk);
                    Ok(())
                })
                .unwrap();
                let lent = rng.random_bool(0.5).then(|| Bytes::from(bytes.clone()));
                let mut source = |at, out: &mut [u8]| {
                    let rest = bytes.get(usize::try_from(at).unwrap()..).unwrap_or_default();
                    let n = rest.len().min(out.len());
                    out[..n].copy_from_slice(&rest[..n]);
                    Ok(n)
                };
                let image = crate::store::table::image::decode(&mut source, lent).unwrap();
                assert_eq!(state.adopt(&image.base), image.base.len());
                model.agrees(&state);
                let history_size = state.history_size();
                state = Mvcc::from_image(&image);
                assert_eq!(state.history_size(), history_size);
            }
            model.agrees(&state);
        }
    }
}

#[test]
fn a_list_is_cut_at_its_limit_and_goes_on_after_the_last_key() {
    let mut state = Mvcc::default();
    let pods = ResourceId::new("", "pods");
    for (at, (namespace, name)) in (1..).zip([("a", "x"), ("b", "x"), ("b", "y"), ("b", "z"), ("c", "x")]) {
        let mut op = put(name, Expect::Any);
        op.key = ObjectKey::new(pods, namespace, name);
        state.apply(&txn(vec![op]), Revision(at)).unwrap();
    }
    let names = |page: Page| {
        let names: Vec<_> = page.records.iter().map(|r| format!("{}/{}", r.key.namespace, r.key.name)).collect();
        (names.join(" "), page.remaining)
    };
    let list = |namespace, after: Option<&ObjectKey>, limit| {
        names(state.list(&Scope::resource(pods, namespace), None, after, limit).unwrap())
    };
    let after = ObjectKey::new(pods, "b", "x");
    assert_eq!(list(None, None, 0), ("a/x b/x b/y b/z c/x".into(), 0));
    assert_eq!(list(Some("b"), None, 2), ("b/x b/y".into(), 1));
    assert_eq!(list(Some("b"), Some(&after), 1), ("b/y".into(), 1));
    assert_eq!(list(None, Some(&after), 2), ("b/y b/z".into(), 1));
    assert_eq!(names(state.list(&Scope::resource(ResourceId::new("apps", "pods"), None), None, None, 0).unwrap()).1, 0);
}

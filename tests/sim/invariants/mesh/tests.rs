//! Each invariant holds of a good history and fails on one that breaks it: hand-made ones.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{ALL, DECLARES_WITHIN};
use crate::mesh::member::Life as Liveness;
use crate::model::{NodeId, Timestamp};
use crate::sim::mesh::history::{
    Call, Ending, Execution, History, Join, Kind, Life, Opened, Outcome, Seen, Shown, Sight, Span, Trouble, Watched,
    Who,
};
use crate::sim::mesh::time::At;

fn at(seconds: u64) -> At {
    Duration::from_secs(seconds)
}

fn node(slot: usize) -> NodeId {
    NodeId(format!("n{slot}").into())
}

fn who(slot: usize) -> Who {
    Who { node: node(slot), generation: 1 }
}

fn seen(life: Liveness, generation: u64, incarnation: u64) -> Seen {
    Seen { generation, incarnation, life, version: 1 }
}

/// Three nodes that ran for 200 s and have talked.
fn good() -> History {
    let mut history = History::default();
    for slot in 0..3 {
        let life = Life { who: who(slot), slot, cluster: 0, span: Span::open(at(0)), ending: None };
        history.lives.push(life);
        history.exports.push((who(slot), "counter".into(), Span::open(at(0))));
        history.end.up.insert(node(slot), (1, 1));
        let view: BTreeMap<NodeId, Seen> = (0..3).map(|member| (node(member), seen(Liveness::Alive, 1, 0))).collect();
        history.end.views.insert(node(slot), view);
    }
    let call = Call {
        kind: Kind::Increment,
        from: who(0),
        to: node(1),
        asked: at(150),
        deadline: at(1),
        ended: Some((at(150), Outcome::Answered(1, who(1)))),
    };
    history.calls.insert(1, call);
    history.executions.push(Execution { call: 1, on: who(1), at: at(150) });
    history.watches.push(Watched {
        from: who(0),
        node: node(1),
        actor: "counter".into(),
        began: at(10),
        ended: Vec::new(),
    });
    history.end.healed = at(100);
    history.end.at = at(200);
    history
}

fn breaches(history: &History) -> Vec<&'static str> {
    ALL.iter().filter(|one| (one.check)(history).is_err()).map(|one| one.id.split(' ').next().unwrap()).collect()
}

fn broken(change: impl FnOnce(&mut History)) -> Vec<&'static str> {
    let mut history = good();
    change(&mut history);
    breaches(&history)
}

fn sight(by: usize, member: usize, seconds: u64, seen: Seen) -> Sight {
    Sight { at: at(seconds), by: who(by), member: node(member), seen: Some(seen) }
}

fn shown() -> Shown {
    Shown {
        slot: 0,
        node: node(0),
        cluster: 0,
        not_after: Timestamp(1_000),
        to_cluster: 0,
        clock: Timestamp(900),
        known_revoked: false,
    }
}

fn join(key: u64) -> Join {
    Join {
        at: at(5),
        token: 1,
        uses: 1,
        expires: Timestamp(1_000),
        clock: Timestamp(900),
        genuine: true,
        node: node(2),
        key,
        granted: true,
    }
}

fn end_life(history: &mut History, slot: usize, seconds: u64) {
    history.lives[slot].span.to = Some(at(seconds));
    history.lives[slot].ending = Some(Ending::Crashed);
    history.exports[slot].2.to = Some(at(seconds));
}

#[test]
fn a_good_history_breaks_nothing() {
    assert_eq!(breaches(&good()), Vec::<&str>::new());
}

#[test]
fn a_call_that_is_carried_out_twice_is_found() {
    assert_eq!(
        broken(|history| history.executions.push(Execution { call: 1, on: who(2), at: at(151) })),
        ["INV-M1", "INV-M3"]
    );
}

#[test]
fn an_answer_to_another_call_is_found() {
    let wrong = |history: &mut History| {
        history.calls.get_mut(&1).unwrap().ended = Some((at(150), Outcome::Answered(7, who(1))));
    };
    assert_eq!(broken(wrong), ["INV-M2"]);
}

#[test]
fn an_outcome_that_is_not_true_is_found() {
    let set = |outcome: Outcome| {
        move |history: &mut History| {
            history.calls.get_mut(&1).unwrap().asked = at(50);
            history.calls.get_mut(&1).unwrap().ended = Some((at(50), outcome));
        }
    };
    assert_eq!(broken(set(Outcome::Unreachable)), ["INV-M3"]);
    assert_eq!(broken(set(Outcome::Shed)), ["INV-M3"]);
    assert_eq!(broken(set(Outcome::Lost)), Vec::<&str>::new());
    assert_eq!(broken(|history| history.executions.clear()), ["INV-M3"]);
}

#[test]
fn a_call_that_does_not_end_is_found_unless_its_caller_is_gone_or_stopped() {
    let open = |history: &mut History| {
        history.calls.get_mut(&1).unwrap().ended = None;
    };
    assert_eq!(broken(open), ["INV-M4"]);
    let stopped = |history: &mut History| {
        open(history);
        history.troubles.push((0, Trouble::Stopped, Span { from: at(150), to: Some(at(199)) }));
    };
    assert_eq!(broken(stopped), Vec::<&str>::new());
    let late = |history: &mut History| {
        history.calls.get_mut(&1).unwrap().ended = Some((at(160), Outcome::Timeout));
        history.end.healed = at(140);
    };
    assert_eq!(broken(late), ["INV-M4"]);
}

#[test]
fn a_watch_that_does_not_end_with_its_node_or_ends_twice_is_found() {
    let silent = |history: &mut History| {
        end_life(history, 1, 50);
        history.end.up.remove(&node(1));
        history.end.views.remove(&node(1));
        history.end.views.values_mut().for_each(|view| {
            view.remove(&node(1));
        });
        history.sights.push(sight(0, 1, 52, seen(Liveness::Dead, 1, 0)));
        history.sights.push(sight(2, 1, 52, seen(Liveness::Dead, 1, 0)));
        history.calls.clear();
    };
    assert_eq!(broken(silent), ["INV-M5"]);
    let told = |history: &mut History| {
        silent(history);
        history.watches[0].ended.push((at(52), true));
    };
    assert_eq!(broken(told), Vec::<&str>::new());
    assert!(broken(|history| history.watches[0].ended = vec![(at(1), true), (at(2), true)]).contains(&"INV-M5"));
}

#[test]
fn a_watch_of_a_withdrawn_actor_must_end() {
    let withdrawn = |history: &mut History| history.exports[1].2.to = Some(at(60));
    assert_eq!(broken(withdrawn), ["INV-M5"]);
}

#[test]
fn a_watch_that_ends_for_nothing_is_found_unless_the_node_was_out_of_reach() {
    let cries = |history: &mut History| history.watches[0].ended.push((at(60), true));
    assert_eq!(broken(cries), ["INV-M6"]);
    let cut = |history: &mut History| {
        cries(history);
        history.cuts.push(((1, 0), Span { from: at(50), to: Some(at(61)) }));
    };
    assert_eq!(broken(cut), Vec::<&str>::new());
}

#[test]
fn bad_certificates_are_found() {
    let with = |shown_first: Shown| {
        move |history: &mut History| history.opened.push(Opened { at: at(9), shown: [shown_first, shown()] })
    };
    assert_eq!(broken(with(shown())), Vec::<&str>::new());
    assert_eq!(broken(with(Shown { clock: Timestamp(2_000_000), ..shown() })), ["INV-M7"]);
    assert_eq!(broken(with(Shown { known_revoked: true, ..shown() })), ["INV-M7"]);
    assert_eq!(broken(with(Shown { cluster: 1, ..shown() })), ["INV-M9"]);
}

#[test]
fn bad_joins_are_found() {
    assert_eq!(broken(|history| history.joins.push(join(1))), Vec::<&str>::new());
    assert_eq!(broken(|history| history.joins.extend([join(1), join(1)])), ["INV-M8"]);
    assert_eq!(broken(|history| history.joins.extend([join(1), join(2)])), ["INV-M8"]);
    assert_eq!(broken(|history| history.joins.push(Join { genuine: false, ..join(1) })), ["INV-M8"]);
    assert_eq!(broken(|history| history.joins.push(Join { clock: Timestamp(2_000), ..join(1) })), ["INV-M8"]);
}

#[test]
fn a_certificate_for_another_name_is_found() {
    assert_eq!(broken(|history| history.signed.push((at(9), node(1), false))), Vec::<&str>::new());
    assert_eq!(broken(|history| history.signed.push((at(9), node(1), true))), ["INV-M16"]);
}

#[test]
fn a_member_of_another_cluster_in_a_view_is_found() {
    let mixed = |history: &mut History| {
        history.lives[2].cluster = 1;
        history.end.views.clear();
        history.end.up.clear();
        history.calls.clear();
        history.sights.push(sight(0, 2, 5, seen(Liveness::Alive, 1, 0)));
    };
    assert_eq!(broken(mixed), ["INV-M9"]);
}

#[test]
fn a_tombstone_that_revives_is_found_and_a_refuted_death_is_not() {
    let after = |first: Seen, second: Seen| {
        move |history: &mut History| {
            history.cuts.push(((0, 1), Span { from: at(10), to: Some(at(40)) }));
            history.sights.extend([sight(0, 1, 20, first), sight(0, 1, 30, second)]);
        }
    };
    let dead = seen(Liveness::Dead, 1, 3);
    assert_eq!(broken(after(dead, seen(Liveness::Alive, 1, 3))), ["INV-M10"]);
    assert_eq!(broken(after(dead, seen(Liveness::Alive, 1, 4))), Vec::<&str>::new());
    assert_eq!(broken(after(seen(Liveness::Alive, 2, 0), seen(Liveness::Alive, 1, 9))), ["INV-M10"]);
    assert_eq!(broken(after(seen(Liveness::Left, 1, 0), seen(Liveness::Alive, 1, 9))), ["INV-M10"]);
}

#[test]
fn a_live_node_that_is_declared_dead_is_found_unless_it_was_hindered() {
    let declared = |history: &mut History| history.sights.push(sight(0, 1, 60, seen(Liveness::Dead, 1, 0)));
    assert_eq!(broken(declared), ["INV-M11"]);
    let stopped = |history: &mut History| {
        declared(history);
        history.troubles.push((1, Trouble::Stopped, Span { from: at(50), to: Some(at(58)) }));
    };
    assert_eq!(broken(stopped), Vec::<&str>::new());
    let harsh = |history: &mut History| {
        declared(history);
        history.harsh.push(Span { from: at(50), to: Some(at(58)) });
    };
    assert_eq!(broken(harsh), Vec::<&str>::new());
}

#[test]
fn a_dead_node_that_nobody_declares_is_found() {
    let dead = |history: &mut History| {
        history.sights.push(sight(0, 1, 1, seen(Liveness::Alive, 1, 0)));
        end_life(history, 1, 50);
        history.calls.clear();
        history.watches.clear();
        history.end.up.remove(&node(1));
        history.end.views.values_mut().for_each(|view| {
            view.remove(&node(1));
        });
    };
    assert_eq!(broken(dead), ["INV-M12"]);
    let declared = |history: &mut History| {
        dead(history);
        history.sights.push(sight(0, 1, 50 + DECLARES_WITHIN.as_secs(), seen(Liveness::Dead, 1, 0)));
    };
    assert_eq!(broken(declared), Vec::<&str>::new());
}

#[test]
fn views_that_differ_at_the_end_are_found() {
    let blind = |history: &mut History| {
        history.end.views.get_mut(&node(0)).unwrap().remove(&node(1));
    };
    assert_eq!(broken(blind), ["INV-M13"]);
    let stale = |history: &mut History| history.end.up.get_mut(&node(1)).unwrap().1 = 2;
    assert_eq!(broken(stale), ["INV-M13"]);
    let suspected = |history: &mut History| {
        history.end.views.get_mut(&node(0)).unwrap().get_mut(&node(1)).unwrap().life = Liveness::Suspect;
    };
    assert_eq!(broken(suspected), ["INV-M13"]);
    let revoked = |history: &mut History| {
        history.revoked.insert(node(1), at(20));
        history.end.views.values_mut().for_each(|view| {
            view.remove(&node(1));
        });
    };
    assert_eq!(broken(revoked), Vec::<&str>::new());
}

#[test]
fn two_connections_that_last_are_found() {
    assert_eq!(broken(|history| history.doubled.extend([((0, 1), 2); 9])), ["INV-M14"]);
    assert_eq!(broken(|history| history.doubled.extend([((0, 1), 2); 2])), Vec::<&str>::new());
}

#[test]
fn a_call_without_an_answer_after_healing_is_found() {
    let lost = |history: &mut History| {
        history.calls.get_mut(&1).unwrap().ended = Some((at(150), Outcome::Lost));
    };
    assert_eq!(broken(lost), ["INV-M15"]);
}

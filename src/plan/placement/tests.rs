//! Where control actors go: spread, moved, wished, failing.

use super::*;

const ACTORS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fn homes(well: &[&str], ill: &[&str]) -> Vec<Home> {
    let home = |node: &&str, well| Home { node: (*node).into(), well, leads: false };
    well.iter().map(|node| home(node, true)).chain(ill.iter().map(|node| home(node, false))).collect()
}

fn carry_out(placed: &mut BTreeMap<String, Placed>, moves: &[Move]) {
    for step in moves {
        let wish = placed.get(&step.actor).and_then(|placed| placed.wish.clone());
        let before = placed.get(&step.actor).map_or(0, |placed| placed.epoch.0);
        assert_eq!(step.epoch.0, before + 1, "epochs grow by one");
        let next = Placed { node: step.to.clone(), epoch: step.epoch, wish, crashes: 0, revision: Revision(1) };
        placed.insert(step.actor.clone(), next);
    }
}

fn settle(placed: &mut BTreeMap<String, Placed>, homes: &[Home]) -> BTreeMap<String, usize> {
    for _ in 0..64 {
        let moves = next(&ACTORS.into(), placed, homes);
        if moves.is_empty() {
            let mut loads = BTreeMap::new();
            placed.values().for_each(|placed| *loads.entry(placed.node.clone()).or_default() += 1);
            return loads;
        }
        carry_out(placed, &moves);
    }
    panic!("the moves do not end: {placed:?}");
}

fn loads<const N: usize>(expected: [(&str, usize); N]) -> BTreeMap<String, usize> {
    expected.into_iter().map(|(node, load)| (node.to_owned(), load)).collect()
}

#[test]
fn actors_are_spread_over_the_homes_and_follow_them() {
    let mut placed = BTreeMap::new();
    assert_eq!(settle(&mut placed, &homes(&["n1"], &[])), loads([("n1", 6)]));
    assert_eq!(settle(&mut placed, &homes(&["n1", "n2", "n3"], &[])), loads([("n1", 2), ("n2", 2), ("n3", 2)]));
    let before = placed.clone();
    assert_eq!(settle(&mut placed, &homes(&["n1", "n3"], &["n2"])), loads([("n1", 3), ("n3", 3)]));
    let moved = placed.iter().filter(|(actor, now)| before[*actor].node != now.node).count();
    assert_eq!(moved, 2, "only those of the dead node move");
    assert!(next(&ACTORS.into(), &placed, &homes(&[], &["n1", "n3"])).is_empty(), "nowhere to go");
}

#[test]
fn a_wish_is_kept_while_its_node_lives() {
    let mut placed = BTreeMap::new();
    let three = homes(&["n1", "n2", "n3"], &[]);
    settle(&mut placed, &three);
    for actor in ["a", "b", "c", "d"] {
        placed.get_mut(actor).unwrap().wish = Some("n2".into());
    }
    settle(&mut placed, &three);
    assert!(["a", "b", "c", "d"].iter().all(|actor| placed[*actor].node == "n2"), "{placed:?}");
    settle(&mut placed, &homes(&["n1", "n3"], &["n2"]));
    assert!(placed.values().all(|placed| placed.node != "n2"));
    settle(&mut placed, &three);
    assert_eq!(placed["a"].node, "n2", "it goes back");
}

#[test]
fn an_actor_that_keeps_failing_is_moved_where_there_is_another_home() {
    let mut placed = BTreeMap::new();
    settle(&mut placed, &homes(&["n1", "n2"], &[]));
    let was = placed["a"].node.clone();
    placed.get_mut("a").unwrap().crashes = MAX_CRASHES;
    let moves = next(&ACTORS.into(), &placed, &homes(&["n1", "n2"], &[]));
    assert_eq!(moves.len(), 1);
    assert_ne!(moves[0].to, was);
    assert!(next(&ACTORS.into(), &placed, &homes(&[was.as_str()], &[])).iter().all(|step| step.actor != "a"));
}

#[test]
fn some_follow_the_leader_and_count_for_nobody() {
    let mut placed = BTreeMap::new();
    let mut three = homes(&["n1", "n2", "n3"], &[]);
    three[1].leads = true;
    settle(&mut placed, &three);
    assert!(WITH_LEADER.iter().all(|actor| placed[*actor].node == "n2"), "{placed:?}");
    let others = |placed: &BTreeMap<String, Placed>, node: &str| {
        placed.iter().filter(|(actor, place)| !WITH_LEADER.contains(&actor.as_str()) && place.node == node).count()
    };
    assert_eq!(["n1", "n2", "n3"].map(|node| others(&placed, node)), [2, 2, 2]);
    (three[1].leads, three[2].leads) = (false, true);
    let moves = next(&ACTORS.into(), &placed, &three);
    assert_eq!(
        moves.iter().map(|step| (&*step.actor, &*step.to)).collect::<Vec<_>>(),
        [(ISSUER, "n3"), (PLACEMENT, "n3")]
    );
}

#[test]
fn a_lease_says_where_an_actor_is() {
    let step = Move { actor: "a".into(), to: "n2".into(), epoch: Epoch(7) };
    let Command::Create { body, .. } = command(&step, None, Timestamp(1_700_000_000_000_000)) else { panic!() };
    let object = Object::new(key("a"), Revision(9), serde_json::to_vec(&body).unwrap().into()).unwrap();
    let mut snapshot = Snapshot::default();
    snapshot.put(std::sync::Arc::new(object));
    let placed = read(&snapshot).unwrap();
    let expected = Placed { node: "n2".into(), epoch: Epoch(7), wish: None, crashes: 0, revision: Revision(9) };
    assert_eq!(placed, BTreeMap::from([("a".to_owned(), expected.clone())]));
    let Command::Update { revision, .. } = command(&step, Some(&expected), Timestamp(0)) else { panic!() };
    assert_eq!(revision, Revision(9));
}

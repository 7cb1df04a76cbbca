//! Who votes: the steps from many states, taken to their end.

use super::*;

const TERMS: Terms = Terms { voters_max: 5, replace_after: Duration::from_secs(30) };
const LONG: Health = Health::Silent(Duration::from_secs(31));
const SHORT: Health = Health::Silent(Duration::from_secs(29));

/// `n` nodes of which the first `votes` vote and the first leads.
fn cluster(n: u64, votes: u64) -> Vec<Replica> {
    let replica = |id| Replica {
        id,
        node: format!("n{id}"),
        zone: String::new(),
        votes: id <= votes,
        leads: id == 1,
        entrusted: id <= votes,
        lag: 0,
        health: Health::Well,
    };
    (1..=n).map(replica).collect()
}

fn apply(replicas: &mut [Replica], step: &Step) {
    for replica in replicas.iter_mut() {
        match step {
            Step::Entrust(id) => replica.entrusted |= replica.id == *id,
            Step::Vote(voters) => replica.votes = voters.contains(&replica.id),
            Step::HandOver(id) => replica.leads = replica.id == *id,
        }
    }
}

/// Takes every step, checking what must be true of each; the voters at the end.
fn settle(replicas: &mut [Replica], terms: &Terms) -> Vec<u64> {
    for _ in 0..64 {
        let Some(step) = next(replicas, terms) else {
            return replicas.iter().filter(|one| one.votes).map(|one| one.id).collect();
        };
        let had_keys = replicas.iter().all(|one| !one.votes || one.entrusted);
        apply(replicas, &step);
        assert!(replicas.iter().any(|one| one.votes && one.leads), "the leader votes: {step:?} {replicas:?}");
        assert!(!had_keys || replicas.iter().all(|one| !one.votes || one.entrusted), "a voter without the key");
        let leaves = replicas.iter().any(|one| one.leads && one.health == Health::Leaving);
        let odd = replicas.iter().filter(|one| one.votes).count() % 2 == 1;
        assert!(odd || leaves || !matches!(step, Step::Vote(_)), "{step:?}: {replicas:?}");
    }
    panic!("the steps do not end: {replicas:?}");
}

#[test]
fn the_number_of_voters_follows_the_number_of_nodes() {
    let voters = |n| settle(&mut cluster(n, 1), &TERMS).len();
    assert_eq!([1, 2, 3, 4, 6, 7, 50].map(voters), [1, 1, 3, 3, 3, 5, 5]);
    let three = Terms { voters_max: 3, ..TERMS };
    assert_eq!(settle(&mut cluster(9, 1), &three).len(), 3);
    assert_eq!(settle(&mut cluster(2, 2), &TERMS), [1]);
    assert_eq!(settle(&mut cluster(5, 5), &TERMS).len(), 3);
}

#[test]
fn a_dead_voter_is_replaced_after_a_while_and_only_where_another_is_there() {
    let mut four = cluster(4, 3);
    four[1].health = SHORT;
    assert_eq!(next(&four, &TERMS), None);
    four[1].health = LONG;
    assert_eq!(next(&four, &TERMS), Some(Step::Entrust(4)));
    apply(&mut four, &Step::Entrust(4));
    assert_eq!(next(&four, &TERMS), Some(Step::Vote([1, 3, 4].into())), "both change in one step");
    assert_eq!(settle(&mut four, &TERMS), [1, 3, 4]);
    let mut three = cluster(3, 3);
    three[2].health = LONG;
    assert_eq!(settle(&mut three, &TERMS), [1, 2, 3], "it may come back");
}

#[test]
fn a_learner_that_lags_or_does_not_answer_is_not_promoted() {
    let mut three = cluster(3, 1);
    three[1].lag = MAX_LAG + 1;
    three[2].health = SHORT;
    assert_eq!(next(&three, &TERMS), None);
    three[1].lag = MAX_LAG;
    assert_eq!(next(&three, &TERMS), None, "two voters bear no death more than one");
    three[2].health = Health::Well;
    assert_eq!(settle(&mut three, &TERMS), [1, 2, 3]);
}

#[test]
fn a_leader_that_leaves_hands_over_first() {
    let mut four = cluster(4, 3);
    four[0].health = Health::Leaving;
    assert_eq!(settle(&mut four, &TERMS), [2, 3, 4]);
    let mut two = cluster(2, 1);
    two[0].health = Health::Leaving;
    assert_eq!(settle(&mut two, &TERMS), [2]);
}

#[test]
fn voters_are_spread_over_zones() {
    let mut six = cluster(6, 1);
    for (replica, zone) in six.iter_mut().zip(["a", "a", "a", "b", "b", "c"]) {
        replica.zone = zone.into();
    }
    assert_eq!(settle(&mut six, &TERMS), [1, 4, 6]);
    let mut crowded = six.clone();
    for replica in &mut crowded {
        (replica.votes, replica.entrusted) = (replica.id <= 3, replica.id <= 3);
    }
    let voters = settle(&mut crowded, &TERMS);
    assert_eq!(voters.len(), 3);
    assert!(voters.contains(&4) && voters.contains(&6), "{voters:?}");
}

/// Whatever happens to the nodes, steps end, keep the leader and never make a majority of the dead.
#[test]
fn from_every_state_the_steps_end() {
    let healths = [Health::Well, SHORT, LONG, Health::Leaving];
    for n in 1..=6_u64 {
        for state in 0..3_000_u64 {
            let mut rest = state.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7;
            let mut draw = |below: u64| {
                let drawn = rest % below;
                rest /= below;
                drawn
            };
            let mut replicas = cluster(n, n);
            for replica in &mut replicas {
                replica.votes = replica.leads || draw(2) == 0;
                replica.entrusted = replica.votes || draw(2) == 0;
                replica.health = healths[usize::try_from(draw(4)).unwrap()];
                if replica.leads && matches!(replica.health, Health::Silent(_)) {
                    replica.health = Health::Well;
                }
                replica.zone = ["", "a", "b"][usize::try_from(draw(3)).unwrap()].into();
            }
            settle(&mut replicas, &TERMS);
        }
    }
}

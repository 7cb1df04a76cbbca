//! Small clusters: what must hold, under random faults and under chosen ones.

use std::time::Duration;

use super::measure;
use super::world::{Weather, World, name};
use crate::mesh::member::Life;
use crate::mesh::membership::Settings;

fn joined(nodes: usize, weather: Weather) -> World {
    let mut world = World::new(7, Settings::default(), weather);
    for node in 0..nodes {
        world.place();
        world.start(node, &[], if node == 0 { &[] } else { &[0] });
    }
    world.run_for(Duration::from_secs(3));
    world
}

fn lives(world: &World, by: usize) -> Vec<Life> {
    world.view(by).expect("it runs").members.values().map(|member| member.life).collect()
}

#[test]
fn random_faults_break_no_invariant() {
    let seeds: u64 = std::env::var("GOSSIP_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(40);
    let broken: Vec<_> = (0..seeds).filter_map(|seed| super::run(seed).err()).collect();
    let text: String = broken.iter().take(12).map(|violation| format!("{violation}\n")).collect();
    assert!(broken.is_empty(), "{} of {seeds}\n{text}", broken.len());
}

#[test]
fn a_newcomer_knows_everybody_and_what_they_tell_within_a_second() {
    let mut world = joined(40, Weather::default());
    let newcomer = world.place();
    world.start(newcomer, &[], &[5]);
    world.run_for(Duration::from_secs(1));
    let view = world.view(newcomer).expect("it runs");
    assert_eq!(view.members.len(), 41);
    assert!(view.members.values().all(|member| member.meta.version == 1 && member.life == Life::Alive));
    for node in 0..40 {
        assert!(world.view(node).expect("it runs").members.contains_key(&name(newcomer)));
    }
}

#[test]
fn a_seed_that_answers_late_is_asked_again() {
    let mut world = World::new(1, Settings::default(), Weather { loss: 0.3, ..Weather::default() });
    for _ in 0..2 {
        world.place();
    }
    world.start(1, &[], &[0]);
    world.run_for(Duration::from_secs(20));
    world.start(0, &[], &[]);
    world.run_for(Duration::from_secs(15));
    assert_eq!(lives(&world, 1), [Life::Alive; 2]);
}

#[test]
fn a_node_that_leaves_is_gone_at_once_and_not_dead() {
    let mut world = joined(5, Weather::default());
    world.with(3, |core, now| core.leave(now));
    world.kill(3);
    world.run_for(Duration::from_millis(200));
    for by in [0, 1, 2, 4] {
        assert_eq!(lives(&world, by)[3], Life::Left, "seen by {by}");
    }
    world.start(3, &[], &[0]);
    world.run_for(Duration::from_secs(1));
    assert_eq!(lives(&world, 1)[3], Life::Alive);
}

#[test]
fn a_stopped_node_declares_nobody_dead_and_comes_back_by_itself() {
    for seed in 0..20 {
        let mut world = joined(5, Weather { jitter: Duration::from_millis(seed), ..Weather::default() });
        world.run_for(Duration::from_millis(37 * seed));
        world.pause(2, Duration::from_secs(10));
        world.run_for(Duration::from_secs(9));
        assert_eq!(lives(&world, 0)[2], Life::Dead);
        world.run_for(Duration::from_secs(3));
        for by in 0..5 {
            assert_eq!(lives(&world, by), [Life::Alive; 5], "seen by {by}");
        }
        let counts = world.places[2].core.as_ref().expect("it runs").counts();
        assert_eq!(counts.declared, 0);
        assert!(counts.late >= 1);
    }
}

#[test]
fn two_that_are_cut_but_reach_a_third_stay_alive() {
    let mut world = joined(3, Weather::default());
    world.cuts.extend([(0, 1), (1, 0)]);
    world.run_for(Duration::from_mins(2));
    world.cuts.clear();
    world.cuts.insert((2, 1));
    world.run_for(Duration::from_mins(2));
    for by in 0..3 {
        assert!(world.places[by].core.as_ref().expect("it runs").counts().declared == 0);
    }
}

#[test]
fn halves_that_hold_each_other_for_dead_merge_once_the_cut_heals() {
    let mut world = joined(6, Weather::default());
    for (a, b) in (0..3).flat_map(|a| (3..6).map(move |b| (a, b))) {
        world.cuts.extend([(a, b), (b, a)]);
    }
    world.run_for(Duration::from_secs(40));
    assert_eq!(lives(&world, 0)[3..], [Life::Dead; 3]);
    world.cuts.clear();
    world.run_for(Duration::from_secs(5));
    for by in 0..6 {
        assert_eq!(lives(&world, by), [Life::Alive; 6], "seen by {by}");
    }
}

#[test]
fn one_of_five_that_is_cut_off_does_not_declare_the_rest() {
    let mut world = joined(5, Weather::default());
    for other in 1..5 {
        world.cuts.extend([(0, other), (other, 0)]);
    }
    world.run_for(Duration::from_secs(8));
    assert_eq!(lives(&world, 0)[1..], [Life::Suspect; 4]);
    assert_eq!(lives(&world, 1)[0], Life::Dead);
}

#[test]
fn one_of_nine_that_was_cut_off_for_long_has_nobody_declared_dead_when_it_is_back() {
    for seed in 0..10 {
        let mut world = joined(9, Weather { jitter: Duration::from_millis(seed), ..Weather::default() });
        world.run_for(Duration::from_millis(61 * seed));
        for other in 1..9 {
            world.cuts.extend([(0, other), (other, 0)]);
        }
        // Its health is at its worst by then, which puts its judgement off.
        world.run_for(Duration::from_secs(40));
        assert_eq!(lives(&world, 0)[1..], [Life::Dead; 8]);
        world.cuts.clear();
        for _ in 0..2_000 {
            world.run_for(Duration::from_millis(5));
            for by in 1..9 {
                assert!(!lives(&world, by)[1..].contains(&Life::Dead), "seed {seed}, seen by {by}");
            }
        }
        for by in 0..9 {
            assert_eq!(lives(&world, by), [Life::Alive; 9], "seed {seed}, seen by {by}");
        }
    }
}

#[test]
fn two_whose_others_have_really_died_say_so_to_a_newcomer() {
    let mut world = joined(5, Weather::default());
    for node in 2..5 {
        world.kill(node);
    }
    world.run_for(Duration::from_secs(40));
    assert_eq!(lives(&world, 0)[2..], [Life::Dead; 3]);
    let newcomer = world.place();
    world.start(newcomer, &[], &[0]);
    world.run_for(Duration::from_secs(5));
    for by in [0, 1, newcomer] {
        let view = world.view(by).expect("it runs");
        let living: Vec<_> = view.reachable().map(|member| member.node.clone()).collect();
        assert_eq!(living, [name(0), name(1), name(newcomer)], "seen by {by}");
    }
}

#[test]
fn figures_of_a_small_cluster_are_within_their_bounds() {
    let mut world = measure::acquainted(30, 1, Weather::default());
    let (mean, most) = measure::background(&mut world, Duration::from_secs(10));
    assert!(mean < 3_000.0 && most < 10_000.0, "{mean} {most}");
    let mut times: Vec<_> = (0..5).flat_map(|_| measure::detection(&mut world)).collect();
    times.sort();
    assert!(measure::quantile(&times, 0.99) < Duration::from_millis(2_500), "{times:?}");
    world.weather.loss = 0.25;
    assert!(measure::spread(&mut world, 0.9999).is_some_and(|time| time < Duration::from_millis(1_500)));
    assert_eq!(measure::lives(30, Duration::from_mins(10), 0.2, 1).deaths, 0);
}

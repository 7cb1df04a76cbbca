//! A run of random faults over a small cluster, then healing.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::Rng;
use rand::seq::IndexedRandom;

use super::Report;
use super::history::{Death, History, Number, Sighting, Standing};
use super::world::{Weather, World, micros, name, number};
use crate::mesh::member::{Life, Meta};
use crate::mesh::membership::{MAX_DATAGRAM, Settings};

/// How long a node must have been well connected and awake for its death to be a false one.
const SOUND_FOR: Duration = Duration::from_secs(4);
/// Longest pause that must not cost a node its life.
const SHORT_PAUSE: Duration = Duration::from_millis(900);
/// Faults of a run.
const FAULTS: usize = 12;

/// What became of a node in truth.
#[derive(Clone, Copy)]
struct Fate {
    life: Life,
    /// Not before then is it sound again: it was started, cut off or paused.
    unsound_until: i64,
    /// Until then it stands still for long, or has just done so. It has no excuse to declare others dead.
    still_until: i64,
}

struct Run {
    world: World,
    history: History,
    fates: Vec<Fate>,
    seen: BTreeMap<(usize, u64, usize), (Number, Life)>,
}

/// Runs the faults of a seed.
pub(super) fn run(seed: u64) -> (History, Report) {
    let mut run = Run::new(seed);
    run.steps(Duration::from_secs(6));
    for _ in 0..FAULTS {
        run.fault();
        let calm = run.world.rng.random_range(200..4_000);
        run.steps(Duration::from_millis(calm));
    }
    run.heal();
    run.steps(Duration::from_secs(30));
    run.end_one();
    run.steps(Duration::from_secs(5));
    run.compare();
    let report = Report { nodes: run.fates.len(), faults: FAULTS, sightings: run.history.sightings.len() };
    (run.history, report)
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut world = World::new(seed, Settings::default(), Weather::default());
        let nodes = world.rng.random_range(3..=9);
        world.weather = Weather {
            loss: world.rng.random_range(0.0..0.15),
            doubled: world.rng.random_range(0.0..0.1),
            delay: Duration::from_micros(world.rng.random_range(50..2_000)),
            jitter: Duration::from_micros(world.rng.random_range(100..10_000)),
        };
        let mut fates = Vec::new();
        for node in 0..nodes {
            world.place();
            world.start(node, &[], if node == 0 { &[] } else { &[0] });
            fates.push(Fate { life: Life::Alive, unsound_until: micros(SOUND_FOR), still_until: 0 });
        }
        Self { world, history: History::default(), fates, seen: BTreeMap::new() }
    }

    fn steps(&mut self, time: Duration) {
        let until = self.world.now + micros(time);
        while self.world.step(until) {
            while let Some(node) = self.world.touched.pop() {
                self.look(node as usize);
            }
        }
    }

    /// Notes what a node sees that it did not see before.
    fn look(&mut self, by: usize) {
        let Some(place) = self.world.places.get_mut(by) else { return };
        place.changed = false;
        let by_start = place.generation;
        let Some(view) = self.world.view(by) else { return };
        for member in view.members.values() {
            let Some(of) = number(&member.node).filter(|of| *of != by) else { continue };
            let seen = ((member.generation, member.incarnation >> 16), member.life);
            if self.seen.insert((by, by_start, of), seen) == Some(seen) {
                continue;
            }
            let awake = self.fates.get(of).is_some_and(|fate| fate.still_until <= self.world.now);
            let sound = self.is_sound(by) && self.is_sound(of) && awake && self.runs(of, member.generation);
            let at = Duration::from_micros(u64::try_from(self.world.now).unwrap_or(0));
            let (number, life) = seen;
            self.history.sightings.push(Sighting { at, by, by_start, of, number, life, sound });
        }
    }

    fn runs(&self, node: usize, generation: u64) -> bool {
        self.world.places.get(node).is_some_and(|place| place.core.is_some() && place.generation == generation)
    }

    fn is_sound(&self, node: usize) -> bool {
        self.fates.get(node).is_some_and(|fate| fate.unsound_until <= self.world.now && fate.life == Life::Alive)
            && self.has_majority(node)
    }

    /// Whether a node exchanges datagrams with a majority of all, itself included, each of which runs.
    fn has_majority(&self, node: usize) -> bool {
        let nodes = self.fates.len();
        let reached = (0..nodes).filter(|other| {
            let lives = self.fates.get(*other).is_some_and(|fate| fate.life == Life::Alive);
            lives && self.is_awake(*other) && (*other == node || self.world.joined(node, *other))
        });
        2 * reached.count() > nodes
    }

    fn is_awake(&self, node: usize) -> bool {
        self.world.places.get(node).is_some_and(|place| place.still_until <= self.world.now)
    }

    fn unsound(&mut self, node: usize, until: i64) {
        let until = until + micros(SOUND_FOR);
        if let Some(fate) = self.fates.get_mut(node) {
            fate.unsound_until = fate.unsound_until.max(until);
        }
    }

    fn fault(&mut self) {
        let now = self.world.now;
        let nodes = self.fates.len();
        let node = self.world.rng.random_range(0..nodes);
        let kind = self.world.rng.random_range(0..9);
        let lives = self.fates.get(node).is_some_and(|fate| fate.life == Life::Alive);
        match kind {
            0 if lives => self.end(node, Life::Dead),
            1 | 2 => self.restart(node),
            3 if lives => {
                let time = Duration::from_millis(self.world.rng.random_range(1..=900)).min(SHORT_PAUSE);
                self.world.pause(node, time);
            }
            4 if lives => {
                self.world.pause(node, Duration::from_secs(10));
                if let Some(fate) = self.fates.get_mut(node) {
                    fate.still_until = now + micros(Duration::from_secs(10)) + micros(SOUND_FOR);
                }
                self.reshuffled();
            }
            5 if lives => self.tell(node),
            6 => self.cut(node),
            7 => self.heal(),
            8 if lives => {
                self.world.with(node, |core, now| core.leave(now));
                self.end(node, Life::Left);
            }
            _ => self.cut_one_way(node),
        }
    }

    fn end(&mut self, node: usize, life: Life) {
        self.world.kill(node);
        if let Some(fate) = self.fates.get_mut(node) {
            fate.life = life;
        }
        self.reshuffled();
    }

    /// Who may reach whom has changed: what was decided before is not held against anybody.
    fn reshuffled(&mut self) {
        let now = self.world.now;
        for node in 0..self.fates.len() {
            if !self.has_majority(node) && self.is_awake(node) {
                self.unsound(node, i64::MAX / 2);
            } else if self.fates.get(node).is_some_and(|fate| fate.unsound_until > i64::MAX / 4) {
                if let Some(fate) = self.fates.get_mut(node) {
                    fate.unsound_until = now + micros(SOUND_FOR) + micros(Duration::from_secs(10));
                }
            }
        }
    }

    fn restart(&mut self, node: usize) {
        self.world.kill(node);
        let seeds: Vec<usize> = (0..self.fates.len()).filter(|other| *other != node).collect();
        self.world.start(node, &[], &seeds);
        if let Some(fate) = self.fates.get_mut(node) {
            fate.life = Life::Alive;
        }
        let now = self.world.now;
        self.unsound(node, now);
        self.reshuffled();
    }

    fn tell(&mut self, node: usize) {
        let zone = format!("zone-{}", self.world.rng.random_range(0..1_000));
        self.world.with(node, |core, now| {
            // Small enough, always.
            let _ = core.tell(now, Meta { zone, ..Meta::default() });
        });
    }

    /// Cuts some off from the rest, or two from each other.
    fn cut(&mut self, node: usize) {
        let nodes = self.fates.len();
        let others: Vec<usize> = (0..nodes).filter(|other| *other != node).collect();
        let size = if self.world.rng.random_bool(0.5) { 1 } else { self.world.rng.random_range(1..=others.len()) };
        let chosen: Vec<usize> = others.choose_multiple(&mut self.world.rng, size).copied().collect();
        for other in chosen {
            self.separate(node, other, true);
        }
        self.reshuffled();
    }

    fn cut_one_way(&mut self, node: usize) {
        let nodes = self.fates.len();
        let other = (node + self.world.rng.random_range(1..nodes)) % nodes;
        self.separate(node, other, false);
        self.reshuffled();
    }

    fn separate(&mut self, from: usize, to: usize, both: bool) {
        let index = |node: usize| u32::try_from(node).unwrap_or(u32::MAX);
        self.world.cuts.insert((index(from), index(to)));
        if both {
            self.world.cuts.insert((index(to), index(from)));
        }
    }

    fn heal(&mut self) {
        self.world.cuts.clear();
        self.reshuffled();
    }

    /// A node ends in calm weather: everybody must see it soon.
    fn end_one(&mut self) {
        let alive: Vec<usize> = (0..self.fates.len())
            .filter(|node| self.fates.get(*node).is_some_and(|it| it.life == Life::Alive))
            .collect();
        let Some(of) = alive.choose(&mut self.world.rng).copied().filter(|_| alive.len() > 2) else { return };
        let start = self.world.now;
        let from = self.history.sightings.len();
        self.end(of, Life::Dead);
        self.steps(Duration::from_secs(6));
        for by in alive.into_iter().filter(|by| *by != of) {
            let seen = self.history.sightings.iter().skip(from);
            let seen = seen.filter(|seen| seen.by == by && seen.of == of && seen.life == Life::Dead).next();
            let seen_after =
                seen.map(|seen| seen.at.saturating_sub(Duration::from_micros(u64::try_from(start).unwrap_or(0))));
            self.history.deaths.push(Death { of, seen_after, by });
        }
    }

    fn compare(&mut self) {
        let alive: Vec<usize> = (0..self.fates.len())
            .filter(|node| self.fates.get(*node).is_some_and(|it| it.life == Life::Alive))
            .collect();
        for by in &alive {
            let Some(view) = self.world.view(*by) else { continue };
            for of in 0..self.fates.len() {
                let Some((fate, place)) = self.fates.get(of).zip(self.world.places.get(of)) else { continue };
                let member = view.members.get(&name(of));
                // Who started since may know nothing of those that were gone before, and nobody may have heard the
                // goodbye, or the last start, of one that was cut off then.
                let is_down = |life| matches!(life, Life::Dead | Life::Left);
                if fate.life != Life::Alive && member.is_none_or(|member| is_down(member.life)) {
                    continue;
                }
                let own = self.world.view(of).and_then(|view| view.members.get(&name(of)).map(|me| me.meta.version));
                let version = member.map_or(0, |member| member.meta.version);
                self.history.end.push(Standing {
                    by: *by,
                    of,
                    seen: member.map(|member| (member.generation, member.life)),
                    version,
                    truth: (place.generation, fate.life),
                    true_version: own.unwrap_or(version),
                });
            }
        }
    }
}

const _: () = assert!(MAX_DATAGRAM <= 1_150, "the bound of the issue");

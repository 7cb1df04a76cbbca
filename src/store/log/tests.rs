//! Tests of the log on a disk that loses power.

use rand::SeedableRng;

use super::*;
use crate::store::log::frame::Place;
use crate::world::disk::sim::{Faults, SimDisk};
use crate::world::entropy::Rng;

const DIR: &str = "/log";
const SEGMENT: u64 = 8 * 1024;

fn open(disk: &SimDisk) -> Result<Log, Error> {
    Log::open(disk.boot(), Path::new(DIR), SEGMENT, 42)
}

fn record(kind: Kind, index: u64, payload: &'static [u8]) -> Record {
    Record { kind, place: Place { index, term: 1, leader: 1 }, payload: Bytes::from_static(payload) }
}

fn entry(index: u64) -> Record {
    let payload = vec![u8::try_from(index % 251).unwrap(); 700].into();
    Record { payload, ..record(Kind::Entry, index, b"") }
}

/// What the caller of the log knows across its lives.
#[derive(Default)]
struct Known {
    /// Entries below it were acknowledged.
    acked: u64,
    /// Entries below it may be purged.
    purged: u64,
}

/// Writes until the power goes or `count` is reached.
fn work(log: &mut Log, known: &mut Known, count: u64) {
    let next = log.index().lock().last().map_or(0, |last| last.index + 1);
    assert!(next >= known.acked, "acknowledged up to {}, found up to {next}", known.acked);
    let mut next = next;
    while next < count {
        let size = 1 + next % 3;
        let unit: Vec<_> = (next..next + size).map(entry).collect();
        if log.append(&unit, next).is_err() {
            return;
        }
        next += size;
        known.acked = next;
        if next % 7 == 0 {
            known.purged = next.saturating_sub(9).max(known.purged).max(1);
            if log.append(&[record(Kind::Purge, known.purged - 1, b"p"), record(Kind::Vote, 0, b"v")], next).is_err() {
                return;
            }
            let _ = log.trim();
        }
    }
}

fn contents(disk: &SimDisk, log: &Log) -> Vec<u64> {
    let index = log.index();
    let index = index.lock();
    let Some((first, last)) = index.first().zip(index.last()) else { return Vec::new() };
    let slots: Vec<_> = (first..=last.index).map(|at| index.slot(at).unwrap()).collect();
    let payloads = read(&*disk.boot(), Path::new(DIR), &slots).unwrap();
    for (slot, payload) in slots.iter().zip(payloads) {
        assert_eq!(payload, entry(slot.place.index).payload);
    }
    slots.iter().map(|slot| slot.place.index).collect()
}

#[test]
fn acknowledged_entries_survive_power_loss_at_every_change() {
    let whole = SimDisk::new(0);
    work(&mut open(&whole).unwrap(), &mut Known::default(), 60);
    for at in 0..whole.changes() {
        for seed in 0..8 {
            let disk = SimDisk::new(seed);
            let mut known = Known::default();
            for life in 0..3 {
                disk.lose_power_after(at / (life + 1));
                match open(&disk) {
                    Ok(mut log) => work(&mut log, &mut known, 60),
                    Err(error) => assert!(disk.is_dead(), "cut at {at}, seed {seed}: {error}"),
                }
                disk.crash(&mut Rng::seed_from_u64(seed * 31 + life));
            }
            let mut log = open(&disk).unwrap_or_else(|error| panic!("cut at {at}, seed {seed}: {error}"));
            let found = contents(&disk, &log);
            assert!(
                (known.purged..known.acked).all(|index| found.contains(&index)),
                "cut at {at}, seed {seed}: {found:?}"
            );
            work(&mut log, &mut known, 70);
            assert_eq!(contents(&disk, &log).last(), Some(&(known.acked - 1)));
        }
    }
}

#[test]
fn damage_is_named_and_nothing_is_changed_while_a_torn_tail_is_cut() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk).unwrap();
    work(&mut log, &mut Known::default(), 6);
    let end = usize::try_from(log.offset).unwrap();
    let path = segment_path(Path::new(DIR), 1);
    for at in [3, HEADER_LEN + 2, HEADER_LEN + 100, end - 2000] {
        disk.flip(&path, at);
        disk.kill();
        let before = disk.changes();
        let Err(Error::Damaged(text)) = open(&disk) else { panic!("damage at {at} was not seen") };
        assert!(text.contains("00000000000000000001.log"), "{text}");
        assert_eq!(disk.changes(), before, "nothing was changed");
        disk.flip(&path, at);
    }
    disk.flip(&path, end - 1);
    disk.kill();
    let cut = contents(&disk, &open(&disk).unwrap());
    assert_eq!(cut, [0, 1, 2, 3], "the last unit did not verify and nothing follows it");
}

#[test]
fn a_failed_sync_poisons_the_log() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk).unwrap();
    log.append(&[entry(0)], 0).unwrap();
    disk.set_faults(Faults { sync_fails: 1.0, ..Faults::default() });
    assert!(log.append(&[entry(1)], 0).is_err());
    disk.set_faults(Faults::default());
    assert!(log.append(&[entry(2)], 0).is_err());
    disk.crash(&mut Rng::seed_from_u64(3));
    assert_eq!(contents(&disk, &open(&disk).unwrap()), [0]);
}

#[test]
fn an_entry_that_has_changed_since_it_was_written_is_not_read_back() {
    let disk = SimDisk::new(3);
    let mut log = open(&disk).unwrap();
    log.append(&[entry(0), entry(1)], 0).unwrap();
    let slots: Vec<_> = (0..2).filter_map(|at| log.index().lock().slot(at)).collect();
    let boot = log.disk.clone();
    assert_eq!(read(&*boot, Path::new(DIR), &slots).unwrap().len(), 2);
    disk.flip(&segment_path(Path::new(DIR), 1), usize::try_from(slots[1].offset).unwrap() + 5);
    assert_eq!(read(&*boot, Path::new(DIR), &slots[..1]).unwrap().len(), 1);
    let error = read(&*boot, Path::new(DIR), &slots).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(error.to_string().contains("entry 1 has changed"), "{error}");
}

//! Tests of the disk that loses power.

use super::*;

fn rng(seed: u64) -> Rng {
    Rng::seed_from_u64(seed)
}

fn read(disk: &Arc<dyn Disk>, path: &Path) -> Option<Vec<u8>> {
    let file = disk.open(path, false).ok()?;
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_at(0, &mut bytes).unwrap();
    Some(bytes)
}

#[test]
fn what_was_synced_survives_every_crash_and_what_was_not_takes_every_shape() {
    let (dir, path) = (Path::new("/d"), Path::new("/d/f"));
    let mut shapes = BTreeSet::new();
    for seed in 0..200 {
        let disk = SimDisk::new(seed);
        let boot = disk.boot();
        boot.create_dir_all(dir).unwrap();
        let mut file = boot.open(path, true).unwrap();
        file.write_at(0, &[1; SECTOR]).unwrap();
        file.sync().unwrap();
        boot.sync_dir(dir).unwrap();
        file.write_at(SECTOR as u64, &[2; 2 * SECTOR]).unwrap();
        let mut lost = boot.open(&dir.join("lost"), true).unwrap();
        lost.sync().unwrap();
        disk.crash(&mut rng(seed));
        assert!(file.write_at(0, &[9]).is_err(), "a dead process cannot write");
        let boot = disk.boot();
        let bytes = read(&boot, path).unwrap();
        assert_eq!(bytes[..SECTOR], [1; SECTOR]);
        let sector = |n: usize| bytes.get(n * SECTOR).copied().unwrap_or(0);
        shapes.insert((sector(1), sector(2), boot.open(&dir.join("lost"), false).is_ok()));
    }
    let all = [(0, 0), (0, 2), (2, 0), (2, 2)];
    let all: BTreeSet<_> = all.into_iter().flat_map(|(a, b)| [(a, b, false), (a, b, true)]).collect();
    assert_eq!(shapes, all);
}

#[test]
fn a_failed_sync_makes_nothing_durable_even_where_a_later_one_succeeds() {
    let (dir, path) = (Path::new("/d"), Path::new("/d/f"));
    let disk = SimDisk::new(1);
    let boot = disk.boot();
    boot.create_dir_all(dir).unwrap();
    let mut file = boot.open(path, true).unwrap();
    boot.sync_dir(dir).unwrap();
    file.write_at(0, b"abc").unwrap();
    disk.set_faults(Faults { sync_fails: 1.0, ..Faults::default() });
    assert!(file.sync().is_err());
    disk.set_faults(Faults::default());
    file.sync().unwrap();
    disk.crash(&mut rng(1));
    assert_eq!(read(&disk.boot(), path).unwrap(), b"");
}

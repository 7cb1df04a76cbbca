//! Files of a store that were changed on disk while their node was off: a voter begins anew with what the others have; who
//! is alone refuses to start, and changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::harness::clients::Clients;
use super::harness::{Machine, PATIENCE, Segment, same, wait_until};

/// States are written early, so that there are some to damage.
const SETTINGS: &str = "default_toleration = \"300s\"\n[store]\nsnapshot_bytes = \"64Ki\"";
/// How soon who cannot be helped ends.
const ENDS: Duration = Duration::from_secs(20);

#[test]
fn a_damaged_voter_begins_anew_under_load_and_nothing_acknowledged_is_lost() {
    let segment = Segment::new();
    let mut machines = ["a", "b", "c"].map(|name| Machine::tuned(&segment, name, "hollow", SETTINGS));
    let [a, b, c] = machines.each_mut();
    a.up(&[]);
    a.wait_ready();
    let token = a.token(&[]);
    for machine in [b, c] {
        machine.join(a, &token);
        machine.wait_ready();
    }
    let all = ["a", "b", "c"].map(str::to_owned);
    wait_until("three vote", PATIENCE, || same(machines[2].voters()?, all.clone().into()));
    let clients = Clients::start(&machines.each_ref());
    // The founder leads.
    for (victim, folder, ending) in [(0, "log", "log"), (2, "state", "image")] {
        let number = raft_id(&machines[1], &machines[victim].name).expect("it is a member");
        let dir = machines[victim].data.join("store").join(folder);
        wait_until("there is a file to damage", PATIENCE, || newest(&dir, ending).map(drop));
        machines[victim].kill_9();
        let damaged = newest(&dir, ending).expect("a file");
        flip(&damaged);
        clients.wait_progress();
        machines[victim].up(&[]);
        machines[victim].wait_ready();
        wait_until("it votes again, under a new number", PATIENCE, || {
            same(machines[1].voters()?, all.clone().into())?;
            let now = raft_id(&machines[1], &machines[victim].name)?;
            if now == number { Err(format!("still {now}")) } else { Ok(()) }
        });
        let (name, said) = (&machines[victim].name, machines[victim].log());
        let file = damaged.file_name().and_then(|name| name.to_str()).expect("a plain name");
        assert!(said.contains("the store is damaged") && said.contains(file), "{said}");
        assert!(said.contains("the store was put aside"), "{said}");
        wait_until("its Node tells", PATIENCE, || {
            let field = format!("--field-selector=reason=ReplicaRebuilt,involvedObject.name={name}");
            let told = machines[1].try_kubectl(&["get", "events", "-A", &field, "-o=jsonpath={.items[*].message}"])?;
            if told.contains(file) { Ok(()) } else { Err(told) }
        });
        clients.wait_progress();
    }
    clients.judge();
}

#[test]
fn the_only_voter_refuses_damage_and_changes_nothing() {
    let segment = Segment::new();
    let mut alone = Machine::tuned(&segment, "alone", "hollow", SETTINGS);
    alone.up(&[]);
    alone.wait_ready();
    alone.kubectl(&["create", "configmap", "kept", "--from-literal=k=v"]);
    let store = alone.data.join("store");
    let pad = format!("--from-literal=k={}", "x".repeat(100_000));
    alone.kubectl(&["create", "configmap", "big", &pad]);
    wait_until("a state is written", PATIENCE, || newest(&store.join("state"), "image").map(drop));
    alone.kill_9();
    for (folder, ending) in [("log", "log"), ("state", "image")] {
        let file = newest(&store.join(folder), ending).expect("a file");
        flip(&file);
        let before = contents(&store);
        let said = alone.refused(&[], ENDS);
        assert!(said.contains("damaged") && said.contains(file.to_str().expect("a plain path")), "{said}");
        assert!(contents(&store) == before, "nothing is overwritten");
        flip(&file);
    }
    alone.up(&[]);
    alone.wait_ready();
    assert_eq!(alone.kubectl(&["get", "configmap", "kept", "-o=jsonpath={.data.k}"]), "v");
}

fn raft_id(api: &Machine, node: &str) -> Result<u64, String> {
    let quorum = api.quorum()?;
    let one = quorum["replicas"].as_array().into_iter().flatten().find(|one| one["node"] == node);
    one.and_then(|one| one["raftId"].as_u64()).ok_or(format!("{node} is no replica: {quorum}"))
}

/// The newest file of a folder, by its name.
fn newest(dir: &Path, ending: &str) -> Result<PathBuf, String> {
    let entries = fs::read_dir(dir).map_err(|error| error.to_string())?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let newest = paths.filter(|path| path.extension().is_some_and(|found| found == ending)).max();
    newest.ok_or(format!("nothing in {}", dir.display()))
}

/// Flips a bit in the middle of what is written in a file; again, and it is as before.
fn flip(path: &Path) {
    let bytes = fs::read(path).expect("the file");
    let written = bytes.iter().rposition(|byte| *byte != 0).expect("something is written");
    let file = fs::File::options().write(true).open(path).expect("the file");
    file.write_all_at(&[bytes[written / 2] ^ 0x10], (written / 2) as u64).expect("it can be changed");
}

/// Every file of a store, but for those that hold nothing.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            let bytes = fs::read(&path).expect("a file");
            found.insert(path, bytes);
        }
    }
    found
}

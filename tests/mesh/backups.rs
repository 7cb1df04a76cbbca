//! Backups of a cluster that is written to, and a cluster brought back to one while it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use shoal::store::backup::{Object, Reader};

use super::harness::clients::Clients;
use super::harness::history::History;
use super::harness::{Machine, PATIENCE, Segment, same, wait_until};
use super::quorum::{available, deployment};

/// Made by the schedule long ago, the third one last.
const OLD: [&str; 3] =
    ["shoal-2024-01-01T00-00-00Z.backup", "shoal-2024-01-02T00-00-00Z.backup", "shoal-2024-01-03T00-00-00Z.backup"];
/// What a leader left that died while it wrote one.
const DRAFT: &str = "shoal-2024-01-04T00-00-00Z.backup.part";

#[test]
fn a_cluster_is_backed_up_under_load_and_brought_back_while_it_runs() {
    let segment = Segment::new();
    let scheduled = segment.dir().join("scheduled");
    fs::create_dir(&scheduled).expect("a directory");
    for name in OLD.iter().chain(&[DRAFT, "notes.txt"]) {
        fs::write(scheduled.join(name), "old").expect("a file");
    }
    let mut machines = three(&segment, &scheduled);
    let made = wait_until("the leader backs up, and forgets the oldest", PATIENCE, || {
        let new = files(&scheduled).into_iter().find(|name| !OLD.contains(&name.as_str()) && name != "notes.txt");
        let new = new.ok_or("nothing new")?;
        same(files(&scheduled), BTreeSet::from([OLD[2].into(), new.clone(), "notes.txt".into()]))?;
        Ok(new)
    });
    assert!(read(&scheduled.join(&made)).0 > 0);

    let [a, b, c] = machines.each_ref();
    let token = b.token(&[]);
    // What runs on a node that is off is not confirmed to have ended.
    a.kubectl(&["cordon", "a"]);
    a.apply(&deployment("web", 2));
    b.kubectl(&["create", "configmap", "kept", "--from-literal=k=before"]);
    wait_until("pods run", PATIENCE, || available(c, "web", 2));
    let clients = Clients::start(&[a, b, c]);
    let file = segment.dir().join("cluster.backup");
    let path = file.to_str().expect("a plain path");
    let told = c.shoal(&["backup", path]);
    assert!(told.contains("objects as of revision"), "{told}");
    assert_eq!(fs::metadata(&file).expect("the file").permissions().mode() & 0o777, 0o600, "Secrets are in it");
    unwritable(c, &segment);
    unusable(c, &file);
    clients.wait_progress();
    is_of_one_revision(&file, &clients.judge());

    b.shoal(&["token", "revoke", token.split('.').nth(2).expect("an id")]);
    let [a, b, c] = machines.each_mut();
    // Another one leads, a day later.
    a.kill_9();
    fs::rename(scheduled.join(&made), scheduled.join(OLD[0])).expect("renamed");
    let before = spoil(b, c);
    c.shoal(&["restore", path]);
    is_back(b, c, &before, path);
    a.up(&[]);
    a.wait_ready();
    wait_until("who was away has it too", PATIENCE, || {
        same(a.try_kubectl(&["get", "configmap", "kept", "-o=jsonpath={.data.k}"])?, "before".into())
    });
    wait_until("the pods run again", PATIENCE, || available(a, "web", 2));
    let next = wait_until("the next leader backs up", PATIENCE, || {
        let mut all = files(&scheduled).into_iter();
        let new = all.find(|name| name.ends_with(".backup") && !OLD.contains(&name.as_str()));
        new.ok_or_else(|| format!("{:?}", files(&scheduled)))
    });
    assert!(read(&scheduled.join(next)).1.contains_key("configmaps/default/shared-1"));
}

/// Three voters that back up to one directory; a leads.
fn three(segment: &Segment, scheduled: &Path) -> [Machine; 3] {
    let settings = format!(
        "default_toleration = \"300s\"\n[backup]\ndirectory = {:?}\nevery = \"24h\"\nkeep = 2",
        scheduled.display()
    );
    let mut a = Machine::tuned(segment, "a", "hollow", &settings);
    a.up(&[]);
    a.wait_ready();
    let token = a.token(&[]);
    let [b, c] = ["b", "c"].map(|name| {
        let mut machine = Machine::tuned(segment, name, "hollow", &settings);
        machine.join(&a, &token);
        machine.wait_ready();
        machine
    });
    let all = ["a", "b", "c"].map(str::to_owned).into();
    wait_until("three vote", PATIENCE, || same(c.voters()?, BTreeSet::clone(&all)));
    [a, b, c]
}

fn files(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).expect("the directory");
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name")).collect()
}

/// All of a sound backup.
fn read(file: &Path) -> (u64, BTreeMap<String, Object>) {
    let mut reader = Reader::open(fs::File::open(file).expect("the file")).expect("a backup");
    let mut objects = BTreeMap::new();
    while let Some(object) = reader.next_object().expect("a sound backup") {
        let key = &object.key;
        objects.insert(format!("{}/{}/{}", key.resource, key.namespace, key.name), object);
    }
    (reader.head().revision, objects)
}

/// Every object that clients wrote is as its last write at the backup's revision or before left it.
fn is_of_one_revision(file: &Path, history: &History) {
    let (revision, objects) = read(file);
    let written = |from, to| history.written.iter().filter(|one| from < one.revision && one.revision <= to).count();
    assert!(written(0, revision) > 0 && written(revision, u64::MAX) > 0, "it was made amid the writes");
    for key in history.operations.keys() {
        let object = objects.get(&format!("configmaps/default/{key}")).expect("every object is in it");
        let object: Value = serde_json::from_slice(&object.value).expect("JSON");
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str).expect("a text").to_owned();
        let is: u64 = text("/metadata/resourceVersion").parse().expect("a revision");
        assert!(is <= revision, "{key} at {is} in a backup of {revision}");
        let last = history.changes.iter().rfind(|change| change.key == *key && change.revision <= revision);
        let last = last.map_or_else(|| "0".to_owned(), |change| change.value.to_string());
        assert_eq!(text("/data/value"), last, "{key} in a backup of {revision}");
    }
}

/// A backup that cannot be written says where, and leaves nothing behind.
fn unwritable(api: &Machine, segment: &Segment) {
    let file = segment.dir().join("notes");
    fs::write(&file, "mine").expect("a file");
    for path in [segment.dir().join("missing/x.backup"), file.join("x.backup"), "/proc/x.backup".into()] {
        let path = path.to_str().expect("a plain path");
        let refused = api.try_shoal(&["backup", path]).expect_err("nothing can be written there");
        assert!(refused.contains(&format!("cannot write {path}")), "{refused}");
    }
    assert_eq!(fs::read_to_string(&file).expect("the file"), "mine");
    let left: Vec<String> = files(segment.dir()).into_iter().filter(|name| name.ends_with(".part")).collect();
    assert_eq!(left, Vec::<String>::new());
}

/// What is no sound backup changes nothing; the clients' history would show it.
fn unusable(api: &Machine, sound: &Path) {
    let bytes = fs::read(sound).expect("the file");
    let bad = sound.with_extension("bad");
    let value = br#""k":"before""#;
    let at = bytes.windows(value.len()).position(|found| found == value).expect("what was written is in it");
    let mut flipped = bytes.clone();
    flipped[at + 5] ^= 1;
    for (content, says) in [
        (&flipped[..], "this is no whole backup: the checksum of an object does not match"),
        (&bytes[..bytes.len() - 1], "this is no whole backup: it ends too early"),
        (&bytes[..bytes.len() / 3], "this is no whole backup: it ends too early"),
        (b"apiVersion: v1\nkind: List\n", "this is no whole backup: it does not begin as one of this release does"),
        (b"", "this is no whole backup: it is too short"),
    ] {
        fs::write(&bad, content).expect("a file");
        let refused = api.try_shoal(&["restore", bad.to_str().expect("a plain path")]).expect_err("it is no backup");
        assert!(refused.contains(says) && refused.contains("cluster.bad"), "{refused}");
    }
    fs::remove_file(&bad).expect("removed");
    let refused = api.try_shoal(&["restore", bad.to_str().expect("a plain path")]).expect_err("it is not there");
    assert!(refused.contains("cluster.bad: No such file"), "{refused}");
}

/// What a restore must not bring back, and where it begins.
struct Before {
    revision: u64,
    uid: String,
    tokens: String,
    nodes: String,
    epochs: BTreeMap<String, u64>,
}

/// Changes everything that was backed up: deletes, changes, creates.
fn spoil(b: &Machine, c: &Machine) -> Before {
    wait_until("writes go on", PATIENCE, || b.try_kubectl(&["label", "--overwrite", "node", "b", "since=backup"]));
    let uid = b.kubectl(&["get", "deployment", "web", "-o=jsonpath={.metadata.uid}"]);
    b.kubectl(&["delete", "deployment", "web"]);
    wait_until("its pods are gone", PATIENCE, || {
        same(b.try_kubectl(&["get", "pods", "-l=app=web", "-o=name"])?, String::new())
    });
    b.kubectl(&["create", "configmap", "late"]);
    b.kubectl(&["delete", "configmap", "shared-0"]);
    b.kubectl(&["patch", "configmap", "kept", "-p", r#"{"data":{"k":"after"}}"#]);
    let list: Value = serde_json::from_str(&b.kubectl(&["get", "--raw", "/api/v1/configmaps"])).expect("a list");
    let revision = list["metadata"]["resourceVersion"].as_str().expect("a revision").parse().expect("a number");
    Before { revision, uid, tokens: c.shoal(&["token", "list"]), nodes: since(c), epochs: epochs(c).expect("leases") }
}

fn since(api: &Machine) -> String {
    api.kubectl(&["get", "node", "b", "-o=jsonpath={.metadata.uid} {.metadata.labels.since}"])
}

fn epochs(api: &Machine) -> Result<BTreeMap<String, u64>, String> {
    let list = api.try_kubectl(&["get", "leases", "-n=kube-system", "-o", "json"])?;
    let list: Value = serde_json::from_str(&list).map_err(|error| error.to_string())?;
    let name = |lease: &Value| lease["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let epoch = |lease: &Value| lease["spec"]["leaseTransitions"].as_u64().unwrap_or_default();
    Ok(list["items"].as_array().ok_or("no list")?.iter().map(|lease| (name(lease), epoch(lease))).collect())
}

fn is_back(b: &Machine, c: &Machine, before: &Before, path: &str) {
    assert_eq!(b.kubectl(&["get", "deployment", "web", "-o=jsonpath={.metadata.uid}"]), before.uid);
    // What must not come back did not.
    assert_eq!((c.shoal(&["token", "list"]), since(c)), (before.tokens.clone(), before.nodes.clone()));
    let now = epochs(c).expect("leases");
    assert!(before.epochs.iter().all(|(actor, epoch)| now[actor] >= *epoch), "{:?}, then {now:?}", before.epochs);
    // A watch from before it, at the other node, tells each change once, at new revisions.
    let changes =
        format!("/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=2&resourceVersion={}", before.revision);
    let told = b.kubectl(&["get", "--raw", &changes]);
    let events = told.lines().map(|line| serde_json::from_str::<Value>(line).expect("an event"));
    let mut seen: Vec<(String, String, u64)> = events
        .map(|event| {
            let text = |pointer| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            let revision = text("/object/metadata/resourceVersion").parse().expect("a revision");
            (text("/type"), text("/object/metadata/name"), revision)
        })
        .collect();
    assert!(seen.iter().all(|(.., revision)| *revision > before.revision), "{seen:?}");
    let names: BTreeSet<&str> = seen.iter().map(|(_, name, _)| name.as_str()).collect();
    assert_eq!(names.len(), seen.len(), "each changed once: {seen:?}");
    seen.sort();
    // The clients wrote the others on after the backup.
    let seen: Vec<(&str, &str)> = seen.iter().map(|(kind, name, _)| (kind.as_str(), name.as_str())).collect();
    let by_clients = |one: &(&str, &str)| one.0 == "MODIFIED" && one.1.starts_with("shared-");
    let (clients, mine): (Vec<(&str, &str)>, Vec<(&str, &str)>) = seen.into_iter().partition(by_clients);
    assert_eq!(mine, vec![("ADDED", "shared-0"), ("DELETED", "late"), ("MODIFIED", "kept")]);
    assert!(!clients.is_empty());
    let again = c.shoal(&["restore", path, "--dry-run"]);
    assert!(again.contains("would have: created 0"), "{again}");
}

//! Leaving for good: nobody talks to a node that left or was removed, whatever it still has.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::harness::{Machine, Segment, holds, wait_until};

/// How long a node's process may take to leave.
const LEAVES: Duration = Duration::from_secs(15);
/// How long a removed node tries to come back.
const TRIES: Duration = Duration::from_secs(8);

#[test]
fn a_node_that_left_is_gone_and_what_it_kept_opens_nothing() {
    let segment = Segment::new();
    let a = Machine::found(&segment, "a", "hollow");
    let token = a.token(&[]);
    let mut b = Machine::joined(&segment, "b", "hollow", &a, &token);
    let mut c = Machine::joined(&segment, "c", "hollow", &a, &token);
    let copy = segment.dir().join("copy");
    c.copy_data(&copy);
    for (certificate, key) in credentials(&copy.join("pki")) {
        assert!(opens(&c, &a, &certificate, &key), "{} is good while c is a member", certificate.display());
    }

    c.leave().unwrap_or_else(|error| panic!("shoal leave: {error}\n{}", c.log()));
    assert!(c.wait_end(LEAVES).success(), "the process ends well:\n{}", c.log());
    for api in [&a, &b] {
        wait_until("it is gone", LEAVES, || is_gone("c", api));
    }
    let said = c.refused(&[], LEAVES);
    assert!(said.contains("has left"), "{said}");

    a_copy_of_its_data_opens_nothing(&a, &mut c, &copy);
    a.shoal(&["leave", "b"]);
    wait_until("the removed one is gone", LEAVES, || is_gone("b", &a));
    holds("it stays gone, though its process may run on", TRIES, || is_gone("b", &a));
    let ghost = a.try_shoal(&["leave", "ghost"]).expect_err("there is no such node");
    assert!(ghost.contains("NotFound"), "{ghost}");
    b.kill_9_if_it_runs();
}

#[test]
fn a_name_that_is_joined_anew_ends_what_was_kept_under_it() {
    let segment = Segment::new();
    let a = Machine::found(&segment, "a", "hollow");
    let token = a.token(&[]);
    let mut b = Machine::joined(&segment, "b", "hollow", &a, &token);
    let copy = segment.dir().join("copy");
    b.copy_data(&copy);
    b.kill_9();
    wait_until("b is known to be dead", LEAVES, || a.sees(&[("a", "alive"), ("b", "dead")]));
    std::fs::remove_dir_all(&b.data).expect("the disk is lost");
    b.join(&a, &token);
    b.wait_ready();
    for (certificate, key) in credentials(&b.data.join("pki")) {
        assert!(opens(&b, &a, &certificate, &key), "{} is b's now", certificate.display());
    }
    for (certificate, key) in credentials(&copy.join("pki")) {
        assert!(!opens(&b, &a, &certificate, &key), "{} is of the former b", certificate.display());
    }
}

fn is_gone(node: &str, api: &Machine) -> Result<(), String> {
    let (members, nodes) = (api.members()?, api.nodes()?);
    if members.contains_key(node) || nodes.iter().any(|one| one == node) {
        return Err(format!("{} sees {members:?} and {nodes:?}", api.name));
    }
    Ok(())
}

fn a_copy_of_its_data_opens_nothing(a: &Machine, c: &mut Machine, copy: &Path) {
    for (certificate, key) in credentials(&copy.join("pki")) {
        assert!(!opens(c, a, &certificate, &key), "{} is still taken", certificate.display());
    }
    let own = std::mem::replace(&mut c.data, copy.to_path_buf());
    c.up(&[]);
    holds("the copy stays out", TRIES, || is_gone("c", a));
    c.kill_9_if_it_runs();
    c.data = own;
}

/// Whether the API of `to` lets in who shows this certificate.
fn opens(from: &Machine, to: &Machine, certificate: &Path, key: &Path) -> bool {
    let mut curl = from.command("curl");
    curl.args(["-sk", "--fail", "--max-time", "5", "--output", "/dev/null", "--cert"]).arg(certificate);
    curl.arg("--key").arg(key).arg(format!("https://{}/api/v1/nodes", to.at()));
    curl.status().expect("curl is installed").success()
}

/// Every certificate that a member was given, with its key, which may stand in the same file.
fn credentials(pki: &Path) -> Vec<(PathBuf, PathBuf)> {
    let pairs = [("node.pem", "node.pem"), ("admin.crt", "admin.key")];
    let paths = pairs.map(|(certificate, key)| (pki.join(certificate), pki.join(key)));
    let found: Vec<_> = paths.into_iter().filter(|(certificate, _)| certificate.exists()).collect();
    assert!(!found.is_empty(), "a member has a certificate in {}", pki.display());
    found
}

#[test]
fn whoever_votes_alone_lets_another_vote_before_it_leaves_and_the_last_one_stays() {
    let segment = Segment::new();
    let mut a = Machine::found(&segment, "a", "hollow");
    let refusal = a.leave().expect_err("it has the only copy that counts");
    assert!(refusal.contains("voter"), "{refusal}");
    let token = a.token(&[]);
    let b = Machine::joined(&segment, "b", "hollow", &a, &token);
    a.shoal(&["status"]);
    b.kubectl(&["create", "configmap", "kept", "--from-literal=x=y"]);
    a.leave().unwrap_or_else(|error| panic!("shoal leave: {error}\n{}", a.log()));
    assert!(a.wait_end(LEAVES).success(), "the process ends well:\n{}", a.log());
    wait_until("it is gone", LEAVES, || is_gone("a", &b));
    b.kubectl(&["get", "configmap", "kept"]);
    b.kubectl(&["create", "configmap", "more", "--from-literal=x=y"]);
    let refusal = b.leave().expect_err("now it is the last one");
    assert!(refusal.contains("voter"), "{refusal}");
}

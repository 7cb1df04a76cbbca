//! Tokens: who is not let in, what that leaves behind, and that the right one works afterwards.

use std::thread::sleep;
use std::time::Duration;

use super::harness::{Machine, Segment};

/// How long a refusal may take.
const REFUSES: Duration = Duration::from_secs(10);

#[test]
fn only_a_valid_token_of_the_right_cluster_lets_a_node_in() {
    let segment = Segment::new();
    let a = Machine::found(&segment, "a", "hollow");
    let other = Machine::found(&segment, "other", "hollow");
    let mut late = Machine::new(&segment, "late", "hollow");
    let good = a.token(&["--ttl", "1h"]);

    refuses(&mut late, &a, "rubbish", &["token"]);
    refuses(&mut late, &a, good.get(..good.len() - 4).expect("a long one"), &["cut off", "incomplete"]);
    refuses(&mut late, &a, &with_another_secret(&good), &["not valid"]);
    refuses(&mut late, &a, &other.token(&[]), &["another cluster"]);
    let short = a.token(&["--ttl", "1s"]);
    sleep(Duration::from_secs(2));
    refuses(&mut late, &a, &short, &["expired"]);
    let revoked = a.token(&[]);
    a.shoal(&["token", "revoke", id(&revoked)]);
    refuses(&mut late, &a, &revoked, &["not valid"]);
    let once = a.token(&["--uses", "1"]);
    let first = Machine::joined(&segment, "first", "hollow", &a, &once);
    refuses(&mut late, &a, &once, &["used up"]);
    a_name_is_not_taken_over(&segment, &a, &good);

    let tokens = a.shoal(&["token", "list"]);
    assert!(tokens.contains(id(&good)) && !tokens.contains(secret(&good)), "{tokens}");
    assert!(!tokens.contains(id(&revoked)), "{tokens}");
    assert_eq!(a.nodes().expect("nodes"), ["a", "first"], "nobody else got in");
    late.join(&a, &good);
    late.wait_ready();
    drop(first);
}

/// Tries to join, which fails in time and says why in one of `words`.
fn refuses(machine: &mut Machine, seed: &Machine, token: &str, words: &[&str]) {
    let said = machine.refused(&["--join", &seed.at(), "--token", token], REFUSES).to_lowercase();
    assert!(words.iter().any(|word| said.contains(word)), "none of {words:?} in:\n{said}");
    assert!(said.contains("error: "), "a message for people:\n{said}");
    let repeated = token.split('.').nth(3).is_some_and(|secret| said.contains(&secret.to_lowercase()));
    assert!(!repeated, "the secret is not repeated:\n{said}");
}

fn a_name_is_not_taken_over(segment: &Segment, a: &Machine, token: &str) {
    let mut twin = Machine::new(segment, "twin", "hollow");
    twin.name = "first".into();
    let said = twin.refused(&["--join", &a.at(), "--token", token], REFUSES);
    assert!(said.contains("first"), "the name is told: {said}");
    a.sees_ready("first", true).expect("the real one lives on");
}

/// The token with a secret that is well formed and wrong.
fn with_another_secret(token: &str) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    let secret: String = secret(token).chars().rev().collect();
    let body = format!("{}.{}.{}.{secret}", parts[0], parts[1], parts[2]);
    format!("{body}.{:08x}", crc32fast::hash(body.as_bytes()))
}

fn id(token: &str) -> &str {
    token.split('.').nth(2).expect("shoal1.FINGERPRINT.ID.SECRET.CHECK")
}

fn secret(token: &str) -> &str {
    token.split('.').nth(3).expect("shoal1.FINGERPRINT.ID.SECRET.CHECK")
}

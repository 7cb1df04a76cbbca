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
    refuses(&mut late, &a, &tampered(&good), &["token"]);
    refuses(&mut late, &a, &other.token(&[]), &["fingerprint", "authority", "another cluster", "certificate"]);
    let short = a.token(&["--ttl", "1s"]);
    sleep(Duration::from_secs(2));
    refuses(&mut late, &a, &short, &["expired", "token"]);
    let revoked = a.token(&[]);
    a.shoal(&["token", "revoke", id(&revoked)]);
    refuses(&mut late, &a, &revoked, &["revoked", "token"]);
    let once = a.token(&["--uses", "1"]);
    let first = Machine::joined(&segment, "first", "hollow", &a, &once);
    refuses(&mut late, &a, &once, &["used", "token"]);
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
    let secret = token.rsplit('.').next().filter(|secret| secret.len() > 10).unwrap_or("shoal1.");
    assert!(!said.contains(&secret.to_lowercase()), "the secret is not repeated:\n{said}");
}

fn a_name_is_not_taken_over(segment: &Segment, a: &Machine, token: &str) {
    let mut twin = Machine::new(segment, "twin", "hollow");
    twin.name = "first".into();
    let said = twin.refused(&["--join", &a.at(), "--token", token], REFUSES);
    assert!(said.contains("first"), "the name is told: {said}");
    a.sees_ready("first", true).expect("the real one lives on");
}

/// The token with another last letter.
fn tampered(token: &str) -> String {
    let (rest, last) = token.split_at(token.len() - 1);
    format!("{rest}{}", if last == "A" { "B" } else { "A" })
}

fn id(token: &str) -> &str {
    token.split('.').nth(2).expect("shoal1.FINGERPRINT.ID.SECRET")
}

fn secret(token: &str) -> &str {
    token.split('.').nth(3).expect("shoal1.FINGERPRINT.ID.SECRET")
}

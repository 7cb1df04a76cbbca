//! Tokens: written, read, mistyped, presented, spent.

use rand::SeedableRng;

use super::*;
use crate::world::entropy::Rng;

const NOW: Timestamp = Timestamp(1_790_000_000_000_000);
const HOUR: Duration = Duration::from_hours(1);

fn token(seed: u64) -> JoinToken {
    JoinToken::generate(&mut Rng::seed_from_u64(seed), Fingerprint([7; 32]))
}

#[test]
fn a_token_reads_back_and_its_debug_hides_the_secret() {
    let token = token(1);
    assert_eq!(format!("  {token}\n").parse(), Ok(token.clone()));
    assert_eq!(token.to_string().len(), 120);
    assert!(!format!("{token:?} {:?}", token.presented()).contains(&token.secret));
    assert_ne!(token, self::token(2));
}

#[test]
fn a_token_that_is_cut_off_mistyped_or_none_says_which() {
    let text = token(1).to_string();
    let read = |text: &str| text.parse::<JoinToken>().unwrap_err();
    assert_eq!(read("hello"), ParseError::NotAToken);
    assert_eq!(read(""), ParseError::NotAToken);
    assert_eq!(read("shoal2.abc"), ParseError::Form("shoal2".into()));
    for length in 7..text.len() {
        assert_eq!(read(&text[..length]), ParseError::Truncated { found: length, expected: text.len() });
    }
    assert!(matches!(read(&format!("{text}x")), ParseError::Checksum));
    assert!(matches!(read(&format!("shoal1.{}", "é".repeat(70))), ParseError::Part(_)));
    // One wrong letter, anywhere behind the form, never gives a token.
    for place in 7..text.len() {
        let mut wrong = text.clone().into_bytes();
        wrong[place] = if wrong[place] == b'0' { b'1' } else { b'0' };
        let error = read(std::str::from_utf8(&wrong).unwrap());
        assert!(matches!(error, ParseError::Checksum | ParseError::Part(_)), "{place}: {error}");
    }
}

#[test]
fn a_record_reads_back_from_the_secret_and_a_broken_field_is_named() {
    for uses in [None, Some(3)] {
        let record = TokenRecord::new(&token(1), NOW, HOUR, uses);
        let data = record.to_secret_data();
        assert_eq!(TokenRecord::from_secret_data(&data), Ok(record));
        assert!(!data.values().any(|value| value.contains(&token(1).secret)));
    }
    let data = TokenRecord::new(&token(1), NOW, HOUR, Some(1)).to_secret_data();
    for field in ["id", "secret-sha256", "expires", "created", "uses-left"] {
        let mut broken = data.clone();
        broken.insert(field.into(), "?".into());
        assert_eq!(TokenRecord::from_secret_data(&broken), Err(MalformedRecord(field)));
    }
}

#[test]
fn the_right_token_lets_in_until_it_expires() {
    let record = TokenRecord::new(&token(1), NOW, HOUR, None);
    let shown = token(1).presented();
    assert_eq!(admit(Some(&record), &shown, NOW), Ok(record.clone()));
    assert!(admit(Some(&record), &shown, Timestamp((NOW + HOUR).0 - 1)).is_ok());
    assert_eq!(admit(Some(&record), &shown, NOW + HOUR), Err(TokenError::Expired { at: NOW + HOUR }));
    assert!(record.is_over(NOW + HOUR) && !record.is_over(NOW));
}

#[test]
fn a_wrong_secret_and_an_unknown_token_sound_the_same_and_come_before_expired() {
    let record = TokenRecord::new(&token(1), NOW, HOUR, Some(0));
    let guess = Presented { id: record.id.clone(), secret: token(2).secret };
    let wrong = admit(Some(&record), &guess, NOW + HOUR).unwrap_err();
    let unknown = admit(None, &token(2).presented(), NOW).unwrap_err();
    assert_eq!((wrong, unknown), (TokenError::WrongSecret, TokenError::Unknown));
    assert_eq!(wrong.to_string(), unknown.to_string());
    let other = admit(Some(&record), &token(2).presented(), NOW);
    assert_eq!(other, Err(TokenError::Unknown), "a record of another id");
    let odd = Presented { id: "../../x".into(), secret: String::new() };
    assert_eq!(odd.secret_name(), None);
}

/// How often a token for one use lets in when it is presented again and again.
fn joins_of_a_single_use() -> usize {
    let mut record = TokenRecord::new(&token(1), NOW, HOUR, Some(1));
    let mut joined = 0;
    for _ in 0..3 {
        match admit(Some(&record), &token(1).presented(), NOW) {
            Ok(after) => (record, joined) = (after, joined + 1),
            Err(error) => assert_eq!(error, TokenError::Spent),
        }
    }
    joined
}

#[test]
fn a_replayed_join_is_refused_once_the_uses_are_spent() {
    assert_eq!(joins_of_a_single_use(), 1);
}

#[cfg(feature = "mutants")]
#[test]
fn the_replay_is_caught_where_uses_are_not_counted() {
    assert_ne!(crate::mesh::mutant::planted("token-use-not-counted", joins_of_a_single_use), 1);
}

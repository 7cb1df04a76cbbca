//! `shoal token`: what lets nodes into the cluster.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::arguments::cluster::{TokenCommand, TokenFlags};
use super::client::resources::{items, text};
use super::client::{self, JSON, Session};
use super::failure::Failure;
use super::get::table::Table;
use crate::kube::print::human_duration;
use crate::model::Timestamp;
use crate::world::clock::{Clock, SystemClock};

const PATH: &str = "/shoal/v1/tokens";
/// What every token starts with: the version of its form.
const PREFIX: &str = "shoal1.";
/// Fewest parts: version, fingerprint of the authority, id, secret.
const PARTS: usize = 4;
/// Longest token, in bytes.
const MAX_BYTES: usize = 1024;

/// Runs the command.
pub fn run(flags: &TokenFlags) -> Result<ExitCode, Failure> {
    client::run(async {
        let session = Session::open(&flags.client).await?;
        match &flags.command {
            TokenCommand::Create { ttl, uses } => create(&session, *ttl, *uses).await?,
            TokenCommand::List => {
                let tokens = session.get(PATH, JSON).await?;
                print!("{}", listed(&tokens, SystemClock.now()));
            }
            TokenCommand::Revoke { id } => {
                check_id(id)?;
                session.write(Method::DELETE, &format!("{PATH}/{id}"), JSON, &json!({})).await?;
                println!("token {id} revoked; nodes that joined with it stay");
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn create(session: &Session, ttl: Duration, uses: Option<u32>) -> Result<(), Failure> {
    let mut wanted = json!({ "ttl_seconds": ttl.as_secs() });
    if let (Some(uses), Some(wanted)) = (uses, wanted.as_object_mut()) {
        wanted.insert("uses".into(), uses.into());
    }
    let made = session.write(Method::POST, PATH, JSON, &wanted).await?;
    println!("{}", text(&made, "/token"));
    // Only for people: scripts take the one line.
    if std::io::stderr().is_terminal() && std::io::stdout().is_terminal() {
        eprintln!("on the new machine, as root: shoal up --join ADDRESS-OF-A-MEMBER:6443 --token TOKEN");
    }
    Ok(())
}

/// The tokens as a table.
fn listed(tokens: &Value, now: Timestamp) -> String {
    let rows = items(tokens, "items").iter().map(|token| {
        let left = token.get("usesLeft").and_then(Value::as_u64).map_or("any".to_owned(), |uses| uses.to_string());
        let end = text(token, "/expires");
        let end = match Timestamp::parse(&end) {
            Some(end) if end <= now => "expired".to_owned(),
            Some(end) => format!("in {}", human_duration((end.0 - now.0) / 1_000_000)),
            None => end,
        };
        vec![text(token, "/id"), left, end]
    });
    let mut table = Table::plain(&["id", "uses left", "expires"], rows.collect());
    table.render(false)
}

fn check_id(id: &str) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if !id.is_empty() && !id.contains('.') && id.len() <= 128 && id.chars().all(plain) {
        return Ok(());
    }
    Err(Failure::usage("this is no id of a token; `shoal token list` prints them"))
}

/// Checks the form of a token, and gives it without blanks around it; nothing is sent anywhere for it.
///
/// # Errors
/// Where it cannot be one.
pub fn check(token: &str) -> Result<String, Failure> {
    let token = token.trim();
    let whole = token.starts_with(PREFIX) && token.len() <= MAX_BYTES;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+/".contains(c);
    let sound = |part: &str| !part.is_empty() && part.chars().all(plain);
    if whole && token.split('.').count() >= PARTS && token.split('.').all(sound) {
        return Ok(token.to_owned());
    }
    Err(Failure::usage(
        "the token is incomplete or not one of Shoal's: copy the whole line that `shoal token create` prints \
         (shoal1.FINGERPRINT.ID.SECRET.CHECK)",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_tokens_pass() {
        assert_eq!(check(" shoal1.ab.cd.ef\n").unwrap(), "shoal1.ab.cd.ef");
        let long = format!("shoal1.a.b.{}", "c".repeat(2000));
        for token in
            ["", "shoal1", "shoal1.a.b", "shoal1.a..c", "shoal2.a.b.c", "K10a::server:b", "shoal1.a.b.c d", &long]
        {
            let failure = check(token).unwrap_err();
            assert!(failure.message().contains("shoal token create"), "{token}: {failure:?}");
            assert!(!token.contains('.') || !failure.message().contains(token), "the message repeats no secret");
        }
    }

    #[test]
    fn tokens_are_listed_with_what_is_left_of_them() {
        let now = Timestamp::parse("2026-11-20T08:00:00Z").unwrap();
        let tokens = json!({ "items": [
            { "id": "ab", "usesLeft": 2, "expires": "2026-11-20T09:30:00Z" },
            { "id": "cd", "usesLeft": null, "expires": "2026-11-20T07:00:00Z" },
        ] });
        let expect = "ID   USES LEFT   EXPIRES\nab   2           in 90m\ncd   any         expired\n";
        assert_eq!(listed(&tokens, now), expect);
    }

    #[test]
    fn a_token_is_not_taken_for_its_id() {
        assert!(check_id("3k9x").is_ok());
        for id in ["", "shoal1.a.b.c", "a/b", "a b"] {
            assert!(check_id(id).is_err(), "{id}");
        }
    }
}

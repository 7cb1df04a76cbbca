//! `shoal control`: where control actors run; and what `shoal status` says of them and the quorum.

use std::process::ExitCode;

use http::Method;
use serde_json::{Value, json};

use super::arguments::cluster::{ControlCommand, ControlFlags};
use super::client::resources::{items, text};
use super::client::{self, JSON, Session};
use super::failure::Failure;
use super::get::table::Table;
use crate::kube::print::age;
use crate::model::Timestamp;

/// Where the quorum is told.
pub const QUORUM: &str = "/shoal/v1/quorum";
const COLUMNS: [&str; 7] = ["actor", "node", "epoch", "state", "queue", "last action", "age"];

/// Runs the command.
pub fn run(flags: &ControlFlags) -> Result<ExitCode, Failure> {
    client::run(async {
        let session = Session::open(&flags.client).await?;
        let ControlCommand::Move { actor, node } = &flags.command;
        let path = format!("/shoal/v1/actors/{actor}/move");
        let done = session.write(Method::POST, &path, JSON, &json!({ "node": node })).await?;
        println!("{}", text(&done, "/message"));
        Ok(ExitCode::SUCCESS)
    })
}

/// The quorum in a few lines, then the control actors as a table.
pub fn print(quorum: &Value, now: Timestamp) {
    let leader = Some(text(quorum, "/leader")).filter(|leader| !leader.is_empty());
    let leader = leader.unwrap_or_else(|| "nobody: writes are refused until a majority of the voters is back".into());
    println!("Quorum    leader {leader}, term {}", quorum["term"]);
    for replica in items(quorum, "replicas").iter().filter(|one| text(one, "/standing") != "learner") {
        let lag = replica.get("lag").and_then(Value::as_u64);
        let lag = lag.map_or_else(String::new, |lag| format!(", {lag} entries behind"));
        println!("          {} {}{lag}", text(replica, "/node"), text(replica, "/standing"));
    }
    let learners = items(quorum, "replicas").iter().filter(|one| text(one, "/standing") == "learner").count();
    if learners > 0 {
        println!("          {learners} learners");
    }
    let full = quorum.pointer("/disk/full").and_then(Value::as_bool).unwrap_or_default();
    let full = if full { "; FULL: only reads and deletes are taken" } else { "" };
    println!("Disk      99 of 100 syncs within {} µs{full}", quorum["disk"]["syncP99Micros"]);
    println!();
    print!("{}", table(quorum, now).render(false));
}

fn table(quorum: &Value, now: Timestamp) -> Table {
    let told = |value: &Value, pointer| match value.pointer(pointer) {
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => Some(text(value, pointer)).filter(|told| !told.is_empty()),
    };
    let row = |actor: &Value| {
        let at = told(actor, "/lastAction/at");
        let cell = |pointer| told(actor, pointer).unwrap_or_else(|| "-".into());
        let failures = actor.get("failures").and_then(Value::as_u64).unwrap_or_default();
        let state = if failures > 0 { format!("{} ({failures} failures)", cell("/state")) } else { cell("/state") };
        let since = at.as_deref().map_or_else(|| "-".into(), |at| age(Some(at), now));
        let what = cell("/lastAction/what");
        vec![cell("/name"), cell("/node"), cell("/epoch"), state, cell("/queue"), what, since]
    };
    Table::plain(&COLUMNS, items(quorum, "actors").iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actors_show_where_they_are_and_what_they_did() {
        let quorum = json!({ "actors": [
            { "name": "scheduler", "node": "n2", "epoch": 4, "state": "running", "failures": 0, "queue": 7,
              "lastAction": { "at": "2026-11-20T07:58:30.000000Z", "what": "bind of pods default/web" } },
            { "name": "garbage", "node": "n1", "epoch": 1, "state": "starting", "failures": 3, "queue": null,
              "lastAction": null },
        ] });
        let now = Timestamp::parse("2026-11-20T08:00:00Z").unwrap();
        let expected = "\
ACTOR       NODE   EPOCH   STATE                   QUEUE   LAST ACTION                AGE
scheduler   n2     4       running                 7       bind of pods default/web   90s
garbage     n1     1       starting (3 failures)   -       -                          -
";
        assert_eq!(table(&quorum, now).render(false), expected);
    }
}

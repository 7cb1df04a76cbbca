//! `shoal recover`: rebuilds a quorum that is lost for good from the log of the node that is asked.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use super::arguments::cluster::RecoverFlags;
use super::client::resources::{items, text};
use super::client::{self, JSON, Session};
use super::failure::Failure;

const PATH: &str = "/shoal/v1/recover";
/// Bound on the node's restart.
const BACK_WITHIN: Duration = Duration::from_secs(60);
/// Wait between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Runs the command.
pub fn run(flags: &RecoverFlags) -> Result<ExitCode, Failure> {
    client::run(async {
        let session = Session::open(&flags.client).await?;
        let report = session.write(Method::POST, PATH, JSON, &json!({ "dryRun": flags.dry_run })).await?;
        print!("{}", told(&report));
        if !flags.dry_run {
            wait(&session, report.get("recoveries").and_then(Value::as_u64).unwrap_or_default()).await?;
            println!("{} leads; writes are taken again", text(&report, "/node"));
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Waits until the node is back and leads, having been recovered.
async fn wait(session: &Session, recoveries: u64) -> Result<(), Failure> {
    let until = Instant::now() + BACK_WITHIN;
    loop {
        let why = match session.get(PATH, JSON).await {
            Ok(state) if state.get("recoveries").and_then(Value::as_u64) >= Some(recoveries) => {
                if state.get("leads").and_then(Value::as_bool) == Some(true) {
                    return Ok(());
                }
                "it does not lead yet".to_owned()
            }
            Ok(_) => "it has not begun anew yet".to_owned(),
            Err(failure) => failure.message().to_owned(),
        };
        if Instant::now() >= until {
            return Err(Failure::new(format!(
                "the node is not back within {} s: {why}; see its log",
                BACK_WITHIN.as_secs()
            )));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn told(report: &Value) -> String {
    let would = if report.get("dryRun").and_then(Value::as_bool) == Some(true) { "would be" } else { "is" };
    let node = text(report, "/node");
    let revision = report.get("revision").and_then(Value::as_u64).unwrap_or_default();
    let mut out = format!("{node} {would} the only voter; everything up to revision {revision} {would} kept\n");
    for replica in items(report, "replicas") {
        let (name, becomes) = (text(replica, "/node"), text(replica, "/becomes"));
        let voter = if replica.get("voter").and_then(Value::as_bool) == Some(true) { "voter" } else { "learner" };
        let line = match replica.get("behind").and_then(Value::as_u64) {
            Some(behind) => format!("  {name}: {voter}, {behind} entries behind; follows as a {becomes}\n"),
            None => format!("  {name}: {voter}, not reached; {becomes}\n"),
        };
        out.push_str(&line);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_says_what_would_be_kept_and_what_given_up() {
        let report = json!({ "dryRun": true, "node": "n1", "revision": 42, "replicas": [
            { "node": "n2", "voter": true, "behind": null, "becomes": "given up" },
            { "node": "n3", "voter": false, "behind": 3, "becomes": "learner" },
        ] });
        let expected = "\
n1 would be the only voter; everything up to revision 42 would be kept
  n2: voter, not reached; given up
  n3: learner, 3 entries behind; follows as a learner
";
        assert_eq!(told(&report), expected);
    }
}

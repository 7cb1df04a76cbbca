//! `shoal status`: how the node and its API are.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde_json::Value;

use super::arguments::StatusFlags;
use super::client::resources::{items, text};
use super::client::{self, JSON, Session};
use super::failure::{FAILED, Failure};
use super::{actors, logging, members};
use crate::world::clock::{Clock as _, SystemClock};

/// Prints the state of the node; fails where it is not Ready.
pub fn run(flags: &StatusFlags) -> Result<ExitCode, Failure> {
    client::run(async {
        let session = Session::open(&flags.client).await?;
        if flags.output.is_some() {
            println!("{}", serde_json::to_string_pretty(&session.get(actors::QUORUM, JSON).await?)?);
            return Ok(ExitCode::SUCCESS);
        }
        let (version, nodes, pods, metrics, members, quorum) = tokio::join!(
            session.get("/version", JSON),
            session.get("/api/v1/nodes", JSON),
            session.get("/api/v1/pods", JSON),
            session.text("/metrics"),
            members::summary(&session),
            session.find(actors::QUORUM),
        );
        let (version, nodes, pods) = (version?, nodes?, pods?);
        println!("API       {} (Kubernetes {})", session.url(), text(&version, "/gitVersion"));
        println!("Program   shoal {}", env!("CARGO_PKG_VERSION"));
        let ready = print_nodes(&nodes);
        if let Some(members) = members {
            println!("Members   {members}");
        }
        println!("Pods      {}", count(items(&pods, "items")));
        println!("Store     revision {}", text(&pods, "/metadata/resourceVersion"));
        for line in metrics.unwrap_or_default().lines().filter(|line| of_interest(line)) {
            println!("          {line}");
        }
        if let Ok(Some(quorum)) = quorum {
            actors::print(&quorum, SystemClock.now());
        }
        Ok(if ready { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
    })
}

fn print_nodes(nodes: &Value) -> bool {
    let mut ready = !items(nodes, "items").is_empty();
    for node in items(nodes, "items") {
        let status = node.get("status").unwrap_or(&Value::Null);
        let condition = items(status, "conditions").iter().find(|condition| text(condition, "/type") == "Ready");
        let is_ready = condition.is_some_and(|condition| text(condition, "/status") == "True");
        ready &= is_ready;
        let (word, colour) = if is_ready { ("Ready", 32) } else { ("NotReady", 31) };
        let word = if logging::colours_stdout() { format!("\x1b[{colour}m{word}\x1b[0m") } else { word.into() };
        println!(
            "Node      {} {word}, {}, kernel {}",
            text(node, "/metadata/name"),
            text(status, "/nodeInfo/containerRuntimeVersion"),
            text(status, "/nodeInfo/kernelVersion"),
        );
        if let Some(condition) = condition.filter(|_| !is_ready) {
            println!("          {}: {}", text(condition, "/reason"), text(condition, "/message"));
        }
    }
    ready
}

fn count(pods: &[Value]) -> String {
    let mut phases: BTreeMap<String, usize> = BTreeMap::new();
    for pod in pods {
        *phases.entry(text(pod, "/status/phase")).or_default() += 1;
    }
    if phases.is_empty() {
        return "none".into();
    }
    phases.iter().map(|(phase, count)| format!("{count} {phase}")).collect::<Vec<_>>().join(", ")
}

fn of_interest(line: &str) -> bool {
    ["process_resident_memory_bytes", "shoal_store_size_bytes"].iter().any(|name| line.starts_with(name))
}

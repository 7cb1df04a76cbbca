//! What is on the node, and the removal of what no pod accounts for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::parts::Parts;
use crate::plan::pod::Terminated;
use crate::plan::pod::adopt::Found;
use crate::plan::pod::observed::{Incarnation, Phase};
use crate::runtime::{self, ContainerState, Error, logs};

/// What a node has.
#[derive(Debug, Default)]
pub struct Inventory {
    /// Pod uids of its sandboxes.
    pub sandboxes: BTreeSet<String>,
    containers: BTreeMap<String, Vec<Found>>,
}

impl Inventory {
    /// Asks the runtime.
    pub async fn take(parts: &Parts) -> Result<Self, Error> {
        let sandboxes = parts.runtime.sandboxes().await?.into_iter().collect();
        let mut containers: BTreeMap<String, Vec<Found>> = BTreeMap::new();
        for state in parts.runtime.containers().await? {
            containers.entry(state.id.pod_uid.clone()).or_default().push(found(state));
        }
        Ok(Self { sandboxes, containers })
    }

    /// The containers of one pod.
    pub fn of(&self, uid: &str) -> Vec<Found> {
        self.containers.get(uid).cloned().unwrap_or_default()
    }
}

fn found(state: ContainerState) -> Found {
    let phase = match state.phase {
        runtime::Phase::Created => Phase::Created,
        runtime::Phase::Running { started_at } => Phase::Running { since: started_at },
        runtime::Phase::Exited { started_at, exit } => Phase::Exited(Terminated {
            printed_id: state.printed_id.clone(),
            started_at,
            finished_at: exit.finished_at,
            code: exit.code,
            signal: None,
            reason: reason(&exit).to_owned(),
            message: String::new(),
        }),
    };
    let incarnation =
        Incarnation { attempt: state.id.attempt, printed_id: state.printed_id, image_id: String::new(), phase };
    Found { name: state.id.container, incarnation }
}

/// What Kubernetes calls an end.
pub fn reason(exit: &runtime::Exit) -> &'static str {
    match exit.code {
        _ if exit.oom_killed => "OOMKilled",
        0 => "Completed",
        _ => "Error",
    }
}

/// Removes every sandbox, network, volume and log of the pods `strays`.
pub async fn remove(parts: &Parts, strays: &BTreeSet<String>) {
    for uid in strays {
        tracing::info!(uid, "removing what is left of a pod that no longer exists");
        if let Err(error) = remove_one(parts, uid).await {
            tracing::warn!(uid, %error, "what is left of a pod could not be removed");
        }
    }
}

/// Uids of the pods that have something on the node.
///
/// # Errors
/// Of the first that cannot be asked.
pub async fn present(parts: &Parts) -> Result<BTreeSet<String>, Error> {
    let mut here: BTreeSet<String> = parts.runtime.sandboxes().await?.into_iter().collect();
    here.extend(parts.runtime.containers().await?.into_iter().map(|state| state.id.pod_uid));
    here.extend(parts.network.attached().await?);
    here.extend(parts.volumes.present().await?);
    here.extend(log_directories(parts)?.into_iter().map(|(uid, _)| uid));
    Ok(here)
}

async fn remove_one(parts: &Parts, uid: &str) -> Result<(), Error> {
    parts.runtime.remove_sandbox(uid).await?;
    parts.network.detach(uid).await?;
    parts.volumes.clean(uid).await?;
    for (_, directory) in log_directories(parts)?.iter().filter(|(owner, _)| owner == uid) {
        parts.logs.remove_pod(directory).map_err(|error| Error::System(format!("cannot remove logs: {error}")))?;
    }
    Ok(())
}

/// Each pod's uid with its directory of logs.
fn log_directories(parts: &Parts) -> Result<Vec<(String, PathBuf)>, Error> {
    let found = parts.logs.pods(&parts.node.log_root);
    let found = found.map_err(|error| Error::System(format!("cannot list logs: {error}")))?;
    Ok(found.into_iter().filter_map(|directory| Some((logs::uid_of(&directory)?.to_owned(), directory))).collect())
}

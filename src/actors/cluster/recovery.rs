//! `shoal recover` on the running node: asks every replica, decides as `plan::recovery` says, and lets the process rebuild
//! the quorum from this node's log. Here too: a node that hears that it was given up begins anew.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::ledger::Ledger;
use crate::actors::node::rejoin;
use crate::actors::node::restart::{Restart, Restarts};
use crate::actors::service::Service as Task;
use crate::actors::supervisor::Child;
use crate::kube::object::Object;
use crate::kube::resource::id;
use crate::kube::status::Status;
use crate::model::ObjectKey;
use crate::plan::Command;
use crate::plan::recovery::{self, Keep, LogEnd, Member, Picture, Said};
use crate::store::raft::peers::End;
use crate::store::recovery::Rebuild;
use crate::store::{Store, Survey};

/// Time for the answer to reach whoever asked, before the node's tree ends.
const PARTING: Duration = Duration::from_millis(300);
/// Wait between two tries to tell of a new beginning.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// What recovering takes.
#[derive(Clone)]
pub struct Recovery {
    /// The replica.
    pub store: Store,
    /// This node's name.
    pub node: String,
    /// The data directory.
    pub data: PathBuf,
    /// Where a restart is asked for.
    pub restarts: Restarts,
    /// Where the cluster is told of it.
    pub ledger: Ledger,
    /// Why this start began anew, where it did.
    pub rejoined: Option<String>,
}

impl Recovery {
    /// What would be kept, or, without `dry_run`, begins: the node's tree ends soon after this has returned.
    ///
    /// # Errors
    /// 409 with the reason and what each replica said.
    pub async fn run(&self, dry_run: bool) -> Result<Value, Status> {
        let survey = self.store.survey().await;
        let picture = picture(&self.node, &survey);
        let keep = recovery::decide(&picture)
            .map_err(|refusal| Status::new(409, "Conflict", format!("{refusal}\n{}", table(&picture))))?;
        let report = report(&picture, &keep, dry_run);
        if !dry_run {
            tracing::warn!(revision = keep.revision, given_up = ?keep.given_up, "the quorum is rebuilt from this node's log");
            let Keep { term, recovery, learners, .. } = keep;
            let (restarts, rebuild) = (self.restarts.clone(), Rebuild { term, recovery, learners });
            tokio::spawn(async move {
                tokio::time::sleep(PARTING).await;
                restarts.ask(Restart::Recover(rebuild));
            });
        }
        Ok(report)
    }

    /// `{"recoveries", "leads", "revision"}`: how this replica is, without asking the others.
    pub fn state(&self) -> Value {
        let stats = self.store.stats();
        let leads = stats.leads && self.store.lost().is_none();
        json!({ "recoveries": self.store.recoveries(), "leads": leads, "revision": stats.revision })
    }

    /// The child `rejoin` of a supervisor: tells of a new beginning, and sees to one where it is due.
    pub fn child(self) -> Child {
        Task::child("rejoin", move || {
            let this = self.clone();
            async move {
                let due = async {
                    let by = this.store.removed().await;
                    format!("{by} knows a cluster that has gone on without it")
                };
                let telling = async {
                    if let Some(why) = &this.rejoined {
                        this.tell(why).await;
                    }
                    std::future::pending::<()>().await;
                };
                let reason = tokio::select! {
                    reason = due => reason,
                    () = telling => return Ok(()),
                };
                tracing::warn!(reason, "this node's replica is of no use any more; it begins anew");
                rejoin::note(&this.data, &reason)?;
                this.restarts.ask(Restart::Rejoin);
                std::future::pending().await
            }
        })
    }

    /// An event on the Node, once that can be written.
    async fn tell(&self, why: &str) {
        loop {
            if let Some(event) = self.event(why) {
                match self.ledger.execute(event).await {
                    Ok(()) => return,
                    Err(error) => tracing::debug!(error = error.message, "a new beginning could not be told yet"),
                }
            }
            tokio::time::sleep(TELL_EVERY).await;
        }
    }

    fn event(&self, why: &str) -> Option<Command> {
        let key = ObjectKey::new(id::NODES, "", &self.node);
        let record = self.store.get(&key)?;
        let node = Object::new(key, record.modified, record.value.clone()).ok()?;
        Some(recovery::rebuilt(&node, why))
    }
}

fn picture(node: &str, survey: &Survey) -> Picture {
    let others = survey.others.iter().map(|other| Member {
        raft_id: other.replica.raft_id,
        node: other.replica.node.clone(),
        votes: other.votes(),
        said: other.end.as_ref().map(said),
    });
    Picture {
        own: said(&survey.own),
        raft_id: survey.own.raft_id,
        node: node.to_owned(),
        votes: survey.member.then_some(survey.votes),
        others: others.collect(),
        removed_by: survey.removed_by.clone(),
    }
}

fn said(end: &End) -> Said {
    let (term, index) = end.last.map_or((0, 0), |last| (last.leader_id.term, last.index));
    Said { end: LogEnd { recovery: end.recovery, term, index }, newest_term: end.term, leads: end.leads }
}

fn report(picture: &Picture, keep: &Keep, dry_run: bool) -> Value {
    let replica = |member: &Member| {
        json!({
            "node": member.node, "raftId": member.raft_id, "voter": member.votes, "reachable": member.said.is_some(),
            "revision": member.said.map(|said| said.end.index),
            "behind": member.said.map(|said| keep.revision.saturating_sub(said.end.index)),
            "becomes": if member.said.is_some() { "learner" } else { "given up" },
        })
    };
    json!({
        "dryRun": dry_run, "node": picture.node, "revision": keep.revision, "term": keep.term,
        "recoveries": keep.recovery, "replicas": picture.others.iter().map(replica).collect::<Vec<_>>(),
        "givenUp": keep.given_up,
    })
}

/// What each replica said, a line each.
fn table(picture: &Picture) -> String {
    let standing = |votes| if votes { "voter" } else { "learner" };
    let own = picture.own.end;
    let mut lines = vec![format!(
        "  {} (this node): {}, revision {}, term {}",
        picture.node,
        picture.votes.map_or("no member", standing),
        own.index,
        own.term
    )];
    lines.extend(picture.others.iter().map(|member| {
        let said = member.said.map_or_else(
            || "not reached".to_owned(),
            |said| {
                format!(
                    "revision {}, term {}{}",
                    said.end.index,
                    said.end.term,
                    if said.leads { ", leads" } else { "" }
                )
            },
        );
        format!("  {}: {}, {said}", member.node, standing(member.votes))
    }));
    lines.join("\n")
}

//! What a pod supervisor writes: status when it changed and not more often than needed, events, and the last deletion.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{PodCondition, PodStatus};

use super::WriteFailure;
use super::perform::Site;
use crate::kube::object::Object;
use crate::kube::status::Status;
use crate::model::Revision;
use crate::plan::Command;
use crate::plan::command::Regarding;
use crate::plan::pod::{Event, Failure, Outcome};

/// How long a change that nobody waits for may wait for others to come with it.
const COALESCE: Duration = Duration::from_millis(100);
/// How long after a failed write the next one follows.
pub const RETRY_AFTER: Duration = Duration::from_millis(500);
/// Tries of the last status write, each from the newest version.
const LAST_WRITE_TRIES: usize = 5;
/// Longest event message (Kubernetes' limit).
const MAX_EVENT_BYTES: usize = 1024;

/// Decides when a status is written.
#[derive(Debug)]
pub struct Reporter {
    written: Option<PodStatus>,
    writing: Option<PodStatus>,
    revision: Revision,
    due: bool,
    delayed: bool,
}

/// What to do about a status.
#[derive(Debug, PartialEq, Eq)]
pub enum Want {
    /// It is written, or will be.
    Nothing,
    /// Look again after this long.
    Later(Duration),
    /// Write it now.
    Write,
}

impl Reporter {
    /// Starts from what the API has.
    pub fn new(revision: Revision, status: Option<PodStatus>) -> Self {
        Self { written: status, writing: None, revision, due: false, delayed: false }
    }

    /// The newest revision known, for the next write.
    pub fn base(&self, seen: Revision) -> Revision {
        self.revision.max(seen)
    }

    /// A version of the pod was seen.
    pub fn seen(&mut self, revision: Revision) {
        self.revision = self.revision.max(revision);
    }

    /// The wait is over.
    pub fn due_now(&mut self) {
        self.due = true;
        self.delayed = false;
    }

    /// Whether `status` is to be written now.
    pub fn want(&mut self, status: &PodStatus) -> Want {
        if self.writing.is_some() || self.written.as_ref() == Some(status) {
            return Want::Nothing;
        }
        if self.due || is_urgent(self.written.as_ref(), status) {
            self.due = false;
            self.writing = Some(status.clone());
            return Want::Write;
        }
        if std::mem::replace(&mut self.delayed, true) { Want::Nothing } else { Want::Later(COALESCE) }
    }

    /// A write has ended; answers its failure.
    pub fn written(&mut self, result: Result<Option<Revision>, WriteFailure>, seen: Revision) -> Option<WriteFailure> {
        let status = self.writing.take();
        match result {
            Ok(revision) => {
                self.written = status;
                self.revision = self.revision.max(revision.unwrap_or(seen));
                None
            }
            Err(failure) => {
                self.delayed = true;
                Some(failure)
            }
        }
    }
}

/// Whether somebody waits for the change: readiness or phase are not what was last written, or a container ended.
fn is_urgent(written: Option<&PodStatus>, status: &PodStatus) -> bool {
    let ready = |status: &PodStatus| condition(status, "Ready").map(|one| one.status.clone());
    let Some(written) = written else { return false };
    let is_ready = ready(status).as_deref() == Some("True");
    let was_ready = ready(written).as_deref() == Some("True");
    let ends = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    is_ready != was_ready || (ends && status.phase != written.phase)
}

fn condition<'a>(status: &'a PodStatus, name: &str) -> Option<&'a PodCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == name)
}

/// Writes a status.
pub async fn write(site: &Site, status: &PodStatus) -> Result<Option<Revision>, WriteFailure> {
    let mut body = site.object.value().map_err(|error| WriteFailure::Other(error.to_string()))?;
    let status = serde_json::to_value(status).map_err(|error| WriteFailure::Other(error.to_string()))?;
    if let Some(object) = body.as_object_mut() {
        object.insert("status".to_owned(), status);
    }
    let revision = site.revision;
    let command = Command::Update { key: site.object.key.clone(), subresource: Some("status"), revision, body };
    site.parts.executor.execute(&site.identity(), site.cause, command).await.map_err(failure)
}

fn failure(status: Status) -> WriteFailure {
    match status.code {
        404 => WriteFailure::Gone,
        409 => WriteFailure::Conflict,
        _ => WriteFailure::Other(status.message),
    }
}

/// Writes the last status, then deletes the pod.
pub async fn delete(site: &Site, status: Option<PodStatus>) -> Outcome {
    if let Some(status) = status.filter(|status| site.pod.status.as_ref() != Some(status))
        && let Err(reason) = write_last(site, &status).await
    {
        return failed(reason);
    }
    let uid = Some(site.uid().to_owned());
    let command = Command::Delete { key: site.object.key.clone(), uid, propagation: None, grace_seconds: Some(0) };
    match site.parts.executor.execute(&site.identity(), site.cause, command).await {
        Ok(_) => Outcome::Done,
        Err(status) if status.code == 404 => Outcome::Done,
        Err(status) => failed(status.message),
    }
}

/// Writes a status over whatever version there is now; a pod that is gone needs none.
async fn write_last(site: &Site, status: &PodStatus) -> Result<(), String> {
    let mut site = site.clone();
    for _ in 0..LAST_WRITE_TRIES {
        match write(&site, status).await {
            Ok(_) | Err(WriteFailure::Gone) => return Ok(()),
            Err(WriteFailure::Other(reason)) => return Err(reason),
            Err(WriteFailure::Conflict) => {
                let Some(record) = site.parts.objects.get(&site.object.key) else { return Ok(()) };
                let newest = Object::new(record.key.clone(), record.modified, record.value.clone());
                let newest = newest.map_err(|error| error.to_string())?;
                if newest.uid() != site.uid() {
                    return Ok(());
                }
                (site.revision, site.object) = (newest.revision, Arc::new(newest));
            }
        }
    }
    Err("the pod's status changes too often".to_owned())
}

fn failed(message: String) -> Outcome {
    Outcome::Failed(Failure { reason: "FailedDelete", message })
}

/// Records events; one that cannot be recorded is dropped.
pub async fn tell(site: &Site, events: Vec<Event>) {
    for event in events {
        let mut message = event.message;
        if message.len() > MAX_EVENT_BYTES {
            let end = (0..=MAX_EVENT_BYTES).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
            message.truncate(end);
        }
        let regarding = Box::new(Regarding {
            key: site.object.key.clone(),
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            uid: site.uid().to_owned(),
            field_path: field_path(site, &event.container),
        });
        let command = Command::Event { regarding, warning: event.warning, reason: event.reason, message };
        if let Err(error) = site.parts.executor.execute(&site.identity(), site.cause, command).await {
            tracing::debug!(pod = %site.object.key, %error, "an event was not recorded");
        }
    }
}

fn field_path(site: &Site, container: &str) -> String {
    if container.is_empty() {
        return String::new();
    }
    let init = site.pod.spec.as_ref().and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
    let list = if init.iter().any(|one| one.name == container) { "initContainers" } else { "containers" };
    format!("spec.{list}{{{container}}}")
}

/// Tells that an image is being pulled; what came of it is told when it has ended.
pub async fn pulling(site: &Site, container: &str, image: &str) {
    tell(site, vec![Event::about(container, false, "Pulling", format!("Pulling image {image:?}"))]).await;
}

//! How an action is done. No choices here: what to do was decided by the plan.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use ractor::ActorRef;
use tracing::Instrument as _;

use super::Message;
use crate::actors::agent::parts::Parts;
use crate::actors::agent::{probing, spec};
use crate::kube::object::Object;
use crate::model::{Revision, Timestamp};
use crate::plan::pod::{Action, Failure, Outcome, PullPolicy, Terminated};
use crate::runtime::network::PodAttachment;
use crate::runtime::{ContainerId, Error, Image, PodAddresses};

/// Longest termination message (Kubernetes' limit).
const MAX_MESSAGE_BYTES: usize = 4096;
/// How long after a failed wait for a container's end the next one follows.
const WAIT_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Where an action is done: one pod at one version, with the doors to the outside. Cheap to clone.
#[derive(Clone)]
pub struct Site {
    /// The doors.
    pub parts: Parts,
    /// The pod.
    pub object: Arc<Object>,
    /// Its typed view.
    pub pod: Arc<Pod>,
    /// Its network, once attached.
    pub addresses: Option<PodAddresses>,
    /// The newest revision of it that is known.
    pub revision: Revision,
    /// Causal id of the request that bound it here.
    pub cause: u64,
}

impl Site {
    /// The pod's uid.
    pub fn uid(&self) -> &str {
        self.object.uid()
    }

    /// Who writes.
    pub fn identity(&self) -> String {
        format!("system:node:{}", self.parts.node.name)
    }
}

/// Does `action`, in a span that names the request that it goes back to.
pub async fn perform(site: &Site, action: &Action, myself: &ActorRef<Message>) -> Outcome {
    let cause = format!("{:016x}", site.cause);
    let span = tracing::info_span!("pod", cause, pod = %site.object.key);
    act(site, action, myself).instrument(span).await
}

async fn act(site: &Site, action: &Action, myself: &ActorRef<Message>) -> Outcome {
    let parts = &site.parts;
    match action {
        Action::PrepareVolumes => done(volumes(site).await.map(drop), "FailedMount"),
        Action::AttachNetwork => attach(site, myself).await,
        Action::CreateSandbox => {
            let spec = spec::sandbox(site);
            done(parts.runtime.create_sandbox(&spec).await, "FailedCreatePodSandBox")
        }
        Action::EnsureImage { container, image, policy, .. } => ensure_image(site, container, image, *policy).await,
        Action::CreateContainer { container, attempt, image_id } => create(site, container, *attempt, image_id).await,
        Action::StartContainer { container, attempt } => {
            let _slot = parts.starts.acquire().await;
            let started = parts.runtime.start(&site.id(container, *attempt)).await;
            if started.is_ok() {
                tracing::info!(container, attempt, "container started");
            }
            done(started, "RunContainerError")
        }
        Action::RunHook { container, attempt, hook } => probing::hook(site, container, *attempt, *hook).await,
        Action::Probe { container, attempt, kind } => probing::probe(site, container, *attempt, *kind).await,
        Action::Signal { container, attempt, signal } => {
            done(parts.runtime.signal(&site.id(container, *attempt), *signal).await, "FailedKillPod")
        }
        Action::RemoveContainer { container, attempt } => {
            done(parts.runtime.remove(&site.id(container, *attempt)).await, "FailedKillPod")
        }
        Action::RemoveSandbox => remove_sandbox(site).await,
        Action::DetachNetwork => done(parts.network.detach(site.uid()).await, "FailedKillPod"),
        Action::CleanVolumes => done(parts.volumes.clean(site.uid()).await, "FailedKillPod"),
        Action::BeginStop { .. } | Action::BeginEnd | Action::TellBackoff { .. } | Action::DeletePod => Outcome::Done,
    }
}

impl Site {
    /// An incarnation of one of the pod's containers.
    pub fn id(&self, container: &str, attempt: u32) -> ContainerId {
        ContainerId { pod_uid: self.uid().to_owned(), container: container.to_owned(), attempt }
    }
}

fn done(result: Result<(), Error>, reason: &'static str) -> Outcome {
    match result {
        Ok(()) | Err(Error::NotFound(_)) => Outcome::Done,
        Err(error) => Outcome::Failed(Failure { reason, message: error.to_string() }),
    }
}

/// Makes the pod's volumes, or brings them up to date; answers where each is.
pub async fn volumes(site: &Site) -> Result<Vec<(String, PathBuf)>, Error> {
    let mut paths = Vec::new();
    for volume in spec::volumes(site)? {
        let path = site.parts.volumes.prepare(site.uid(), &volume).await?;
        paths.push((volume.name, path));
    }
    Ok(paths)
}

async fn attach(site: &Site, myself: &ActorRef<Message>) -> Outcome {
    let spec = site.pod.spec.as_ref();
    let attachment = PodAttachment {
        pod_uid: site.uid().to_owned(),
        hostname: crate::plan::pod::etc::hostname(&site.pod),
        host_network: spec.and_then(|spec| spec.host_network) == Some(true),
        host_ipc: spec.and_then(|spec| spec.host_ipc) == Some(true),
        host_ports: spec::host_ports(&site.pod),
    };
    match site.parts.network.attach(&attachment).await {
        Ok(addresses) => {
            let ips = addresses.ips.clone();
            // Sent before the outcome, so that the next step already has it.
            let _ = myself.cast(Message::Attached(addresses));
            Outcome::Attached(ips)
        }
        Err(error) => {
            let message = format!("Failed to create pod sandbox: {error}");
            Outcome::Failed(Failure { reason: "FailedCreatePodSandBox", message })
        }
    }
}

async fn ensure_image(site: &Site, container: &str, image: &str, policy: PullPolicy) -> Outcome {
    if policy != PullPolicy::Always {
        match site.parts.runtime.image(image).await {
            Ok(Some(found)) => return image_outcome(found, None),
            Ok(None) if policy == PullPolicy::Never => {
                let message = format!("Container image {image:?} is not present with pull policy of Never");
                return Outcome::Failed(Failure { reason: "ErrImageNeverPull", message });
            }
            Ok(None) => {}
            Err(error) => return image_failure(image, &error),
        }
    }
    super::report::pulling(site, container, image).await;
    let auths = crate::actors::agent::credentials::of_pod(site, image);
    let began = tokio::time::Instant::now();
    match site.parts.puller.pull(image, &auths).await {
        Ok(found) => image_outcome(found, Some(began.elapsed())),
        Err(error) => image_failure(image, &error),
    }
}

fn image_outcome(image: Image, pulled_in: Option<Duration>) -> Outcome {
    let printed = image.digests.first().unwrap_or(&image.id).clone();
    Outcome::Image { printed, size_bytes: image.size_bytes, pulled_in, id: image.id }
}

fn image_failure(image: &str, error: &Error) -> Outcome {
    Outcome::Failed(match error {
        Error::InvalidReference(_) => Failure {
            reason: "InvalidImageName",
            message: format!("Failed to apply default image tag {image:?}: {error}"),
        },
        _ => Failure { reason: "ErrImagePull", message: error.to_string() },
    })
}

async fn create(site: &Site, container: &str, attempt: u32, image_id: &str) -> Outcome {
    let _slot = site.parts.starts.acquire().await;
    let spec = match spec::container(site, container, attempt, image_id).await {
        Ok(spec) => spec,
        Err(failure) => return Outcome::Failed(failure),
    };
    match site.parts.runtime.create(&spec).await {
        Ok(()) => {
            let runtime = site.parts.runtime.name();
            Outcome::Created { printed_id: format!("{runtime}://{}", spec.id) }
        }
        Err(Error::Config(message)) => Outcome::Failed(Failure { reason: "CreateContainerConfigError", message }),
        Err(error) => Outcome::Failed(Failure { reason: "CreateContainerError", message: error.to_string() }),
    }
}

async fn remove_sandbox(site: &Site) -> Outcome {
    let outcome = done(site.parts.runtime.remove_sandbox(site.uid()).await, "FailedKillPod");
    if outcome == Outcome::Done
        && let Err(error) = site.parts.logs.remove_pod(&spec::log_directory(site))
    {
        tracing::warn!(pod = %site.object.key, %error, "the pod's logs could not be removed");
    }
    outcome
}

/// Waits for a container's end, and reads its last words.
pub async fn wait(site: &Site, id: &ContainerId, started_at: Option<Timestamp>) -> Terminated {
    let exit = loop {
        match site.parts.runtime.wait(id).await {
            Ok(exit) => break exit,
            Err(Error::NotFound(_)) => {
                return Terminated {
                    started_at,
                    finished_at: site.parts.clock.now(),
                    code: 137,
                    reason: "ContainerStatusUnknown".to_owned(),
                    message: "The container could not be located when the pod was terminated".to_owned(),
                    ..Terminated::default()
                };
            }
            Err(error) => {
                tracing::warn!(pod = %site.object.key, container = id.container, %error, "waiting for a container failed");
                tokio::time::sleep(WAIT_AGAIN_AFTER).await;
            }
        }
    };
    let reason = crate::actors::agent::orphans::reason(&exit);
    Terminated {
        printed_id: format!("{}://{id}", site.parts.runtime.name()),
        started_at,
        finished_at: exit.finished_at,
        code: exit.code,
        signal: None,
        reason: reason.to_owned(),
        message: last_words(site, id, exit.code).await,
    }
}

/// The termination message: the container's own file, else, where it asks so and failed, the end of its log.
async fn last_words(site: &Site, id: &ContainerId, code: i32) -> String {
    let name = spec::termination_file(&id.container, id.attempt);
    let bytes = site.parts.volumes.read(site.uid(), &name, MAX_MESSAGE_BYTES).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let slot = crate::plan::pod::containers::find(&site.pod, &id.container);
    let policy = slot.and_then(|slot| slot.container.termination_message_policy.as_deref());
    if !text.is_empty() || code == 0 || policy != Some("FallbackToLogsOnError") {
        return text;
    }
    crate::actors::agent::gateway::tail(site, id).await
}

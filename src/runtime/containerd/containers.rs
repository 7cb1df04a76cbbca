//! Containers and their tasks (what the daemon calls a container's processes).

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use containerd_client::services::v1::container::Runtime;
use containerd_client::services::v1::snapshots::{MountsRequest, PrepareSnapshotRequest, RemoveSnapshotRequest};
use containerd_client::services::v1::{
    Container, CreateContainerRequest, CreateTaskRequest, DeleteContainerRequest, DeleteTaskRequest,
    GetContainerRequest, KillRequest, ListContainersRequest, ListTasksRequest, StartRequest, UpdateContainerRequest,
    WaitRequest,
};
use containerd_client::tonic::Code;
use containerd_client::types::Mount;
use containerd_client::types::v1::{Process, Status as TaskStatus};
use prost_types::Any;

use super::api::{Api, SNAPSHOTTER, found, leased, made, request, system};
use super::images::Unpacked;
use crate::model::Timestamp;
use crate::runtime::logs::reader::settled;
use crate::runtime::oci::user::Database;
use crate::runtime::oci::{self, Host};
use crate::runtime::{ContainerId, ContainerSpec, ContainerState, Error, Exit, Phase, cgroup};
use crate::world::World;

/// The daemon's own limit for ids.
const ID_BYTES: usize = 76;
/// The runtime that the daemon starts.
const RUNC: &str = "io.containerd.runc.v2";
/// How the daemon knows a runtime spec.
const SPEC_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
/// Extension of a container: what it was asked for with.
const EXTENSION: &str = "shoal.local/container";
/// Label: when the container was started, in microseconds since 1970.
const LABEL_STARTED: &str = "shoal.local/started";
/// Label: how it ended, JSON.
const LABEL_EXIT: &str = "shoal.local/exit";
/// Exit code of a container whose end nobody saw: its task is gone.
const UNSEEN: i32 = 137;
/// Between two attempts to wait, where the daemon is away.
const WAIT_PAUSE: Duration = Duration::from_millis(250);
/// How long the end of the output may come after the end of the container.
const LOG_PATIENCE: Duration = Duration::from_secs(1);
/// Attempts before waiting fails: the daemon may be restarted.
const WAIT_ATTEMPTS: u32 = 120;
/// Tries of one task's removal, and the pause between two.
const REMOVALS: u32 = 5;
const REMOVE_AGAIN: Duration = Duration::from_millis(100);
/// What the daemon says where a task's shim ended before it answered.
const SHIM_IS_GONE: &str = "ttrpc: closed";
const SIGKILL: u32 = 9;

/// A container that the daemon has.
pub(super) struct Found {
    pub(super) id: String,
    pub(super) spec: ContainerSpec,
    /// The OCI spec, JSON.
    pub(super) oci: Vec<u8>,
    started: Option<Timestamp>,
    exit: Option<Exit>,
}

/// The id in the daemon: as short as it must be, unique, made of the characters that are allowed.
pub(super) fn id_of(id: &ContainerId) -> String {
    let plain = id.to_string();
    if plain.len() <= ID_BYTES {
        return plain;
    }
    let digest = crate::runtime::images::digest(plain.as_bytes());
    digest.trim_start_matches("sha256:").to_owned()
}

pub(super) async fn get(api: &Api, id: &ContainerId) -> Result<Option<Found>, Error> {
    let answer = api.containers().get(request(GetContainerRequest { id: id_of(id) })).await;
    match found(answer, "find a container")?.and_then(|answer| answer.into_inner().container) {
        Some(raw) => Found::read(raw),
        None => Ok(None),
    }
}

pub(super) async fn all(api: &Api) -> Result<Vec<Found>, Error> {
    let answer = api.containers().list(request(ListContainersRequest::default())).await;
    let raw = answer.map_err(|status| system("list containers", &status))?.into_inner().containers;
    raw.into_iter().filter_map(|raw| Found::read(raw).transpose()).collect()
}

/// Tasks by the ids of their containers.
pub(super) async fn tasks(api: &Api) -> Result<BTreeMap<String, Process>, Error> {
    let answer = api.tasks().list(request(ListTasksRequest::default())).await;
    let tasks = answer.map_err(|status| system("list tasks", &status))?.into_inner().tasks;
    Ok(tasks.into_iter().map(|task| (task.id.clone(), task)).collect())
}

impl Found {
    /// `None` for containers that are not ours.
    fn read(raw: Container) -> Result<Option<Self>, Error> {
        let Some(extension) = raw.extensions.get(EXTENSION) else { return Ok(None) };
        let spec = serde_json::from_slice(&extension.value)
            .map_err(|error| Error::System(format!("container {} has a damaged spec: {error}", raw.id)))?;
        let started = raw.labels.get(LABEL_STARTED).and_then(|at| at.parse().ok()).map(Timestamp);
        let oci = raw.spec.as_ref().map(|spec| spec.value.clone()).unwrap_or_default();
        let exit = raw.labels.get(LABEL_EXIT).and_then(|exit| serde_json::from_str(exit).ok());
        Ok(Some(Self { id: raw.id, spec, oci, started, exit }))
    }

    pub(super) fn state(
        &self,
        task: Option<&Process>,
        cgroup: impl Fn(&ContainerSpec) -> PathBuf,
        now: Timestamp,
    ) -> ContainerState {
        ContainerState {
            id: self.spec.id.clone(),
            printed_id: format!("containerd://{}", self.id),
            image_id: self.spec.image_id.clone(),
            phase: self.phase(task, &cgroup(&self.spec), now),
            labels: self.spec.labels.clone(),
        }
    }

    fn phase(&self, task: Option<&Process>, cgroup: &Path, now: Timestamp) -> Phase {
        if let Some(exit) = &self.exit {
            return Phase::Exited { started_at: self.started, exit: exit.clone() };
        }
        match (task.map(|task| (task.status(), task)), self.started) {
            (Some((TaskStatus::Stopped, task)), started_at) => {
                let exit = exit(task.exit_status, task.exited_at, cgroup, now);
                Phase::Exited { started_at, exit }
            }
            (Some((TaskStatus::Created | TaskStatus::Unknown, _)), _) | (None, None) => Phase::Created,
            (Some(_), started_at) => Phase::Running { started_at: started_at.unwrap_or(now) },
            (None, started_at) => Phase::Exited { started_at, exit: unseen(now) },
        }
    }
}

fn exit(status: u32, at: Option<prost_types::Timestamp>, cgroup: &Path, now: Timestamp) -> Exit {
    let code = i32::try_from(status).unwrap_or(UNSEEN);
    let finished_at = at.map_or(now, |at| Timestamp(at.seconds * 1_000_000 + i64::from(at.nanos) / 1_000));
    // The daemon tells only the code; shells and runtimes agree on what codes beyond 128 mean.
    let signal = (code > 128 && code <= 128 + 64).then_some(code - 128);
    Exit { code, signal, oom_killed: code != 0 && cgroup::oom_kills(cgroup) > 0, finished_at }
}

fn unseen(now: Timestamp) -> Exit {
    Exit { code: UNSEEN, signal: None, oom_killed: false, finished_at: now }
}

/// Makes the container and its snapshot.
pub(super) async fn create(
    api: &Api,
    spec: &ContainerSpec,
    image: &Unpacked,
    cgroup: &Path,
    host: &Host,
) -> Result<(), Error> {
    let lease = api.lease().await?;
    let id = id_of(&spec.id);
    let made_it = async {
        let prepare = PrepareSnapshotRequest {
            snapshotter: SNAPSHOTTER.to_owned(),
            key: id.clone(),
            parent: image.chain.clone(),
            labels: HashMap::new(),
        };
        made(api.snapshots().prepare(leased(prepare, &lease)).await, "prepare a root file system")?;
        let container = describe(&id, spec, image, &mounts(api, &id).await?, cgroup, host)?;
        let create = CreateContainerRequest { container: Some(container) };
        made(api.containers().create(leased(create, &lease)).await, "make a container")
    };
    let result = made_it.await;
    if result.is_err() {
        remove_snapshot(api, &id).await?;
    }
    api.release(lease).await;
    result
}

fn describe(
    id: &str,
    spec: &ContainerSpec,
    image: &Unpacked,
    mounts: &[Mount],
    cgroup: &Path,
    host: &Host,
) -> Result<Container, Error> {
    let image_user = image.config.user.as_deref().unwrap_or_default();
    let user = Database::read(&layers(mounts)).resolve(image_user, &spec.security)?;
    let mut host = host.clone();
    if spec.security.privileged {
        host.devices = oci::host::devices();
    }
    let oci = oci::spec(spec, &image.config, &user, "rootfs", &cgroup.to_string_lossy(), &host)?;
    let json = |value: &serde_json::Value| value.to_string().into_bytes();
    let asked = serde_json::to_vec(spec).map_err(|error| Error::System(error.to_string()))?;
    Ok(Container {
        id: id.to_owned(),
        image: image.name.clone(),
        runtime: Some(Runtime { name: RUNC.to_owned(), options: None }),
        spec: Some(Any { type_url: SPEC_TYPE.to_owned(), value: json(&oci) }),
        snapshotter: SNAPSHOTTER.to_owned(),
        snapshot_key: id.to_owned(),
        extensions: [(EXTENSION.to_owned(), Any { type_url: EXTENSION.to_owned(), value: asked })].into(),
        ..Container::default()
    })
}

/// Directories of the layers below a snapshot, topmost first, read from its mount options.
fn layers(mounts: &[Mount]) -> Vec<PathBuf> {
    let options = mounts.iter().flat_map(|mount| &mount.options);
    let lower = options.filter_map(|option| option.strip_prefix("lowerdir=")).flat_map(|dirs| dirs.split(':'));
    let bound = mounts.iter().filter(|mount| mount.r#type == "bind").map(|mount| mount.source.as_str());
    lower.chain(bound).map(PathBuf::from).collect()
}

async fn mounts(api: &Api, id: &str) -> Result<Vec<Mount>, Error> {
    let mounts = MountsRequest { snapshotter: SNAPSHOTTER.to_owned(), key: id.to_owned() };
    let answer = api.snapshots().mounts(request(mounts)).await;
    Ok(answer.map_err(|status| system("mount a root file system", &status))?.into_inner().mounts)
}

/// Makes the container's task and starts it. Where that fails, no task is left.
pub(super) async fn start(api: &Api, container: &Found, pump: &Path, now: Timestamp) -> Result<(), Error> {
    if container.exit.is_some()
        || tasks(api).await?.get(&container.id).is_some_and(|task| task.status() != TaskStatus::Created)
    {
        return Ok(());
    }
    set_label(api, &container.id, LABEL_STARTED, now.0.to_string()).await?;
    let started = async {
        let output = log_uri(pump, &container.spec.log_path);
        let create = CreateTaskRequest {
            container_id: container.id.clone(),
            rootfs: mounts(api, &container.id).await?,
            stdout: output.clone(),
            // A terminal has one output.
            stderr: if container.spec.tty { String::new() } else { output },
            terminal: container.spec.tty,
            ..CreateTaskRequest::default()
        };
        let created = api.tasks().create(request(create)).await;
        match created {
            Err(status) if status.code() != Code::AlreadyExists => return Err(refused(&status)),
            _ => {}
        }
        let start = StartRequest { container_id: container.id.clone(), exec_id: String::new() };
        api.tasks().start(request(start)).await.map(drop).map_err(|status| refused(&status))
    };
    let result = started.await;
    if result.is_err() {
        let delete = DeleteTaskRequest { container_id: container.id.clone() };
        // There may be none.
        let _ = api.tasks().delete(request(delete)).await;
        set_label(api, &container.id, LABEL_STARTED, String::new()).await?;
    }
    result
}

/// Failures of the program, in the daemon's words without its wrapping.
pub(super) fn refused(status: &containerd_client::tonic::Status) -> Error {
    let text = status.message();
    let at = text.find("unable to start container process").or_else(|| text.find("exec: "));
    let text = at.and_then(|at| text.get(at..)).unwrap_or(text);
    Error::Start(text.trim_end_matches(": unknown").to_owned())
}

/// Sets one label; an empty one counts as none.
async fn set_label(api: &Api, id: &str, label: &str, value: String) -> Result<(), Error> {
    let labels = [(label.to_owned(), value)].into();
    let container = Some(Container { id: id.to_owned(), labels, ..Container::default() });
    let update_mask = Some(prost_types::FieldMask { paths: vec![format!("labels.{label}")] });
    let updated = api.containers().update(request(UpdateContainerRequest { container, update_mask })).await;
    found(updated, "note the state of a container").map(drop)
}

/// `binary:///usr/bin/shoal?log-pump=/logs/...`: the daemon's shim starts the program with these two words.
fn log_uri(pump: &Path, log: &Path) -> String {
    let escape = |path: &Path| {
        let bytes = path.as_os_str().as_encoded_bytes();
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.' | b'~');
        bytes
            .iter()
            .map(|b| if plain(*b) { char::from(*b).to_string() } else { format!("%{b:02X}") })
            .collect::<String>()
    };
    format!("binary://{}?log-pump={}", escape(pump), escape(log))
}

pub(super) async fn signal(api: &Api, id: &str, signal: i32) -> Result<(), Error> {
    let signal = u32::try_from(signal).map_err(|_| Error::Config(format!("no signal has the number {signal}")))?;
    let kill = KillRequest { container_id: id.to_owned(), exec_id: String::new(), signal, all: false };
    match api.tasks().kill(request(kill)).await {
        // It has ended, or was never started.
        Err(status) if matches!(status.code(), Code::NotFound | Code::FailedPrecondition) => Ok(()),
        Err(status) => Err(system("signal a container", &status)),
        Ok(_) => Ok(()),
    }
}

/// Waits for the end, over restarts of the daemon.
pub(super) async fn wait(api: &Api, container: &Found, cgroup: &Path, world: &World) -> Result<Exit, Error> {
    let mut attempts = 0;
    loop {
        if let Some(exit) = &container.exit {
            return Ok(exit.clone());
        }
        let wait = WaitRequest { container_id: container.id.clone(), exec_id: String::new() };
        match api.tasks().wait(request(wait)).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                let exit = exit(answer.exit_status, answer.exited_at, cgroup, world.clock.now());
                return conclude(api, container, exit).await;
            }
            Err(status) if status.code() == Code::NotFound => return without_task(api, container, world).await,
            Err(status) if attempts == WAIT_ATTEMPTS => return Err(system("wait for a container", &status)),
            Err(_) => attempts += 1,
        }
        tokio::time::sleep(WAIT_PAUSE).await;
    }
}

/// Notes the end and lets go of the task: only that closes the pipe of the log, whose last words count too, and ends the
/// daemon's shim.
async fn conclude(api: &Api, container: &Found, exit: Exit) -> Result<Exit, Error> {
    let text = serde_json::to_string(&exit).map_err(|error| Error::System(error.to_string()))?;
    set_label(api, &container.id, LABEL_EXIT, text).await?;
    let delete = DeleteTaskRequest { container_id: container.id.clone() };
    // Somebody else who waited may have been faster.
    found(api.tasks().delete(request(delete)).await, "let go of an ended container")?;
    settled(&container.spec.log_path, LOG_PATIENCE).await;
    Ok(exit)
}

/// Its end was noted, or nobody saw it, or it never began.
async fn without_task(api: &Api, container: &Found, world: &World) -> Result<Exit, Error> {
    let now = get(api, &container.spec.id).await?;
    let now = now.ok_or_else(|| Error::NotFound(format!("container {}", container.spec.id)))?;
    match (now.exit, now.started) {
        (Some(exit), _) => Ok(exit),
        (None, Some(_)) => conclude(api, container, unseen(world.clock.now())).await,
        (None, None) => Err(Error::Start(format!("container {} was never started", container.spec.id))),
    }
}

/// Kills what runs and removes task, container and snapshot.
pub(super) async fn remove(api: &Api, id: &str) -> Result<(), Error> {
    let kill = KillRequest { container_id: id.to_owned(), exec_id: String::new(), signal: SIGKILL, all: true };
    // It may have no task, or one that has ended.
    let _ = api.tasks().kill(request(kill)).await;
    let wait = WaitRequest { container_id: id.to_owned(), exec_id: String::new() };
    let _ = api.tasks().wait(request(wait)).await;
    remove_task(api, id).await?;
    let delete = DeleteContainerRequest { id: id.to_owned() };
    found(api.containers().delete(request(delete)).await, "remove a container")?;
    remove_snapshot(api, id).await
}

/// The task's shim may end in the middle of a removal, which the daemon then cannot answer; the next one finds out.
async fn remove_task(api: &Api, id: &str) -> Result<(), Error> {
    let mut tries = 1;
    loop {
        let delete = DeleteTaskRequest { container_id: id.to_owned() };
        match api.tasks().delete(request(delete)).await {
            Err(status) if tries < REMOVALS && status.message().contains(SHIM_IS_GONE) => tries += 1,
            answer => return found(answer, "remove a task").map(drop),
        }
        tokio::time::sleep(REMOVE_AGAIN).await;
    }
}

async fn remove_snapshot(api: &Api, id: &str) -> Result<(), Error> {
    let remove = RemoveSnapshotRequest { snapshotter: SNAPSHOTTER.to_owned(), key: id.to_owned() };
    found(api.snapshots().remove(request(remove)).await, "remove a root file system").map(drop)
}

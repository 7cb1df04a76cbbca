//! The pretended machine: what is on it, and when its containers end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng as _;
use tokio::sync::Notify;

use super::behaviour::{self, Behaviour};
use crate::model::Timestamp;
use crate::runtime::network::PodAttachment;
use crate::runtime::{ContainerId, ContainerSpec, ContainerState, Error, Exit, Image, Phase, SandboxSpec};
use crate::world::World;
use crate::world::entropy::Rng;

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// How a machine pretends.
#[derive(Debug, Clone)]
pub struct MachineOptions {
    /// Shortest and longest pull.
    pub pull_latency: (Duration, Duration),
    /// Shortest and longest create.
    pub create_latency: (Duration, Duration),
    /// Shortest and longest start.
    pub start_latency: (Duration, Duration),
    /// First address of its pods (a /24 unless `pod_prefix` says otherwise) and prefix length.
    pub pod_cidr: (Ipv4Addr, u8),
    /// The machine's own address, which `hostNetwork` pods have.
    pub node_ip: IpAddr,
    /// Images that are here from the beginning.
    pub images: Vec<String>,
}

impl Default for MachineOptions {
    fn default() -> Self {
        Self {
            pull_latency: (Duration::ZERO, Duration::ZERO),
            create_latency: (Duration::ZERO, Duration::ZERO),
            start_latency: (Duration::ZERO, Duration::ZERO),
            pod_cidr: (Ipv4Addr::new(10, 244, 0, 0), 24),
            node_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            images: vec!["shoal.local/toolbox:latest".to_owned()],
        }
    }
}

/// A pretended machine. It keeps its state while nodes on it come and go.
pub struct Machine {
    pub(super) options: MachineOptions,
    pub(super) state: Mutex<State>,
    rng: Mutex<Rng>,
    world: World,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) images: BTreeMap<String, Image>,
    pub(super) sandboxes: BTreeMap<String, SandboxSpec>,
    pub(super) containers: BTreeMap<ContainerId, Container>,
    pub(super) attached: BTreeMap<String, (PodAttachment, IpAddr)>,
    pub(super) addresses: BTreeSet<IpAddr>,
    pub(super) last_address: u32,
    pub(super) logs: BTreeMap<PathBuf, VecDeque<(Timestamp, String)>>,
}

pub(super) struct Container {
    spec: ContainerSpec,
    behaviour: Behaviour,
    started: Option<Timestamp>,
    end: Option<End>,
    /// It is killed then, unless that is put off.
    held: Option<Timestamp>,
    changed: Arc<Notify>,
}

/// A known end, perhaps in the future.
#[derive(Clone)]
struct End {
    at: Timestamp,
    exit: Exit,
}

impl Container {
    pub(super) fn wake(&self) {
        self.changed.notify_waiters();
    }

    fn phase(&self, now: Timestamp) -> Phase {
        let started_at = self.started;
        match (self.ending(), started_at) {
            (Some(end), _) if end.at <= now => Phase::Exited { started_at, exit: end.exit },
            (_, Some(started_at)) => Phase::Running { started_at },
            _ => Phase::Created,
        }
    }
}

impl Container {
    /// Its end, by itself or by whoever holds it.
    fn ending(&self) -> Option<End> {
        let killed = self.held.filter(|_| self.started.is_some()).map(|at| killed(SIGKILL, at));
        self.end.clone().into_iter().chain(killed).min_by_key(|end| end.at)
    }

    /// Puts off its end by whoever holds it, where that has not come.
    fn hold(&mut self, until: Option<Timestamp>, now: Timestamp) {
        if self.held.is_some_and(|at| at <= now) {
            self.end = self.ending();
        }
        self.held = until;
        self.wake();
    }
}

impl Machine {
    /// Kills a pod's containers unless that is put off within the time.
    pub(super) fn hold(&self, pod_uid: &str, within: Option<Duration>) {
        let now = self.now();
        let mut state = self.state.lock();
        let its = state.containers.iter_mut().filter(|(id, _)| id.pod_uid == pod_uid);
        its.for_each(|(_, container)| container.hold(within.map(|within| now + within), now));
    }

    /// A machine with nothing on it but the images of `options`. Call inside the runtime whose time it follows.
    pub fn new(options: MachineOptions, world: World) -> Arc<Self> {
        let rng = Mutex::new(world.entropy.fork());
        let machine = Arc::new(Self { options, state: Mutex::default(), rng, world });
        for name in &machine.options.images {
            super::images::put(&machine, name);
        }
        machine
    }

    /// What a loss of power leaves: images and logs; containers, sandboxes and addresses are gone.
    pub fn reboot(&self) {
        let gone = {
            let mut state = self.state.lock();
            state.sandboxes.clear();
            state.attached.clear();
            state.addresses.clear();
            std::mem::take(&mut state.containers)
        };
        gone.values().for_each(Container::wake);
    }

    /// Ends a container from outside, as an operator's `kill -9` would; false where it does not run.
    pub fn kill(&self, id: &ContainerId) -> bool {
        self.signal(id, SIGKILL).is_ok()
    }

    /// Every container that is here, in order.
    pub fn containers(&self) -> Vec<ContainerState> {
        let now = self.world.clock.now();
        let state = self.state.lock();
        state
            .containers
            .values()
            .map(|container| ContainerState {
                id: container.spec.id.clone(),
                printed_id: format!("hollow://{}", container.spec.id),
                image_id: container.spec.image_id.clone(),
                phase: container.phase(now),
                labels: container.spec.labels.clone(),
            })
            .collect()
    }

    /// Every spec that was created and not removed: what invariants look at.
    pub fn specs(&self) -> Vec<ContainerSpec> {
        self.state.lock().containers.values().map(|container| container.spec.clone()).collect()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.world.clock.now()
    }

    pub(super) fn draw(&self, (low, high): (Duration, Duration)) -> Duration {
        if high <= low {
            return low;
        }
        self.rng.lock().random_range(low..=high)
    }

    pub(super) fn create(&self, spec: &ContainerSpec) -> Result<(), Error> {
        let behaviour = behaviour::of(spec);
        let mut state = self.state.lock();
        if state.containers.contains_key(&spec.id) {
            return Ok(());
        }
        if !state.sandboxes.contains_key(&spec.id.pod_uid) {
            return Err(Error::NotFound(format!("sandbox {}", spec.id.pod_uid)));
        }
        if !state.images.contains_key(&spec.image_id) {
            return Err(Error::NotFound(format!("image {}", spec.image_id)));
        }
        if let Some(reason) = &behaviour.fail_create {
            return Err(Error::Create(reason.clone()));
        }
        let container = Container {
            spec: spec.clone(),
            behaviour,
            started: None,
            end: None,
            held: None,
            changed: Arc::new(Notify::new()),
        };
        state.containers.insert(spec.id.clone(), container);
        Ok(())
    }

    pub(super) fn start_latency(&self, id: &ContainerId) -> Result<Duration, Error> {
        let scripted = {
            let state = self.state.lock();
            state.containers.get(id).ok_or_else(|| missing(id))?.behaviour.start
        };
        Ok(scripted.unwrap_or_else(|| self.draw(self.options.start_latency)))
    }

    pub(super) fn start(&self, id: &ContainerId) -> Result<(), Error> {
        let now = self.world.clock.now();
        let mut state = self.state.lock();
        let container = state.containers.get_mut(id).ok_or_else(|| missing(id))?;
        if let Some(reason) = &container.behaviour.fail_start {
            return Err(Error::Start(reason.clone()));
        }
        if container.started.is_some() {
            return Ok(());
        }
        container.started = Some(now);
        container.end = container.behaviour.ends_after.map(|after| scripted_end(&container.behaviour, now + after));
        container.wake();
        let (path, lines) = (container.spec.log_path.clone(), container.behaviour.prints.clone());
        super::logs::append(&mut state, &path, now, lines);
        Ok(())
    }

    pub(super) fn signal(&self, id: &ContainerId, signal: i32) -> Result<(), Error> {
        let now = self.world.clock.now();
        let mut state = self.state.lock();
        let container = state.containers.get_mut(id).ok_or_else(|| missing(id))?;
        if !matches!(container.phase(now), Phase::Running { .. }) {
            return Ok(());
        }
        let after = match signal {
            SIGKILL => Duration::ZERO,
            SIGTERM => match container.behaviour.term {
                Some(after) => after,
                None => return Ok(()),
            },
            _ => return Ok(()),
        };
        let sooner = container.ending().is_none_or(|end| now + after < end.at);
        if sooner {
            container.end = Some(killed(signal, now + after));
            container.wake();
        }
        Ok(())
    }

    /// Where a container is, and when it ends where that is known.
    pub(super) fn phase(&self, id: &ContainerId) -> Result<(Phase, Option<Timestamp>), Error> {
        let state = self.state.lock();
        let container = state.containers.get(id).ok_or_else(|| missing(id))?;
        Ok((container.phase(self.world.clock.now()), container.ending().map(|end| end.at)))
    }

    pub(super) fn changes(&self, id: &ContainerId) -> Result<Arc<Notify>, Error> {
        let state = self.state.lock();
        Ok(Arc::clone(&state.containers.get(id).ok_or_else(|| missing(id))?.changed))
    }
}

fn scripted_end(behaviour: &Behaviour, at: Timestamp) -> End {
    let (code, signal) = if behaviour.oom { (128 + SIGKILL, Some(SIGKILL)) } else { (behaviour.exit_code, None) };
    End { at, exit: Exit { code, signal, oom_killed: behaviour.oom, finished_at: at } }
}

fn killed(signal: i32, at: Timestamp) -> End {
    End { at, exit: Exit { code: 128 + signal, signal: Some(signal), oom_killed: false, finished_at: at } }
}

fn missing(id: &ContainerId) -> Error {
    Error::NotFound(format!("container {id}"))
}

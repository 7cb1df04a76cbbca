//! One contract, three runtimes: what every [`ContainerRuntime`] does, whatever is behind it. Needs root, `busybox` and
//! (for its part) `containerd`, `runc` and `docker-registry`.
//!
//! `image.rs` packs the test image, `scenarios.rs` is the contract, `registry.rs` runs a registry; here are the runtimes.

pub mod daemon;
mod image;
mod registry;
mod scenarios;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;
use shoal::model::Timestamp;
use shoal::runtime::containerd::{Containerd, ContainerdOptions};
use shoal::runtime::embedded::{Embedded, EmbeddedOptions};
use shoal::runtime::hollow::{Hollow, Machine, MachineOptions};
use shoal::runtime::{ContainerRuntime, Image};
use shoal::world::World;
use shoal::world::clock::{SystemClock, VirtualClock};
use shoal::world::disk::real::RealDisk;
use shoal::world::entropy::SystemEntropy;

type Open = Box<dyn Fn() -> BoxFuture<'static, Arc<dyn ContainerRuntime>> + Send + Sync>;

/// A runtime, and how to get another one on the same things, as a restarted node does.
struct Bed {
    directory: tempfile::TempDir,
    runtime: Arc<dyn ContainerRuntime>,
    open: Open,
    image: Image,
    /// The runtime's control group, removed with the bed, and with everything in it where a test fails.
    cgroup: PathBuf,
    /// Whether programs really run, so that output and effects can be looked at.
    real: bool,
}

impl Bed {
    async fn new<F: Future<Output = Arc<dyn ContainerRuntime>> + Send + 'static>(
        directory: tempfile::TempDir,
        cgroup: &str,
        real: bool,
        open: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self {
        let archive = directory.path().join("busybox.tar");
        image::write(&archive, image::NAME);
        let runtime = open().await;
        let image = if real {
            runtime.import(&archive).await.unwrap().remove(0)
        } else {
            runtime.pull(image::NAME, None).await.unwrap()
        };
        Self { directory, runtime, open: Box::new(move || Box::pin(open())), image, cgroup: cgroup.into(), real }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Removing an image under a running container is refused, or does it no harm (containerd keeps what is used).
    async fn keeps_images_in_use(&self) -> bool {
        self.runtime.name() == "containerd" || self.runtime.remove_image(image::NAME).await.is_err()
    }

    async fn restart(&mut self) {
        self.runtime = (self.open)().await;
    }
}

fn world() -> World {
    World { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy::new()), disk: Arc::new(RealDisk) }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = shoal::runtime::cgroup::remove(&self.cgroup);
    }
}

fn embedded_options(root: &Path, cgroup: &str) -> EmbeddedOptions {
    EmbeddedOptions {
        root: root.join("data"),
        run: root.join("run"),
        shim_binary: env!("CARGO_BIN_EXE_shoal").into(),
        cgroup_root: cgroup.into(),
        plain_http: vec![],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let cgroup = format!("shoal-test-{}", std::process::id());
    let options = embedded_options(directory.path(), &cgroup);
    let open = move || std::future::ready(Embedded::open(options.clone(), world()).unwrap());
    scenarios::all(Bed::new(directory, &cgroup, true, open).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_keeps_the_contract() {
    let daemon = daemon::Containerd::start();
    let directory = tempfile::tempdir().unwrap();
    let cgroup = format!("shoal-test-c{}", std::process::id());
    let options = ContainerdOptions {
        socket: daemon.socket(),
        root: directory.path().join("data"),
        log_binary: env!("CARGO_BIN_EXE_shoal").into(),
        cgroup_root: cgroup.clone().into(),
        plain_http: vec![],
    };
    let open = move || {
        let options = options.clone();
        async move { Containerd::connect(options, world()).await.unwrap() }
    };
    scenarios::all(Bed::new(directory, &cgroup, true, open).await).await;
    drop(daemon);
}

#[tokio::test(start_paused = true)]
async fn hollow_keeps_the_contract() {
    // On virtual time, as in the simulator.
    let clock = Arc::new(VirtualClock::starting_at(Timestamp(0)));
    let machine = Machine::new(MachineOptions::default(), World { clock, ..world() });
    let open = move || std::future::ready(Hollow::new(Arc::clone(&machine)) as Arc<dyn ContainerRuntime>);
    scenarios::all(Bed::new(tempfile::tempdir().unwrap(), "shoal-test-none", false, open).await).await;
}

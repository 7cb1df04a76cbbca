//! One contract, three runtimes: what every [`ContainerRuntime`] does, whatever is behind it. Needs root, `busybox` and
//! (for its part) `containerd`, `runc` and `docker-registry`.
//!
//! `image.rs` packs the test image, `scenarios.rs` is the contract, `registry.rs` runs a registry; here are the runtimes.

mod image;
mod scenarios;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use shoal::runtime::embedded::{Embedded, EmbeddedOptions};
use shoal::runtime::{ContainerRuntime, Image};
use shoal::world::World;
use shoal::world::clock::SystemClock;
use shoal::world::disk::real::RealDisk;
use shoal::world::entropy::SystemEntropy;

/// A runtime, and how to get another one on the same things, as a restarted node does.
struct Bed {
    directory: tempfile::TempDir,
    runtime: Arc<dyn ContainerRuntime>,
    open: Box<dyn Fn() -> Arc<dyn ContainerRuntime> + Send + Sync>,
    image: Image,
    /// Whether programs really run, so that output and effects can be looked at.
    real: bool,
}

impl Bed {
    async fn new(
        directory: tempfile::TempDir,
        real: bool,
        open: impl Fn() -> Arc<dyn ContainerRuntime> + Send + Sync + 'static,
    ) -> Self {
        let archive = directory.path().join("busybox.tar");
        image::write(&archive, "test.local/busybox:1");
        let runtime = open();
        let image = runtime.import(&archive).await.unwrap().remove(0);
        Self { directory, runtime, open: Box::new(open), image, real }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn restart(&mut self) {
        self.runtime = (self.open)();
    }
}

fn world() -> World {
    World { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy::new()), disk: Arc::new(RealDisk) }
}

fn embedded_options(root: &Path) -> EmbeddedOptions {
    EmbeddedOptions {
        root: root.join("data"),
        run: root.join("run"),
        shim_binary: env!("CARGO_BIN_EXE_shoal").into(),
        cgroup_root: format!("shoal-test-{}", std::process::id()).into(),
        plain_http: vec![],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let options = embedded_options(directory.path());
    let bed = Bed::new(directory, true, move || Embedded::open(options.clone(), world()).unwrap()).await;
    scenarios::all(bed).await;
}

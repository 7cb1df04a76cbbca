//! Pulls images: a bounded number at a time, and each image once however many containers wait for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{OnceCell, Semaphore};

use crate::runtime::{ContainerRuntime, Error, Image, PullAuth};

/// Makes the image that comes with the program itself; doing it again is cheap.
pub type MakeBuiltin = Box<dyn Fn() -> BoxFuture<'static, Result<(), Error>> + Send + Sync>;

type Shared = Arc<OnceCell<Result<Image, Error>>>;

/// The puller of a node.
pub struct ImagePuller {
    runtime: Arc<dyn ContainerRuntime>,
    builtin: Option<(String, MakeBuiltin)>,
    slots: Semaphore,
    // One entry for each pull that somebody waits for: bounded by the containers of the node.
    running: Mutex<BTreeMap<(String, String), Shared>>,
}

impl ImagePuller {
    /// A puller over `runtime` that pulls `at_once` images at a time, and makes the built-in one instead of fetching it.
    pub fn new(
        runtime: Arc<dyn ContainerRuntime>,
        at_once: usize,
        builtin: Option<(String, MakeBuiltin)>,
    ) -> Arc<Self> {
        Arc::new(Self { runtime, builtin, slots: Semaphore::new(at_once), running: Mutex::default() })
    }

    /// Pulls `reference`, trying each of `auths` in turn (without credentials where there are none). Joins a pull of the
    /// same image with the same credentials that already runs.
    ///
    /// # Errors
    /// Of the last try.
    pub async fn pull(&self, reference: &str, auths: &[PullAuth]) -> Result<Image, Error> {
        let users: Vec<&str> = auths.iter().map(|auth| auth.username.as_str()).collect();
        // However it is spelled, the built-in image is packed once at a time: packing uses files of one name.
        let builtin = self.builtin.as_ref().map(|(name, _)| name).filter(|name| is_builtin(name, reference));
        let key = match builtin {
            Some(name) => (name.clone(), String::new()),
            None => (reference.to_owned(), users.join("\n")),
        };
        let shared = Arc::clone(self.running.lock().entry(key.clone()).or_default());
        let result = shared.get_or_init(|| self.fetch(reference, auths)).await.clone();
        let mut running = self.running.lock();
        if running.get(&key).is_some_and(|known| Arc::ptr_eq(known, &shared)) {
            running.remove(&key);
        }
        result
    }

    async fn fetch(&self, reference: &str, auths: &[PullAuth]) -> Result<Image, Error> {
        let _slot = self.slots.acquire().await;
        if let Some((name, make)) = self.builtin.as_ref().filter(|(name, _)| is_builtin(name, reference)) {
            make().await?;
            let made = self.runtime.image(name).await?;
            return made.ok_or_else(|| Error::NotFound(format!("image {name}")));
        }
        let mut failure = None;
        for auth in auths {
            match self.runtime.pull(reference, Some(auth)).await {
                Ok(image) => return Ok(image),
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(failure) => Err(failure),
            None => self.runtime.pull(reference, None).await,
        }
    }
}

/// Whether `reference` names the image `name`, with its tag or without.
fn is_builtin(name: &str, reference: &str) -> bool {
    name == reference || name.rsplit_once(':').is_some_and(|(untagged, _)| untagged == reference)
}

//! Keeps the node's certificate fresh while it is in use: asks for another in time, keeps it, shows it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use rand::Rng as _;

use super::{Credential, Error, Identity, Lifetimes, LiveIdentity, NodeRequest, Subject, request};
use crate::model::Timestamp;
use crate::world::World;

/// How long to wait after a failure: this at first, twice as long each time, up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_secs(5);
/// Longest wait after a failure.
const RETRY_MAX: Duration = Duration::from_mins(10);
/// Shortest time between two renewals, whatever seems due: a signer and a bundle may disagree for a while.
const PAUSE: Duration = Duration::from_secs(10);
/// Longest wait before the clock is looked at again: it may have been set, or the machine been asleep.
const LOOK_AGAIN: Duration = Duration::from_mins(10);

/// Signs a node's request: the authority at hand, or the cluster through the mesh.
#[async_trait]
pub trait Signer: Send + Sync + 'static {
    /// The chain for the request (see [`super::Authority::sign_node`]); the reason where there is none.
    async fn sign(&self, request: NodeRequest) -> Result<String, String>;
}

/// The founder's signer: the authority of its own identity.
pub struct OwnAuthority {
    /// With the authority.
    pub identity: Arc<Mutex<Identity>>,
    /// What this node is.
    pub subject: Subject,
    /// How long certificates live.
    pub lifetimes: Lifetimes,
    /// Clock.
    pub world: World,
}

#[async_trait]
impl Signer for OwnAuthority {
    async fn sign(&self, request: NodeRequest) -> Result<String, String> {
        let identity = self.identity.lock();
        let authority = identity.authority().ok_or_else(|| Error::NoAuthority.to_string())?;
        let signed = authority.sign_node(&request.csr_pem, &self.subject, self.lifetimes.node, self.world.clock.now());
        signed.map_err(|error| error.to_string())
    }
}

/// What renewal works with. Clones share it.
#[derive(Clone)]
pub struct Renewal {
    /// On disk.
    pub identity: Arc<Mutex<Identity>>,
    /// At run time.
    pub live: LiveIdentity,
    /// What the certificate says.
    pub subject: Subject,
    /// When it is renewed.
    pub lifetimes: Lifetimes,
    /// Who signs.
    pub signer: Arc<dyn Signer>,
    /// Clock and randomness.
    pub world: World,
}

impl Renewal {
    /// Renews for ever. A failure is logged and tried again; the certificate that is there stays in use until its end.
    /// Cancel-safe.
    pub async fn run(self) -> std::convert::Infallible {
        let mut rng = self.world.entropy.fork();
        let mut changes = self.live.changes();
        let (mut jitter, mut failures) = (rng.random::<f64>(), 0);
        loop {
            let now = self.world.clock.now();
            let due = self.due(now, jitter);
            if due > now {
                let nap = due.since(now).min(LOOK_AGAIN);
                let _ = tokio::time::timeout(nap, changes.changed()).await;
                continue;
            }
            match self.renew().await {
                Ok(()) => {
                    (jitter, failures) = (rng.random(), 0);
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => {
                    tracing::warn!(error, failures, "the node's certificate could not be renewed");
                    tokio::time::sleep(backoff(failures)).await;
                    failures += 1;
                }
            }
        }
    }

    /// Renews now.
    ///
    /// # Errors
    /// The reason, where the certificate that is there stays.
    pub async fn renew(&self) -> Result<(), String> {
        let (key_pem, csr_pem) = request(&self.subject).map_err(|error| error.to_string())?;
        let certificate_pem = self.signer.sign(NodeRequest::new(&self.subject, csr_pem)).await?;
        let credential = Credential { certificate_pem, key_pem };
        self.identity.lock().renew(credential.clone()).map_err(|error| error.to_string())?;
        self.live.renew(&credential).map_err(|error| error.to_string())
    }

    fn due(&self, now: Timestamp, jitter: f64) -> Timestamp {
        if self.identity.lock().stale(&self.subject, &self.lifetimes, now).is_some() {
            return now;
        }
        self.live.renewal_due(self.lifetimes.renew_fraction, now, jitter)
    }
}

fn backoff(failures: u32) -> Duration {
    RETRY_FIRST.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(RETRY_MAX)
}

#[cfg(test)]
mod tests;

//! This node's standing: whom it believes and refuses follows the cluster's own objects, its certificate is renewed long
//! before it ends, and what it holds is told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng as _;
use ractor::ActorProcessingErr;
use serde_json::json;

use super::desk::{Ask, Desk, Told};
use super::ledger::{AUTHORITIES, Ledger, NAMESPACE, REVOKED};
use super::office::Office;
use super::office::rotation::{CERTIFICATE, bundle_of, report};
use crate::actors::mirror::Mirror;
use crate::actors::service::Service as Task;
use crate::actors::supervisor::Child;
use crate::kube::resource::id;
use crate::kube::status::Status;
use crate::mesh::identity::{Bundle, Credential, Identity, Lifetimes, LiveIdentity, NodeRequest, Revocations, Subject};
use crate::model::{ObjectKey, Scope, Timestamp};
use crate::plan::Command;
use crate::plan::authority::Holding;
use crate::store::Store;
use crate::world::World;

/// How often is looked at what time alone changes.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Pause after a renewal that failed, at most; shorter where the certificate lives shortly.
const RENEW_AGAIN: Duration = Duration::from_secs(30);

/// What keeping it takes.
#[derive(Clone)]
pub struct Standing {
    /// Keys on disk.
    pub identity: Arc<Mutex<Identity>>,
    /// What is shown and believed.
    pub live: LiveIdentity,
    /// The cluster's own objects.
    pub ledger: Ledger,
    /// Where they are followed.
    pub store: Store,
    /// Node objects.
    pub mirror: Arc<Mirror>,
    /// Asks for certificates.
    pub desk: Desk,
    /// The authority, where it is here.
    pub office: Option<Arc<Office>>,
    /// Clock and randomness.
    pub world: World,
    /// This node as its certificate names it.
    pub subject: Subject,
    /// How long certificates live.
    pub lifetimes: Lifetimes,
    /// Judges every connection again.
    pub recheck: Arc<dyn Fn() + Send + Sync>,
    /// Keeps clients' kubeconfig up to date with keys and authorities.
    pub kubeconfig: Arc<dyn Fn(&Identity) + Send + Sync>,
}

impl Standing {
    /// The child `renewal` of a supervisor.
    pub fn child(self) -> Child {
        Task::child("renewal", move || {
            let this = self.clone();
            async move { this.run().await }
        })
    }

    async fn run(self) -> Result<(), ActorProcessingErr> {
        let jitter: f64 = self.world.entropy.fork().random_range(0.0..1.0);
        let mut changes = self.store.watch(Scope::resource(id::CONFIG_MAPS, Some(NAMESPACE)), self.store.revision())?;
        let mut renew_at = None;
        loop {
            self.obey();
            let now = self.world.clock.now();
            let due = self.live.renewal_due(self.lifetimes.renew_fraction, now, jitter);
            let due = renew_at.map_or(due, |at: Timestamp| at.max(due));
            if due <= now {
                renew_at = match self.renew().await {
                    Ok(()) => None,
                    Err(error) => {
                        tracing::warn!(error = error.message, "the node's certificate could not be renewed; trying again");
                        Some(now + RENEW_AGAIN.min(self.lifetimes.node / 20))
                    }
                };
            }
            if let Err(error) = self.keep().await {
                tracing::debug!(error = error.message, "the node's certificate could not be told of");
            }
            let wait = due.since(now).clamp(Duration::from_millis(100), LOOK_EVERY);
            tokio::select! {
                changed = changes.next() => drop(changed?),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Believes and refuses whom the cluster says. What cannot be read changes nothing.
    pub fn obey(&self) {
        if let Err(error) = self.believe().and_then(|()| self.refuse()) {
            tracing::error!(error = error.message, "whom to believe cannot be read; what was known stays");
        }
    }

    fn believe(&self) -> Result<(), Status> {
        // The office writes that object: its own bundle is never behind.
        if self.office.is_some() {
            return Ok(());
        }
        let Some(page) = self.ledger.read(id::CONFIG_MAPS, AUTHORITIES)? else { return Ok(()) };
        let bundle = bundle_of(&page)?;
        if bundle == self.live.bundle() {
            return Ok(());
        }
        self.keep_bundle(bundle)
    }

    fn keep_bundle(&self, bundle: Bundle) -> Result<(), Status> {
        let mut identity = self.identity.lock();
        identity.trust(bundle.clone()).map_err(failed)?;
        self.live.trust(&bundle).map_err(failed)?;
        (self.kubeconfig)(&identity);
        (self.recheck)();
        Ok(())
    }

    fn refuse(&self) -> Result<(), Status> {
        let Some(page) = self.ledger.read(id::CONFIG_MAPS, REVOKED)? else { return Ok(()) };
        let revocations = Revocations::from_data(&page.entries).map_err(failed)?;
        if revocations != *self.live.revocations() {
            self.live.revoke(revocations);
            (self.recheck)();
        }
        Ok(())
    }

    async fn renew(&self) -> Result<(), Status> {
        if self.office.is_some() {
            let mut identity = self.identity.lock();
            identity.reissue(&self.subject, &self.lifetimes, self.world.clock.now()).map_err(failed)?;
            return self.live.renew(identity.node()).map_err(failed);
        }
        let (key_pem, csr_pem) = crate::mesh::identity::request(&self.subject).map_err(failed)?;
        let told = self.desk.ask(Ask::Renew(NodeRequest::new(&self.subject, csr_pem))).await.map_err(failed)?;
        let Told::Renewed { chain_pem, authorities_pem } = told else { return Err(failed("an answer to something else")) };
        let bundle = Bundle::from_pem(&authorities_pem).map_err(failed)?;
        if bundle != self.live.bundle() {
            self.keep_bundle(bundle)?;
        }
        let credential = Credential { certificate_pem: chain_pem, key_pem };
        let mut identity = self.identity.lock();
        identity.renew(credential).map_err(failed)?;
        self.live.renew(identity.node()).map_err(failed)?;
        tracing::info!(ends = %self.live.certificate().not_after.rfc3339(), "the node's certificate was renewed");
        Ok(())
    }

    /// The office's next step, and this node's report.
    async fn keep(&self) -> Result<(), Status> {
        if !self.mirror.is_filled() {
            return Ok(());
        }
        if let Some(office) = self.office.as_ref().filter(|_| self.store.leads()) {
            office.keep().await?;
        }
        self.tell().await
    }

    async fn tell(&self) -> Result<(), Status> {
        let key = ObjectKey::new(id::NODES, "", &self.subject.node);
        let known = {
            let snapshot = self.mirror.snapshot().read();
            let Some(node) = snapshot.get(&key) else { return Ok(()) };
            node.meta.annotations.as_ref().and_then(|all| all.get(CERTIFICATE)).cloned()
        };
        let Some(issuer) = self.live.issuer() else { return Ok(()) };
        let trusts: BTreeSet<_> = self.live.bundle().authorities().iter().map(|one| one.key()).collect();
        let text = report(&Holding { issuer, ends: self.live.certificate().not_after, trusts });
        if known.as_ref() == Some(&text) {
            return Ok(());
        }
        let body = json!({ "metadata": { "annotations": { CERTIFICATE: text } } });
        self.ledger.execute(Command::Patch { key, subresource: None, body }).await
    }
}

fn failed(error: impl std::fmt::Display) -> Status {
    Status::internal(error.to_string())
}

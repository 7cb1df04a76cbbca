//! This node's standing: whom it believes and refuses follows the cluster's own objects, and what it holds is told, so
//! that the authority knows when all are ready for its next step.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
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
use crate::mesh::identity::{Bundle, Identity, LiveIdentity, NodeRequest, OwnAuthority, Revocations, Signer};
use crate::model::{ObjectKey, Scope};
use crate::plan::Command;
use crate::plan::authority::Holding;
use crate::store::Store;

/// How often is looked at what time alone changes.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The same before the first objects are here.
const SOON: Duration = Duration::from_millis(100);

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
    /// The authority; it works where this node leads.
    pub office: Arc<Office>,
    /// This node's name.
    pub node: String,
    /// Judges every connection again.
    pub recheck: Arc<dyn Fn() + Send + Sync>,
    /// Keeps clients' kubeconfig up to date with keys and authorities.
    pub kubeconfig: Arc<dyn Fn(&Identity) + Send + Sync>,
}

impl Standing {
    /// The child `standing` of a supervisor.
    pub fn child(self) -> Child {
        Task::child("standing", move || {
            let this = self.clone();
            async move { this.run().await }
        })
    }

    async fn run(self) -> Result<(), ActorProcessingErr> {
        let mut changes = self.store.watch(Scope::resource(id::CONFIG_MAPS, Some(NAMESPACE)), self.store.revision())?;
        let mut own = self.live.changes();
        loop {
            self.obey();
            let wait = self.keep().await.unwrap_or_else(|error| {
                tracing::debug!(error = error.message, "what this node believes could not be told");
                LOOK_EVERY
            });
            tokio::select! {
                changed = changes.next() => drop(changed?),
                _ = own.changed() => {}
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
        // The office writes that object: the bundle of whoever leads is never behind.
        if self.store.leads() && self.office.holds_key() {
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

    /// The office's next step, and this node's report. Gives how long to wait before the next look.
    async fn keep(&self) -> Result<Duration, Status> {
        if !self.mirror.is_filled() {
            return Ok(SOON);
        }
        let mut wait = LOOK_EVERY;
        if self.office.is_open() && self.office.holds_key() {
            wait = self.office.keep().await?.unwrap_or(wait);
            (self.kubeconfig)(&self.identity.lock());
        }
        self.tell().await?;
        Ok(wait)
    }

    async fn tell(&self) -> Result<(), Status> {
        let key = ObjectKey::new(id::NODES, "", &self.node);
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

/// Asks the cluster's authority for this node's next certificate; where nobody answers, and the key is here, signs it
/// itself: a quorum that is lost for long must not end the voters' certificates.
pub struct DeskSigner {
    /// The way to the leader's authority.
    pub desk: Desk,
    /// The key that may be here.
    pub own: OwnAuthority,
}

#[async_trait]
impl Signer for DeskSigner {
    async fn sign(&self, request: NodeRequest) -> Result<String, String> {
        match self.desk.ask(Ask::Renew(request.clone())).await {
            Ok(Told::Renewed { chain_pem, .. }) => Ok(chain_pem),
            Ok(_) => Err("the authority answered something else".into()),
            Err(failure) => self.own.sign(request).await.map_err(|_| failure.to_string()),
        }
    }
}

fn failed(error: impl std::fmt::Display) -> Status {
    Status::internal(error.to_string())
}

//! One authority after the other: the next step is `plan::authority`'s to choose; here it is carried out.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Office, refused};
use crate::actors::cluster::desk::Told;
use crate::actors::cluster::ledger::{AUTHORITIES, BUNDLE, Entries, Page};
use crate::kube::resource::id;
use crate::kube::status::Status;
use crate::mesh::address::Refusal;
use crate::mesh::identity::Bundle;
use crate::model::NodeId;
use crate::plan::Snapshot;
use crate::plan::authority::{self, Action, Holding, Picture};

/// Steps in one look: make, publish, sign, forget.
const MAX_STEPS: usize = 8;
/// Annotation of a Node: what it says of its certificate, see [`report`].
pub const CERTIFICATE: &str = "shoal.dev/certificate";

impl Office {
    /// Begins a rotation, where none is under way.
    pub(super) async fn rotate(&self) -> Result<Told, Refusal> {
        let _turn = self.turn.lock().await;
        self.advance(true).await.map_err(refused)?;
        let names: Vec<String> = self.live.bundle().authorities().iter().map(|one| one.key().to_string()).collect();
        Ok(Told::Done(format!("authorities, the one that signs first: {}", names.join(", "))))
    }

    /// Takes every step that can be taken now. Gives how long to wait before the next look, where that is soon.
    ///
    /// # Errors
    /// Where one could not be taken; the next look tries again.
    pub async fn keep(&self) -> Result<Option<Duration>, Status> {
        let _turn = self.turn.lock().await;
        self.advance(false).await?;
        self.see_off().await
    }

    async fn advance(&self, mut asked: bool) -> Result<(), Status> {
        for _ in 0..MAX_STEPS {
            let action = self.next(asked)?;
            // The next leader must be able to go on from here.
            if !self.entrusted.load(Ordering::Relaxed) {
                return self.publish().await;
            }
            match action {
                Action::Wait { .. } => return self.publish().await,
                Action::Generate => self.generate()?,
                Action::Publish(_) => self.publish().await?,
                Action::Sign(_) => self.sign_with_successor()?,
                Action::Forget(key) => self.forget(key)?,
            }
            tracing::info!(?action, "a step in replacing the authority");
            self.publish().await?;
            asked = false;
        }
        Ok(())
    }

    fn next(&self, asked: bool) -> Result<Action, Status> {
        let nodes = holdings(&self.mirror.snapshot().read())?;
        let identity = self.identity.lock();
        let bundle = identity.bundle().picture();
        let successor = identity.successor().map(crate::mesh::identity::Authority::fingerprint);
        let lifetime = self.terms.lifetimes.node;
        let picture = Picture { bundle: &bundle, nodes: &nodes, successor, asked, lifetime };
        Ok(authority::next(&picture, self.world.clock.now()))
    }

    fn generate(&self) -> Result<(), Status> {
        let now = self.world.clock.now();
        let mut identity = self.identity.lock();
        identity.generate_successor(now).map_err(failed)?;
        self.live.trust(identity.bundle()).map_err(failed)
    }

    fn sign_with_successor(&self) -> Result<(), Status> {
        let now = self.world.clock.now();
        let mut identity = self.identity.lock();
        identity.switch(&self.terms.subject, &self.terms.lifetimes, now).map_err(failed)?;
        self.live.trust(identity.bundle()).map_err(failed)?;
        self.live.renew(identity.node()).map_err(failed)
    }

    fn forget(&self, key: crate::mesh::identity::Fingerprint) -> Result<(), Status> {
        let mut identity = self.identity.lock();
        let bundle = identity.bundle().without(key).map_err(failed)?;
        identity.trust(bundle).map_err(failed)?;
        self.live.trust(identity.bundle()).map_err(failed)
    }

    /// Writes the bundle where everybody reads it.
    async fn publish(&self) -> Result<(), Status> {
        let pem = self.identity.lock().bundle().pem();
        let change =
            |_: Option<&Entries>| -> Result<Entries, Status> { Ok(Entries::from([(BUNDLE.into(), pem.clone())])) };
        self.ledger.change(id::CONFIG_MAPS, AUTHORITIES, change).await
    }
}

/// What nodes say of their certificates.
fn holdings(snapshot: &Snapshot) -> Result<BTreeMap<NodeId, Holding>, Status> {
    let mut nodes = BTreeMap::new();
    for object in snapshot.list(id::NODES, None) {
        let Some(text) = object.meta.annotations.as_ref().and_then(|all| all.get(CERTIFICATE)) else { continue };
        let holding =
            read_report(text).ok_or_else(|| failed(format!("{} of {} cannot be read", CERTIFICATE, object.key)))?;
        nodes.insert(NodeId(object.key.name.clone()), holding);
    }
    Ok(nodes)
}

/// A node's own words: issuer, end (RFC 3339), trusted authorities, separated by spaces.
pub fn report(holding: &Holding) -> String {
    let trusts: Vec<String> = holding.trusts.iter().map(ToString::to_string).collect();
    format!("{} {} {}", holding.issuer, holding.ends.rfc3339_micro(), trusts.join(" "))
}

fn read_report(text: &str) -> Option<Holding> {
    let mut words = text.split_whitespace();
    let issuer = words.next()?.parse().ok()?;
    let ends = crate::model::Timestamp::parse(words.next()?)?;
    let trusts = words.map(str::parse).collect::<Result<_, _>>().ok()?;
    Some(Holding { issuer, ends, trusts })
}

fn failed(error: impl std::fmt::Display) -> Status {
    Status::internal(error.to_string())
}

/// The bundle that a page of [`AUTHORITIES`] has.
///
/// # Errors
/// Where it has none that can be read.
pub fn bundle_of(page: &Page) -> Result<Bundle, Status> {
    let pem = page.entries.get(BUNDLE).ok_or_else(|| failed("the authorities are missing"))?;
    Bundle::from_pem(pem).map_err(failed)
}

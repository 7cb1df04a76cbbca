//! The cluster's own paths of the API, as this node serves them: members, tokens, the authority.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::desk::{Ask, Desk, Told};
use super::ledger::{Ledger, TOKEN_TYPE};
use super::quorum::Quorum;
use super::recovery::Recovery;
use crate::actors::mirror::Mirror;
use crate::api::cluster::{self, Cluster};
use crate::kube::resource::id;
use crate::kube::status::Status;
use crate::mesh::address::{Failure, Refusal};
use crate::mesh::handle::Mesh;
use crate::mesh::identity::token::SECRET_NAME_PREFIX;
use crate::mesh::identity::{JoinToken, LiveIdentity, TokenRecord};
use crate::mesh::member::Life;
use crate::model::{NodeId, ObjectKey};
use crate::plan::placement;
use crate::store::raft::Standing;
use crate::world::World;

/// Most tokens at a time; those that are over are removed first.
pub const MAX_TOKENS: usize = 1_000;

/// What serving them takes.
pub struct Members {
    /// Members, and how far they are.
    pub mesh: Mesh,
    /// Node objects: who is registered.
    pub mirror: Arc<Mirror>,
    /// The cluster's own objects.
    pub ledger: Ledger,
    /// What is asked of the authority.
    pub desk: Desk,
    /// The authority's fingerprint.
    pub live: LiveIdentity,
    /// The quorum.
    pub quorum: Quorum,
    /// What follows its loss.
    pub recovery: Recovery,
    /// Clock and randomness.
    pub world: World,
}

impl Members {
    /// Behind a pointer, as the API takes it.
    pub fn shared(self) -> Arc<dyn Cluster> {
        Arc::new(self)
    }

    async fn done(&self, ask: Ask) -> Result<Value, Status> {
        match self.desk.ask(ask).await {
            Ok(Told::Done(message)) => Ok(json!({ "message": message })),
            Ok(_) => Err(Status::internal("the authority answered something else")),
            Err(Failure::Refused(Refusal::Forbidden(why))) => Err(Status::new(409, "Conflict", why)),
            Err(Failure::Refused(Refusal::Failed(why))) if why.starts_with("there is no node") => {
                Err(Status::new(404, "NotFound", why))
            }
            Err(failure) => Err(Status::new(503, "ServiceUnavailable", failure.to_string())),
        }
    }

    /// Removes tokens that let nobody in any more.
    async fn tidy(&self) -> Result<usize, Status> {
        let (now, mut left) = (self.world.clock.now(), 0);
        for (name, page) in self.ledger.secrets(TOKEN_TYPE)? {
            match TokenRecord::from_secret_data(&page.entries) {
                Ok(record) if record.is_over(now) => self.ledger.remove(id::SECRETS, &name).await?,
                _ => left += 1,
            }
        }
        Ok(left)
    }
}

#[async_trait]
impl Cluster for Members {
    async fn members(&self) -> Result<Value, Status> {
        let mut view = (**self.mesh.view().borrow()).clone();
        // Gossip remembers the dead; who was removed is nobody's member.
        if self.mirror.is_filled() {
            let snapshot = self.mirror.snapshot().read();
            let registered = |node: &NodeId| snapshot.get(&ObjectKey::new(id::NODES, "", &node.0)).is_some();
            view.members.retain(|node, member| member.life != Life::Dead || registered(node));
        }
        for (node, member) in &mut view.members {
            member.round_trip = self.mesh.links().round_trip(node);
        }
        Ok(cluster::members(&view))
    }

    async fn quorum(&self) -> Result<Value, Status> {
        self.quorum.tell().await
    }

    fn fingerprint(&self) -> String {
        self.live.bundle().signing().to_string()
    }

    async fn recovery(&self) -> Result<Value, Status> {
        Ok(self.recovery.state())
    }

    async fn recover(&self, dry_run: bool) -> Result<Value, Status> {
        self.recovery.run(dry_run).await
    }

    async fn move_actor(&self, actor: &str, node: Option<&str>) -> Result<Value, Status> {
        if self.mirror.snapshot().read().get(&placement::key(actor)).is_none_or(|lease| !placement::is_placement(lease))
        {
            return Err(Status::new(404, "NotFound", format!("there is no control actor {actor:?}")));
        }
        if placement::WITH_LEADER.contains(&actor) {
            let message = format!("{actor} runs on the node that leads, whichever that is");
            return Err(Status::new(409, "Conflict", message));
        }
        let voters = self.quorum.store.members();
        let votes = |node: &str| voters.iter().any(|one| one.node == node && one.standing != Standing::Learner);
        if let Some(node) = node.filter(|node| !votes(node)) {
            return Err(Status::new(409, "Conflict", format!("{node} is no voter: control actors run on voters")));
        }
        self.ledger.execute(placement::note(actor, placement::WISH, node.map(str::to_owned))).await?;
        let message = match node {
            Some(node) => format!("{actor} runs on {node} while that answers"),
            None => format!("{actor} runs on any voter"),
        };
        Ok(json!({ "message": message }))
    }

    async fn leave(&self, name: &str) -> Result<Value, Status> {
        let done = self.done(Ask::Remove(NodeId(name.into()))).await?;
        if *self.mesh.me().0 == *name {
            self.mesh.leave().await;
        }
        Ok(done)
    }

    async fn create_token(&self, ttl: Duration, uses: Option<u32>) -> Result<Value, Status> {
        if self.tidy().await? >= MAX_TOKENS {
            return Err(Status::new(409, "Conflict", format!("there are {MAX_TOKENS} tokens already; revoke some")));
        }
        let token = JoinToken::generate(&mut self.world.entropy.fork(), self.live.bundle().signing());
        let record = TokenRecord::new(&token, self.world.clock.now(), ttl, uses);
        self.ledger.create_secret(&record.secret_name(), TOKEN_TYPE, &record.to_secret_data()).await?;
        Ok(json!({ "token": token.to_string(), "id": record.id, "expires": record.expires.rfc3339() }))
    }

    async fn tokens(&self) -> Result<Value, Status> {
        self.ledger.refresh().await?;
        let mut items = Vec::new();
        for (_, page) in self.ledger.secrets(TOKEN_TYPE)? {
            let record = TokenRecord::from_secret_data(&page.entries);
            let record = record.map_err(|error| Status::internal(error.to_string()))?;
            items.push(json!({
                "id": record.id, "created": record.created.rfc3339(), "expires": record.expires.rfc3339(),
                "usesLeft": record.uses_left,
            }));
        }
        Ok(json!({ "items": items }))
    }

    async fn revoke_token(&self, id: &str) -> Result<Value, Status> {
        self.ledger.refresh().await?;
        let name = format!("{SECRET_NAME_PREFIX}{id}");
        if self.ledger.read(id::SECRETS, &name)?.is_none() {
            return Err(Status::new(404, "NotFound", format!("there is no token {id:?}")));
        }
        self.ledger.remove(id::SECRETS, &name).await?;
        Ok(json!({ "message": format!("token {id} lets nobody in any more") }))
    }

    async fn rotate_authority(&self) -> Result<Value, Status> {
        self.done(Ask::Rotate).await
    }
}

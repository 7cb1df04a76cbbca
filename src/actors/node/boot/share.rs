//! What a node does for its cluster: its standing, the routes to other nodes' pods, the authority where it is here.

use std::sync::Arc;

use parking_lot::Mutex;

use super::body::Body;
use super::place::{Place, lifetimes};
use super::url;
use crate::actors::cluster::counts::Counts;
use crate::actors::cluster::desk::{AuthorityCalls, Desk};
use crate::actors::cluster::ledger::Ledger;
use crate::actors::cluster::load;
use crate::actors::cluster::members::Members;
use crate::actors::cluster::neighbours::Neighbours;
use crate::actors::cluster::office::{Doors, Office, Terms};
use crate::actors::cluster::remember::Remember;
use crate::actors::cluster::standing::{DeskSigner, Standing};
use crate::actors::liveness::Liveness;
use crate::actors::node::Core;
use crate::actors::service::Service as Task;
use crate::actors::settings::NodeSettings;
use crate::actors::supervisor::Child;
use crate::mesh::exports::Protocol as _;
use crate::mesh::identity::{Identity, OwnAuthority, Renewal, Signer};
use crate::mesh::join::Network;
use crate::runtime::network::routes::PodRoutes;
use crate::world::World;

/// What it is made from.
pub struct Share<'a> {
    /// Settings.
    pub settings: &'a NodeSettings,
    /// The node's place.
    pub place: &'a Place,
    /// Clock and randomness.
    pub world: World,
    /// The kernel's routes.
    pub routes: Arc<dyn PodRoutes>,
}

impl Share<'_> {
    /// The children; the doors to the cluster are open when this returns.
    pub fn children(&self, core: &Core, body: &Body) -> Vec<Child> {
        let ledger = Ledger::new(core.registry.clone());
        let store = core.registry.store().clone();
        let desk = Desk::new(body.mesh.clone(), store.clone());
        let identity = Arc::new(Mutex::new(self.place.identity.clone()));
        let office = self.office(core, body, &identity, &ledger);
        body.door.open(desk.clone());
        let members = Members {
            mesh: body.mesh.clone(),
            mirror: core.mirror.clone(),
            ledger: ledger.clone(),
            desk: desk.clone(),
            live: body.live.clone(),
            world: self.world.clone(),
        };
        let _ = core.service.cluster.set(members.shared());
        let counts = Counts { mesh: body.mesh.clone(), endpoint: body.endpoint.clone() };
        core.service.metrics.extend(|registry| registry.register_collector(Box::new(counts)));
        let renewal = self.renewal(body, &identity, desk);
        let standing = Standing {
            identity,
            live: body.live.clone(),
            ledger,
            store: store.clone(),
            mirror: core.mirror.clone(),
            office,
            node: self.settings.name.clone(),
            recheck: self.recheck(body),
            kubeconfig: self.kubeconfig(),
        };
        standing.obey();
        let neighbours = Neighbours {
            me: self.settings.name.clone(),
            view: body.mesh.view(),
            mirror: core.mirror.clone(),
            routes: self.routes.clone(),
        };
        let remember = Remember {
            view: body.mesh.view(),
            remembered: self.place.remembered.clone(),
            data: self.settings.data.clone(),
        };
        let liveness = Liveness {
            store,
            view: body.mesh.view(),
            mirror: core.mirror.clone(),
            executor: core.registry.clone(),
            world: self.world.clone(),
            declare_after: self.settings.control.declare_after,
        };
        vec![
            renewal,
            standing.child(),
            neighbours.child(),
            remember.child(),
            liveness.child(),
            load::child(body.mesh.clone()),
        ]
    }

    /// The authority, on the node that has its key.
    fn office(
        &self,
        core: &Core,
        body: &Body,
        identity: &Arc<Mutex<Identity>>,
        ledger: &Ledger,
    ) -> Option<Arc<Office>> {
        identity.lock().authority()?;
        let doors = Doors {
            ledger: ledger.clone(),
            mirror: core.mirror.clone(),
            store: core.registry.store().clone(),
            view: body.mesh.view(),
            world: self.world.clone(),
        };
        let office = Office::new(identity.clone(), body.live.clone(), doors, self.terms());
        body.mesh.exports().serve::<AuthorityCalls>(AuthorityCalls::ACTOR, office.clone());
        Some(office)
    }

    /// The node's certificate renews itself: signed here where the authority's key is, else by whoever has it.
    fn renewal(&self, body: &Body, identity: &Arc<Mutex<Identity>>, desk: Desk) -> Child {
        let (subject, lifetimes) = (self.place.subject.clone(), lifetimes(self.settings));
        let signer: Arc<dyn Signer> = if identity.lock().authority().is_some() {
            let (identity, world) = (identity.clone(), self.world.clone());
            Arc::new(OwnAuthority { identity, subject: subject.clone(), lifetimes, world })
        } else {
            Arc::new(DeskSigner(desk))
        };
        let (live, world) = (body.live.clone(), self.world.clone());
        let renewal = Renewal { identity: identity.clone(), live, subject, lifetimes, signer, world };
        Task::child("identity", move || {
            let renewal = renewal.clone();
            async move { match renewal.run().await {} }
        })
    }

    fn terms(&self) -> Terms {
        let facts = &self.place.remembered.cluster;
        Terms {
            subject: self.place.subject.clone(),
            network: Network {
                pod_cidr: String::new(),
                service_cidr: facts.service_cidr.clone(),
                cluster_cidr: facts.cluster_cidr.clone(),
                cluster_domain: facts.cluster_domain.clone(),
                api_service_ip: self.place.service_cidr.nth(1).map(|ip| ip.to_string()).unwrap_or_default(),
            },
            cluster_cidr: facts.cluster_cidr.parse().unwrap_or(self.settings.network.cluster_cidr),
            node_prefix: self.settings.network.node_prefix,
            lifetimes: lifetimes(self.settings),
        }
    }

    /// Ends connections to whoever is no longer believed, and takes none from nodes that were removed.
    fn recheck(&self, body: &Body) -> Arc<dyn Fn() + Send + Sync> {
        let fabric = body.fabric.clone();
        Arc::new(move || {
            let ended = fabric.recheck();
            if ended > 0 {
                tracing::info!(ended, "connections to nodes that are no longer believed were ended");
            }
        })
    }

    fn kubeconfig(&self) -> Arc<dyn Fn(&Identity) + Send + Sync> {
        let (path, url) = (self.settings.data.join("admin.kubeconfig"), url(self.settings));
        Arc::new(move |identity| {
            if let Err(error) = identity.write_admin_kubeconfig(&path, &url) {
                tracing::warn!(%error, "the administrator's kubeconfig could not be written");
            }
        })
    }
}

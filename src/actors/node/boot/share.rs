//! What a node does for its cluster: its standing, the routes to other nodes' pods, the authority where it is here.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;

use super::body::Body;
use super::place::{Place, lifetimes};
use super::url;
use crate::actors::cluster::backups::Backups;
use crate::actors::cluster::counts::Counts;
use crate::actors::cluster::desk::{AuthorityCalls, Desk};
use crate::actors::cluster::keeper::{Keeper, Trustees};
use crate::actors::cluster::keys::KeyRing;
use crate::actors::cluster::ledger::Ledger;
use crate::actors::cluster::load;
use crate::actors::cluster::members::Members;
use crate::actors::cluster::neighbours::Neighbours;
use crate::actors::cluster::office::{Doors, Office, Terms};
use crate::actors::cluster::quorum::Quorum;
use crate::actors::cluster::recovery::Recovery;
use crate::actors::cluster::remember::Remember;
use crate::actors::cluster::standing::{DeskSigner, Standing};
use crate::actors::liveness::Liveness;
use crate::actors::node::Core;
use crate::actors::node::restart::Restarts;
use crate::actors::service::Service as Task;
use crate::actors::settings::NodeSettings;
use crate::actors::supervisor::Child;
use crate::mesh::exports::Protocol as _;
use crate::mesh::identity::{Identity, OwnAuthority, Renewal, Signer};
use crate::mesh::join::Network;
use crate::mesh::membership;
use crate::plan::liveness::decide_after;
use crate::plan::quorum;
use crate::runtime::network::routes::PodRoutes;
use crate::store::Store;
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
    /// Where a new beginning is asked for.
    pub restarts: Restarts,
}

impl Share<'_> {
    /// The children; the doors to the cluster are open when this returns.
    pub fn children(&self, core: &Core, body: &Body) -> Vec<Child> {
        let ledger = Ledger::new(core.registry.clone());
        let store = core.registry.store().clone();
        let desk = Desk::new(body.mesh.clone(), store.clone());
        let identity = Arc::new(Mutex::new(self.place.identity.clone()));
        let entrusted = Arc::new(AtomicBool::new(true));
        let office = self.office(core, body, &identity, &ledger, &entrusted);
        body.door.open(desk.clone());
        let recovery = self.recovery(&store, &ledger);
        let members = Members {
            recovery: recovery.clone(),
            mesh: body.mesh.clone(),
            mirror: core.mirror.clone(),
            ledger: ledger.clone(),
            desk: desk.clone(),
            live: body.live.clone(),
            quorum: Quorum { store: store.clone(), mesh: body.mesh.clone(), mirror: core.mirror.clone() },
            world: self.world.clone(),
        };
        let _ = core.service.cluster.set(members.shared());
        let counts = Counts { mesh: body.mesh.clone(), endpoint: body.endpoint.clone() };
        core.service.metrics.extend(|registry| registry.register_collector(Box::new(counts)));
        let keys = KeyRing {
            identity: identity.clone(),
            live: body.live.clone(),
            store: store.clone(),
            mesh: body.mesh.clone(),
            world: self.world.clone(),
        };
        keys.export(body.mesh.exports());
        let keeper = self.keeper(core, body, &ledger, Arc::new(keys), entrusted);
        let renewal = self.renewal(body, &identity, desk);
        let standing = Standing {
            identity,
            live: body.live.clone(),
            ledger,
            store,
            mirror: core.mirror.clone(),
            office,
            node: self.settings.name.clone(),
            recheck: self.recheck(body),
            kubeconfig: self.kubeconfig(),
        };
        standing.obey();
        let mut children = vec![renewal, standing.child(), keeper.child(), recovery.child()];
        children.extend(self.onlookers(core, body));
        children
    }

    /// Those that follow what the others decide.
    fn onlookers(&self, core: &Core, body: &Body) -> Vec<Child> {
        let store = core.registry.store().clone();
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
        let backups = Backups {
            store: store.clone(),
            live: body.live.clone(),
            settings: self.settings.backup.clone(),
            world: self.world.clone(),
        };
        let liveness = Liveness {
            store,
            view: body.mesh.view(),
            mirror: core.mirror.clone(),
            executor: core.registry.clone(),
            world: self.world.clone(),
            decide_after: decide_after(self.settings.control.declare_after),
            doubted_after: membership::Settings::default().suspect_after,
        };
        let load = load::child(body.mesh.clone());
        vec![neighbours.child(), remember.child(), liveness.child(), backups.child(), load]
    }

    /// What follows the loss of the quorum, and of this replica.
    fn recovery(&self, store: &Store, ledger: &Ledger) -> Recovery {
        Recovery {
            store: store.clone(),
            node: self.settings.name.clone(),
            data: self.settings.data.clone(),
            restarts: self.restarts.clone(),
            ledger: ledger.clone(),
            rejoined: self.place.rejoined.clone(),
        }
    }

    /// The quorum and the placements of control actors, where this node leads.
    fn keeper(
        &self,
        core: &Core,
        body: &Body,
        ledger: &Ledger,
        trustees: Arc<dyn Trustees>,
        entrusted: Arc<AtomicBool>,
    ) -> Keeper {
        let control = &self.settings.control;
        Keeper {
            store: core.registry.store().clone(),
            mesh: body.mesh.clone(),
            mirror: core.mirror.clone(),
            ledger: ledger.clone(),
            trustees,
            world: self.world.clone(),
            terms: quorum::Terms { voters_max: usize::from(control.voters_max), replace_after: control.replace_after },
            actors: core.actors.clone(),
            report: core.placement.report().clone(),
            tenure: Arc::default(),
            entrusted,
        }
    }

    /// The authority: every node has one, and that of the node that leads answers.
    fn office(
        &self,
        core: &Core,
        body: &Body,
        identity: &Arc<Mutex<Identity>>,
        ledger: &Ledger,
        entrusted: &Arc<AtomicBool>,
    ) -> Arc<Office> {
        let doors = Doors {
            entrusted: entrusted.clone(),
            seat: core.issuer.clone(),
            ledger: ledger.clone(),
            mirror: core.mirror.clone(),
            store: core.registry.store().clone(),
            view: body.mesh.view(),
            world: self.world.clone(),
        };
        let office = Office::new(identity.clone(), body.live.clone(), doors, self.terms());
        body.mesh.exports().serve::<AuthorityCalls>(AuthorityCalls::ACTOR, office.clone());
        office
    }

    /// The node's certificate renews itself: signed by the leader's authority, or here where nobody leads and the
    /// authority's key is at hand.
    fn renewal(&self, body: &Body, identity: &Arc<Mutex<Identity>>, desk: Desk) -> Child {
        let (subject, lifetimes) = (self.place.subject.clone(), lifetimes(self.settings));
        let own =
            OwnAuthority { identity: identity.clone(), subject: subject.clone(), lifetimes, world: self.world.clone() };
        let signer: Arc<dyn Signer> = Arc::new(DeskSigner { desk, own });
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

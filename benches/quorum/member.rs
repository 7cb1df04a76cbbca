//! One of our members: a mesh, a store, and what it is told on standard input. Ends when that ends.

use std::io::BufRead;
use std::sync::Arc;

use shoal::actors::cluster::replicas::{self, MeshPeers};
use shoal::mesh::exports::Exports;
use shoal::mesh::gossip;
use shoal::mesh::handle::{Mesh, MeshParts};
use shoal::mesh::join::Shut;
use shoal::mesh::member::Meta;
use shoal::mesh::quic::{Endpoint, Limits};
use shoal::model::NodeId;
use shoal::store::{FIRST_VOTER, Role, Store, StoreOptions};
use shoal::world::World;
use shoal::world::clock::SystemClock;
use shoal::world::disk::real::RealDisk;
use shoal::world::entropy::SystemEntropy;

use super::protocol::{Answer, Command, Settings};
use super::work;
use crate::Failure;
use crate::paper::Paper;

/// Runs a member until its input ends.
pub fn run(settings: &str) -> Result<(), Failure> {
    let settings: Settings = serde_json::from_str(settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let store = runtime.block_on(start(&settings))?;
    say(&Answer::Done)?;
    for line in std::io::stdin().lock().lines() {
        let command: Command = serde_json::from_str(&line?)?;
        // In a task, as the API's requests are: what `block_on` drives wakes more slowly.
        let (store, answered) = (store.clone(), command.clone());
        let task = runtime.spawn(async move { carry_out(&store, answered).await });
        let answer = runtime.block_on(task)?;
        say(&answer.unwrap_or_else(|error| Answer::Failed(format!("{command:?}: {error}"))))?;
    }
    Ok(())
}

fn say(answer: &Answer) -> Result<(), Failure> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(answer)?)?;
    Ok(out.flush()?)
}

async fn start(settings: &Settings) -> Result<Store, Failure> {
    let world =
        World { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy::new()), disk: Arc::new(RealDisk) };
    let papers = Arc::new(Paper::read(&settings.papers, &settings.name)?);
    let endpoint = Endpoint::bind(settings.at, papers, Limits::default())?;
    let named = |(name, at): &(String, _)| (Some(NodeId(name.as_str().into())), *at);
    let exports = Exports::default();
    let (mesh, task) = Mesh::new(MeshParts {
        me: NodeId(settings.name.as_str().into()),
        generation: u64::try_from(world.clock.now().0)?,
        fabric: endpoint.fabric(),
        exports: exports.clone(),
        meta: Meta::default(),
        peers: settings.peers.iter().map(named).collect(),
        world: world.clone(),
    });
    tokio::spawn(async move { endpoint.run(Arc::new(Shut(bytes::Bytes::new()))).await });
    tokio::spawn(async move { task.run_with(gossip::drive).await });
    let role = if settings.raft_id == FIRST_VOTER { Role::Found } else { Role::Join };
    let options =
        StoreOptions { raft_id: settings.raft_id, role, ..StoreOptions::new(&settings.dir, settings.name.clone()) };
    let store = Store::open_with(options, Arc::new(MeshPeers(mesh)), world).await?;
    replicas::export(&exports, &store);
    Ok(store)
}

async fn carry_out(store: &Store, command: Command) -> Result<Answer, Failure> {
    Ok(match command {
        Command::Add { raft_id, node } => {
            store.add_learner(raft_id, &node).await?;
            store.promote(raft_id).await?;
            Answer::Done
        }
        Command::Leads => Answer::Leads(store.leads()),
        Command::CatchUp => {
            store.caught_up().await?;
            Answer::Done
        }
        Command::Write { clients, millis, bytes } => Answer::Samples(work::write(store, clients, millis, bytes).await?),
        Command::Read { clients, millis } => Answer::Samples(work::read(store, clients, millis).await?),
        Command::Watch { watchers, changes } => Answer::Samples(work::watch(store, watchers, changes).await?),
        Command::HandOver { to } => {
            let started = std::time::Instant::now();
            store.hand_over(to).await?;
            Answer::Took(u64::try_from(started.elapsed().as_micros())?)
        }
        Command::Load { clients, millis, file } => Answer::Gap(work::load(store, clients, millis, &file).await?),
        Command::Check { file } => Answer::Missing(work::missing(store, &file).await?),
        Command::Fill { objects, bytes } => {
            work::fill(store, objects, bytes).await?;
            Answer::Done
        }
        Command::Close => {
            store.close().await;
            Answer::Done
        }
    })
}

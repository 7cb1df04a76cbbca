//! What a call of a node to itself costs above calling its handler, beside a bare ractor call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use shoal::mesh::address::{Address, Class, Refusal};
use shoal::mesh::exports::{Handler, Protocol};
use shoal::mesh::handle::Mesh;
use shoal::model::NodeId;

/// Adds one.
pub struct Count;

impl Protocol for Count {
    const ACTOR: &'static str = "count";
    const VERSION: u16 = 1;
    const CLASS: Class = Class::Control;
    type Request = u64;
    type Answer = u64;
}

/// Answers [`Count`].
pub struct Counting;

#[async_trait]
impl Handler<Count> for Counting {
    async fn handle(&self, _from: &NodeId, request: u64) -> Result<u64, Refusal> {
        Ok(request + 1)
    }
}

/// Nanoseconds of one call through the mesh to this node itself, over `rounds` calls.
pub async fn through_mesh(mesh: &Mesh, rounds: u32) -> f64 {
    mesh.exports().serve::<Count>(Count::ACTOR, Arc::new(Counting));
    let to = Address::new(mesh.me(), Count::ACTOR);
    let started = Instant::now();
    for _ in 0..rounds {
        mesh.call::<Count>(&to, 1, Duration::from_secs(1)).await.expect("an answer");
    }
    started.elapsed().as_nanos() as f64 / f64::from(rounds)
}

/// Nanoseconds of one call of the handler itself.
pub async fn handler_alone(me: &NodeId, rounds: u32) -> f64 {
    let handler: Arc<dyn Handler<Count>> = Arc::new(Counting);
    let started = Instant::now();
    for _ in 0..rounds {
        std::hint::black_box(handler.handle(me, 1).await).expect("an answer");
    }
    started.elapsed().as_nanos() as f64 / f64::from(rounds)
}

struct Adder;

impl ractor::Actor for Adder {
    type Msg = (u64, ractor::RpcReplyPort<u64>);
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ractor::ActorRef<Self::Msg>, (): ()) -> Result<(), ractor::ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ractor::ActorRef<Self::Msg>,
        (number, reply): Self::Msg,
        (): &mut (),
    ) -> Result<(), ractor::ActorProcessingErr> {
        let _ = reply.send(number + 1);
        Ok(())
    }
}

/// Nanoseconds of one call of a ractor actor.
pub async fn bare_ractor(rounds: u32) -> f64 {
    let (actor, ended) = ractor::Actor::spawn(None, Adder, ()).await.expect("an actor");
    let started = Instant::now();
    for _ in 0..rounds {
        let asked = actor.call(|reply| (1, reply), None).await.expect("an actor that runs");
        assert!(matches!(asked, ractor::rpc::CallResult::Success(2)));
    }
    let each = started.elapsed().as_nanos() as f64 / f64::from(rounds);
    actor.stop(None);
    let _ = ended.await;
    each
}

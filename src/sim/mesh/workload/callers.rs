//! Who calls: everybody everybody, with deadlines, and writes down what came of it.

use std::time::Duration;

use bytes::Bytes;
use rand::Rng as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::actors::{Ask, COUNTER, Counting, Dawdling, ECHO, Echoing, FICKLE, PIPE, Reply, SLOW, Visiting};
use super::{Desk, pause};
use crate::mesh::address::{Address, Class, Failure};
use crate::mesh::exports::Protocol;
use crate::mesh::fabric::Duplex;
use crate::model::NodeId;
use crate::sim::mesh::history::{Call, Kind, Outcome, Who};
use crate::world::entropy::Rng;

/// Most bytes that a call carries for nothing.
const BALLAST_BYTES: usize = 6_000;
/// Most bytes that go through a stream.
const STREAM_BYTES: usize = 400_000;
/// How long a stream may take in all; there is no deadline once it is open.
const STREAM_TAKES: Duration = Duration::from_secs(20);

/// Calls without end.
pub async fn call_for_ever(desk: Desk, mut rng: Rng) {
    loop {
        pause(&mut rng, 5, 400).await;
        let kind = draw(&mut rng);
        let to = if kind == Kind::Local { desk.who.node.clone() } else { desk.somebody(&mut rng) };
        let deadline = Duration::from_millis(rng.random_range(30..=4_000));
        let id = desk.shared.next_call();
        let asked = desk.clock.global();
        let call = Call { kind, from: desk.who.clone(), to: to.clone(), asked, deadline, ended: None };
        desk.shared.trace.note(format!("{} asks {id} of {to}: {kind:?} within {deadline:?}", desk.who.node));
        desk.write(|history| history.calls.insert(id, call));
        let outcome = perform(&desk, kind, id, &to, deadline, &mut rng).await;
        let at = desk.clock.global();
        desk.shared.trace.note(format!("{} has of {id}: {outcome:?}", desk.who.node));
        desk.write(|history| {
            if let Some(call) = history.calls.get_mut(&id) {
                call.ended = Some((at, outcome));
            }
        });
    }
}

fn draw(rng: &mut Rng) -> Kind {
    match rng.random_range(0..100) {
        0..40 => Kind::Increment,
        40..60 => Kind::Echo,
        60..70 => Kind::Slow,
        70..80 => Kind::Fickle,
        80..85 => Kind::Local,
        85..95 => Kind::Cast,
        _ => Kind::Stream,
    }
}

async fn perform(desk: &Desk, kind: Kind, call: u64, to: &NodeId, deadline: Duration, rng: &mut Rng) -> Outcome {
    let small = Ask { call, takes_ms: 0, ballast: Vec::new() };
    match kind {
        Kind::Increment | Kind::Local => ask::<Counting>(desk, to, COUNTER, small, deadline).await,
        Kind::Echo => {
            let ballast = (0..rng.random_range(0..BALLAST_BYTES)).map(|_| rng.random()).collect();
            ask::<Echoing>(desk, to, ECHO, Ask { ballast, ..small }, deadline).await
        }
        Kind::Slow => {
            let takes_ms = rng.random_range(0..3_000);
            ask::<Dawdling>(desk, to, SLOW, Ask { takes_ms, ..small }, deadline).await
        }
        Kind::Fickle => ask::<Visiting>(desk, to, FICKLE, small, deadline).await,
        Kind::Cast => match desk.mesh.cast::<Counting>(&Address::new(to, COUNTER), small).await {
            Ok(()) => Outcome::Lost,
            Err(failure) => failed(failure),
        },
        Kind::Stream => stream(desk, to, call, deadline, rng.random_range(0..STREAM_BYTES)).await,
    }
}

async fn ask<P>(desk: &Desk, to: &NodeId, actor: &str, request: Ask, deadline: Duration) -> Outcome
where
    P: Protocol<Request = Ask, Answer = Reply>,
{
    let sent = request.ballast.clone();
    match desk.mesh.call::<P>(&Address::new(to, actor), request, deadline).await {
        Ok(reply) if reply.ballast != sent => Outcome::Answered(0, Who { node: reply.node, generation: 0 }),
        Ok(Reply { call, node, generation, .. }) => Outcome::Answered(call, Who { node, generation }),
        Err(failure) => failed(failure),
    }
}

fn failed(failure: Failure) -> Outcome {
    match failure {
        Failure::Unreachable(_) => Outcome::Unreachable,
        Failure::Timeout => Outcome::Timeout,
        Failure::Lost(_) => Outcome::Lost,
        Failure::Shed(_) => Outcome::Shed,
        Failure::Refused(refusal) => Outcome::Refused(refusal.to_string()),
    }
}

async fn stream(desk: &Desk, to: &NodeId, call: u64, deadline: Duration, length: usize) -> Outcome {
    let header = Bytes::copy_from_slice(&call.to_le_bytes());
    match desk.mesh.open(&Address::new(to, PIPE), Class::Bulk, 1, header, deadline).await {
        Err(failure) => failed(failure),
        Ok((grant, duplex)) => {
            let granted = grant.as_ref().try_into().map_or(0, u64::from_le_bytes);
            let echo = tokio::time::timeout(STREAM_TAKES, echo(duplex, length)).await;
            match echo {
                Ok(Ok(true)) => Outcome::Answered(granted, Who { node: to.clone(), generation: 0 }),
                Ok(Ok(false)) => Outcome::Answered(0, Who { node: to.clone(), generation: 0 }),
                Ok(Err(_)) | Err(_) => Outcome::Lost,
            }
        }
    }
}

/// Sends `length` bytes and says whether the same came back.
async fn echo(duplex: Duplex, length: usize) -> std::io::Result<bool> {
    let sent: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
    let Duplex { mut send, mut receive } = duplex;
    let write = async {
        send.write_all(&sent).await?;
        send.shutdown().await
    };
    let mut got = Vec::with_capacity(length);
    let read = receive.read_to_end(&mut got);
    let (wrote, read) = futures::join!(write, read);
    wrote?;
    read?;
    Ok(got == sent)
}

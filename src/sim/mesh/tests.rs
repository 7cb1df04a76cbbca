//! The simulated network by itself: two machines, one network, no mesh.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::authority::Authorities;
use super::fabric::SimFabric;
use super::fleet::address;
use super::machine::Machine;
use super::net::SimNet;
use super::net::weather::Weather;
use super::time::{At, Hand, NodeClock, ORIGIN};
use crate::mesh::fabric::{DialError, Fabric as _};
use crate::model::NodeId;

const SLICE: Duration = Duration::from_millis(5);

/// Two machines: 0 dials, 1 answers.
struct Pair {
    net: SimNet,
    hand: Hand,
    machines: Vec<Machine>,
    fabrics: Vec<Arc<SimFabric>>,
    said: Arc<Mutex<Vec<String>>>,
}

fn name(slot: usize) -> NodeId {
    NodeId(format!("n{slot}").into())
}

impl Pair {
    fn new(clusters: [u32; 2]) -> Self {
        let (net, hand) = (SimNet::new(7), Hand::default());
        let mut pair = Self { net, hand, machines: Vec::new(), fabrics: Vec::new(), said: Arc::default() };
        let authorities = Authorities::generate(2).unwrap();
        for (slot, cluster) in clusters.into_iter().enumerate() {
            let clock = Arc::new(NodeClock::new(pair.hand.clone(), 0, 0));
            pair.machines.push(Machine::start(slot as u64, Arc::clone(&clock), At::ZERO).unwrap());
            let papers = authorities.papers(&name(slot), cluster, ORIGIN, clock.clone()).unwrap();
            pair.net.boot(slot, address(slot, 0), 1, papers, Arc::clone(&clock));
            pair.fabrics.push(Arc::new(SimFabric::new(pair.net.clone(), slot, 1, address(slot, 0), clock)));
        }
        pair
    }

    fn pass(&mut self, seconds: u64) {
        let to = self.hand.at() + Duration::from_secs(seconds);
        while self.hand.at() < to {
            let at = self.hand.at();
            for machine in &mut self.machines {
                machine.drive(at, at + SLICE).unwrap();
            }
            self.net.step(at + SLICE, &self.hand.clone());
        }
    }

    /// Machine 1 accepts and sends back every stream and datagram.
    fn serve(&self) {
        let fabric = Arc::clone(&self.fabrics[1]);
        self.machines[1].begin(async move {
            while let Some(channel) = fabric.accept().await {
                let other = Arc::clone(&channel);
                tokio::spawn(async move {
                    while let Ok(bytes) = other.datagram().await {
                        let _ = other.send_datagram(bytes);
                    }
                });
                tokio::spawn(async move {
                    while let Ok(mut stream) = channel.accept().await {
                        let mut all = Vec::new();
                        let _ = stream.receive.read_to_end(&mut all).await;
                        let _ = stream.send.write_all(&all).await;
                        let _ = stream.send.shutdown().await;
                    }
                });
            }
        });
    }

    /// Machine 0 dials and does `work` with what it gets, and notes what comes of it.
    fn dial<F>(&self, work: impl FnOnce(Arc<dyn crate::mesh::fabric::Channel>) -> F + Send + 'static)
    where
        F: Future<Output = String> + Send,
    {
        self.dial_as(name(1), work);
    }

    fn dial_as<F>(
        &self,
        expected: NodeId,
        work: impl FnOnce(Arc<dyn crate::mesh::fabric::Channel>) -> F + Send + 'static,
    ) where
        F: Future<Output = String> + Send,
    {
        let (fabric, said) = (Arc::clone(&self.fabrics[0]), Arc::clone(&self.said));
        self.machines[0].begin(async move {
            let outcome = match fabric.dial(&expected, address(1, 0)).await {
                Ok(channel) => work(channel).await,
                Err(DialError::Unreachable(_)) => "unreachable".into(),
                Err(DialError::Refused { reason, .. }) => format!("refused: {reason}"),
                Err(error @ DialError::Version { .. }) => error.to_string(),
            };
            said.lock().push(outcome);
        });
    }

    fn said(&self) -> String {
        self.said.lock().join(";")
    }
}

async fn echo(channel: Arc<dyn crate::mesh::fabric::Channel>, length: usize) -> String {
    let sent: Vec<u8> = (0..length).map(|index| (index % 249) as u8).collect();
    let crate::mesh::fabric::Duplex { mut send, mut receive } = match channel.open().await {
        Ok(duplex) => duplex,
        Err(lost) => return lost.to_string(),
    };
    let mut got = Vec::new();
    let write = async {
        send.write_all(&sent).await?;
        send.shutdown().await
    };
    match futures::join!(write, receive.read_to_end(&mut got)) {
        (Ok(()), Ok(_)) if got == sent => "echoed".into(),
        (Ok(()), Ok(_)) => "something else came back".into(),
        (wrote, read) => format!("{wrote:?} {read:?}"),
    }
}

#[test]
fn a_stream_brings_everything_back_in_order_through_loss_and_delay() {
    let mut pair = Pair::new([0, 0]);
    let latency = (Duration::from_millis(1), Duration::from_millis(40));
    let spike = (0.1, Duration::from_millis(300));
    pair.net.sky(|sky| sky.usual = Weather { latency, loss: 0.25, spike, ..Weather::CALM });
    pair.serve();
    pair.dial(|channel| echo(channel, 2_000_000));
    pair.pass(60);
    assert_eq!(pair.said(), "echoed");
}

#[test]
fn datagrams_are_lost_doubled_and_reordered_but_never_changed() {
    let mut pair = Pair::new([0, 0]);
    pair.net.sky(|sky| sky.usual = Weather { loss: 0.2, duplicate: 0.2, reorder: 0.3, ..Weather::CALM });
    pair.serve();
    pair.dial(|channel| async move {
        let mut got = Vec::new();
        for number in 0..500u32 {
            let _ = channel.send_datagram(Bytes::copy_from_slice(&number.to_le_bytes()));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        while let Ok(Ok(bytes)) = tokio::time::timeout(Duration::from_secs(1), channel.datagram()).await {
            got.push(u32::from_le_bytes(bytes.as_ref().try_into().unwrap()));
        }
        let unique: BTreeSet<u32> = got.iter().copied().collect();
        let ordered = got.windows(2).all(|pair| pair[0] < pair[1]);
        format!("{} {} {} {ordered}", unique.len() < 500, unique.len() > 200, got.len() > unique.len())
    });
    pair.pass(10);
    assert_eq!(pair.said(), "true true true false");
}

#[test]
fn a_dial_needs_both_directions_and_is_unreachable_without() {
    for cut in [(0, 1), (1, 0)] {
        let mut pair = Pair::new([0, 0]);
        pair.net.sky(|sky| sky.cuts.insert(cut));
        pair.serve();
        pair.dial(|channel| echo(channel, 10));
        pair.pass(6);
        assert_eq!(pair.said(), "unreachable");
    }
}

#[test]
fn a_dial_to_a_stopped_process_is_answered_if_it_goes_on_in_time() {
    let mut pair = Pair::new([0, 0]);
    pair.net.freeze(1, true);
    pair.serve();
    pair.dial(|channel| echo(channel, 10));
    pair.pass(1);
    assert_eq!(pair.said(), "");
    pair.net.freeze(1, false);
    pair.pass(4);
    assert_eq!(pair.said(), "echoed");
}

#[test]
fn a_stream_waits_through_a_short_cut_and_its_connection_dies_of_a_long_one() {
    for (cut_for, outcome) in [(5, "echoed"), (20, "Err")] {
        let mut pair = Pair::new([0, 0]);
        pair.serve();
        pair.dial(|channel| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            echo(channel, 10_000).await
        });
        pair.pass(1);
        pair.net.sky(|sky| sky.cuts.insert((0, 1)));
        pair.pass(cut_for);
        pair.net.sky(|sky| sky.cuts.clear());
        pair.pass(5);
        assert!(pair.said().contains(outcome), "{}", pair.said());
    }
}

#[test]
fn a_process_that_is_killed_says_nothing_and_its_peer_learns_by_silence() {
    let mut pair = Pair::new([0, 0]);
    pair.serve();
    pair.dial(|channel| async move {
        let begun = tokio::time::Instant::now();
        channel.closed().await;
        format!("{}", begun.elapsed().as_secs())
    });
    pair.pass(2);
    pair.net.crash(1);
    pair.machines.pop().unwrap().kill();
    pair.pass(5);
    assert_eq!(pair.said(), "");
    pair.pass(10);
    assert_eq!(pair.said(), "12", "two seconds of life, ten of silence");
    assert!(pair.net.connections().is_empty());
}

#[test]
fn strangers_impostors_and_the_revoked_are_refused() {
    let mut stranger = Pair::new([0, 1]);
    stranger.serve();
    stranger.dial(|channel| echo(channel, 10));
    stranger.pass(2);
    assert!(stranger.said().starts_with("refused"), "{}", stranger.said());

    let mut impostor = Pair::new([0, 0]);
    impostor.serve();
    impostor.dial_as(NodeId("somebody".into()), |channel| echo(channel, 10));
    impostor.pass(2);
    assert!(impostor.said().starts_with("refused"), "{}", impostor.said());

    let mut revoked = Pair::new([0, 0]);
    revoked.net.papers(1, |papers| papers.revoke(&name(0), ORIGIN));
    revoked.serve();
    revoked.dial(|channel| echo(channel, 10));
    revoked.pass(2);
    assert!(revoked.said().starts_with("refused"), "{}", revoked.said());

    let mut late = Pair::new([0, 0]);
    late.pass(130);
    late.serve();
    late.dial(|channel| echo(channel, 10));
    late.pass(2);
    assert!(late.said().starts_with("refused"), "{}", late.said());
    assert_eq!(late.net.with(|net| net.opened.len()), 0);
}

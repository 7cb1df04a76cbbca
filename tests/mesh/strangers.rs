//! Who does not belong: another cluster on the same segment, and whoever sends rubbish to the port.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::time::Duration;

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::harness::{Machine, PATIENCE, Segment, holds, same, wait_until};

/// Datagrams of rubbish.
const DATAGRAMS: usize = 20_000;
/// How long two clusters have to find each other.
const MEETS: Duration = Duration::from_secs(8);

#[test]
fn two_clusters_never_merge() {
    let segment = Segment::new();
    let mut a = Machine::found(&segment, "a", "hollow");
    let token = a.token(&[]);
    let mut b = Machine::joined(&segment, "b", "hollow", &a, &token);
    // Of the same name, so that only its certificates tell it from the first.
    let mut other = Machine::new(&segment, "other", "hollow");
    other.name = "a".into();
    other.up(&[]);
    other.wait_ready();

    b.kill_9();
    b.up(&["--join", &other.at()]);
    b.wait_ready();
    wait_until("it is back where it belongs", PATIENCE, || b.sees(&[("a", "alive"), ("b", "alive")]));
    holds("the other cluster meets nobody", MEETS, || is_alone(&other));

    // What b remembers as a's address is the other's now.
    let (address, elsewhere) = (a.ip, segment.address(202));
    a.kill_9();
    a.readdress(elsewhere);
    other.kill_9();
    other.readdress(address);
    other.up(&[]);
    other.wait_ready();
    holds("nor does it as an impostor", MEETS, || is_alone(&other));
    wait_until("the real one is missed", PATIENCE, || b.sees(&[("a", "dead"), ("b", "alive")]));
}

fn is_alone(other: &Machine) -> Result<(), String> {
    other.sees(&[("a", "alive")])?;
    same(other.nodes()?, vec!["a".to_owned()])
}

#[test]
fn rubbish_on_the_port_harms_nobody() {
    let segment = Segment::new();
    let a = Machine::found(&segment, "a", "hollow");
    let b = Machine::joined(&segment, "b", "hollow", &a, &a.token(&[]));
    let stranger = Machine::new(&segment, "stranger", "hollow");
    for target in [a.ip, b.ip] {
        stranger.inside(move || {
            send_datagrams(target);
            send_streams(target);
        });
    }
    for api in [&a, &b] {
        wait_until("both are well", PATIENCE, || {
            api.sees(&[("a", "alive"), ("b", "alive")])?;
            ["a", "b"].into_iter().try_for_each(|node| api.sees_ready(node, true))
        });
    }
    a.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: written-after}\n");
    wait_until("what is written arrives", PATIENCE, || b.try_kubectl(&["get", "configmap", "written-after"]).map(drop));
}

/// Random bytes, every other time behind the first bytes of a QUIC handshake.
fn send_datagrams(target: Ipv4Addr) {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    let mut random = ChaCha8Rng::seed_from_u64(3);
    for nth in 0..DATAGRAMS {
        let mut bytes = vec![0; 1 + random.next_u32() as usize % 1400];
        random.fill_bytes(&mut bytes);
        if nth % 2 == 0 {
            // Long header, initial packet, version 1, connection ids of 8 bytes.
            let head = [0xc3, 0, 0, 0, 1, 8];
            let length = head.len().min(bytes.len());
            bytes[..length].copy_from_slice(&head[..length]);
        }
        // A full queue loses some of it, which is no loss.
        let _ = socket.send_to(&bytes, (target, 6443));
    }
}

fn send_streams(target: Ipv4Addr) {
    let mut random = ChaCha8Rng::seed_from_u64(4);
    for _ in 0..50 {
        let mut bytes = [0; 4096];
        random.fill_bytes(&mut bytes);
        let mut stream = TcpStream::connect((target, 6443)).expect("the port is open");
        let _ = stream.write_all(&bytes);
    }
}

//! Nodes that mean well.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::mesh::fabric::{Close, DialError};

#[tokio::test]
async fn two_nodes_know_each_other_and_exchange_streams_and_datagrams() {
    let authority = Authority::new();
    let (a, b) = (Port::start(&authority, "a"), Port::start(&authority, "b"));
    let (dialled, accepted) = pair(&a, &b, "b").await;
    assert_eq!((&*dialled.peer().0, &*accepted.peer().0), ("b", "a"));
    assert_eq!((dialled.remote(), accepted.remote()), (b.at(), a.at()), "one port for both roles");

    let mut out = dialled.open().await.unwrap();
    out.send.set_priority(7);
    out.send.write_all(b"hello").await.unwrap();
    out.send.shutdown().await.unwrap();
    let mut back = accepted.accept().await.unwrap();
    let mut said = Vec::new();
    back.receive.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, b"hello");
    back.send.write_all(b"world").await.unwrap();
    drop(back);
    let mut answer = Vec::new();
    assert!(out.receive.read_to_end(&mut answer).await.is_err(), "dropping a stream resets it");

    assert!(dialled.max_datagram() >= 1_000);
    dialled.send_datagram(Bytes::from(vec![0; 60_000])).unwrap();
    dialled.send_datagram(Bytes::from_static(b"ping")).unwrap();
    assert_eq!(&accepted.datagram().await.unwrap()[..], b"ping", "what is too large is dropped");
    assert!(dialled.round_trip() < Duration::from_secs(1));

    dialled.close(Close::Idle);
    assert!(accepted.closed().await.0.contains("idle"));
    assert!(accepted.open().await.is_err());
    assert_eq!((a.count(Event::PeerDialled), b.count(Event::PeerAccepted)), (1, 1));
}

#[tokio::test]
async fn a_peer_may_open_many_streams_where_they_are_taken() {
    let authority = Authority::new();
    let (a, b) = (Port::start(&authority, "a"), Port::start(&authority, "b"));
    let (dialled, accepted) = pair(&a, &b, "b").await;
    let open = async {
        let mut streams = Vec::new();
        for _ in 0..250 {
            let mut stream = dialled.open().await.unwrap();
            stream.send.write_all(b"x").await.unwrap();
            streams.push(stream);
        }
        streams
    };
    let take = async {
        let mut streams = Vec::new();
        while streams.len() < 250 {
            streams.push(accepted.accept().await.unwrap());
        }
        streams
    };
    let all = async { tokio::join!(open, take) };
    let (open, _taken) = tokio::time::timeout(PATIENCE, all).await.expect("all may be open at once");
    assert!(tokio::time::timeout(Duration::from_millis(200), dialled.open()).await.is_err(), "and no more");
    drop(open);
}

#[tokio::test]
async fn packets_as_large_as_the_network_takes_are_not_lost() {
    let authority = Authority::new();
    let (a, b) = (Port::start(&authority, "a"), Port::start(&authority, "b"));
    let (_dialled, accepted) = pair(&a, &b, "b").await;
    let dialled = a.fabric.open().pop().unwrap();
    let largest = async {
        while dialled.stats().path.current_mtu < 8_000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, largest).await.expect("loopback takes jumbo frames");
    let mut stream = dialled.open().await.unwrap();
    let read = tokio::spawn(async move {
        let mut all = Vec::new();
        accepted.accept().await.unwrap().receive.read_to_end(&mut all).await.unwrap();
        all.len()
    });
    let before = dialled.stats().path;
    stream.send.write_all(&vec![7; 16 << 20]).await.unwrap();
    stream.send.shutdown().await.unwrap();
    assert_eq!(read.await.unwrap(), 16 << 20);
    let after = dialled.stats().path;
    let (lost, sent) = (after.lost_packets - before.lost_packets, after.sent_packets - before.sent_packets);
    assert!(lost * 10 < sent, "{lost} of {sent} packets were lost");
}

#[tokio::test]
async fn a_dial_ends_where_it_should_or_not_at_all() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let (a, b) = (Port::start(&authority, "a"), Port::start(&authority, "b"));
    let other = Port::start(&foreign, "b");
    let dial = |name: &str, at| {
        let (fabric, name) = (a.fabric.clone(), NodeId(name.into()));
        async move { fabric.dial(&name, at).await.err() }
    };
    assert!(matches!(dial("c", b.at()).await, Some(DialError::Refused { .. })), "b answers, not c");
    assert!(matches!(dial("b", other.at()).await, Some(DialError::Refused { .. })), "another cluster");
    assert!(matches!(dial("b", ([127, 0, 0, 1], 9).into()).await, Some(DialError::Unreachable(_))), "nobody");
    let any = a.fabric.dial_any(b.at()).await.unwrap();
    assert_eq!(&*any.peer().0, "b");
    assert!(a.fabric.dial_any(other.at()).await.is_err());
    assert_eq!(b.count(Event::PeerAccepted), 1);
}

#[tokio::test]
async fn a_removed_node_is_refused_at_the_door_and_its_connections_end() {
    let authority = Authority::new();
    let (a, b, c) = (Port::start(&authority, "a"), Port::start(&authority, "b"), Port::start(&authority, "c"));
    let (from_a, at_b) = pair(&a, &b, "b").await;
    let (from_c, _at_b_too) = pair(&c, &b, "b").await;
    assert_eq!(b.fabric.recheck(), 0);
    authority.refuse("a");
    assert_eq!(b.fabric.recheck(), 1);
    assert!(from_a.closed().await.0.contains("not a member"));
    assert!(at_b.open().await.is_err());
    assert!(from_c.open().await.is_ok(), "others stay");
    let again = a.fabric.dial(&NodeId("b".into()), b.at()).await;
    assert!(matches!(again, Err(DialError::Refused { .. })), "and the dial itself says so");
    assert_eq!((b.count(Event::PeerRefused), b.count(Event::PeerUntrusted)), (1, 1));
    drop((at_b, from_a));
    assert_eq!(b.fabric.open().len(), 1, "a dropped connection is forgotten");
}

#[tokio::test]
async fn a_connection_follows_a_node_to_its_new_address() {
    let authority = Authority::new();
    let (a, b) = (Port::start(&authority, "a"), Port::start(&authority, "b"));
    let (dialled, accepted) = pair(&a, &b, "b").await;
    let mut stream = dialled.open().await.unwrap();
    stream.send.write_all(b"1").await.unwrap();
    let mut back = accepted.accept().await.unwrap();
    assert_eq!(back.receive.read_u8().await.unwrap(), b'1');

    let old = a.at();
    a.endpoint.rebind(std::net::UdpSocket::bind("127.0.0.2:0").unwrap()).unwrap();
    assert_ne!(a.at(), old);
    stream.send.write_all(b"2").await.unwrap();
    assert_eq!(back.receive.read_u8().await.unwrap(), b'2');
    back.send.write_all(b"3").await.unwrap();
    assert_eq!(stream.receive.read_u8().await.unwrap(), b'3');
    assert_eq!(accepted.remote(), a.at(), "the other side knows where it is now");
}

#[tokio::test]
async fn new_certificates_are_used_from_then_on_and_connections_stay() {
    let authority = Authority::new();
    let (a, b) = (Port::start(&authority, "a"), Port::start(&authority, "b"));
    let (dialled, _accepted) = pair(&a, &b, "b").await;
    a.endpoint.renew().unwrap();
    b.endpoint.renew().unwrap();
    let (again, _accepted_too) = pair(&a, &b, "b").await;
    assert!(dialled.open().await.is_ok() && again.open().await.is_ok());
}

#[tokio::test]
async fn closing_tells_every_peer_and_ends_the_fabric() {
    let authority = Authority::new();
    let (a, b) = (Port::start(&authority, "a"), Port::start(&authority, "b"));
    let (dialled, _accepted) = pair(&a, &b, "b").await;
    let waiting = tokio::spawn({
        let fabric = b.fabric.clone();
        async move { fabric.accept().await.is_none() }
    });
    b.endpoint.close().await;
    assert!(dialled.closed().await.0.contains("the node stops"));
    assert!(waiting.await.unwrap());
}

#[tokio::test]
async fn what_nobody_accepts_is_turned_away_at_the_bound() {
    let authority = Authority::new();
    let limits = Limits { waiting_peers: 1, peers: 2, ..Limits::default() };
    let b = Port::with(&authority, "b", limits, Arc::new(Shut(Bytes::new())));
    let a = Port::start(&authority, "a");
    let _first = a.fabric.dial_any(b.at()).await.unwrap();
    assert!(matches!(a.fabric.dial_any(b.at()).await, Err(DialError::Refused { .. })), "one waits");
    let _accepted = b.fabric.accept().await.unwrap();
    let _second = a.fabric.dial_any(b.at()).await.unwrap();
    let _accepted_too = b.fabric.accept().await.unwrap();
    assert!(matches!(a.fabric.dial_any(b.at()).await, Err(DialError::Refused { .. })), "two are open");
    assert_eq!(b.count(Event::PeerShed), 2);
}

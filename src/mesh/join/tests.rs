//! The join exchange over real sockets, and its messages.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;

use rand::SeedableRng as _;

use super::*;
use crate::mesh::identity::{Fingerprint, JoinToken};
use crate::mesh::quic::tests::{Authority, PATIENCE, Port, client};
use crate::mesh::quic::{ALPN_JOIN, ANY_NODE, Event, Limits};
use crate::mesh::version::Versions;
use crate::model::NodeId;
use crate::world::entropy::Rng;

/// Says back what it was asked, `times` times over, unless it is asked to be slow.
struct Echo {
    times: usize,
    /// Told where somebody asks it to be slow.
    entered: Arc<Notify>,
}

#[async_trait]
impl JoinDoor for Echo {
    async fn join(&self, _: SocketAddr, request: Bytes) -> Bytes {
        if request.starts_with(b"slow") {
            self.entered.notify_one();
            std::future::pending::<()>().await;
        }
        request.repeat(self.times).into()
    }
}

fn port(authority: &Arc<Authority>, times: usize, joins: usize) -> (Port, Arc<Notify>) {
    let entered = Arc::new(Notify::new());
    let door = Arc::new(Echo { times, entered: entered.clone() });
    (Port::with(authority, "seed", Limits { joins, ..Limits::default() }, door), entered)
}

fn token() -> JoinToken {
    JoinToken::generate(&mut Rng::seed_from_u64(3), Fingerprint([7; 32]))
}

fn request() -> JoinRequest {
    JoinRequest {
        protocol: JOIN_PROTOCOL,
        token: token().presented(),
        name: NodeId("n2".into()),
        addresses: vec!["10.0.0.2:6443".parse().unwrap()],
        release: "0.1.0".into(),
        node_csr_pem: "csr".into(),
        admin_csr_pem: String::new(),
        zone: "z".into(),
        mesh: Versions { oldest: 1, newest: 2 },
        capacity: Capacity { millicores: 2_000, memory_bytes: 1 << 30 },
        pod_cidr: String::new(),
    }
}

fn admission() -> JoinAnswer {
    JoinAnswer::Admitted(Box::new(Admission {
        name: NodeId("n2".into()),
        node_chain_pem: "chain".into(),
        admin_chain_pem: String::new(),
        authorities_pem: "ca".into(),
        raft_id: 2,
        network: Network { pod_cidr: "10.244.2.0/24".into(), ..Network::default() },
        peers: vec![(NodeId("n1".into()), vec!["10.0.0.1:6443".parse().unwrap()])],
    }))
}

#[tokio::test]
async fn a_request_is_answered_over_one_connection() {
    let authority = Authority::new();
    let (seed, _) = port(&authority, 1, 8);
    let asked = Bytes::from(encode(&request()).unwrap());
    for _ in 0..3 {
        let answer = ask(seed.at(), authority.stranger(ALPN_JOIN), asked.clone(), PATIENCE).await.unwrap();
        assert_eq!(decode::<JoinRequest>(&answer).unwrap(), request());
    }
    seed.counted(Event::JoinAnswered, 3).await;
    let longest = Bytes::from(vec![7; MAX_REQUEST]);
    assert_eq!(ask(seed.at(), authority.stranger(ALPN_JOIN), longest.clone(), PATIENCE).await.unwrap(), longest);
}

#[tokio::test]
async fn each_way_to_fail_has_its_own_name() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let (seed, entered) = port(&authority, 100, 1);
    let tls = || authority.stranger(ALPN_JOIN);
    let small = || Bytes::from_static(b"x");
    let short = Duration::from_millis(300);

    let nobody = ask(([127, 0, 0, 1], 9).into(), tls(), small(), short).await;
    assert!(matches!(nobody, Err(Error::Unreachable(_))), "{nobody:?}");
    let other = ask(seed.at(), foreign.stranger(ALPN_JOIN), small(), PATIENCE).await;
    assert!(matches!(other, Err(Error::Foreign { .. })), "{other:?}");
    let newer = ask(seed.at(), authority.stranger(b"shoal-join/9"), small(), PATIENCE).await;
    assert!(matches!(newer, Err(Error::Refused { .. })), "{newer:?}");
    let large = ask(seed.at(), tls(), vec![0; MAX_REQUEST + 1].into(), PATIENCE).await;
    assert!(matches!(large, Err(Error::Lost { .. })), "{large:?}");
    let flood = ask(seed.at(), tls(), vec![0; 4_000].into(), PATIENCE).await;
    assert!(matches!(flood, Err(Error::Lost { .. })), "an answer of 400,000 bytes is not sent: {flood:?}");
    seed.counted(Event::JoinFailed, 2).await;

    let slow = tokio::spawn(ask(seed.at(), tls(), Bytes::from_static(b"slow"), Duration::from_secs(2)));
    tokio::time::timeout(PATIENCE, entered.notified()).await.unwrap();
    let busy = ask(seed.at(), tls(), small(), PATIENCE).await;
    assert!(matches!(busy, Err(Error::Refused { .. })), "one at a time: {busy:?}");
    let slow = slow.await.unwrap();
    assert!(matches!(slow, Err(Error::Timeout(_))), "{slow:?}");
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_turned_away_and_others_are_not() {
    let authority = Authority::new();
    let (seed, _) = port(&authority, 1, 64);
    // All at once: the bucket refills as time goes by.
    let ask = || ask(seed.at(), authority.stranger(ALPN_JOIN), Bytes::from_static(b"x"), PATIENCE);
    let asked = futures::future::join_all((0..60).map(|_| ask())).await;
    let shed = asked.iter().filter(|asked| matches!(asked, Err(Error::Refused { .. }))).count();
    assert!(shed > 10, "only {shed} of 60 were turned away");
    assert_eq!(seed.count(Event::JoinShed), shed as u64);
    let endpoint = client([127, 0, 0, 1], authority.stranger(ALPN_JOIN));
    endpoint.rebind(UdpSocket::bind("127.0.0.9:0").unwrap()).unwrap();
    let connection = endpoint.connect(seed.at(), ANY_NODE).unwrap().await.unwrap();
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(b"y").await.unwrap();
    send.finish().unwrap();
    assert_eq!(receive.read_to_end(10).await.unwrap(), b"y");
}

#[test]
fn messages_read_back_and_newer_fields_are_skipped() {
    let bytes = encode(&admission()).unwrap();
    assert_eq!(decode::<JoinAnswer>(&bytes).unwrap(), admission());

    #[derive(serde::Serialize)]
    struct Newer {
        #[serde(flatten)]
        old: JoinRequest,
        colour: &'static str,
    }
    let newer = rmp_serde::to_vec_named(&Newer { old: request(), colour: "blue" }).unwrap();
    assert_eq!(decode::<JoinRequest>(&newer).unwrap(), request());
    let token = token().to_string();
    let secret = token.split('.').nth(3).unwrap();
    assert!(!format!("{:?}", request()).contains(secret));
}

#[test]
fn a_refusal_of_a_newer_release_is_still_a_refusal() {
    #[derive(serde::Serialize)]
    enum Answer {
        Refused { reason: Reason },
    }
    #[derive(serde::Serialize)]
    enum Reason {
        Moon,
    }
    let bytes = rmp_serde::to_vec_named(&Answer::Refused { reason: Reason::Moon }).unwrap();
    assert_eq!(decode::<JoinAnswer>(&bytes).unwrap(), JoinAnswer::Refused { reason: JoinRefusal::Unknown });
}

#[test]
fn what_is_cut_off_too_long_or_over_a_bound_is_an_error() {
    let bytes = encode(&request()).unwrap();
    for length in 0..bytes.len() {
        assert!(decode::<JoinRequest>(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(decode::<JoinRequest>(&longer).is_err());
    let many = JoinRequest { addresses: vec!["10.0.0.2:1".parse().unwrap(); 9], ..request() };
    assert!(decode::<JoinRequest>(&encode(&many).unwrap()).is_err());
}

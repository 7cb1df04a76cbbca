//! Everybody else: each costs its bound, and a good peer is served all the while.

use std::net::UdpSocket;

use rand::{RngCore, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::mesh::quic::transport::FIRST_STREAMS;
use crate::mesh::version::spoken;

/// A good node, at another address than the attackers', gets a stream through.
async fn serves_a_good_peer(authority: &Arc<Authority>, port: &Port) {
    let good = Port::start(authority, "good");
    good.endpoint.rebind(UdpSocket::bind("127.0.0.77:0").unwrap()).unwrap();
    let (dialled, accepted) = pair(&good, port, "b").await;
    let mut stream = dialled.open().await.unwrap();
    stream.send.write_all(b"!").await.unwrap();
    let mut served = accepted.accept().await.unwrap();
    assert_eq!(served.receive.read_u8().await.unwrap(), b'!');
}

/// First packets of handshakes as a real client sends them, each of another connection.
async fn initials(authority: &Authority, number: usize) -> Vec<Vec<u8>> {
    let listener = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let endpoint = client([127, 0, 0, 1], authority.stranger(ALPN_HTTP3));
    let mut found = Vec::new();
    // Kept until the end: one that is dropped sends a packet that closes it.
    let mut connecting = Vec::new();
    let mut buffer = vec![0; 2_048];
    for _ in 0..number {
        connecting.push(endpoint.connect(at, ANY_NODE).unwrap());
        let size = tokio::time::timeout(PATIENCE, listener.recv(&mut buffer)).await.unwrap().unwrap();
        found.push(buffer[..size].to_vec());
    }
    found
}

#[tokio::test]
async fn bytes_that_are_no_quic_are_dropped_and_counted() {
    let authority = Authority::new();
    let b = Port::start(&authority, "b");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let mut malformed = 0;
    for round in 0..2_000 {
        let mut bytes = vec![0; 1 + rng.next_u32() as usize % 1_400];
        rng.fill_bytes(&mut bytes);
        // Half of them look like QUIC at the first glance.
        bytes[0] = if round % 2 == 0 { bytes[0] | 0x40 } else { bytes[0] & 0x3f };
        malformed += u64::from(round % 2 == 1);
        socket.send_to(&bytes, b.at()).unwrap();
        if round % 50 == 49 {
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    serves_a_good_peer(&authority, &b).await;
    b.counted(Event::Malformed, malformed * 9 / 10).await;
    assert_eq!(b.count(Event::PeerAccepted), 1);
}

#[tokio::test]
async fn truncated_first_packets_begin_nothing() {
    let authority = Authority::new();
    let b = Port::start(&authority, "b");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for initial in initials(&authority, 8).await {
        for length in [1, 5, 7, 20, 21, 100, 1_000, 1_199] {
            socket.send_to(&initial[..length], b.at()).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    b.counted(Event::ShortInitial, 8 * 8).await;
    assert_eq!(b.endpoint.shared.quinn.open_connections(), 0);
    serves_a_good_peer(&authority, &b).await;
}

#[tokio::test]
async fn half_open_handshakes_get_a_quarter_of_the_slots_and_a_good_peer_still_gets_in() {
    let authority = Authority::new();
    let limits = Limits { handshakes: 32, ..Limits::default() };
    let b = Port::with(&authority, "b", limits, Arc::new(Shut(Bytes::new())));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for initial in initials(&authority, 200).await {
        socket.send_to(&initial, b.at()).unwrap();
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    b.counted(Event::HandshakeRetried, 150).await;
    assert_eq!(b.endpoint.shared.quinn.open_connections(), 8, "a quarter, for those that prove nothing");
    serves_a_good_peer(&authority, &b).await;
    assert!(b.count(Event::HandshakeRetried) > 150);
}

#[tokio::test]
async fn who_proves_an_address_and_stays_silent_takes_only_its_share() {
    let authority = Authority::new();
    let limits = Limits { handshakes: 16, ..Limits::default() };
    let b = Port::with(&authority, "b", limits, Arc::new(Shut(Bytes::new())));
    // Each of these answers the retry and then hears nothing more: its way back is cut after the first packet.
    let mut cut = Vec::new();
    for _ in 0..40 {
        cut.push(Cut::begin(&authority, b.at()).await);
    }
    b.counted(Event::HandshakeCrowded, 20).await;
    assert!(b.endpoint.shared.quinn.open_connections() <= 8, "half of the slots are for other addresses");
    serves_a_good_peer(&authority, &b).await;
}

/// A client whose packets go through a relay that lets the retry through and nothing after it.
struct Cut {
    _client: quinn::Endpoint,
    _connecting: quinn::Connecting,
    relay: JoinHandle<()>,
}

impl Cut {
    async fn begin(authority: &Authority, to: SocketAddr) -> Self {
        let near = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = near.local_addr().unwrap();
        let client = client([127, 0, 0, 1], authority.stranger(ALPN_HTTP3));
        let connecting = client.connect(at, ANY_NODE).unwrap();
        let relay = tokio::spawn(async move {
            let far = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let mut from_far = vec![0; 2_048];
            let mut from_near = vec![0; 2_048];
            let mut sender = None;
            loop {
                tokio::select! {
                    Ok((size, from)) = near.recv_from(&mut from_near) => {
                        sender = Some(from);
                        far.send_to(&from_near[..size], to).await.unwrap();
                    }
                    Ok(size) = far.recv(&mut from_far) => {
                        let is_retry = from_far[0] & 0xf0 == 0xf0;
                        if let (true, Some(sender)) = (is_retry, sender) {
                            near.send_to(&from_far[..size], sender).await.unwrap();
                        }
                    }
                }
            }
        });
        Self { _client: client, _connecting: connecting, relay }
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.relay.abort();
    }
}

#[tokio::test]
async fn strangers_of_every_kind_are_refused() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let b = Port::start(&authority, "b");
    let ends = |tls: rustls::ClientConfig| {
        let at = b.at();
        async move {
            let endpoint = client([127, 0, 0, 1], tls);
            let ended = async {
                match endpoint.connect(at, ANY_NODE).unwrap().await {
                    Ok(connection) => connection.closed().await,
                    Err(error) => error,
                }
            };
            tokio::time::timeout(PATIENCE, ended).await.unwrap()
        }
    };
    let shows = |of: &Arc<Authority>, user: &str| {
        let (chain, key) = of.leaf(user, &["x"]);
        let mut config =
            client_builder().with_root_certificates(authority.roots()).with_client_auth_cert(chain, key).unwrap();
        config.alpn_protocols = spoken().alpn();
        config
    };
    let foreign_node = ends(shows(&foreign, "system:node:x")).await;
    assert!(matches!(foreign_node, quinn::ConnectionError::ConnectionClosed(_)), "{foreign_node:?}");
    let unknown = ends(authority.stranger(b"smtp")).await;
    assert!(matches!(unknown, quinn::ConnectionError::ConnectionClosed(_)), "{unknown:?}");
    b.counted(Event::HandshakeFailed, 2).await;
    for tls in [authority.stranger(&spoken().alpn()[0]), shows(&authority, "jane")] {
        let ended = ends(tls).await;
        let quinn::ConnectionError::ApplicationClosed(close) = ended else { panic!("{ended:?}") };
        assert_eq!(close.error_code, code::UNTRUSTED);
    }
    assert_eq!((b.count(Event::PeerUntrusted), b.count(Event::PeerAccepted)), (2, 0));
    serves_a_good_peer(&authority, &b).await;
}

#[tokio::test]
async fn a_peer_that_opens_every_stream_and_never_reads_holds_up_only_itself() {
    let authority = Authority::new();
    let (a, b) = (Port::start(&authority, "a"), Port::start(&authority, "b"));
    let (greedy, victim) = pair(&a, &b, "b").await;
    let mut open = Vec::new();
    while let Ok(stream) = tokio::time::timeout(Duration::from_millis(200), greedy.open()).await {
        let mut stream = stream.unwrap();
        stream.send.write_all(b"x").await.unwrap();
        open.push(stream);
    }
    assert_eq!(open.len(), FIRST_STREAMS as usize, "the bound on streams that nobody takes");
    // The victim answers on one of them as long as it may; the greedy one does not read.
    let mut answered = victim.accept().await.unwrap();
    let chunk = vec![0; 1 << 20];
    let mut sent = 0;
    while let Ok(written) = tokio::time::timeout(Duration::from_millis(300), answered.send.write(&chunk)).await {
        sent += written.unwrap();
    }
    assert!(sent <= 2 * PEER_WINDOW as usize, "{sent} bytes were taken for a peer that does not read");
    serves_a_good_peer(&authority, &b).await;
}

#[tokio::test]
async fn http3_connections_that_nobody_takes_are_turned_away() {
    let authority = Authority::new();
    let limits = Limits { waiting_http3: 2, ..Limits::default() };
    let b = Port::with(&authority, "b", limits, Arc::new(Shut(Bytes::new())));
    let mut taker = b.endpoint.http3().unwrap();
    assert!(b.endpoint.http3().is_none());
    let endpoint = client([127, 0, 0, 1], authority.stranger(ALPN_HTTP3));
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(endpoint.connect(b.at(), ANY_NODE).unwrap().await.unwrap());
    }
    b.counted(Event::Http3Shed, 1).await;
    let closed = open.pop().unwrap().closed().await;
    assert!(matches!(closed, quinn::ConnectionError::ApplicationClosed(close) if close.error_code == code::HTTP3_BUSY));
    assert!(taker.recv().await.is_some() && taker.recv().await.is_some());
    assert_eq!(b.count(Event::Http3Accepted), 2);
}

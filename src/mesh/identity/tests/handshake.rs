//! Handshakes in memory: who is believed, by the certificates and the time of each side.

use std::sync::Arc;

use parking_lot::Mutex;
use rustls::{CertificateError, ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use rustls_pki_types::{CertificateDer, ServerName};

use super::*;
use crate::plan::authority::{self as plan, Action, Holding, Phase, Picture};
use crate::world::clock::Clock;

const ALPN: &[&[u8]] = &[b"mesh"];

/// A clock that tests set.
#[derive(Clone)]
struct Hand(Arc<Mutex<Timestamp>>);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.lock()
    }
}

/// A node with a clock of its own.
struct Member {
    _dir: tempfile::TempDir,
    identity: Identity,
    live: LiveIdentity,
    clock: Hand,
}

impl Member {
    fn of(dir: tempfile::TempDir, identity: Identity, now: Timestamp) -> Self {
        let clock = Hand(Arc::new(Mutex::new(now)));
        let live = LiveIdentity::new(&identity, Revocations::default(), Arc::new(clock.clone())).unwrap();
        Self { _dir: dir, identity, live, clock }
    }

    fn founder() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let identity = founded(dir.path(), &["10.96.0.1"], NOW);
        Self::of(dir, identity, NOW)
    }

    fn joined(founder: &Self, name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let adoption = adoption(&founder.identity, name, founder.clock.now());
        let identity = Identity::adopt(&dir.path().join("pki"), &NodeId(name.into()), adoption).unwrap();
        Self::of(dir, identity, founder.clock.now())
    }

    fn at(&self, now: Timestamp) -> &Self {
        *self.clock.0.lock() = now;
        self
    }

    fn trust(&mut self, bundle: &Bundle) {
        self.identity.trust(bundle.clone()).unwrap();
        self.live.trust(bundle).unwrap();
    }

    fn renew(&mut self, signer: &Self) {
        let subject = subject(self.live.name().0.as_ref(), &[]);
        let (key_pem, csr_pem) = request(&subject).unwrap();
        let authority = signer.identity.authority().unwrap();
        let certificate_pem = authority.sign_node(&csr_pem, &subject, DAY, signer.clock.now()).unwrap();
        let credential = Credential { certificate_pem, key_pem };
        self.identity.renew(credential.clone()).unwrap();
        self.live.renew(&credential).unwrap();
    }
}

/// Both ends of a finished handshake, or what the side that refused says.
fn shake(
    client: ClientConfig,
    server: &ServerConfig,
    name: &str,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let name = ServerName::try_from(name.to_string()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name)?;
    let mut server = ServerConnection::new(Arc::new(server.clone()))?;
    for _ in 0..10 {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
        if !client.is_handshaking() && !server.is_handshaking() && !client.wants_write() {
            return Ok((client, server));
        }
    }
    panic!("the handshake does not end");
}

/// `from` dials `to` by name; each side then says who the other is.
fn dial(from: &Member, to: &Member) -> Result<(PeerName, PeerName), rustls::Error> {
    let (client, server) = (from.live.client_config(ALPN).unwrap(), to.live.server_config(ALPN).unwrap());
    let (client, server) = shake(client, &server, &to.live.name().0)?;
    let seen = |live: &LiveIdentity, chain: Option<&[CertificateDer<'static>]>| live.peer_of(chain.unwrap()).unwrap();
    Ok((seen(&from.live, client.peer_certificates()), seen(&to.live, server.peer_certificates())))
}

fn invalid(result: Result<impl Sized, rustls::Error>) -> CertificateError {
    match result.err() {
        Some(rustls::Error::InvalidCertificate(error)) => error,
        other => panic!("not refused for its certificate: {other:?}"),
    }
}

#[test]
fn members_dial_each_other_by_name_and_know_who_is_there() {
    let one = Member::founder();
    let two = Member::joined(&one, "two");
    for (from, to) in [(&one, &two), (&two, &one), (&one, &one)] {
        let (there, here) = dial(from, to).unwrap();
        assert_eq!((&there.node, &here.node), (to.live.name(), from.live.name()));
        assert_eq!(there.issued, NOW);
    }
}

#[test]
fn another_node_than_the_dialled_one_is_refused() {
    let one = Member::founder();
    let two = Member::joined(&one, "two");
    for wrong in ["three", "localhost", "kubernetes", "10.96.0.1"] {
        let (client, server) = (two.live.client_config(ALPN).unwrap(), one.live.server_config(ALPN).unwrap());
        let error = invalid(shake(client, &server, wrong));
        assert!(matches!(error, CertificateError::NotValidForNameContext { .. }), "{wrong}: {error:?}");
    }
}

#[test]
fn another_cluster_is_refused_in_both_directions() {
    let (one, stranger) = (Member::founder(), Member::founder());
    assert_eq!(invalid(dial(&stranger, &one)), CertificateError::UnknownIssuer);
    assert_eq!(invalid(dial(&one, &stranger)), CertificateError::UnknownIssuer);
    // The stranger skips its own check: the server still refuses it.
    let mut lax = stranger.live.clone();
    lax.trust(one.identity.bundle()).unwrap();
    lax = lax.clone();
    let shaken = shake(lax.client_config(ALPN).unwrap(), &one.live.server_config(ALPN).unwrap(), "one");
    assert_eq!(invalid(shaken), CertificateError::UnknownIssuer);
}

#[test]
fn api_clients_are_let_in_under_every_name_with_or_without_a_certificate() {
    let one = Member::founder();
    let server = one.live.server_config(&[b"h2", b"http/1.1"]).unwrap();
    for name in ["localhost", "127.0.0.1", "::1", "one", "kubernetes.default.svc.cluster.local", "10.96.0.1"] {
        for admin in [true, false] {
            let (_, there) = shake(api_client(&one, admin), &server, name).unwrap();
            assert_eq!(there.peer_certificates().is_some(), admin);
        }
    }
    let error = invalid(shake(api_client(&one, true), &server, "example.com"));
    assert!(matches!(error, CertificateError::NotValidForNameContext { .. }), "{error:?}");
    let (_, there) = shake(api_client(&one, true), &server, "one").unwrap();
    assert_eq!(one.live.peer_of(there.peer_certificates().unwrap()), Err(Refused::NotANode));
    assert_eq!(one.live.peer_of(&[]), Err(Refused::Nothing));
}

/// A client like kubectl: trusts the bundle, checks the server's names, shows the administrator's certificate.
fn api_client(of: &Member, admin: bool) -> ClientConfig {
    use rustls_pki_types::pem::PemObject;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    for known in of.identity.bundle().authorities() {
        roots.add(known.der().clone()).unwrap();
    }
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let credential = of.identity.admin().unwrap();
    let chain = vec![CertificateDer::from_pem_slice(credential.certificate_pem.as_bytes()).unwrap()];
    let key = rustls_pki_types::PrivateKeyDer::from_pem_slice(credential.key_pem.as_bytes()).unwrap();
    let mut config =
        if admin { builder.with_client_auth_cert(chain, key).unwrap() } else { builder.with_no_client_auth() };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let clock: Arc<dyn Clock> = Arc::new(of.clock.clone());
    let resumption = std::mem::replace(&mut config.resumption, rustls::client::Resumption::disabled());
    verify::set_up_client(&mut config, &[b"h2"], clock);
    config.resumption = resumption;
    config
}

#[test]
fn no_session_is_ever_resumed() {
    let one = Member::founder();
    let server = one.live.server_config(&[b"h2"]).unwrap();
    let client = api_client(&one, true);
    for _ in 0..3 {
        let (client, _) = shake(client.clone(), &server, "one").unwrap();
        assert_eq!(client.handshake_kind(), Some(rustls::HandshakeKind::Full));
    }
}

/// What becomes of both directions when the clock of `two` is past the end of `one`'s certificate.
fn dialled_after_the_end() -> [Result<(PeerName, PeerName), rustls::Error>; 2] {
    let one = Member::founder();
    let two = Member::joined(&one, "two");
    two.at(NOW + DAY + Duration::from_secs(1));
    [dial(&two, &one), dial(&one, &two)]
}

#[test]
fn an_expired_certificate_is_refused_in_both_directions() {
    for result in dialled_after_the_end() {
        let error = invalid(result);
        assert!(matches!(error, CertificateError::ExpiredContext { .. }), "{error:?}");
    }
}

#[cfg(feature = "mutants")]
#[test]
fn an_expired_certificate_is_caught_where_ends_are_not_looked_at() {
    assert!(crate::mesh::mutant::planted("accept-expired", dialled_after_the_end).iter().all(Result::is_ok));
}

#[test]
fn a_clock_that_is_behind_within_the_skew_is_borne_and_beyond_it_is_not() {
    let one = Member::founder();
    let two = Member::joined(&one, "two");
    two.at(Timestamp(NOW.0 - i64::try_from(CLOCK_SKEW.as_micros()).unwrap()));
    dial(&two, &one).unwrap();
    dial(&one, &two).unwrap();
    two.at(Timestamp(NOW.0 - i64::try_from(CLOCK_SKEW.as_micros()).unwrap() - 1_000_000));
    for result in [dial(&two, &one), dial(&one, &two)] {
        assert!(matches!(invalid(result), CertificateError::NotValidYetContext { .. }));
    }
}

/// What becomes of both directions when `one` refuses `two`, and the configurations are those from before.
fn dialled_after_removal() -> [Result<(ClientConnection, ServerConnection), rustls::Error>; 2] {
    let one = Member::founder();
    let two = Member::joined(&one, "two");
    let (server, client) = (one.live.server_config(ALPN).unwrap(), one.live.client_config(ALPN).unwrap());
    let mut revoked = Revocations::default();
    revoked.revoke(two.live.name(), NOW + Duration::from_micros(1)).unwrap();
    one.live.revoke(revoked);
    [
        shake(two.live.client_config(ALPN).unwrap(), &server, "one"),
        shake(client, &two.live.server_config(ALPN).unwrap(), "two"),
    ]
}

#[test]
fn a_removed_node_is_refused_in_both_directions() {
    for result in dialled_after_removal() {
        assert_eq!(invalid(result), CertificateError::Revoked);
    }
}

#[cfg(feature = "mutants")]
#[test]
fn a_removed_node_is_caught_where_revocations_are_ignored() {
    assert!(crate::mesh::mutant::planted("ignore-revocation", dialled_after_removal).iter().all(Result::is_ok));
}

#[test]
fn an_open_connection_of_a_removed_node_is_found_and_its_next_certificate_is_taken() {
    let one = Member::founder();
    let mut two = Member::joined(&one, "two");
    let (client, server) = (two.live.client_config(ALPN).unwrap(), one.live.server_config(ALPN).unwrap());
    let (_, there) = shake(client, &server, "one").unwrap();
    let chain = there.peer_certificates().unwrap();
    let changes = one.live.changes();
    let mut revoked = Revocations::default();
    revoked.revoke(two.live.name(), NOW + Duration::from_micros(1)).unwrap();
    one.live.revoke(revoked);
    assert!(changes.has_changed().unwrap());
    assert_eq!(one.live.peer_of(chain), Err(Refused::Revoked(two.live.name().clone())));
    one.at(NOW + Duration::from_micros(1));
    two.renew(&one);
    assert_eq!(dial(&two, &one).unwrap().1.node, *two.live.name(), "joined again within the same second");
}

#[test]
fn a_renewed_certificate_is_shown_by_configurations_from_before() {
    let one = Member::founder();
    let mut two = Member::joined(&one, "two");
    let (server, client) = (two.live.server_config(ALPN).unwrap(), two.live.client_config(ALPN).unwrap());
    one.at(NOW + Duration::from_hours(17));
    two.renew(&one);
    let issued = |chain: &[CertificateDer<'static>]| certificate_of(&chain[0]).unwrap().issued;
    let (from_one, _) = shake(one.live.client_config(ALPN).unwrap(), &server, "two").unwrap();
    assert_eq!(issued(from_one.peer_certificates().unwrap()), one.clock.now());
    let (_, at_one) = shake(client, &one.live.server_config(ALPN).unwrap(), "one").unwrap();
    assert_eq!(issued(at_one.peer_certificates().unwrap()), one.clock.now());
}

#[test]
fn a_live_identity_takes_no_certificate_of_another_node_or_key() {
    let one = Member::founder();
    let (two, three) = (Member::joined(&one, "two"), Member::joined(&one, "three"));
    let before = two.live.certificate();
    assert!(two.live.renew(three.identity.node()).is_err());
    let mixed = Credential { key_pem: three.identity.node().key_pem.clone(), ..two.identity.node().clone() };
    assert!(two.live.renew(&mixed).is_err());
    assert_eq!(two.live.certificate(), before);
}

#[test]
fn a_stranger_believes_only_the_cluster_of_its_token() {
    let (one, other) = (Member::founder(), Member::founder());
    let two = Member::joined(&one, "two");
    let clock: Arc<dyn Clock> = Arc::new(one.clock.clone());
    let pinned = |clock: &Arc<dyn Clock>| {
        pinned_client_config(one.identity.bundle().signing(), &[b"join"], Arc::clone(clock)).unwrap()
    };
    for seed in [&one, &two] {
        let (here, there) =
            shake(pinned(&clock), &seed.live.server_config(&[b"join"]).unwrap(), "anything.example").unwrap();
        assert!(there.peer_certificates().is_none());
        let chain = here.peer_certificates().unwrap();
        assert_eq!(certificate_of(&chain[0]).unwrap().node(), Some(seed.live.name().clone()));
    }
    let foreign = other.live.server_config(&[b"join"]).unwrap();
    let error = shake(pinned(&clock), &foreign, "x").err().unwrap();
    assert_eq!(PinError::behind(&error), Some(PinError::OtherCluster { expected: one.identity.bundle().signing() }));
    assert!(error.to_string().contains("belongs to another cluster"), "{error}");
    let late: Arc<dyn Clock> = Arc::new(Hand(Arc::new(Mutex::new(NOW + DAY * 2))));
    let error = invalid(shake(pinned(&late), &one.live.server_config(&[b"join"]).unwrap(), "x"));
    assert!(matches!(error, CertificateError::ExpiredContext { .. }), "{error:?}");
}

#[test]
fn a_seed_that_only_shows_the_clusters_authority_beside_its_own_certificate_is_refused() {
    let (one, other) = (Member::founder(), Member::founder());
    let mut forged = other.identity.node().clone();
    let (leaf, _) = forged.certificate_pem.split_at(forged.certificate_pem.rfind("-----BEGIN").unwrap());
    forged.certificate_pem = format!("{leaf}{}", one.identity.bundle().pem());
    other.live.renew(&forged).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(one.clock.clone());
    let pinned = pinned_client_config(one.identity.bundle().signing(), &[b"join"], clock).unwrap();
    let shaken = shake(pinned, &other.live.server_config(&[b"join"]).unwrap(), "one");
    assert_eq!(invalid(shaken), CertificateError::UnknownIssuer);
}

/// What the plan is made from.
fn next(one: &Member, nodes: &[&Member]) -> Action {
    let holding = |node: &&Member| {
        let trusts = node.live.bundle().authorities().iter().map(Trusted::key).collect();
        let issuer = node.live.issuer().unwrap_or(Fingerprint([0; 32]));
        (node.live.name().clone(), Holding { issuer, ends: node.live.certificate().not_after, trusts })
    };
    let (bundle, nodes) = (one.identity.bundle().picture(), nodes.iter().map(holding).collect());
    let successor = one.identity.successor().map(Authority::fingerprint);
    let asked = plan::phase(&bundle) == Phase::Steady && bundle.first().is_some_and(|only| only.made == NOW);
    let picture = Picture { bundle: &bundle, nodes: &nodes, successor, asked, lifetime: DAY };
    plan::next(&picture, one.clock.now())
}

#[test]
fn the_authority_is_replaced_while_nodes_keep_talking() {
    let mut one = Member::founder();
    let (mut two, mut three) = (Member::joined(&one, "two"), Member::joined(&one, "three"));
    let all_talk = |one: &Member, two: &Member, three: &Member| {
        for (a, b) in [(one, two), (two, three), (three, one), (two, one)] {
            dial(a, b).unwrap();
        }
    };
    let old = one.identity.bundle().clone();
    assert_eq!(next(&one, &[&one, &two, &three]), Action::Generate);
    for node in [&one, &two, &three] {
        node.at(NOW + Duration::from_secs(5));
    }
    let new = one.identity.generate_successor(one.clock.now()).unwrap().fingerprint();
    let both = one.identity.bundle().clone();
    one.live.trust(&both).unwrap();
    two.trust(&both);
    assert!(matches!(next(&one, &[&one, &two, &three]), Action::Wait { .. }), "three does not know yet");
    all_talk(&one, &two, &three);
    three.trust(&both);
    assert_eq!(next(&one, &[&one, &two, &three]), Action::Sign(new));
    let now = one.clock.now();
    one.identity.switch(&subject("one", &["10.96.0.1"]), &Lifetimes::default(), now).unwrap();
    let turned = one.identity.bundle().clone();
    one.live.trust(&turned).unwrap();
    one.live.renew(one.identity.node()).unwrap();
    assert_eq!(one.live.issuer(), Some(new));
    all_talk(&one, &two, &three);
    two.trust(&turned);
    two.renew(&one);
    assert!(matches!(next(&one, &[&one, &two, &three]), Action::Wait { .. }), "three has an old certificate");
    all_talk(&one, &two, &three);
    three.trust(&turned);
    assert_eq!(three.live.renewal_due(0.3, now, 0.0), now, "renewed although young");
    let stuck = Member::joined(&one, "stuck"); // by the new one, and never heard of again
    drop(stuck);
    let mut late = Member::of(tempfile::tempdir().unwrap(), three.identity.clone(), now);
    three.renew(&one);
    assert_eq!(next(&one, &[&one, &two, &three]), Action::Forget(old.signing()));
    let last = turned.without(old.signing()).unwrap();
    for node in [&mut one, &mut two, &mut three] {
        node.trust(&last);
    }
    all_talk(&one, &two, &three);
    assert!(matches!(next(&one, &[&one, &two, &three]), Action::Wait { .. }));
    // Whoever still shows a certificate of the old one is refused, in both directions.
    assert_eq!(invalid(dial(&late, &one)), CertificateError::UnknownIssuer);
    assert_eq!(invalid(dial(&one, &late)), CertificateError::UnknownIssuer);
    late.renew(&one);
    dial(&late, &one).unwrap();
}

//! The identity on disk: made once, reused, renewed when it must be, refused when exposed.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;

use rustls_pki_types::ServerName;

use super::*;

const NOW: Timestamp = Timestamp(1_790_000_000_000_000);

fn subject(addresses: &[&str]) -> Subject {
    Subject {
        node: "one".into(),
        names: Vec::new(),
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        cluster_domain: "cluster.local".into(),
    }
}

fn load(dir: &Path, addresses: &[&str], now: Timestamp) -> Identity {
    Identity::load_or_create(&dir.join("pki"), &subject(addresses), now).unwrap()
}

#[test]
fn a_restart_finds_the_same_identity_and_files_are_private() {
    let dir = tempfile::tempdir().unwrap();
    let first = load(dir.path(), &["10.0.0.7"], NOW);
    let second = load(dir.path(), &["10.0.0.7"], NOW + Duration::from_secs(60));
    for (a, b) in [(&first.authority, &second.authority), (&first.server, &second.server), (&first.node, &second.node)]
    {
        assert_eq!(a.certificate_pem, b.certificate_pem);
    }
    assert_eq!(fs::metadata(dir.path().join("pki")).unwrap().mode() & 0o777, 0o700);
    for entry in fs::read_dir(dir.path().join("pki")).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().mode() & 0o777, 0o600);
    }
}

#[test]
fn the_server_certificate_is_renewed_for_new_addresses_and_before_it_ends_but_the_authority_stays() {
    let dir = tempfile::tempdir().unwrap();
    let first = load(dir.path(), &["10.0.0.7"], NOW);
    let moved = load(dir.path(), &["10.0.0.8"], NOW);
    let aged = load(dir.path(), &["10.0.0.8"], NOW + (LEAF_LIFETIME - RENEW_BEFORE + DAY));
    assert_ne!(first.server.certificate_pem, moved.server.certificate_pem);
    assert_eq!(first.admin.certificate_pem, moved.admin.certificate_pem);
    assert_ne!(moved.admin.certificate_pem, aged.admin.certificate_pem);
    assert_eq!(first.authority.certificate_pem, aged.authority.certificate_pem);
}

#[test]
fn keys_that_others_can_read_are_refused_with_the_command_that_mends_it() {
    let dir = tempfile::tempdir().unwrap();
    load(dir.path(), &[], NOW);
    let key = dir.path().join("pki/ca.key");
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let error = Identity::load_or_create(&dir.path().join("pki"), &subject(&[]), NOW).err().unwrap();
    assert!(error.to_string().contains("mode 0644") && error.to_string().contains("chmod 0600"), "{error}");
}

#[test]
fn a_damaged_authority_is_never_replaced_but_a_damaged_leaf_is() {
    let dir = tempfile::tempdir().unwrap();
    let first = load(dir.path(), &[], NOW);
    files::write_private(&dir.path().join("pki/server.crt"), b"nonsense").unwrap();
    assert_ne!(load(dir.path(), &[], NOW).server.certificate_pem, first.server.certificate_pem);
    files::write_private(&dir.path().join("pki/ca.crt"), b"nonsense").unwrap();
    let error = Identity::load_or_create(&dir.path().join("pki"), &subject(&[]), NOW).err().unwrap();
    assert!(matches!(error, Error::Authority { .. }), "{error}");
    fs::remove_file(dir.path().join("pki/ca.crt")).unwrap();
    assert!(Identity::load_or_create(&dir.path().join("pki"), &subject(&[]), NOW).is_err());
}

#[test]
fn a_first_start_that_ended_after_the_authoritys_key_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    files::private_dir(&dir.path().join("pki")).unwrap();
    let key = issue::authority(NOW).unwrap().key_pem;
    files::write_private(&dir.path().join("pki/ca.key"), key.as_bytes()).unwrap();
    assert_eq!(load(dir.path(), &[], NOW).authority.key_pem, key);
}

#[test]
fn a_client_with_the_admin_certificate_is_let_in_under_every_name_and_a_stranger_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let now = crate::world::clock::Clock::now(&crate::world::clock::SystemClock);
    let identity = load(dir.path(), &["10.96.0.1"], now);
    let stranger = load(other.path(), &[], now);
    let server = Arc::new(identity.server_config(&[b"h2"]).unwrap());
    for name in ["localhost", "127.0.0.1", "::1", "one", "kubernetes.default.svc.cluster.local", "10.96.0.1"] {
        let client = identity.client_config(identity.admin(), &[b"h2"]).unwrap();
        assert!(handshake(client, &server, name), "{name}");
    }
    let client = identity.client_config(identity.admin(), &[b"h2"]).unwrap();
    assert!(!handshake(client, &server, "example.com"));
    let client = identity.client_config(stranger.admin(), &[b"h2"]).unwrap();
    assert!(!handshake(client, &server, "localhost"), "a certificate of another authority");
}

/// Runs a handshake in memory and says whether both sides finished it.
fn handshake(client: rustls::ClientConfig, server: &Arc<rustls::ServerConfig>, name: &str) -> bool {
    let name = ServerName::try_from(name.to_string()).unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = rustls::ServerConnection::new(Arc::clone(server)).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        if server.process_new_packets().is_err() {
            return false;
        }
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        if client.process_new_packets().is_err() {
            return false;
        }
    }
    true
}

#[test]
fn the_admin_kubeconfig_embeds_everything_and_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let identity = load(dir.path(), &[], NOW);
    let path = dir.path().join("admin.kubeconfig");
    identity.write_admin_kubeconfig(&path, "https://127.0.0.1:6443").unwrap();
    identity.write_admin_kubeconfig(&path, "https://127.0.0.1:6443").unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let config = kube::config::Kubeconfig::read_from(&path).unwrap();
    assert_eq!(config.current_context.as_deref(), Some("shoal"));
    assert_eq!(config.clusters[0].cluster.as_ref().unwrap().server.as_deref(), Some("https://127.0.0.1:6443"));
    assert!(config.auth_infos[0].auth_info.as_ref().unwrap().client_key_data.is_some());
}

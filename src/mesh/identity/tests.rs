//! The identity on disk: made once, reused, renewed when it must be, refused when exposed, migrated, switched.

mod handshake;
mod signing;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::*;
use crate::model::{NodeId, Timestamp};

pub const NOW: Timestamp = Timestamp(1_790_000_000_000_000);

pub fn subject(node: &str, addresses: &[&str]) -> Subject {
    Subject {
        node: node.into(),
        names: Vec::new(),
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        cluster_domain: "cluster.local".into(),
    }
}

pub fn founded(dir: &Path, addresses: &[&str], now: Timestamp) -> Identity {
    Identity::found(&dir.join("pki"), &subject("one", addresses), &Lifetimes::default(), now).unwrap()
}

/// A node that joins the founder's cluster with its own key.
pub fn adoption(founder: &Identity, node: &str, now: Timestamp) -> Adoption {
    let subject = subject(node, &["10.0.0.9"]);
    let (key_pem, csr_pem) = request(&subject).unwrap();
    let authority = founder.authority().unwrap();
    let certificate_pem = authority.sign_node(&csr_pem, &subject, Lifetimes::default().node, now).unwrap();
    Adoption { node: Credential { certificate_pem, key_pem }, bundle: founder.bundle().clone(), admin: None }
}

fn error(result: &Result<impl Sized, Error>) -> String {
    result.as_ref().err().expect("an error").to_string()
}

fn pki(dir: &Path) -> PathBuf {
    dir.join("pki")
}

#[test]
fn a_restart_finds_the_same_identity_and_files_are_private() {
    let dir = tempfile::tempdir().unwrap();
    let first = founded(dir.path(), &["10.0.0.7"], NOW);
    let second = founded(dir.path(), &["10.0.0.7"], NOW + Duration::from_secs(60));
    assert_eq!(first.bundle(), second.bundle());
    assert!(first.node() == second.node() && first.admin() == second.admin());
    assert_eq!(fs::metadata(pki(dir.path())).unwrap().mode() & 0o777, 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(pki(dir.path())).unwrap().map(Result::unwrap) {
        assert_eq!(entry.metadata().unwrap().mode() & 0o777, 0o600);
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["admin.crt", "admin.key", "authorities.crt", "ca.crt", "ca.key", "node.pem"]);
}

#[test]
fn the_nodes_certificate_is_renewed_for_new_addresses_and_before_it_ends_but_the_authority_stays() {
    let dir = tempfile::tempdir().unwrap();
    let first = founded(dir.path(), &["10.0.0.7"], NOW);
    let moved = founded(dir.path(), &["10.0.0.8"], NOW);
    let early = founded(dir.path(), &["10.0.0.8"], NOW + Duration::from_hours(15));
    let aged = founded(dir.path(), &["10.0.0.8"], NOW + Duration::from_hours(17));
    assert!(first.node() != moved.node() && moved.node() == early.node() && early.node() != aged.node());
    assert!(first.admin() == aged.admin());
    assert!(founded(dir.path(), &["10.0.0.8"], NOW + DAY * 300).admin() != first.admin());
    assert_eq!(first.bundle(), aged.bundle());
}

#[test]
fn keys_that_others_can_read_are_refused_with_the_command_that_mends_it() {
    for file in ["ca.key", "node.pem", "admin.key", "authorities.crt"] {
        let dir = tempfile::tempdir().unwrap();
        founded(dir.path(), &[], NOW);
        fs::set_permissions(pki(dir.path()).join(file), Permissions::from_mode(0o644)).unwrap();
        let again = Identity::load(&pki(dir.path()), &subject("one", &[]), &Lifetimes::default(), NOW);
        let text = error(&again);
        assert!(text.contains("mode 0644") && text.contains("chmod 0600") && text.contains(file), "{text}");
    }
}

#[test]
fn a_damaged_authority_is_never_replaced_but_a_damaged_leaf_is() {
    let dir = tempfile::tempdir().unwrap();
    let first = founded(dir.path(), &[], NOW);
    write_private(&pki(dir.path()).join("node.pem"), b"nonsense").unwrap();
    write_private(&pki(dir.path()).join("admin.crt"), b"nonsense").unwrap();
    let mended = founded(dir.path(), &[], NOW);
    assert!(mended.node() != first.node() && mended.admin() != first.admin());
    write_private(&pki(dir.path()).join("ca.crt"), b"nonsense").unwrap();
    let again = || Identity::found(&pki(dir.path()), &subject("one", &[]), &Lifetimes::default(), NOW);
    assert!(matches!(again(), Err(Error::Authority { .. })));
    fs::remove_file(pki(dir.path()).join("ca.crt")).unwrap();
    assert!(again().is_err());
}

#[test]
fn a_first_start_that_ended_after_the_authoritys_key_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    files::private_dir(&pki(dir.path())).unwrap();
    let made = Authority::generate(NOW).unwrap();
    write_private(&pki(dir.path()).join("ca.key"), made.credential().key_pem.as_bytes()).unwrap();
    assert_eq!(founded(dir.path(), &[], NOW).bundle().signing(), made.fingerprint());
}

#[test]
fn a_directory_of_an_earlier_release_gets_a_node_certificate_and_loses_the_old_leaves() {
    let dir = tempfile::tempdir().unwrap();
    let (old, path) = (founded(dir.path(), &[], NOW), pki(dir.path()));
    for name in ["authorities.crt", "node.pem"] {
        fs::remove_file(path.join(name)).unwrap();
    }
    let authority = old.authority().unwrap();
    for name in ["server", "node"] {
        let leaf = authority.issue_client("kube-apiserver", "", DAY * 365, NOW).unwrap();
        write_private(&path.join(format!("{name}.key")), leaf.key_pem.as_bytes()).unwrap();
        write_private(&path.join(format!("{name}.crt")), leaf.certificate_pem.as_bytes()).unwrap();
    }
    let load = || Identity::load(&path, &subject("one", &[]), &Lifetimes::default(), NOW).unwrap().unwrap();
    let new = load();
    assert_eq!(new.bundle(), old.bundle());
    assert!(new.admin() == old.admin(), "the kubeconfig that users have still works");
    assert_eq!(new.certificate().unwrap().node(), Some(NodeId("one".into())));
    for name in ["server.crt", "server.key", "node.crt", "node.key"] {
        assert!(!path.join(name).exists(), "{name}");
    }
    assert!(load().node() == new.node());
}

#[test]
fn a_joined_node_keeps_what_it_was_given_and_has_no_authority() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let founder = founded(one.path(), &[], NOW);
    let (path, want, lifetimes) = (pki(two.path()), subject("two", &["10.0.0.9"]), Lifetimes::default());
    assert!(Identity::load(&path, &want, &lifetimes, NOW).unwrap().is_none(), "nothing is there yet");
    let name = NodeId("two".into());
    Identity::adopt(&path, &name, adoption(&founder, "two", NOW)).unwrap();
    let mut joined = Identity::load(&path, &want, &lifetimes, NOW).unwrap().unwrap();
    assert_eq!((joined.name(), joined.bundle()), (&name, founder.bundle()));
    assert!(joined.authority().is_none() && joined.admin().is_none());
    assert!(!joined.write_admin_kubeconfig(&two.path().join("k"), "https://x").unwrap());
    assert_eq!(joined.stale(&want, &lifetimes, NOW), None);
    assert!(joined.stale(&want, &lifetimes, NOW + Duration::from_hours(17)).is_some());
    assert!(joined.stale(&subject("two", &["10.0.0.1"]), &lifetimes, NOW).is_some());
    assert!(joined.reissue(&want, &lifetimes, NOW).is_err());
    joined.keep_admin(founder.admin().unwrap().clone()).unwrap();
    let again = Identity::load(&path, &want, &lifetimes, NOW + DAY * 9).unwrap().unwrap();
    assert!(again.admin() == founder.admin(), "an ended certificate is loaded, and says so");
    assert!(again.certificate().unwrap().not_after < NOW + DAY * 9);
    assert!(again.write_admin_kubeconfig(&two.path().join("k"), "https://x").unwrap());
}

#[test]
fn founders_and_joined_nodes_do_not_take_each_others_directories_or_certificates() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let founder = founded(one.path(), &[], NOW);
    let name = NodeId("two".into());
    assert!(matches!(
        Identity::adopt(&pki(one.path()), &name, adoption(&founder, "two", NOW)),
        Err(Error::Taken { .. })
    ));
    let foreign = founded(two.path(), &[], NOW);
    let three = tempfile::tempdir().unwrap();
    let other = NodeId("three".into());
    let adopt = |name: &NodeId, adoption| Identity::adopt(&pki(three.path()), name, adoption);
    assert!(matches!(adopt(&other, adoption(&founder, "two", NOW)), Err(Error::Credential(_))));
    let mixed = Adoption { bundle: foreign.bundle().clone(), ..adoption(&founder, "two", NOW) };
    assert!(matches!(adopt(&name, mixed), Err(Error::Credential(_))));
    let mut swapped = adoption(&founder, "two", NOW);
    swapped.node.key_pem = request(&subject("two", &[])).unwrap().0;
    assert!(matches!(adopt(&name, swapped), Err(Error::Credential(_))));
    let with_admin = Adoption { admin: founder.admin().cloned(), ..adoption(&founder, "two", NOW) };
    adopt(&name, with_admin).unwrap();
    adopt(&name, adoption(&founder, "two", NOW)).unwrap();
    assert!(!pki(three.path()).join("admin.key").exists(), "that of the earlier membership is gone");
    let refounded = Identity::found(&pki(three.path()), &subject("two", &[]), &Lifetimes::default(), NOW);
    assert!(matches!(refounded, Err(Error::Taken { .. })));
    write_private(&pki(three.path()).join("node.pem"), b"nonsense").unwrap();
    let damaged = Identity::load(&pki(three.path()), &subject("two", &[]), &Lifetimes::default(), NOW);
    let text = error(&damaged);
    assert!(text.contains("join again"), "{text}");
}

#[test]
fn a_switch_to_the_successor_survives_an_end_at_any_step() {
    let (subject, lifetimes) = (subject("one", &[]), Lifetimes::default());
    for step in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let mut identity = founded(dir.path(), &[], NOW);
        let old = identity.bundle().signing();
        let new = identity.generate_successor(NOW).unwrap().fingerprint();
        assert_eq!(founded(dir.path(), &[], NOW).successor().unwrap().fingerprint(), new, "a restart keeps it");
        assert_eq!(identity.generate_successor(NOW).unwrap().fingerprint(), new, "asked twice, made once");
        for (from, to) in [("ca-next.key", "ca.key"), ("ca-next.crt", "ca.crt")].iter().take(step) {
            files::rename(&pki(dir.path()), from, to).unwrap();
        }
        if step == 0 {
            identity.switch(&subject, &lifetimes, NOW).unwrap();
        }
        let after = founded(dir.path(), &[], NOW);
        assert_eq!(after.authority().unwrap().fingerprint(), new, "step {step}");
        assert!(after.successor().is_none() && after.bundle().contains(old), "step {step}");
        assert_eq!(after.bundle().signing(), new);
        assert_eq!(after.stale(&subject, &lifetimes, NOW), None, "the node's own is by the new one");
        let mut forgotten = after;
        forgotten.trust(forgotten.bundle().without(old).unwrap()).unwrap();
        assert!(!founded(dir.path(), &[], NOW).bundle().contains(old));
    }
}

#[test]
fn a_bundle_that_cannot_be_read_is_an_error_and_its_text_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let identity = founded(dir.path(), &[], NOW);
    let one = identity.bundle().clone();
    let more: Vec<Authority> = (0..3).map(|_| Authority::generate(NOW).unwrap()).collect();
    let two = one.with_trusted(more[0].certificate_pem()).unwrap();
    assert_eq!((two.authorities().len(), two.signing()), (2, one.signing()));
    assert_eq!(Bundle::from_pem(&two.pem()), Ok(two.clone()));
    let turned = two.with_signing(more[0].certificate_pem()).unwrap();
    assert_eq!((turned.authorities().len(), turned.signing()), (2, more[0].fingerprint()));
    assert_eq!(turned.without(more[0].fingerprint()), Err(BundleError::Signing));
    let three = two.with_trusted(more[1].certificate_pem()).unwrap();
    assert_eq!(three.with_trusted(more[2].certificate_pem()), Err(BundleError::TooMany));
    assert_eq!(Bundle::from_pem(""), Err(BundleError::Empty));
    assert!(matches!(
        Bundle::from_pem(&identity.node().certificate_pem),
        Err(BundleError::Certificate { place: 1, .. })
    ));
    let broken = one.pem().replace("BEGIN CERTIFICATE-----\nM", "BEGIN CERTIFICATE-----\nA");
    assert!(Bundle::from_pem(&broken).is_err());
    let phases = crate::plan::authority::phase(&two.picture());
    assert!(matches!(phases, crate::plan::authority::Phase::TrustBoth { .. }), "{phases:?}");
}

#[test]
fn the_admin_kubeconfig_embeds_everything_and_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let mut identity = founded(dir.path(), &[], NOW);
    identity.generate_successor(NOW).unwrap();
    let path = dir.path().join("admin.kubeconfig");
    assert!(identity.write_admin_kubeconfig(&path, "https://127.0.0.1:6443").unwrap());
    assert!(identity.write_admin_kubeconfig(&path, "https://127.0.0.1:6443").unwrap());
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let config = kube::config::Kubeconfig::read_from(&path).unwrap();
    assert_eq!(config.current_context.as_deref(), Some("shoal"));
    let cluster = config.clusters[0].cluster.as_ref().unwrap();
    assert_eq!(cluster.server.as_deref(), Some("https://127.0.0.1:6443"));
    let encoded = cluster.certificate_authority_data.as_deref().unwrap();
    let decoded = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, encoded).unwrap();
    assert_eq!(String::from_utf8(decoded).unwrap(), identity.bundle().pem(), "both authorities");
    assert!(config.auth_infos[0].auth_info.as_ref().unwrap().client_key_data.is_some());
}

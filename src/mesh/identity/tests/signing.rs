//! What the authority signs, and what it does not.

use base64::Engine as _;

use super::*;

fn authority() -> Authority {
    Authority::generate(NOW).unwrap()
}

fn sign(authority: &Authority, csr: &str, expected: &Subject) -> Result<String, SignError> {
    authority.sign_node(csr, expected, DAY, NOW)
}

#[test]
fn a_nodes_certificate_says_what_is_expected_and_shows_the_authority_behind_it() {
    let (authority, subject) = (authority(), subject("two", &["10.0.0.9", "fd00::9"]));
    let (_, csr) = request(&subject).unwrap();
    let chain = sign(&authority, &csr, &subject).unwrap();
    let told = first_certificate(&chain).unwrap();
    assert_eq!(told.node(), Some(NodeId("two".into())));
    assert_eq!(told.leaf, issue::Leaf::node(&subject));
    assert_eq!((told.issued, told.not_after), (NOW, NOW + DAY));
    assert_eq!(told.not_before + CLOCK_SKEW, NOW);
    assert!(chain.ends_with(authority.certificate_pem()) && !told.is_authority);
    let later = authority.sign_node(&csr, &subject, DAY, NOW + Duration::from_micros(7)).unwrap();
    assert_eq!(first_certificate(&later).unwrap().issued, NOW + Duration::from_micros(7), "finer than a second");
}

#[test]
fn of_a_request_only_the_key_counts() {
    let (authority, expected) = (authority(), subject("two", &[]));
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "kubernetes-admin");
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "system:masters");
    params.is_ca = rcgen::IsCa::NoCa;
    let csr = params.serialize_request(&key).unwrap().pem().unwrap();
    let told = first_certificate(&sign(&authority, &csr, &expected).unwrap()).unwrap();
    assert_eq!(told.leaf, issue::Leaf::node(&expected));
}

/// Whether a node gets a certificate by asking for another's name.
fn another_name_is_signed() -> bool {
    let (_, csr) = request(&subject("victim", &[])).unwrap();
    match sign(&authority(), &csr, &subject("two", &[])) {
        Ok(_) => true,
        Err(error) => {
            assert!(matches!(&error, SignError::Stray(name) if name.contains("victim")), "{error}");
            false
        }
    }
}

#[test]
fn a_name_or_address_of_somebody_else_is_refused() {
    assert!(!another_name_is_signed());
    let (_, csr) = request(&subject("two", &["10.0.0.1"])).unwrap();
    assert!(matches!(sign(&authority(), &csr, &subject("two", &["10.0.0.2"])), Err(SignError::Stray(_))));
}

#[cfg(feature = "mutants")]
#[test]
fn a_stray_name_is_caught_where_names_are_not_checked() {
    assert!(crate::mesh::mutant::planted("sign-any-name", another_name_is_signed));
}

#[test]
fn requests_that_are_broken_forged_or_too_large_are_refused() {
    let (authority, expected) = (authority(), subject("two", &[]));
    let (_, csr) = request(&expected).unwrap();
    for bad in ["", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", &csr[..200]] {
        assert!(matches!(sign(&authority, bad, &expected), Err(SignError::Request(_))), "{bad}");
    }
    assert!(matches!(sign(&authority, &"x".repeat(1 << 20), &expected), Err(SignError::TooMuch(_))));
    // Another key in the same request: its signature no longer fits.
    let engine = base64::engine::general_purpose::STANDARD;
    let body: String = csr.lines().filter(|line| !line.starts_with('-')).collect();
    let mut der = engine.decode(body).unwrap();
    let last = der.len() - 1;
    der[last] ^= 1;
    let forged =
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n", engine.encode(der));
    assert!(matches!(sign(&authority, &forged, &expected), Err(SignError::Request(_))));
    let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let csr = rcgen::CertificateParams::default().serialize_request(&other).unwrap().pem().unwrap();
    assert_eq!(sign(&authority, &csr, &expected), Err(SignError::Key));
}

#[test]
fn names_that_are_none_and_too_many_names_are_refused() {
    let authority = authority();
    for name in ["", "UPPER", "a b", "a..b", "-a", "a-", "system:node:x", &"a".repeat(254)] {
        let expected = subject(name, &[]);
        let (_, csr) = request(&subject("two", &[])).unwrap();
        assert!(matches!(sign(&authority, &csr, &expected), Err(SignError::Name(_))), "{name}");
    }
    let mut many = subject("two", &[]);
    many.names = (0..40).map(|index| format!("n{index}")).collect();
    let (_, csr) = request(&subject("two", &[])).unwrap();
    assert!(matches!(sign(&authority, &csr, &many), Err(SignError::TooMuch(_))));
}

#[test]
fn a_clients_certificate_is_for_its_key_and_never_a_nodes() {
    let authority = authority();
    let (_, csr) = request(&subject("two", &[])).unwrap();
    let sign = |user: &str, group: &str| authority.sign_client(&csr, user, group, DAY, NOW);
    let told = first_certificate(&sign(ADMIN, ADMINS_GROUP).unwrap()).unwrap();
    assert_eq!(told.node(), None);
    assert_eq!(told.leaf, issue::Leaf::client(ADMIN, ADMINS_GROUP));
    for (user, group) in [("system:node:two", "x"), ("jane", "system:nodes"), ("", "x")] {
        assert!(matches!(sign(user, group), Err(SignError::User(_))), "{user} {group}");
    }
}

//! Certificates that live for a minute renew themselves; the authority is replaced while everybody works on.

use std::path::PathBuf;
use std::time::Duration;

use super::harness::{Machine, Segment, wait_until};

/// How long a renewal may take: certificates of a minute are renewed every few seconds.
const RENEWED: Duration = Duration::from_secs(40);
/// How long a new authority may take to replace the old one in a cluster of two.
const REPLACED: Duration = Duration::from_mins(2);

#[test]
fn certificates_renew_themselves_and_a_new_authority_takes_over() {
    let segment = Segment::new();
    let mut a = Machine::new(&segment, "a", "hollow");
    a.up(&["--set", "mesh.certificate_lifetime=1m"]);
    a.wait_ready();
    let token = a.token(&[]);
    let b = Machine::joined(&segment, "b", "hollow", &a, &token);

    for node in [&a, &b] {
        let first = read(node, "node.pem");
        wait_until("the certificate is another", RENEWED, || changed(&read(node, "node.pem"), &first));
    }
    b.sees_ready("a", true).and_then(|()| a.sees_ready("b", true)).expect("both are Ready");

    let old = read(&b, "authorities.crt");
    a.shoal(&["authority", "rotate"]);
    wait_until("the old authority is forgotten by both", REPLACED, || {
        let (here, there) = (read(&a, "authorities.crt"), read(&b, "authorities.crt"));
        let one = here.matches("BEGIN").count() == 1;
        if here == there && one && here != old { Ok(()) } else { Err(format!("{here}\n{there}")) }
    });
    wait_until("both are Ready and see each other", RENEWED, || {
        a.sees_ready("b", true)?;
        b.sees_ready("a", true)?;
        a.sees(&[("a", "alive"), ("b", "alive")])
    });
    // A token of the new authority lets in a node that has never heard of the old one.
    let token = a.token(&[]);
    let c = Machine::joined(&segment, "c", "hollow", &a, &token);
    wait_until("c sees everybody", RENEWED, || c.sees(&[("a", "alive"), ("b", "alive"), ("c", "alive")]));
}

fn read(node: &Machine, file: &str) -> String {
    let path: PathBuf = node.data.join("pki").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn changed(now: &str, first: &str) -> Result<(), String> {
    if now == first { Err("it is the first one still".into()) } else { Ok(()) }
}

//! An Ethernet segment: a bridge in a network namespace of its own, invisible to everything else on the host.

use std::cell::Cell;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

use super::process::{ip, nft};

/// Tells segments of one test run apart.
static NEXT: AtomicU8 = AtomicU8::new(0);

/// A segment with room for 200 machines; 10.77.N.0/24, where nothing leads out.
pub struct Segment {
    namespace: String,
    nth: u8,
    machines: Cell<u8>,
    dir: tempfile::TempDir,
}

/// What a machine gets of its segment.
pub struct Place {
    /// Name of the machine's namespace.
    pub namespace: String,
    /// Its address.
    pub ip: Ipv4Addr,
    /// The address that its default route leads to; nobody routes there.
    pub gateway: Ipv4Addr,
    /// Its hardware address.
    pub mac: String,
    /// A name that no other machine of this host has, at most 12 bytes.
    pub unique: String,
    /// A directory of its own.
    pub dir: PathBuf,
}

impl Segment {
    /// A segment with nobody on it.
    pub fn new() -> Self {
        let nth = NEXT.fetch_add(1, Ordering::SeqCst);
        let namespace = format!("shmesh-{}-{nth}", std::process::id());
        let dir = tempfile::tempdir().expect("a temporary directory");
        let segment = Self { namespace, nth, machines: Cell::new(0), dir };
        let name = &segment.namespace;
        ip(&format!("netns add {name}"));
        ip(&format!("-n {name} link add bridge type bridge"));
        ip(&format!("-n {name} address add {}/24 dev bridge", segment.address(1)));
        ip(&format!("-n {name} link set bridge up"));
        segment
    }

    /// The segment's address with this last part; no machine is given one above 200.
    pub fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.nth, last)
    }

    /// Files of the test.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Connects one more machine.
    pub fn connect(&self, name: &str) -> Place {
        let nth = self.machines.get() + 1;
        self.machines.set(nth);
        let place = Place {
            namespace: format!("{}-{name}", self.namespace),
            ip: self.address(10 + nth),
            gateway: self.address(1),
            mac: format!("02:00:00:00:{:02x}:{nth:02x}", self.nth),
            unique: format!("sm{}x{}n{nth}", std::process::id() % 10_000, self.nth),
            dir: self.dir.path().join(name),
        };
        std::fs::create_dir(&place.dir).expect("a directory for the machine");
        let (machine, segment) = (&place.namespace, &self.namespace);
        ip(&format!("netns add {machine}"));
        ip(&format!("link add port{nth} netns {segment} type veth peer name eth0 netns {machine}"));
        ip(&format!("-n {segment} link set port{nth} master bridge up"));
        ip(&format!("-n {machine} link set lo up"));
        ip(&format!("-n {machine} link set eth0 address {} up", place.mac));
        // What a cut takes away, by the sender's hardware address; ARP passes, so that a one-way cut stays one.
        nft(
            machine,
            "table netdev cut {\n set lost { type ether_addr; }\n chain arriving {\n  \
             type filter hook ingress device \"eth0\" priority 0;\n  ether type ip ether saddr @lost counter drop\n }\n}\n",
        );
        place
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.namespace]).output();
    }
}

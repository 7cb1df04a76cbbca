//! Machines and the network between them, made by the test and removed with it, whatever happens.
//!
//! `segment` is an Ethernet segment, a bridge in a namespace of its own; `machine` a namespace with a link to it and a
//! node; `process` runs programs within bounds; `clients` keep a whole cluster busy, and `history` judges what they were
//! told.

pub mod clients;
pub mod history;
pub mod machine;
pub mod process;
pub mod segment;

pub use machine::Machine;
pub use segment::Segment;

use std::net::UdpSocket;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long anything may take before the test fails. Generous: the machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(100);

/// Asks again until there is an answer; panics with the last complaint after `bound`.
pub fn wait_until<T>(what: &str, bound: Duration, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + bound;
    loop {
        match ask() {
            Ok(found) => return found,
            Err(complaint) if Instant::now() > deadline => panic!("{what}: not within {bound:?}: {complaint}"),
            Err(_) => sleep(POLL),
        }
    }
}

/// Asks again and again for `time`; panics where `ask` complains even once.
pub fn holds(what: &str, time: Duration, mut ask: impl FnMut() -> Result<(), String>) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        if let Err(complaint) = ask() {
            panic!("{what}: {complaint}");
        }
        sleep(POLL);
    }
}

/// `Ok` where two values are the same, else both of them.
pub fn same<T: PartialEq + std::fmt::Debug>(found: T, wanted: T) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("{found:?} is not {wanted:?}")) }
}

/// What the tests of cuts stand on: a cut loses what it says, in the direction that it says, until it is healed.
#[test]
fn a_cut_loses_one_direction_only() {
    let segment = Segment::new();
    let one = Machine::new(&segment, "one", "hollow");
    let two = Machine::new(&segment, "two", "hollow");
    assert_eq!((arrives(&one, &two), arrives(&two, &one)), (true, true));
    two.lose_from(&one);
    assert_eq!((arrives(&one, &two), arrives(&two, &one)), (false, true));
    two.cut_from(&one);
    assert_eq!((arrives(&one, &two), arrives(&two, &one)), (false, false));
    one.heal();
    two.heal();
    assert_eq!((arrives(&one, &two), arrives(&two, &one)), (true, true));
}

/// Whether a datagram gets from one machine to another.
fn arrives(from: &Machine, to: &Machine) -> bool {
    let (socket, at) = to.inside(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        let port = socket.local_addr().expect("an address").port();
        (socket, port)
    });
    let target = (to.ip, at);
    from.inside(move || UdpSocket::bind("0.0.0.0:0")?.send_to(b"x", target)).expect("a way there");
    // Both namespaces are on this host: what comes comes at once.
    socket.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    socket.recv(&mut [0; 8]).is_ok()
}

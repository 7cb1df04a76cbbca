//! Whom a node believes, and what it changes.

use super::*;

fn ground() -> Ground {
    Ground { own: cidr("10.244.0.0/24"), cluster: cidr("10.244.0.0/16"), vni: 7, port: 4789, mtu: 0 }
}

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

fn peer(node: &str, address: &str, pods: &str) -> PeerRoute {
    PeerRoute { node: node.into(), address: address.parse().unwrap(), pod_cidr: cidr(pods) }
}

const LINK: Way = Way::Link { index: 2, mtu: 1500 };
const ROUTED: Way = Way::Routed { mtu: 1500 };

fn table(peers: &[(PeerRoute, Way)]) -> Table {
    let told: Vec<_> = peers.iter().map(|(peer, _)| peer.clone()).collect();
    let (admitted, refused) = admit(&ground(), &Table::default(), &told);
    assert_eq!(refused, []);
    let way = |peer: &PeerRoute| peers.iter().find(|(other, _)| other == peer).unwrap().1;
    let (table, refused) = wanted(&ground(), admitted.into_iter().map(|one| (one.clone(), way(&one.peer))).collect());
    assert_eq!(refused, []);
    table
}

/// Carries changes out as the kernel would: what is removed or adjusted must be there, what is made must not.
fn carry_out(found: &Table, changes: &[Change]) -> Table {
    let mut table = found.clone();
    for change in changes {
        match change.clone() {
            Change::MakeTunnel(tunnel) => assert!(table.tunnel.replace(tunnel).is_none()),
            Change::AdjustTunnel(tunnel) => assert!(table.tunnel.replace(tunnel.clone()).unwrap().may_become(&tunnel)),
            Change::RemoveTunnel => {
                assert!(table.tunnel.is_some());
                table.lose_tunnel();
            }
            Change::Forward(mac, peer) => {
                table.forwards.insert(mac, peer);
            }
            Change::Neighbour(end, mac) => {
                table.neighbours.insert(end, mac);
            }
            Change::Route(range, hop) => {
                assert!(hop.leg != Leg::Tunnel || table.tunnel.is_some());
                table.routes.insert(range, hop);
            }
            Change::RemoveRoute(range, hop) => assert_eq!(table.routes.remove(&range), Some(hop)),
            Change::RemoveNeighbour(end, mac) => assert_eq!(table.neighbours.remove(&end), Some(mac)),
            Change::RemoveForward(mac, peer) => assert_eq!(table.forwards.remove(&mac), Some(peer)),
        }
    }
    table
}

#[test]
fn a_bad_peer_is_refused_alone() {
    let bad = [
        (peer("a", "10.0.0.9", "10.244.0.128/25"), Reason::OverlapsOwn),
        (peer("b", "10.0.0.9", "10.244.0.0/16"), Reason::OverlapsOwn),
        (peer("c", "10.0.0.9", "0.0.0.0/0"), Reason::OverlapsOwn),
        (peer("d", "10.0.0.9", "10.245.0.0/24"), Reason::OutsideCluster),
        (peer("e", "10.0.0.9", "10.244.9.8/31"), Reason::Narrow),
        (peer("f", "10.0.0.9", "fd00::/64"), Reason::Family),
        (peer("g", "fd00::9", "10.244.9.0/24"), Reason::Family),
        (peer("h", "10.244.7.1", "10.244.9.0/24"), Reason::AddressOfPod),
        (peer("i", "127.0.0.1", "10.244.9.0/24"), Reason::Address),
        (peer("j", "0.0.0.0", "10.244.9.0/24"), Reason::Address),
        (peer("k", "224.0.0.1", "10.244.9.0/24"), Reason::Address),
        (peer("l", "255.255.255.255", "10.244.9.0/24"), Reason::Address),
        (peer("n", "10.0.0.4", "10.244.1.0/24"), Reason::OverlapsPeer("m".into())),
        (peer("o", "10.0.0.5", "10.244.0.0/17"), Reason::OverlapsOwn),
        (peer("p", "10.0.0.5", "10.244.1.64/26"), Reason::OverlapsPeer("m".into())),
    ];
    let good = peer("m", "10.0.0.3", "10.244.1.0/24");
    let mut told: Vec<_> = bad.iter().map(|(peer, _)| peer.clone()).collect();
    told.extend([good.clone(), good.clone()]);
    told.reverse();
    let (admitted, refused) = admit(&ground(), &Table::default(), &told);
    assert_eq!(admitted.iter().map(|one| &one.peer).collect::<Vec<_>>(), [&good]);
    let refused: Vec<_> = refused.into_iter().map(|one| (one.peer, one.reason)).collect();
    assert_eq!(refused, bad);
    let ways = [Way::Here, Way::Nowhere];
    for (way, reason) in ways.into_iter().zip([Reason::ThisMachine, Reason::Unreachable]) {
        let (table, refused) = wanted(&ground(), admitted.iter().map(|one| (one.clone(), way)).collect());
        assert_eq!((table, refused), (Table::default(), vec![Refused { peer: good.clone(), reason }]));
    }
}

#[test]
fn a_wide_range_cannot_take_in_two_narrow_ones() {
    let cluster = Ground { own: cidr("10.244.255.0/24"), ..ground() };
    let told = [
        peer("a", "10.0.0.2", "10.244.1.0/24"),
        peer("b", "10.0.0.3", "10.244.3.0/24"),
        peer("c", "10.0.0.4", "10.244.0.0/22"),
    ];
    let (admitted, refused) = admit(&cluster, &Table::default(), &told);
    assert_eq!(admitted.len(), 2);
    assert_eq!(refused, [Refused { peer: told[2].clone(), reason: Reason::OverlapsPeer("a".into()) }]);
}

#[test]
fn a_newcomer_takes_no_route_from_the_one_that_has_it() {
    let old = peer("zoe", "10.0.0.3", "10.244.1.0/24");
    let new = peer("adam", "10.0.0.4", "10.244.1.0/24");
    for way in [LINK, ROUTED] {
        let found = table(&[(old.clone(), way)]);
        let (admitted, refused) = admit(&ground(), &found, &[new.clone(), old.clone()]);
        assert_eq!(admitted.iter().map(|one| &one.peer).collect::<Vec<_>>(), [&old]);
        assert_eq!(refused, [Refused { peer: new.clone(), reason: Reason::OverlapsPeer("zoe".into()) }]);
    }
    let (admitted, _) = admit(&ground(), &Table::default(), &[old, new.clone()]);
    assert_eq!(admitted.iter().map(|one| &one.peer).collect::<Vec<_>>(), [&new], "else the first by name");
}

#[test]
fn there_is_a_bound_on_peers() {
    let ground = Ground { cluster: cidr("10.0.0.0/8"), ..ground() };
    let told: Vec<_> = (0..u32::try_from(MAX_PEERS).unwrap() + 5)
        .map(|nth| {
            let pods = Cidr::new(Ipv4Addr::from_bits(0x0a00_0000 + nth * 4).into(), 30).unwrap();
            PeerRoute { node: format!("{nth:05}"), address: "192.0.2.1".parse().unwrap(), pod_cidr: pods }
        })
        .collect();
    let (admitted, refused) = admit(&ground, &Table::default(), &told);
    assert_eq!(admitted.len(), MAX_PEERS);
    assert_eq!(refused.len(), 5);
    assert!(refused.iter().all(|one| one.reason == Reason::TooMany));
}

#[test]
fn a_peer_on_a_link_gets_a_route_and_one_beyond_a_router_the_tunnel() {
    let table = table(&[
        (peer("b", "192.0.2.2", "10.244.1.0/24"), LINK),
        (peer("c", "198.51.100.3", "10.244.2.0/24"), ROUTED),
        (peer("d", "198.51.100.4", "10.244.3.0/24"), Way::Routed { mtu: 1400 }),
    ]);
    let mac = [0x0a, 0x58, 10, 244, 0, 0];
    let address = Some(Ipv4Addr::new(10, 244, 0, 0));
    let tunnel = Tunnel { vni: 7, port: 4789, mac, learning: false, mtu: 1350, address, up: true };
    assert_eq!(table.tunnel, Some(tunnel), "as the narrowest link beneath allows");
    let expect = [
        (cidr("10.244.1.0/24"), Hop { via: Ipv4Addr::new(192, 0, 2, 2), leg: Leg::Link(2) }),
        (cidr("10.244.2.0/24"), Hop { via: Ipv4Addr::new(10, 244, 2, 0), leg: Leg::Tunnel }),
        (cidr("10.244.3.0/24"), Hop { via: Ipv4Addr::new(10, 244, 3, 0), leg: Leg::Tunnel }),
    ];
    assert_eq!(table.routes, expect.into());
    assert_eq!(table.forwards[&[0x0a, 0x58, 10, 244, 2, 0]], Ipv4Addr::new(198, 51, 100, 3));
    assert_eq!(table.neighbours[&Ipv4Addr::new(10, 244, 2, 0)], [0x0a, 0x58, 10, 244, 2, 0]);
    assert_eq!(super::tunnel(&Ground { mtu: 1280, ..ground() }, 9000).unwrap().mtu, 1280);
    assert_eq!(super::tunnel(&ground(), 40).unwrap().mtu, MIN_MTU);
}

#[test]
fn every_state_leads_to_every_other_and_then_to_rest() {
    let b = |way| (peer("b", "192.0.2.2", "10.244.1.0/24"), way);
    let c = |way| (peer("c", "198.51.100.3", "10.244.2.0/24"), way);
    let moved = (peer("b", "192.0.2.77", "10.244.1.0/24"), ROUTED);
    let mut states = vec![Table::default()];
    let kinds = [vec![b(LINK)], vec![b(ROUTED)], vec![b(LINK), c(ROUTED)], vec![b(ROUTED), c(ROUTED)], vec![moved]];
    states.extend(kinds.iter().map(|peers| table(peers)));
    let mut other_port = table(&[b(ROUTED), c(ROUTED)]);
    other_port.tunnel.as_mut().unwrap().port = 8472;
    let mut half_made = table(&[b(ROUTED)]);
    half_made.tunnel = half_made.tunnel.map(|tunnel| Tunnel { up: false, address: None, mtu: 1500, ..tunnel });
    half_made.forwards.clear();
    let mut learned = table(&[c(ROUTED)]);
    learned.forwards.insert([2; 6], Ipv4Addr::new(203, 0, 113, 1));
    learned.tunnel.as_mut().unwrap().learning = true;
    for found in states.iter().chain([&other_port, &half_made, &learned]) {
        for wanted in &states {
            let steps = changes(found, wanted);
            assert_eq!(&carry_out(found, &steps), wanted, "{steps:?}");
            assert_eq!(steps.is_empty(), found == wanted);
            let last = changes(&carry_out(found, &steps), wanted);
            assert_eq!(last, []);
        }
    }
}

#[test]
fn a_changed_address_is_one_change() {
    let found =
        table(&[(peer("b", "192.0.2.2", "10.244.1.0/24"), ROUTED), (peer("c", "192.0.2.3", "10.244.2.0/24"), ROUTED)]);
    let now =
        table(&[(peer("b", "192.0.2.9", "10.244.1.0/24"), ROUTED), (peer("c", "192.0.2.3", "10.244.2.0/24"), ROUTED)]);
    let change = Change::Forward([0x0a, 0x58, 10, 244, 1, 0], Ipv4Addr::new(192, 0, 2, 9));
    assert_eq!(changes(&found, &now), [change]);
}

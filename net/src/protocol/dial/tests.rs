use rand::SeedableRng;

use chain::ledger::PeerId;

use super::*;
use crate::protocol::peers::Peer;
use crate::protocol::port::Direction;

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, number], 7400))
}

#[test]
fn waits_double_up_to_the_limit_with_jitter() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut waits = |failures| -> Vec<u64> {
        (0..100).map(|_| backoff_ms(failures, 1000, 300_000, &mut rng)).collect()
    };
    for (failures, full) in [(0, 1000), (1, 1000), (2, 2000), (5, 16_000), (60, 300_000)] {
        let list = waits(failures);
        assert!(
            list.iter().all(|ms| (full - full / 4..=full).contains(ms)),
            "{failures}: {list:?}"
        );
        assert!(list.iter().any(|ms| *ms != list[0]), "jitter");
    }
}

/// Ticks while this node, if any, is connected otherwise; returns what is dialled.
fn tick(
    dialler: &mut Dialler,
    now: u64,
    book: &AddressBook,
    have: Option<NodeId>,
) -> Vec<SocketAddr> {
    let mut book = book.clone();
    let (mut rng, mut out) = (StdRng::seed_from_u64(1), Outbox::default());
    let mut peers = Peers::default();
    if let Some(node_id) = have {
        let (address, direction) = (address(200), Direction::Inbound);
        let connected_at = Millis(0);
        let peer = Peer { address, node_id, direction, connected_at, hello: None };
        peers.insert(PeerId(9), peer);
    }
    let (peers, discouraged, bans) = (&peers, &Discouraged::default(), &Bans::default());
    let known = Known { peers, discouraged, bans };
    dialler.tick(Millis(now), &mut book, known, &Timing::default(), &mut rng, &mut out);
    let outputs = std::iter::from_fn(|| out.pop());
    outputs
        .map(|output| match output {
            Output::Connect(address) => address,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn fail(dialler: &mut Dialler, address: SocketAddr, ending: Ending, now: u64) {
    let mut rng = StdRng::seed_from_u64(1);
    dialler.ended(&address, ending, Millis(now), &Timing::default(), &mut rng);
}

#[test]
fn fixed_addresses_are_dialled_for_ever_and_soon() {
    let (book, fixed) = (AddressBook::default(), address(1));
    let mut dialler = Dialler::new(0, &[fixed], &[]);
    let mut now = 0;
    for _ in 0..50 {
        assert_eq!(tick(&mut dialler, now, &book, None), [fixed]);
        assert_eq!(tick(&mut dialler, now, &book, None), [], "one attempt at a time");
        fail(&mut dialler, fixed, Ending::Failed, now);
        let next = dialler.wake_at().unwrap().0;
        assert!(next > now && next <= now + 8000, "found within a few seconds");
        now = next;
    }
}

#[test]
fn a_fixed_peer_that_broke_a_rule_waits_longer() {
    let (book, fixed) = (AddressBook::default(), address(1));
    let mut dialler = Dialler::new(0, &[fixed], &[]);
    tick(&mut dialler, 0, &book, None);
    fail(&mut dialler, fixed, Ending::Violation, 0);
    assert_eq!(dialler.wake_at(), Some(Millis(300_000)));
}

/// Addresses in different groups.
fn elsewhere(number: u8) -> SocketAddr {
    SocketAddr::from(([100, number, 0, 1], 7400))
}

/// A book that has heard of these.
fn book_of(list: impl IntoIterator<Item = SocketAddr>) -> AddressBook {
    let mut book = AddressBook::default();
    list.into_iter().for_each(|address| {
        book.heard(address, address.ip(), 0, Millis(0));
    });
    book
}

#[test]
fn free_slots_are_filled_from_the_book() {
    let book = book_of((1..=20).map(elsewhere));
    let mut dialler = Dialler::new(8, &[address(99)], &[]);
    let dialled = tick(&mut dialler, 0, &book, None);
    assert_eq!(dialled.len(), 9, "eight slots and the fixed one");
    fail(&mut dialler, dialled[3], Ending::Failed, 0);
    assert_eq!(tick(&mut dialler, 1000, &book, None).len(), 1);
}

#[test]
fn a_group_is_dialled_once() {
    let book = book_of((1..=20).map(address).chain((1..=3).map(elsewhere)));
    let mut dialler = Dialler::new(8, &[], &[]);
    let dialled = tick(&mut dialler, 0, &book, None);
    let neighbours: Vec<_> = dialled.iter().filter(|a| !is_elsewhere(a)).copied().collect();
    assert_eq!((dialled.len(), neighbours.len()), (4, 1));
    assert_eq!(tick(&mut dialler, 1000, &book, None), [], "the free slots stay free");
    fail(&mut dialler, neighbours[0], Ending::Failed, 1000);
    assert_eq!(tick(&mut dialler, 2000, &book, None).len(), 1, "the group is free again");
    // What stands for the group may be a fixed peer, and a local network is no group.
    let mut dialler = Dialler::new(8, &[address(99)], &[]);
    let here = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let book = book_of((1..=5).map(address).chain((1..=5).map(here)));
    let dialled = tick(&mut dialler, 0, &book, None);
    assert_eq!(dialled.len(), 6);
    assert!(dialled[1..].iter().all(|address| address.ip().is_loopback()));
}

fn is_elsewhere(address: &SocketAddr) -> bool {
    Group::of(address.ip()) != Group::of(self::address(1).ip())
}

#[test]
fn anchors_come_first() {
    let book = book_of((1..=100).map(elsewhere));
    let anchors = [elsewhere(200), address(1), address(2)];
    let mut dialler = Dialler::new(4, &[], &anchors);
    let dialled = tick(&mut dialler, 0, &book, None);
    assert_eq!(dialled[..2], anchors[..2]);
    assert_eq!(dialled.len(), 4);
    assert!(!dialled.contains(&address(2)), "it is of a group we have");
    fail(&mut dialler, anchors[0], Ending::Failed, 0);
    assert_ne!(tick(&mut dialler, 1000, &book, None), [anchors[0]], "they come first once");
}

#[test]
fn feelers_go_out_one_at_a_time_beyond_the_slots() {
    let book = book_of((1..=20).map(address));
    let mut dialler = Dialler::new(1, &[], &[]);
    let node = NodeId([9; 32]);
    let slot = tick(&mut dialler, 0, &book, Some(node))[0];
    let due = dialler.wake_at().unwrap();
    assert_eq!(due, Millis(120_000));
    assert_eq!(tick(&mut dialler, due.0 - 1, &book, Some(node)), []);
    let feeler = tick(&mut dialler, due.0, &book, Some(node));
    assert_eq!(feeler.len(), 1, "although its group is taken");
    assert!(dialler.is_feeler(&feeler[0]) && !dialler.is_feeler(&slot));
    assert_eq!(tick(&mut dialler, due.0 * 2, &book, Some(node)), [], "the first is still out");
    fail(&mut dialler, feeler[0], Ending::Failed, due.0 * 2);
    assert_eq!(tick(&mut dialler, due.0 * 3, &book, None), [], "it would prove nothing");
    assert_eq!(tick(&mut dialler, due.0 * 4, &book, Some(node)).len(), 1);
}

#[test]
fn a_node_that_is_connected_otherwise_is_not_dialled() {
    let (book, fixed, node) = (AddressBook::default(), address(1), NodeId([1; 32]));
    let mut dialler = Dialler::new(0, &[fixed], &[]);
    tick(&mut dialler, 0, &book, None);
    dialler.connected(fixed, node);
    fail(&mut dialler, fixed, Ending::Failed, 0);
    assert_eq!(tick(&mut dialler, 10_000, &book, Some(node)), []);
    assert_eq!(tick(&mut dialler, 20_000, &book, None), [fixed]);
}

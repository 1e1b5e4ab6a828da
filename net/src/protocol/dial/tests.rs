use rand::SeedableRng;

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
    let (mut rng, mut out) = (StdRng::seed_from_u64(1), Outbox::default());
    let mut peers = Peers::default();
    if let Some(node_id) = have {
        let (address, direction) = (address(200), Direction::Inbound);
        let connected_at = Millis(0);
        let peer = Peer { address, node_id, direction, connected_at, hello: None };
        peers.insert(PeerId(9), peer);
    }
    let (peers, discouraged) = (&peers, &Discouraged::default());
    let known = Known { book, peers, discouraged };
    dialler.tick(Millis(now), known, &mut rng, &mut out);
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
    let mut dialler = Dialler::new(0, &[fixed]);
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
    let mut dialler = Dialler::new(0, &[fixed]);
    tick(&mut dialler, 0, &book, None);
    fail(&mut dialler, fixed, Ending::Violation, 0);
    assert_eq!(dialler.wake_at(), Some(Millis(300_000)));
}

#[test]
fn free_slots_are_filled_from_the_book() {
    let mut book = AddressBook::default();
    (1..=20).for_each(|number| {
        book.heard(address(number), 1, Millis(0));
    });
    let mut dialler = Dialler::new(8, &[address(99)]);
    let dialled = tick(&mut dialler, 0, &book, None);
    assert_eq!(dialled.len(), 9, "eight slots and the fixed one");
    fail(&mut dialler, dialled[3], Ending::Failed, 0);
    assert_eq!(tick(&mut dialler, 1000, &book, None).len(), 1);
}

#[test]
fn a_node_that_is_connected_otherwise_is_not_dialled() {
    let (book, fixed, node) = (AddressBook::default(), address(1), NodeId([1; 32]));
    let mut dialler = Dialler::new(0, &[fixed]);
    tick(&mut dialler, 0, &book, None);
    dialler.connected(fixed, PeerId(1), node);
    fail(&mut dialler, fixed, Ending::Failed, 0);
    assert_eq!(tick(&mut dialler, 10_000, &book, Some(node)), []);
    assert_eq!(tick(&mut dialler, 20_000, &book, None), [fixed]);
}

//! Connections of which one end, or neither, notices that they are dead.
//!
//! It takes a ping to find out: within 60 s if the other end knocks again, else within 3 minutes
//! (docs/protocol.md, "Time limits"). Here nodes have another way round meanwhile, and
//! `GRAVEN_TEST_HALF_OPEN=1` waits for the pings too; the simulator has such connections every few
//! minutes of virtual time (fault `loss`).

use std::time::{Duration, Instant};

use tests::node::{Node, now, wait_until};
use tests::proxy::{Proxy, Way};

use super::support::{Pair, Written, connect_only, setup};

/// Silence, and then a ping without an answer.
const NOTICED: Duration = Duration::from_secs(2 * 60 + 60 + 10);

/// Waits longer than tests do.
fn wait_long(deadline: Instant, mut holds: impl FnMut() -> bool) {
    while !holds() {
        assert!(now() < deadline, "a dead connection was not noticed in time");
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

fn is_long() -> bool {
    std::env::var_os("GRAVEN_TEST_HALF_OPEN").is_some_and(|value| value == "1")
}

/// Three nodes; the line between the first two is spoilt, and both know the third.
fn assert_way_round(seed: u64, spoil: impl Fn(&Proxy)) {
    let temp = tempfile::tempdir().unwrap();
    let far = setup(&temp, "far").start();
    let proxy = Proxy::start(far.peers, seed);
    let mut third = setup(&temp, "third");
    connect_only(&mut third, &[far.peers]);
    let third = third.start();
    let mut near = setup(&temp, "near");
    connect_only(&mut near, &[proxy.address(), third.peers]);
    let near = near.start();
    let nodes: [&Node; 3] = [&near, &far, &third];
    wait_until("a triangle", || nodes.iter().all(|node| node.status()["peers"] == 2));
    let mut written = Written::default();
    written.put(&near, 100);
    spoil(&proxy);
    let spoilt_at = now();
    for _ in 0..3 {
        nodes.iter().for_each(|node| written.put(node, 100));
    }
    written.wait_for_agreement(&nodes);
    assert!(proxy.counts().swallowed > 0, "the line was in use");
    if is_long() {
        wait_long(spoilt_at + NOTICED, || {
            let is_new = proxy.counts().joined > 1 && proxy.links() == 1;
            is_new && nodes.iter().all(|node| node.status()["peers"] == 2)
        });
        eprintln!("noticed and mended after {:?}", spoilt_at.elapsed());
        written.put(&near, 100);
        written.put(&far, 100);
        written.wait_for_agreement(&nodes);
    }
}

#[test]
fn a_line_that_swallows_one_way_keeps_nobody_from_the_chain() {
    std::thread::scope(|scope| {
        for way in Way::BOTH {
            scope.spawn(move || assert_way_round(31, |proxy| proxy.swallow(way)));
        }
    });
}

#[test]
fn a_line_that_swallows_both_ways_keeps_nobody_from_the_chain() {
    assert_way_round(32, |proxy| Way::BOTH.iter().for_each(|way| proxy.swallow(*way)));
}

#[test]
fn a_connection_that_one_end_has_lost_keeps_nobody_from_the_chain() {
    assert_way_round(33, Proxy::cut_at_dialler);
}

#[test]
fn a_node_that_lost_its_only_connection_unnoticed_writes_on_meanwhile() {
    let mut pair = Pair::start(34);
    pair.proxy.cut_at_dialler();
    pair.put_at_both();
    wait_until("the near node knocking again", || pair.proxy.counts().joined > 1);
    // The far one keeps the older connection until it fails to answer a ping.
    pair.wait_for_log("second connection to the same node");
    if is_long() {
        let started = now();
        // The ping's limit, and the longest pause of who knocks.
        wait_long(started + Duration::from_secs(60 + 8 + 5), || {
            pair.near.status()["peers"] == 1 && !pair.differ()
        });
        eprintln!("noticed and mended after {:?}", started.elapsed());
        pair.agree();
    }
}

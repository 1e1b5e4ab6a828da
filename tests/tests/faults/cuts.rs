//! Connections that end, stall, or never come about.

use tests::node::wait_until;
use tests::proxy::Faults;

use super::support::Pair;

#[test]
fn connections_that_are_cut_again_and_again() {
    const CUTS: u64 = 4;
    let mut pair = Pair::start(21);
    for cut in 1..=CUTS {
        pair.put_at_both();
        pair.proxy.cut();
        pair.put_at_both();
        wait_until("the nodes meeting again", || pair.proxy.counts().joined > cut);
    }
    pair.wait_for_connection();
    pair.agree();
    assert!(pair.proxy.counts().cut >= CUTS);
}

#[test]
fn a_connection_that_stalls_goes_on_when_it_can() {
    let mut pair = Pair::start(22);
    pair.proxy.set(Faults { stall: true, ..Faults::none() });
    pair.put_at_both(); // what was on its way is written by now
    let before = pair.proxy.counts().bytes;
    for _ in 0..3 {
        pair.put_at_both();
    }
    assert!(pair.differ(), "each has a chain of its own");
    assert_eq!(pair.proxy.counts().bytes, before);
    pair.proxy.set(Faults::none());
    pair.agree();
    assert_eq!(pair.proxy.counts().joined, 1, "nobody gave the connection up");
}

#[test]
fn whoever_is_accepted_and_never_answered_tries_again() {
    let mut pair = Pair::start_apart(23, Faults { stall: true, ..Faults::none() });
    pair.put_at_both();
    pair.wait_for_log("no handshake in time");
    wait_until("another attempt", || pair.proxy.counts().joined > 1);
    assert!(pair.nodes().iter().all(|node| node.status()["peers"] == 0));
    pair.proxy.set(Faults::none());
    pair.wait_for_connection();
    pair.agree();
}

#[test]
fn whoever_is_refused_tries_again() {
    let mut pair = Pair::start(24);
    pair.proxy.set(Faults { refuse: true, ..Faults::none() });
    pair.proxy.cut();
    for _ in 0..3 {
        pair.put_at_both();
    }
    assert!(pair.differ(), "each has a chain of its own");
    wait_until("two attempts", || pair.proxy.counts().refused >= 2);
    pair.proxy.set(Faults::none());
    pair.agree();
}

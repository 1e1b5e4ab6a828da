//! Lines that change what they carry. The channel notices, the connection ends, nothing of it is
//! believed, and since it may be nobody's fault but the line's, the nodes meet again.

use std::thread;

use tests::node::wait_until;
use tests::proxy::{Faults, Way};

use super::support::Pair;

/// Spoils some chunks until the channel has noticed, then waits until all is well again.
fn assert_noticed_and_mended(seed: u64, spoil: impl Fn(Way) -> Faults) {
    thread::scope(|scope| {
        for way in Way::BOTH {
            let faults = Faults { piece_bytes: Some(200), ..spoil(way) };
            scope.spawn(move || assert_noticed_and_mended_one_way(seed, faults));
        }
    });
}

fn assert_noticed_and_mended_one_way(seed: u64, faults: Faults) {
    let mut pair = Pair::start(seed);
    pair.proxy.set(faults);
    wait_until("the connection ending", || {
        pair.put_at_both();
        pair.proxy.links() == 0 || pair.proxy.counts().joined > 1
    });
    assert!(pair.proxy.counts().spoilt > 0);
    pair.wait_for_log("packet does not decrypt");
    pair.put_at_both();
    pair.proxy.set(Faults::none());
    pair.wait_for_connection();
    pair.put_at_both();
    pair.agree();
}

#[test]
fn a_flipped_bit_ends_the_connection_and_nodes_meet_again() {
    assert_noticed_and_mended(11, |way| Faults { garble: Some((way, 3)), ..Faults::none() });
}

#[test]
fn repeated_bytes_end_the_connection_and_nodes_meet_again() {
    assert_noticed_and_mended(12, |way| Faults { repeat: Some((way, 3)), ..Faults::none() });
}

#[test]
fn bytes_out_of_order_end_the_connection_and_nodes_meet_again() {
    assert_noticed_and_mended(13, |way| Faults { reorder: Some((way, 2)), ..Faults::none() });
}

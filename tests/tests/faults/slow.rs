//! Lines that are slow, narrow, or carry bytes in odd pieces. Nothing ends a connection over them.

use tests::node::now;
use tests::proxy::Faults;

use super::support::Pair;

/// Writes at both ends while the line is like this, and asserts that they keep their connection.
fn assert_kept(seed: u64, faults: &Faults) {
    let mut pair = Pair::start(seed);
    pair.proxy.set(faults.clone());
    for _ in 0..4 {
        pair.put_at_both();
    }
    pair.agree();
    assert_eq!(pair.proxy.counts().joined, 1, "{faults:?} ended a connection");
}

#[test]
fn a_line_with_delay_and_jitter() {
    assert_kept(1, &Faults { delay_ms: 50..=400, ..Faults::none() });
}

#[test]
fn a_line_that_cuts_everything_to_pieces() {
    assert_kept(2, &Faults { piece_bytes: Some(7), ..Faults::none() });
}

#[test]
fn a_line_that_hands_everything_on_in_lumps() {
    assert_kept(3, &Faults { piece_bytes: Some(100), gather_ms: 150, ..Faults::none() });
}

#[test]
fn a_narrow_line() {
    const RATE: usize = 50_000;
    const VALUE_BYTES: usize = 60_000;
    const PUTS: usize = 3;
    let mut pair = Pair::start(4);
    pair.proxy.set(Faults { bytes_a_second: Some(RATE as u64), ..Faults::none() });
    let started = now();
    for _ in 0..PUTS {
        pair.put_far(VALUE_BYTES);
    }
    pair.agree();
    let least = PUTS * VALUE_BYTES / RATE;
    let took = started.elapsed();
    assert!(took.as_secs_f64() > 0.9 * least as f64, "the line was not narrow: {took:?}");
    assert_eq!(pair.proxy.counts().joined, 1);
}

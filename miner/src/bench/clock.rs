//! How fast the CPU's clock runs, found without asking the CPU.
//!
//! What a CPU or its virtual machine reports is a nominal rate, or that of its time stamp
//! counter. Here a chain of additions and rotations is timed, each of which needs the result of
//! the one before and takes one cycle on every CPU that this is meant for.

use std::hint::black_box;

use crate::search::now;

/// One of them is likely to run undisturbed.
const RUNS: usize = 10;
/// Iterations of two cycles: about half a millisecond.
const LENGTH: u32 = 1_000_000;

/// Returns the cycles per second that this thread got, at its best over about 10 ms.
pub(super) fn hertz() -> f64 {
    (0..RUNS).map(|_| run()).fold(0.0, f64::max)
}

fn run() -> f64 {
    let started = now();
    let mut x = black_box(1_u64);
    for _ in 0..LENGTH {
        x = x.rotate_left(7).wrapping_add(0x9e37_79b9);
    }
    black_box(x);
    2.0 * f64::from(LENGTH) / now().duration_since(started).as_secs_f64()
}

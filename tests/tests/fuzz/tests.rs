//! One test for each target, and tests of the fuzzing itself.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use super::corpus;
use super::target::{Memory, Runner, Target};

/// How long random inputs are tried; `BOLERO_RANDOM_TEST_TIME_MS` sets another time.
const TEST_TIME: Duration = Duration::from_secs(2);

// Inputs are not shrunk: this version of the engine shrinks random ones to others
// (camshaft/bolero issue 328), and those that are kept are the shortest found anyway.

/// A test for each, and the table of all.
macro_rules! targets {
    ($($name:ident)*) => {
        const TARGETS: &[&Target] = &[$(&super::$name::TARGET),*];

        $(#[test]
        fn $name() {
            let runner = AssertUnwindSafe(Runner::new(&super::$name::TARGET));
            bolero::check!(name = stringify!($name))
                .with_test_time(TEST_TIME)
                .with_shrink_time(Duration::ZERO)
                .for_each(|input: &[u8]| drop(runner.feed(input)));
        })*
    };
}

targets! {
    books compact config frames headers lines log messages miners payloads protocol requests rows
    sessions
}

/// Also makes it anew, if `GRAVEN_FUZZ_GROW` says of how many random inputs for each target.
#[test]
fn every_kept_input_has_the_end_it_is_named_for() {
    let grow = std::env::var("GRAVEN_FUZZ_GROW").ok();
    let grow: Option<u64> = grow.map(|count| count.parse().expect("a number of inputs"));
    for target in TARGETS {
        let runner = Runner::new(target);
        if let Some(count) = grow {
            corpus::grow(&runner, count);
        }
        corpus::check(&runner);
    }
}

/// A decoder that believes a length.
const GULLIBLE: Target = Target {
    name: "gullible",
    samples: || vec![vec![1, 0, 0], vec![0, 0, 1]],
    run: |input| {
        let length = input.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        Vec::<u8>::with_capacity(length).capacity().to_string()
    },
    memory: Memory { per_byte: 8, fixed: 1024 },
};

#[test]
#[should_panic(expected = "bytes at once")]
fn an_allocation_beyond_the_bound_is_noticed() {
    let runner = Runner::new(&GULLIBLE);
    runner.feed(&[0, 0, 0, 100]);
    runner.feed(&[0, 1, 0, 0]);
}

#[test]
fn a_random_input_is_mostly_a_spoilt_sample() {
    let runner = Runner::new(&super::frames::TARGET);
    assert_eq!(runner.material(&[0, 7, 9]), [7, 9], "as it is");
    assert_eq!(runner.material(&[1]), runner.samples[0], "not spoilt at all");
    let spoilt = runner.material(&[1, 0, 0, 0, 0, 3, 1]);
    assert_ne!(spoilt, runner.samples[0]);
    assert_eq!(runner.material(&[3, 1, 2]), runner.material(&[3, 1, 2]), "no other chance");
}

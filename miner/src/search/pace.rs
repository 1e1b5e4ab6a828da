//! How many nonces make a batch of the wanted length on this machine.

use std::time::Duration;

/// The first batch: short enough for the slowest kernel of an unoptimised build, with as many
/// versions as there may be.
const FIRST_BATCH: u32 = 16;
/// A batch is at most this many times longer or shorter than the one before, so that one odd
/// measurement (a thread that was not scheduled for a while) does little harm.
const MAX_STEP: u32 = 4;

/// Adapts the size of batches to the measured speed.
#[derive(Debug)]
pub(super) struct Pace {
    target: Duration,
    lanes: u32,
    count: u32,
}

impl Pace {
    /// Aims at batches of `target` length, in multiples of a kernel's `lanes`.
    pub(super) fn new(target: Duration, lanes: usize) -> Self {
        let lanes = u32::try_from(lanes).expect("a kernel has few lanes").max(1);
        Self { target, lanes, count: FIRST_BATCH.next_multiple_of(lanes) }
    }

    /// Returns how many nonces to try before the next look at the job; at least 1.
    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    /// Learns that `done` nonces took `elapsed`.
    pub(super) fn record(&mut self, done: u32, elapsed: Duration) {
        let elapsed_ns = elapsed.as_nanos().max(1);
        let wanted = u128::from(done) * self.target.as_nanos() / elapsed_ns;
        let shortest = self.count / MAX_STEP;
        let longest = self.count.saturating_mul(MAX_STEP);
        let count = u32::try_from(wanted).unwrap_or(u32::MAX).clamp(shortest.max(1), longest);
        self.count = count.checked_next_multiple_of(self.lanes).unwrap_or(u32::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_millis(3);

    /// Runs batches at a constant speed and returns how long the first and the last one take.
    fn settle(nonces_per_second: f64, lanes: usize) -> (Duration, Duration) {
        let mut pace = Pace::new(TARGET, lanes);
        let duration =
            |pace: &Pace| Duration::from_secs_f64(f64::from(pace.count()) / nonces_per_second);
        let first = duration(&pace);
        for _ in 0..20 {
            pace.record(pace.count(), duration(&pace));
        }
        (first, duration(&pace))
    }

    #[test]
    fn batches_settle_between_1_and_10_ms_at_any_speed() {
        let (shortest, longest) = (Duration::from_millis(1), Duration::from_millis(10));
        for speed in [1e4, 1e6, 1e7, 1e9] {
            for lanes in [1, 16, 64] {
                let (first, last) = settle(speed, lanes);
                assert!(first <= longest, "first batch at {speed} takes {first:?}");
                assert!((shortest..=longest).contains(&last), "{last:?} at {speed}/s");
            }
        }
    }

    #[test]
    fn batch_is_a_multiple_of_the_lanes() {
        let mut pace = Pace::new(TARGET, 48);
        for done_us in [1, 7, 1000, 100_000] {
            assert_eq!(pace.count() % 48, 0);
            pace.record(pace.count(), Duration::from_micros(done_us));
        }
        assert_eq!(pace.count() % 48, 0);
    }

    #[test]
    fn one_slow_batch_shortens_the_next_by_no_more_than_the_step() {
        let mut pace = Pace::new(TARGET, 1);
        pace.record(FIRST_BATCH, Duration::from_secs(100));
        assert_eq!(pace.count(), FIRST_BATCH / MAX_STEP);
    }

    #[test]
    fn count_stays_in_range_at_the_extremes() {
        let mut pace = Pace::new(TARGET, 16);
        for _ in 0..40 {
            pace.record(pace.count(), Duration::ZERO);
        }
        assert_eq!(pace.count(), u32::MAX);
        for _ in 0..40 {
            pace.record(1, Duration::from_secs(1000));
        }
        assert_eq!(pace.count(), 16);
    }
}

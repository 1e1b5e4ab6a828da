//! How fast a chain grows here, and when it will be as high as others.

use std::collections::VecDeque;

/// Growth is measured over so long, in milliseconds.
const SPAN_MS: u64 = 10_000;

/// Between two heights that are remembered, in milliseconds.
const STEP_MS: u64 = 250;

/// Heights of the last seconds.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// When, in milliseconds, and how high; at most `SPAN_MS / STEP_MS` and two.
    seen: VecDeque<(u64, u32)>,
    newest: Option<(u64, u32)>,
}

impl Pace {
    /// Notes the height at a moment.
    pub(crate) fn note(&mut self, now_ms: u64, height: u32) {
        self.newest = Some((now_ms, height));
        if self.seen.back().is_none_or(|(at, _)| now_ms >= at + STEP_MS) {
            self.seen.push_back((now_ms, height));
        }
        while self.seen.front().is_some_and(|(at, _)| at + SPAN_MS < now_ms) {
            self.seen.pop_front();
        }
    }

    /// Blocks a second of the last seconds; `None` when that cannot be said yet.
    pub(crate) fn per_second(&self) -> Option<f64> {
        let (&(start, from), (end, to)) = (self.seen.front()?, self.newest?);
        (end >= start + STEP_MS && to > from)
            .then(|| f64::from(to - from) * 1000.0 / (end - start) as f64)
    }

    /// Seconds until a height is reached at this pace.
    pub(crate) fn seconds_to(&self, height: u32) -> Option<u64> {
        let (_, newest) = self.newest?;
        let seconds = f64::from(height.saturating_sub(newest)) / self.per_second()?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative")]
        Some(seconds.ceil() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_the_last_seconds() {
        let mut pace = Pace::default();
        assert_eq!((pace.per_second(), pace.seconds_to(10)), (None, None));
        pace.note(1_000, 5);
        assert_eq!(pace.per_second(), None);
        for step in 1..=20 {
            pace.note(1_000 + step * 500, 5 + u32::try_from(step).unwrap() * 50);
        }
        assert_eq!(pace.per_second(), Some(100.0));
        assert_eq!(pace.seconds_to(2_005), Some(10));
        assert_eq!(pace.seconds_to(5), Some(0));
        for step in 1..=200 {
            pace.note(11_000 + step * 100, 1_005 + u32::try_from(step).unwrap());
        }
        assert_eq!(pace.per_second().map(f64::round), Some(10.0));
        assert!(pace.seen.len() <= 42);
    }
}

//! What a miner has reached.

use std::collections::VecDeque;
use std::time::Duration;

use miner::stratum::client::{Event, Verdict};

/// How far back the rate of now looks.
const WINDOW: Duration = Duration::from_secs(10);
/// Least time between two samples.
const SAMPLE: Duration = Duration::from_millis(500);

/// Where the connection stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Connecting,
    /// Connected, with nothing to mine.
    Resting,
    Mining,
    Disconnected,
}

impl State {
    pub(super) fn words(self) -> &'static str {
        match self {
            State::Connecting => "connecting",
            State::Resting => "waiting for a job",
            State::Mining => "mining",
            State::Disconnected => "disconnected",
        }
    }
}

/// Counts since the start.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) state: State,
    pub(super) accepted: u64,
    pub(super) stale: u64,
    pub(super) rejected: u64,
    pub(super) lost: u64,
    /// Of the newest job.
    pub(super) difficulty: Option<f64>,
    pub(super) job: Option<String>,
    /// Moments and headers tried until then, the oldest first; never more than fit the window.
    samples: VecDeque<(Duration, u64)>,
}

impl Tally {
    pub(super) fn count(&mut self, verdict: &Verdict) {
        let counter = match verdict {
            Verdict::Accepted => &mut self.accepted,
            Verdict::Stale(_) => &mut self.stale,
            Verdict::Rejected(_) => &mut self.rejected,
            Verdict::Lost => &mut self.lost,
        };
        *counter += 1;
    }

    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Job { id, difficulty } => {
                (self.job, self.difficulty) = (Some(id.clone()), Some(*difficulty));
            }
            Event::JobGone => self.job = None,
            _ => {}
        }
    }

    /// Remembers how many headers were tried until now.
    pub(super) fn sample(&mut self, now: Duration, hashes: u64) {
        if self.samples.back().is_some_and(|(at, _)| now < *at + SAMPLE) {
            return;
        }
        self.samples.push_back((now, hashes));
        while self.samples.get(1).is_some_and(|(at, _)| *at + WINDOW <= now) {
            self.samples.pop_front();
        }
    }

    /// Headers a second within the last seconds.
    pub(super) fn rate(&self) -> f64 {
        match (self.samples.front(), self.samples.back()) {
            (Some((from, before)), Some((to, hashes))) => {
                rate(hashes - before, to.saturating_sub(*from))
            }
            _ => 0.0,
        }
    }
}

/// Events a second, 0 when no time has passed.
#[expect(clippy::cast_precision_loss, reason = "for people and graphs")]
pub(super) fn rate(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_ten_seconds() {
        let mut tally = Tally::default();
        assert!(tally.rate().abs() < 1e-9);
        // 100 a second for a minute, then nothing.
        for tenth in 0..=700 {
            tally.sample(Duration::from_millis(tenth * 100), tenth.min(600) * 10);
            assert!(tally.samples.len() <= 22);
            if (100..=600).contains(&tenth) {
                assert!((tally.rate() - 100.0).abs() < 1e-9, "{tenth}: {}", tally.rate());
            }
        }
        assert!(tally.rate().abs() < 1e-9, "{}", tally.rate());
    }
}

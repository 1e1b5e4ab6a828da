//! What each worker has sent: the accounts behind `MINERS` and `STATUS`.

use std::collections::BTreeMap;

use miner::stratum::server::{Reject, Share};
use net::Millis;
use serde_json::{Value, json};

/// Workers that are remembered; those gone for the longest make room.
const MAX_WORKERS: usize = 4096;

/// A worker's hash rate is that of about the last so many milliseconds.
const RATE_SPAN_MS: f64 = 300_000.0;

/// Hashes expected for a share of difficulty 1, by the target shares are judged with.
const HASHES_PER_DIFFICULTY: f64 = 4_294_967_296.0;

/// All workers, by user name.
#[derive(Debug, Default)]
pub struct Workers {
    workers: BTreeMap<String, Worker>,
    /// Connections that may send shares.
    pub miners: usize,
}

#[derive(Debug, Default)]
struct Worker {
    payee: String,
    connections: usize,
    counts: Counts,
    difficulty: f64,
    rate: Rate,
    seen_at: Millis,
}

/// What became of shares.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    accepted: u64,
    stale: u64,
    duplicate: u64,
    low: u64,
    invalid: u64,
    blocks: u64,
}

/// Hashes a second, from the shares of the last minutes: an average whose weights decay.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    /// Expected hashes, those of long ago counted less.
    hashes: f64,
    /// Milliseconds of watching, decayed alike.
    span_ms: f64,
    at: Millis,
}

impl Rate {
    fn at(&self, now: Millis) -> Rate {
        let elapsed_ms = (now - self.at) as f64;
        let keep = (-elapsed_ms / RATE_SPAN_MS).exp();
        let span_ms = self.span_ms * keep + RATE_SPAN_MS * (1.0 - keep);
        Rate { hashes: self.hashes * keep, span_ms, at: now }
    }

    fn per_second(&self, now: Millis) -> f64 {
        let rate = self.at(now);
        if rate.span_ms < 1000.0 { 0.0 } else { rate.hashes * 1000.0 / rate.span_ms }
    }
}

impl Workers {
    /// A connection may now send shares of this user.
    pub fn joined(&mut self, now: Millis, user: &str, payee: String) {
        if !self.workers.contains_key(user) && self.workers.len() >= MAX_WORKERS {
            let gone = self.workers.iter().filter(|(_, worker)| worker.connections == 0);
            let oldest =
                gone.min_by_key(|(_, worker)| worker.seen_at).map(|(name, _)| name.clone());
            let Some(oldest) = oldest else { return };
            self.workers.remove(&oldest);
        }
        let worker = self.workers.entry(user.to_string()).or_default();
        if worker.connections == 0 {
            worker.rate = Rate { at: now, ..Rate::default() };
        }
        worker.payee = payee;
        worker.connections += 1;
        worker.seen_at = now;
    }

    /// A connection that could send shares of this user is gone.
    pub fn left(&mut self, now: Millis, user: &str) {
        if let Some(worker) = self.workers.get_mut(user) {
            worker.connections = worker.connections.saturating_sub(1);
            worker.seen_at = now;
        }
    }

    /// A share was judged. Those of users that never logged in are nobody's.
    pub fn share(&mut self, now: Millis, user: &str, verdict: &Result<Share, Reject>) {
        let Some(worker) = self.workers.get_mut(user) else { return };
        worker.seen_at = now;
        let counts = &mut worker.counts;
        match verdict {
            Ok(share) => {
                counts.accepted += 1;
                counts.blocks += u64::from(share.is_block);
                worker.difficulty = share.difficulty;
                worker.rate = worker.rate.at(now);
                worker.rate.hashes += share.difficulty * HASHES_PER_DIFFICULTY;
            }
            Err(Reject::Stale) => counts.stale += 1,
            Err(Reject::Duplicate) => counts.duplicate += 1,
            Err(Reject::Low) => counts.low += 1,
            Err(_) => counts.invalid += 1,
        }
    }

    /// What `MINERS` says.
    pub fn show(&self, now: Millis) -> Value {
        let show = |(user, worker): (&String, &Worker)| {
            let Counts { accepted, stale, duplicate, low, invalid, blocks } = worker.counts;
            json!({
                "user": user,
                "payee": worker.payee,
                "connections": worker.connections,
                "hash_rate": worker.hash_rate(now),
                "difficulty": worker.difficulty,
                "accepted": accepted,
                "stale": stale,
                "duplicate": duplicate,
                "low": low,
                "invalid": invalid,
                "blocks": blocks,
                "seen_s": (now - worker.seen_at) / 1000,
            })
        };
        self.workers.iter().map(show).collect()
    }

    /// What `STATUS` says.
    pub fn sum(&self, now: Millis) -> Value {
        let mut sum = Counts::default();
        for Worker { counts, .. } in self.workers.values() {
            sum.accepted += counts.accepted;
            sum.stale += counts.stale;
            sum.duplicate += counts.duplicate;
            sum.low += counts.low;
            sum.invalid += counts.invalid;
            sum.blocks += counts.blocks;
        }
        let rate: f64 = self.workers.values().map(|worker| worker.hash_rate(now)).sum();
        json!({
            "miners": self.miners,
            "hash_rate": rate,
            "accepted": sum.accepted,
            "stale": sum.stale,
            "duplicate": sum.duplicate,
            "low": sum.low,
            "invalid": sum.invalid,
            "blocks": sum.blocks,
        })
    }
}

impl Worker {
    fn hash_rate(&self, now: Millis) -> f64 {
        if self.connections == 0 { 0.0 } else { self.rate.per_second(now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_minutes() {
        let mut rate = Rate { at: Millis(1), ..Rate::default() };
        let mut now = Millis(1);
        let mut mine = |rate: &mut Rate, per_second: f64, seconds: u64| {
            for _ in 0..seconds {
                now = now + 1000;
                *rate = rate.at(now);
                rate.hashes += per_second;
            }
            rate.per_second(now)
        };
        let first = mine(&mut rate, 1e6, 10);
        assert!((first / 1e6 - 1.0).abs() < 0.05, "right from the start: {first}");
        let faster = mine(&mut rate, 3e6, 1500);
        assert!((faster / 3e6 - 1.0).abs() < 0.05, "{faster}");
        assert!(mine(&mut rate, 0.0, 1500) < 0.05 * 3e6);
    }

    #[test]
    fn those_gone_for_the_longest_are_forgotten_first() {
        let mut workers = Workers::default();
        for number in 0..=MAX_WORKERS as u64 {
            workers.joined(Millis(number), &number.to_string(), String::new());
        }
        assert_eq!(workers.workers.len(), MAX_WORKERS, "all are here: the last is not counted");
        workers.left(Millis(9_000), "7");
        workers.left(Millis(8_000), "8");
        workers.joined(Millis(10_000), "new", String::new());
        assert_eq!(workers.workers.len(), MAX_WORKERS);
        assert!(workers.workers.contains_key("7") && workers.workers.contains_key("new"));
        assert!(!workers.workers.contains_key("8"));
    }
}

//! How hard a miner's shares are, so that each sends about as many whatever its speed.
//!
//! Difficulties are powers of two: every miner's arithmetic makes the same target of them, and no
//! share is lost to rounding. The figures are those of kaspa's bridge (`share_handler.rs`), but
//! for the larger steps on many shares: a rig must not flood the server for minutes.

/// A miner should send a share about every so many milliseconds: twenty a minute.
const SHARE_INTERVAL_MS: f64 = 3_000.0;

/// Difficulty is judged after so long at the earliest, in milliseconds, ...
const WINDOW_MS: u64 = 60_000;

/// ... with so many shares at least; ...
const MIN_SHARES: u32 = 3;

/// ... or as soon as there are so many, which tell the speed to about a fifth.
const BURST_SHARES: u32 = 30;

/// Without a share for so long the difficulty is halved, in milliseconds, ...
const SILENCE_MS: u64 = 90_000;

/// ... but not below 2^-20: a slow CPU finds that in less than a second, and one that only rested
/// would come back with a flood.
const SILENCE_EXPONENT: i32 = -20;

/// Factors of two that few and many shares can change the difficulty by at a time.
const STEP: i32 = 1;
const BURST_STEP: i32 = 12;

/// The least difficulty there is, 2^-31: below it some miners overflow (minerd).
pub(super) const MIN_EXPONENT: i32 = -31;

/// Far beyond every miner.
const MAX_EXPONENT: i32 = 128;

/// 2^-6, which a CPU core finds in a second or in a minute. What is faster gets there in steps.
const START_EXPONENT: i32 = -6;

/// The difficulty of one connection.
#[derive(Clone, Debug)]
pub(super) struct Vardiff {
    exponent: i32,
    since_ms: u64,
    shares: u32,
    /// Sum of the difficulties of these shares.
    work: f64,
    last_ms: u64,
}

impl Vardiff {
    pub(super) fn new(now_ms: u64) -> Vardiff {
        let (shares, work) = (0, 0.0);
        Vardiff { exponent: START_EXPONENT, since_ms: now_ms, shares, work, last_ms: now_ms }
    }

    /// The difficulty is two to the power of this. Where blocks are easier than that, shares are
    /// as easy as blocks; how fast the miner is shows all the same.
    pub(super) fn exponent(&self) -> i32 {
        self.exponent
    }

    /// Takes a miner's own idea of its difficulty.
    pub(super) fn suggest(&mut self, now_ms: u64, difficulty: f64) {
        if difficulty.is_finite() && difficulty > 0.0 {
            #[expect(clippy::cast_possible_truncation, reason = "floats saturate")]
            self.set(now_ms, difficulty.log2().floor() as i32);
        }
    }

    /// Counts an accepted share of this difficulty.
    pub(super) fn share(&mut self, now_ms: u64, exponent: i32) {
        self.shares += 1;
        self.work += 2f64.powi(exponent);
        self.last_ms = now_ms;
    }

    /// Judges the miner's speed.
    pub(super) fn adjust(&mut self, now_ms: u64) {
        let before = self.exponent;
        let elapsed_ms = now_ms.saturating_sub(self.since_ms);
        if now_ms.saturating_sub(self.last_ms.max(self.since_ms)) >= SILENCE_MS {
            self.set(now_ms, (before - 1).max(SILENCE_EXPONENT.min(before)));
        } else if self.shares >= BURST_SHARES
            || elapsed_ms >= WINDOW_MS && self.shares >= MIN_SHARES
        {
            let expected = elapsed_ms.max(1) as f64 / SHARE_INTERVAL_MS;
            let ratio = self.work / 2f64.powi(before) / expected;
            // Towards zero: between half and twice the expected shares nothing changes.
            #[expect(clippy::cast_possible_truncation, reason = "floats saturate")]
            let steps = ratio.log2() as i32;
            let most = if self.shares >= BURST_SHARES { BURST_STEP } else { STEP };
            self.set(now_ms, before + steps.clamp(-most, most));
        }
    }

    fn set(&mut self, now_ms: u64, exponent: i32) {
        *self = Vardiff { last_ms: self.last_ms, ..Vardiff::new(now_ms) };
        self.exponent = exponent.clamp(MIN_EXPONENT, MAX_EXPONENT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets a miner of so many hashes a second work, one share after the other at their expected
    /// times, and returns how many shares
    /// the last minute had.
    #[expect(clippy::cast_possible_truncation, reason = "minutes are few milliseconds")]
    fn settle(vardiff: &mut Vardiff, hashes_per_s: f64, minutes: u64, limit: i32) -> u32 {
        let (mut now, mut recent) = (0.0, 0);
        let end = minutes as f64 * 60_000.0;
        while now < end {
            let exponent = vardiff.exponent().min(limit);
            let ms = 2f64.powi(exponent) * 2f64.powi(32) / hashes_per_s * 1000.0;
            let next = (now + ms).min(now + 10_000.0); // the clock ticks without shares, too
            if next == now + ms {
                vardiff.share(next as u64, exponent);
                recent += u32::from(next > end - 60_000.0);
            }
            vardiff.adjust(next as u64);
            now = next;
        }
        recent
    }

    #[test]
    fn every_speed_comes_to_about_twenty_shares_a_minute() {
        for hashes_per_s in [1e3, 1e6, 85e6, 500e9, 100e12] {
            let mut vardiff = Vardiff::new(0);
            let recent = settle(&mut vardiff, hashes_per_s, 40, MAX_EXPONENT);
            assert!((9..=41).contains(&recent), "{hashes_per_s} {recent} {vardiff:?}");
        }
    }

    #[test]
    fn a_rig_is_throttled_within_seconds() {
        let shares = settle(&mut Vardiff::new(0), 100e12, 1, MAX_EXPONENT);
        assert!((30..200).contains(&shares), "{shares} shares in the first minute");
    }

    #[test]
    fn silence_halves() {
        let mut vardiff = Vardiff::new(0);
        vardiff.adjust(SILENCE_MS - 1);
        assert_eq!(vardiff.exponent(), START_EXPONENT);
        vardiff.adjust(SILENCE_MS);
        assert_eq!(vardiff.exponent(), START_EXPONENT - 1);
    }

    #[test]
    fn speed_shows_also_where_blocks_are_easier_than_shares() {
        let (mut free, mut limited) = (Vardiff::new(0), Vardiff::new(0));
        settle(&mut free, 1e6, 10, MAX_EXPONENT);
        settle(&mut limited, 1e6, 10, -16);
        assert!((free.exponent() - limited.exponent()).abs() <= 1, "{free:?} {limited:?}");
    }

    #[test]
    fn a_suggestion_is_taken_within_reason() {
        let mut vardiff = Vardiff::new(0);
        for (difficulty, exponent) in [(1024.0, 10), (1000.0, 9), (0.3, -2), (1e-300, -31)] {
            vardiff.suggest(0, difficulty);
            assert_eq!(vardiff.exponent(), exponent, "{difficulty}");
        }
        vardiff.suggest(0, f64::MAX);
        assert_eq!(vardiff.exponent(), MAX_EXPONENT);
        for nonsense in [0.0, -3.0, f64::NAN, f64::INFINITY] {
            vardiff.suggest(0, nonsense);
            assert_eq!(vardiff.exponent(), MAX_EXPONENT);
        }
    }
}

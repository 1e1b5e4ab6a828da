//! Jobs as they were given to one miner, and the judgement of what comes back.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::request::{Reject, Submission};
use super::vardiff::MIN_EXPONENT;
use crate::job::{Job, Solution};
use crate::pow::{Hash, Target, sha256d};
use crate::stratum::difficulty::{self, EASIEST_ONE, HARDEST_ONE};
use crate::stratum::text;

/// The extranonce bytes a miner rolls. All miners take 4; some hardware no less than 3.
pub(super) const EXTRANONCE2_BYTES: usize = 4;

/// Shares of one job that are remembered, to tell duplicates. More are not taken, unless they
/// make a block: a miner so fast is given a new job before. Blocks are remembered up to twice as
/// many.
pub(super) const MAX_SHARES: usize = 128;

/// Shares of its newest job after which a miner should get the next one.
pub(super) const MANY_SHARES: usize = MAX_SHARES / 2;

/// A share that meets its target.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// The job it is of.
    pub job: Arc<Job>,
    /// What was found; its `job_id` is the job's.
    pub solution: Solution,
    /// The header's hash.
    pub hash: Hash,
    /// The difficulty that was asked for.
    pub difficulty: f64,
    /// Whether the hash meets the network's target: it makes a block.
    pub is_block: bool,
}

/// A job as it was given to this miner.
pub(super) struct Issued {
    pub(super) id: u64,
    pub(super) job: Arc<Job>,
    pub(super) exponent: i32,
    /// Extranonce, time, nonce and version of each share.
    pub(super) seen: BTreeSet<(u64, u32, u32, u32)>,
}

impl Issued {
    pub(super) fn new(id: u64, job: Arc<Job>, exponent: i32) -> Issued {
        Issued { id, job, exponent, seen: BTreeSet::new() }
    }

    /// Shares of it that are remembered.
    pub(super) fn shares(&self) -> usize {
        self.seen.len()
    }

    pub(super) fn judge(&mut self, solution: Solution) -> Result<Share, Reject> {
        let Solution { version, extranonce, time, nonce, .. } = solution;
        let free = (extranonce, time, nonce, version);
        if self.seen.contains(&free) {
            return Err(Reject::Duplicate);
        }
        let hash = sha256d(&self.job.header(&solution));
        let is_block = self.job.target.is_met_by(&hash);
        if !is_block {
            if !share_target(self.exponent).is_met_by(&hash) {
                return Err(Reject::Low);
            }
            if self.seen.len() >= MAX_SHARES {
                return Err(Reject::other("too many shares of one job: take the next one"));
            }
        }
        if self.seen.len() < 2 * MAX_SHARES {
            self.seen.insert(free);
        }
        let difficulty = 2f64.powi(self.exponent);
        Ok(Share { job: Arc::clone(&self.job), solution, hash, difficulty, is_block })
    }
}

/// What a miner may choose on a connection.
pub(super) struct Free {
    pub(super) extranonce1: u32,
    pub(super) version_mask: u32,
}

impl Free {
    /// The solution that a submission names.
    pub(super) fn solution(&self, job: &Job, words: &Submission) -> Result<Solution, Reject> {
        let extranonce2 = text::unhex(&words.extranonce2)
            .and_then(|bytes| <[u8; EXTRANONCE2_BYTES]>::try_from(bytes).ok())
            .ok_or_else(|| Reject::other("extranonce2 has 8 hex digits"))?;
        let number = |word: &str, what: &str| {
            text::unhex_u32(word).ok_or_else(|| Reject::other(format!("{what} has 8 hex digits")))
        };
        let time = number(&words.time, "ntime")?;
        let nonce = number(&words.nonce, "the nonce")?;
        let bits = words.version_bits.as_deref();
        let bits = bits.map_or(Ok(0), |word| number(word, "the version"))?;
        if bits & !self.version_mask != 0 {
            let mask = text::hex_u32(self.version_mask);
            return Err(Reject::other(format!("version bits outside of the mask {mask}")));
        }
        if !(job.time..=job.time_max).contains(&time) {
            let (from, to) = (text::hex_u32(job.time), text::hex_u32(job.time_max));
            return Err(Reject::other(format!("ntime out of range, which is {from} to {to}")));
        }
        let high = u64::from(u32::from_le_bytes(extranonce2));
        let extranonce = high << 32 | u64::from(self.extranonce1);
        Ok(Solution { job_id: job.id, version: job.version | bits, extranonce, time, nonce })
    }
}

/// The target of a share of difficulty 2^`exponent`. With [`EASIEST_ONE`], else one share in
/// 65,536 of cpuminer-opt, which counts so, would be refused.
pub(super) fn share_target(exponent: i32) -> Target {
    difficulty::target(2f64.powi(exponent), EASIEST_ONE).expect("a power of two is positive")
}

/// The largest exponent whose shares are no harder than blocks are: otherwise a miner would
/// throw blocks away. By the hardest reading of difficulty 1, which miners use.
pub(super) fn easiest_exponent(target: Target) -> i32 {
    let bits = i32::try_from(target.to_uint().bit_len()).expect("at most 256");
    let exponent = 224 - bits;
    let share = difficulty::target(2f64.powi(exponent), HARDEST_ONE);
    let is_harder = share.is_none_or(|share| share < target);
    (exponent - i32::from(is_harder)).max(MIN_EXPONENT)
}

//! What to mine: everything of a candidate block that a search needs, and what it finds.
//!
//! A job knows bytes, not blocks: the coinbase is opaque but for up to eight bytes in its middle
//! that may be chosen freely, and the other transactions are a merkle branch. This is the same
//! picture that Stratum gives to miners.

use serde::{Deserialize, Serialize};

use crate::pow::{CompactTarget, Hash, Target, sha256d, sha256d_pair};

#[cfg(test)]
mod tests;

/// The version bits that miners may choose freely: 13 to 28 (BIP 320).
pub const VERSION_MASK: u32 = 0x1fff_e000;

/// A candidate block, as far as a search can see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Names the job in its solution.
    pub id: u64,
    /// The header's version; must have no bit of `version_mask` set.
    pub version: u32,
    /// Hash of the header before.
    pub prev: Hash,
    /// The coinbase's bytes before the extranonce.
    pub coinbase_prefix: Vec<u8>,
    /// The coinbase's bytes after the extranonce.
    pub coinbase_suffix: Vec<u8>,
    /// The right-hand hashes from the coinbase's leaf up to the merkle root.
    pub branch: Vec<Hash>,
    /// The header's time to start with, in seconds since 1970.
    pub time: u32,
    /// The latest time that may be tried, in seconds since 1970; at least `time`.
    pub time_max: u32,
    /// The target as the header states it.
    pub bits: CompactTarget,
    /// The number that a solution's hash must not exceed; easier than `bits` for a share.
    pub target: Target,
    /// How many bytes of the coinbase are the extranonce, 1 to 8.
    pub extranonce_bytes: usize,
    /// The first extranonce to try; all from here to [`Job::extranonce_max`] belong to this job.
    pub extranonce_start: u64,
    /// The version bits that may be tried, normally [`VERSION_MASK`].
    pub version_mask: u32,
}

/// The free fields of a header that meets its job's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Solution {
    /// The [`Job::id`] this belongs to.
    pub job_id: u64,
    /// The whole version, with the bits that were rolled.
    pub version: u32,
    /// The extranonce within the coinbase, read as a little-endian number.
    pub extranonce: u64,
    /// The header's time in seconds since 1970.
    pub time: u32,
    /// The header's nonce.
    pub nonce: u32,
}

impl Job {
    /// Returns the largest extranonce that fits its bytes.
    #[must_use]
    pub const fn extranonce_max(&self) -> u64 {
        debug_assert!(matches!(self.extranonce_bytes, 1..=8), "an extranonce has 1 to 8 bytes");
        u64::MAX >> (64 - 8 * self.extranonce_bytes)
    }

    /// Returns the coinbase with this extranonce: `prefix ‖ extranonce (little-endian) ‖ suffix`.
    /// Of the extranonce its low [`Job::extranonce_bytes`] are taken.
    #[must_use]
    pub fn coinbase(&self, extranonce: u64) -> Vec<u8> {
        let extranonce = &extranonce.to_le_bytes()[..self.extranonce_bytes];
        [&self.coinbase_prefix[..], extranonce, &self.coinbase_suffix].concat()
    }

    /// Returns the merkle root with this extranonce: the coinbase's hash folded over the branch,
    /// always on the left.
    #[must_use]
    pub fn merkle_root(&self, extranonce: u64) -> Hash {
        let leaf = sha256d(&self.coinbase(extranonce));
        self.branch.iter().fold(leaf, |hash, right| sha256d_pair(&hash, right))
    }

    /// Returns the header of a solution in Bitcoin's layout: version, previous hash, merkle root,
    /// time, bits, nonce; numbers little-endian, hashes in internal order.
    ///
    /// Neither the job's id nor the proof of work is looked at.
    #[must_use]
    pub fn header(&self, solution: &Solution) -> [u8; 80] {
        let mut header = [0; 80];
        header[..4].copy_from_slice(&solution.version.to_le_bytes());
        header[4..36].copy_from_slice(&self.prev.0);
        header[36..68].copy_from_slice(&self.merkle_root(solution.extranonce).0);
        header[68..72].copy_from_slice(&solution.time.to_le_bytes());
        header[72..76].copy_from_slice(&self.bits.0.to_le_bytes());
        header[76..].copy_from_slice(&solution.nonce.to_le_bytes());
        header
    }
}

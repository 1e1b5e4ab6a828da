//! The scan of one nonce in each lane of a vector, over any set of vector instructions.
//!
//! What it leaves out of two whole compressions, by FIPS 180-4's names:
//!
//! - Block A is the header's last 16 bytes and padding. Its words W0..W2 are the same for all, so
//!   a version starts from its state after round 2, and round 3, which adds the nonce to two
//!   words, is two additions. Its schedule depends on no version: it is expanded once for all of
//!   them, into a table of `K[t] + W[t]`.
//! - Block B is the inner digest and padding: round 0 starts from constants, words 8..15 are
//!   constants. Terms of the schedule that are constants are summed up beforehand, in A as in B.
//! - The digest's last word, which decides, is `e` after round 60 plus a constant. So B ends
//!   there, and its last four rounds, whose `a` nobody reads, do without.
//!
//! A step says only whether some lane may hold a hit. Then the reference scans the same nonces:
//! hits are rare, and what is reported never depends on what is done here.

use super::scalar::{self, INITIAL_HASH, K};
use super::{Hit, Scan, Version};

/// Words of 32 bits in the lanes of a vector, and the functions of section 4.1.2 on them.
pub(super) trait Vector: Copy {
    const LANES: usize;

    /// Puts a word in every lane.
    ///
    /// # Safety
    /// The CPU must have the instruction set of this vector; the other functions are safe
    /// because there are no vectors without it.
    unsafe fn splat(word: u32) -> Self;

    /// Puts 0, 1, 2 and so on in the lanes.
    ///
    /// # Safety
    /// As [`Self::splat`].
    unsafe fn count() -> Self;

    fn plus(self, other: Self) -> Self;
    fn ch(self, y: Self, z: Self) -> Self;
    fn maj(self, y: Self, z: Self) -> Self;
    fn big_sigma_0(self) -> Self;
    fn big_sigma_1(self) -> Self;
    fn small_sigma_0(self) -> Self;
    fn small_sigma_1(self) -> Self;

    /// Tells whether in some lane the word, its bytes reversed, is at most that lane of `limit`.
    fn any_reversed_at_most(self, limit: Self) -> bool;
}

/// Bits of the messages that blocks A and B end.
const HEADER_BITS: u32 = 80 * 8;
const DIGEST_BITS: u32 = 32 * 8;
/// The bit that padding starts with.
const PADDING: u32 = 0x8000_0000;

/// Tells whether word `t` of block A's schedule depends on the nonce.
const fn varies_in_header(t: usize) -> bool {
    t == 3 || t >= 18
}

/// Tells whether word `t` of block B's schedule depends on the inner digest.
const fn varies_in_digest(t: usize) -> bool {
    t < 8 || t >= 16
}

const fn small_sigma_0(x: u32) -> u32 {
    x.rotate_right(7) ^ x.rotate_right(18) ^ (x >> 3)
}

const fn small_sigma_1(x: u32) -> u32 {
    x.rotate_right(17) ^ x.rotate_right(19) ^ (x >> 10)
}

/// Takes a schedule's first 16 words, with 0 for those that vary, and returns of each word the
/// sum of its constant terms: the word itself where nothing in it varies. Past word 33 every term
/// varies.
const fn constant_terms(block: [u32; 16], varies: [bool; 64]) -> [u32; 64] {
    let mut sums = [0; 64];
    let mut t = 0;
    while t < 64 {
        if t < 16 {
            sums[t] = block[t];
        } else {
            let mut sum = 0_u32;
            if !varies[t - 2] {
                sum = sum.wrapping_add(small_sigma_1(sums[t - 2]));
            }
            if !varies[t - 7] {
                sum = sum.wrapping_add(sums[t - 7]);
            }
            if !varies[t - 15] {
                sum = sum.wrapping_add(small_sigma_0(sums[t - 15]));
            }
            if !varies[t - 16] {
                sum = sum.wrapping_add(sums[t - 16]);
            }
            sums[t] = sum;
        }
        t += 1;
    }
    sums
}

const fn table_of(varies: fn(usize) -> bool) -> [bool; 64] {
    let _ = varies;
    [false; 64]
}

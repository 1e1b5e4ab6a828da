//! What is constant in the two blocks that are hashed for each nonce: the header's last block and
//! the one of the inner digest.

use super::scalar::{self, K, small_sigma_0, small_sigma_1};

/// Bits of the messages that the two blocks end: 80 bytes and 32 bytes.
pub(super) const HEADER_BITS: u32 = 80 * 8;
pub(super) const DIGEST_BITS: u32 = 32 * 8;
/// The bit that padding starts with, at the top of its word.
pub(super) const PADDING: u32 = 1 << 31;

/// A message schedule (section 6.2.2) of which some words are known beforehand.
pub(super) struct Schedule {
    /// Which words depend on the unknown ones.
    pub(super) varies: [bool; 64],
    /// Words that do not vary; of those that do, the sum of the terms that do not.
    pub(super) constants: [u32; 64],
}

impl Schedule {
    /// Expands a block whose unknown words are `None`.
    const fn expand(block: [Option<u32>; 16]) -> Self {
        let mut varies = [false; 64];
        let mut constants = [0_u32; 64];
        let mut t = 0;
        while t < 16 {
            match block[t] {
                Some(word) => constants[t] = word,
                None => varies[t] = true,
            }
            t += 1;
        }
        while t < 64 {
            let terms = [
                (t - 2, small_sigma_1(constants[t - 2])),
                (t - 7, constants[t - 7]),
                (t - 15, small_sigma_0(constants[t - 15])),
                (t - 16, constants[t - 16]),
            ];
            let mut i = 0;
            while i < terms.len() {
                let (of, term) = terms[i];
                if varies[of] {
                    varies[t] = true;
                } else {
                    constants[t] = constants[t].wrapping_add(term);
                }
                i += 1;
            }
            t += 1;
        }
        Self { varies, constants }
    }
}

/// The schedule of the block that an 80-byte header ends with: three words, the nonce, padding.
pub(super) const fn header_schedule(tail: [u32; 3]) -> Schedule {
    let [w0, w1, w2] = [Some(tail[0]), Some(tail[1]), Some(tail[2])];
    let (padding, bits, zero) = (Some(PADDING), Some(HEADER_BITS), Some(0));
    Schedule::expand([
        w0, w1, w2, None, padding, zero, zero, zero, //
        zero, zero, zero, zero, zero, zero, zero, bits,
    ])
}

/// Which words of [`header_schedule`] depend on the nonce, whatever the other three are.
pub(super) const HEADER_VARIES: [bool; 64] = header_schedule([0; 3]).varies;

/// Returns the working variables before round 4 of the header's last block: those of all nonces,
/// once the nonce's word is added to the first and the fifth (`a` and `e`).
pub(super) fn header_start(midstate: [u32; 8], tail: [u32; 3]) -> [u32; 8] {
    let words = [tail[0], tail[1], tail[2], 0];
    (0..4).fold(midstate, |working, t| scalar::round(working, K[t], words[t]))
}

/// The schedule of the block that holds a digest and padding.
pub(super) const DIGEST: Schedule = {
    let (padding, bits, zero) = (Some(PADDING), Some(DIGEST_BITS), Some(0));
    Schedule::expand([
        None, None, None, None, None, None, None, None, //
        padding, zero, zero, zero, zero, zero, zero, bits,
    ])
};

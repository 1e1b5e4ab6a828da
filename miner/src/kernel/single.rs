//! The scan of one header at a time, over any compression function.
//!
//! A header is 80 bytes, so its hash takes three compressions: of the first 64 bytes (the
//! midstate, done once), of the other 16 with padding, and of the 32-byte inner digest with
//! padding.

use super::scalar::INITIAL_HASH;
use super::{Hit, Scan, nonces};
use crate::pow::Hash;

/// Where a message's length in bits ends its last block (FIPS 180-4, section 5.1.1).
const LENGTH_AT: usize = 56;
const HEADER_BITS: u64 = 80 * 8;
const DIGEST_BITS: u64 = 32 * 8;
/// Where the nonce stands in the header's second block.
const NONCE_AT: usize = 12;

/// Returns the first hit of the range, as [`super::Kernel::scan`].
#[inline]
pub(super) fn scan(
    scan: &Scan,
    first: u32,
    count: u32,
    compress: impl Fn(&mut [u32; 8], &[u8; 64]),
) -> Option<Hit> {
    let top_word = scan.top_word();
    let mut header_block = [0; 64];
    write_words(&mut header_block, &scan.tail);
    write_padding(&mut header_block, 16, HEADER_BITS);
    let mut digest_block = [0; 64];
    write_padding(&mut digest_block, 32, DIGEST_BITS);

    for nonce in nonces(first, count) {
        header_block[NONCE_AT..NONCE_AT + 4].copy_from_slice(&nonce.to_le_bytes());
        for version in &scan.versions {
            let mut inner = version.midstate;
            compress(&mut inner, &header_block);
            write_words(&mut digest_block, &inner);
            let mut outer = INITIAL_HASH;
            compress(&mut outer, &digest_block);
            // The digest's last word, its bytes reversed, is the top of the number compared.
            if outer[7].swap_bytes() <= top_word && scan.target.is_met_by(&digest(&outer)) {
                return Some(Hit { version: version.number, nonce });
            }
        }
    }
    None
}

/// Writes words, most significant byte first, to the start of a block.
fn write_words(block: &mut [u8; 64], words: &[u32]) {
    let (places, _) = block.as_chunks_mut::<4>();
    for (place, word) in places.iter_mut().zip(words) {
        *place = word.to_be_bytes();
    }
}

/// Pads a block whose first `used` bytes end a message of `bits` bits.
fn write_padding(block: &mut [u8; 64], used: usize, bits: u64) {
    block[used] = 0x80;
    block[LENGTH_AT..].copy_from_slice(&bits.to_be_bytes());
}

fn digest(words: &[u32; 8]) -> Hash {
    let mut bytes = [0; 32];
    let (places, _) = bytes.as_chunks_mut::<4>();
    for (place, word) in places.iter_mut().zip(words) {
        *place = word.to_be_bytes();
    }
    Hash(bytes)
}

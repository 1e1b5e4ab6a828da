//! SHA-256 by the letter of FIPS 180-4: the row to read first and the one others must equal.
//!
//! Names and sections are the standard's (<https://doi.org/10.6028/NIST.FIPS.180-4>); nothing is
//! skipped, shared or reordered.

use super::{Hit, Scan, single};

/// The initial hash value H(0) of section 5.3.3.
pub(super) const INITIAL_HASH: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// The constants K of section 4.2.2.
#[rustfmt::skip]
pub(super) const K: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

// The six functions of section 4.1.2.

const fn ch(x: u32, y: u32, z: u32) -> u32 {
    (x & y) ^ (!x & z)
}

const fn maj(x: u32, y: u32, z: u32) -> u32 {
    (x & y) ^ (x & z) ^ (y & z)
}

const fn big_sigma_0(x: u32) -> u32 {
    x.rotate_right(2) ^ x.rotate_right(13) ^ x.rotate_right(22)
}

const fn big_sigma_1(x: u32) -> u32 {
    x.rotate_right(6) ^ x.rotate_right(11) ^ x.rotate_right(25)
}

pub(super) const fn small_sigma_0(x: u32) -> u32 {
    x.rotate_right(7) ^ x.rotate_right(18) ^ (x >> 3)
}

pub(super) const fn small_sigma_1(x: u32) -> u32 {
    x.rotate_right(17) ^ x.rotate_right(19) ^ (x >> 10)
}

/// Prepares the message schedule W: step 1 of section 6.2.2.
fn message_schedule(block: &[u8; 64]) -> [u32; 64] {
    let mut w = [0; 64];
    let (words, _) = block.as_chunks::<4>();
    for (word, &bytes) in w.iter_mut().zip(words) {
        *word = u32::from_be_bytes(bytes);
    }
    for t in 16..64 {
        w[t] = small_sigma_1(w[t - 2])
            .wrapping_add(w[t - 7])
            .wrapping_add(small_sigma_0(w[t - 15]))
            .wrapping_add(w[t - 16]);
    }
    w
}

/// Does one round on the working variables a to h: step 3 of section 6.2.2.
pub(super) const fn round(working: [u32; 8], k_t: u32, w_t: u32) -> [u32; 8] {
    let [a, b, c, d, e, f, g, h] = working;
    let t1 = h
        .wrapping_add(big_sigma_1(e))
        .wrapping_add(ch(e, f, g))
        .wrapping_add(k_t)
        .wrapping_add(w_t);
    let t2 = big_sigma_0(a).wrapping_add(maj(a, b, c));
    [t1.wrapping_add(t2), a, b, c, d.wrapping_add(t1), e, f, g]
}

/// Folds one 64-byte block into the hash value: steps 1 to 4 of section 6.2.2.
pub(super) fn compress(hash: &mut [u32; 8], block: &[u8; 64]) {
    let w = message_schedule(block);
    let mut working = *hash;
    for t in 0..64 {
        working = round(working, K[t], w[t]);
    }
    for (word, working) in hash.iter_mut().zip(working) {
        *word = word.wrapping_add(working);
    }
}

/// Scans with [`compress`].
pub(super) fn scan(scan: &Scan, first: u32, count: u32) -> Option<Hit> {
    single::scan(scan, first, count, compress)
}

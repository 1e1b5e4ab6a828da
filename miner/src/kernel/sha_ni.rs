//! The SHA instructions of x86-64: two rounds in one instruction, on one nonce.
//!
//! One such instruction waits for the one before, so a step interleaves several nonces. As in
//! `wide.rs` a version starts from its state after round 3, block A's schedule is expanded once
//! for all versions, and block B ends with the round that makes the digest's last word.
//!
//! The instructions hold the working variables as `ABEF` and `CDGH`, named from the highest word
//! down, and take `K[t] + W[t]` of two rounds in the lower half of a register.

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_blend_epi16, _mm_extract_epi32, _mm_loadu_si128,
    _mm_set_epi32, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32,
    _mm_shuffle_epi32,
};

use super::scalar::{self, INITIAL_HASH, K};
use super::schedule::{DIGEST_BITS, HEADER_BITS, PADDING, header_start};
use super::{Hit, Scan, steps, unroll};

/// Nonces in a step, each with a chain of instructions of its own.
pub(super) const LANES: usize = 4;

/// Tells whether this CPU has the instructions.
pub(super) fn available() -> bool {
    is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1")
}

/// Scans as [`super::Kernel::scan`].
///
/// # Panics
/// When the CPU lacks the instructions.
pub(super) fn scan(scan: &Scan, first: u32, count: u32) -> Option<Hit> {
    assert!(available(), "this CPU has no SHA instructions");
    // SAFETY: the CPU has what the function enables.
    unsafe { scan_enabled(scan, first, count) }
}

#[target_feature(enable = "sha,sse4.1")]
fn scan_enabled(scan: &Scan, first: u32, count: u32) -> Option<Hit> {
    let versions: Vec<Start> =
        scan.versions.iter().map(|version| Start::new(version.midstate, scan.tail)).collect();
    let top_word = scan.top_word();
    for (at, count) in steps(first, count, LANES) {
        if step(&versions, scan.tail, top_word, at)
            && let Some(hit) = scalar::scan(scan, at, count)
        {
            return Some(hit);
        }
    }
    None
}

/// Working variables as the instructions want them.
#[derive(Clone, Copy)]
struct State {
    abef: __m128i,
    cdgh: __m128i,
}

/// Where a version starts in block A.
struct Start {
    midstate: State,
    /// From [`header_start`].
    working: State,
}

impl Start {
    #[target_feature(enable = "sha,sse4.1")]
    fn new(midstate: [u32; 8], tail: [u32; 3]) -> Self {
        let working = header_start(midstate, tail);
        Self { midstate: State::pack(midstate), working: State::pack(working) }
    }
}

impl State {
    #[inline]
    #[target_feature(enable = "sha,sse4.1")]
    fn pack(words: [u32; 8]) -> Self {
        let [a, b, c, d, e, f, g, h] = words.map(u32::cast_signed);
        Self { abef: _mm_set_epi32(a, b, e, f), cdgh: _mm_set_epi32(c, d, g, h) }
    }

    #[inline]
    #[target_feature(enable = "sha,sse4.1")]
    fn plus(self, other: Self) -> Self {
        Self {
            abef: _mm_add_epi32(self.abef, other.abef),
            cdgh: _mm_add_epi32(self.cdgh, other.cdgh),
        }
    }

    /// Does two rounds; after them what was `ABEF` is `CDGH`.
    #[inline]
    #[target_feature(enable = "sha,sse4.1")]
    fn two_rounds(self, k_plus_w: __m128i) -> Self {
        let abef = _mm_sha256rnds2_epu32(self.cdgh, self.abef, k_plus_w);
        Self { abef, cdgh: self.abef }
    }

    /// Does four rounds.
    #[inline]
    #[target_feature(enable = "sha,sse4.1")]
    fn four_rounds(self, k_plus_w: __m128i) -> Self {
        self.two_rounds(k_plus_w).two_rounds(_mm_shuffle_epi32::<UPPER_HALF>(k_plus_w))
    }

    /// Returns the words in order, four in a register, the first lowest.
    #[inline]
    #[target_feature(enable = "sha,sse4.1")]
    fn unpack(self) -> [__m128i; 2] {
        // FEBA, read upwards, and DCHG.
        let feba = _mm_shuffle_epi32::<0x1b>(self.abef);
        let dchg = _mm_shuffle_epi32::<0xb1>(self.cdgh);
        [_mm_blend_epi16::<0xf0>(feba, dchg), _mm_alignr_epi8::<8>(dchg, feba)]
    }
}

/// Moves a register's upper half to the lower, for `_mm_shuffle_epi32`.
const UPPER_HALF: i32 = 0x0e;

/// Returns `K[t]` to `K[t + 3]`, the first lowest.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn k(t: usize) -> __m128i {
    let words: &[u32; 4] = K[t..].first_chunk().expect("t is at most 60");
    // SAFETY: the pointer is to 16 bytes and need not be aligned.
    unsafe { _mm_loadu_si128(words.as_ptr().cast()) }
}

/// Returns `K[t] + W[t]` of the four rounds from `4 * i` on. Of a schedule's last 16 words it
/// replaces the four oldest by the next four, once those of the block itself are used up.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn next_term(words: &mut [__m128i; 4], i: usize) -> __m128i {
    if i >= 4 {
        let [oldest, second, third, newest] =
            [words[i % 4], words[(i + 1) % 4], words[(i + 2) % 4], words[(i + 3) % 4]];
        let sigma_0 = _mm_sha256msg1_epu32(oldest, second);
        let sum = _mm_add_epi32(sigma_0, _mm_alignr_epi8::<4>(newest, third));
        words[i % 4] = _mm_sha256msg2_epu32(sum, newest);
    }
    _mm_add_epi32(words[i % 4], k(4 * i))
}

/// Tells whether one of the nonces from `first` on may be a hit with one of the versions.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn step(versions: &[Start], tail: [u32; 3], top_word: u32, first: u32) -> bool {
    let zero = _mm_set_epi32(0, 0, 0, 0);
    let mut tables = [[zero; 16]; LANES];
    let mut nonces = [zero; LANES];
    let mut nonce = first;
    for (table, in_place) in tables.iter_mut().zip(&mut nonces) {
        // The nonce is little-endian, words are big-endian.
        let word = nonce.swap_bytes();
        fill_table(table, tail, word);
        *in_place = _mm_set_epi32(word.cast_signed(), 0, word.cast_signed(), 0);
        nonce = nonce.wrapping_add(1);
    }
    let mut may_hit = false;
    for version in versions {
        let mut states = [version.working; LANES];
        for (state, nonce) in states.iter_mut().zip(nonces) {
            state.abef = _mm_add_epi32(state.abef, nonce);
        }
        unroll!(I in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 {
            for (state, table) in states.iter_mut().zip(&tables) {
                *state = state.four_rounds(table[I]);
            }
        });
        for last in compress_digest(states.map(|state| state.plus(version.midstate))) {
            may_hit |= last.swap_bytes() <= top_word;
        }
    }
    may_hit
}

/// Fills a table of block A's `K[t] + W[t]`.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn fill_table(table: &mut [__m128i; 16], tail: [u32; 3], nonce: u32) {
    let [w0, w1, w2] = tail.map(u32::cast_signed);
    let (padding, bits) = (PADDING.cast_signed(), HEADER_BITS.cast_signed());
    let mut words = [
        _mm_set_epi32(nonce.cast_signed(), w2, w1, w0),
        _mm_set_epi32(0, 0, 0, padding),
        _mm_set_epi32(0, 0, 0, 0),
        _mm_set_epi32(bits, 0, 0, 0),
    ];
    for (i, entry) in table.iter_mut().enumerate() {
        *entry = next_term(&mut words, i);
    }
}

/// Compresses block B as far as its digests' last words need, and returns those.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn compress_digest(digests: [State; LANES]) -> [u32; LANES] {
    let padding = _mm_set_epi32(0, 0, 0, PADDING.cast_signed());
    let bits = _mm_set_epi32(DIGEST_BITS.cast_signed(), 0, 0, 0);
    let mut words = digests.map(|digest| {
        let [low, high] = digest.unpack();
        [low, high, padding, bits]
    });
    let mut states = [State::pack(INITIAL_HASH); LANES];
    unroll!(I in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 {
        for (state, words) in states.iter_mut().zip(&mut words) {
            *state = state.four_rounds(next_term(words, I));
        }
    });
    let mut last = [0; LANES];
    for ((state, words), last) in states.iter().zip(&mut words).zip(&mut last) {
        // After rounds 60 and 61 `f` is the `e` of after round 60.
        let state = state.two_rounds(next_term(words, 15));
        *last = _mm_extract_epi32::<0>(state.abef).cast_unsigned().wrapping_add(INITIAL_HASH[7]);
    }
    last
}

//! AVX2: 8 lanes; a rotation is two shifts and an exclusive or.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_and_si256, _mm256_cmpeq_epi32, _mm256_min_epu32,
    _mm256_movemask_epi8, _mm256_set1_epi32, _mm256_setr_epi8, _mm256_setr_epi32,
    _mm256_shuffle_epi8, _mm256_slli_epi32, _mm256_srli_epi32, _mm256_xor_si256,
};

use super::wide::{self, Vector};
use super::{Hit, Scan};

/// Vectors of nonces in a step.
const STREAMS: usize = 2;
/// Nonces in a step.
pub(super) const LANES: usize = 8 * STREAMS;

/// Tells whether this CPU has the instructions.
pub(super) fn available() -> bool {
    is_x86_feature_detected!("avx2")
}

/// Scans as [`super::Kernel::scan`].
///
/// # Panics
/// When the CPU lacks the instructions.
pub(super) fn scan(scan: &Scan, first: u32, count: u32) -> Option<Hit> {
    assert!(available(), "this CPU has no AVX2");
    // SAFETY: the CPU has what the function enables.
    unsafe { scan_enabled(scan, first, count) }
}

#[target_feature(enable = "avx2")]
fn scan_enabled(scan: &Scan, first: u32, count: u32) -> Option<Hit> {
    // SAFETY: this function is only entered on a CPU with AVX2.
    unsafe { wide::scan::<Lanes, STREAMS>(scan, first, count) }
}

#[derive(Clone, Copy)]
struct Lanes(__m256i);

/// A vector's words rotated to the right.
macro_rules! ror {
    ($x:expr, $n:literal) => {
        _mm256_xor_si256(_mm256_srli_epi32::<$n>($x), _mm256_slli_epi32::<{ 32 - $n }>($x))
    };
}

/// Exclusive or of a vector's words, rotated to the right by two distances, and a third operand.
macro_rules! sigma {
    ($x:expr, $n1:literal, $n2:literal, $third:expr) => {
        // SAFETY: there are vectors only on a CPU with AVX2.
        Self(unsafe { _mm256_xor_si256(_mm256_xor_si256(ror!($x, $n1), ror!($x, $n2)), $third) })
    };
}

impl Vector for Lanes {
    const LANES: u32 = 8;
    const EXPANDS_AHEAD: bool = true;

    #[inline(always)]
    unsafe fn splat(word: u32) -> Self {
        // SAFETY: the caller's CPU has AVX2.
        Self(unsafe { _mm256_set1_epi32(word.cast_signed()) })
    }

    #[inline(always)]
    unsafe fn count_up() -> Self {
        // SAFETY: the caller's CPU has AVX2.
        Self(unsafe { _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7) })
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: there are vectors only on a CPU with AVX2.
        Self(unsafe { _mm256_add_epi32(self.0, other.0) })
    }

    #[inline(always)]
    fn ch(self, y: Self, z: Self) -> Self {
        // SAFETY: there are vectors only on a CPU with AVX2.
        Self(unsafe {
            let differ = _mm256_xor_si256(y.0, z.0);
            _mm256_xor_si256(_mm256_and_si256(differ, self.0), z.0)
        })
    }

    #[inline(always)]
    fn maj(self, y: Self, z: Self) -> Self {
        // SAFETY: there are vectors only on a CPU with AVX2.
        Self(unsafe {
            // Of the next round's `y` and `z` this is the first: the compiler computes it once.
            let differ = _mm256_xor_si256(self.0, y.0);
            let others_differ = _mm256_xor_si256(y.0, z.0);
            _mm256_xor_si256(_mm256_and_si256(differ, others_differ), y.0)
        })
    }

    #[inline(always)]
    fn big_sigma_0(self) -> Self {
        sigma!(self.0, 2, 13, ror!(self.0, 22))
    }

    #[inline(always)]
    fn big_sigma_1(self) -> Self {
        sigma!(self.0, 6, 11, ror!(self.0, 25))
    }

    #[inline(always)]
    fn small_sigma_0(self) -> Self {
        sigma!(self.0, 7, 18, _mm256_srli_epi32::<3>(self.0))
    }

    #[inline(always)]
    fn small_sigma_1(self) -> Self {
        sigma!(self.0, 17, 19, _mm256_srli_epi32::<10>(self.0))
    }

    #[inline(always)]
    fn reverse_bytes(self) -> Self {
        // SAFETY: there are vectors only on a CPU with AVX2.
        Self(unsafe {
            let order = _mm256_setr_epi8(
                3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12, //
                3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12,
            );
            _mm256_shuffle_epi8(self.0, order)
        })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: there are vectors only on a CPU with AVX2.
        Self(unsafe { _mm256_min_epu32(self.0, other.0) })
    }

    #[inline(always)]
    fn any_at_most(self, limit: u32) -> bool {
        // SAFETY: there are vectors only on a CPU with AVX2.
        unsafe {
            let limits = _mm256_set1_epi32(limit.cast_signed());
            let is_at_most = _mm256_cmpeq_epi32(_mm256_min_epu32(self.0, limits), self.0);
            _mm256_movemask_epi8(is_at_most) != 0
        }
    }
}

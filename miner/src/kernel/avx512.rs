//! AVX-512: 16 lanes, rotations and functions of three words in one instruction each.

use std::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_cmple_epu32_mask, _mm512_min_epu32, _mm512_ror_epi32,
    _mm512_set1_epi32, _mm512_setr_epi32, _mm512_srli_epi32, _mm512_ternarylogic_epi32,
};

use super::wide::{self, Vector};
use super::{Hit, Scan};

/// Vectors of nonces in a step.
const STREAMS: usize = 2;
/// Nonces in a step.
pub(super) const LANES: usize = 16 * STREAMS;

/// Tells whether this CPU has the instructions.
pub(super) fn available() -> bool {
    is_x86_feature_detected!("avx512f")
}

/// Scans as [`super::Kernel::scan`].
///
/// # Panics
/// When the CPU lacks the instructions.
pub(super) fn scan(scan: &Scan, first: u32, count: u32) -> Option<Hit> {
    assert!(available(), "this CPU has no AVX-512");
    // SAFETY: the CPU has what the function enables.
    unsafe { scan_enabled(scan, first, count) }
}

#[target_feature(enable = "avx512f")]
fn scan_enabled(scan: &Scan, first: u32, count: u32) -> Option<Hit> {
    // SAFETY: this function is only entered on a CPU with AVX-512F.
    unsafe { wide::scan::<Lanes, STREAMS>(scan, first, count) }
}

#[derive(Clone, Copy)]
struct Lanes(__m512i);

/// Truth tables of functions of three bits, as `vpternlogd` takes them.
const XOR: i32 = 0x96;
const CH: i32 = 0xca;
const MAJ: i32 = 0xe8;

/// Exclusive or of a vector rotated right by two distances, and rotated or shifted by a third.
macro_rules! sigma {
    ($x:expr, $n1:literal, $n2:literal, $third:ident $n3:literal) => {
        // SAFETY: there are vectors only on a CPU with AVX-512F.
        Self(unsafe {
            let (first, second) = (_mm512_ror_epi32::<$n1>($x), _mm512_ror_epi32::<$n2>($x));
            _mm512_ternarylogic_epi32::<XOR>(first, second, $third::<$n3>($x))
        })
    };
}

impl Vector for Lanes {
    const LANES: u32 = 16;
    const EXPANDS_AHEAD: bool = false;

    #[inline(always)]
    unsafe fn splat(word: u32) -> Self {
        // SAFETY: the caller's CPU has AVX-512F.
        Self(unsafe { _mm512_set1_epi32(word.cast_signed()) })
    }

    #[inline(always)]
    unsafe fn count_up() -> Self {
        // SAFETY: the caller's CPU has AVX-512F.
        Self(unsafe { _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) })
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: there are vectors only on a CPU with AVX-512F.
        Self(unsafe { _mm512_add_epi32(self.0, other.0) })
    }

    #[inline(always)]
    fn ch(self, y: Self, z: Self) -> Self {
        // SAFETY: there are vectors only on a CPU with AVX-512F.
        Self(unsafe { _mm512_ternarylogic_epi32::<CH>(self.0, y.0, z.0) })
    }

    #[inline(always)]
    fn maj(self, y: Self, z: Self) -> Self {
        // SAFETY: there are vectors only on a CPU with AVX-512F.
        Self(unsafe { _mm512_ternarylogic_epi32::<MAJ>(self.0, y.0, z.0) })
    }

    #[inline(always)]
    fn big_sigma_0(self) -> Self {
        sigma!(self.0, 2, 13, _mm512_ror_epi32 22)
    }

    #[inline(always)]
    fn big_sigma_1(self) -> Self {
        sigma!(self.0, 6, 11, _mm512_ror_epi32 25)
    }

    #[inline(always)]
    fn small_sigma_0(self) -> Self {
        sigma!(self.0, 7, 18, _mm512_srli_epi32 3)
    }

    #[inline(always)]
    fn small_sigma_1(self) -> Self {
        sigma!(self.0, 17, 19, _mm512_srli_epi32 10)
    }

    #[inline(always)]
    fn reverse_bytes(self) -> Self {
        // SAFETY: there are vectors only on a CPU with AVX-512F.
        Self(unsafe {
            // Where the mask has ones take the first, elsewhere the second: Ch.
            let mask = _mm512_set1_epi32(0x00ff_00ff);
            let (left, right) = (_mm512_ror_epi32::<24>(self.0), _mm512_ror_epi32::<8>(self.0));
            _mm512_ternarylogic_epi32::<CH>(mask, left, right)
        })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: there are vectors only on a CPU with AVX-512F.
        Self(unsafe { _mm512_min_epu32(self.0, other.0) })
    }

    #[inline(always)]
    fn any_at_most(self, limit: u32) -> bool {
        // SAFETY: there are vectors only on a CPU with AVX-512F.
        unsafe { _mm512_cmple_epu32_mask(self.0, _mm512_set1_epi32(limit.cast_signed())) != 0 }
    }
}

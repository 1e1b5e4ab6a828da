//! Difficulty, the number by which Stratum tells how hard a share is, and the target it means.

use ruint::aliases::{U256, U512};

use crate::pow::Target;

/// The easiest target that a miner takes difficulty 1 for: 2^224, as cpuminer-opt does. Whoever
/// judges shares uses this one; all others find shares that meet it too.
pub const EASIEST_ONE: Target = Target::from_uint(U256::from_limbs([0, 0, 0, 1 << 32]));

/// The hardest target that somebody takes difficulty 1 for: Bitcoin's. Whoever looks for shares
/// uses this one; every pool accepts what meets it.
pub const HARDEST_ONE: Target = Target::DIFFICULTY_1;

/// The target of a difficulty, `floor(one / difficulty)`, at most 2^256 - 1. `None` when the
/// difficulty is not a positive number.
#[must_use]
pub fn target(difficulty: f64, one: Target) -> Option<Target> {
    if !difficulty.is_finite() || difficulty <= 0.0 {
        return None;
    }
    // Exactly mantissa * 2^exponent (IEEE 754), whether or not the number is normal.
    let bits = difficulty.to_bits();
    let (fraction, biased) = (bits & ((1 << 52) - 1), (bits >> 52) as usize);
    let mantissa = U512::from(if biased == 0 { fraction } else { fraction | 1 << 52 });
    let (up, down) = match biased.max(1) {
        biased if biased < 1075 => (1075 - biased, 0),
        biased => (0, biased - 1075),
    };
    let one = U512::from(one.to_uint());
    let quotient = one.checked_shl(up).map_or(U512::MAX, |one| one / mantissa);
    Some(Target::from_uint((quotient >> down).saturating_to()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(difficulty: f64) -> U256 {
        target(difficulty, EASIEST_ONE).unwrap().to_uint()
    }

    #[test]
    fn powers_of_two_are_exact() {
        assert_eq!(value(1.0), U256::ONE << 224);
        assert_eq!(value(1024.0), U256::ONE << 214);
        assert_eq!(value(2f64.powi(-31)), U256::ONE << 255);
        assert_eq!(value(2f64.powi(-32)), U256::MAX);
        assert_eq!(value(f64::MIN_POSITIVE / 4.0), U256::MAX);
        assert_eq!(value(2f64.powi(224)), U256::ONE);
        assert_eq!(value(f64::MAX), U256::ZERO);
        assert_eq!(target(1.0, HARDEST_ONE), Some(Target::DIFFICULTY_1));
    }

    #[test]
    fn others_are_rounded_down() {
        assert_eq!(value(3.0), (U256::ONE << 224) / U256::from(3));
        assert_eq!(value(0.75), (U256::ONE << 226) / U256::from(3));
        // The target of a difficulty has that difficulty again.
        for difficulty in [0.001, 0.1, 1.0, 17.5, 1e6, 1e12] {
            let again = target(difficulty, HARDEST_ONE).unwrap().difficulty();
            assert!((again / difficulty - 1.0).abs() < 1e-9, "{difficulty} {again}");
        }
    }

    #[test]
    fn what_is_no_difficulty_has_no_target() {
        for wrong in [0.0, -0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(target(wrong, EASIEST_ONE), None, "{wrong}");
        }
    }
}

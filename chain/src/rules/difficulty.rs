//! The target a block must have: fixed, or ASERT (aserti3-2d), anchored at genesis.
//!
//! Source: the Bitcoin Cash specification "2020-11-15-asert"; integers only.

use miner::{CompactTarget, Target};
use ruint::Uint;

use crate::params::{Network, Retarget};

/// Wide enough for a 256-bit target times the 17-bit factor.
type Wide = Uint<320, 5>;

/// Bits after the point in ASERT's exponent and factor.
const RADIX_BITS: u32 = 16;
const RADIX: i64 = 1 << RADIX_BITS;

/// The bits of the block after `parent`.
///
/// # Consensus
/// `asert` schedules from genesis as if its parent came one target interval before it.
///
/// # Panics
/// When the network's start bits do not decode: networks are validated when made.
pub fn required_bits(network: &Network, parent_height: u32, parent_time: u32) -> CompactTarget {
    match network.retarget {
        Retarget::Fixed => network.start_bits,
        Retarget::Asert { half_life_s } => {
            let interval = i64::from(network.target_interval_s);
            let anchor_parent_time = i64::from(network.genesis_time) - interval;
            let start = network.start_bits.decode().expect("networks are validated when made");
            Asert { interval_s: interval, half_life_s: i64::from(half_life_s), start, limit: start }
                .next_target(i64::from(parent_time) - anchor_parent_time, i64::from(parent_height))
                .encode()
        }
    }
}

struct Asert {
    interval_s: i64,
    half_life_s: i64,
    start: Target,
    limit: Target,
}

impl Asert {
    /// `time_delta` seconds since the anchor's parent, `height_delta` blocks since the anchor.
    fn next_target(&self, time_delta: i64, height_delta: i64) -> Target {
        // Below 2^65: times and heights are 32-bit, intervals too.
        let scheduled_s = i128::from(self.interval_s) * (i128::from(height_delta) + 1);
        let behind_s = i128::from(time_delta) - scheduled_s;
        let exponent = behind_s * i128::from(RADIX) / i128::from(self.half_life_s);
        let shift = exponent >> RADIX_BITS;
        let fraction = u64::try_from(exponent & i128::from(RADIX - 1)).expect("16 bits");
        // 2^x - 1 for x in [0, 1), as a cubic; the largest term stays below 2^64.
        let factor = (1 << RADIX_BITS)
            + ((195_766_423_245_049 * fraction
                + 971_821_376 * fraction * fraction
                + 5_127 * fraction * fraction * fraction
                + (1 << 47))
                >> 48);
        let scaled = Wide::from(self.start.to_uint()) * Wide::from(factor);
        self.clamp(shift_by(scaled, shift - i128::from(RADIX_BITS)))
    }

    /// Into 1..=limit; `None` stands for more than 320 bits.
    fn clamp(&self, target: Option<Wide>) -> Target {
        match target {
            Some(target) if target.is_zero() => Target::from_uint(ruint::aliases::U256::ONE),
            Some(target) if target < Wide::from(self.limit.to_uint()) => {
                Target::from_uint(target.to())
            }
            _ => self.limit,
        }
    }
}

/// `value << shift`, or `value >> -shift`; `None` when bits fall off the left.
fn shift_by(value: Wide, shift: i128) -> Option<Wide> {
    let distance = usize::try_from(shift.unsigned_abs()).unwrap_or(usize::MAX);
    if shift <= 0 {
        return Some(if distance >= Wide::BITS { Wide::ZERO } else { value >> distance });
    }
    (distance <= value.leading_zeros()).then(|| value << distance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asert(interval_s: i64, half_life_s: i64, start: u32, limit: u32) -> Asert {
        let target = |bits: u32| CompactTarget(bits).decode().unwrap();
        Asert { interval_s, half_life_s, start: target(start), limit: target(limit) }
    }

    fn bits(asert: &Asert, time_delta: i64, height_delta: i64) -> u32 {
        asert.next_target(time_delta, height_delta).encode().0
    }

    #[test]
    fn golden_vectors() {
        let asert = asert(60, 3600, 0x1d00_ffff, 0x1f00_ffff);
        for (time_delta, height_delta, expected) in [
            (60, 0, 0x1d00_ffff),
            (0, 0, 0x1d00_fd10),
            (120, 0, 0x1d01_02fa),
            (1860, 0, 0x1d01_6a00),
            (3660, 0, 0x1d01_fffe),
            (0, 100, 0x1c4f_b4b0),
            (6060, 100, 0x1d00_ffff),
            (13_260, 100, 0x1d03_fffc),
            (6060, 1000, 0x1b01_fffe),
            (2_592_000, 10, 0x1f00_ffff),
        ] {
            let got = bits(&asert, time_delta, height_delta);
            assert_eq!(got, expected, "({time_delta}, {height_delta}) gave {got:08x}");
        }
    }

    /// The longest interval and the greatest height do not fit 64 bits together.
    #[test]
    fn the_greatest_schedule_does_not_overflow() {
        let longest = i64::from(u32::MAX);
        let asert = asert(longest, longest, 0x1d00_ffff, 0x1f00_ffff);
        assert_eq!(bits(&asert, 0, longest), 0x0101_0000);
        assert_eq!(bits(&asert, longest, 0), 0x1d00_ffff);
    }

    #[test]
    fn bitcoin_cash_parameters_halve_the_target_one_half_life_ahead() {
        let asert = asert(600, 172_800, 0x1804_dafe, 0x1d00_ffff);
        assert_eq!(bits(&asert, 600, 0), 0x1804_dafe);
        assert_eq!(bits(&asert, 600, 288), 0x1802_6d7f);
    }

    #[test]
    fn extremes_clamp_and_never_overflow() {
        let asert = asert(60, 3600, 0x1d00_ffff, 0x1f00_ffff);
        let far = i64::from(u32::MAX);
        assert_eq!(bits(&asert, far, 0), 0x1f00_ffff);
        assert_eq!(bits(&asert, 0, far), 0x0101_0000, "the hardest target is 1");
        assert_eq!(bits(&asert, -far, far), 0x0101_0000);
        let short = Asert { half_life_s: 1, ..asert };
        assert_eq!(bits(&short, far, 0), 0x1f00_ffff);
        assert_eq!(bits(&short, -far, far), 0x0101_0000);
    }

    #[test]
    fn fixed_networks_keep_their_start_and_asert_starts_there() {
        let dev = Network::dev();
        assert_eq!(required_bits(&dev, 5, u32::MAX), dev.start_bits);
        let main = Network::main();
        assert_eq!(required_bits(&main, 0, main.genesis_time), main.start_bits);
        assert_eq!(required_bits(&main, 60, main.genesis_time + 3600), main.start_bits);
    }

    proptest! {
        #[test]
        fn later_blocks_are_never_harder(
            time in 0i64..10_000_000,
            more in 0i64..10_000_000,
            height in 0i64..100_000,
        ) {
            let asert = asert(60, 3600, 0x1c00_ffff, 0x1f00_ffff);
            let early = asert.next_target(time, height);
            let late = asert.next_target(time + more, height);
            prop_assert!(early.to_uint() <= late.to_uint());
        }
    }
}

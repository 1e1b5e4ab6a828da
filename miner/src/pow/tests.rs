use proptest::prelude::*;

use super::*;

/// Hash of Bitcoin's genesis block, as people see it.
const GENESIS: &str = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f";

/// Numbers of every bit length, as often short as long.
fn any_uint() -> impl Strategy<Value = U256> {
    (any::<[u8; 32]>(), 0_usize..256).prop_map(|(bytes, shift)| U256::from_be_bytes(bytes) >> shift)
}

fn decode(bits: u32) -> Result<U256, CompactError> {
    CompactTarget(bits).decode().map(Target::to_uint)
}

#[test]
fn hash_shows_and_parses_reversed() {
    let hash: Hash = GENESIS.parse().unwrap();
    assert_eq!(hash.0[0], 0x6f);
    assert_eq!(hash.0[31], 0);
    assert_eq!(hash.to_string(), GENESIS);
    assert_eq!(format!("{hash:?}"), GENESIS);
    assert_eq!(GENESIS.to_uppercase().parse(), Ok(hash));
    assert_eq!(hash.to_uint(), U256::from_str_radix(GENESIS, 16).unwrap());
}

#[test]
fn text_that_is_no_hash_is_refused() {
    assert_eq!("".parse::<Hash>(), Err(ParseHashError::Length { got: 0 }));
    assert_eq!(GENESIS[1..].parse::<Hash>(), Err(ParseHashError::Length { got: 63 }));
    let signed = format!("+{}", &GENESIS[1..]);
    assert_eq!(signed.parse::<Hash>(), Err(ParseHashError::Digit { at: 0 }));
    let two_byte_character = format!("{}é", &GENESIS[..62]);
    assert_eq!(two_byte_character.parse::<Hash>(), Err(ParseHashError::Digit { at: 62 }));
}

#[test]
fn hash_serialises_as_32_bytes() {
    let hash = Hash([7; 32]);
    let json = serde_json::to_string(&hash).unwrap();
    assert_eq!(json, serde_json::to_string(&[7_u8; 32]).unwrap());
    assert_eq!(serde_json::from_str::<Hash>(&json).unwrap(), hash);
}

#[test]
fn pair_is_the_hash_of_both() {
    let (left, right) = (Hash([1; 32]), Hash([2; 32]));
    let pair = sha256d_pair(&left, &right);
    assert_eq!(pair, sha256d(&[left.0, right.0].concat()));
    assert_ne!(pair, sha256d_pair(&right, &left));
}

#[test]
fn compact_targets_of_bitcoin_decode() {
    let difficulty_1 = U256::from(0xffff_u64) << 208;
    assert_eq!(decode(0x1d00_ffff), Ok(difficulty_1));
    assert_eq!(Target::DIFFICULTY_1.to_uint(), difficulty_1);
    assert_eq!(decode(0x207f_ffff), Ok(U256::from(0x7f_ffff_u64) << 232));
    assert_eq!(decode(0x1b04_04cb), Ok(U256::from(0x0404cb_u64) << 192));
}

#[test]
fn compact_targets_at_the_edges() {
    assert_eq!(decode(0x0101_0000), Ok(U256::from(1)));
    assert_eq!(decode(0x017f_0000), Ok(U256::from(0x7f)));
    assert_eq!(decode(0x0200_8000), Ok(U256::from(0x80)), "a set top bit takes a zero before it");
    assert_eq!(decode(0x0312_3456), Ok(U256::from(0x12_3456)));
    assert_eq!(decode(0x2100_ffff), Ok(U256::from(0xffff) << 240), "the greatest that decodes");
    assert_eq!(Target::MAX.encode(), CompactTarget(0x2100_ffff));
    assert_eq!(Target::from_uint(U256::ZERO).encode(), CompactTarget(0));
}

#[test]
fn compact_targets_with_a_fault_are_refused() {
    use CompactError::{Negative, NotCanonical, Overflow, Zero};
    let bits = CompactTarget;
    assert_eq!(decode(0x0492_3456), Err(Negative(bits(0x0492_3456))));
    assert_eq!(decode(0x0080_0000), Err(Negative(bits(0x0080_0000))), "minus zero");
    assert_eq!(decode(0), Err(Zero(bits(0))));
    assert_eq!(decode(0x0000_0001), Err(Zero(bits(0x0000_0001))));
    assert_eq!(decode(0x0100_ffff), Err(Zero(bits(0x0100_ffff))), "all its bits are shifted out");
    assert_eq!(decode(0xff00_0000), Err(Zero(bits(0xff00_0000))));
    assert_eq!(decode(0x2101_0000), Err(Overflow(bits(0x2101_0000))), "exactly 2^256");
    assert_eq!(decode(0x2200_0100), Err(Overflow(bits(0x2200_0100))), "2^256 by a short mantissa");
    assert_eq!(decode(0xff7f_ffff), Err(Overflow(bits(0xff7f_ffff))));
    let not_canonical =
        |got, expected| Err(NotCanonical { got: bits(got), expected: bits(expected) });
    assert_eq!(decode(0x1e00_00ff), not_canonical(0x1e00_00ff, 0x1d00_ff00), "leading zero bytes");
    assert_eq!(decode(0x0101_0001), not_canonical(0x0101_0001, 0x0101_0000), "bits shifted out");
    assert_eq!(decode(0x2200_00ff), not_canonical(0x2200_00ff, 0x2100_ff00));
}

#[test]
fn compact_target_displays_as_eight_digits() {
    assert_eq!(CompactTarget(0x0101_0000).to_string(), "01010000");
}

#[test]
fn hash_equal_to_the_target_meets_it() {
    let hash: Hash = GENESIS.parse().unwrap();
    let target = Target::from_uint(hash.to_uint());
    assert!(target.is_met_by(&hash));
    assert!(!Target::from_uint(hash.to_uint() - U256::ONE).is_met_by(&hash));
    assert!(Target::DIFFICULTY_1.is_met_by(&hash));
    assert!(Target::MAX.is_met_by(&Hash([0xff; 32])));
}

#[test]
fn work_of_known_targets() {
    let work = |target: U256| Target::from_uint(target).work().to_uint();
    assert_eq!(Target::DIFFICULTY_1.work().to_uint(), U256::from(4_295_032_833_u64));
    assert_eq!(work(U256::MAX), U256::ONE);
    assert_eq!(work(U256::MAX - U256::ONE), U256::ONE);
    assert_eq!(work(U256::MAX >> 1), U256::from(2));
    assert_eq!(work(U256::from(2)), U256::MAX / U256::from(3), "3 divides 2^256 - 1");
    assert_eq!(work(U256::ONE), U256::ONE << 255);
    assert_eq!(work(U256::ZERO), U256::MAX, "2^256 saturates");
}

#[test]
fn difficulty_is_relative_to_the_first_target() {
    let near = |bits: u32, expected: f64| {
        let difficulty = CompactTarget(bits).decode().unwrap().difficulty();
        assert!((difficulty / expected - 1.0).abs() < 1e-12, "{difficulty} is not {expected}");
    };
    near(0x1d00_ffff, 1.0);
    near(0x1b04_04cb, 16_307.420_938_523_983);
    assert!(Target::from_uint(U256::ZERO).difficulty().is_infinite());
}

#[test]
fn work_saturates_instead_of_wrapping() {
    let one = Work::from_uint(U256::ONE);
    let most = Work::from_uint(U256::MAX);
    assert_eq!(most + one, most);
    assert_eq!(most.checked_add(one), None);
    assert_eq!(Work::ZERO - one, Work::ZERO);
    assert_eq!(Work::ZERO.checked_sub(one), None);
    assert_eq!(one + one - one, one);
    assert_eq!(one.checked_add(one).and_then(|two| two.checked_sub(one)), Some(one));
    assert_eq!(Work::default(), Work::ZERO);
}

#[test]
fn work_displays_in_decimal() {
    assert_eq!(Target::DIFFICULTY_1.work().to_string(), "4295032833");
}

proptest! {
    #[test]
    fn hash_text_round_trips(bytes: [u8; 32]) {
        let hash = Hash(bytes);
        prop_assert_eq!(hash.to_string().parse(), Ok(hash));
    }

    #[test]
    fn bits_that_decode_are_the_bits_encoded(bits: u32) {
        if let Ok(target) = CompactTarget(bits).decode() {
            prop_assert_eq!(target.encode(), CompactTarget(bits));
        }
    }

    #[test]
    fn canonical_bits_decode(size in 3_u32..=32, mantissa in 0x8000_u32..0x80_0000) {
        prop_assert!(CompactTarget(size << 24 | mantissa).decode().is_ok());
    }

    #[test]
    fn encoding_rounds_a_target_down_to_15_bits_or_more(value in any_uint()) {
        prop_assume!(!value.is_zero());
        let rounded = Target::from_uint(value).encode().decode().unwrap().to_uint();
        prop_assert!(rounded <= value);
        prop_assert!((value - rounded) >> value.bit_len().saturating_sub(15) == U256::ZERO);
    }

    #[test]
    fn work_is_the_quotient(value in any_uint()) {
        // work * (target + 1) <= 2^256 < (work + 1) * (target + 1), in 512 bits.
        prop_assume!(!value.is_zero() && value != U256::MAX);
        let wide = |value: U256| ruint::Uint::<512, 8>::from(value);
        let (divisor, work) = (wide(value + U256::ONE), wide(Target::from_uint(value).work().0));
        let all = wide(U256::ONE) << 256;
        prop_assert!(work * divisor <= all);
        prop_assert!(all < work * divisor + divisor);
    }

    #[test]
    fn work_bytes_round_trip_and_sort(a in any_uint(), b in any_uint()) {
        let (a, b) = (Work::from_uint(a), Work::from_uint(b));
        prop_assert_eq!(Work::from_be_bytes(a.to_be_bytes()), a);
        prop_assert_eq!(a.cmp(&b), a.to_be_bytes().cmp(&b.to_be_bytes()));
    }
}

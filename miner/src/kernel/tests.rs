//! One list of tests that every row passes, and what holds for the table itself.

mod choosing;

use proptest::prelude::*;
use ruint::aliases::U256;

use super::*;
use crate::pow::{CompactTarget, Hash, sha256d};

/// Answers what a scan of a header must return.
type Reference = fn(header: &[u8; 80], target: Target, first: u32, count: u32) -> Option<u32>;
type Check = fn(&Kernel, Reference);

/// The shared list. A kernel is right when it passes every check.
const CHECKS: &[(&str, Check)] = &[
    ("finds the nonces of real blocks", finds_real_blocks),
    ("finds a nonce in every lane", finds_a_nonce_in_every_lane),
    ("takes a hash equal to the target", takes_a_hash_equal_to_the_target),
    ("returns the first of several hits", returns_the_first_of_several_hits),
    ("returns none without a hit", returns_none_without_a_hit),
    ("ends at the last nonce", ends_at_the_last_nonce),
    ("equals the reference on random headers", equals_the_reference_on_random_headers),
];

fn naive(header: &[u8; 80], target: Target, first: u32, count: u32) -> Option<u32> {
    let end = (u64::from(first) + u64::from(count)).min(1 << 32);
    (u64::from(first)..end)
        .map(|nonce| u32::try_from(nonce).unwrap())
        .find(|&nonce| target.is_met_by(&hash_with(header, nonce)))
}

fn scalar(header: &[u8; 80], target: Target, first: u32, count: u32) -> Option<u32> {
    scalar::scan(&Scan::new(header, target), first, count)
}

fn hash_with(header: &[u8; 80], nonce: u32) -> Hash {
    let mut header = *header;
    header[76..].copy_from_slice(&nonce.to_le_bytes());
    sha256d(&header)
}

fn run_checks(kernel: &Kernel, reference: Reference) {
    for (name, check) in CHECKS {
        println!("{}: {name}", kernel.name);
        check(kernel, reference);
    }
}

#[test]
fn scalar_passes_the_list_against_the_sha2_crate() {
    run_checks(choose(Some("scalar")).unwrap(), naive);
}

#[test]
fn every_other_row_passes_the_list_against_scalar() {
    for kernel in KERNELS.iter().filter(|kernel| kernel.name != "scalar") {
        if (kernel.available)() {
            run_checks(kernel, scalar);
        } else {
            println!("{}: skipped, this CPU cannot run it", kernel.name);
        }
    }
}

/// A block of Bitcoin's main chain.
struct RealBlock {
    hash: &'static str,
    prev: &'static str,
    merkle_root: &'static str,
    time: u32,
    bits: CompactTarget,
    nonce: u32,
}

/// Blocks 0, 1 and 125,552.
const REAL_BLOCKS: [RealBlock; 3] = [
    RealBlock {
        hash: "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
        prev: "0000000000000000000000000000000000000000000000000000000000000000",
        merkle_root: "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b",
        time: 1_231_006_505,
        bits: CompactTarget(0x1d00_ffff),
        nonce: 2_083_236_893,
    },
    RealBlock {
        hash: "00000000839a8e6886ab5951d76f411475428afc90947ee320161bbf18eb6048",
        prev: "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
        merkle_root: "0e3e2357e806b6cdb1f70b54c3a3a17b6714ee1f0e68bebb44a74b1efd512098",
        time: 1_231_469_665,
        bits: CompactTarget(0x1d00_ffff),
        nonce: 2_573_394_689,
    },
    RealBlock {
        hash: "00000000000000001e8d6829a8a21adc5d38d0a473b144b6765798e61f98bd1d",
        prev: "00000000000008a3a41b85b8b29ad444def299fee21793cd8b9e567eab02cd81",
        merkle_root: "2b12fcf1b09288fcaff797d71e950e71ae42b91e8bdb2304758dfcffc2b620e3",
        time: 1_305_998_791,
        bits: CompactTarget(0x1a44_b9f2),
        nonce: 2_504_433_986,
    },
];

impl RealBlock {
    /// The header without its nonce, and its target.
    fn puzzle(&self) -> ([u8; 80], Target) {
        let mut header = [0; 80];
        header[..4].copy_from_slice(&1_u32.to_le_bytes());
        header[4..36].copy_from_slice(&self.prev.parse::<Hash>().unwrap().0);
        header[36..68].copy_from_slice(&self.merkle_root.parse::<Hash>().unwrap().0);
        header[68..72].copy_from_slice(&self.time.to_le_bytes());
        header[72..76].copy_from_slice(&self.bits.0.to_le_bytes());
        (header, self.bits.decode().unwrap())
    }
}

fn finds_real_blocks(kernel: &Kernel, _: Reference) {
    for block in &REAL_BLOCKS {
        let (header, target) = block.puzzle();
        assert_eq!(hash_with(&header, block.nonce).to_string(), block.hash);
        let scan = Scan::new(&header, target);
        let found = (kernel.scan)(&scan, block.nonce - 500, 1000);
        assert_eq!(found, Some(block.nonce), "{} on block {}", kernel.name, block.hash);
    }
}

fn finds_a_nonce_in_every_lane(kernel: &Kernel, _: Reference) {
    let lanes = u32::try_from(kernel.lanes).unwrap();
    let (header, target) = REAL_BLOCKS[0].puzzle();
    let (scan, nonce) = (Scan::new(&header, target), REAL_BLOCKS[0].nonce);
    for before in 0..3 * lanes {
        for after in 0..=2 * lanes {
            let found = (kernel.scan)(&scan, nonce - before, before + 1 + after);
            assert_eq!(found, Some(nonce), "{}: {before} before, {after} after", kernel.name);
        }
        let short = (kernel.scan)(&scan, nonce - before, before);
        assert_eq!(short, None, "{}: the range ends before the nonce", kernel.name);
    }
    let late = (kernel.scan)(&scan, nonce + 1, 3 * lanes);
    assert_eq!(late, None, "{}: the range starts after the nonce", kernel.name);
}

fn takes_a_hash_equal_to_the_target(kernel: &Kernel, _: Reference) {
    let header = [0x33; 80];
    for nonce in 0..64 {
        let hash = hash_with(&header, nonce).to_uint();
        let equal = Scan::new(&header, Target::from_uint(hash));
        assert_eq!((kernel.scan)(&equal, nonce, 1), Some(nonce), "{}", kernel.name);
        let below = Scan::new(&header, Target::from_uint(hash - U256::ONE));
        assert_eq!((kernel.scan)(&below, nonce, 1), None, "{}", kernel.name);
    }
}

fn returns_the_first_of_several_hits(kernel: &Kernel, reference: Reference) {
    let header = [0x44; 80];
    let everything = Scan::new(&header, Target::MAX);
    for first in 0..40 {
        assert_eq!((kernel.scan)(&everything, first, 100), Some(first), "{}", kernel.name);
    }
    // About eight hits in the range.
    let target = Target::from_uint(U256::MAX >> 5);
    let (mut first, end) = (0, 256);
    let mut hits = 0;
    while let Some(nonce) = reference(&header, target, first, end - first) {
        let found = (kernel.scan)(&Scan::new(&header, target), first, end - first);
        assert_eq!(found, Some(nonce), "{} from {first} on", kernel.name);
        hits += 1;
        first = nonce + 1;
    }
    assert!(hits > 2, "the header was chosen to have several");
}

fn returns_none_without_a_hit(kernel: &Kernel, _: Reference) {
    let scan = Scan::new(&[0x55; 80], Target::from_uint(U256::ZERO));
    assert_eq!((kernel.scan)(&scan, 0, 2000), None, "{}", kernel.name);
    let everything = Scan::new(&[0x55; 80], Target::MAX);
    assert_eq!((kernel.scan)(&everything, 17, 0), None, "{}: an empty range", kernel.name);
}

fn ends_at_the_last_nonce(kernel: &Kernel, reference: Reference) {
    // A header whose nonce 0 meets a target that the last nonces do not: a wrap would find it.
    let (header, target) = (0..=255)
        .map(|byte| {
            let header = [byte; 80];
            (header, Target::from_uint(hash_with(&header, 0).to_uint()))
        })
        .find(|(header, target)| reference(header, *target, u32::MAX - 40, 41).is_none())
        .unwrap();
    let scan = Scan::new(&header, target);
    for (first, count) in [(u32::MAX, 1), (u32::MAX, u32::MAX), (u32::MAX - 40, 100)] {
        assert_eq!((kernel.scan)(&scan, first, count), None, "{} wrapped", kernel.name);
    }

    let last = Target::from_uint(hash_with(&header, u32::MAX).to_uint());
    for before in 0..40 {
        let first = u32::MAX - before;
        let found = (kernel.scan)(&Scan::new(&header, last), first, before + 1);
        assert_eq!(found, reference(&header, last, first, before + 1), "{}", kernel.name);
        assert!(found.is_some(), "the last nonce is in the range");
        let beyond = (kernel.scan)(&Scan::new(&header, last), first, before + 50);
        assert_eq!(beyond, found, "{}: what is beyond the last nonce is left out", kernel.name);
    }
}

fn equals_the_reference_on_random_headers(kernel: &Kernel, reference: Reference) {
    let headers = (any::<[[u8; 40]; 2]>(), any::<u32>(), 0_u32..200, 0_usize..14);
    proptest!(|((halves, first, count, zero_bits) in headers)| {
        let header: [u8; 80] = halves.concat().try_into().expect("two halves");
        let target = Target::from_uint(U256::MAX >> zero_bits);
        let found = (kernel.scan)(&Scan::new(&header, target), first, count);
        let expected = reference(&header, target, first, count);
        prop_assert_eq!(found, expected, "{} on {:02x?}", kernel.name, header);
    });
}

/// NIST's example for FIPS 180-4, the message "abc".
#[test]
fn scalar_compresses_the_standards_example() {
    let mut block = [0; 64];
    block[..4].copy_from_slice(b"abc\x80");
    block[63] = 24;
    let mut hash = scalar::INITIAL_HASH;
    scalar::compress(&mut hash, &block);
    let expected = [
        0xba78_16bf,
        0x8f01_cfea,
        0x4141_40de,
        0x5dae_2223,
        0xb003_61a3,
        0x9617_7a9c,
        0xb410_ff61,
        0xf200_15ad,
    ];
    assert_eq!(hash, expected);
}

proptest! {
    #[test]
    fn scalar_compresses_as_the_sha2_crate(state: [u32; 8], halves: [[u8; 32]; 2]) {
        let block: [u8; 64] = halves.concat().try_into().expect("two halves");
        let (mut ours, mut theirs) = (state, state);
        scalar::compress(&mut ours, &block);
        sha2::block_api::compress256(&mut theirs, &[block]);
        prop_assert_eq!(ours, theirs);
    }
}

#[test]
fn scan_keeps_what_is_constant_of_a_header() {
    let mut header = [0; 80];
    for (at, byte) in (0..).zip(&mut header) {
        *byte = at;
    }
    let target = CompactTarget(0x1d00_ffff).decode().unwrap();
    let scan = Scan::new(&header, target);
    assert_eq!(scan.tail, [0x4041_4243, 0x4445_4647, 0x4849_4a4b]);
    assert_eq!(scan.top_word(), 0);
    header[76..].fill(0xff);
    assert_eq!(Scan::new(&header, target), scan, "the nonce does not matter");
    assert_eq!(Scan::new(&header, Target::from_uint(U256::MAX >> 4)).top_word(), 0x0fff_ffff);
}

#[test]
fn names_are_unique_and_lanes_divide_the_nonces() {
    for (at, kernel) in KERNELS.iter().enumerate() {
        assert!(kernel.lanes.is_power_of_two(), "{}", kernel.name);
        assert!(KERNELS[..at].iter().all(|other| other.name != kernel.name), "{}", kernel.name);
    }
}

//! One list of tests that every row passes, and what holds for the table itself.

mod choosing;

use proptest::prelude::*;
use ruint::aliases::U256;

use super::*;
use crate::pow::{CompactTarget, Hash, sha256d};

/// A header to search: the version and the nonce in its bytes do not matter.
#[derive(Clone, Debug)]
struct Puzzle {
    header: [u8; 80],
    versions: Vec<u32>,
    target: Target,
}

impl Puzzle {
    fn new(header: [u8; 80], target: Target) -> Self {
        Self { header, versions: vec![0x2000_0000], target }
    }

    fn with_versions(header: [u8; 80], count: usize, target: Target) -> Self {
        let versions = (0..).map(|n: u32| 0x2000_0000 | n << 13).take(count).collect();
        Self { header, versions, target }
    }

    fn hash(&self, hit: Hit) -> Hash {
        let mut header = self.header;
        header[..4].copy_from_slice(&hit.version.to_le_bytes());
        header[76..].copy_from_slice(&hit.nonce.to_le_bytes());
        sha256d(&header)
    }

    /// The hit that its first version with this nonce would be.
    fn hit(&self, nonce: u32) -> Hit {
        Hit { version: self.versions[0], nonce }
    }

    fn with_target(&self, target: U256) -> Self {
        Self { target: Target::from_uint(target), ..self.clone() }
    }

    fn scan_with(&self, kernel: &Kernel, first: u32, count: u32) -> Option<Hit> {
        (kernel.scan)(&Scan::new(&self.header, &self.versions, self.target), first, count)
    }
}

/// Answers what the scan of a puzzle must return.
type Reference = fn(&Puzzle, first: u32, count: u32) -> Option<Hit>;
type Check = fn(&Kernel, Reference);

/// The shared list. A kernel is right when it passes every check.
const CHECKS: &[(&str, Check)] = &[
    ("finds the nonces of real blocks", finds_real_blocks),
    ("finds a nonce in every lane", finds_a_nonce_in_every_lane),
    ("finds every version in every lane", finds_every_version_in_every_lane),
    ("takes a hash equal to the target", takes_a_hash_equal_to_the_target),
    ("returns the first of several hits", returns_the_first_of_several_hits),
    ("returns the first version of a nonce", returns_the_first_version_of_a_nonce),
    ("returns none without a hit", returns_none_without_a_hit),
    ("ends at the last nonce", ends_at_the_last_nonce),
    ("equals the reference on random headers", equals_the_reference_on_random_headers),
];

fn naive(puzzle: &Puzzle, first: u32, count: u32) -> Option<Hit> {
    let end = (u64::from(first) + u64::from(count)).min(1 << 32);
    let nonces = (u64::from(first)..end).map(|nonce| u32::try_from(nonce).unwrap());
    let hits =
        nonces.flat_map(|nonce| puzzle.versions.iter().map(move |&version| Hit { version, nonce }));
    let mut hits = hits.filter(|&hit| puzzle.target.is_met_by(&puzzle.hash(hit)));
    hits.next()
}

fn scalar(puzzle: &Puzzle, first: u32, count: u32) -> Option<Hit> {
    puzzle.scan_with(choose(Some("scalar")).unwrap(), first, count)
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
    /// The block among so many versions, its own in the middle.
    fn puzzle(&self, versions: usize) -> Puzzle {
        let mut header = [0; 80];
        header[4..36].copy_from_slice(&self.prev.parse::<Hash>().unwrap().0);
        header[36..68].copy_from_slice(&self.merkle_root.parse::<Hash>().unwrap().0);
        header[68..72].copy_from_slice(&self.time.to_le_bytes());
        header[72..76].copy_from_slice(&self.bits.0.to_le_bytes());
        let mut puzzle = Puzzle::with_versions(header, versions, self.bits.decode().unwrap());
        puzzle.versions[versions / 2] = 1;
        puzzle
    }

    const fn hit(&self) -> Hit {
        Hit { version: 1, nonce: self.nonce }
    }
}

fn finds_real_blocks(kernel: &Kernel, _: Reference) {
    for block in &REAL_BLOCKS {
        for versions in [1, MAX_VERSIONS] {
            let puzzle = block.puzzle(versions);
            assert_eq!(puzzle.hash(block.hit()).to_string(), block.hash);
            let found = puzzle.scan_with(kernel, block.nonce - 500, 1000);
            assert_eq!(found, Some(block.hit()), "{} on block {}", kernel.name, block.hash);
        }
    }
}

fn finds_a_nonce_in_every_lane(kernel: &Kernel, _: Reference) {
    let lanes = u32::try_from(kernel.lanes).unwrap();
    let (puzzle, hit) = (REAL_BLOCKS[0].puzzle(1), REAL_BLOCKS[0].hit());
    let nonce = hit.nonce;
    for before in 0..2 * lanes {
        for after in (0..=2 * lanes).step_by(3) {
            let found = puzzle.scan_with(kernel, nonce - before, before + 1 + after);
            assert_eq!(found, Some(hit), "{}: {before} before, {after} after", kernel.name);
        }
        let short = puzzle.scan_with(kernel, nonce - before, before);
        assert_eq!(short, None, "{}: the range ends before the nonce", kernel.name);
    }
    let late = puzzle.scan_with(kernel, nonce + 1, 3 * lanes);
    assert_eq!(late, None, "{}: the range starts after the nonce", kernel.name);
}

fn finds_every_version_in_every_lane(kernel: &Kernel, _: Reference) {
    let lanes = u32::try_from(kernel.lanes).unwrap();
    for count in 1..=MAX_VERSIONS + 1 {
        for at in 0..count {
            let mut puzzle = REAL_BLOCKS[1].puzzle(count);
            puzzle.versions.swap(at, count / 2);
            let hit = REAL_BLOCKS[1].hit();
            // Goes through all lanes twice over the counts and places.
            let before = u32::try_from(count + 3 * at).unwrap() % lanes;
            let found = puzzle.scan_with(kernel, hit.nonce - before, 2 * lanes);
            assert_eq!(found, Some(hit), "{}: version {at} of {count}", kernel.name);
        }
    }
}

fn takes_a_hash_equal_to_the_target(kernel: &Kernel, _: Reference) {
    let puzzle = Puzzle::new([0x33; 80], Target::MAX);
    for nonce in 0..64 {
        let hash = puzzle.hash(puzzle.hit(nonce)).to_uint();
        let equal = puzzle.with_target(hash).scan_with(kernel, nonce, 1);
        assert_eq!(equal, Some(puzzle.hit(nonce)), "{}", kernel.name);
        let below = puzzle.with_target(hash - U256::ONE).scan_with(kernel, nonce, 1);
        assert_eq!(below, None, "{}", kernel.name);
    }
}

fn returns_the_first_of_several_hits(kernel: &Kernel, reference: Reference) {
    let everything = Puzzle::with_versions([0x44; 80], 4, Target::MAX);
    for first in 0..40 {
        let found = everything.scan_with(kernel, first, 100);
        assert_eq!(found, Some(everything.hit(first)), "{}", kernel.name);
    }
    for versions in [1, 4] {
        // About eight nonces with hits in the range, or 32.
        let target = Target::from_uint(U256::MAX >> 5);
        let puzzle = Puzzle::with_versions([0x44; 80], versions, target);
        let (mut first, end) = (0, 256);
        let mut hits = 0;
        while let Some(hit) = reference(&puzzle, first, end - first) {
            let found = puzzle.scan_with(kernel, first, end - first);
            assert_eq!(found, Some(hit), "{} from {first} on", kernel.name);
            hits += 1;
            first = hit.nonce + 1;
        }
        assert!(hits > 2, "the header was chosen to have several");
    }
}

fn returns_the_first_version_of_a_nonce(kernel: &Kernel, reference: Reference) {
    // Half of all headers are hits: many nonces have several.
    let mut puzzle =
        Puzzle::with_versions([0x66; 80], MAX_VERSIONS, Target::from_uint(U256::MAX >> 1));
    for first in 0..32 {
        let found = puzzle.scan_with(kernel, first, 8);
        assert_eq!(found, reference(&puzzle, first, 8), "{} from {first} on", kernel.name);
        puzzle.versions.rotate_left(1);
    }
}

fn returns_none_without_a_hit(kernel: &Kernel, _: Reference) {
    let nothing = Puzzle::with_versions([0x55; 80], 2, Target::from_uint(U256::ZERO));
    assert_eq!(nothing.scan_with(kernel, 0, 2000), None, "{}", kernel.name);
    let everything = Puzzle::with_versions([0x55; 80], 2, Target::MAX);
    assert_eq!(everything.scan_with(kernel, 17, 0), None, "{}: an empty range", kernel.name);
}

fn ends_at_the_last_nonce(kernel: &Kernel, reference: Reference) {
    // A header whose nonce 0 meets a target that the last nonces do not: a wrap would find it.
    let puzzle = (0..=255)
        .map(|byte| {
            let puzzle = Puzzle::new([byte; 80], Target::MAX);
            puzzle.with_target(puzzle.hash(puzzle.hit(0)).to_uint())
        })
        .find(|puzzle| reference(puzzle, u32::MAX - 40, 41).is_none())
        .unwrap();
    for (first, count) in [(u32::MAX, 1), (u32::MAX, u32::MAX), (u32::MAX - 40, 100)] {
        assert_eq!(puzzle.scan_with(kernel, first, count), None, "{} wrapped", kernel.name);
    }

    let last = puzzle.with_target(puzzle.hash(puzzle.hit(u32::MAX)).to_uint());
    for before in 0..40 {
        let first = u32::MAX - before;
        let found = last.scan_with(kernel, first, before + 1);
        assert_eq!(found, reference(&last, first, before + 1), "{}", kernel.name);
        assert!(found.is_some(), "the last nonce is in the range");
        let beyond = last.scan_with(kernel, first, before + 50);
        assert_eq!(beyond, found, "{}: what is beyond the last nonce is left out", kernel.name);
    }
}

fn equals_the_reference_on_random_headers(kernel: &Kernel, reference: Reference) {
    let range = (any::<u32>(), 0_u32..200);
    let versions = prop::collection::vec(any::<u32>(), 1..=MAX_VERSIONS + 1);
    let puzzles = (any::<[[u8; 40]; 2]>(), versions, 0_usize..14);
    proptest!(|((halves, versions, zero_bits) in puzzles, (first, count) in range)| {
        let header = halves.concat().try_into().expect("two halves");
        let target = Target::from_uint(U256::MAX >> zero_bits);
        let puzzle = Puzzle { header, versions, target };
        let found = puzzle.scan_with(kernel, first, count);
        let expected = reference(&puzzle, first, count);
        prop_assert_eq!(found, expected, "{} on {:02x?}", kernel.name, puzzle);
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
    let scan = Scan::new(&header, &[5, 7], target);
    assert_eq!(scan.tail, [0x4041_4243, 0x4445_4647, 0x4849_4a4b]);
    assert_eq!(scan.top_word(), 0);
    assert_eq!(scan.versions[1].number, 7);
    assert_ne!(scan.versions[1].midstate, scan.versions[0].midstate);
    header[..4].fill(0xff);
    header[76..].fill(0xff);
    let other = Scan::new(&header, &[5, 7], target);
    assert_eq!(other, scan, "the header's own version and nonce do not matter");
    let easy = Scan::new(&header, &[5], Target::from_uint(U256::MAX >> 4));
    assert_eq!(easy.top_word(), 0x0fff_ffff);
}

#[test]
fn names_are_unique_and_lanes_divide_the_nonces() {
    for (at, kernel) in KERNELS.iter().enumerate() {
        assert!(kernel.lanes.is_power_of_two(), "{}", kernel.name);
        assert!(KERNELS[..at].iter().all(|other| other.name != kernel.name), "{}", kernel.name);
    }
}

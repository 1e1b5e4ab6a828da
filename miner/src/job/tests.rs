use super::*;
use crate::bench::unreachable_job;

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks_exact(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn internal_hash(hex: &str) -> Hash {
    Hash(bytes(hex).try_into().unwrap())
}

/// A `mining.notify` of Stratum v1 and the header that a stock miner assembles from it.
#[test]
fn header_equals_that_of_a_stratum_miner() {
    // Stratum sends the previous hash with each 4-byte word reversed.
    let words = bytes("0c63863b3e66db78399bb296ae0e63acaf0814df299b5e8a59b62c66650d0e83");
    let prev: Vec<u8> = words.chunks_exact(4).flat_map(|word| word.iter().rev().copied()).collect();
    let job = Job {
        id: 0x1a,
        version: 0x2000_0000,
        prev: Hash(prev.try_into().unwrap()),
        coinbase_prefix: bytes(concat!(
            "01000000010000000000000000000000000000000000000000000000000000000000000000",
            "ffffffff1003701101",
        )),
        coinbase_suffix: bytes(concat!(
            "2f6b762fffffffff010000000000000000226a2070cf603c9b18678ef42d11834f5685f4ae9f",
            "d5e1f96a6ea2f5584719e6bee0bd00000000",
        )),
        branch: vec![
            internal_hash("ba7b78fe1b215636d326b297f0a60df4f20b9e3cbaa0bc0e76a093b4d88d087c"),
            internal_hash("89c76c3eb6cab8c3a04c759a445fc64a8e09cf8b3035be4183244a4e714ee75b"),
            internal_hash("f3d4aa59e8722e83f7625eb73eeb46fd05521d5d3341c76fda50cd86dbe17e09"),
        ],
        bits: CompactTarget(0x1e00_ffff),
        ..unreachable_job()
    };
    let solution = Solution {
        job_id: 0x1a,
        version: 0x2000_0000,
        // Extranonce 1 is 0a0b0c0d, extranonce 2 is 01000000.
        extranonce: u64::from_le_bytes([0x0a, 0x0b, 0x0c, 0x0d, 1, 0, 0, 0]),
        time: 0x68a5_c0de,
        nonce: 0x7856_3412,
    };
    assert_eq!(job.coinbase(solution.extranonce).len(), 110);
    let header = job.header(&solution);
    let expected = bytes(concat!(
        "000000203b86630c78db663e96b29b39ac630eaedf1408af8a5e9b29662cb659830e0d65",
        "48764e7f7df3b1004479fd64182eea1bf58ee43d6f4827edd68bc5cd3cb9a090",
        "dec0a568ffff001e12345678",
    ));
    assert_eq!(header[..], expected);
    let hash = "b82c37ca3d9e82ee25ec1b0a8600cf9fadb4260d88a3c7938dd3d8452fa247a8";
    assert_eq!(sha256d(&header).to_string(), hash);
}

#[test]
fn without_branch_the_root_is_the_coinbase_hash() {
    let job = Job {
        coinbase_prefix: vec![1, 2, 3],
        coinbase_suffix: vec![4, 5],
        branch: vec![],
        ..unreachable_job()
    };
    let coinbase = [1, 2, 3, 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01, 4, 5];
    assert_eq!(job.coinbase(0x0123_4567_89ab_cdef), coinbase);
    assert_eq!(job.merkle_root(0x0123_4567_89ab_cdef), sha256d(&coinbase));
}

#[test]
fn a_short_extranonce_is_the_low_bytes() {
    let job = |extranonce_bytes| Job {
        coinbase_prefix: vec![1],
        coinbase_suffix: vec![2],
        extranonce_bytes,
        ..unreachable_job()
    };
    assert_eq!(job(1).coinbase(0x0123_4567_89ab_cdef), [1, 0xef, 2]);
    assert_eq!(job(3).coinbase(0x0123_4567_89ab_cdef), [1, 0xef, 0xcd, 0xab, 2]);
    assert_eq!([1, 4, 8].map(|n| job(n).extranonce_max()), [0xff, 0xffff_ffff, u64::MAX]);
}

#[test]
fn version_mask_is_bits_13_to_28() {
    assert_eq!(VERSION_MASK, (13..=28).map(|bit| 1 << bit).sum::<u32>());
}

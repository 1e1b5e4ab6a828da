//! Rows whose compression function comes from a library.

use super::{Hit, Scan, single};

/// Scans with the `sha2` crate, which takes the CPU's SHA instructions by itself where it can.
pub(super) fn scan_sha2(scan: &Scan, first: u32, count: u32) -> Option<Hit> {
    single::scan(scan, first, count, |hash, block| {
        sha2::block_api::compress256(hash, std::slice::from_ref(block));
    })
}

/// Scans with the `sha2-asm` crate: scalar assembly.
#[cfg(all(target_arch = "x86_64", not(windows)))]
pub(super) fn scan_sha2_asm(scan: &Scan, first: u32, count: u32) -> Option<Hit> {
    single::scan(scan, first, count, |hash, block| {
        sha2_asm::compress256(hash, std::slice::from_ref(block));
    })
}

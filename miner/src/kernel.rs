//! The table of ways to search a range of nonces.
//!
//! A kernel is a row of [`KERNELS`]: a pure function from a [`Scan`] and a range of nonces to the
//! first [`Hit`]. A scan holds one header in several versions: they differ in the first 64 bytes
//! alone, so that work on the other 16 can be shared. Rows differ in speed alone. Each instruction
//! set has one file in `kernel/`, the only folder of the workspace that may use `unsafe`;
//! `kernel/scalar.rs` is the reference that every other row is tested against. How to add a row:
//! `docs/mining.md`.

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx2;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx512;
mod library;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod schedule;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod sha_ni;
mod single;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod wide;

use crate::pow::Target;

/// How many versions a scan should hold where that many may be tried: what all of them share then
/// costs each almost nothing, and more would gain less than half a percent.
pub const MAX_VERSIONS: usize = 16;

/// What a kernel needs of a header: all that stays the same while only version and nonce change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// The versions to try with each nonce.
    pub versions: Vec<Version>,
    /// The header's bytes 64..76 (end of the merkle root, time, bits) as big-endian words.
    pub tail: [u32; 3],
    /// The number that the header's hash must not exceed.
    pub target: Target,
}

/// A header's version and what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// The header's version field.
    pub number: u32,
    /// SHA-256's state after the header's first 64 bytes.
    pub midstate: [u32; 8],
}

/// A header that meets the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The header's version field.
    pub version: u32,
    /// The header's nonce.
    pub nonce: u32,
}

impl Scan {
    /// Prepares the search of an 80-byte header with each of these versions; its own version and
    /// its last four bytes, the nonce, do not matter.
    #[must_use]
    pub fn new(header: &[u8; 80], versions: &[u32], target: Target) -> Self {
        let (first_block, rest) =
            header.split_first_chunk::<64>().expect("a header is longer than a block");
        let versions = versions.iter().map(|&number| {
            let mut block = *first_block;
            block[..4].copy_from_slice(&number.to_le_bytes());
            let mut midstate = scalar::INITIAL_HASH;
            scalar::compress(&mut midstate, &block);
            Version { number, midstate }
        });
        let (words, _) = rest.as_chunks::<4>();
        let tail = std::array::from_fn(|i| u32::from_be_bytes(words[i]));
        Self { versions: versions.collect(), tail, target }
    }

    /// Returns the target's most significant 32 bits: a hash whose own are above cannot meet it.
    #[must_use]
    pub fn top_word(&self) -> u32 {
        let top_limb = self.target.to_uint().as_limbs()[3];
        u32::try_from(top_limb >> 32).expect("half a limb is left")
    }
}

/// One way to search nonces.
#[derive(Debug)]
pub struct Kernel {
    /// The name that `--kernel` takes and reports show.
    pub name: &'static str,
    /// How many nonces one step tries at once, with each version; a power of two. Batches are
    /// multiples of it.
    pub lanes: usize,
    /// Tells whether this CPU can run the row; `scan` must not be called when it cannot.
    pub available: fn() -> bool,
    /// Returns the first header among the `count` nonces from `first` on that meets the target:
    /// the lowest nonce, and if it does so with several versions, the first of them in the scan.
    ///
    /// The range does not wrap: it ends at `u32::MAX` when `first + count` is beyond 2^32.
    pub scan: fn(&Scan, first: u32, count: u32) -> Option<Hit>,
}

/// All rows, best first. Wider instruction sets stand above the libraries, and the reference,
/// which runs everywhere, comes last.
pub static KERNELS: &[Kernel] = &[
    #[cfg(target_arch = "x86_64")]
    Kernel {
        name: "avx512",
        lanes: avx512::LANES,
        available: avx512::available,
        scan: avx512::scan,
    },
    #[cfg(target_arch = "x86_64")]
    Kernel {
        name: "sha-ni",
        lanes: sha_ni::LANES,
        available: sha_ni::available,
        scan: sha_ni::scan,
    },
    #[cfg(target_arch = "x86_64")]
    Kernel { name: "avx2", lanes: avx2::LANES, available: avx2::available, scan: avx2::scan },
    Kernel { name: "sha2", lanes: 1, available: always, scan: library::scan_sha2 },
    #[cfg(all(target_arch = "x86_64", not(windows)))]
    Kernel { name: "sha2-asm", lanes: 1, available: always, scan: library::scan_sha2_asm },
    Kernel { name: "scalar", lanes: 1, available: always, scan: scalar::scan },
];

/// The `available` of rows that every CPU of their architecture can run.
const fn always() -> bool {
    true
}

/// Why no kernel could be chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// No row has this name.
    #[error("no kernel is called {name:?}, this machine can run: {}", .available.join(", "))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The rows that could be chosen instead, best first.
        available: Vec<&'static str>,
    },
    /// The row exists but this CPU lacks its instructions.
    #[error("this CPU cannot run kernel {name:?}, it can run: {}", .available.join(", "))]
    Unavailable {
        /// The name asked for.
        name: &'static str,
        /// The rows that could be chosen instead, best first.
        available: Vec<&'static str>,
    },
}

/// Chooses a row of [`KERNELS`] by name, or without a name the first that this CPU can run: a
/// guess at once, where [`crate::bench::fastest`] takes its time to measure.
///
/// # Errors
/// [`KernelError`] when the name is unknown or names a row that this CPU cannot run.
pub fn choose(name: Option<&str>) -> Result<&'static Kernel, KernelError> {
    choose_from(KERNELS, name)
}

fn choose_from(
    rows: &'static [Kernel],
    name: Option<&str>,
) -> Result<&'static Kernel, KernelError> {
    let mut runnable = rows.iter().filter(|row| (row.available)());
    let Some(name) = name else {
        return Ok(runnable.next().expect("the scalar row runs everywhere"));
    };
    let named = rows.iter().find(|row| row.name == name);
    let error = match named {
        Some(row) if (row.available)() => return Ok(row),
        Some(row) => {
            let available = runnable.map(|row| row.name).collect();
            KernelError::Unavailable { name: row.name, available }
        }
        None => {
            let available = runnable.map(|row| row.name).collect();
            KernelError::Unknown { name: name.to_owned(), available }
        }
    };
    Err(error)
}

/// The nonces of a range that does not wrap.
fn nonces(first: u32, count: u32) -> impl Iterator<Item = u32> {
    let last = first.saturating_add(count.saturating_sub(1));
    (first..=last).take(count as usize)
}

/// Cuts a range that does not wrap into steps of `lanes` nonces, the last maybe shorter: the first
/// nonce and the number of each.
#[cfg(target_arch = "x86_64")]
fn steps(first: u32, count: u32, lanes: usize) -> impl Iterator<Item = (u32, u32)> {
    let last = first.saturating_add(count.saturating_sub(1));
    let whole = u32::try_from(lanes).expect("a step has few nonces");
    let firsts = (first..=last).step_by(lanes).take(count as usize);
    firsts.map(move |at| (at, (last - at).saturating_add(1).min(whole)))
}

/// Repeats a block with a constant counting through a list.
#[cfg(target_arch = "x86_64")]
macro_rules! unroll {
    ($t:ident in $($n:literal)* $body:block) => { $({ const $t: usize = $n; $body })* };
}
#[cfg(target_arch = "x86_64")]
use unroll;

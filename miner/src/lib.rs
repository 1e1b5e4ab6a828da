//! Proof of work: hashes, targets, kernels and search threads.
//!
//! The crate knows bytes, not blocks. [`pow`] defines what a hash, a target and an amount of work
//! are, for mining and for verification alike; a [`Job`] says what to mine; a [`Kernel`] tries
//! nonces; a [`Search`] keeps threads busy with the newest job; [`mod@bench`] measures them.

pub mod bench;
pub mod job;
pub mod kernel;
pub mod pow;
pub mod search;
pub mod stratum;

pub use job::{Job, Solution};
pub use kernel::{Hit, KERNELS, Kernel, KernelError, Scan};
pub use pow::{
    CompactError, CompactTarget, Hash, ParseHashError, Target, Work, sha256d, sha256d_pair,
};
pub use search::{Pin, Search, SearchOptions, Until};

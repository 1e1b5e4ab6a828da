//! What a valid history is.
//!
//! The chain orders blocks of signed transactions and knows nothing of keys or values: what
//! transactions mean is asked of one trait, [`execute::StateMachine`].

pub mod audit;
pub mod block;
pub mod commitment;
pub mod execute;
pub mod header;
pub mod landmarks;
pub mod ledger;
pub mod light;
pub mod mempool;
pub mod params;
pub mod presync;
pub mod rules;
#[cfg(not(target_family = "wasm"))]
pub mod snapshot;
pub mod store;
pub mod template;
pub mod tree;
pub mod tx;
pub mod verify;

pub use miner::{CompactTarget, Hash, Target, Work, sha256d, sha256d_pair};

//! What the ordered operations mean: keys with numbered versions, owners, and coins.
//!
//! [`KeyValue`] is the chain's [`chain::execute::StateMachine`]: a pure fold of blocks over rows.
//! The crate has no store of its own: its rows live in the chain's one ordered map, so a block,
//! its undo and its rows are one transaction by construction. [`Query`] reads them back.

pub mod history;
pub mod operation;
pub mod outcome;
pub mod proof;
pub mod query;
pub mod state;

mod execute;
#[cfg(not(target_family = "wasm"))]
mod transfer;

pub use execute::KeyValue;
pub use operation::{Expect, MAX_KEY_BYTES, Operation, OperationError};
pub use outcome::{Effect, Outcome, Reason};
pub use query::{Entry, Query};
pub use state::{Head, VersionKind};

#[cfg(test)]
mod model;
#[cfg(test)]
mod testing;

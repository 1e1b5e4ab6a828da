//! Snapshots: the state after a block as a file, with what shows that the chain commits to it.
//!
//! Nothing in a snapshot is believed. The headers are checked by every rule for headers; the block
//! at their end is checked alone, and its coinbase names the root of the state after it; the rows
//! that the root covers must come to that root; every other row must follow from those, or from
//! coinbases that the headers commit to. What a snapshot cannot show is that the miners on top of
//! the block executed it: whoever restores one trusts the most work with that, as a light client
//! does. Bytes: see docs/format.md, "Snapshots".

mod create;
mod form;
mod restore;
mod trie;

use std::ops::RangeInclusive;
use std::path::PathBuf;

use miner::{Hash, Work};

use crate::block::Coinbase;
use crate::execute::{Row, StateMachine, View};
use crate::params::Network;
use crate::rules::RuleError;
use crate::store::{ChainPoint, StoreError};

pub use create::create;
pub use restore::{RestoreOptions, restore};

/// Blocks below the tip at which a snapshot is taken, unless somebody says otherwise: it would be
/// of no use to anybody if its block were taken off the chain.
pub const STANDARD_DEPTH: u32 = 6;

/// Most blocks below the tip: what undoes them is held in memory.
pub const MAX_DEPTH: u32 = 100;

/// A state machine whose state can be handed over.
///
/// Each row is one of two kinds: it is carried in the snapshot and a [`RowCheck`] says whether it
/// can be there, or it follows from the coinbase of a block ([`Transferable::row_of`]).
pub trait Transferable: StateMachine {
    /// Whether a row of this key is carried. [`StateMachine::commits_to`] implies it.
    fn is_carried(&self, row_key: &[u8]) -> bool;

    /// Blocks whose coinbases tell what the rows are that are not carried, in the state after the
    /// block at `height`. Its end is `height`.
    fn coinbases(&self, network: &Network, height: u32) -> RangeInclusive<u32>;

    /// The row that follows from one of these coinbases.
    fn row_of(&self, network: &Network, height: u32, coinbase: &Coinbase) -> Option<Row>;

    /// Begins to look at the rows of a state.
    fn row_check(&self) -> Box<dyn RowCheck>;
}

/// Looks at all carried rows of one state, in the order of their keys.
pub trait RowCheck {
    /// Takes the next row. `view` has at least the rows before it.
    ///
    /// # Errors
    /// [`RowFault::Lie`] when it cannot be there if the rows that the root covers are right.
    fn row(&mut self, view: &dyn View, key: &[u8], value: &[u8]) -> Result<(), RowFault>;

    /// Hears that there are no more.
    ///
    /// # Errors
    /// When some are missing.
    fn end(&mut self) -> Result<(), RowFault>;
}

/// Why a row is not taken.
#[derive(Debug, thiserror::Error)]
pub enum RowFault {
    /// It cannot be in the state.
    #[error("{0}")]
    Lie(String),
    /// The store failed: we are at fault.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a snapshot cannot be made, or is refused.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no block so deep.
    #[error(
        "the chain has height {height}: there is no block {depth} below its tip to take the \
             state of; wait, or name a smaller --depth"
    )]
    TooShort {
        /// Height of the tip.
        height: u32,
        /// Blocks below it.
        depth: u32,
    },
    /// There is nothing left that undoes blocks so deep.
    #[error(
        "the state at height {height} cannot be made any more: nothing undoes blocks up to height \
         {undo_from}, because that was pruned or the folder began with a snapshot; name a smaller \
         --depth"
    )]
    NoUndo {
        /// Where the snapshot was to be.
        height: u32,
        /// The lowest state that can be made.
        undo_from: u32,
    },
    /// A block from whose coinbase rewards still follow is not here.
    #[error(
        "the body of block {0} is not here: it was pruned, or is still to be fetched from peers"
    )]
    NoBody(u32),
    /// Something else.
    #[error("this is no snapshot")]
    NotSnapshot,
    /// Written by a newer program.
    #[error("the snapshot's format version {found} is newer than this program's {known}")]
    TooNew {
        /// In the file.
        found: u32,
        /// The newest this program knows.
        known: u32,
    },
    /// Of another network.
    #[error("the snapshot belongs to another network (genesis {found}, wanted {wanted})")]
    OtherNetwork {
        /// Genesis hash in the file.
        found: Hash,
        /// Genesis hash of the network asked for.
        wanted: Hash,
    },
    /// Bytes are not what was written.
    #[error("the snapshot is damaged at offset {offset}: {what}; get it again")]
    Damaged {
        /// First byte of the damaged part.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A header or the last block breaks a rule.
    #[error("the snapshot is not of a valid chain: block {height}: {error}")]
    Rule {
        /// Where.
        height: u32,
        /// Which rule.
        error: RuleError,
    },
    /// Its chain has less work than the network's is known to have.
    #[error("the snapshot's chain has work {found}, the network's has at least {wanted}")]
    LittleWork {
        /// In the file.
        found: Work,
        /// The landmark.
        wanted: Work,
    },
    /// The chain does not commit to what it says.
    #[error("the snapshot lies: {0}")]
    Lie(String),
}

impl From<RowFault> for SnapshotError {
    fn from(fault: RowFault) -> SnapshotError {
        match fault {
            RowFault::Lie(what) => SnapshotError::Lie(what),
            RowFault::Store(error) => SnapshotError::Store(error),
        }
    }
}

/// What a snapshot is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotReport {
    /// The block whose state it is.
    pub block: ChainPoint,
    /// Work of the chain up to it.
    pub work: Work,
    /// Rows carried.
    pub rows: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// How far a snapshot has come, in what there is to count.
#[derive(Clone, Copy, Debug)]
pub enum SnapshotProgress {
    /// Headers, of how many.
    Headers(u32, u32),
    /// Rows.
    Rows(u64),
    /// The trie over the rows, in 256 parts.
    Trie(u32),
}

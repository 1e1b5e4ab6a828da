//! Where blocks and state are kept, in domain words.
//!
//! [`Store`] is what the ledger writes, [`Archive`] what anybody may read. Block bodies go to an
//! append-only log that is synced before the one transaction that makes a block part of the
//! chain; everything else can be rebuilt from that log. A body can be gone again ([`Body`]):
//! damaged, or pruned.

mod body;
#[cfg(not(target_family = "wasm"))]
mod log;
mod memory;
#[cfg(not(target_family = "wasm"))]
mod sqlite;

use std::path::PathBuf;

use miner::Hash;

use crate::block::CheckedBlock;
use crate::commitment::{PageChange, Pages, Witness};
use crate::execute::{Delta, Range, Row, View};
use crate::header::Header;

pub use body::{Body, Damage, Storage};
#[cfg(not(target_family = "wasm"))]
pub use log::{RecordLog, TORN_TAIL_LIMIT_BYTES};
pub use memory::MemoryStore;
#[cfg(not(target_family = "wasm"))]
pub use sqlite::{
    BackupProgress, BackupReport, Foundation, IndexWriter, SqliteArchive, SqliteStore,
};

/// What is wrong with the store. Always our fault or our machine's, never a peer's.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// SQLite refused.
    #[error("index {path}: {message}")]
    Index {
        /// The index file.
        path: PathBuf,
        /// What SQLite said.
        message: String,
    },
    /// Bytes on disk are not what was written.
    #[error("{path}: damaged at offset {offset}: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// First bad byte.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// The index contradicts itself or the log; `graven reindex` rebuilds it.
    #[error("{path}: {what}; `graven reindex` rebuilds the index from the block log")]
    Inconsistent {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The folder holds another network's chain.
    #[error("{path} belongs to another network (genesis {found}, wanted {wanted})")]
    OtherNetwork {
        /// The file.
        path: PathBuf,
        /// Genesis hash in the file.
        found: Hash,
        /// Genesis hash of the network asked for.
        wanted: Hash,
    },
    /// Written by a program that made blocks without state roots.
    #[error(
        "{path} is of a chain whose blocks do not commit to the state: they are not valid any \
         more. Move blocks.log, pending.log and index.sqlite* out of the data folder and start \
         again, to get the chain from peers; leave wallet.key where it is"
    )]
    NoStateRoots {
        /// The file.
        path: PathBuf,
    },
    /// The best chain leaves ours below what can be undone.
    #[error(
        "the chain with most work leaves ours below height {to}, and there is nothing to undo up \
         to height {pruned}: it was pruned, or this folder began with a snapshot. So this node \
         cannot go there. Find out which chain is right. If it is the other one, move blocks.log \
         and index.sqlite* out of the data folder and start again, to fetch it from peers, or \
         restore another snapshot; leave wallet.key where it is"
    )]
    Pruned {
        /// Height up to which there is nothing to undo.
        pruned: u32,
        /// The lowest block of ours that would have to be taken off.
        to: u32,
    },
    /// Nothing more is written after a failure: what reached the disk is unknown.
    #[error("the store has failed before; start again, which finds out what is on disk")]
    Stopped,
    /// Written by a newer program.
    #[error("{path}: format version {found} is newer than this program's {known}")]
    TooNew {
        /// The file.
        path: PathBuf,
        /// In the file.
        found: u32,
        /// The newest this program knows.
        known: u32,
    },
}

/// A position on the main chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainPoint {
    /// Distance from genesis.
    pub height: u32,
    /// The block's hash.
    pub hash: Hash,
}

/// Where a transaction stands in the main chain, and what it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// Height of its block.
    pub height: u32,
    /// Position in the block, the coinbase not counted.
    pub position: u32,
    /// The state machine's outcome.
    pub outcome: Vec<u8>,
}

/// A block in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredBlock {
    /// Its id.
    pub hash: Hash,
    /// Its header.
    pub header: Header,
    /// Whether executing it failed.
    pub invalid: bool,
    /// Whether its body is missing, which concerns blocks of the main chain alone.
    pub missing: bool,
}

/// Rows by key, with their values before a block; `None` = absent.
pub type Undo = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// Read access to blocks and state, as of one moment.
pub trait Archive: View + Pages {
    /// The newest block of the main chain.
    ///
    /// # Errors
    /// When the store fails; so for every method here.
    fn tip(&self) -> Result<ChainPoint, StoreError>;

    /// The main chain's block at a height.
    ///
    /// # Errors
    /// When the store fails.
    fn main_hash(&self, height: u32) -> Result<Option<Hash>, StoreError>;

    /// Headers of the main chain from a height on, ascending, at most `limit`.
    ///
    /// # Errors
    /// When the store fails.
    fn main_headers(&self, from: u32, limit: usize) -> Result<Vec<Header>, StoreError>;

    /// Height of a block of the main chain; `None` for others.
    ///
    /// # Errors
    /// When the store fails.
    fn main_height(&self, hash: &Hash) -> Result<Option<u32>, StoreError>;

    /// The body of a stored block, on the main chain or not.
    ///
    /// # Errors
    /// When the store fails. That the body is damaged is a result.
    fn body(&self, hash: &Hash) -> Result<Body, StoreError>;

    /// Height up to which bodies and undo of the main chain were removed; 0 = none were.
    ///
    /// # Errors
    /// When the store fails.
    fn pruned(&self) -> Result<u32, StoreError>;

    /// Where a transaction stands in the main chain.
    ///
    /// # Errors
    /// When the store fails.
    fn inclusion(&self, txid: &Hash) -> Result<Option<Inclusion>, StoreError>;

    /// Ids of the transactions of the main chain's block at `height`, in no order. Looks through
    /// all there are: for a block whose body is gone.
    ///
    /// # Errors
    /// When the store fails.
    fn txids_at(&self, height: u32) -> Result<Vec<Hash>, StoreError>;

    /// What the rows that the main chain's block at `height` changed were before it.
    ///
    /// # Errors
    /// When the store fails or has no such block.
    fn undo(&self, height: u32) -> Result<Undo, StoreError>;

    /// Pages of the commitment to the state, in the order of their prefixes.
    ///
    /// # Errors
    /// When the store fails.
    fn page_range(&self, range: Range<'_>) -> Result<Vec<Row>, StoreError>;

    /// What shows that the state after the tip has the row `key` as it is, or has none, to
    /// somebody who knows the tip's state root.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    fn witness(&self, key: &[u8]) -> Result<Witness, StoreError> {
        Witness::of(self, key)
    }

    /// Height after the newest locator entry on the main chain (after genesis if none is).
    ///
    /// # Errors
    /// When the store fails.
    fn height_after(&self, locator: &[Hash]) -> Result<u32, StoreError> {
        let known = locator.iter().find_map(|hash| self.main_height(hash).transpose());
        Ok(known.transpose()?.map_or(1, |height| height + 1))
    }

    /// Headers from that height on, ascending, at most `limit`.
    ///
    /// # Errors
    /// When the store fails.
    fn headers_after(&self, locator: &[Hash], limit: usize) -> Result<Vec<Header>, StoreError> {
        self.main_headers(self.height_after(locator)?, limit)
    }
}

/// What the ledger writes. One owner, who sees at once what it has written; everybody else sees it
/// after [`Store::commit`], all or nothing.
pub trait Store: Archive + Send {
    /// Every stored block but genesis, in the order in which they arrived.
    ///
    /// # Errors
    /// When the store fails; so for every method here.
    fn stored_blocks(&self) -> Result<Vec<StoredBlock>, StoreError>;

    /// The next block of the log that the index lacks, as its bytes. After a crash these are
    /// few; after a lost index all.
    ///
    /// # Errors
    /// When the store fails.
    fn next_unindexed(&mut self) -> Result<Option<Vec<u8>>, StoreError>;

    /// Share of the log's bytes that the index covers, 0.0 to 1.0, for progress reports.
    fn indexed_share(&self) -> f64;

    /// Notes the block last returned by [`Store::next_unindexed`] in the index.
    ///
    /// # Errors
    /// When the store fails.
    fn index_unindexed(&mut self, block: &CheckedBlock) -> Result<(), StoreError>;

    /// Keeps a block body, or puts it back if it was missing.
    ///
    /// # Errors
    /// When the store fails.
    fn append(&mut self, block: &CheckedBlock) -> Result<(), StoreError>;

    /// Makes a stored block the new tip: writes chain row, undo, state rows, pages and outcomes.
    ///
    /// # Errors
    /// When the store fails.
    fn connect(
        &mut self,
        block: &CheckedBlock,
        height: u32,
        delta: &Delta,
    ) -> Result<(), StoreError>;

    /// Takes note that a stored body is not what it was. Of a block of the main chain all else
    /// stays, and its body is missing from now on; any other block is forgotten.
    ///
    /// # Errors
    /// When the store fails.
    fn lose_body(&mut self, hash: &Hash) -> Result<(), StoreError>;

    /// What bodies take, and which are gone.
    ///
    /// # Errors
    /// When the store fails.
    fn storage(&self) -> Result<Storage, StoreError>;

    /// Bytes of all bodies that are here. The first call may take long.
    ///
    /// # Errors
    /// When the store fails.
    fn body_bytes(&mut self) -> Result<u64, StoreError>;

    /// Lengths of the bodies of the main chain from a height on, ascending, at most `limit`; 0 =
    /// the body is not here.
    ///
    /// # Errors
    /// When the store fails.
    fn body_lengths(&mut self, from: u32, limit: usize) -> Result<Vec<u32>, StoreError>;

    /// Commits, and removes the bodies and the undo of the main chain's blocks up to a height, and
    /// the blocks of `side`, which are off it. A crash may leave space that nobody uses, nothing
    /// else.
    ///
    /// # Errors
    /// When the store fails.
    fn prune(&mut self, to: u32, side: &[Hash]) -> Result<(), StoreError>;

    /// Takes the tip off the chain and restores the state before it. `txids` are those of its
    /// transactions, `pages` is what [`revert`](crate::commitment::revert) says. If its body is
    /// missing the block is forgotten.
    ///
    /// # Errors
    /// When the store fails.
    fn disconnect(
        &mut self,
        tip: &Hash,
        txids: &[Hash],
        pages: &[PageChange],
    ) -> Result<(), StoreError>;

    /// Brings the bodies kept since the last commit to stable storage, then makes all that was
    /// written since visible, perhaps on another thread after this returns: [`Store::is_settled`]
    /// says when, and must be asked until it does, since one commit begins when that before it has
    /// ended. A crash before it leaves the state of an earlier block, and at most more bodies.
    ///
    /// # Errors
    /// When the store fails, in this commit or the one before.
    fn commit(&mut self) -> Result<(), StoreError>;

    /// Whether everything that [`Store::commit`] was called for is visible. Begins what waited for
    /// its turn.
    ///
    /// # Errors
    /// When the store fails, or has failed since.
    fn is_settled(&mut self) -> Result<bool, StoreError> {
        Ok(true)
    }

    /// Waits until everything that was committed is visible.
    ///
    /// # Errors
    /// When the store fails, or has failed since.
    fn settle(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Remembers that executing a stored block fails.
    ///
    /// # Errors
    /// When the store fails.
    fn mark_invalid(&mut self, hash: &Hash) -> Result<(), StoreError>;

    /// Keeps transactions that this node acknowledges until they are in a block, whatever happens
    /// to the process.
    ///
    /// # Errors
    /// When the store fails.
    fn keep_pending(&mut self, transactions: &[&[u8]]) -> Result<(), StoreError>;

    /// The transactions kept, oldest first.
    ///
    /// # Errors
    /// When the store fails.
    fn pending(&mut self) -> Result<Vec<Vec<u8>>, StoreError>;

    /// Keeps exactly these from now on.
    ///
    /// # Errors
    /// When the store fails.
    fn replace_pending(&mut self, transactions: &[&[u8]]) -> Result<(), StoreError>;

    /// Brings everything to disk, for a clean stop.
    ///
    /// # Errors
    /// When the store fails.
    fn flush(&mut self) -> Result<(), StoreError>;
}

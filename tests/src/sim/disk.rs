//! A store that loses what was not synced.
//!
//! It keeps to what `chain/src/store/sqlite.rs` promises: bodies are on stable storage when
//! `commit` returns; commits of the index reach it in order and whole, at the latest with the next
//! checkpoint; pending transactions reach the operating system at once and stable storage with
//! the next rewrite. So a killed process loses nothing, and a power cut takes the last commits
//! of the index and the last pending transactions.

use std::collections::VecDeque;

use chain::Hash;
use chain::block::CheckedBlock;
use chain::commitment::{PageChange, Pages};
use chain::execute::{Delta, Range, Row, View};
use chain::header::Header;
use chain::params::Network;
use chain::store::{
    Archive, Body, ChainPoint, Inclusion, MemoryStore, Storage, Store, StoreError, StoredBlock,
    Undo,
};
use rand::RngExt;
use rand::rngs::StdRng;

use super::Plant;
use crate::chains::empty_store;

/// Commits after which the index is synced; SQLite does it every 1000 pages.
const CHECKPOINT_COMMITS: usize = 64;

/// Records that a log that lies about syncing loses at most.
const LOST_RECORDS: usize = 8;

/// How a node ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crash {
    /// The process dies, the machine goes on.
    Kill,
    /// The machine loses power.
    PowerCut,
}

/// A change of the index; those between two commits are one transaction.
#[derive(Clone, Debug)]
enum Change {
    Indexed(CheckedBlock),
    Connected(CheckedBlock, u32, Delta),
    Disconnected(Hash, Vec<Hash>, Vec<PageChange>),
    Lost(Hash),
    Invalid(Hash),
}

/// The store of a simulated node.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    /// The index as the process sees it.
    index: MemoryStore,
    /// The index as of the last checkpoint.
    synced: MemoryStore,
    /// Commits since then.
    commits: VecDeque<Vec<Change>>,
    /// Changes since the last commit.
    open: Vec<Change>,
    /// The block log, synced at each commit.
    log: Vec<CheckedBlock>,
    /// Records of the log that the index has.
    indexed: usize,
    /// Records of the log that the index had at the last checkpoint.
    indexed_synced: usize,
    pending: Vec<Vec<u8>>,
    pending_synced: usize,
    plant: Option<Plant>,
    /// It never crashes and undoes nothing, so that a thousand of them fit into memory.
    is_lean: bool,
}

impl Disk {
    /// A new folder.
    pub(super) fn new(network: &Network, plant: Option<Plant>) -> Disk {
        let index = empty_store(network);
        Disk {
            synced: index.clone(),
            index,
            commits: VecDeque::new(),
            open: Vec::new(),
            log: Vec::new(),
            indexed: 0,
            indexed_synced: 0,
            pending: Vec::new(),
            pending_synced: 0,
            plant,
            is_lean: false,
        }
    }

    /// One for a node that never comes back and undoes nothing.
    pub(super) fn lean(network: &Network) -> Disk {
        Disk { is_lean: true, ..Disk::new(network, None) }
    }

    /// The index, for checks.
    pub(super) fn index(&self) -> &MemoryStore {
        &self.index
    }

    /// A block that peers may be given, as the real store's `servable_body`.
    pub(super) fn servable_block(&self, hash: &Hash) -> Option<Vec<u8>> {
        let main = self.index.main_height(hash).expect("memory does not fail");
        main.and_then(|_| self.index.body(hash).expect("memory does not fail").here())
    }

    /// What is found after the process or the machine has ended.
    pub(super) fn after(&self, crash: Crash, draw: &mut StdRng) -> Disk {
        let mut found = self.clone();
        if crash == Crash::Kill {
            return found;
        }
        if self.plant == Some(Plant::AcknowledgeBeforeSync) {
            let lost = draw.random_range(0..=LOST_RECORDS);
            let left = self.log.len().saturating_sub(lost);
            found.log.truncate(left.max(self.indexed_synced));
        }
        let left = draw.random_range(0..=self.commits.len());
        found.index = self.synced.clone();
        found.indexed = self.indexed_synced;
        found.commits.clear();
        for change in self.commits.iter().take(left).flatten() {
            if matches!(change, Change::Indexed(_)) && found.indexed >= found.log.len() {
                break;
            }
            apply(&mut found.index, change);
            found.indexed += usize::from(matches!(change, Change::Indexed(_)));
        }
        found.pending.truncate(draw.random_range(self.pending_synced..=self.pending.len()));
        found.pending_synced = found.pending.len();
        found.synced = found.index.clone();
        found.indexed_synced = found.indexed;
        found
    }

    /// Records of the log that the index lacks.
    pub(super) fn unindexed(&self) -> usize {
        self.log.len() - self.indexed
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.index, &change);
        self.open.push(change);
    }

    fn checkpoint(&mut self) {
        for change in self.commits.drain(..).flatten() {
            apply(&mut self.synced, &change);
        }
        self.indexed_synced = self.indexed;
    }
}

fn apply(index: &mut MemoryStore, change: &Change) {
    let done = match change {
        Change::Indexed(block) => index.append(block),
        Change::Connected(block, height, delta) => index.connect(block, *height, delta),
        Change::Disconnected(tip, txids, pages) => index.disconnect(tip, txids, pages),
        Change::Lost(hash) => index.lose_body(hash),
        Change::Invalid(hash) => index.mark_invalid(hash),
    };
    done.expect("memory does not fail");
}

impl View for Disk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.index.get(key)
    }

    fn range(&self, range: Range<'_>) -> Result<Vec<Row>, StoreError> {
        self.index.range(range)
    }
}

impl Pages for Disk {
    fn page(&self, prefix: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.index.page(prefix)
    }
}

impl Archive for Disk {
    fn tip(&self) -> Result<ChainPoint, StoreError> {
        self.index.tip()
    }

    fn main_hash(&self, height: u32) -> Result<Option<Hash>, StoreError> {
        self.index.main_hash(height)
    }

    fn main_headers(&self, from: u32, limit: usize) -> Result<Vec<Header>, StoreError> {
        self.index.main_headers(from, limit)
    }

    fn main_height(&self, hash: &Hash) -> Result<Option<u32>, StoreError> {
        self.index.main_height(hash)
    }

    fn body(&self, hash: &Hash) -> Result<Body, StoreError> {
        self.index.body(hash)
    }

    fn pruned(&self) -> Result<u32, StoreError> {
        self.index.pruned()
    }

    fn txids_at(&self, height: u32) -> Result<Vec<Hash>, StoreError> {
        self.index.txids_at(height)
    }

    fn inclusion(&self, txid: &Hash) -> Result<Option<Inclusion>, StoreError> {
        self.index.inclusion(txid)
    }

    fn undo(&self, height: u32) -> Result<Undo, StoreError> {
        self.index.undo(height)
    }

    fn page_range(&self, range: Range<'_>) -> Result<Vec<Row>, StoreError> {
        self.index.page_range(range)
    }
}

impl Store for Disk {
    fn stored_blocks(&self) -> Result<Vec<StoredBlock>, StoreError> {
        self.index.stored_blocks()
    }

    fn next_unindexed(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.log.get(self.indexed).map(|block| block.bytes().to_vec()))
    }

    fn indexed_share(&self) -> f64 {
        if self.unindexed() == 0 { 1.0 } else { 0.0 }
    }

    fn index_unindexed(&mut self, block: &CheckedBlock) -> Result<(), StoreError> {
        self.indexed += 1;
        self.change(Change::Indexed(block.clone()));
        Ok(())
    }

    fn append(&mut self, block: &CheckedBlock) -> Result<(), StoreError> {
        self.log.push(block.clone());
        self.index_unindexed(block)
    }

    fn connect(
        &mut self,
        block: &CheckedBlock,
        height: u32,
        delta: &Delta,
    ) -> Result<(), StoreError> {
        self.change(Change::Connected(block.clone(), height, delta.clone()));
        Ok(())
    }

    fn lose_body(&mut self, hash: &Hash) -> Result<(), StoreError> {
        self.change(Change::Lost(*hash));
        Ok(())
    }

    fn storage(&self) -> Result<Storage, StoreError> {
        self.index.storage()
    }

    fn body_bytes(&mut self) -> Result<u64, StoreError> {
        self.index.body_bytes()
    }

    fn body_lengths(&mut self, from: u32, limit: usize) -> Result<Vec<u32>, StoreError> {
        self.index.body_lengths(from, limit)
    }

    fn prune(&mut self, _: u32, _: &[Hash]) -> Result<(), StoreError> {
        unreachable!("simulated nodes keep all bodies")
    }

    fn disconnect(
        &mut self,
        tip: &Hash,
        txids: &[Hash],
        pages: &[PageChange],
    ) -> Result<(), StoreError> {
        if self.plant == Some(Plant::ForgetUndo) {
            self.index.forget_undo();
        }
        self.change(Change::Disconnected(*tip, txids.to_vec(), pages.to_vec()));
        Ok(())
    }

    fn mark_invalid(&mut self, hash: &Hash) -> Result<(), StoreError> {
        self.change(Change::Invalid(*hash));
        Ok(())
    }

    fn keep_pending(&mut self, transactions: &[&[u8]]) -> Result<(), StoreError> {
        self.pending.extend(transactions.iter().map(|bytes| bytes.to_vec()));
        Ok(())
    }

    fn pending(&mut self) -> Result<Vec<Vec<u8>>, StoreError> {
        Ok(self.pending.clone())
    }

    fn replace_pending(&mut self, transactions: &[&[u8]]) -> Result<(), StoreError> {
        self.pending = transactions.iter().map(|bytes| bytes.to_vec()).collect();
        self.pending_synced = self.pending.len();
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        if self.is_lean {
            self.open.clear();
            self.index.forget_undo();
            return Ok(());
        }
        if !self.open.is_empty() {
            self.commits.push_back(std::mem::take(&mut self.open));
        }
        if self.commits.len() >= CHECKPOINT_COMMITS {
            self.checkpoint();
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.commit()?;
        self.checkpoint();
        self.pending_synced = self.pending.len();
        Ok(())
    }
}

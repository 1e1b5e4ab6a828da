//! The newest blocks, at hand for peers that rebuild them.

use std::collections::VecDeque;

use chain::Hash;
use chain::block::CheckedBlock;
use chain::tx::CheckedTransaction;

use crate::wire::{CompactBlock, Message};

/// Blocks this far below the tip are sent in compact form.
const COMPACT_DEPTH: u32 = 5;
/// Of blocks this far below the tip single transactions are sent.
const TRANSACTIONS_DEPTH: u32 = 10;
/// Blocks kept: those of the main chain, and a few rivals.
const MAX_BLOCKS: usize = TRANSACTIONS_DEPTH as usize + 4;

#[derive(Debug)]
struct Entry {
    block: CheckedBlock,
    salt: u64,
}

/// The blocks, oldest first.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    entries: VecDeque<Entry>,
    tip_height: u32,
}

impl Shelf {
    /// Keeps a block, and lets go of the lowest if there are too many. Its compact forms will have
    /// this salt.
    pub(super) fn insert(&mut self, block: CheckedBlock, salt: u64) {
        if self.contains(&block.hash()) {
            return;
        }
        self.entries.push_back(Entry { block, salt });
        if self.entries.len() > MAX_BLOCKS {
            self.entries.pop_front();
        }
    }

    pub(super) fn set_tip_height(&mut self, height: u32) {
        self.tip_height = height;
    }

    pub(super) fn contains(&self, hash: &Hash) -> bool {
        self.find(hash).is_some()
    }

    /// The compact form of a block, if it is near enough to the tip.
    pub(super) fn compact(&self, hash: &Hash) -> Option<Message> {
        let entry = self.find(hash).filter(|entry| self.depth(entry) <= COMPACT_DEPTH)?;
        Some(Message::CompactBlock(CompactBlock::of(&entry.block, entry.salt)))
    }

    /// Transactions of a block; `None` when it is not here, or too deep, or has not so many.
    pub(super) fn transactions(&self, hash: &Hash, indexes: &[u16]) -> Option<Message> {
        let entry = self.find(hash).filter(|entry| self.depth(entry) <= TRANSACTIONS_DEPTH)?;
        let bytes = |index: &u16| {
            let transaction = entry.block.transactions().get(usize::from(*index))?;
            Some(transaction.bytes().to_vec())
        };
        let list = indexes.iter().map(bytes).collect::<Option<Vec<_>>>()?;
        Some(Message::BlockTransactions { hash: *hash, list })
    }

    /// Whether a block is here and has no transaction at the last of these places.
    pub(super) fn lacks(&self, hash: &Hash, indexes: &[u16]) -> bool {
        self.find(hash).is_some_and(|entry| {
            let count = entry.block.transactions().len();
            indexes.last().is_some_and(|last| usize::from(*last) >= count)
        })
    }

    /// Transactions of the blocks at this height and above: a rival of them has many of the same,
    /// and they are no longer in the pool.
    pub(super) fn at_or_above(&self, height: u32) -> impl Iterator<Item = &CheckedTransaction> {
        let high = move |entry: &&Entry| entry.block.coinbase().height >= height;
        self.entries.iter().filter(high).flat_map(|entry| entry.block.transactions())
    }

    fn find(&self, hash: &Hash) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.block.hash() == *hash)
    }

    fn depth(&self, entry: &Entry) -> u32 {
        self.tip_height.saturating_sub(entry.block.coinbase().height)
    }
}

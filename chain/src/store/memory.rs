//! The store in memory, for tests and simulations: the same promises, nothing on disk.

use std::collections::{BTreeMap, BTreeSet};

use miner::Hash;

use super::{Archive, Body, ChainPoint, Inclusion, Storage, Store, StoreError, StoredBlock, Undo};
use crate::block::CheckedBlock;
use crate::commitment::{PageChange, Pages};
use crate::execute::{Delta, Order, Range, Row, RowChange, View};
use crate::header::Header;

/// A store in ordered maps.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    state: BTreeMap<Vec<u8>, Vec<u8>>,
    pages: BTreeMap<Vec<u8>, Vec<u8>>,
    chain: Vec<Connected>,
    heights: BTreeMap<Hash, u32>,
    inclusions: BTreeMap<Hash, Inclusion>,
    arrivals: Vec<StoredBlock>,
    bodies: BTreeMap<Hash, Vec<u8>>,
    missing: BTreeSet<Hash>,
    pruned: u32,
    pending: Vec<Vec<u8>>,
}

#[derive(Clone, Debug)]
struct Connected {
    hash: Hash,
    header: Header,
    rows: Vec<RowChange>,
}

impl MemoryStore {
    /// A store with genesis connected.
    pub fn new(genesis: &CheckedBlock, delta: &Delta) -> MemoryStore {
        let mut store = MemoryStore::default();
        store.push(genesis, 0, delta);
        store
    }

    /// A store whose main chain has these headers, genesis first, and whose state is this: there is
    /// nothing to undo, and no transactions are known.
    pub fn resumed(
        headers: &[Header],
        state: BTreeMap<Vec<u8>, Vec<u8>>,
        pages: &[PageChange],
    ) -> MemoryStore {
        let mut store = MemoryStore { state, ..MemoryStore::default() };
        for (height, header) in (0..).zip(headers) {
            let hash = header.hash();
            store.heights.insert(hash, height);
            store.chain.push(Connected { hash, header: *header, rows: Vec::new() });
        }
        store.write_pages(pages);
        store
    }

    /// Every row of the state, in key order.
    pub fn state(&self) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        &self.state
    }

    /// Every page of the commitment, in the order of their prefixes.
    pub fn pages(&self) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        &self.pages
    }

    /// Forgets how to undo the tip, to save memory where nothing is undone.
    pub fn forget_undo(&mut self) {
        if let Some(tip) = self.chain.last_mut() {
            tip.rows = Vec::new();
        }
    }

    fn push(&mut self, block: &CheckedBlock, height: u32, delta: &Delta) {
        assert_eq!(self.chain.len(), height as usize, "blocks connect in order");
        for row in &delta.rows {
            write_row(&mut self.state, &row.key, row.after.clone());
        }
        self.write_pages(&delta.pages);
        for (position, (transaction, outcome)) in
            (0u32..).zip(block.transactions().iter().zip(&delta.outcomes))
        {
            let inclusion = Inclusion { height, position, outcome: outcome.clone() };
            self.inclusions.insert(transaction.txid(), inclusion);
        }
        self.heights.insert(block.hash(), height);
        let rows = delta.rows.clone();
        self.chain.push(Connected { hash: block.hash(), header: *block.header(), rows });
    }

    fn write_pages(&mut self, pages: &[PageChange]) {
        for page in pages {
            write_row(&mut self.pages, &page.prefix, page.after.clone());
        }
    }
}

impl View for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state.get(key).cloned())
    }

    fn range(&self, range: Range<'_>) -> Result<Vec<Row>, StoreError> {
        Ok(rows_of(&self.state, range))
    }
}

impl Pages for MemoryStore {
    fn page(&self, prefix: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.pages.get(prefix).cloned())
    }
}

impl Archive for MemoryStore {
    fn tip(&self) -> Result<ChainPoint, StoreError> {
        let height = u32::try_from(self.chain.len() - 1).expect("heights are 32-bit");
        let hash = self.chain.last().expect("genesis is never disconnected").hash;
        Ok(ChainPoint { height, hash })
    }

    fn main_hash(&self, height: u32) -> Result<Option<Hash>, StoreError> {
        Ok(self.chain.get(height as usize).map(|block| block.hash))
    }

    fn main_headers(&self, from: u32, limit: usize) -> Result<Vec<Header>, StoreError> {
        let blocks = self.chain.iter().skip(from as usize).take(limit);
        Ok(blocks.map(|block| block.header).collect())
    }

    fn main_height(&self, hash: &Hash) -> Result<Option<u32>, StoreError> {
        Ok(self.heights.get(hash).copied())
    }

    fn body(&self, hash: &Hash) -> Result<Body, StoreError> {
        Ok(match (self.bodies.get(hash), self.heights.get(hash)) {
            (Some(bytes), _) => Body::Here(bytes.clone()),
            (None, Some(height)) if (1..=self.pruned).contains(height) => Body::Pruned,
            (None, _) if self.missing.contains(hash) => Body::Missing,
            (None, _) => Body::Unknown,
        })
    }

    fn pruned(&self) -> Result<u32, StoreError> {
        Ok(self.pruned)
    }

    fn inclusion(&self, txid: &Hash) -> Result<Option<Inclusion>, StoreError> {
        Ok(self.inclusions.get(txid).cloned())
    }

    fn txids_at(&self, height: u32) -> Result<Vec<Hash>, StoreError> {
        let there = self.inclusions.iter().filter(|(_, inclusion)| inclusion.height == height);
        Ok(there.map(|(txid, _)| *txid).collect())
    }

    fn undo(&self, height: u32) -> Result<Undo, StoreError> {
        let rows = self.chain.get(height as usize).map(|block| &block.rows).into_iter().flatten();
        Ok(rows.map(|row| (row.key.clone(), row.before.clone())).collect())
    }

    fn page_range(&self, range: Range<'_>) -> Result<Vec<Row>, StoreError> {
        Ok(rows_of(&self.pages, range))
    }
}

impl Store for MemoryStore {
    fn stored_blocks(&self) -> Result<Vec<StoredBlock>, StoreError> {
        let mut blocks = self.arrivals.clone();
        for block in &mut blocks {
            block.missing = self.missing.contains(&block.hash);
        }
        Ok(blocks)
    }

    fn next_unindexed(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    fn indexed_share(&self) -> f64 {
        1.0
    }

    fn index_unindexed(&mut self, _: &CheckedBlock) -> Result<(), StoreError> {
        Ok(())
    }

    fn append(&mut self, block: &CheckedBlock) -> Result<(), StoreError> {
        let (hash, header) = (block.hash(), *block.header());
        self.bodies.insert(hash, block.bytes().to_vec());
        if !self.missing.remove(&hash) {
            self.arrivals.push(StoredBlock { hash, header, invalid: false, missing: false });
        }
        Ok(())
    }

    fn lose_body(&mut self, hash: &Hash) -> Result<(), StoreError> {
        self.bodies.remove(hash);
        if self.heights.contains_key(hash) {
            self.missing.insert(*hash);
        } else {
            self.arrivals.retain(|stored| stored.hash != *hash);
        }
        Ok(())
    }

    fn connect(
        &mut self,
        block: &CheckedBlock,
        height: u32,
        delta: &Delta,
    ) -> Result<(), StoreError> {
        self.push(block, height, delta);
        Ok(())
    }

    fn storage(&self) -> Result<Storage, StoreError> {
        Ok(Storage { pruned: self.pruned, missing: 0, log_bytes: 0 })
    }

    fn body_bytes(&mut self) -> Result<u64, StoreError> {
        Ok(self.bodies.values().map(|bytes| bytes.len() as u64).sum())
    }

    fn body_lengths(&mut self, from: u32, limit: usize) -> Result<Vec<u32>, StoreError> {
        let blocks = self.chain.iter().skip(from as usize).take(limit);
        let length = |hash: &Hash| self.bodies.get(hash).map_or(0, Vec::len);
        Ok(blocks.map(|block| u32::try_from(length(&block.hash)).unwrap_or(u32::MAX)).collect())
    }

    fn prune(&mut self, to: u32, side: &[Hash]) -> Result<(), StoreError> {
        for block in self.chain.iter_mut().take(to as usize + 1).skip(1) {
            self.bodies.remove(&block.hash);
            self.missing.remove(&block.hash);
            block.rows = Vec::new();
        }
        side.iter().for_each(|hash| _ = self.bodies.remove(hash));
        self.arrivals.retain(|stored| !side.contains(&stored.hash));
        self.pruned = to;
        Ok(())
    }

    fn disconnect(
        &mut self,
        tip: &Hash,
        txids: &[Hash],
        pages: &[PageChange],
    ) -> Result<(), StoreError> {
        let last = self.chain.pop().expect("there is a tip");
        assert_eq!(last.hash, *tip, "only the tip can be disconnected");
        self.heights.remove(&last.hash);
        for row in last.rows {
            write_row(&mut self.state, &row.key, row.before);
        }
        self.write_pages(pages);
        for txid in txids {
            self.inclusions.remove(txid);
        }
        if self.missing.remove(tip) {
            self.arrivals.retain(|stored| stored.hash != *tip);
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        Ok(()) // nobody else reads it
    }

    fn mark_invalid(&mut self, hash: &Hash) -> Result<(), StoreError> {
        for stored in self.arrivals.iter_mut().filter(|stored| stored.hash == *hash) {
            stored.invalid = true;
        }
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
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

fn rows_of(map: &BTreeMap<Vec<u8>, Vec<u8>>, range: Range<'_>) -> Vec<Row> {
    if range.from >= range.to {
        return Vec::new();
    }
    let rows = map.range(range.from.to_vec()..range.to.to_vec());
    let owned = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
    match range.order {
        Order::Ascending => rows.take(range.limit).map(owned).collect(),
        Order::Descending => rows.rev().take(range.limit).map(owned).collect(),
    }
}

fn write_row(state: &mut BTreeMap<Vec<u8>, Vec<u8>>, key: &[u8], value: Option<Vec<u8>>) {
    match value {
        Some(value) => state.insert(key.to_vec(), value),
        None => state.remove(key),
    };
}

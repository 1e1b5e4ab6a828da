//! Rows that SQLite has not been given yet.
//!
//! They are written together, in the order of their keys: a row that changes with every block is
//! written once a commit, and neighbours in a B-tree one after the other. Until then they are
//! looked up much more often than walked over, so they are hashed.

use std::collections::{BTreeMap, HashMap};

use miner::Hash;
use rusqlite::{Connection, params};

use super::put_meta;
use crate::block::CheckedBlock;
use crate::commitment::PageChange;
use crate::execute::{Delta, Order, Range, Row, RowChange};
use crate::header::Header;
use crate::store::log::Location;
use crate::store::{ChainPoint, Inclusion};

/// Bytes of rows after which they are committed, or written, without waiting to be asked.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Bytes counted for each row beside those of its key and value.
const ROW_BYTES: usize = 64;

/// Room for the lengths and the tag of a row in a block's undo.
const UNDO_ROW_BYTES: usize = 11;

/// Where the body of a block is.
#[derive(Debug)]
struct BlockRow {
    header: Header,
    location: Location,
}

/// A block that joined the main chain.
#[derive(Debug)]
pub(super) struct ChainRow {
    pub(super) hash: Hash,
    pub(super) header: Header,
    /// As in the column of this name.
    pub(super) undo: Vec<u8>,
}

/// Rows by key; `None` = removed.
type Changes = HashMap<Vec<u8>, Option<Vec<u8>>>;

/// Bodies that came, blocks that joined the chain, and changes of state rows, pages and
/// inclusions; `None` = removed.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    state: Changes,
    pages: Changes,
    inclusions: HashMap<Hash, Option<Inclusion>>,
    blocks: HashMap<Hash, BlockRow>,
    /// Hashes of `blocks` in order of arrival.
    arrivals: Vec<Hash>,
    chain: BTreeMap<u32, ChainRow>,
    /// Up to where these cover the block log.
    log_end: Option<u64>,
    /// Never less than what is held: rows changed twice count twice.
    bytes: usize,
}

impl Unwritten {
    /// Notes where the body of a block is.
    pub(super) fn set_body(&mut self, hash: Hash, header: Header, location: Location) {
        self.bytes += 4 * ROW_BYTES;
        if self.blocks.insert(hash, BlockRow { header, location }).is_none() {
            self.arrivals.push(hash);
        }
    }

    /// Notes up to where the block log is covered.
    pub(super) fn set_log_end(&mut self, log_end: u64) {
        self.bytes += ROW_BYTES;
        self.log_end = Some(log_end);
    }

    /// Puts a block on the main chain, with all that it changes.
    pub(super) fn connect(&mut self, block: &CheckedBlock, height: u32, delta: &Delta) {
        let undo: Vec<(&[u8], Option<&[u8]>)> =
            delta.rows.iter().map(|row| (&row.key[..], row.before.as_deref())).collect();
        let bytes = |(key, before): &(&[u8], Option<&[u8]>)| {
            UNDO_ROW_BYTES + key.len() + before.map_or(0, <[u8]>::len)
        };
        let buffer = Vec::with_capacity(UNDO_ROW_BYTES + undo.iter().map(bytes).sum::<usize>());
        let undo = postcard::to_extend(&undo, buffer).expect("encoding to memory cannot fail");
        self.bytes += 4 * ROW_BYTES + undo.len();
        self.chain.insert(height, ChainRow { hash: block.hash(), header: *block.header(), undo });
        for RowChange { key, after, .. } in &delta.rows {
            self.set_row(key, after.as_deref());
        }
        delta.pages.iter().for_each(|page| self.set_page(page));
        for (position, (transaction, outcome)) in
            (0u32..).zip(block.transactions().iter().zip(&delta.outcomes))
        {
            let inclusion = Inclusion { height, position, outcome: outcome.clone() };
            self.set_inclusion(transaction.txid(), Some(inclusion));
        }
    }

    /// Changes a row of the state.
    pub(super) fn set_row(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.bytes += ROW_BYTES + key.len() + value.map_or(0, <[u8]>::len);
        self.state.insert(key.to_vec(), value.map(<[u8]>::to_vec));
    }

    /// Changes a page.
    pub(super) fn set_page(&mut self, change: &PageChange) {
        let PageChange { prefix, after } = change;
        self.bytes += ROW_BYTES + prefix.len() + after.as_ref().map_or(0, Vec::len);
        self.pages.insert(prefix.clone(), after.clone());
    }

    /// Changes where a transaction stands.
    pub(super) fn set_inclusion(&mut self, txid: Hash, inclusion: Option<Inclusion>) {
        self.bytes += 2 * ROW_BYTES + inclusion.as_ref().map_or(0, |row| row.outcome.len());
        self.inclusions.insert(txid, inclusion);
    }

    /// What a row of the state has become, if it has changed.
    pub(super) fn row(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        self.state.get(key).map(Option::as_deref)
    }

    /// What a page has become, if it has changed.
    pub(super) fn page(&self, prefix: &[u8]) -> Option<Option<&[u8]>> {
        self.pages.get(prefix).map(Option::as_deref)
    }

    /// What has become of a transaction, if that has changed.
    pub(super) fn inclusion(&self, txid: &Hash) -> Option<Option<&Inclusion>> {
        self.inclusions.get(txid).map(Option::as_ref)
    }

    /// Where the body of a block is, if it came.
    pub(super) fn body(&self, hash: &Hash) -> Option<Location> {
        self.blocks.get(hash).map(|row| row.location)
    }

    /// A block that joined the main chain.
    pub(super) fn chain_row(&self, height: u32) -> Option<&ChainRow> {
        self.chain.get(&height)
    }

    /// The blocks that joined the main chain from a height on, ascending.
    pub(super) fn chain_from(&self, height: u32) -> impl Iterator<Item = (u32, &ChainRow)> {
        self.chain.range(height..).map(|(height, row)| (*height, row))
    }

    /// The newest block that joined the main chain.
    pub(super) fn tip(&self) -> Option<ChainPoint> {
        let (height, row) = self.chain.last_key_value()?;
        Some(ChainPoint { height: *height, hash: row.hash })
    }

    /// Transactions of the main chain's block at a height, given those in SQLite.
    pub(super) fn txids_at<E>(
        &self,
        height: u32,
        written: impl FnOnce() -> Result<Vec<Hash>, E>,
    ) -> Result<Vec<Hash>, E> {
        let mut txids = written()?;
        txids.retain(|txid| !self.inclusions.contains_key(txid));
        let there = |(txid, inclusion): (&Hash, &Option<Inclusion>)| {
            inclusion.as_ref().is_some_and(|inclusion| inclusion.height == height).then_some(*txid)
        };
        txids.extend(self.inclusions.iter().filter_map(there));
        Ok(txids)
    }

    /// Rows of a range with the changes made to them. `written` reads at most so many of those in
    /// SQLite.
    pub(super) fn range<E>(
        &self,
        range: Range<'_>,
        written: impl FnOnce(Range<'_>) -> Result<Vec<Row>, E>,
    ) -> Result<Vec<Row>, E> {
        merged(&self.state, range, written)
    }

    /// Pages of a range, like [`Unwritten::range`].
    pub(super) fn page_range<E>(
        &self,
        range: Range<'_>,
        written: impl FnOnce(Range<'_>) -> Result<Vec<Row>, E>,
    ) -> Result<Vec<Row>, E> {
        merged(&self.pages, range, written)
    }

    /// Whether there is so much that it should be written now.
    pub(super) fn is_much(&self) -> bool {
        self.bytes > MAX_BYTES
    }

    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Writes all of it.
    pub(super) fn write(&self, index: &Connection) -> rusqlite::Result<()> {
        self.write_blocks(index)?;
        let mut set = index.prepare_cached(
            "INSERT INTO state (key, value) VALUES (?1, ?2)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )?;
        let mut remove = index.prepare_cached("DELETE FROM state WHERE key = ?1")?;
        for (key, value) in ascending(&self.state) {
            match value {
                Some(value) => set.execute(params![key, value])?,
                None => remove.execute([key])?,
            };
        }
        let mut set = index.prepare_cached(
            // Of a table that has no other index this overwrites in place, without a look before.
            "INSERT OR REPLACE INTO page (prefix, slots) VALUES (?1, ?2)",
        )?;
        let mut remove = index.prepare_cached("DELETE FROM page WHERE prefix = ?1")?;
        for (prefix, page) in ascending(&self.pages) {
            match page {
                Some(page) => set.execute(params![prefix, page])?,
                None => remove.execute([prefix])?,
            };
        }
        let mut set = index.prepare_cached(
            "INSERT OR REPLACE INTO tx (txid, height, position, outcome) VALUES (?1, ?2, ?3, ?4)",
        )?;
        let mut remove = index.prepare_cached("DELETE FROM tx WHERE txid = ?1")?;
        for (txid, inclusion) in ascending(&self.inclusions) {
            match inclusion {
                Some(Inclusion { height, position, outcome }) => {
                    set.execute(params![&txid.0[..], height, position, outcome])?
                }
                None => remove.execute([&txid.0[..]])?,
            };
        }
        Ok(())
    }

    fn write_blocks(&self, index: &Connection) -> rusqlite::Result<()> {
        let mut set = index.prepare_cached(
            // Of several records of a block the last one counts.
            "INSERT INTO block (hash, header, offset, length) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (hash) DO UPDATE SET offset = excluded.offset, length = excluded.length",
        )?;
        for hash in &self.arrivals {
            let BlockRow { header, location: Location { offset, length } } = &self.blocks[hash];
            let header = header.encode();
            set.execute(params![&hash.0[..], &header[..], offset.cast_signed(), length])?;
        }
        let mut set = index.prepare_cached(
            "INSERT INTO chain (height, hash, header, undo) VALUES (?1, ?2, ?3, ?4)",
        )?;
        for (height, ChainRow { hash, header, undo }) in &self.chain {
            set.execute(params![height, &hash.0[..], &header.encode()[..], undo])?;
        }
        match self.log_end {
            Some(log_end) => put_meta(index, "log_end", &log_end.to_le_bytes()),
            None => Ok(()),
        }
    }
}

fn ascending<K: Ord, V>(rows: &HashMap<K, V>) -> Vec<(&K, &V)> {
    let mut rows: Vec<_> = rows.iter().collect();
    rows.sort_unstable_by_key(|(key, _)| *key);
    rows
}

/// Rows of a range as they are after these changes.
fn merged<E>(
    changes: &Changes,
    range: Range<'_>,
    written: impl FnOnce(Range<'_>) -> Result<Vec<Row>, E>,
) -> Result<Vec<Row>, E> {
    if range.from >= range.to {
        return Ok(Vec::new());
    }
    let is_within = |key: &[u8]| range.from <= key && key < range.to;
    let changes: Vec<_> = changes.iter().filter(|(key, _)| is_within(key)).collect();
    // Each change takes away one row at most of those read.
    let limit = range.limit.saturating_add(changes.len());
    let mut rows: BTreeMap<Vec<u8>, Vec<u8>> =
        written(Range { limit, ..range })?.into_iter().collect();
    for (key, value) in changes {
        match value {
            Some(value) => rows.insert(key.clone(), value.clone()),
            None => rows.remove(key),
        };
    }
    Ok(match range.order {
        Order::Ascending => rows.into_iter().take(range.limit).collect(),
        Order::Descending => rows.into_iter().rev().take(range.limit).collect(),
    })
}

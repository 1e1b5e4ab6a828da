//! Rows of the open transaction that SQLite has not been given yet.
//!
//! They are written together, in the order of their keys: a row that changes with every block is
//! written once a commit, and neighbours in a B-tree one after the other.

use std::collections::BTreeMap;
use std::ops::Bound;

use miner::Hash;
use rusqlite::{Connection, params};

use crate::commitment::PageChange;
use crate::execute::{Order, Range, Row};
use crate::store::Inclusion;

/// Bytes of rows after which they are written without waiting for the commit.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Bytes counted for each row beside those of its key and value.
const ROW_BYTES: usize = 64;

/// Pages with prefixes of at most so many nibbles are kept when they are written: nearly every
/// block reads and changes all of them. They are 4369 and take 5 MB.
const UPPER_NIBBLES: usize = 3;

/// Changes of state rows, pages and inclusions; `None` = removed.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    state: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    pages: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Pages near the root that have been changed, written or not.
    upper_pages: BTreeMap<Vec<u8>, Vec<u8>>,
    inclusions: BTreeMap<Hash, Option<Inclusion>>,
    /// Never less than what is held: rows changed twice count twice.
    bytes: usize,
}

impl Unwritten {
    /// Changes a row of the state.
    pub(super) fn set_row(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.bytes += ROW_BYTES + key.len() + value.map_or(0, <[u8]>::len);
        self.state.insert(key.to_vec(), value.map(<[u8]>::to_vec));
    }

    /// Changes a page.
    pub(super) fn set_page(&mut self, change: &PageChange) {
        let PageChange { prefix, after } = change;
        self.bytes += ROW_BYTES + prefix.len() + after.as_ref().map_or(0, Vec::len);
        if prefix.len() <= UPPER_NIBBLES {
            match after {
                Some(page) => self.upper_pages.insert(prefix.clone(), page.clone()),
                None => self.upper_pages.remove(prefix),
            };
        }
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

    /// What a page is, if it has changed.
    pub(super) fn page(&self, prefix: &[u8]) -> Option<Option<&[u8]>> {
        let upper = || self.upper_pages.get(prefix).map(|page| Some(&page[..]));
        self.pages.get(prefix).map(Option::as_deref).or_else(upper)
    }

    /// What has become of a transaction, if that has changed.
    pub(super) fn inclusion(&self, txid: &Hash) -> Option<Option<&Inclusion>> {
        self.inclusions.get(txid).map(Option::as_ref)
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

    /// Writes all of it; nothing is left.
    pub(super) fn write(&mut self, index: &Connection) -> rusqlite::Result<()> {
        let mut set = index.prepare_cached(
            "INSERT INTO state (key, value) VALUES (?1, ?2)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )?;
        let mut remove = index.prepare_cached("DELETE FROM state WHERE key = ?1")?;
        for (key, value) in &self.state {
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
        for (prefix, page) in &self.pages {
            match page {
                Some(page) => set.execute(params![prefix, page])?,
                None => remove.execute([prefix])?,
            };
        }
        let mut set = index.prepare_cached(
            "INSERT OR REPLACE INTO tx (txid, height, position, outcome) VALUES (?1, ?2, ?3, ?4)",
        )?;
        let mut remove = index.prepare_cached("DELETE FROM tx WHERE txid = ?1")?;
        for (txid, inclusion) in &self.inclusions {
            match inclusion {
                Some(Inclusion { height, position, outcome }) => {
                    set.execute(params![&txid.0[..], height, position, outcome])?
                }
                None => remove.execute([&txid.0[..]])?,
            };
        }
        let upper_pages = std::mem::take(&mut self.upper_pages);
        *self = Unwritten { upper_pages, ..Unwritten::default() };
        Ok(())
    }
}

/// Rows of a range as they are after these changes.
fn merged<E>(
    changes: &BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    range: Range<'_>,
    written: impl FnOnce(Range<'_>) -> Result<Vec<Row>, E>,
) -> Result<Vec<Row>, E> {
    if range.from >= range.to {
        return Ok(Vec::new());
    }
    let bounds = (Bound::Included(range.from), Bound::Excluded(range.to));
    let changes = changes.range::<[u8], _>(bounds);
    // Each change takes away one row at most of those read.
    let limit = range.limit.saturating_add(changes.clone().count());
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

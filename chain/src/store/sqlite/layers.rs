//! What the one owner of a store reads: rows that SQLite does not have yet, on top of those it has.

use miner::Hash;

use super::SqliteStore;
use super::unwritten::Unwritten;
use crate::commitment::Pages;
use crate::execute::{Range, Row, View};
use crate::header::Header;
use crate::store::{Archive, Body, ChainPoint, Inclusion, StoreError, Undo};

impl View for SqliteStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.held_back().find_map(|rows| rows.row(key)) {
            Some(row) => Ok(row.map(<[u8]>::to_vec)),
            None => {
                self.begin()?;
                self.archive.get(key)
            }
        }
    }

    fn range(&self, range: Range<'_>) -> Result<Vec<Row>, StoreError> {
        let on_their_way = |range: Range<'_>| match self.held_back().nth(1) {
            Some(rows) => rows.range(range, |range| self.archive.range(range)),
            None => self.archive.range(range),
        };
        self.unwritten.range(range, on_their_way)
    }
}

impl Pages for SqliteStore {
    fn page(&self, prefix: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(page) = self.upper_pages.get(prefix) {
            return Ok(Some(page.to_vec()));
        }
        match self.held_back().find_map(|rows| rows.page(prefix)) {
            Some(page) => Ok(page.map(<[u8]>::to_vec)),
            None => {
                self.begin()?;
                self.archive.page(prefix)
            }
        }
    }
}

impl Archive for SqliteStore {
    fn tip(&self) -> Result<ChainPoint, StoreError> {
        self.held_back().find_map(Unwritten::tip).map_or_else(|| self.archive.tip(), Ok)
    }

    fn main_hash(&self, height: u32) -> Result<Option<Hash>, StoreError> {
        match self.held_back().find_map(|rows| rows.chain_row(height)) {
            Some(row) => Ok(Some(row.hash)),
            None => self.archive.main_hash(height),
        }
    }

    fn main_headers(&self, from: u32, limit: usize) -> Result<Vec<Header>, StoreError> {
        let mut headers = self.archive.main_headers(from, limit)?;
        for rows in self.held_back().collect::<Vec<_>>().into_iter().rev() {
            let next = from.saturating_add(u32::try_from(headers.len()).unwrap_or(u32::MAX));
            let room = limit - headers.len();
            headers.extend(rows.chain_from(next).take(room).map(|(_, row)| row.header));
        }
        Ok(headers)
    }

    fn main_height(&self, hash: &Hash) -> Result<Option<u32>, StoreError> {
        let mut held_back = self.held_back().flat_map(|rows| rows.chain_from(0));
        match held_back.find(|(_, row)| row.hash == *hash) {
            Some((height, _)) => Ok(Some(height)),
            None => self.archive.main_height(hash),
        }
    }

    fn body(&self, hash: &Hash) -> Result<Body, StoreError> {
        match self.held_back().find_map(|rows| rows.body(hash)) {
            Some(location) => self.archive.read_body_at(hash, location),
            None => self.archive.body(hash),
        }
    }

    fn pruned(&self) -> Result<u32, StoreError> {
        self.archive.pruned()
    }

    fn txids_at(&self, height: u32) -> Result<Vec<Hash>, StoreError> {
        let on_their_way = || match self.held_back().nth(1) {
            Some(rows) => rows.txids_at(height, || self.archive.txids_at(height)),
            None => self.archive.txids_at(height),
        };
        self.unwritten.txids_at(height, on_their_way)
    }

    fn inclusion(&self, txid: &Hash) -> Result<Option<Inclusion>, StoreError> {
        match self.held_back().find_map(|rows| rows.inclusion(txid)) {
            Some(inclusion) => Ok(inclusion.cloned()),
            None => self.archive.inclusion(txid),
        }
    }

    fn undo(&self, height: u32) -> Result<Undo, StoreError> {
        match self.held_back().find_map(|rows| rows.chain_row(height)) {
            Some(row) => self.archive.undo_from(&row.undo),
            None => self.archive.undo(height),
        }
    }

    fn page_range(&self, range: Range<'_>) -> Result<Vec<Row>, StoreError> {
        let on_their_way = |range: Range<'_>| match self.held_back().nth(1) {
            Some(rows) => rows.page_range(range, |range| self.archive.page_range(range)),
            None => self.archive.page_range(range),
        };
        self.unwritten.page_range(range, on_their_way)
    }
}

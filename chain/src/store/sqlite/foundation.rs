//! The store of a folder whose state comes whole: an index that begins at some height.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use super::bodies::{MISSING, PRUNED_NAME};
use super::{
    BLOCK_LOG_FILE, INDEX_FILE, PENDING_LOG_FILE, SqliteArchive, SqliteStore, backup, open_index,
    put_meta,
};
use crate::block::CheckedBlock;
use crate::commitment::{PageChange, Pages};
use crate::execute::{Range, Row, View};
use crate::header::Header;
use crate::store::{Archive, RecordLog, StoreError};

/// The row of `meta` with the height at which the index began.
const SNAPSHOT_NAME: &str = "snapshot";

/// Undo of a block that cannot be undone: postcard of no rows.
const NO_UNDO: [u8; 1] = [0];

/// A store in the making. Nothing of it counts before [`Foundation::finish`]; until then the files
/// are worth nothing.
#[derive(Debug)]
pub struct Foundation {
    archive: SqliteArchive,
}

impl Foundation {
    /// Begins in an empty folder, with genesis.
    ///
    /// # Errors
    /// When a file cannot be made.
    pub fn begin(folder: &Path, genesis: &CheckedBlock) -> Result<Foundation, StoreError> {
        let log = RecordLog::open(&folder.join(BLOCK_LOG_FILE), &genesis.hash())?;
        let path = folder.join(INDEX_FILE);
        let connection = open_index(&path)?;
        let mut foundation = Foundation { archive: SqliteArchive { connection, path, log } };
        // What is not finished is thrown away, so there is no need to undo or to sync it.
        foundation
            .archive
            .run("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN IMMEDIATE")?;
        foundation.write(|index| put_meta(index, "genesis", &genesis.hash().0))?;
        foundation.put_headers(0, &[*genesis.header()])?;
        Ok(foundation)
    }

    /// Files of a store, which must not be where one is to be made.
    pub fn files() -> [&'static str; 3] {
        [BLOCK_LOG_FILE, PENDING_LOG_FILE, INDEX_FILE]
    }

    /// Files that are made here, in the order in which they may be moved elsewhere.
    pub fn made() -> [&'static str; 2] {
        [BLOCK_LOG_FILE, INDEX_FILE]
    }

    /// Writes headers of the main chain, ascending.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_headers(&mut self, from: u32, headers: &[Header]) -> Result<(), StoreError> {
        self.write(|index| {
            let mut insert = index.prepare_cached(
                "INSERT INTO chain (height, hash, header, undo) VALUES (?1, ?2, ?3, ?4)",
            )?;
            for (height, header) in (from..).zip(headers) {
                let (hash, header) = (header.hash(), header.encode());
                insert.execute(params![height, &hash.0[..], &header[..], &NO_UNDO[..]])?;
            }
            Ok(())
        })
    }

    /// A header written before.
    ///
    /// # Errors
    /// When there is none or SQLite fails.
    pub fn header(&self, height: u32) -> Result<Header, StoreError> {
        let found = self.archive.main_headers(height, 1)?;
        found.first().copied().ok_or_else(|| self.archive.inconsistent("a header is missing"))
    }

    /// Writes a row of the state that is not there yet.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_row(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.write(|index| {
            let mut insert =
                index.prepare_cached("INSERT INTO state (key, value) VALUES (?1, ?2)")?;
            insert.execute(params![key, value]).map(|_| ())
        })
    }

    /// Writes pages of the commitment.
    ///
    /// # Errors
    /// When it cannot be written.
    ///
    /// # Panics
    /// When a page is taken away.
    pub fn put_pages(&mut self, pages: &[PageChange]) -> Result<(), StoreError> {
        self.write(|index| {
            let mut insert = index
                .prepare_cached("INSERT OR REPLACE INTO page (prefix, slots) VALUES (?1, ?2)")?;
            for PageChange { prefix, after } in pages {
                let slots = after.as_ref().expect("rows only come, so pages do");
                insert.execute(params![prefix, slots])?;
            }
            Ok(())
        })
    }

    /// Keeps the body of the last block and brings all of it to stable storage.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self, block: &CheckedBlock, height: u32) -> Result<(), StoreError> {
        let location = self.archive.log.append(block.bytes())?;
        self.archive.log.sync()?;
        self.write(|index| {
            // The bodies below are wanted, in this order.
            index.execute(
                "INSERT INTO block (hash, header, offset, length)
                 SELECT hash, header, ?1, 0 FROM chain
                 WHERE height BETWEEN 1 AND ?2 ORDER BY height",
                params![MISSING, height - 1],
            )?;
            index
                .prepare_cached(
                    "INSERT INTO block (hash, header, offset, length) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![
                    &block.hash().0[..],
                    &block.header().encode()[..],
                    location.offset.cast_signed(),
                    location.length,
                ])?;
            put_meta(index, "log_end", &location.end().to_le_bytes())?;
            put_meta(index, SNAPSHOT_NAME, &height.to_le_bytes())?;
            put_meta(index, PRUNED_NAME, &height.to_le_bytes())
        })?;
        self.archive.run("COMMIT")?;
        let path: PathBuf = self.archive.path.clone();
        drop(self);
        backup::sync(&path)
    }

    fn write<T>(
        &mut self,
        write: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        write(&self.archive.connection).map_err(|error| self.archive.error(&error))
    }
}

impl SqliteStore {
    /// Height of the block with whose state the index began; `None` = it began with genesis, or
    /// bodies above were pruned since.
    ///
    /// # Errors
    /// When the store fails.
    pub fn began_with(&self) -> Result<Option<u32>, StoreError> {
        let pruned = self.archive.pruned()?;
        let began = self.archive.meta(SNAPSHOT_NAME)?;
        Ok(began.filter(|height| height[..] == pruned.to_le_bytes()).map(|_| pruned))
    }
}

impl View for Foundation {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.archive.get(key)
    }

    fn range(&self, range: Range<'_>) -> Result<Vec<Row>, StoreError> {
        self.archive.range(range)
    }
}

impl Pages for Foundation {
    fn page(&self, prefix: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.archive.page(prefix)
    }
}

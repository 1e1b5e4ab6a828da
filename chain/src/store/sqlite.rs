//! The store on disk: the block log and its SQLite index.
//!
//! What the ledger writes between two commits is one SQLite transaction. Rows of blocks that come
//! and join the chain are held back until the commit (`unwritten`), which can happen on another
//! thread (`writer`); whatever else is written comes after them, at once. The log is synced before
//! a commit begins. `synchronous = NORMAL` is enough: a power cut may roll the index back by some
//! commits, never corrupt it, and the log brings them back at the next start.

mod backup;
mod bodies;
mod dump;
mod foundation;
mod layers;
mod prune;
mod second;
mod unwritten;
mod upper;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use miner::Hash;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::log::Location;
use super::{
    Archive, Body, ChainPoint, Inclusion, RecordLog, Storage, Store, StoreError, StoredBlock, Undo,
};
use crate::block::CheckedBlock;
use crate::commitment::{PageChange, Pages};
use crate::execute::{Delta, Order, Range, Row, View};
use crate::header::{HEADER_BYTES, Header};
use crate::params::Network;
use unwritten::Unwritten;
use upper::UpperPages;
use writer::Writer;

pub use backup::{BackupProgress, BackupReport};
pub use foundation::Foundation;
pub use writer::IndexWriter;

const SCHEMA: &[&str] = &[include_str!("schema/0001.sql"), include_str!("schema/0002.sql")];
const APPLICATION_ID: i32 = 0x4752_564e; // "GRVN"
const CACHED_STATEMENTS: usize = 64;
/// Pages in SQLite's log at which they are moved to their places: 128 MiB.
const CHECKPOINT_PAGES: i32 = 32_768;

const INDEX_FILE: &str = "index.sqlite";
const BLOCK_LOG_FILE: &str = "blocks.log";
const PENDING_LOG_FILE: &str = "pending.log";

/// Read access to a folder's index and block log.
#[derive(Debug)]
pub struct SqliteArchive {
    connection: Connection,
    path: PathBuf,
    log: RecordLog,
}

/// The one writer of a folder.
#[derive(Debug)]
pub struct SqliteStore {
    archive: SqliteArchive,
    pending: RecordLog,
    indexed_end: u64,
    /// Whether the open transaction has changes.
    is_writing: bool,
    unwritten: Unwritten,
    upper_pages: UpperPages,
    /// Who commits, if it is another thread.
    writer: Option<Writer>,
    /// The record last given out by `next_unindexed`.
    unindexed: Option<Location>,
    /// Whether `next_unindexed` leaves out what is no record.
    leaves_out_damaged: bool,
    /// Bytes of all bodies, once that is known.
    body_bytes: Option<u64>,
    /// Of a second index: the log is somebody else's, and not to be read on once this is set.
    second: Option<Arc<AtomicBool>>,
    genesis: Hash,
}

impl SqliteArchive {
    /// Opens a folder that a [`SqliteStore`] has created, for reading only.
    ///
    /// # Errors
    /// When there is no such folder or it is another network's.
    pub fn open(folder: &Path, network: &Network) -> Result<SqliteArchive, StoreError> {
        let genesis = network.genesis_hash();
        let path = folder.join(INDEX_FILE);
        let connection = SqliteArchive::connect(&path)?;
        let log = RecordLog::open_read_only(&folder.join(BLOCK_LOG_FILE), &genesis)?;
        let archive = SqliteArchive { connection, path, log };
        archive.check_genesis(&genesis)?;
        Ok(archive)
    }

    /// Opens an index for reading only.
    fn connect(path: &Path) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || {
            let connection = Connection::open_with_flags(path, flags)?;
            connection.execute_batch(
                "PRAGMA query_only = ON; PRAGMA cache_size = -16384; PRAGMA mmap_size = 0;",
            )?;
            connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
            Ok(connection)
        };
        open().map_err(|error| index_error(path, &error))
    }

    /// Runs `reads` on one snapshot: commits that happen meanwhile are not seen.
    ///
    /// # Errors
    /// When SQLite fails, or what `reads` returns.
    pub fn snapshot<T>(
        &self,
        reads: impl FnOnce(&SqliteArchive) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.run("BEGIN DEFERRED")?;
        let result = reads(self);
        self.run("COMMIT")?;
        result
    }

    fn run(&self, sql: &str) -> Result<(), StoreError> {
        self.connection.execute_batch(sql).map_err(|error| self.error(&error))
    }

    fn check_genesis(&self, genesis: &Hash) -> Result<(), StoreError> {
        let found = self.meta("genesis")?.and_then(|bytes| hash_from(&bytes));
        match found {
            Some(found) if found == *genesis => Ok(()),
            Some(found) => {
                let path = self.path.clone();
                Err(StoreError::OtherNetwork { path, found, wanted: *genesis })
            }
            None => Err(self.inconsistent("no genesis is recorded")),
        }
    }

    fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.one("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0))
    }

    /// Up to where the index covers the log.
    fn log_end(&self) -> Result<u64, StoreError> {
        self.meta("log_end")?
            .and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)))
            .ok_or_else(|| self.inconsistent("no log_end is recorded"))
    }

    fn one<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row(values, read).optional())
            .map_err(|error| self.error(&error))
    }

    fn many<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_map(values, read)?.collect())
            .map_err(|error| self.error(&error))
    }

    fn rows(&self, sql: &str, range: Range<'_>) -> Result<Vec<Row>, StoreError> {
        let limit = i64::try_from(range.limit).unwrap_or(i64::MAX);
        self.many(sql, params![range.from, range.to, limit], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// A header and its hash from a row with both, which SQLite has no checksum of.
    fn header_from(
        &self,
        (header, hash): (Vec<u8>, Vec<u8>),
    ) -> Result<(Header, Hash), StoreError> {
        let header = <&[u8; HEADER_BYTES]>::try_from(&header[..])
            .map(Header::decode)
            .map_err(|_| self.inconsistent("a header has not 80 bytes"))?;
        match header.hash() {
            computed if computed.0[..] == hash => Ok((header, computed)),
            _ => Err(self.inconsistent("a header is not that of its hash")),
        }
    }

    fn undo_from(&self, bytes: &[u8]) -> Result<Undo, StoreError> {
        let undo = postcard::from_bytes(bytes);
        undo.map_err(|_| self.inconsistent("a block's undo does not decode"))
    }

    fn error(&self, error: &rusqlite::Error) -> StoreError {
        index_error(&self.path, error)
    }

    fn inconsistent(&self, what: &str) -> StoreError {
        StoreError::Inconsistent { path: self.path.clone(), what: what.to_string() }
    }
}

impl View for SqliteArchive {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.one("SELECT value FROM state WHERE key = ?1", [key], |row| row.get(0))
    }

    fn range(&self, range: Range<'_>) -> Result<Vec<Row>, StoreError> {
        let sql = match range.order {
            Order::Ascending => {
                "SELECT key, value FROM state WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3"
            }
            Order::Descending => {
                "SELECT key, value FROM state WHERE key >= ?1 AND key < ?2
                 ORDER BY key DESC LIMIT ?3"
            }
        };
        self.rows(sql, range)
    }
}

impl Pages for SqliteArchive {
    fn page(&self, prefix: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.one("SELECT slots FROM page WHERE prefix = ?1", [prefix], |row| row.get(0))
    }
}

impl Archive for SqliteArchive {
    fn tip(&self) -> Result<ChainPoint, StoreError> {
        let row =
            self.one("SELECT height, hash FROM chain ORDER BY height DESC LIMIT 1", [], |row| {
                Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?))
            })?;
        row.and_then(|(height, hash)| Some(ChainPoint { height, hash: hash_from(&hash)? }))
            .ok_or_else(|| self.inconsistent("the main chain is empty"))
    }

    fn main_hash(&self, height: u32) -> Result<Option<Hash>, StoreError> {
        let hash = self.one("SELECT hash FROM chain WHERE height = ?1", [height], |row| {
            row.get::<_, Vec<u8>>(0)
        })?;
        Ok(hash.and_then(|bytes| hash_from(&bytes)))
    }

    fn main_headers(&self, from: u32, limit: usize) -> Result<Vec<Header>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.many(
            "SELECT header, hash FROM chain WHERE height >= ?1 ORDER BY height LIMIT ?2",
            params![from, limit],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?
        .into_iter()
        .map(|row| self.header_from(row).map(|(header, _)| header))
        .collect()
    }

    fn main_height(&self, hash: &Hash) -> Result<Option<u32>, StoreError> {
        self.one("SELECT height FROM chain WHERE hash = ?1", [&hash.0[..]], |row| row.get(0))
    }

    fn body(&self, hash: &Hash) -> Result<Body, StoreError> {
        self.read_body(hash)
    }

    fn pruned(&self) -> Result<u32, StoreError> {
        self.read_pruned()
    }

    fn txids_at(&self, height: u32) -> Result<Vec<Hash>, StoreError> {
        self.read_txids_at(height)
    }

    fn inclusion(&self, txid: &Hash) -> Result<Option<Inclusion>, StoreError> {
        self.one("SELECT height, position, outcome FROM tx WHERE txid = ?1", [&txid.0[..]], |row| {
            Ok(Inclusion { height: row.get(0)?, position: row.get(1)?, outcome: row.get(2)? })
        })
    }

    fn undo(&self, height: u32) -> Result<Undo, StoreError> {
        self.one("SELECT undo FROM chain WHERE height = ?1", [height], |row| {
            row.get::<_, Vec<u8>>(0)
        })?
        .map_or_else(|| self.undo_from(&[]), |bytes| self.undo_from(&bytes))
    }

    fn page_range(&self, range: Range<'_>) -> Result<Vec<Row>, StoreError> {
        let sql = match range.order {
            Order::Ascending => {
                "SELECT prefix, slots FROM page WHERE prefix >= ?1 AND prefix < ?2
                 ORDER BY prefix LIMIT ?3"
            }
            Order::Descending => {
                "SELECT prefix, slots FROM page WHERE prefix >= ?1 AND prefix < ?2
                 ORDER BY prefix DESC LIMIT ?3"
            }
        };
        self.rows(sql, range)
    }
}

impl SqliteStore {
    /// Opens or creates a folder's store, repairs a torn log tail, and connects genesis if new.
    ///
    /// # Errors
    /// When a file cannot be used, is damaged, or is another network's.
    pub fn open(
        folder: &Path,
        network: &Network,
        genesis_block: &CheckedBlock,
        genesis_delta: &Delta,
    ) -> Result<SqliteStore, StoreError> {
        let genesis = genesis_block.hash();
        assert_eq!(genesis, network.genesis_hash());
        let log = RecordLog::open(&folder.join(BLOCK_LOG_FILE), &genesis)?;
        let pending = RecordLog::open(&folder.join(PENDING_LOG_FILE), &genesis)?;
        let path = folder.join(INDEX_FILE);
        let connection = open_index(&path)?;
        let archive = SqliteArchive { connection, path, log };
        let mut store = SqliteStore {
            archive,
            pending,
            indexed_end: RecordLog::start(),
            is_writing: false,
            unwritten: Unwritten::default(),
            upper_pages: UpperPages::default(),
            writer: None,
            unindexed: None,
            leaves_out_damaged: false,
            body_bytes: None,
            second: None,
            genesis,
        };
        if store.archive.meta("genesis")?.is_none() {
            store.write(|index| {
                put_meta(index, "genesis", &genesis.0)?;
                put_meta(index, "log_end", &RecordLog::start().to_le_bytes())
            })?;
            store.connect(genesis_block, 0, genesis_delta)?;
            store.commit()?;
        }
        store.archive.check_genesis(&genesis)?;
        store.indexed_end = store.archive.log_end()?;
        let log_end = store.archive.log.end();
        if store.indexed_end > log_end {
            return Err(StoreError::Damaged {
                path: store.archive.log.path().to_path_buf(),
                offset: log_end,
                what: format!("the index knows blocks up to offset {}", store.indexed_end),
            });
        }
        if store.archive.pruned()? > 0 {
            store.free_unused()?;
        }
        Ok(store)
    }

    /// Removes the index, which the next [`SqliteStore::open`] rebuilds from the log.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn remove_index(folder: &Path) -> Result<(), StoreError> {
        for suffix in ["", "-wal", "-shm"] {
            let path = folder.join(format!("{INDEX_FILE}{suffix}"));
            match std::fs::remove_file(&path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StoreError::Io { path, source });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes what was held back, then this, within the open transaction, or opens one.
    fn write<T>(
        &mut self,
        write: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.write_out()?;
        self.write_now(write)
    }

    fn write_now<T>(
        &mut self,
        write: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        if !self.is_writing {
            self.begin()?;
            self.is_writing = true;
        }
        write(&self.archive.connection).map_err(|error| self.archive.error(&error))
    }

    /// Opens the transaction if it is not open yet. Reads are in it too: each would take and leave
    /// the file's lock otherwise, which costs more than the read. Nobody else writes, so a
    /// transaction that began by reading can always go on to write.
    fn begin(&self) -> Result<(), StoreError> {
        let may_begin = self.writer.as_ref().is_none_or(|writer| !writer.is_moving_pages());
        if may_begin && self.archive.connection.is_autocommit() {
            self.archive.run("BEGIN DEFERRED")?;
        }
        Ok(())
    }

    /// Gives SQLite the rows held back, after those of a commit under way.
    fn write_out(&mut self) -> Result<(), StoreError> {
        self.wait()?;
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let unwritten = std::mem::take(&mut self.unwritten);
        self.write_now(|index| unwritten.write(index))
    }

    /// Begins to commit everything, or does it where there is no other thread.
    fn begin_commit(&mut self) -> Result<(), StoreError> {
        // The index must never know of a block that a power cut could take away.
        self.archive.log.sync()?;
        self.wait()?;
        if self.unwritten.is_empty() && !self.is_writing {
            return Ok(());
        }
        self.unwritten.set_log_end(self.indexed_end);
        // What was written at once is seen by nobody but the connection that wrote it.
        if self.writer.is_some() && !self.is_writing {
            return self.hand_over();
        }
        self.write_out()?;
        self.archive.run("COMMIT")?;
        self.is_writing = false;
        Ok(())
    }

    /// What SQLite does not have yet, newest first.
    fn held_back(&self) -> impl Iterator<Item = &Unwritten> {
        let on_their_way = self.writer.as_ref().and_then(Writer::rows);
        std::iter::once(&self.unwritten).chain(on_their_way)
    }
}

impl Store for SqliteStore {
    fn stored_blocks(&self) -> Result<Vec<StoredBlock>, StoreError> {
        self.archive.read_stored_blocks()
    }

    fn next_unindexed(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        if self.second.is_some() { self.read_as_second() } else { self.read_unindexed() }
    }

    fn indexed_share(&self) -> f64 {
        self.indexed_end as f64 / self.archive.log.end() as f64
    }

    fn index_unindexed(&mut self, block: &CheckedBlock) -> Result<(), StoreError> {
        let location = self.unindexed.take().expect("called after next_unindexed gave a block");
        self.index(block, location);
        Ok(())
    }

    fn append(&mut self, block: &CheckedBlock) -> Result<(), StoreError> {
        let location = self.archive.log.append(block.bytes())?;
        self.index(block, location);
        Ok(())
    }

    fn connect(
        &mut self,
        block: &CheckedBlock,
        height: u32,
        delta: &Delta,
    ) -> Result<(), StoreError> {
        self.unwritten.connect(block, height, delta);
        delta.pages.iter().for_each(|page| self.upper_pages.set(page));
        if !self.unwritten.is_much() {
            return Ok(());
        }
        // A branch is not shown to anybody before it is whole; anything else may be.
        if self.is_writing { self.write_out() } else { self.begin_commit() }
    }

    fn lose_body(&mut self, hash: &Hash) -> Result<(), StoreError> {
        self.note_lost(hash)
    }

    fn storage(&self) -> Result<Storage, StoreError> {
        self.read_storage()
    }

    fn body_bytes(&mut self) -> Result<u64, StoreError> {
        self.sum_bodies()
    }

    fn body_lengths(&mut self, from: u32, limit: usize) -> Result<Vec<u32>, StoreError> {
        self.read_body_lengths(from, limit)
    }

    fn prune(&mut self, to: u32, side: &[Hash]) -> Result<(), StoreError> {
        self.remove_bodies(to, side)
    }

    fn disconnect(
        &mut self,
        tip: &Hash,
        txids: &[Hash],
        pages: &[PageChange],
    ) -> Result<(), StoreError> {
        let point = self.tip()?;
        if point.hash != *tip {
            return Err(self.archive.inconsistent("the tip is not the block to be taken off"));
        }
        let undo = self.undo(point.height)?;
        self.write(|index| {
            index.prepare_cached("DELETE FROM chain WHERE height = ?1")?.execute([point.height])
        })?;
        self.forget_if_missing(tip)?;
        for (key, before) in &undo {
            self.unwritten.set_row(key, before.as_deref());
        }
        for page in pages {
            self.unwritten.set_page(page);
            self.upper_pages.set(page);
        }
        for txid in txids {
            self.unwritten.set_inclusion(*txid, None);
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.archive.log.sync()?;
        if !self.is_under_way() {
            self.begin_commit()?;
        }
        self.note_asked();
        Ok(())
    }

    fn is_settled(&mut self) -> Result<bool, StoreError> {
        self.has_done_what_was_asked()
    }

    fn settle(&mut self) -> Result<(), StoreError> {
        while !self.has_done_what_was_asked()? {
            self.wait()?;
        }
        self.wait()
    }

    fn mark_invalid(&mut self, hash: &Hash) -> Result<(), StoreError> {
        self.write(|index| {
            index
                .prepare_cached("UPDATE block SET invalid = 1 WHERE hash = ?1")?
                .execute([&hash.0[..]])
                .map(|_| ())
        })
    }

    fn keep_pending(&mut self, transactions: &[&[u8]]) -> Result<(), StoreError> {
        self.pending.append_all(transactions).map(|_| ())
    }

    fn pending(&mut self) -> Result<Vec<Vec<u8>>, StoreError> {
        self.pending.read_all_whole()
    }

    fn replace_pending(&mut self, transactions: &[&[u8]]) -> Result<(), StoreError> {
        self.pending.rewrite(&self.genesis, transactions)
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.commit()?;
        self.settle()?;
        self.pending.sync()?;
        self.end_reads()?;
        self.archive.run("PRAGMA wal_checkpoint(TRUNCATE)")
    }
}

fn open_index(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(path).map_err(|error| index_error(path, &error))?;
    let configure = || -> rusqlite::Result<i64> {
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        connection.execute_batch(
            "PRAGMA page_size = 4096;
             PRAGMA journal_mode = WAL;
             PRAGMA synchronous = NORMAL;
             PRAGMA cache_size = -65536;
             PRAGMA temp_store = MEMORY;
             PRAGMA mmap_size = 0;
             PRAGMA trusted_schema = OFF;
             PRAGMA cell_size_check = ON;",
        )?;
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
        connection.pragma_query_value(None, "user_version", |row| row.get(0))
    };
    let version = configure().map_err(|error| index_error(path, &error))?;
    let found = u32::try_from(version).unwrap_or(u32::MAX);
    let known = u32::try_from(SCHEMA.len()).expect("few schema files");
    if found > known {
        return Err(StoreError::TooNew { path: path.to_path_buf(), found, known });
    }
    if found == 0 {
        let sql = SCHEMA.concat();
        connection
            .execute_batch(&format!("BEGIN; {sql}; PRAGMA user_version = {known}; COMMIT;"))
            .map_err(|error| index_error(path, &error))?;
    } else if found < known {
        // What newer tables are to hold follows from the log alone.
        let what = format!("format version {found} is older than this program's {known}");
        return Err(StoreError::Inconsistent { path: path.to_path_buf(), what });
    }
    Ok(connection)
}

fn put_meta(index: &Connection, name: &str, value: &[u8]) -> rusqlite::Result<()> {
    index
        .prepare_cached(
            "INSERT INTO meta (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )?
        .execute(params![name, value])
        .map(|_| ())
}

fn hash_from(bytes: &[u8]) -> Option<Hash> {
    bytes.try_into().ok().map(Hash)
}

fn index_error(path: &Path, error: &rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    let (path, message) = (path.to_path_buf(), error.to_string());
    match error.sqlite_error_code() {
        Some(DatabaseCorrupt | NotADatabase) => StoreError::Inconsistent { path, what: message },
        _ => StoreError::Index { path, message },
    }
}

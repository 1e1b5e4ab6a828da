//! A copy of a folder that a node may be writing to meanwhile.
//!
//! The order makes it whole: first the pending log, because what leaves that goes into the index;
//! then the index, all of one moment; then the block log, which had all that this index knows
//! before the index knew it.

use std::fs::File;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::{BLOCK_LOG_FILE, INDEX_FILE, PENDING_LOG_FILE, SqliteArchive, index_error, open_index};
use crate::params::Network;
use crate::store::log::Next;
use crate::store::{Archive, ChainPoint, RecordLog, StoreError};

/// Pages of the index that are copied between two reports of progress.
const PAGES_A_STEP: i32 = 1024;

/// How far a copy has come, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct BackupProgress {
    /// Copied.
    pub done: u64,
    /// All there is to copy, as far as is known.
    pub total: u64,
}

/// What was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupReport {
    /// The newest block of the main chain in the copy.
    pub tip: ChainPoint,
    /// Bytes of the index and the logs.
    pub bytes: u64,
    /// Transactions in the pending log: those that wait, and some that are in a block.
    pub pending: usize,
}

impl SqliteArchive {
    /// Copies index and logs of this folder into another one, which must not have any, brings the
    /// copy to stable storage and checks it. A node may write here meanwhile.
    ///
    /// # Errors
    /// When a file cannot be read or written, or the copy is not whole: what lies in `target` is
    /// then worth nothing.
    pub fn back_up(
        &self,
        target: &Path,
        network: &Network,
        progress: &mut dyn FnMut(BackupProgress),
    ) -> Result<BackupReport, StoreError> {
        let genesis = network.genesis_hash();
        let pending = self.log.path().with_file_name(PENDING_LOG_FILE);
        let waiting = if pending.exists() {
            RecordLog::open_read_only(&pending, &genesis)?.read_all_whole()?
        } else {
            Vec::new()
        };
        let mut kept = RecordLog::open(&target.join(PENDING_LOG_FILE), &genesis)?;
        kept.append_all(&waiting.iter().map(|bytes| &bytes[..]).collect::<Vec<_>>())?;
        kept.sync()?;
        let log = self.snapshot(|archive| archive.copy_index(target, progress))?;
        let (tip, log_bytes) = copy_log(&log, target, network, progress)?;
        let index_bytes = size_of(&target.join(INDEX_FILE))?;
        let bytes = index_bytes + log_bytes + kept.end();
        Ok(BackupReport { tip, bytes, pending: waiting.len() })
    }

    /// Copies the index as of the open snapshot; returns the block log as it is then.
    fn copy_index(
        &self,
        target: &Path,
        progress: &mut dyn FnMut(BackupProgress),
    ) -> Result<RecordLog, StoreError> {
        // The first read fixes the moment, so that writes meanwhile do not begin the copy anew.
        let genesis = self.main_hash(0)?.ok_or_else(|| self.inconsistent("there is no genesis"))?;
        let log = RecordLog::open_read_only(self.log.path(), &genesis)?;
        let page_bytes: u64 = self
            .connection
            .pragma_query_value(None, "page_size", |row| row.get::<_, u32>(0))
            .map_err(|error| self.error(&error))?
            .into();
        let path = target.join(INDEX_FILE);
        let fail = |error: rusqlite::Error| index_error(&path, &error);
        let mut copy = Connection::open(&path).map_err(fail)?;
        // Half a copy is thrown away, so it needs no journal; it is synced when it is whole.
        copy.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF").map_err(fail)?;
        let backup = Backup::new(&self.connection, &mut copy).map_err(fail)?;
        loop {
            let step = backup.step(PAGES_A_STEP).map_err(fail)?;
            let pages = backup.progress();
            let count = u64::try_from(pages.pagecount).unwrap_or_default();
            let left = u64::try_from(pages.remaining).unwrap_or_default();
            progress(BackupProgress {
                done: (count - left.min(count)) * page_bytes,
                total: count * page_bytes + log.end(),
            });
            match step {
                StepResult::Done => return Ok(log),
                StepResult::More => {}
                _ => return Err(self.inconsistent("somebody else writes to the copy")),
            }
        }
    }
}

/// Copies every whole record of the log behind a copied index, checks the whole copy, and returns
/// its tip with the bytes of its log.
fn copy_log(
    log: &RecordLog,
    target: &Path,
    network: &Network,
    progress: &mut dyn FnMut(BackupProgress),
) -> Result<(ChainPoint, u64), StoreError> {
    let genesis = network.genesis_hash();
    let path = target.join(INDEX_FILE);
    let connection = open_index(&path)?;
    let copy = RecordLog::open(&target.join(BLOCK_LOG_FILE), &genesis)?;
    let mut archive = SqliteArchive { connection, path, log: copy };
    archive.check_genesis(&genesis)?;
    let (log_end, index_bytes) = (archive.log_end()?, size_of(&archive.path)?);
    let total = index_bytes + log.end();
    // Between them is what no block needs any more.
    for place in archive.body_places()? {
        match log.read_next(place.offset)? {
            Next::Record(found, payload) if found == place => {
                archive.log.copy_record(place, &payload)?;
            }
            Next::Bad(what) => return Err(log.damaged(place.offset, what.to_string())),
            Next::Record(..) => return Err(log.damaged(place.offset, "another length".into())),
            Next::End => return Err(log.damaged(place.offset, "the file ends here".into())),
        }
        progress(BackupProgress { done: index_bytes + place.end(), total });
    }
    archive.log.reach(log_end)?;
    // What came since, up to a block that is being appended.
    let mut offset = log_end;
    while let Next::Record(place, payload) = log.read_next(offset)?
        && place.end() <= log.end()
    {
        archive.log.copy_record(place, &payload)?;
        offset = place.end();
        progress(BackupProgress { done: index_bytes + offset, total });
    }
    archive.log.sync()?;
    archive.check_copy()?;
    let (tip, log_bytes) = (archive.tip()?, archive.log.end());
    drop(archive); // the last connection folds the WAL in
    sync(&target.join(INDEX_FILE))?;
    sync(target)?;
    Ok((tip, log_bytes))
}

impl SqliteArchive {
    /// Whether SQLite finds its tables whole, and the tip's block is in the log.
    fn check_copy(&self) -> Result<(), StoreError> {
        let found: String = self
            .connection
            .pragma_query_value(None, "quick_check", |row| row.get(0))
            .map_err(|error| self.error(&error))?;
        if found != "ok" {
            return Err(self.inconsistent(&found));
        }
        let tip = self.tip()?;
        if tip.height > 0 && self.body(&tip.hash)?.here().is_none() {
            return Err(self.inconsistent("the newest block is not in the log"));
        }
        Ok(())
    }
}

fn size_of(path: &Path) -> Result<u64, StoreError> {
    let size = std::fs::metadata(path).map(|metadata| metadata.len());
    size.map_err(|source| StoreError::Io { path: path.to_path_buf(), source })
}

/// Brings a file, or the names in a folder, to stable storage.
pub(super) fn sync(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|source| StoreError::Io { path: path.to_path_buf(), source })
}

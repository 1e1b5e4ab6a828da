//! A second index of a folder's block log, made while a node uses the first: the one that a node
//! which began with a snapshot would have, had it executed every block. When it is finished it
//! takes the place of the first at the next start, and catches up with the log like any index.

use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{BLOCK_LOG_FILE, INDEX_FILE, SqliteStore, backup};
use crate::block::CheckedBlock;
use crate::execute::Delta;
use crate::params::Network;
use crate::store::log::Next;
use crate::store::{Store, StoreError};

/// Folder in the data folder.
const FOLDER: &str = "history";

/// Name of the index once it is finished.
const FINISHED_FILE: &str = "finished.sqlite";

impl SqliteStore {
    /// Opens the second index of a folder, or begins it. It reads the folder's block log and never
    /// writes there. Once `stop` is set, the log seems to end.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub fn open_second(
        folder: &Path,
        network: &Network,
        genesis_block: &CheckedBlock,
        genesis_delta: &Delta,
        stop: Arc<AtomicBool>,
    ) -> Result<SqliteStore, StoreError> {
        let own = folder.join(FOLDER);
        std::fs::create_dir_all(&own).map_err(io_error(&own))?;
        let log = own.join(BLOCK_LOG_FILE);
        match symlink(Path::new("..").join(BLOCK_LOG_FILE), &log) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(io_error(&log)(error));
            }
            _ => {}
        }
        let mut store = SqliteStore::open(&own, network, genesis_block, genesis_delta)?;
        store.second = Some(stop);
        Ok(store)
    }

    /// Notes that the second index of a folder has all it should have.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn finish_second(mut self, folder: &Path) -> Result<(), StoreError> {
        self.flush()?;
        drop(self); // closes it, so that it is one file
        let own = folder.join(FOLDER);
        backup::sync(&own.join(INDEX_FILE))?;
        let finished = own.join(FINISHED_FILE);
        std::fs::rename(own.join(INDEX_FILE), &finished).map_err(io_error(&finished))?;
        backup::sync(&own)
    }

    /// The next record of a log that somebody else writes, where the last one is perhaps not whole
    /// yet. What is damaged or removed is left out: if it is needed, another copy comes later.
    pub(super) fn read_as_second(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        if self.second.as_ref().is_some_and(|stop| stop.load(Ordering::Acquire)) {
            return Ok(None);
        }
        loop {
            match self.archive.log.read_next(self.indexed_end)? {
                Next::Record(location, payload) => {
                    self.unindexed = Some(location);
                    return Ok(Some(payload));
                }
                // What was there when it was opened is not being written.
                Next::Bad(what)
                    if self.indexed_end < self.archive.log.end() && self.leave_out(what)? => {}
                Next::End | Next::Bad(_) => return Ok(None),
            }
        }
    }

    /// Puts the second index of a folder that nobody uses in the place of the first, if it is
    /// finished; whether it was.
    ///
    /// # Errors
    /// When a file cannot be moved. The next call goes on then.
    pub fn adopt_second(folder: &Path) -> Result<bool, StoreError> {
        let finished = folder.join(FOLDER).join(FINISHED_FILE);
        if !finished.exists() {
            return Ok(false);
        }
        SqliteStore::remove_index(folder)?;
        let index = folder.join(INDEX_FILE);
        std::fs::rename(&finished, &index).map_err(io_error(&index))?;
        backup::sync(folder)?;
        SqliteStore::remove_second(folder)?;
        Ok(true)
    }

    /// Removes the second index of a folder.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn remove_second(folder: &Path) -> Result<(), StoreError> {
        let own = folder.join(FOLDER);
        match std::fs::remove_dir_all(&own) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(io_error(&own)(error)),
            _ => Ok(()),
        }
    }
}

fn io_error(path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path: PathBuf = path.to_path_buf();
    move |source| StoreError::Io { path, source }
}

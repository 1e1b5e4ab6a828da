//! An append-only file of checksummed records: `len u32 LE ‖ crc32c u32 LE ‖ payload`, after a
//! head of `magic (8) ‖ genesis hash (32)`. Holds block bodies, and pending transactions.

mod copy;
mod holes;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use miner::Hash;

use super::StoreError;
use crate::tx::MIN_TRANSACTION_BYTES;

const MAGIC: [u8; 8] = *b"GRVNLOG2";
/// Of logs whose blocks have no state roots.
const OLD_MAGIC: [u8; 8] = *b"GRVNLOG1";
const FILE_HEAD_BYTES: usize = 8 + 32;
const RECORD_HEAD_BYTES: usize = 4 + 4;

/// Offset of the first record.
const START: u64 = FILE_HEAD_BYTES as u64;

/// No record is larger, in bytes: caps what a length field can make us read.
const MAX_RECORD_BYTES: u32 = crate::params::MAX_BLOCK_BYTES;

/// Most bytes after the first bad byte that are searched for a whole record, to tell a torn tail
/// (cut it off) from damage in the middle (refuse).
pub const TORN_TAIL_LIMIT_BYTES: u64 = 64 * 1024 * 1024;

/// Where a record's payload lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Location {
    /// Of the record's head.
    pub(super) offset: u64,
    /// Of the payload, in bytes.
    pub(super) length: u32,
}

impl Location {
    /// First byte after the record.
    pub(super) fn end(self) -> u64 {
        self.offset + RECORD_HEAD_BYTES as u64 + u64::from(self.length)
    }
}

/// An open log. The writer appends; readers hold their own handle.
#[derive(Debug)]
pub struct RecordLog {
    file: File,
    path: PathBuf,
    end: u64,
    synced: bool,
}

/// What [`RecordLog::read_next`] found.
pub(super) enum Next {
    /// A whole record.
    Record(Location, Vec<u8>),
    /// The end of the file, exactly at a record border.
    End,
    /// Bytes that are no record, with what is wrong.
    Bad(&'static str),
}

impl RecordLog {
    /// Opens or creates the log of a network.
    ///
    /// # Errors
    /// When the file cannot be opened, is no log, or is another network's.
    pub fn open(path: &Path, genesis: &Hash) -> Result<RecordLog, StoreError> {
        let fail = |source| StoreError::Io { path: path.to_path_buf(), source };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(fail)?;
        let end = file.metadata().map_err(fail)?.len();
        // What a process wrote before it was killed may not be on stable storage yet.
        let mut log = RecordLog { file, path: path.to_path_buf(), end, synced: false };
        // Without records there is nothing to lose, and after a power cut the head can be noise.
        if end <= START && !log.begins_as_one().map_err(fail)? {
            let head = [&MAGIC[..], &genesis.0].concat();
            log.file.write_all_at(&head, 0).map_err(fail)?;
            log.file.sync_all().map_err(fail)?;
            sync_folder(path)?;
            log.end = START;
        }
        log.check_head(genesis)?;
        Ok(log)
    }

    /// Opens an existing log for reading only.
    ///
    /// # Errors
    /// When the file cannot be opened, is no log, or is another network's.
    pub fn open_read_only(path: &Path, genesis: &Hash) -> Result<RecordLog, StoreError> {
        let fail = |source| StoreError::Io { path: path.to_path_buf(), source };
        let file = File::open(path).map_err(fail)?;
        let end = file.metadata().map_err(fail)?.len();
        let log = RecordLog { file, path: path.to_path_buf(), end, synced: true };
        log.check_head(genesis)?;
        Ok(log)
    }

    /// Whether there is a whole head of a log, of any version and network.
    fn begins_as_one(&self) -> io::Result<bool> {
        let mut head = [0; FILE_HEAD_BYTES];
        let got = read_up_to(&self.file, &mut head, 0)?;
        Ok(got == head.len() && head.starts_with(&MAGIC[..7]))
    }

    fn check_head(&self, genesis: &Hash) -> Result<(), StoreError> {
        let mut head = [0; FILE_HEAD_BYTES];
        self.file.read_exact_at(&mut head, 0).map_err(|error| self.io(error))?;
        if head[..8] == OLD_MAGIC {
            return Err(StoreError::NoStateRoots { path: self.path.clone() });
        }
        if head[..8] != MAGIC {
            return Err(self.damaged(0, "not a graven log".to_string()));
        }
        let mut found = Hash::ZERO;
        found.0.copy_from_slice(&head[8..]);
        if found != *genesis {
            let path = self.path.clone();
            return Err(StoreError::OtherNetwork { path, found, wanted: *genesis });
        }
        Ok(())
    }

    /// Offset of the first record.
    pub fn start() -> u64 {
        START
    }

    /// Offset after the last record.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a record, not yet synced.
    ///
    /// # Errors
    /// When the file cannot be written; the log then still ends where it did.
    pub(super) fn append(&mut self, payload: &[u8]) -> Result<Location, StoreError> {
        self.append_all(&[payload])?;
        let length = u32::try_from(payload.len()).expect("checked when it was appended");
        let offset = self.end - RECORD_HEAD_BYTES as u64 - u64::from(length);
        Ok(Location { offset, length })
    }

    /// Appends records by one write, not yet synced.
    ///
    /// # Errors
    /// When the file cannot be written; the log then still ends where it did.
    pub(super) fn append_all(&mut self, payloads: &[&[u8]]) -> Result<(), StoreError> {
        let bytes = payloads.iter().map(|payload| RECORD_HEAD_BYTES + payload.len()).sum();
        let mut records = Vec::with_capacity(bytes);
        for payload in payloads {
            let length = u32::try_from(payload.len()).expect("records are capped far below 4 GiB");
            assert!(length <= MAX_RECORD_BYTES, "the rules cap a block's size");
            records.extend(length.to_le_bytes());
            records.extend(crc32c::crc32c(payload).to_le_bytes());
            records.extend(*payload);
        }
        if let Err(error) = self.file.write_all_at(&records, self.end) {
            // A part may have been written: cut it off so that the tail is whole again.
            self.file.set_len(self.end).ok();
            return Err(self.io(error));
        }
        self.end += records.len() as u64;
        self.synced &= records.is_empty();
        Ok(())
    }

    /// Brings all records to stable storage, if any is not there yet.
    ///
    /// # Errors
    /// When the system cannot.
    pub(super) fn sync(&mut self) -> Result<(), StoreError> {
        if !self.synced {
            self.file.sync_data().map_err(|error| self.io(error))?;
            self.synced = true;
        }
        Ok(())
    }

    /// Puts a file of exactly these records in the place of this one, all or nothing.
    ///
    /// # Errors
    /// When the new file cannot be written; the old one then stays.
    pub(super) fn rewrite(&mut self, genesis: &Hash, payloads: &[&[u8]]) -> Result<(), StoreError> {
        let path = self.path.with_extension("new");
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::Io { path, source });
            }
            _ => {}
        }
        let mut fresh = RecordLog::open(&path, genesis)?;
        fresh.append_all(payloads)?;
        fresh.sync()?;
        std::fs::rename(&path, &self.path).map_err(|error| self.io(error))?;
        sync_folder(&self.path)?;
        *self = RecordLog { path: std::mem::take(&mut self.path), ..fresh };
        Ok(())
    }

    fn truncate(&mut self, end: u64) -> Result<(), StoreError> {
        self.file.set_len(end).map_err(|error| self.io(error))?;
        self.end = end;
        self.synced = false;
        self.sync()
    }

    /// Reads the record that starts at `offset`.
    ///
    /// # Errors
    /// When the file cannot be read; bad bytes are a result, not an error.
    pub(super) fn read_next(&self, offset: u64) -> Result<Next, StoreError> {
        let mut head = [0; RECORD_HEAD_BYTES];
        match read_up_to(&self.file, &mut head, offset).map_err(|error| self.io(error))? {
            0 => return Ok(Next::End),
            got if got < head.len() => return Ok(Next::Bad("record head is cut short")),
            _ => {}
        }
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let checksum = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        if length == 0 || length > MAX_RECORD_BYTES {
            return Ok(Next::Bad("record length is impossible"));
        }
        let mut payload = vec![0; length as usize];
        let got = read_up_to(&self.file, &mut payload, offset + RECORD_HEAD_BYTES as u64)
            .map_err(|error| self.io(error))?;
        if got < payload.len() {
            return Ok(Next::Bad("record is cut short"));
        }
        if crc32c::crc32c(&payload) != checksum {
            return Ok(Next::Bad("checksum does not match"));
        }
        Ok(Next::Record(Location { offset, length }, payload))
    }

    /// Handles bad bytes at `offset`: cuts them off when no whole record follows, as a crash
    /// leaves them; refuses otherwise, because then something else damaged the file.
    ///
    /// # Errors
    /// When the damage is not a torn tail.
    pub(super) fn repair_tail(&mut self, offset: u64, what: &str) -> Result<(), StoreError> {
        if let Some(next) = self.next_whole(offset, what)? {
            let what = format!(
                "{what}, but a whole record is at {next}; `graven reindex --skip-damaged` goes on \
                 there, and a node fetches from peers what is missing then"
            );
            return Err(self.damaged(offset, what));
        }
        let dropped = self.end - offset;
        self.truncate(offset)?;
        tracing::warn!(target: "store", path = %self.path.display(), offset, dropped,
            "cut off an incomplete record that a crash left");
        Ok(())
    }

    /// Where the first whole record after the bad bytes at `offset` is.
    fn next_whole(&self, offset: u64, what: &str) -> Result<Option<u64>, StoreError> {
        let behind = self.end - offset;
        let searched = behind.min(TORN_TAIL_LIMIT_BYTES);
        let mut tail = vec![0; usize::try_from(searched).expect("limited above")];
        self.file.read_exact_at(&mut tail, offset).map_err(|error| self.io(error))?;
        match (1..tail.len()).find(|&at| is_record(&tail[at..])) {
            Some(at) => Ok(Some(offset + at as u64)),
            None if behind > searched => {
                Err(self.damaged(offset, format!("{what}, with {behind} bytes behind it")))
            }
            None => Ok(None),
        }
    }

    /// Every whole record, leaving out what is none. For records that are written one by one and
    /// synced seldom: a power cut can take one and leave those after it.
    ///
    /// # Errors
    /// When the file cannot be read, or more than [`TORN_TAIL_LIMIT_BYTES`] follow on bad bytes.
    pub(super) fn read_all_whole(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut payloads = Vec::new();
        let mut offset = START;
        loop {
            match self.read_next(offset)? {
                Next::Record(location, payload) => {
                    offset = location.end();
                    payloads.push(payload);
                }
                Next::End => return Ok(payloads),
                Next::Bad(what) => {
                    let next = self.next_whole(offset, what)?.unwrap_or(self.end);
                    tracing::warn!(target: "store", path = %self.path.display(), offset,
                        bytes = next - offset, what, "left out bytes that are no record");
                    offset = next;
                }
            }
        }
    }

    /// Every record, repairing a torn tail: what a start does with the block log step by step, in
    /// one call for tests and fuzzing.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged before its tail.
    pub fn read_all_repairing(&mut self) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut payloads = Vec::new();
        let mut offset = START;
        loop {
            match self.read_next(offset)? {
                Next::Record(location, payload) => {
                    offset = location.end();
                    payloads.push(payload);
                }
                Next::End => return Ok(payloads),
                Next::Bad(what) => {
                    self.repair_tail(offset, what)?;
                    return Ok(payloads);
                }
            }
        }
    }

    fn io(&self, source: io::Error) -> StoreError {
        StoreError::Io { path: self.path.clone(), source }
    }

    pub(super) fn damaged(&self, offset: u64, what: String) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), offset, what }
    }
}

/// Whether `bytes` start with a whole record of a plausible size.
fn is_record(bytes: &[u8]) -> bool {
    let Some((head, rest)) = bytes.split_at_checked(RECORD_HEAD_BYTES) else {
        return false;
    };
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    let checksum = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    // Nothing kept in a log is shorter than a transaction; short runs would match by chance.
    (MIN_TRANSACTION_BYTES..=MAX_RECORD_BYTES as usize).contains(&length)
        && rest.get(..length).is_some_and(|body| crc32c::crc32c(body) == checksum)
}

fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Makes a new file's name durable.
fn sync_folder(path: &Path) -> Result<(), StoreError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| StoreError::Io { path: folder.to_path_buf(), source })
}

#[cfg(test)]
mod tests;

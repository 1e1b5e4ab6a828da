//! Gives the space of records back, and finds the way across what is no record.
//!
//! Records keep their offsets: the file gets holes, which read as zeros. Where the system cannot
//! make holes in a file, the next start copies what is left into a new file that has them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use super::{Location, RecordLog, read_up_to, sync_folder};
use crate::store::StoreError;

/// Bytes that are looked at together.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Bytes in a block of the file system, as it counts them.
const COUNTED_BYTES: u64 = 512;

/// Bytes that are not worth a copy of the file.
const WORTH_A_COPY_BYTES: u64 = 1024 * 1024;

/// Of a record that begins with zeros, most of them: its length is at least a transaction's.
const LEADING_ZEROS: u64 = 3;

impl RecordLog {
    /// Bytes of the disk that the file takes.
    ///
    /// # Errors
    /// When the system does not say.
    pub(in crate::store) fn disk_bytes(&self) -> Result<u64, StoreError> {
        let metadata = self.file.metadata().map_err(|error| self.io(error))?;
        Ok(metadata.blocks() * COUNTED_BYTES)
    }

    /// Gives back the space of records, which are gone then.
    ///
    /// # Errors
    /// When the system fails. That it cannot do it is no error: then nothing is given back yet.
    pub(in crate::store) fn free(&self, mut places: Vec<Location>) -> Result<(), StoreError> {
        places.sort_unstable_by_key(|place| place.offset);
        let ranges: Vec<(u64, u64)> =
            places.iter().map(|place| (place.offset, place.end())).collect();
        let mut joined: Vec<(u64, u64)> = Vec::new();
        for (start, end) in ranges {
            match joined.last_mut() {
                Some((_, last)) if *last == start => *last = end,
                _ => joined.push((start, end)),
            }
        }
        self.punch(&joined).map(|_| ())
    }

    /// Gives back all space before `end` that none of these records takes. They are in the order of
    /// their offsets. Nobody else may have the file open.
    ///
    /// # Errors
    /// When the system fails.
    pub(in crate::store) fn free_all_but(
        &mut self,
        places: &[Location],
        end: u64,
    ) -> Result<(), StoreError> {
        let (mut gaps, mut at) = (Vec::new(), RecordLog::start());
        for place in places {
            if place.offset > at {
                gaps.push((at, place.offset));
            }
            at = at.max(place.end());
        }
        if end > at {
            gaps.push((at, end));
        }
        if self.punch(&gaps)? {
            return Ok(());
        }
        let free: u64 = gaps.iter().map(|(start, end)| end - start).sum();
        if self.disk_bytes()? + free < self.end + WORTH_A_COPY_BYTES {
            return Ok(());
        }
        self.leave_out(&gaps).map_err(|error| self.io(error))?;
        sync_folder(&self.path)
    }

    /// Makes holes; `false` = the system cannot.
    fn punch(&self, ranges: &[(u64, u64)]) -> Result<bool, StoreError> {
        for &(start, end) in ranges {
            match punch(&self.file, start, end - start) {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    tracing::warn!(target: "store", path = %self.path.display(),
                        "holes cannot be made in this file: the next start frees the space");
                    return Ok(false);
                }
                result => result.map_err(|error| self.io(error))?,
            }
        }
        Ok(true)
    }

    /// Puts a copy without these ranges in the place of the file, all or nothing. What is not
    /// written is a hole.
    pub(super) fn leave_out(&mut self, gaps: &[(u64, u64)]) -> io::Result<()> {
        let path = self.path.with_extension("new");
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let copy = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        copy.set_len(self.end)?;
        let (mut chunk, mut at) = (vec![0; CHUNK_BYTES], 0);
        for &(start, end) in gaps.iter().chain([&(self.end, self.end)]) {
            while at < start {
                let most =
                    usize::try_from(start - at).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
                self.file.read_exact_at(&mut chunk[..most], at)?;
                copy.write_all_at(&chunk[..most], at)?;
                at += most as u64;
            }
            at = end;
        }
        copy.sync_all()?;
        std::fs::rename(&path, &self.path)?;
        self.file = copy;
        Ok(())
    }

    /// Where the first whole record after the bad bytes at `offset` is. Zeros, which are what
    /// removed records leave, may be as many as they like.
    ///
    /// # Errors
    /// When the file cannot be read, or what is bad is too long to be searched.
    pub(in crate::store) fn next_whole_after(
        &self,
        offset: u64,
        what: &str,
    ) -> Result<Option<u64>, StoreError> {
        let start = self.after_zeros(offset)?.saturating_sub(LEADING_ZEROS + 1).max(offset);
        self.next_whole(start, what)
    }

    /// The first byte from `offset` on that is not zero, or the end.
    fn after_zeros(&self, mut offset: u64) -> Result<u64, StoreError> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let got = read_up_to(&self.file, &mut chunk, offset);
            let got = got.map_err(|error| self.io(error))?;
            if let Some(at) = chunk[..got].iter().position(|byte| *byte != 0) {
                return Ok(offset + at as u64);
            }
            offset += got as u64;
            if got < chunk.len() {
                return Ok(offset);
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn punch(file: &File, offset: u64, length: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::{Errno, retry_on_intr};
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match retry_on_intr(|| fallocate(file, flags, offset, length)) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Err(io::ErrorKind::Unsupported.into()),
        result => Ok(result?),
    }
}

#[cfg(not(target_os = "linux"))]
fn punch(_: &File, _: u64, _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

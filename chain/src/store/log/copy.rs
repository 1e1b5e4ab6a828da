//! Copies records of another log, each to the place that it has there.

use std::os::unix::fs::FileExt;

use super::{Location, RECORD_HEAD_BYTES, RecordLog};
use crate::store::StoreError;

impl RecordLog {
    /// Writes a record of another log, not yet synced. Where nothing is written the file has a
    /// hole, which reads as zeros.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(in crate::store) fn copy_record(
        &mut self,
        place: Location,
        payload: &[u8],
    ) -> Result<(), StoreError> {
        let checksum = crc32c::crc32c(payload).to_le_bytes();
        let head = [place.length.to_le_bytes(), checksum].concat();
        let start = place.offset + RECORD_HEAD_BYTES as u64;
        self.file
            .write_all_at(&head, place.offset)
            .and_then(|()| self.file.write_all_at(payload, start))
            .map_err(|error| self.io(error))?;
        self.end = self.end.max(place.end());
        self.synced = false;
        Ok(())
    }

    /// Makes the file at least so long.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(in crate::store) fn reach(&mut self, end: u64) -> Result<(), StoreError> {
        if self.end < end {
            self.truncate(end)?;
        }
        Ok(())
    }
}

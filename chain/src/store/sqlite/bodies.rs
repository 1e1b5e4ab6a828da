//! Bodies that are in the log, and those that are not any more.
//!
//! A row of `block` says where its record is. [`MISSING`] and [`PRUNED`] stand there for blocks of
//! the main chain alone: a block off it without its body is no use, and has no row.

use miner::Hash;
use rusqlite::params;

use super::{SqliteArchive, SqliteStore, hash_from};
use crate::block::CheckedBlock;
use crate::header::Header;
use crate::store::log::{Location, Next};
use crate::store::{Archive, Body, Damage, StoreError, StoredBlock};

/// The offset of a body that was damaged and is to be fetched again.
pub(super) const MISSING: i64 = 0;
/// The offset of a body that was removed.
pub(super) const PRUNED: i64 = -1;

/// The row of `meta` with the height up to which bodies were removed.
pub(super) const PRUNED_NAME: &str = "pruned";

impl SqliteArchive {
    /// The body of a block of the main chain, which peers may be given. A body on a branch was
    /// perhaps never executed, and who serves an invalid one is shunned.
    ///
    /// # Errors
    /// When the store fails.
    pub fn servable_body(&self, hash: &Hash) -> Result<Body, StoreError> {
        match self.main_height(hash)? {
            Some(_) => self.body(hash),
            None => Ok(Body::Unknown),
        }
    }

    pub(super) fn read_body(&self, hash: &Hash) -> Result<Body, StoreError> {
        let sql = "SELECT offset, length FROM block WHERE hash = ?1";
        let row =
            self.one(sql, [&hash.0[..]], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, u32>(1)?)))?;
        match row {
            None => Ok(Body::Unknown),
            Some((MISSING, _)) => Ok(Body::Missing),
            Some((PRUNED, _)) => Ok(Body::Pruned),
            Some((offset, length)) => {
                self.read_body_at(hash, Location { offset: offset.cast_unsigned(), length })
            }
        }
    }

    pub(super) fn read_body_at(&self, hash: &Hash, location: Location) -> Result<Body, StoreError> {
        let damaged = |what: &str| {
            Ok(Body::Damaged(Damage { offset: location.offset, what: what.to_string() }))
        };
        match self.log.read_next(location.offset)? {
            // The checksum vouches for the record, not for the index that says which one it is.
            Next::Record(_, bytes)
                if bytes.first_chunk().map(|header| Header::decode(header).hash())
                    != Some(*hash) =>
            {
                Err(self.inconsistent("a block's offset is that of another record"))
            }
            Next::Record(found, bytes) if found == location => Ok(Body::Here(bytes)),
            Next::Record(..) => damaged("another length"),
            Next::End => damaged("the file ends here"),
            Next::Bad(what) => damaged(what),
        }
    }

    /// Where the records of all bodies are that are here, ascending.
    pub(super) fn body_places(&self) -> Result<Vec<Location>, StoreError> {
        let sql = "SELECT offset, length FROM block WHERE offset > 0 ORDER BY offset";
        self.many(sql, [], |row| {
            Ok(Location { offset: row.get::<_, i64>(0)?.cast_unsigned(), length: row.get(1)? })
        })
    }

    pub(super) fn read_pruned(&self) -> Result<u32, StoreError> {
        let Some(bytes) = self.meta(PRUNED_NAME)? else { return Ok(0) };
        let height = bytes.try_into().map(u32::from_le_bytes);
        height.map_err(|_| self.inconsistent("the height of pruned bodies has not 4 bytes"))
    }

    pub(super) fn read_txids_at(&self, height: u32) -> Result<Vec<Hash>, StoreError> {
        let sql = "SELECT txid FROM tx WHERE height = ?1";
        let rows = self.many(sql, [height], |row| row.get::<_, Vec<u8>>(0))?;
        rows.iter()
            .map(|bytes| {
                hash_from(bytes).ok_or_else(|| self.inconsistent("an id has not 32 bytes"))
            })
            .collect()
    }

    pub(super) fn read_stored_blocks(&self) -> Result<Vec<StoredBlock>, StoreError> {
        let sql = "SELECT header, hash, invalid, offset FROM block ORDER BY arrival";
        self.many(sql, [], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?, row.get(3)?)))?
            .into_iter()
            .map(|(row, invalid, offset): (_, _, i64)| {
                let (header, hash) = self.header_from(row)?;
                Ok(StoredBlock { hash, header, invalid, missing: offset == MISSING })
            })
            .collect()
    }
}

impl SqliteStore {
    /// Leaves out what is no record when the log is read next: damaged blocks, and removed ones.
    pub fn leave_out_damaged(&mut self) {
        self.leaves_out_damaged = true;
    }

    /// Goes on at the next whole record; `false` = there is none.
    pub(super) fn leave_out(&mut self, what: &str) -> Result<bool, StoreError> {
        let offset = self.indexed_end;
        let Some(next) = self.archive.log.next_whole_after(offset, what)? else {
            return Ok(false);
        };
        tracing::warn!(target: "store", path = %self.archive.log.path().display(), offset,
            bytes = next - offset, what, "left out bytes that are no block");
        self.indexed_end = next;
        Ok(true)
    }

    pub(super) fn note_lost(&mut self, hash: &Hash) -> Result<(), StoreError> {
        let is_main = self.main_height(hash)?.is_some();
        self.body_bytes = None;
        self.write(|index| {
            if is_main {
                let sql = "UPDATE block SET offset = ?2, length = 0 WHERE hash = ?1";
                index.prepare_cached(sql)?.execute(params![&hash.0[..], MISSING])
            } else {
                index.prepare_cached("DELETE FROM block WHERE hash = ?1")?.execute([&hash.0[..]])
            }
        })?;
        Ok(())
    }

    /// Forgets a block that has just left the main chain if it has no body.
    pub(super) fn forget_if_missing(&mut self, hash: &Hash) -> Result<(), StoreError> {
        self.write(|index| {
            let sql = "DELETE FROM block WHERE hash = ?1 AND offset <= 0";
            index.prepare_cached(sql)?.execute([&hash.0[..]])
        })?;
        Ok(())
    }

    /// Notes where the body of a block is.
    pub(super) fn index(&mut self, block: &CheckedBlock, location: Location) {
        self.unwritten.set_body(block.hash(), *block.header(), location);
        self.indexed_end = location.end();
        self.body_bytes = self.body_bytes.map(|bytes| bytes + u64::from(location.length));
    }

    pub(super) fn read_unindexed(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        loop {
            match self.archive.log.read_next(self.indexed_end)? {
                Next::Record(location, payload) => {
                    self.unindexed = Some(location);
                    return Ok(Some(payload));
                }
                Next::End => return Ok(None),
                Next::Bad(what) if self.leaves_out_damaged && self.leave_out(what)? => {}
                Next::Bad(what) => {
                    self.archive.log.repair_tail(self.indexed_end, what)?;
                    return Ok(None);
                }
            }
        }
    }
}

//! Removes old bodies.
//!
//! First the index says so, on stable storage; then the log gives the space back. A crash in
//! between leaves space that nobody uses, and the next start gives it back. The other way round the
//! index could come back from a power cut pointing at bodies that are gone.

use miner::Hash;
use rusqlite::{Connection, OptionalExtension, params};

use super::bodies::{PRUNED, PRUNED_NAME};
use super::{SqliteStore, put_meta};
use crate::store::log::Location;
use crate::store::{Archive, Storage, Store, StoreError};

/// Postcard of an empty list.
const NO_UNDO: &[u8] = &[0];

impl SqliteStore {
    pub(super) fn read_storage(&self) -> Result<Storage, StoreError> {
        let (pruned, log_bytes) = (self.archive.pruned()?, self.archive.log.disk_bytes()?);
        Ok(Storage { pruned, missing: 0, log_bytes })
    }

    /// Bytes of all bodies that are here. The first call looks at all rows.
    pub(super) fn sum_bodies(&mut self) -> Result<u64, StoreError> {
        if let Some(bytes) = self.body_bytes {
            return Ok(bytes);
        }
        self.write_out()?;
        let sql = "SELECT COALESCE(SUM(length), 0) FROM block WHERE offset > 0";
        let sum = self.archive.one(sql, [], |row| row.get::<_, i64>(0))?.unwrap_or(0);
        self.body_bytes = Some(sum.cast_unsigned());
        Ok(sum.cast_unsigned())
    }

    pub(super) fn read_body_lengths(
        &mut self,
        from: u32,
        limit: usize,
    ) -> Result<Vec<u32>, StoreError> {
        let sql = "SELECT block.length FROM chain JOIN block ON block.hash = chain.hash
                   WHERE chain.height >= ?1 ORDER BY chain.height LIMIT ?2";
        self.write_out()?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.archive.many(sql, params![from, limit], |row| row.get(0))
    }

    pub(super) fn remove_bodies(&mut self, to: u32, side: &[Hash]) -> Result<(), StoreError> {
        self.commit()?;
        self.wait()?;
        self.end_reads()?;
        let from = self.archive.pruned()? + 1;
        // Space is given back at once, so this commit must not be rolled back by a power cut.
        self.archive.run("PRAGMA synchronous = FULL")?;
        let places = self.write(|index| mark(index, from, to, side))?;
        self.commit()?;
        self.wait()?;
        self.archive.run("PRAGMA synchronous = NORMAL")?;
        let freed: u64 = places.iter().map(|place| u64::from(place.length)).sum();
        self.body_bytes = self.body_bytes.map(|bytes| bytes.saturating_sub(freed));
        self.archive.log.free(places)
    }

    /// Gives back what a crash kept the last run from giving back.
    pub(super) fn free_unused(&mut self) -> Result<(), StoreError> {
        let sql = "SELECT offset, length FROM block WHERE offset > 0 ORDER BY offset";
        let places = self.archive.many(sql, [], place)?;
        self.archive.log.free_all_but(&places, self.indexed_end)
    }

    /// Ends a transaction that has read alone.
    pub(super) fn end_reads(&self) -> Result<(), StoreError> {
        if self.archive.connection.is_autocommit() { Ok(()) } else { self.archive.run("COMMIT") }
    }
}

fn place(row: &rusqlite::Row<'_>) -> rusqlite::Result<Location> {
    Ok(Location { offset: row.get::<_, i64>(0)?.cast_unsigned(), length: row.get(1)? })
}

/// Marks the bodies of the main chain at these heights as removed, and forgets the blocks of
/// `side`. Returns where their records are.
fn mark(index: &Connection, from: u32, to: u32, side: &[Hash]) -> rusqlite::Result<Vec<Location>> {
    let sql = "SELECT block.offset, block.length FROM chain JOIN block ON block.hash = chain.hash
               WHERE chain.height BETWEEN ?1 AND ?2 AND block.offset > 0";
    let mut places: Vec<Location> =
        index.prepare_cached(sql)?.query_map([from, to], place)?.collect::<Result<_, _>>()?;
    let sql = "UPDATE block SET offset = ?3, length = 0
               WHERE hash IN (SELECT hash FROM chain WHERE height BETWEEN ?1 AND ?2)";
    index.prepare_cached(sql)?.execute(params![from, to, PRUNED])?;
    let sql = "UPDATE chain SET undo = ?3 WHERE height BETWEEN ?1 AND ?2";
    index.prepare_cached(sql)?.execute(params![from, to, NO_UNDO])?;
    for hash in side {
        let sql = "DELETE FROM block WHERE hash = ?1 RETURNING offset, length";
        let gone = index.prepare_cached(sql)?.query_row([&hash.0[..]], place).optional()?;
        places.extend(gone);
    }
    put_meta(index, PRUNED_NAME, &to.to_le_bytes())?;
    Ok(places)
}

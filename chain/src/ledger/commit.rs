//! Brings what a ledger has taken to disk, and says what came of it when it is there.

use super::{Ledger, Time};
use crate::store::{Store, StoreError};

impl<S: Store> Ledger<S> {
    /// Begins to bring what was taken to disk, unless what an earlier call began is still on its
    /// way: then a later call does. In any case miners get a new job if one is due.
    ///
    /// # Errors
    /// When the store fails; the ledger must then be dropped, and does nothing more.
    pub fn commit(&mut self, now: Time) -> Result<(), StoreError> {
        self.unless_failed(|ledger| {
            if ledger.has_settled()? {
                ledger.commit_taken()?;
            }
            ledger.refresh_job(now)
        })
    }

    /// Waits for what is on its way to disk.
    ///
    /// # Errors
    /// When the store fails; the ledger must then be dropped, and does nothing more.
    pub fn settle(&mut self) -> Result<(), StoreError> {
        self.unless_failed(|ledger| {
            ledger.store.settle()?;
            ledger.has_settled().map(|_| ())
        })
    }

    /// Whether all that was to be committed is. What waited for that can be said then.
    fn has_settled(&mut self) -> Result<bool, StoreError> {
        let has_settled = self.store.is_settled()?;
        if has_settled {
            self.sayable.append(&mut self.committing);
        }
        Ok(has_settled)
    }

    fn commit_taken(&mut self) -> Result<(), StoreError> {
        self.store.commit()?;
        // Not before: the block that a transaction is in must be in the log when its record goes.
        self.compact_kept_if_long()?;
        self.prune_if_due()?;
        self.say_storage()?;
        self.say_pool_size();
        self.committing.append(&mut self.outbox);
        self.has_settled()?;
        // Once a commit: the list is long. At once: one that waits would be heard after newer ones.
        let wanted = self.changed_wanted();
        self.sayable.extend(wanted);
        Ok(())
    }

    /// Brings everything to disk, for a clean stop.
    ///
    /// # Errors
    /// When the store fails.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        self.unless_failed(|ledger| {
            // First: the block that a transaction is in must be in the log when its record goes.
            ledger.store.commit()?;
            ledger.compact_kept()?;
            ledger.store.flush()?;
            ledger.committing.append(&mut ledger.outbox);
            ledger.has_settled().map(|_| ())
        })
    }
}

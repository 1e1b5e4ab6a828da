//! Removes old bodies, when the operator wants no more than so many bytes of them.

use super::{Ledger, Output};
use crate::store::{Storage, Store, StoreError};
use crate::tree::Path;

/// When old bodies are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruning {
    /// When there are more bytes of bodies than this.
    pub most_bytes: u64,
    /// Never those of so many newest blocks of the main chain: reorganisations of that depth can be
    /// followed, and peers that were away for a while be served.
    pub kept_blocks: u32,
    /// So many blocks at a time, or more: each time costs a sync.
    pub least_blocks: u32,
}

impl Pruning {
    /// With Bitcoin's number of blocks kept.
    pub fn above(most_bytes: u64) -> Pruning {
        Pruning { most_bytes, kept_blocks: 288, least_blocks: 32 }
    }
}

/// Most blocks that are pruned at a time, because nothing else happens meanwhile.
const MOST_AT_A_TIME: u32 = 1024;

impl<S: Store> Ledger<S> {
    /// Removes the oldest bodies, if there are more bytes of them than wanted: then until an eighth
    /// of that is free again.
    pub(super) fn prune_if_due(&mut self) -> Result<(), StoreError> {
        let Some(Pruning { most_bytes, kept_blocks, least_blocks }) = self.pruning else {
            return Ok(());
        };
        let bytes = self.store.body_bytes()?;
        let highest = self.tree.point(self.tree.tip()).height.saturating_sub(kept_blocks);
        let deep = highest.saturating_sub(self.pruned);
        if bytes <= most_bytes || deep < least_blocks {
            return Ok(());
        }
        let limit = deep.min(MOST_AT_A_TIME) as usize;
        let mut excess = bytes - (most_bytes - most_bytes / 8);
        let mut to = self.pruned;
        for length in self.store.body_lengths(self.pruned + 1, limit)? {
            if excess == 0 && to >= self.pruned + least_blocks {
                break;
            }
            excess = excess.saturating_sub(u64::from(length));
            to += 1;
        }
        self.prune_to(to)
    }

    fn prune_to(&mut self, to: u32) -> Result<(), StoreError> {
        let mut side = Vec::new();
        for id in self.tree.bodies_off_best(to) {
            let hash = self.tree.point(id).hash;
            if self.store.main_height(&hash)?.is_none() {
                side.push((id, hash));
            }
        }
        let hashes: Vec<_> = side.iter().map(|(_, hash)| *hash).collect();
        self.store.prune(to, &hashes)?;
        side.into_iter().for_each(|(id, _)| self.tree.body_lost(id));
        self.missing.retain(|height, _| *height > to);
        self.pruned = to;
        self.wanted_changed = true;
        tracing::debug!(target: "store", to, "pruned");
        Ok(())
    }

    /// Says what is stored, if that has changed.
    pub(super) fn say_storage(&mut self) -> Result<(), StoreError> {
        let missing = self.missing.len();
        let storage = Storage { missing, ..self.store.storage()? };
        if self.said_storage != Some(storage) {
            self.said_storage = Some(storage);
            self.outbox.push_back(Output::Storage(storage));
        }
        Ok(())
    }

    /// Fails if a way to another tip leads through blocks that cannot be taken off any more.
    pub(super) fn check_depth(&self, path: &Path) -> Result<(), StoreError> {
        match path.revert.last() {
            Some(&lowest) if self.tree.point(lowest).height <= self.pruned => {
                Err(StoreError::Pruned { pruned: self.pruned, to: self.tree.point(lowest).height })
            }
            _ => Ok(()),
        }
    }
}

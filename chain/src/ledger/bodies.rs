//! Bodies that are not there any more: noted, asked for again, put back.
//!
//! A block of the main chain stays on it without its body, for the state has what it did. Any other
//! block is not complete without its body, and is fetched like one that never arrived.

use miner::Hash;

use super::Ledger;
use crate::block::CheckedBlock;
use crate::rules::isolation;
use crate::store::{Body, ChainPoint, Damage, Store, StoreError};
use crate::tree::NodeId;

/// Bodies of the main chain that are wanted at a time, besides those not executed yet.
const MAX_WANTED_AGAIN: usize = 64;

impl<S: Store> Ledger<S> {
    /// The block of a node that the tree says is stored; `None` = its body is not there, which is
    /// noted.
    pub(super) fn read(&mut self, id: NodeId) -> Result<Option<CheckedBlock>, StoreError> {
        match self.peek(id)? {
            Ok(block) => Ok(Some(block)),
            Err(Some(damage)) => {
                self.lose(&self.tree.point(id).hash, &damage)?;
                Ok(None)
            }
            Err(None) => Ok(None),
        }
    }

    /// The block of a node that the tree says is stored, or what is wrong with its body, unless it
    /// is known to be gone.
    pub(super) fn peek(
        &self,
        id: NodeId,
    ) -> Result<Result<CheckedBlock, Option<Damage>>, StoreError> {
        let hash = self.tree.point(id).hash;
        if let Some(block) = self.fresh.iter().find(|block| block.hash() == hash) {
            return Ok(Ok(block.clone()));
        }
        match self.store.body(&hash)? {
            // The tree says that its body is stored, and it was checked before that.
            Body::Here(bytes) => isolation::reread_block(bytes).map(Ok).map_err(|_| self.lacks(id)),
            Body::Damaged(damage) => Ok(Err(Some(damage))),
            Body::Missing | Body::Pruned => Ok(Err(None)),
            Body::Unknown => Err(self.lacks(id)),
        }
    }

    /// What to say when there is no way around a body that is not there.
    pub(super) fn lacks(&self, id: NodeId) -> StoreError {
        let ChainPoint { height, hash } = self.tree.point(id);
        let what = format!("the body of block {hash} at height {height} is not where it should be");
        StoreError::Inconsistent { path: "index".into(), what }
    }

    /// Looks at a body that somebody could not read.
    pub(super) fn look_at(&mut self, hash: &Hash) -> Result<(), StoreError> {
        match self.store.body(hash)? {
            Body::Damaged(damage) => self.lose(hash, &damage),
            _ => Ok(()),
        }
    }

    /// Takes note of a damaged body, and wants it again.
    ///
    /// # Errors
    /// When the store fails.
    pub fn lose(&mut self, hash: &Hash, damage: &Damage) -> Result<(), StoreError> {
        let main_height = self.store.main_height(hash)?;
        let node = self.tree.find(hash);
        let height = node.map(|id| self.tree.point(id).height);
        let Damage { offset, what } = damage;
        tracing::error!(target: "store", height, %hash, offset, what,
            "the body of a block is damaged in blocks.log; it is fetched from peers again");
        self.store.lose_body(hash)?;
        match (main_height, node) {
            (Some(height), _) => _ = self.missing.insert(height, *hash),
            (None, Some(id)) => self.tree.body_lost(id),
            (None, None) => _ = self.loose.remove(hash),
        }
        self.wanted_changed = true;
        Ok(())
    }

    /// Bodies of the main chain to be fetched again, lowest height first.
    pub(super) fn missing_again(&self) -> Vec<ChainPoint> {
        let lowest = self.missing.iter().take(MAX_WANTED_AGAIN);
        lowest.map(|(&height, &hash)| ChainPoint { height, hash }).collect()
    }

    /// Takes note that a body is here; whether it was missing.
    pub(super) fn is_here(&mut self, hash: &Hash) -> bool {
        let height = self.tree.find(hash).map(|id| self.tree.point(id).height);
        let height = height.filter(|height| self.missing.get(height) == Some(hash));
        height.is_some_and(|height| self.missing.remove(&height).is_some())
    }

    /// Keeps the body of a block of the main chain that was missing.
    pub(super) fn put_back(&mut self, block: &CheckedBlock) -> Result<(), StoreError> {
        self.store.append(block)?;
        self.wanted_changed = true;
        tracing::info!(target: "store", hash = %block.hash(), "a missing body is here again");
        Ok(())
    }
}

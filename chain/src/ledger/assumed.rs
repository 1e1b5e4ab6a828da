//! Signatures that are taken for good: those of the block that the landmarks assume to be valid,
//! and of its ancestors.
//!
//! That a block is such an ancestor, only the ledger knows, so only it makes [`AssumedBlocks`].
//! They travel with the list of wanted bodies to whoever verifies. Every other rule is checked.

use std::collections::BTreeSet;
use std::sync::Arc;

use miner::{Hash, Work};
use ruint::aliases::U256;

use super::Ledger;
use crate::store::{ChainPoint, Store};
use crate::tree::work_of;

/// The assumed block has so much work on top, in seconds of work as hard as the best header. Two
/// weeks, as in Bitcoin Core: a chain made up to be assumed valid costs that much at least.
const DEPTH_S: u64 = 14 * 24 * 3600;

/// Blocks whose signatures are taken for good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AssumedBlocks(Arc<BTreeSet<Hash>>);

impl AssumedBlocks {
    /// What the verifier must be shown of one of them.
    pub fn get(&self, hash: &Hash) -> Option<AssumedValid> {
        self.0.contains(hash).then_some(AssumedValid(*hash))
    }
}

/// Says of one block that its signatures are taken for good. Only the ledger makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssumedValid(Hash);

impl AssumedValid {
    /// Whether it is about this block.
    pub fn is_about(self, hash: &Hash) -> bool {
        self.0 == *hash
    }
}

impl<S: Store> Ledger<S> {
    /// Which of the missing bodies need no look at their signatures, if there can be any.
    pub(super) fn assumed_of(&self, missing: &[ChainPoint]) -> Option<AssumedBlocks> {
        let assumed_height = self.assumed_height()?;
        let is_below = |point: &&ChainPoint| {
            let on_best = self.tree.best_at(point.height);
            point.height <= assumed_height && on_best == self.tree.find(&point.hash)
        };
        let hashes = missing.iter().filter(is_below).map(|point| point.hash).collect();
        Some(AssumedBlocks(Arc::new(hashes)))
    }

    /// Height of the block that is assumed to be valid, if it is on the best header chain and lies
    /// deep enough.
    fn assumed_height(&self) -> Option<u32> {
        let id = self.tree.find(&self.network.landmarks.assume_valid?)?;
        let best = self.tree.best_header();
        let blocks = DEPTH_S.div_ceil(u64::from(self.network.target_interval_s));
        let block = work_of(self.tree.header(best)).to_uint();
        let depth = Work::from_uint(block.saturating_mul(U256::from(blocks)));
        let is_deep = self.tree.work(best) - self.tree.work(id) >= depth;
        let height = self.tree.point(id).height;
        (is_deep && self.tree.best_at(height) == Some(id)).then_some(height)
    }

    /// Whether nobody may have looked at the signatures of a main chain's block at this height.
    pub(super) fn may_be_unsigned(&self, height: u32) -> bool {
        let assumed = self.network.landmarks.assume_valid;
        let id = assumed.and_then(|hash| self.tree.find(&hash));
        id.is_some_and(|id| height <= self.tree.point(id).height)
    }
}

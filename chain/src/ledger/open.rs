//! Opening a ledger: load the index, bring it up to the log, choose the tip.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::mining::Mining;
use super::{Ledger, LedgerOptions, Output, Time};
use crate::block::CheckedBlock;
use crate::mempool::Mempool;
use crate::rules::{RuleError, context};
use crate::store::{Store, StoreError};
use crate::tree::HeaderTree;
use crate::verify::Verifier;

/// Why a ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A whole record of the block log is no valid block.
    #[error("block {number} of the block log breaks a rule: {error}")]
    InvalidLog {
        /// Its position among the blocks read, from 0.
        number: u64,
        /// Which rule.
        error: RuleError,
    },
}

/// How far indexing has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Blocks indexed in this run.
    pub blocks: u64,
    /// Share of the log that is indexed, 0.0 to 1.0.
    pub share: f64,
    /// Height of the main chain.
    pub height: u32,
}

impl<S: Store> Ledger<S> {
    /// Opens a ledger on a store that has at least genesis. Blocks that the index lacks are read
    /// from the log, checked by every rule and indexed; `progress` hears of each.
    ///
    /// # Errors
    /// When the store cannot be used or its log holds what is no block.
    pub fn open(
        options: LedgerOptions,
        store: S,
        now: Time,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Ledger<S>, OpenError> {
        let genesis = options.network.genesis();
        let mut ledger = Ledger {
            genesis: genesis.header.hash(),
            tree: HeaderTree::new(&genesis.header),
            network: options.network,
            machine: options.machine,
            key: options.key,
            store,
            pool: Mempool::new(options.pool),
            kept: BTreeSet::new(),
            kept_records: 0,
            mining: options.payee.map(Mining::new),
            senders: BTreeMap::new(),
            fresh: VecDeque::new(),
            detached: BTreeMap::new(),
            outbox: VecDeque::new(),
        };
        ledger.load_tree()?;
        ledger.activate(None)?;
        ledger.index_rest(progress)?;
        ledger.restore_kept()?;
        ledger
            .outbox
            .retain(|output| !matches!(output, Output::TipChanged(_)));
        let start = ledger.tip_change(super::Moves::default());
        ledger
            .outbox
            .push_front(Output::TipChanged(Arc::new(start)));
        ledger.say_wanted();
        ledger.refresh_job(now)?;
        Ok(ledger)
    }

    fn load_tree(&mut self) -> Result<(), StoreError> {
        let stored = self.store.stored_blocks()?;
        // A body can have arrived before its parent's: headers first, then bodies in order.
        let mut waiting: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for block in &stored {
            waiting.entry(block.header.prev).or_default().push(block);
        }
        let mut reached = vec![self.genesis];
        while let Some(parent) = reached.pop() {
            for block in waiting.remove(&parent).unwrap_or_default() {
                self.tree.add(&block.header, block.hash);
                reached.push(block.hash);
            }
        }
        for block in &stored {
            let Some(id) = self.tree.find(&block.hash) else {
                continue;
            };
            self.tree.body_arrived(id);
            if block.invalid {
                self.tree.mark_invalid(id);
            }
        }
        let tip = self.store.tip()?;
        let id = self
            .tree
            .find(&tip.hash)
            .expect("the main chain's blocks are stored blocks");
        self.tree.restore_tip(id);
        Ok(())
    }

    /// Indexes what the log has and the index lacks, in the order of the log, so that the result
    /// is that of the first time.
    fn index_rest(&mut self, progress: &mut dyn FnMut(Progress)) -> Result<(), OpenError> {
        let mut verifier: Option<Verifier> = None;
        let mut blocks = 0;
        while let Some(bytes) = self.store.next_unindexed()? {
            let verifier = verifier.get_or_insert_with(|| {
                // Not secret: an own log is no place to forge signatures against.
                Verifier::new(
                    self.network.clone(),
                    Arc::clone(&self.machine),
                    self.genesis.0,
                )
            });
            let block = verifier
                .block(bytes)
                .map_err(|error| OpenError::InvalidLog {
                    number: blocks,
                    error,
                })?;
            self.store.index_unindexed(&block)?;
            self.readmit(block).map_err(|error| OpenError::InvalidLog {
                number: blocks,
                error,
            })?;
            self.activate(None)?;
            blocks += 1;
            let height = self.tree.point(self.tree.tip()).height;
            progress(Progress {
                blocks,
                share: self.store.indexed_share(),
                height,
            });
        }
        Ok(())
    }

    /// Adds a block of the log to the tree, as soon as its parent is there.
    fn readmit(&mut self, block: CheckedBlock) -> Result<(), RuleError> {
        let mut ready = vec![block];
        while let Some(block) = ready.pop() {
            let header = *block.header();
            let Some(parent) = self.tree.find(&header.prev) else {
                self.detached.entry(header.prev).or_default().push(block);
                continue;
            };
            context::check_header(&self.network, &header, &self.tree.parent_facts(parent))?;
            let added = self
                .tree
                .add(&header, block.hash())
                .expect("the parent is there");
            self.body_fits(added.id(), &block)?;
            self.tree.body_arrived(added.id());
            ready.extend(self.detached.remove(&block.hash()).unwrap_or_default());
        }
        Ok(())
    }
}

//! Opening a ledger: load the index, bring it up to the log, choose the tip.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use miner::Hash;

use super::headers::Presyncs;
use super::mining::Mining;
use super::{Ledger, LedgerOptions, Output, Time};
use crate::landmarks::Checkpoint;
use crate::mempool::Mempool;
use crate::rules::{RuleError, context};
use crate::store::{Store, StoreError, StoredBlock};
use crate::tree::HeaderTree;
use crate::verify::Verifier;

/// Blocks that are indexed in one commit. More would save no time worth having.
const BLOCKS_A_COMMIT: u64 = 256;

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
    /// The stored chain is another than that of the checkpoints.
    #[error(
        "the stored chain has block {found} at height {height}, the checkpoint there is \
         {expected}: if the checkpoint is right, this node was on a wrong chain; move blocks.log \
         and the index out of the data folder and start again"
    )]
    OtherChain {
        /// Where.
        height: u32,
        /// In the store.
        found: Hash,
        /// The checkpoint.
        expected: Hash,
    },
}

/// Stored blocks whose parents are not in the tree, by those, with their places in the log.
type Detached = BTreeMap<Hash, Vec<(u64, StoredBlock)>>;

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
        let pruned = store.pruned()?;
        let mut ledger = Ledger {
            genesis: genesis.header.hash(),
            tree: HeaderTree::new(&genesis.header),
            presyncs: Presyncs::new(options.secret),
            network: options.network,
            machine: options.machine,
            key: options.key,
            store,
            pool: Mempool::new(options.pool),
            kept: BTreeSet::new(),
            kept_records: 0,
            mining: options.payee.map(|payee| Mining::new(payee, options.extranonce_start)),
            senders: BTreeMap::new(),
            fresh: VecDeque::new(),
            loose: BTreeMap::new(),
            missing: BTreeMap::new(),
            pruning: options.pruning,
            pruned,
            said_storage: None,
            outbox: VecDeque::new(),
            committing: VecDeque::new(),
            sayable: VecDeque::new(),
            wanted_changed: true,
            said_pool: (0, 0),
            has_failed: false,
        };
        let detached = ledger.load_tree()?;
        ledger.activate(None)?;
        ledger.index_rest(detached, progress)?;
        ledger.compare_checkpoints()?;
        ledger.restore_kept()?;
        ledger.outbox.retain(|output| !matches!(output, Output::TipChanged(_)));
        let start = Arc::new(ledger.standing());
        ledger.outbox.push_front(Output::TipChanged(start));
        let wanted = ledger.changed_wanted();
        ledger.outbox.extend(wanted);
        ledger.say_pool_size();
        ledger.say_storage()?;
        ledger.sayable = std::mem::take(&mut ledger.outbox);
        ledger.refresh_job(now)?;
        Ok(ledger)
    }

    /// Takes in what is indexed; returns what cannot be reached from genesis.
    fn load_tree(&mut self) -> Result<Detached, StoreError> {
        let stored = self.store.stored_blocks()?;
        // A body can have arrived before its parent's: headers first, then bodies in order.
        let mut detached = Detached::new();
        for (number, block) in (0..).zip(&stored) {
            detached.entry(block.header.prev).or_default().push((number, *block));
        }
        let mut reached = vec![self.genesis];
        while let Some(parent) = reached.pop() {
            for (_, block) in detached.remove(&parent).unwrap_or_default() {
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
            let height = self.tree.point(id).height;
            // Whoever prunes does not fetch what came before a snapshot.
            if block.missing && (height > self.pruned || self.pruning.is_none()) {
                self.missing.insert(height, block.hash);
            }
        }
        let tip = self.store.tip()?;
        match self.tree.find(&tip.hash) {
            Some(id) if self.tree.is_complete(id) => {
                self.tree.restore_tip(id);
                Ok(detached)
            }
            _ => Err(StoreError::Inconsistent {
                path: "index".into(),
                what: format!("the tip {} lacks blocks before it", tip.hash),
            }),
        }
    }

    /// Indexes what the log has and the index lacks, in the order of the log, so that the result
    /// is that of the first time.
    fn index_rest(
        &mut self,
        mut detached: Detached,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), OpenError> {
        let mut verifier: Option<Verifier> = None;
        let indexed = detached.values().flatten().map(|(number, _)| number + 1).max().unwrap_or(0);
        let mut blocks = 0;
        while let Some(bytes) = self.store.next_unindexed()? {
            let verifier = verifier.get_or_insert_with(|| {
                // Not secret: an own log is no place to forge signatures against.
                Verifier::new(self.network.clone(), Arc::clone(&self.machine), self.genesis.0)
            });
            let block = verifier
                .block(bytes)
                .map_err(|error| OpenError::InvalidLog { number: blocks, error })?;
            self.store.index_unindexed(&block)?;
            self.is_here(&block.hash());
            let (hash, header) = (block.hash(), *block.header());
            self.keep_fresh(block);
            let stored = StoredBlock { hash, header, invalid: false, missing: false };
            self.readmit(indexed + blocks, stored, &mut detached)?
                .map_err(|error| OpenError::InvalidLog { number: blocks, error })?;
            self.activate(None)?;
            self.outbox.clear(); // nobody listens yet, and the start says where all stands
            blocks += 1;
            if blocks % BLOCKS_A_COMMIT == 0 {
                self.store.commit()?;
            }
            let height = self.tree.point(self.tree.tip()).height;
            progress(Progress { blocks, share: self.store.indexed_share(), height });
        }
        self.store.commit()?;
        self.store.settle()?;
        let rest = detached.into_values().flatten();
        self.loose = rest.map(|(_, block)| (block.hash, block.invalid)).collect();
        Ok(())
    }

    /// Refuses a main chain that contradicts a checkpoint, and gives up side branches that do.
    fn compare_checkpoints(&mut self) -> Result<(), OpenError> {
        let landmarks = self.network.landmarks.clone();
        for Checkpoint { height, hash: expected } in landmarks.checkpoints() {
            if let Some(found) = self.store.main_hash(height)?.filter(|found| *found != expected) {
                return Err(OpenError::OtherChain { height, found, expected });
            }
            for id in self.tree.at_height(height) {
                if self.tree.point(id).hash != expected {
                    self.tree.mark_invalid(id);
                }
            }
        }
        Ok(())
    }

    /// Adds a block of the log to the tree, as soon as its parent is there.
    fn readmit(
        &mut self,
        number: u64,
        block: StoredBlock,
        detached: &mut Detached,
    ) -> Result<Result<(), RuleError>, StoreError> {
        let mut ready = vec![(number, block)];
        let mut attached = Vec::new();
        while let Some((number, block)) = ready.pop() {
            let Some(parent) = self.tree.find(&block.header.prev) else {
                detached.entry(block.header.prev).or_default().push((number, block));
                continue;
            };
            let facts = self.tree.parent_facts(parent);
            if let Err(error) = context::check_header(&self.network, &block.header, &facts) {
                return Ok(Err(error));
            }
            let added = self.tree.add(&block.header, block.hash).expect("the parent is there");
            let Some(body) = self.read(added.id())? else { continue };
            if let Err(error) = self.body_fits(added.id(), &body) {
                return Ok(Err(error));
            }
            attached.push((number, added.id()));
            ready.extend(detached.remove(&block.hash).unwrap_or_default());
        }
        // In the order of the log, so that ties are decided as they were the first time.
        attached.sort_unstable();
        for (_, id) in attached {
            self.tree.body_arrived(id);
        }
        Ok(Ok(()))
    }
}

//! The one owner of the tip: headers, blocks and transactions go in, the main chain comes out.
//!
//! A stage like every other: [`Ledger::handle`], [`Ledger::poll`], [`Ledger::wake_at`]. Time is
//! an argument; the only IO is its [`Store`]. What a peer did wrong comes out as
//! [`Output::PeerFault`]; what goes wrong on our side is a [`StoreError`], after which the
//! ledger must not be used any more.

mod assumed;
mod bodies;
mod commit;
mod headers;
mod mining;
mod open;
mod pool;
mod port;
mod prune;
mod reorg;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ed25519_zebra::SigningKey;
use miner::Hash;

use crate::block::CheckedBlock;
use crate::execute::StateMachine;
use crate::mempool::{Mempool, PoolLimits};
use crate::params::Network;
use crate::rules::isolation::CheckedHeader;
use crate::rules::{RuleError, context};
use crate::store::{ChainPoint, Storage, Store, StoreError};
use crate::tree::{HeaderTree, NodeId};
use crate::tx::PublicKey;

pub use assumed::{AssumedBlocks, AssumedValid};
use headers::Presyncs;
use mining::Mining;
pub use open::{OpenError, Progress};
pub use port::*;
pub use prune::Pruning;

/// Bodies wanted at a time, in blocks above the main chain.
pub const WANTED_WINDOW: usize = 1024;

/// Bodies whose sender is remembered, to hold an invalid one against it.
const MAX_SENDERS: usize = 2 * WANTED_WINDOW;

/// Blocks just received that need not be read back from the store.
const MAX_FRESH: usize = 64;

/// What a ledger is made of.
pub struct LedgerOptions {
    /// The rules in force.
    pub network: Network,
    /// What transactions mean.
    pub machine: Arc<dyn StateMachine>,
    /// Signs what clients write through this node; without it they must sign themselves.
    pub key: Option<SigningKey>,
    /// Who receives what this node mines; `None` = it does not mine.
    pub payee: Option<PublicKey>,
    /// The first extranonce of its searches. Nodes that mine for one payee search different
    /// headers if this differs.
    pub extranonce_start: u64,
    /// Bounds of the pool.
    pub pool: PoolLimits,
    /// When old bodies are removed; `None` = never.
    pub pruning: Option<Pruning>,
    /// Unpredictable: which headers of low-work chains are remembered follows from it.
    pub secret: [u8; 32],
}

/// The stage.
pub struct Ledger<S> {
    network: Network,
    genesis: Hash,
    machine: Arc<dyn StateMachine>,
    key: Option<SigningKey>,
    store: S,
    tree: HeaderTree,
    presyncs: Presyncs,
    pool: Mempool,
    /// Transactions of our clients, kept on disk until they are in a block.
    kept: BTreeSet<Hash>,
    kept_records: usize,
    mining: Option<Mining>,
    senders: BTreeMap<Hash, PeerId>,
    fresh: VecDeque<CheckedBlock>,
    /// Bodies in the log whose headers are not in the tree, and whether they are invalid.
    loose: BTreeMap<Hash, bool>,
    /// Blocks of the main chain without a body, by height: damaged ones, and those before a
    /// snapshot.
    missing: BTreeMap<u32, Hash>,
    pruning: Option<Pruning>,
    /// Height up to which bodies and undo were removed.
    pruned: u32,
    /// What is stored, as last said.
    said_storage: Option<Storage>,
    /// To be said after the next commit.
    outbox: VecDeque<Output>,
    /// To be said when the commit under way has ended.
    committing: VecDeque<Output>,
    /// To be said now.
    sayable: VecDeque<Output>,
    /// Whether the list of missing bodies may be another than the one last said.
    wanted_changed: bool,
    /// Transactions and bytes in the pool, as last said.
    said_pool: (usize, usize),
    /// Whether the store has failed. What it did until then is unknown: after a failed sync the
    /// next one succeeds, and what was to be synced is gone all the same.
    has_failed: bool,
}

impl<S: Store> Ledger<S> {
    /// Takes one input and commits.
    ///
    /// # Errors
    /// When the store fails; the ledger must then be dropped.
    pub fn handle(&mut self, now: Time, input: Input) -> Result<(), StoreError> {
        self.take(now, input)?;
        self.settle()?;
        self.commit(now)?;
        self.settle()
    }

    /// Takes one input. Several can share a [`Ledger::commit`]; what they make the ledger say comes
    /// out when that has ended.
    ///
    /// # Errors
    /// When the store fails; the ledger must then be dropped, and does nothing more.
    pub fn take(&mut self, now: Time, input: Input) -> Result<(), StoreError> {
        self.unless_failed(|ledger| ledger.take_input(now, input))
    }

    fn take_input(&mut self, now: Time, input: Input) -> Result<(), StoreError> {
        match input {
            Input::Headers { from, headers } => self.headers(now, from, &headers)?,
            Input::Announced { from, header } => self.announced(now, from, header)?,
            Input::PeerGone { peer } => self.peer_gone(peer),
            Input::Block { from, block } => self.block(now, from, block)?,
            Input::Relayed { block } => self.relayed(now, block)?,
            Input::InvalidBlock { from, hash, error } => self.invalid_block(from, &hash, error)?,
            Input::Transaction { source, transaction } => {
                self.transaction(source, transaction)?;
            }
            Input::Submission { request, transactions } => {
                self.submission(request, &transactions)?;
            }
            Input::Write { request, draft } => self.write(request, draft)?,
            Input::Lookup { request, txid } => self.lookup(request, txid),
            Input::Account { request, key } => self.account(request, key)?,
            Input::MineTo { height } => self.mine_to(height),
            Input::Mined(mined) => self.mined(now, &mined)?,
            Input::Unreadable { hash } => self.look_at(&hash)?,
            Input::Tick => {}
        }
        Ok(())
    }

    /// The list of missing bodies, if it may have changed, and before it which of them need no look
    /// at their signatures. It concerns nothing that a commit makes true, so it can be said before
    /// one; else [`Ledger::commit`] says it.
    pub fn changed_wanted(&mut self) -> Vec<Output> {
        if !std::mem::take(&mut self.wanted_changed) {
            return Vec::new();
        }
        let mut missing = self.missing_again();
        missing.extend(self.tree.missing(WANTED_WINDOW));
        let assumed = self.assumed_of(&missing).map(Output::Assumed);
        assumed.into_iter().chain([Output::Wanted(missing)]).collect()
    }

    /// Whether more blocks are missing than are wanted at a time.
    pub fn is_far_behind(&self) -> bool {
        let best = self.tree.point(self.tree.best_header()).height;
        best.saturating_sub(self.tree.point(self.tree.tip()).height) as usize > WANTED_WINDOW
    }

    /// The next thing to say, if any.
    pub fn poll(&mut self) -> Option<Output> {
        self.sayable.pop_front()
    }

    /// When [`Input::Tick`] is due.
    pub fn wake_at(&self) -> Option<Time> {
        self.mining.as_ref().and_then(Mining::refresh_at)
    }

    fn unless_failed(
        &mut self,
        act: impl FnOnce(&mut Self) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if self.has_failed {
            return Err(StoreError::Stopped);
        }
        let result = act(self);
        self.has_failed = result.is_err();
        result
    }

    /// Where the chain stands, as a change of nothing.
    pub fn standing(&self) -> TipChange {
        self.tip_change(reorg::Moves::default())
    }

    /// The store, for reading.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The store, to say how it is to work.
    pub fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// The store, for whoever goes on without the ledger.
    pub fn into_store(self) -> S {
        self.store
    }

    /// Bodies of the main chain that are to be fetched.
    pub fn missing_bodies(&self) -> usize {
        self.missing.len()
    }

    /// The header tree, for reading.
    pub fn tree(&self) -> &HeaderTree {
        &self.tree
    }

    /// The pool, for reading.
    pub fn pool(&self) -> &Mempool {
        &self.pool
    }

    /// Finds bodies of these headers that have been in the log since before the start.
    fn attach_loose(&mut self, headers: &[CheckedHeader]) -> bool {
        let mut attached = false;
        for header in headers {
            let Some(id) = self.tree.find(&header.hash()) else { continue };
            if let Some(invalid) = self.loose.remove(&header.hash()) {
                self.tree.body_arrived(id);
                if invalid {
                    self.tree.mark_invalid(id);
                }
                attached = true;
            }
        }
        attached
    }

    fn say_pool_size(&mut self) {
        let (count, bytes) = (self.pool.len(), self.pool.bytes());
        if self.said_pool != (count, bytes) {
            self.said_pool = (count, bytes);
            self.outbox.push_back(Output::PoolSize { count, bytes });
        }
    }

    fn block(&mut self, now: Time, from: PeerId, block: CheckedBlock) -> Result<(), StoreError> {
        let header = CheckedHeader::of(&block);
        match self.tree.admit(&self.network, now.seconds(), &header) {
            Ok(Some(added)) => {
                self.senders.insert(block.hash(), from);
                while self.senders.len() > MAX_SENDERS {
                    self.senders.pop_first();
                }
                if let Err(error) = self.take_body(added.id(), block)? {
                    self.outbox.push_back(Output::PeerFault { from, error });
                }
                self.activate(None)?;
            }
            Ok(None) => self.judge(from, HeadersVerdict::Unconnected),
            Err(error) => self.refuse(from, error),
        }
        Ok(())
    }

    /// Takes a block that was passed on before it was executed: nobody is to blame for it.
    fn relayed(&mut self, now: Time, block: CheckedBlock) -> Result<(), StoreError> {
        let added = self.tree.admit(&self.network, now.seconds(), &CheckedHeader::of(&block));
        let Ok(Some(added)) = added else {
            tracing::debug!(target: "chain", hash = %block.hash(), ?added, "relayed block refused");
            return Ok(());
        };
        if let Err(error) = self.take_body(added.id(), block)? {
            tracing::warn!(target: "chain", %error, "relayed block is invalid");
        }
        self.activate(None)
    }

    /// Marks a block whose hash commits to something invalid, and its descendants.
    fn invalid_block(
        &mut self,
        from: PeerId,
        hash: &Hash,
        error: RuleError,
    ) -> Result<(), StoreError> {
        if let Some(id) = self.tree.find(hash) {
            self.tree.mark_invalid(id);
        }
        self.outbox.push_back(Output::PeerFault { from, error });
        self.activate(None)
    }

    /// Stores a body, after the rules that need its height but no state.
    fn take_body(
        &mut self,
        id: NodeId,
        block: CheckedBlock,
    ) -> Result<Result<(), RuleError>, StoreError> {
        let ChainPoint { height, hash } = self.tree.point(id);
        let is_missing = self.missing.get(&height) == Some(&hash);
        if self.tree.has_body(id) && !is_missing {
            return Ok(Ok(()));
        }
        if let Err(error) = self.body_fits(id, &block) {
            // Its hash commits to what is wrong, so no other body can make it right.
            self.tree.mark_invalid(id);
            self.wanted_changed = true;
            return Ok(Err(error));
        }
        if is_missing {
            self.missing.remove(&height);
            self.put_back(&block)?;
            return Ok(Ok(()));
        }
        self.store.append(&block)?;
        self.tree.body_arrived(id);
        self.keep_fresh(block);
        Ok(Ok(()))
    }

    fn keep_fresh(&mut self, block: CheckedBlock) {
        self.fresh.push_back(block);
        while self.fresh.len() > MAX_FRESH {
            self.fresh.pop_front();
        }
    }

    fn body_fits(&self, id: NodeId, block: &CheckedBlock) -> Result<(), RuleError> {
        let coinbase = block.coinbase();
        context::coinbase_height_matches(coinbase, self.tree.point(id).height)?;
        context::coinbase_value_matches(&self.network, coinbase, block.transactions())
    }
}

//! The one owner of the tip: headers, blocks and transactions go in, the main chain comes out.
//!
//! A stage like every other: [`Ledger::handle`], [`Ledger::poll`], [`Ledger::wake_at`]. Time is
//! an argument; the only IO is its [`Store`]. What a peer did wrong comes out as
//! [`Output::PeerFault`]; what goes wrong on our side is a [`StoreError`], after which the
//! ledger must not be used any more.

mod mining;
mod open;
mod pool;
mod port;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ed25519_zebra::SigningKey;
use miner::Hash;

use crate::block::CheckedBlock;
use crate::execute::{BlockContext, Delta, ExecuteError, StateMachine};
use crate::mempool::{Mempool, PoolLimits};
use crate::params::Network;
use crate::rules::isolation::CheckedHeader;
use crate::rules::{RuleError, context, isolation};
use crate::store::{Store, StoreError};
use crate::tree::{Added, HeaderTree, NodeId};
use crate::tx::PublicKey;

use mining::Mining;
pub use open::{OpenError, Progress};
pub use port::*;

/// Bodies wanted at a time, in blocks above the main chain.
pub const WANTED_WINDOW: usize = 1024;

/// Headers kept off the best header chain; more are not taken in before a restart.
const MAX_SIDE_HEADERS: usize = 200_000;

/// Bodies whose sender is remembered, to hold an invalid one against it.
const MAX_SENDERS: usize = 2 * WANTED_WINDOW;

/// Blocks just received that need not be read back from the store.
const MAX_FRESH: usize = 64;

/// Seconds since the Unix epoch, with milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
}

impl Time {
    /// Whole seconds since the Unix epoch.
    pub fn seconds(self) -> u64 {
        self.unix_ms / 1000
    }

    /// So much later.
    pub fn plus_ms(self, ms: u64) -> Time {
        Time { unix_ms: self.unix_ms + ms }
    }
}

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
    /// Bounds of the pool.
    pub pool: PoolLimits,
}

/// The stage.
pub struct Ledger<S> {
    network: Network,
    genesis: Hash,
    machine: Arc<dyn StateMachine>,
    key: Option<SigningKey>,
    store: S,
    tree: HeaderTree,
    pool: Mempool,
    /// Transactions of our clients, kept on disk until they are in a block.
    kept: BTreeSet<Hash>,
    kept_records: usize,
    mining: Option<Mining>,
    senders: BTreeMap<Hash, PeerId>,
    fresh: VecDeque<CheckedBlock>,
    outbox: VecDeque<Output>,
    /// Transactions and bytes in the pool, as last said.
    said_pool: (usize, usize),
}

/// What one run of [`Ledger::activate`] did.
#[derive(Default)]
struct Moves {
    reverted: Vec<RevertedBlock>,
    connected: Vec<ConnectedBlock>,
}

impl<S: Store> Ledger<S> {
    /// Takes one input.
    ///
    /// # Errors
    /// When the store fails; the ledger must then be dropped.
    pub fn handle(&mut self, now: Time, input: Input) -> Result<(), StoreError> {
        match input {
            Input::Headers { from, headers } => self.headers(now, from, &headers),
            Input::Block { from, block } => self.block(now, from, block)?,
            Input::Transaction { source, transaction } => {
                self.transaction(source, transaction)?;
            }
            Input::Write { request, draft } => self.write(request, draft)?,
            Input::Lookup { request, txid } => self.lookup(request, txid),
            Input::Account { request, key } => self.account(request, key)?,
            Input::MineTo { height } => self.mine_to(height),
            Input::Mined(solution) => self.mined(now, &solution)?,
            Input::Tick => {}
        }
        self.say_pool_size();
        self.refresh_job(now)
    }

    /// The next thing to say, if any.
    pub fn poll(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// When [`Input::Tick`] is due.
    pub fn wake_at(&self) -> Option<Time> {
        self.mining.as_ref().and_then(Mining::refresh_at)
    }

    /// Brings everything to disk, for a clean stop.
    ///
    /// # Errors
    /// When the store fails.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        self.compact_kept()?;
        self.store.flush()
    }

    /// The store, for reading.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The pool, for reading.
    pub fn pool(&self) -> &Mempool {
        &self.pool
    }

    fn headers(&mut self, now: Time, from: PeerId, headers: &[CheckedHeader]) {
        let known = self.tree.len();
        self.add_headers(now, from, headers);
        // Also when one was refused: those before it are in the tree.
        if self.tree.len() > known {
            self.say_wanted();
            if self.tree.is_tied() {
                self.look_for_work();
            }
        }
    }

    fn add_headers(&mut self, now: Time, from: PeerId, headers: &[CheckedHeader]) {
        let mut new = 0;
        let mut last = None;
        for header in headers {
            match self.add_header(now, header) {
                Ok(Some(added)) => {
                    new += usize::from(matches!(added, Added::New(_)));
                    last = Some(added.id());
                }
                Ok(None) => return self.judge(from, HeadersVerdict::Unconnected),
                Err(RuleError::TimeTooNew { .. }) => {
                    return self.judge(from, HeadersVerdict::TooNew);
                }
                Err(error) => return self.outbox.push_back(Output::PeerFault { from, error }),
            }
            let is_best = last == Some(self.tree.best_header());
            if self.tree.side_headers() > MAX_SIDE_HEADERS && !is_best {
                return self.judge(from, HeadersVerdict::TooMany);
            }
        }
        let Some(last) = last else { return };
        let verdict = HeadersVerdict::Accepted {
            new,
            last: self.tree.point(last),
            work: self.tree.work(last),
        };
        self.judge(from, verdict);
    }

    fn judge(&mut self, from: PeerId, verdict: HeadersVerdict) {
        self.outbox.push_back(Output::HeadersJudged { from, verdict });
    }

    fn say_pool_size(&mut self) {
        let (count, bytes) = (self.pool.len(), self.pool.bytes());
        if self.said_pool != (count, bytes) {
            self.said_pool = (count, bytes);
            self.outbox.push_back(Output::PoolSize { count, bytes });
        }
    }

    fn say_wanted(&mut self) {
        self.outbox.push_back(Output::Wanted(self.tree.missing(WANTED_WINDOW)));
    }

    /// Adds a header to the tree; `None` when its parent is unknown.
    fn add_header(
        &mut self,
        now: Time,
        header: &CheckedHeader,
    ) -> Result<Option<Added>, RuleError> {
        if let Some(id) = self.tree.find(&header.hash()) {
            if self.tree.is_invalid(id) {
                return Err(RuleError::InvalidAncestor { hash: header.hash() });
            }
            return Ok(Some(Added::Known(id)));
        }
        let Some(parent) = self.tree.find(&header.header().prev) else {
            return Ok(None);
        };
        if self.tree.is_invalid(parent) {
            return Err(RuleError::InvalidAncestor { hash: header.hash() });
        }
        let facts = self.tree.parent_facts(parent);
        context::check_header(&self.network, header.header(), &facts)?;
        context::time_is_not_too_new(&self.network, header.header(), now.seconds())?;
        Ok(self.tree.add(header.header(), header.hash()))
    }

    fn block(&mut self, now: Time, from: PeerId, block: CheckedBlock) -> Result<(), StoreError> {
        let header = CheckedHeader::of(&block);
        match self.add_header(now, &header) {
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
            Err(RuleError::TimeTooNew { .. }) => self.judge(from, HeadersVerdict::TooNew),
            Err(error) => self.outbox.push_back(Output::PeerFault { from, error }),
        }
        Ok(())
    }

    /// Stores a body, after the rules that need its height but no state.
    fn take_body(
        &mut self,
        id: NodeId,
        block: CheckedBlock,
    ) -> Result<Result<(), RuleError>, StoreError> {
        if self.tree.has_body(id) {
            return Ok(Ok(()));
        }
        if let Err(error) = self.body_fits(id, &block) {
            // Its hash commits to what is wrong, so no other body can make it right.
            self.tree.mark_invalid(id);
            self.say_wanted();
            return Ok(Err(error));
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

    /// Moves the main chain to the best complete block, and tells everybody. `executed` is the
    /// delta of a block of our own that is known already.
    fn activate(&mut self, mut executed: Option<(Hash, Delta)>) -> Result<(), StoreError> {
        let mut moves = Moves::default();
        while let Some(path) = self.tree.better_path() {
            for id in path.revert {
                self.disconnect(id, &mut moves)?;
            }
            for id in path.connect {
                let block = self.read(id)?;
                let known = executed.take_if(|(hash, _)| *hash == block.hash());
                if !self.connect(id, &block, known.map(|(_, delta)| delta), &mut moves)? {
                    break;
                }
            }
        }
        if moves.reverted.is_empty() && moves.connected.is_empty() {
            self.say_wanted();
            return Ok(());
        }
        let already_said = self.outbox.len();
        self.follow_in_pool(&moves)?;
        let about_the_pool = self.outbox.split_off(already_said);
        self.outbox.push_back(Output::TipChanged(Arc::new(self.tip_change(moves))));
        self.outbox.extend(about_the_pool);
        self.say_wanted();
        self.compact_kept_if_long()?;
        self.mark_job_outdated();
        Ok(())
    }

    fn disconnect(&mut self, id: NodeId, moves: &mut Moves) -> Result<(), StoreError> {
        let block = self.read(id)?;
        self.store.disconnect(&block)?;
        let parent = self.tree.parent(id).expect("genesis is never disconnected");
        self.tree.set_tip(parent);
        // A block connected and taken off again within one run was never seen outside.
        if moves.connected.pop_if(|last| last.block.hash() == block.hash()).is_none() {
            moves.reverted.push(RevertedBlock { block, height: self.tree.point(id).height });
        }
        Ok(())
    }

    /// Connects a block; `false` when it turned out invalid.
    fn connect(
        &mut self,
        id: NodeId,
        block: &CheckedBlock,
        executed: Option<Delta>,
        moves: &mut Moves,
    ) -> Result<bool, StoreError> {
        let height = self.tree.point(id).height;
        let delta = match executed {
            Some(delta) => delta,
            None => match self.execute(block, height)? {
                Ok(delta) => delta,
                Err(error) => {
                    self.reject(id, error)?;
                    return Ok(false);
                }
            },
        };
        self.store.connect(block, height, &delta)?;
        self.tree.set_tip(id);
        // Back on a block that was just taken off: for the outside it never left.
        if moves.reverted.pop_if(|last| last.block.hash() == block.hash()).is_none() {
            let (block, outcomes) = (block.clone(), delta.outcomes);
            moves.connected.push(ConnectedBlock { block, height, outcomes });
        }
        Ok(true)
    }

    fn execute(
        &self,
        block: &CheckedBlock,
        height: u32,
    ) -> Result<Result<Delta, RuleError>, StoreError> {
        let payee = block.coinbase().payee;
        let context = BlockContext { network: &self.network, height, payee };
        match self.machine.execute(&self.store, context, block.transactions()) {
            Ok(delta) => {
                let checked = context::state_root_matches(block.coinbase(), &delta);
                Ok(checked.map(|()| delta))
            }
            Err(ExecuteError::Invalid { position, fault }) => {
                Ok(Err(RuleError::Transaction { position, fault }))
            }
            Err(ExecuteError::Store(error)) => Err(error),
        }
    }

    fn reject(&mut self, id: NodeId, error: RuleError) -> Result<(), StoreError> {
        let point = self.tree.point(id);
        tracing::warn!(target: "chain", height = point.height, hash = %point.hash, %error,
            "block is invalid");
        self.tree.mark_invalid(id);
        self.store.mark_invalid(&point.hash)?;
        if let Some(from) = self.senders.remove(&point.hash) {
            self.outbox.push_back(Output::PeerFault { from, error });
        }
        Ok(())
    }

    fn read(&self, id: NodeId) -> Result<CheckedBlock, StoreError> {
        let hash = self.tree.point(id).hash;
        if let Some(block) = self.fresh.iter().find(|block| block.hash() == hash) {
            return Ok(block.clone());
        }
        let bytes = self.store.block_bytes(&hash)?.expect("the tree says its body is stored");
        Ok(isolation::reread_block(bytes).expect("the log's checksums vouch for its blocks"))
    }

    fn tip_change(&self, moves: Moves) -> TipChange {
        let tip = self.tree.tip();
        TipChange {
            reverted: moves.reverted,
            connected: moves.connected,
            tip: self.tree.point(tip),
            header: *self.tree.header(tip),
            work: self.tree.work(tip),
            best_header: self.tree.point(self.tree.best_header()),
            locator: self.tree.locator(),
        }
    }
}

//! Moves the main chain: blocks are taken off and put on until the tip is the best there is.

use std::borrow::Cow;
use std::sync::Arc;

use miner::Hash;

use super::{ConnectedBlock, Ledger, Output, RevertedBlock, TipChange};
use crate::block::CheckedBlock;
use crate::commitment;
use crate::execute::{BlockContext, Delta, ExecuteError, execute};
use crate::rules::{RuleError, context};
use crate::store::{ChainPoint, Store, StoreError};
use crate::tree::NodeId;

/// What one run of [`Ledger::activate`] did.
#[derive(Default)]
pub(super) struct Moves {
    pub(super) reverted: Vec<RevertedBlock>,
    pub(super) connected: Vec<ConnectedBlock>,
    /// Transactions of reverted blocks whose bodies are gone.
    pub(super) lost: Vec<Hash>,
}

impl<S: Store> Ledger<S> {
    /// Moves the main chain to the best complete block, and tells everybody. `executed` is the
    /// delta of a block of our own that is known already.
    pub(super) fn activate(
        &mut self,
        mut executed: Option<(Hash, &Delta)>,
    ) -> Result<(), StoreError> {
        let mut moves = Moves::default();
        while let Some(path) = self.tree.better_path() {
            self.check_depth(&path)?;
            for id in path.revert {
                self.disconnect(id, &mut moves)?;
            }
            for id in path.connect {
                let Some(block) = self.read(id)? else { break };
                let known = executed.take_if(|(hash, _)| *hash == block.hash());
                if !self.connect(id, &block, known.map(|(_, delta)| delta), &mut moves)? {
                    break;
                }
            }
        }
        if moves.reverted.is_empty() && moves.connected.is_empty() {
            self.wanted_changed = true;
            return Ok(());
        }
        let already_said = self.outbox.len();
        self.follow_in_pool(&moves)?;
        let about_the_pool = self.outbox.split_off(already_said);
        self.outbox.push_back(Output::TipChanged(Arc::new(self.tip_change(moves))));
        self.outbox.extend(about_the_pool);
        self.wanted_changed = true;
        self.mark_job_outdated();
        Ok(())
    }

    fn disconnect(&mut self, id: NodeId, moves: &mut Moves) -> Result<(), StoreError> {
        let ChainPoint { height, hash } = self.tree.point(id);
        let block = self.read(id)?;
        let txids = match &block {
            Some(block) => block.transactions().iter().map(|tx| tx.txid()).collect(),
            None => self.store.txids_at(height)?,
        };
        let pages = commitment::revert(&*self.machine, &self.store, height)?;
        self.store.disconnect(&hash, &txids, &pages)?;
        let parent = self.tree.parent(id).expect("genesis is never disconnected");
        self.tree.set_tip(parent);
        if block.is_none() {
            self.missing.remove(&height);
            self.tree.body_lost(id);
            moves.lost.extend(txids);
        }
        // A block connected and taken off again within one run was never seen outside.
        if moves.connected.pop_if(|last| last.block.hash() == hash).is_none() {
            moves.reverted.push(RevertedBlock { hash, height, block });
        }
        Ok(())
    }

    /// Connects a block; `false` when it turned out invalid.
    fn connect(
        &mut self,
        id: NodeId,
        block: &CheckedBlock,
        executed: Option<&Delta>,
        moves: &mut Moves,
    ) -> Result<bool, StoreError> {
        let height = self.tree.point(id).height;
        let delta = match executed {
            Some(delta) => Cow::Borrowed(delta),
            None => match self.execute(block, height)? {
                Ok(delta) => Cow::Owned(delta),
                Err(error) => {
                    self.reject(id, error)?;
                    return Ok(false);
                }
            },
        };
        self.store.connect(block, height, &delta)?;
        self.tree.set_tip(id);
        // Back on a block that was just taken off: for the outside it never left.
        if moves.reverted.pop_if(|last| last.hash == block.hash()).is_none() {
            let outcomes = match delta {
                Cow::Borrowed(delta) => delta.outcomes.clone(),
                Cow::Owned(delta) => delta.outcomes,
            };
            moves.connected.push(ConnectedBlock { block: block.clone(), height, outcomes });
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
        match execute(&*self.machine, &self.store, context, block.transactions()) {
            Ok(delta) => {
                let checked = context::state_root_matches(block.coinbase(), &delta);
                if checked.is_err() {
                    // Before a block is called invalid for good, and who sent it is blamed.
                    self.check_own_pages(block, &delta)?;
                }
                Ok(checked.map(|()| delta))
            }
            Err(ExecuteError::Invalid { position, fault }) => {
                Ok(Err(RuleError::Transaction { position, fault }))
            }
            Err(ExecuteError::Store(error)) => Err(error),
        }
    }

    /// Fails if it is our own pages that are wrong.
    fn check_own_pages(&self, block: &CheckedBlock, delta: &Delta) -> Result<(), StoreError> {
        let tip = self.tree.tip();
        let root = match self.tree.parent(tip) {
            Some(_) => match self.peek(tip)? {
                Ok(block) => block.coinbase().state_root,
                Err(_) => return Err(self.lacks(tip)),
            },
            None => commitment::EMPTY,
        };
        assert_eq!(self.tree.point(tip).hash, block.header().prev);
        commitment::check(&*self.machine, &self.store, &delta.rows, &root)
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

    pub(super) fn tip_change(&self, moves: Moves) -> TipChange {
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

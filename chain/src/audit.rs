//! `verify-chain`: every rule from genesis on, and the index against a fresh execution.

use std::sync::Arc;

use miner::Hash;

use crate::block::CheckedBlock;
use crate::execute::{BlockContext, ExecuteError, Order, Range, StateMachine};
use crate::params::Network;
use crate::rules::context::{self, ParentFacts};
use crate::rules::{RuleError, isolation};
use crate::store::{Archive, MemoryStore, Store, StoreError};
use crate::verify::Verifier;

/// State rows compared at a time.
const PAGE: usize = 1024;

/// What was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditReport {
    /// Height of the tip.
    pub height: u32,
    /// The tip.
    pub tip: Hash,
    /// Transactions executed, coinbases not counted.
    pub transactions: u64,
    /// Rows of the state.
    pub rows: u64,
}

/// Why a chain does not verify.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The store cannot be read or its bytes are damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A block breaks a rule.
    #[error("block {height}: {error}")]
    Rule {
        /// Its height.
        height: u32,
        /// Which rule.
        error: RuleError,
    },
    /// The index says something else than the blocks.
    #[error("height {height}: the index differs from the blocks: {what}")]
    Index {
        /// Where.
        height: u32,
        /// What differs.
        what: String,
    },
}

/// Verifies a whole chain; `progress` hears of every height.
///
/// # Errors
/// The first thing that is wrong.
pub fn audit(
    archive: &dyn Archive,
    network: &Network,
    machine: &Arc<dyn StateMachine>,
    progress: &mut dyn FnMut(u32),
) -> Result<AuditReport, AuditError> {
    let genesis = isolation::checked_genesis(network);
    let mut audit = Audit {
        archive,
        network,
        machine,
        // Not secret: nobody can choose signatures in an own chain knowing this.
        verifier: Verifier::new(network.clone(), Arc::clone(machine), genesis.hash().0),
        replay: MemoryStore::new(&genesis, &crate::execute::Delta::default()),
        parent: ParentFacts {
            height: 0,
            time: genesis.header().time,
            times: vec![genesis.header().time],
        },
        parent_hash: genesis.hash(),
        transactions: 0,
    };
    let tip = archive.tip()?;
    for height in 1..=tip.height {
        audit.block(height)?;
        progress(height);
    }
    let rows = audit.compare_state(tip.height)?;
    let transactions = audit.transactions;
    Ok(AuditReport { height: tip.height, tip: tip.hash, transactions, rows })
}

struct Audit<'a> {
    archive: &'a dyn Archive,
    network: &'a Network,
    machine: &'a Arc<dyn StateMachine>,
    verifier: Verifier,
    replay: MemoryStore,
    parent: ParentFacts,
    parent_hash: Hash,
    transactions: u64,
}

impl Audit<'_> {
    fn block(&mut self, height: u32) -> Result<(), AuditError> {
        let differs = |what: String| AuditError::Index { height, what };
        let rule = |error| AuditError::Rule { height, error };
        let hash = self
            .archive
            .main_hash(height)?
            .ok_or_else(|| differs("no block at this height".to_string()))?;
        let bytes = self
            .archive
            .block_bytes(&hash)?
            .ok_or_else(|| differs(format!("block {hash} is not in the log")))?;
        let block = self.verifier.block(bytes).map_err(rule)?;
        if block.hash() != hash || block.header().prev != self.parent_hash {
            return Err(differs(format!("block {} where {hash} should be", block.hash())));
        }
        context::check_header(self.network, block.header(), &self.parent).map_err(rule)?;
        context::coinbase_height_matches(block.coinbase(), height).map_err(rule)?;
        context::coinbase_value_matches(self.network, block.coinbase(), block.transactions())
            .map_err(rule)?;
        self.execute(&block, height)?;
        self.parent.advance(block.header());
        self.parent_hash = hash;
        Ok(())
    }

    fn execute(&mut self, block: &CheckedBlock, height: u32) -> Result<(), AuditError> {
        let payee = block.coinbase().payee;
        let context = BlockContext { network: self.network, height, payee };
        let delta =
            self.machine.execute(&self.replay, context, block.transactions()).map_err(|error| {
                match error {
                    ExecuteError::Invalid { position, fault } => {
                        let error = RuleError::Transaction { position, fault };
                        AuditError::Rule { height, error }
                    }
                    ExecuteError::Store(error) => AuditError::Store(error),
                }
            })?;
        context::state_root_matches(block.coinbase(), &delta)
            .map_err(|error| AuditError::Rule { height, error })?;
        self.replay.connect(block, height, &delta)?;
        if self.archive.undo(height)? != self.replay.undo(height)? {
            return Err(AuditError::Index { height, what: "the block's undo".to_string() });
        }
        self.replay.forget_undo();
        if self.archive.main_headers(height, 1)?.first() != Some(block.header()) {
            return Err(AuditError::Index { height, what: "the block's header".to_string() });
        }
        for transaction in block.transactions() {
            let txid = transaction.txid();
            if self.archive.inclusion(&txid)? != self.replay.inclusion(&txid)? {
                let what = format!("place or outcome of transaction {txid}");
                return Err(AuditError::Index { height, what });
            }
        }
        self.transactions += block.transactions().len() as u64;
        Ok(())
    }

    fn compare_state(&self, height: u32) -> Result<u64, AuditError> {
        let mut expected = self.replay.state().iter();
        let mut from = Vec::new();
        let mut rows = 0;
        loop {
            let range =
                Range { from: &from, to: &[0xff; 300], order: Order::Ascending, limit: PAGE };
            let page = self.archive.range(range)?;
            for (key, value) in &page {
                if expected.next() != Some((key, value)) {
                    let what = format!("state row {}", data_encoding::HEXLOWER.encode(key));
                    return Err(AuditError::Index { height, what });
                }
            }
            rows += page.len() as u64;
            match page.last() {
                Some((key, _)) => from = [&key[..], &[0]].concat(),
                None => break,
            }
        }
        if expected.next().is_some() {
            let what = "state rows are missing".to_string();
            return Err(AuditError::Index { height, what });
        }
        Ok(rows)
    }
}

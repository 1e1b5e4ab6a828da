//! `verify-chain`: every rule from genesis on, and the index against a fresh execution.
//!
//! Where bodies were pruned, the state below the first one left is made of the index by undoing
//! what came after; what is executed on it must come to the roots that the blocks commit to.

mod pruned;

use std::collections::BTreeMap;
use std::sync::Arc;

use miner::Hash;

use crate::block::CheckedBlock;
use crate::commitment::{Root, leaf_changes, root_of, update};
use crate::execute::{BlockContext, Delta, ExecuteError, Order, Range, Row, StateMachine, execute};
use crate::params::Network;
use crate::rules::context::{self, ParentFacts};
use crate::rules::{RuleError, isolation};
use crate::store::{Archive, Body, Damage, MemoryStore, Store, StoreError};
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
    /// Height of the first block whose body was there: 1, or more where bodies were pruned.
    pub from: u32,
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
    /// The body of a block of the main chain is not there.
    #[error(
        "height {height}: the body of block {hash} is {}; a running node fetches it from peers",
        condition(.damage.as_ref())
    )]
    Body {
        /// Its height.
        height: u32,
        /// Which block.
        hash: Hash,
        /// What is wrong with it; `None` = the store knows already that it is gone.
        damage: Option<Damage>,
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

fn condition(damage: Option<&Damage>) -> String {
    damage.map_or("missing".to_string(), ToString::to_string)
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
        replay: MemoryStore::new(&genesis, &Delta::default()),
        parent: ParentFacts {
            height: 0,
            time: genesis.header().time,
            times: vec![genesis.header().time],
        },
        parent_hash: genesis.hash(),
        root: genesis.coinbase().state_root,
        transactions: 0,
    };
    let tip = archive.tip()?;
    let pruned = archive.pruned()?;
    if pruned > 0 {
        audit.start_at(pruned, tip.height)?;
    }
    for height in pruned + 1..=tip.height {
        audit.block(height)?;
        progress(height);
    }
    let rows = audit.compare_state(tip.height)?;
    audit.compare_pages(tip.height)?;
    let transactions = audit.transactions;
    Ok(AuditReport { height: tip.height, tip: tip.hash, from: pruned + 1, transactions, rows })
}

struct Audit<'a> {
    archive: &'a dyn Archive,
    network: &'a Network,
    machine: &'a Arc<dyn StateMachine>,
    verifier: Verifier,
    replay: MemoryStore,
    parent: ParentFacts,
    parent_hash: Hash,
    root: Root,
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
        let bytes = match self.archive.body(&hash)? {
            Body::Here(bytes) => bytes,
            Body::Damaged(damage) => {
                return Err(AuditError::Body { height, hash, damage: Some(damage) });
            }
            Body::Missing => return Err(AuditError::Body { height, hash, damage: None }),
            Body::Pruned => return Err(differs(format!("block {hash} is pruned, but not below"))),
            Body::Unknown => return Err(differs(format!("block {hash} is not in the log"))),
        };
        self.find_by_hash(&hash, height)?;
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
        self.root = block.coinbase().state_root;
        Ok(())
    }

    /// SQLite finds a block by another tree than that of heights.
    fn find_by_hash(&self, hash: &Hash, height: u32) -> Result<(), AuditError> {
        if self.archive.main_height(hash)? != Some(height) {
            let what = format!("block {hash} is not found by its hash");
            return Err(AuditError::Index { height, what });
        }
        Ok(())
    }

    fn execute(&mut self, block: &CheckedBlock, height: u32) -> Result<(), AuditError> {
        let payee = block.coinbase().payee;
        let context = BlockContext { network: self.network, height, payee };
        let delta = execute(&**self.machine, &self.replay, context, block.transactions()).map_err(
            |error| match error {
                ExecuteError::Invalid { position, fault } => {
                    let error = RuleError::Transaction { position, fault };
                    AuditError::Rule { height, error }
                }
                ExecuteError::Store(error) => AuditError::Store(error),
            },
        )?;
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
        let read = |range: Range<'_>| self.archive.range(range);
        compare(height, "state row", self.replay.state().iter(), read)
    }

    /// Compares the pages of the commitment with those that follow from the rows alone.
    fn compare_pages(&self, height: u32) -> Result<(), AuditError> {
        let rows = self.replay.state().iter().map(|(key, value)| (&key[..], Some(&value[..])));
        let rows = leaf_changes(&**self.machine, rows);
        let fresh = update(&MemoryStore::default(), &rows)?;
        let rows = rows.into_iter().filter_map(|row| Some((row.path, row.value?)));
        let root = root_of(&rows.collect::<Vec<_>>());
        if fresh.root != root || self.root != root {
            return Err(AuditError::Rule { height, error: RuleError::StateRoot });
        }
        let pages: BTreeMap<_, _> =
            fresh.pages.into_iter().filter_map(|page| Some((page.prefix, page.after?))).collect();
        compare(height, "page", pages.iter(), |range| self.archive.page_range(range)).map(|_| ())
    }
}

/// Compares all that `read` gives with what is expected; returns how much it was.
fn compare<'a>(
    height: u32,
    name: &str,
    mut expected: impl Iterator<Item = (&'a Vec<u8>, &'a Vec<u8>)>,
    read: impl Fn(Range<'_>) -> Result<Vec<Row>, StoreError>,
) -> Result<u64, AuditError> {
    let mut from = Vec::new();
    let mut rows = 0;
    loop {
        let page =
            read(Range { from: &from, to: &[0xff; 300], order: Order::Ascending, limit: PAGE })?;
        for (key, value) in &page {
            if expected.next() != Some((key, value)) {
                let what = format!("{name} {}", data_encoding::HEXLOWER.encode(key));
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
        return Err(AuditError::Index { height, what: format!("{name}s are missing") });
    }
    Ok(rows)
}

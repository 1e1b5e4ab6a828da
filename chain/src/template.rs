//! Templates: candidate blocks on the tip, handed to miners as jobs and kept until solved.

use std::sync::Arc;

use miner::{Hash, Job, Solution};

use crate::block::{CheckedBlock, Coinbase};
use crate::execute::{BlockContext, Delta, StateMachine, View};
use crate::header::{HEADER_BYTES, Header, VERSION_FIXED, VERSION_ROLL_MASK};
use crate::mempool::Mempool;
use crate::params::Network;
use crate::rules::context::{ParentFacts, reward};
use crate::rules::difficulty::required_bits;
use crate::rules::{RuleError, isolation, merkle};
use crate::store::StoreError;
use crate::tx::{CheckedTransaction, PublicKey};

/// Bytes of a block kept free for header, count and coinbase.
const RESERVED_BYTES: usize = 1024;

/// How far a miner may roll a header's time, in seconds.
const TIME_ROLL_S: u32 = 60;

/// What a template is built on.
pub(crate) struct Base<'a> {
    pub(crate) network: &'a Network,
    pub(crate) machine: &'a dyn StateMachine,
    pub(crate) view: &'a dyn View,
    pub(crate) parent: ParentFacts,
    pub(crate) parent_hash: Hash,
    pub(crate) payee: PublicKey,
    pub(crate) now_s: u64,
}

/// A candidate block, already executed: the mined block is not executed again.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pub(crate) job: Arc<Job>,
    pub(crate) coinbase: Coinbase,
    pub(crate) transactions: Vec<CheckedTransaction>,
    pub(crate) delta: Delta,
}

impl Template {
    /// Picks transactions from the pool, executes them and lays out the block.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) fn build(
        base: &Base<'_>,
        pool: &Mempool,
        job_id: u64,
    ) -> Result<Template, StoreError> {
        let Base { network, parent, .. } = base;
        let height = parent.height + 1;
        let room = network.limits.block_bytes as usize - RESERVED_BYTES;
        let mut candidates = pool.select(room);
        candidates.truncate(payable(network.subsidy.at(height), &candidates));
        let context = BlockContext { network, height, payee: base.payee };
        let filled = base.machine.fill(base.view, context, &candidates)?;
        let transactions: Vec<CheckedTransaction> =
            filled.chosen.iter().map(|&at| candidates[at].clone()).collect();
        let coinbase = Coinbase {
            height,
            extranonce: 0,
            tag: b"graven".to_vec(),
            value: reward(network, height, &transactions)
                .expect("candidates were cut where the sum would overflow"),
            payee: base.payee,
            state_root: filled.delta.state_root,
        };
        let job = Arc::new(job(base, &coinbase, &transactions, job_id));
        Ok(Template { job, coinbase, transactions, delta: filled.delta })
    }

    /// The block a solution makes of this template.
    ///
    /// # Errors
    /// When the solution does not meet the target.
    pub(crate) fn solved(
        &self,
        network: &Network,
        solution: &Solution,
    ) -> Result<CheckedBlock, RuleError> {
        let bytes: [u8; HEADER_BYTES] = self.job.header(solution);
        let coinbase = Coinbase { extranonce: solution.extranonce, ..self.coinbase.clone() };
        let header = Header::decode(&bytes);
        isolation::check_own_block(network, header, coinbase, self.transactions.clone())
    }
}

/// How many of these a coinbase can hold subsidy and fees of in 64 bits.
fn payable(subsidy: u64, candidates: &[CheckedTransaction]) -> usize {
    let sums = candidates.iter().scan(subsidy, |sum, transaction| {
        *sum = sum.checked_add(transaction.fee)?;
        Some(())
    });
    sums.count()
}

fn job(base: &Base<'_>, coinbase: &Coinbase, others: &[CheckedTransaction], id: u64) -> Job {
    let Base { network, parent, parent_hash, .. } = base;
    let parts = coinbase.parts();
    let txids: Vec<Hash> = others.iter().map(|transaction| transaction.txid()).collect();
    let bits = required_bits(network, parent.height, parent.time);
    let now = u32::try_from(base.now_s).unwrap_or(u32::MAX);
    let time = now.max(parent.median_time().saturating_add(1));
    let latest = now.saturating_add(network.future_limit_s);
    Job {
        id,
        version: VERSION_FIXED,
        prev: *parent_hash,
        coinbase_prefix: parts.prefix,
        coinbase_suffix: parts.suffix,
        branch: merkle::coinbase_branch(&txids),
        time,
        time_max: time.saturating_add(TIME_ROLL_S).min(latest).max(time),
        bits,
        target: bits.decode().expect("the retarget rule gives canonical bits"),
        extranonce_start: 0,
        version_mask: VERSION_ROLL_MASK,
    }
}

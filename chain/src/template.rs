//! Templates: candidate blocks on the tip, handed to miners as jobs.

use std::sync::Arc;

use miner::{Hash, Job, Solution};

use crate::block::{CheckedBlock, Coinbase, CoinbaseParts, EXTRANONCE_BYTES};
use crate::commitment::commit;
use crate::execute::{BlockContext, Delta, StateMachine};
use crate::header::{HEADER_BYTES, Header, VERSION_FIXED, VERSION_ROLL_MASK};
use crate::mempool::Mempool;
use crate::params::Network;
use crate::rules::context::{ParentFacts, reward};
use crate::rules::difficulty::required_bits;
use crate::rules::{RuleError, isolation, merkle};
use crate::store::{Archive, StoreError};
use crate::tx::{CheckedTransaction, PublicKey};

/// Bytes of a block kept free for header, count and coinbase.
const RESERVED_BYTES: usize = 1024;

/// How far a miner may roll a header's time, in seconds. Our own search comes to the time last of
/// all; miners that cannot roll versions fast enough roll it by a minute (cgminer), and two hours
/// is what pools allow.
const TIME_ROLL_S: u32 = 7200;

/// What a template is built on.
pub(crate) struct Base<'a> {
    pub(crate) network: &'a Network,
    pub(crate) machine: &'a dyn StateMachine,
    pub(crate) tip: &'a dyn Archive,
    pub(crate) parent: ParentFacts,
    pub(crate) parent_hash: Hash,
    pub(crate) payee: PublicKey,
    pub(crate) now_s: u64,
    pub(crate) extranonce_start: u64,
}

/// A candidate block, already executed: the mined block is not executed again, unless somebody
/// else than the template's payee is paid for it.
///
/// Whoever mines it holds on to it for as long as solutions may come, and hands it back with
/// them in [`Input::Mined`](crate::ledger::Input::Mined).
#[derive(Clone, Debug)]
pub struct Template {
    job: Arc<Job>,
    coinbase: Coinbase,
    transactions: Vec<CheckedTransaction>,
    delta: Delta,
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
        let filled = base.machine.fill(base.tip, context, &candidates)?;
        let delta = commit(base.machine, base.tip, filled.delta)?;
        let transactions: Vec<CheckedTransaction> =
            filled.chosen.iter().map(|&at| candidates[at].clone()).collect();
        let coinbase = Coinbase {
            height,
            extranonce: 0,
            tag: b"graven".to_vec(),
            value: reward(network, height, &transactions)
                .expect("candidates were cut where the sum would overflow"),
            payee: base.payee,
            state_root: delta.state_root,
        };
        let job = Arc::new(job(base, &coinbase, &transactions, job_id));
        Ok(Template { job, coinbase, transactions, delta })
    }

    /// What to search, for the template's own payee.
    pub fn job(&self) -> &Arc<Job> {
        &self.job
    }

    /// What to search so that `payee` receives subsidy and fees.
    pub fn job_for(&self, payee: PublicKey) -> Arc<Job> {
        if payee == self.coinbase.payee {
            return Arc::clone(&self.job);
        }
        let CoinbaseParts { prefix, suffix } = self.paying(payee).parts();
        let job = Job { coinbase_prefix: prefix, coinbase_suffix: suffix, ..(*self.job).clone() };
        Arc::new(job)
    }

    /// Height of the block it would be.
    pub fn height(&self) -> u32 {
        self.coinbase.height
    }

    /// Whether there is more in it than the coinbase.
    pub fn has_transactions(&self) -> bool {
        !self.transactions.is_empty()
    }

    /// Who is paid if nobody else is named.
    pub fn payee(&self) -> PublicKey {
        self.coinbase.payee
    }

    /// What the block does to the state, if the template's own payee is paid.
    pub(crate) fn delta(&self) -> &Delta {
        &self.delta
    }

    fn paying(&self, payee: PublicKey) -> Coinbase {
        Coinbase { payee, ..self.coinbase.clone() }
    }

    /// The block that a solution of [`Template::job_for`] makes of this template.
    ///
    /// # Errors
    /// When the solution does not meet the target.
    pub(crate) fn solved(
        &self,
        network: &Network,
        payee: PublicKey,
        solution: &Solution,
    ) -> Result<CheckedBlock, RuleError> {
        let bytes: [u8; HEADER_BYTES] = self.job_for(payee).header(solution);
        let coinbase = Coinbase { extranonce: solution.extranonce, ..self.paying(payee) };
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
        extranonce_bytes: EXTRANONCE_BYTES,
        extranonce_start: base.extranonce_start,
        version_mask: VERSION_ROLL_MASK,
    }
}

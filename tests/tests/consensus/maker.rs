//! Blocks from plans: what a plan says is fitted to the chain it goes on, flaws included.

use chain::commitment::EMPTY;
use chain::execute::{Account, BlockContext, StateMachine};
use chain::store::MemoryStore;
use chain::tx::{CheckedTransaction, PublicKey, Unsigned};
use kv::{KeyValue, Operation};
use tests::chains::{account, candidate, least_fee, mined, signing_key, unsigned};
use tests::model::BlockId;
use tests::replay::executed;

use super::world::World;

/// More than any signer ever has, in the smallest unit.
const UNAFFORDABLE: u64 = 1 << 60;

/// Transactions signed last that a block may take up, pooled or in other blocks.
const REUSED: usize = 12;

/// A transaction before it is known what it comes after.
#[derive(Clone, Debug)]
pub(super) struct TxPlan {
    pub(super) signer: u8,
    pub(super) operations: Vec<Operation<'static>>,
    /// Above the least fee, in the smallest unit.
    pub(super) tip: u64,
    /// Blocks until it expires, counted from the parent; `None` = never.
    pub(super) expires_in: Option<u32>,
}

/// What is wrong with a block, although it passes every rule that needs no ancestors.
#[derive(Clone, Copy, Debug)]
pub(super) enum Flaw {
    WrongSequence,
    UnaffordableFee,
    Expired,
    CoinbaseValue,
    CoinbaseHeight,
    StateRoot,
    Time,
}

/// Every flaw.
pub(super) const FLAWS: [Flaw; 7] = [
    Flaw::WrongSequence,
    Flaw::UnaffordableFee,
    Flaw::Expired,
    Flaw::CoinbaseValue,
    Flaw::CoinbaseHeight,
    Flaw::StateRoot,
    Flaw::Time,
];

/// A block before it is known what it goes on.
#[derive(Clone, Debug)]
pub(super) struct BlockPlan {
    pub(super) payee: u8,
    /// Off the network's schedule.
    pub(super) jitter_s: i8,
    pub(super) transactions: Vec<TxPlan>,
    /// Whether it also takes up transactions that are known already.
    pub(super) reuses: bool,
}

impl World {
    /// Makes a block on any other, valid unless a flaw or an ancestor's forbids.
    pub(super) fn make(
        &mut self,
        parent: BlockId,
        plan: &BlockPlan,
        flaw: Option<Flaw>,
    ) -> BlockId {
        let place = self.truth.get(parent).place.clone();
        let payee = account(plan.payee);
        let mut transactions = self.standing(parent, plan);
        if let Some(flaw) = flaw {
            transactions.extend(self.flawed(parent, &transactions, flaw));
        }
        let mut block = candidate(&self.network, &place, payee, &transactions);
        block.coinbase.extranonce = self.truth.count() as u64;
        if let Some(store) = &self.truth.get(parent).store {
            let delta = executed(&self.network, store, payee, &transactions);
            block.coinbase.state_root = delta.map_or(EMPTY, |delta| delta.state_root);
        }
        let median = place.facts.median_time();
        let time = block.header.time.saturating_add_signed(plan.jitter_s.into());
        block.header.time = time.max(median + 1);
        match flaw {
            Some(Flaw::CoinbaseValue) => block.coinbase.value += 1,
            Some(Flaw::CoinbaseHeight) => block.coinbase.height += 1,
            Some(Flaw::StateRoot) => block.coinbase.state_root = [1; 32],
            Some(Flaw::Time) => block.header.time = median,
            _ => {}
        }
        let block = self.verifier.block(mined(block).encode()).expect("it is sound in itself");
        self.truth.add(block)
    }

    /// Signs a transaction with at least the least fee.
    pub(super) fn sign(&mut self, plan: &TxPlan, mut transaction: Unsigned) -> CheckedTransaction {
        transaction.fee = least_fee(&self.network, &transaction) + plan.tip;
        // The tip can need more bytes.
        transaction.fee = transaction.fee.max(self.network.min_fee(transaction.signed_len()));
        let signed = transaction.sign(&signing_key(plan.signer), &self.network.genesis_hash());
        let checked = self.verifier.transactions(&[signed.bytes().to_vec()]).remove(0);
        let checked = checked.expect("it is sound in itself");
        self.signed.push(checked.clone());
        checked
    }

    /// Those of a plan's transactions that can stand in a block on `parent`.
    fn standing(&mut self, parent: BlockId, plan: &BlockPlan) -> Vec<CheckedTransaction> {
        if self.truth.get(parent).store.is_none() {
            return Vec::new();
        }
        let mut known: Vec<CheckedTransaction> = Vec::new();
        if plan.reuses {
            known.extend(self.signed.iter().rev().take(REUSED).cloned());
            known.sort_by_key(|transaction| transaction.sequence);
        }
        let mut standing = self.filled(parent, plan.payee, &known);
        for tx in &plan.transactions {
            let signer = account(tx.signer);
            let sequence = self.sequence_after(parent, &standing, &signer);
            let mut transaction = unsigned(&signing_key(tx.signer), sequence, &tx.operations);
            let height = self.truth.get(parent).place.facts.height;
            transaction.expires_at = tx.expires_in.map_or(0, |blocks| height + blocks);
            standing.push(self.sign(tx, transaction));
            standing = self.filled(parent, plan.payee, &standing);
        }
        standing
    }

    /// A transaction that makes a block on `parent` invalid, if that is the flaw.
    fn flawed(
        &mut self,
        parent: BlockId,
        before: &[CheckedTransaction],
        flaw: Flaw,
    ) -> Option<CheckedTransaction> {
        let tx = TxPlan { signer: 1, operations: vec![write()], tip: 0, expires_in: None };
        let height = self.truth.get(parent).place.facts.height;
        let sequence = self.sequence_after(parent, before, &account(tx.signer));
        let mut transaction = unsigned(&signing_key(tx.signer), sequence, &tx.operations);
        let mut tip = 0;
        match flaw {
            Flaw::WrongSequence => transaction.sequence += 1,
            Flaw::UnaffordableFee => tip = UNAFFORDABLE,
            Flaw::Expired => transaction.expires_at = height,
            _ => return None,
        }
        Some(self.sign(&TxPlan { tip, ..tx }, transaction))
    }

    /// Those of some candidates that can stand in a block on `parent`.
    fn filled(
        &self,
        parent: BlockId,
        payee: u8,
        candidates: &[CheckedTransaction],
    ) -> Vec<CheckedTransaction> {
        let made = self.truth.get(parent);
        let store = made.store.as_ref().expect("asked for valid parents only");
        let height = made.place.facts.height + 1;
        let context = BlockContext { network: &self.network, height, payee: account(payee) };
        let filled = KeyValue.fill(store, context, candidates).expect("memory does not fail");
        filled.chosen.into_iter().map(|at| candidates[at].clone()).collect()
    }

    /// The sequence a signer's next transaction has after these, on `parent`.
    fn sequence_after(
        &self,
        parent: BlockId,
        before: &[CheckedTransaction],
        signer: &PublicKey,
    ) -> u64 {
        let store = self.truth.get(parent).store.as_ref();
        let account = store.map_or(Account::default(), |store: &MemoryStore| {
            KeyValue.account(store, signer).expect("memory does not fail")
        });
        account.sequence + before.iter().filter(|tx| tx.signer == *signer).count() as u64
    }
}

/// A write that can always be applied.
pub(super) fn write() -> Operation<'static> {
    Operation::Put { key: b"k", value: b"v", expect: kv::Expect::Any, policy: None }
}

//! The pool's part of the comparison: what the ledger says of it, and what must hold of it.

use std::collections::{BTreeMap, BTreeSet};

use chain::Hash;
use chain::execute::{BlockContext, StateMachine};
use chain::ledger::Output;
use chain::mempool::{DropReason, Refusal};
use chain::store::Archive;
use chain::tx::{CheckedTransaction, PublicKey};
use kv::{KeyValue, Operation};
use tests::chains::account;

use super::world::{OWN_SIGNER, World, tip_change};

impl World {
    /// Being full is a reason to refuse only when the pool has no room.
    pub(super) fn check_full(&self, refusal: Option<&Refusal>, size: usize) {
        assert_eq!(refusal, Some(&Refusal::Full));
        assert!(self.pool.bytes() + size > self.limits.bytes, "there was room");
    }

    /// Brings the model up to what the ledger said, which must have its reasons.
    pub(super) fn follow_pool(&mut self, outputs: &[Output]) {
        let change = tip_change(outputs);
        let connected = change.iter().flat_map(|change| &change.connected);
        for transaction in connected.flat_map(|connected| connected.block.transactions()) {
            self.pool.remove(&transaction.txid());
        }
        let reverted = change.iter().flat_map(|change| &change.reverted);
        let reverted: BTreeMap<Hash, &CheckedTransaction> = reverted
            .flat_map(|reverted| reverted.transactions())
            .map(|transaction| (transaction.txid(), transaction))
            .collect();
        let mut gone = BTreeSet::new();
        for (at, output) in outputs.iter().enumerate() {
            match output {
                Output::Dropped { txid, reason } => {
                    gone.insert(*txid);
                    match reverted.get(txid).filter(|_| self.pool.get(txid).is_none()) {
                        Some(transaction) => self.check_given_up(transaction, *reason),
                        None => self.check_dropped(txid, *reason, &outputs[at..]),
                    }
                }
                Output::Pooled { transaction, .. } => {
                    let account = self.account(&transaction.signer);
                    let refusal = self.pool.refusal(transaction, account, self.next_height());
                    assert_eq!(refusal, None, "it may wait");
                    self.pool.insert(transaction.clone());
                }
                _ => {}
            }
        }
        for txid in reverted.keys() {
            let included = self.ledger.store().inclusion(txid).expect("memory does not fail");
            let waits = self.pool.get(txid).is_some();
            assert!(included.is_some() || waits || gone.contains(txid), "{txid} is lost");
        }
    }

    /// A transaction of a reverted block that does not come back may not.
    fn check_given_up(&self, transaction: &CheckedTransaction, reason: DropReason) {
        let account = self.account(&transaction.signer);
        let expected = match self.pool.refusal(transaction, account, self.next_height()) {
            Some(Refusal::Stale { .. }) => DropReason::Superseded,
            Some(Refusal::Expired { .. }) => DropReason::Expired,
            Some(Refusal::CannotPayFees { .. }) => DropReason::CannotPayFees,
            Some(Refusal::Underpriced { replaced, .. }) => DropReason::Replaced(replaced),
            Some(_) => DropReason::Evicted,
            None => {
                self.check_full(Some(&Refusal::Full), transaction.bytes().len());
                DropReason::Evicted
            }
        };
        assert_eq!(reason, expected, "why it does not come back");
    }

    /// A transaction that left the pool had a reason to. `outputs` begin with that one; what it
    /// made room for comes after it.
    fn check_dropped(&mut self, txid: &Hash, reason: DropReason, outputs: &[Output]) {
        let rival = || {
            let pooled = outputs.iter().find_map(|output| match output {
                Output::Pooled { transaction, .. } => Some(transaction),
                _ => None,
            });
            pooled.expect("whatever it made room for waits")
        };
        let next_height = self.next_height();
        let waiting = self.pool.bytes();
        let Some(dropped) = self.pool.remove(txid) else {
            panic!("{txid} did not wait");
        };
        let account = self.account(&dropped.signer);
        match reason {
            DropReason::Expired => assert!((1..next_height).contains(&dropped.expires_at)),
            DropReason::Superseded => assert!(dropped.sequence < account.sequence),
            DropReason::CannotPayFees => {
                assert!(self.pool.fees_of(dropped.signer) + dropped.fee > account.balance);
            }
            DropReason::Replaced(by) => {
                let rival = rival();
                assert_eq!(rival.txid(), by);
                assert_eq!((rival.signer, rival.sequence), (dropped.signer, dropped.sequence));
            }
            DropReason::Lost => panic!("no body is damaged here"),
            DropReason::Evicted => {
                let most = self.network.limits.transaction_bytes as usize;
                assert!(waiting + most > self.limits.bytes, "there was room");
                assert!(rate(&dropped) <= rate(rival()), "a better payer had to go");
            }
        }
        assert_eq!(self.ledger.pool().get(txid), None);
    }

    /// What must hold of the pool after every input.
    pub(super) fn check_pool(&self, tip_moved: bool) {
        let pool = self.ledger.pool();
        assert_eq!(pool.len(), self.pool.waiting().count());
        assert_eq!(pool.bytes(), self.pool.bytes());
        assert_eq!((pool.len(), pool.bytes()), self.pool_size, "as last said");
        assert!(pool.bytes() <= self.limits.bytes);
        let mut signers = BTreeMap::<PublicKey, BTreeSet<u64>>::new();
        for transaction in self.pool.waiting() {
            let txid = transaction.txid();
            assert_eq!(pool.get(&txid), Some(transaction));
            let included = self.ledger.store().inclusion(&txid).expect("memory does not fail");
            assert_eq!(included, None, "what waits is not in the chain");
            assert!(!(1..self.next_height()).contains(&transaction.expires_at), "expired");
            let sequences = signers.entry(transaction.signer).or_default();
            assert!(sequences.insert(transaction.sequence), "two with one sequence wait");
        }
        for (signer, sequences) in &signers {
            let account = self.account(signer);
            assert!(sequences.first() >= Some(&account.sequence), "its sequence is used up");
            assert!(sequences.len() <= self.limits.per_account);
            assert_eq!(sequences.len(), pool.count_of(signer));
            assert!(self.pool.fees_of(*signer) <= account.balance, "it cannot pay its fees");
            let next = self.pool.first_missing(*signer, account);
            assert_eq!(pool.next_sequence(signer, account), next);
        }
        self.check_selection(&pool.select(usize::MAX), tip_moved);
    }

    /// A selection is every account's run without a gap, best payers first, and can stand.
    fn check_selection(&self, selected: &[CheckedTransaction], tip_moved: bool) {
        let mut next: BTreeMap<PublicKey, u64> = BTreeMap::new();
        let mut ready: Vec<&CheckedTransaction> = Vec::new();
        let at = |signer: PublicKey, sequence: u64| {
            self.pool.of(signer).find(|transaction| transaction.sequence == sequence)
        };
        for transaction in self.pool.waiting() {
            let signer = transaction.signer;
            next.entry(signer).or_insert_with(|| self.account(&signer).sequence);
        }
        ready.extend(next.iter().filter_map(|(signer, sequence)| at(*signer, *sequence)));
        for transaction in selected {
            let place = ready.iter().position(|other| other.txid() == transaction.txid());
            ready.swap_remove(place.expect("selected in its account's order"));
            let better = ready.iter().find(|other| rate(other) > rate(transaction));
            assert!(better.is_none(), "a better payer was passed over");
            ready.extend(at(transaction.signer, transaction.sequence + 1));
        }
        assert!(ready.is_empty(), "a run was cut short");
        if tip_moved || !selected.is_empty() {
            self.check_standing(selected);
        }
    }

    /// Nothing selected is left out of a block, except where payments took the fees.
    fn check_standing(&self, selected: &[CheckedTransaction]) {
        let (network, payee) = (&self.network, account(OWN_SIGNER));
        let context = BlockContext { network, height: self.next_height(), payee };
        let filled =
            KeyValue.fill(self.ledger.store(), context, selected).expect("memory does not fail");
        let chosen: BTreeSet<usize> = filled.chosen.into_iter().collect();
        let spends = |transaction: &CheckedTransaction| {
            let operations = transaction.operations.iter();
            operations.map(|bytes| Operation::decode(bytes)).any(
                |operation| matches!(operation, Ok(Operation::Pay { amount, .. }) if amount > 0),
            )
        };
        let payers: BTreeSet<PublicKey> =
            selected.iter().filter(|tx| spends(tx)).map(|tx| tx.signer).collect();
        for (position, transaction) in selected.iter().enumerate() {
            let stands = chosen.contains(&position);
            assert!(stands || payers.contains(&transaction.signer), "selected in vain");
        }
    }
}

/// Fee per byte, as a fixed point number.
fn rate(transaction: &CheckedTransaction) -> u128 {
    (u128::from(transaction.fee) << 32) / transaction.bytes().len() as u128
}

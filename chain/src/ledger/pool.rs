//! The ledger's dealings with the pool: taking transactions in, answering about them, and
//! keeping the pool true to a moved tip.

use std::collections::BTreeSet;

use ed25519_zebra::SigningKey;
use miner::Hash;

use super::reorg::Moves;
use super::{Answer, Draft, Ledger, Output, PeerId, PoolStatus, RequestId, RevertedBlock, Source};
use crate::execute::Account;
use crate::mempool::{DropReason, Dropped, Refusal};
use crate::rules::isolation;
use crate::store::{Store, StoreError};
use crate::tx::{CheckedTransaction, PublicKey, TRANSACTION_VERSION, Transaction, Unsigned};

/// Records in the pending log beyond twice the needed ones at which it is rewritten.
const KEPT_SLACK: usize = 4096;

impl<S: Store> Ledger<S> {
    pub(super) fn transaction(
        &mut self,
        source: Source,
        transaction: CheckedTransaction,
    ) -> Result<(), StoreError> {
        let txid = transaction.txid();
        match (source, self.take_in(&transaction)?) {
            (Source::Peer(from), Ok(())) => self.say_pooled(transaction, Some(from), false),
            (Source::Peer(from), Err(refusal)) => {
                self.outbox.push_back(Output::Refused { from, txid, refusal });
            }
            (Source::Client(request), Ok(())) => {
                self.keep(std::slice::from_ref(&transaction))?;
                self.say_pooled(transaction, None, false);
                self.answer(request, Answer::Accepted { txid });
            }
            (Source::Client(request), Err(refusal)) => {
                self.answer(request, Answer::Refused(refusal));
            }
        }
        Ok(())
    }

    pub(super) fn submission(
        &mut self,
        request: RequestId,
        transactions: &[CheckedTransaction],
    ) -> Result<(), StoreError> {
        let mut refusal = None;
        let mut taken = 0;
        // The tip does not move meanwhile, and most are of one signer.
        let mut known: Option<(PublicKey, Account)> = None;
        for transaction in transactions {
            let account = match known {
                Some((signer, account)) if signer == transaction.signer => account,
                _ => self.account_of(&transaction.signer)?,
            };
            known = Some((transaction.signer, account));
            if let Err(why) = self.take_in_with(transaction, account) {
                refusal = Some(why);
                break;
            }
            // At once: one that comes later can push this one out again, which must be said after.
            self.say_pooled(transaction.clone(), None, false);
            taken += 1;
        }
        let taken = &transactions[..taken];
        self.keep(taken)?;
        let txids = taken.iter().map(|transaction| transaction.txid()).collect();
        self.answer(request, Answer::Submitted { txids, refusal });
        Ok(())
    }

    pub(super) fn write(&mut self, request: RequestId, draft: Draft) -> Result<(), StoreError> {
        let Some(key) = self.key else {
            self.answer(request, Answer::NoKey);
            return Ok(());
        };
        let transaction = self.sign(&key, draft)?;
        let form = isolation::check_form(&self.network, &*self.machine, &transaction);
        if let Err(error) = form {
            self.answer(request, Answer::Invalid(error));
            return Ok(());
        }
        let transaction = isolation::own_transaction(transaction);
        self.transaction(Source::Client(request), transaction)
    }

    pub(super) fn lookup(&mut self, request: RequestId, txid: Hash) {
        let status = match (self.pool.get(&txid), self.pool.dropped(&txid)) {
            (Some(_), _) => PoolStatus::Pending,
            (None, Some(reason)) => PoolStatus::Dropped(reason),
            (None, None) => PoolStatus::Unknown,
        };
        self.answer(request, Answer::Status(status));
    }

    pub(super) fn account(
        &mut self,
        request: RequestId,
        key: Option<PublicKey>,
    ) -> Result<(), StoreError> {
        let own = self.key.as_ref().map(PublicKey::from);
        let Some(key) = key.or(own) else {
            self.answer(request, Answer::NoKey);
            return Ok(());
        };
        let account = self.account_of(&key)?;
        let answer = Answer::Account {
            key,
            balance: account.balance,
            next_sequence: self.pool.next_sequence(&key, account),
            pooled: self.pool.count_of(&key),
        };
        self.answer(request, answer);
        Ok(())
    }

    /// Brings the pool in line with a moved tip.
    pub(super) fn follow_in_pool(&mut self, moves: &Moves) -> Result<(), StoreError> {
        let connected = moves.connected.iter().map(|connected| connected.block.transactions());
        let reverted = moves.reverted.iter().map(RevertedBlock::transactions);
        for connected in &moves.connected {
            for transaction in connected.block.transactions() {
                self.pool.included(&transaction.txid());
                self.kept.remove(&transaction.txid());
            }
        }
        let mut signers: BTreeSet<PublicKey> =
            reverted.chain(connected).flatten().map(|tx| tx.signer).collect();
        if !moves.reverted.is_empty() {
            // Whoever lived on a reward or a payment that was reverted can perhaps pay no more.
            signers.extend(self.pool.paying());
        }
        for signer in signers {
            let account = self.account_of(&signer)?;
            let gone = self.pool.update_account(&signer, account);
            self.say_dropped(gone);
        }
        let gone = self.pool.expire(self.next_height());
        self.say_dropped(gone);
        for reverted in moves.reverted.iter().rev() {
            let may_be_unsigned = self.may_be_unsigned(reverted.height);
            for transaction in reverted.transactions() {
                // Outside of its block nothing vouches for it any more.
                let is_signed =
                    || isolation::signature_verifies(&self.genesis, transaction).is_ok();
                if !may_be_unsigned || is_signed() {
                    self.take_back(transaction)?;
                }
            }
        }
        for txid in &moves.lost {
            if self.store.inclusion(txid)?.is_none() && self.pool.get(txid).is_none() {
                self.say_dropped(vec![(*txid, DropReason::Lost)]);
            }
        }
        Ok(())
    }

    /// Returns a transaction of a reverted block to the pool, or says why it is gone for good.
    fn take_back(&mut self, transaction: &CheckedTransaction) -> Result<(), StoreError> {
        if self.store.inclusion(&transaction.txid())?.is_some() {
            return Ok(());
        }
        match self.take_in(transaction)? {
            Ok(()) => {
                // Perhaps a client of ours handed it in. Once it is in a block that is forgotten.
                self.keep(std::slice::from_ref(transaction))?;
                self.say_pooled(transaction.clone(), None, true);
            }
            Err(refusal) => {
                if let Some(dropped) = self.pool.give_up(&transaction.txid(), &refusal) {
                    self.say_dropped(vec![dropped]);
                }
            }
        }
        Ok(())
    }

    /// Takes back what was kept on disk for clients when the process ended.
    pub(super) fn restore_kept(&mut self) -> Result<(), StoreError> {
        let check = |bytes: Vec<u8>| {
            let transaction = Transaction::decode(&bytes).ok()?;
            let (network, machine) = (&self.network, &*self.machine);
            isolation::check_transaction(network, &self.genesis, machine, transaction).ok()
        };
        let mut kept: Vec<_> = self.store.pending()?.into_iter().filter_map(check).collect();
        // Those that were kept again after a reorganisation stand after their successors.
        kept.sort_by_key(|transaction| (transaction.signer, transaction.sequence));
        for transaction in kept {
            let txid = transaction.txid();
            match self.take_in(&transaction)? {
                Ok(()) => {
                    self.kept.insert(txid);
                    self.say_pooled(transaction, None, false);
                }
                // Mostly because it is in a block.
                Err(why) => tracing::debug!(target: "chain", %txid, %why, "waits no more"),
            }
        }
        self.compact_kept()
    }

    /// Rewrites the pending log when most of its records are no longer needed.
    pub(super) fn compact_kept_if_long(&mut self) -> Result<(), StoreError> {
        if self.kept_records > 2 * self.kept.len() + KEPT_SLACK {
            self.compact_kept()
        } else {
            Ok(())
        }
    }

    /// Rewrites the pending log with what still waits.
    pub(super) fn compact_kept(&mut self) -> Result<(), StoreError> {
        let pool = &self.pool;
        self.kept.retain(|txid| pool.get(txid).is_some());
        let mut waiting: Vec<&CheckedTransaction> =
            self.kept.iter().filter_map(|txid| pool.get(txid)).collect();
        waiting.sort_by_key(|transaction| (transaction.signer, transaction.sequence));
        let bytes: Vec<&[u8]> = waiting.iter().map(|transaction| transaction.bytes()).collect();
        self.store.replace_pending(&bytes)?;
        self.kept_records = self.kept.len();
        Ok(())
    }

    fn take_in(&mut self, tx: &CheckedTransaction) -> Result<Result<(), Refusal>, StoreError> {
        let account = self.account_of(&tx.signer)?;
        Ok(self.take_in_with(tx, account))
    }

    /// Takes a transaction in whose signer's account at the tip is known.
    fn take_in_with(&mut self, tx: &CheckedTransaction, account: Account) -> Result<(), Refusal> {
        let next_height = self.next_height();
        let gone = self.pool.add(&self.network, tx.clone(), account, next_height)?;
        self.say_dropped(gone);
        self.look_for_work();
        Ok(())
    }

    fn keep(&mut self, transactions: &[CheckedTransaction]) -> Result<(), StoreError> {
        let bytes: Vec<&[u8]> =
            transactions.iter().map(|transaction| transaction.bytes()).collect();
        self.store.keep_pending(&bytes)?;
        self.kept.extend(transactions.iter().map(|transaction| transaction.txid()));
        self.kept_records += transactions.len();
        Ok(())
    }

    /// Gives a draft its sequence, its fee and a signature.
    fn sign(&self, key: &SigningKey, draft: Draft) -> Result<Transaction, StoreError> {
        let signer = PublicKey::from(key);
        let account = self.account_of(&signer)?;
        let mut unsigned = Unsigned {
            version: TRANSACTION_VERSION,
            signer,
            sequence: self.pool.next_sequence(&signer, account),
            expires_at: draft.expires_at,
            fee: draft.fee.unwrap_or(0),
            operations: draft.operations,
        };
        if draft.fee.is_none() {
            // A larger fee can need more bytes, and so a larger fee: this settles at once.
            while unsigned.fee < self.network.min_fee(unsigned.signed_len()) {
                unsigned.fee = self.network.min_fee(unsigned.signed_len());
            }
        }
        Ok(unsigned.sign(key, &self.genesis))
    }

    fn account_of(&self, signer: &PublicKey) -> Result<Account, StoreError> {
        self.machine.account(&self.store, signer)
    }

    pub(super) fn next_height(&self) -> u32 {
        self.tree.point(self.tree.tip()).height + 1
    }

    fn say_pooled(&mut self, tx: CheckedTransaction, from: Option<PeerId>, reverted: bool) {
        self.outbox.push_back(Output::Pooled { transaction: tx, from, reverted });
    }

    fn say_dropped(&mut self, gone: Vec<Dropped>) {
        for (txid, reason) in gone {
            self.kept.remove(&txid);
            self.outbox.push_back(Output::Dropped { txid, reason });
        }
    }

    fn answer(&mut self, request: RequestId, answer: Answer) {
        self.outbox.push_back(Output::Answer { request, answer });
    }
}

//! Transactions that wait for a block, bounded in every direction.
//!
//! Each account has a queue by sequence. A queue may have gaps (a transaction can overtake the
//! one before it on the way here), but only the run without a gap from the account's next
//! sequence is offered to miners, best fee rate first. When the pool is full, the worst fee rate
//! among the queues' ends goes: never one that another of the same account needs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use miner::Hash;

use crate::execute::Account;
use crate::params::Network;
use crate::tx::{CheckedTransaction, PublicKey, Transaction};

/// How much the pool holds.
#[derive(Clone, Copy, Debug)]
pub struct PoolLimits {
    /// Bytes of transactions in all.
    pub bytes: usize,
    /// Transactions of one account.
    pub per_account: usize,
    /// How far beyond the first missing sequence of its account a transaction may be.
    pub gap: u64,
    /// Ids of dropped transactions whose reason is remembered.
    pub remembered: usize,
}

impl Default for PoolLimits {
    fn default() -> PoolLimits {
        PoolLimits { bytes: 64 * 1024 * 1024, per_account: 16_384, gap: 256, remembered: 65_536 }
    }
}

/// Why the pool does not take a transaction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Already there.
    #[error("already in the pool")]
    Known,
    /// The sequence is used up.
    #[error("sequence {got} is used up, the account's next is {next}")]
    Stale {
        /// In the transaction.
        got: u64,
        /// The account's next.
        next: u64,
    },
    /// Too many sequences before it are missing.
    #[error("sequence {got} is too far ahead, the account's next is {next}")]
    TooFarAhead {
        /// In the transaction.
        got: u64,
        /// The first missing one.
        next: u64,
    },
    /// The account has as many transactions waiting as one may have.
    #[error("the account has {limit} transactions waiting already")]
    AccountFull {
        /// The limit.
        limit: usize,
    },
    /// `expires_at` has passed.
    #[error("expired at height {expires_at}, the next block has height {next_height}")]
    Expired {
        /// In the transaction.
        expires_at: u32,
        /// Of the next block.
        next_height: u32,
    },
    /// Another transaction with this sequence waits, and this one does not pay enough more.
    #[error("replacing {replaced} takes a fee of {least} at least")]
    Underpriced {
        /// The one that waits.
        replaced: Hash,
        /// What would be enough, in the smallest unit.
        least: u64,
    },
    /// The account cannot pay for all it has waiting.
    #[error("fees of {fees} exceed the spendable balance {balance}")]
    CannotPayFees {
        /// Of all its waiting transactions and this one.
        fees: u64,
        /// In the smallest unit.
        balance: u64,
    },
    /// The pool is full of better payers.
    #[error("the pool is full and every waiting transaction pays more a byte")]
    Full,
}

/// Why a transaction left the pool other than by a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DropReason {
    /// `expires_at` has passed.
    #[error("expired")]
    Expired,
    /// Another with the same sequence and a higher fee took its place.
    #[error("replaced by {0}")]
    Replaced(Hash),
    /// Another with the same sequence is in a block.
    #[error("superseded by another transaction of the same sequence in a block")]
    Superseded,
    /// The pool was full and it paid least.
    #[error("evicted from a full pool")]
    Evicted,
    /// The account can no longer pay its fee.
    #[error("the account can no longer pay the fee")]
    CannotPayFees,
    /// Its block was taken off the chain, and the block's body is damaged here.
    #[error("its block left the chain and is damaged here; send it again")]
    Lost,
}

impl DropReason {
    /// One word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            DropReason::Expired => "expired",
            DropReason::Replaced(_) => "replaced",
            DropReason::Superseded => "superseded",
            DropReason::Evicted => "evicted",
            DropReason::CannotPayFees => "cannot-pay-fees",
            DropReason::Lost => "lost",
        }
    }
}

/// A transaction that left, and why.
pub type Dropped = (Hash, DropReason);

/// Fee per byte as a 32.32-like fixed point number, so that rates are ordered without division
/// at comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct FeeRate(u128);

impl FeeRate {
    fn of(transaction: &Transaction) -> FeeRate {
        FeeRate((u128::from(transaction.fee) << 32) / transaction.bytes().len() as u128)
    }
}

/// Worst first: lowest rate, then latest arrival.
type Rank = (FeeRate, Reverse<u64>);

#[derive(Clone, Debug)]
struct Entry {
    transaction: CheckedTransaction,
    rank: Rank,
}

#[derive(Clone, Debug, Default)]
struct Queue {
    account: Account,
    by_sequence: BTreeMap<u64, Hash>,
    fees: u64,
}

impl Queue {
    /// Its last transaction.
    fn end(&self) -> Option<Hash> {
        self.by_sequence.last_key_value().map(|(_, txid)| *txid)
    }

    /// The first sequence from the account's next that does not wait here.
    fn first_missing(&self) -> u64 {
        let next = self.account.sequence;
        // Nearly always there is no gap: then the queue need not be walked.
        if let Some((last, _)) = self.by_sequence.last_key_value()
            && self.by_sequence.first_key_value().is_some_and(|(first, _)| *first == next)
            && last - next == self.by_sequence.len() as u64 - 1
        {
            return last + 1;
        }
        let run = self.by_sequence.range(next..).zip(next..);
        run.take_while(|((sequence, _), expected)| *sequence == expected)
            .last()
            .map_or(next, |((sequence, _), _)| sequence + 1)
    }
}

/// The pool.
#[derive(Clone, Debug)]
pub struct Mempool {
    limits: PoolLimits,
    entries: BTreeMap<Hash, Entry>,
    queues: BTreeMap<PublicKey, Queue>,
    /// The last transaction of every queue.
    ends: BTreeSet<(Rank, Hash)>,
    expiring: BTreeSet<(u32, Hash)>,
    bytes: usize,
    arrivals: u64,
    dropped: BTreeMap<Hash, DropReason>,
    dropped_order: VecDeque<Hash>,
}

impl Mempool {
    /// An empty pool.
    pub fn new(limits: PoolLimits) -> Mempool {
        Mempool {
            limits,
            entries: BTreeMap::new(),
            queues: BTreeMap::new(),
            ends: BTreeSet::new(),
            expiring: BTreeSet::new(),
            bytes: 0,
            arrivals: 0,
            dropped: BTreeMap::new(),
            dropped_order: VecDeque::new(),
        }
    }

    /// Transactions in the pool.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of transactions in the pool.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A waiting transaction.
    pub fn get(&self, txid: &Hash) -> Option<&CheckedTransaction> {
        self.entries.get(txid).map(|entry| &entry.transaction)
    }

    /// Why a transaction was dropped, if it was and is still remembered.
    pub fn dropped(&self, txid: &Hash) -> Option<DropReason> {
        self.dropped.get(txid).copied()
    }

    /// Transactions of an account.
    pub fn count_of(&self, signer: &PublicKey) -> usize {
        self.queues.get(signer).map_or(0, |queue| queue.by_sequence.len())
    }

    /// The sequence a new transaction of the account should have.
    pub fn next_sequence(&self, signer: &PublicKey, account: Account) -> u64 {
        self.queues.get(signer).map_or(account.sequence, Queue::first_missing)
    }

    /// Accounts that have fees to pay for what waits.
    pub fn paying(&self) -> impl Iterator<Item = PublicKey> {
        self.queues.iter().filter(|(_, queue)| queue.fees > 0).map(|(signer, _)| *signer)
    }

    /// Takes a transaction in. `account` is its signer's as of the tip. Returns those that had
    /// to go for it.
    ///
    /// # Errors
    /// Why not; the pool is then unchanged.
    pub fn add(
        &mut self,
        network: &Network,
        transaction: CheckedTransaction,
        account: Account,
        next_height: u32,
    ) -> Result<Vec<Dropped>, Refusal> {
        let replaced = self.admit(network, &transaction, account, next_height)?;
        let rank = (FeeRate::of(&transaction), Reverse(self.arrivals));
        self.arrivals += 1;
        let victims = self.victims(&transaction, rank, replaced)?;
        let mut gone = Vec::new();
        if let Some(txid) = replaced {
            self.drop(&txid, DropReason::Replaced(transaction.txid()), &mut gone);
        }
        for txid in victims {
            self.drop(&txid, DropReason::Evicted, &mut gone);
        }
        self.insert(transaction, rank, account);
        Ok(gone)
    }

    /// Notes that a block included this transaction.
    pub fn included(&mut self, txid: &Hash) {
        self.remove(txid);
    }

    /// Remembers why a transaction that was in a block does not come back. `None` when it is
    /// here anyway.
    pub fn give_up(&mut self, txid: &Hash, refusal: &Refusal) -> Option<Dropped> {
        let reason = match refusal {
            Refusal::Known => return None,
            Refusal::Stale { .. } => DropReason::Superseded,
            Refusal::Expired { .. } => DropReason::Expired,
            Refusal::Underpriced { replaced, .. } => DropReason::Replaced(*replaced),
            Refusal::CannotPayFees { .. } => DropReason::CannotPayFees,
            Refusal::TooFarAhead { .. } | Refusal::AccountFull { .. } | Refusal::Full => {
                DropReason::Evicted
            }
        };
        self.remember(txid, reason);
        Some((*txid, reason))
    }

    /// Brings a queue up to date with its account as of a new tip.
    pub fn update_account(&mut self, signer: &PublicKey, account: Account) -> Vec<Dropped> {
        let mut gone = Vec::new();
        let Some(queue) = self.queues.get_mut(signer) else {
            return gone;
        };
        queue.account = account;
        let stale: Vec<Hash> =
            queue.by_sequence.range(..account.sequence).map(|(_, txid)| *txid).collect();
        for txid in stale {
            self.drop(&txid, DropReason::Superseded, &mut gone);
        }
        while let Some(queue) = self.queues.get(signer)
            && queue.fees > account.balance
            && let Some((_, &last)) = queue.by_sequence.last_key_value()
        {
            self.drop(&last, DropReason::CannotPayFees, &mut gone);
        }
        gone
    }

    /// Drops what the next block may no longer include.
    pub fn expire(&mut self, next_height: u32) -> Vec<Dropped> {
        let mut gone = Vec::new();
        while let Some(&(expires_at, txid)) = self.expiring.first()
            && expires_at < next_height
        {
            self.drop(&txid, DropReason::Expired, &mut gone);
        }
        gone
    }

    /// The best paying transactions that fit into `bytes`, each account's in sequence.
    pub fn select(&self, mut bytes: usize) -> Vec<CheckedTransaction> {
        let mut heads: BinaryHeap<(Rank, Hash)> = BinaryHeap::new();
        let ready = |queue: &Queue, sequence: u64| {
            let txid = queue.by_sequence.get(&sequence)?;
            Some((self.entries[txid].rank, *txid))
        };
        heads.extend(self.queues.values().filter_map(|queue| ready(queue, queue.account.sequence)));
        let mut selected = Vec::new();
        while let Some((_, txid)) = heads.pop() {
            let transaction = &self.entries[&txid].transaction;
            let size = transaction.bytes().len();
            if size > bytes {
                continue; // and with it the rest of its account
            }
            bytes -= size;
            selected.push(transaction.clone());
            let queue = &self.queues[&transaction.signer];
            heads.extend(ready(queue, transaction.sequence + 1));
        }
        selected
    }

    /// Every check but the one for room. Returns what the transaction would replace.
    fn admit(
        &self,
        network: &Network,
        transaction: &CheckedTransaction,
        account: Account,
        next_height: u32,
    ) -> Result<Option<Hash>, Refusal> {
        if self.entries.contains_key(&transaction.txid()) {
            return Err(Refusal::Known);
        }
        let expires_at = transaction.expires_at;
        if expires_at != 0 && expires_at < next_height {
            return Err(Refusal::Expired { expires_at, next_height });
        }
        let got = transaction.sequence;
        if got < account.sequence {
            return Err(Refusal::Stale { got, next: account.sequence });
        }
        let empty = Queue { account, ..Queue::default() };
        let queue = self.queues.get(&transaction.signer).unwrap_or(&empty);
        let next = queue.first_missing();
        if got.saturating_sub(next) > self.limits.gap {
            return Err(Refusal::TooFarAhead { got, next });
        }
        let replaced = queue.by_sequence.get(&got).copied();
        let mut replaced_fee = 0;
        if let Some(replaced) = replaced {
            replaced_fee = self.entries[&replaced].transaction.fee;
            let step = network.min_fee(transaction.bytes().len()).max(1);
            let least = replaced_fee.saturating_add(step);
            if transaction.fee < least {
                return Err(Refusal::Underpriced { replaced, least });
            }
        } else if queue.by_sequence.len() >= self.limits.per_account {
            return Err(Refusal::AccountFull { limit: self.limits.per_account });
        }
        let fees = (queue.fees - replaced_fee).saturating_add(transaction.fee);
        if fees > account.balance {
            return Err(Refusal::CannotPayFees { fees, balance: account.balance });
        }
        Ok(replaced)
    }

    /// Whom a new transaction would push out.
    fn victims(
        &self,
        transaction: &CheckedTransaction,
        rank: Rank,
        replaced: Option<Hash>,
    ) -> Result<Vec<Hash>, Refusal> {
        let freed = replaced.map_or(0, |txid| self.entries[&txid].transaction.bytes().len());
        let mut excess =
            (self.bytes - freed + transaction.bytes().len()).saturating_sub(self.limits.bytes);
        let mut victims = Vec::new();
        if excess == 0 {
            return Ok(victims);
        }
        // Only queues' ends of other accounts, worst first, and then those before them.
        let mut ends = self.ends.iter().copied().peekable();
        let mut exposed: BinaryHeap<Reverse<(Rank, Hash)>> = BinaryHeap::new();
        while excess > 0 {
            let end = ends.peek().copied();
            let worse_end = end.filter(|end| exposed.peek().is_none_or(|next| *end < next.0));
            let next = match worse_end {
                Some(_) => ends.next(),
                None => exposed.pop().map(|next| next.0),
            };
            let Some((_, txid)) = next.filter(|(victim_rank, _)| *victim_rank < rank) else {
                return Err(Refusal::Full);
            };
            let victim = &self.entries[&txid].transaction;
            if victim.signer == transaction.signer {
                continue;
            }
            excess = excess.saturating_sub(victim.bytes().len());
            victims.push(txid);
            let queue = &self.queues[&victim.signer].by_sequence;
            let before = queue.range(..victim.sequence).next_back();
            exposed.extend(before.map(|(_, txid)| Reverse((self.entries[txid].rank, *txid))));
        }
        Ok(victims)
    }

    fn insert(&mut self, transaction: CheckedTransaction, rank: Rank, account: Account) {
        let txid = transaction.txid();
        self.forget_dropped(&txid);
        self.bytes += transaction.bytes().len();
        if transaction.expires_at != 0 {
            self.expiring.insert((transaction.expires_at, txid));
        }
        let queue = self.queues.entry(transaction.signer).or_default();
        queue.account = account;
        queue.fees += transaction.fee;
        let old_end = queue.end();
        queue.by_sequence.insert(transaction.sequence, txid);
        let is_end = queue.end() == Some(txid);
        self.entries.insert(txid, Entry { transaction, rank });
        if is_end {
            if let Some(old) = old_end {
                self.ends.remove(&(self.entries[&old].rank, old));
            }
            self.ends.insert((rank, txid));
        }
    }

    fn remove(&mut self, txid: &Hash) {
        let Some(Entry { transaction, rank }) = self.entries.remove(txid) else {
            return;
        };
        self.bytes -= transaction.bytes().len();
        self.expiring.remove(&(transaction.expires_at, *txid));
        let signer = transaction.signer;
        let queue = self.queues.get_mut(&signer).expect("every entry is in its queue");
        let was_end = queue.end() == Some(*txid);
        queue.by_sequence.remove(&transaction.sequence);
        queue.fees -= transaction.fee;
        if was_end {
            self.ends.remove(&(rank, *txid));
            match queue.end() {
                Some(end) => self.ends.insert((self.entries[&end].rank, end)),
                None => self.queues.remove(&signer).is_some(),
            };
        }
    }

    fn drop(&mut self, txid: &Hash, reason: DropReason, gone: &mut Vec<Dropped>) {
        self.remove(txid);
        self.remember(txid, reason);
        gone.push((*txid, reason));
    }

    fn remember(&mut self, txid: &Hash, reason: DropReason) {
        if self.dropped.insert(*txid, reason).is_none() {
            self.dropped_order.push_back(*txid);
        }
        if self.dropped_order.len() > self.limits.remembered
            && let Some(oldest) = self.dropped_order.pop_front()
        {
            self.dropped.remove(&oldest);
        }
    }

    fn forget_dropped(&mut self, txid: &Hash) {
        if self.dropped.remove(txid).is_some() {
            self.dropped_order.retain(|other| other != txid);
        }
    }
}

#[cfg(test)]
mod tests;

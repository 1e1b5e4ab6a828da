//! Transactions: announced by id, fetched once, kept for who asks.
//!
//! The pool here mirrors the ledger's: it is what peers may ask for. Ids are announced in the
//! order in which the transactions entered the pool, so that a signer's come in sequence, and
//! never to a peer that announced them to us.

mod fetch;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chain::ledger::{PeerId, TipChange};
use chain::tx::CheckedTransaction;
use chain::{Hash, sha256d};
use rand::RngExt;
use rand::rngs::StdRng;

use super::alarm::Alarm;
use super::config::Timing;
use super::outbox::Outbox;
use super::port::{Direction, Millis, Reason, Work};
use super::recent::RecentSet;
use crate::wire::Message;
use crate::wire::message::MAX_TXIDS;
use fetch::Fetches;

/// Ids remembered as known to a peer.
const MAX_KNOWN: usize = 5_000;
/// An announcement waits at most so many times the mean: the delays have a long tail, and news
/// that passes two nodes should not take a second.
const MAX_MEANS: f64 = 2.0;
/// Transactions that leave the pool in one step because a block has them. A block can have many
/// times as many, and whoever shares the thread must not wait for all.
const TAKEN_A_STEP: usize = 128;
/// Changes of the tip that may wait for their steps. For one more the oldest is done at once.
const MAX_TAKEN: usize = 16;
/// Ids remembered as not worth fetching: refused by our pool, or in a block.
const MAX_SETTLED: usize = 20_000;

#[derive(Debug)]
struct Listener {
    direction: Direction,
    /// Announced by the peer or to it.
    known: RecentSet<Hash>,
    /// The first of the pool's entries that it was perhaps not told of. What entered later needs
    /// no memory for each peer.
    next_entry: u64,
    announce_at: Option<Millis>,
    /// It does not read what it is sent: announcements wait.
    backlogged: bool,
}

/// The relay of transactions.
#[derive(Debug)]
pub(crate) struct Relay {
    pool: BTreeMap<Hash, (u64, CheckedTransaction)>,
    /// The pool's ids by the order of entry.
    order: BTreeMap<u64, Hash>,
    next_entry: u64,
    /// Changes of the tip whose transactions leave the pool step by step, oldest first, each with
    /// the number of those that have left.
    taken: VecDeque<(Arc<TipChange>, usize)>,
    settled: RecentSet<Hash>,
    listeners: BTreeMap<PeerId, Listener>,
    /// When all peers that connected to us are announced what waits for them.
    inbound_at: Option<Millis>,
    /// For announcements.
    alarm: Alarm,
    fetches: Fetches,
}

impl Relay {
    pub(crate) fn new() -> Relay {
        Relay {
            pool: BTreeMap::new(),
            order: BTreeMap::new(),
            next_entry: 0,
            taken: VecDeque::new(),
            settled: RecentSet::new(MAX_SETTLED),
            listeners: BTreeMap::new(),
            inbound_at: None,
            alarm: Alarm::default(),
            fetches: Fetches::default(),
        }
    }

    /// The bytes of a transaction in the pool.
    pub(crate) fn find(&self, txid: &Hash) -> Option<&[u8]> {
        self.pool.get(txid).map(|(_, transaction)| transaction.bytes())
    }

    /// Every transaction in the pool.
    pub(crate) fn transactions(&self) -> impl Iterator<Item = &CheckedTransaction> {
        self.pool.values().map(|(_, transaction)| transaction)
    }

    /// Starts to tell the peer of everything in the pool.
    pub(crate) fn ready(&mut self, peer: PeerId, direction: Direction, now: Millis) {
        let listener = Listener {
            direction,
            known: RecentSet::new(MAX_KNOWN),
            next_entry: 0,
            announce_at: (!self.order.is_empty()).then_some(now),
            backlogged: false,
        };
        self.alarm.set(listener.due_at());
        self.listeners.insert(peer, listener);
        self.fetches.ready(peer, now);
    }

    pub(crate) fn removed(&mut self, peer: PeerId) {
        self.listeners.remove(&peer);
        self.fetches.removed(peer);
    }

    /// Says whether a peer takes what it is sent.
    pub(crate) fn set_backlogged(&mut self, peer: PeerId, backlogged: bool) {
        if let Some(listener) = self.listeners.get_mut(&peer) {
            listener.backlogged = backlogged;
            self.alarm.set(listener.due_at());
        }
    }

    /// A transaction is in the pool now: to be announced soon, after times drawn from an
    /// exponential distribution, so that timing tells less about where it came from. Peers that
    /// connected to us share one time, or somebody with many connections could take the least.
    pub(crate) fn pooled(
        &mut self,
        transaction: CheckedTransaction,
        now: Millis,
        timing: &Timing,
        rng: &mut StdRng,
    ) {
        let txid = transaction.txid();
        self.fetches.settled(&txid);
        if self.pool.contains_key(&txid) {
            return;
        }
        self.pool.insert(txid, (self.next_entry, transaction));
        self.order.insert(self.next_entry, txid);
        self.next_entry += 1;
        for listener in self.listeners.values_mut() {
            if listener.known.contains(&txid) {
                continue;
            }
            if listener.announce_at.is_none() {
                listener.announce_at = Some(match listener.direction {
                    Direction::Outbound => now + delay_ms(timing.announce_outbound_ms, rng),
                    Direction::Inbound => *self
                        .inbound_at
                        .get_or_insert_with(|| now + delay_ms(timing.announce_inbound_ms, rng)),
                });
                self.alarm.set(listener.due_at());
            }
        }
    }

    /// A transaction was not taken into the pool: not worth fetching until the tip changes.
    pub(crate) fn refused(&mut self, txid: Hash, from: PeerId, now: Millis) {
        self.settled.insert(txid);
        self.fetches.settled(&txid);
        self.fetches.refused(from, now);
    }

    /// A transaction left the pool.
    pub(crate) fn dropped(&mut self, txid: &Hash) {
        if let Some((entry, _)) = self.pool.remove(txid) {
            self.order.remove(&entry);
        }
    }

    /// Blocks took transactions from the pool; what was refused before may fit now.
    pub(crate) fn tip_changed(&mut self, change: &Arc<TipChange>) {
        if change.connected.is_empty() {
            return;
        }
        self.settled.clear();
        self.taken.push_back((Arc::clone(change), 0));
        if self.taken.len() > MAX_TAKEN {
            self.take_out(usize::MAX);
        }
    }

    /// A reorganisation brings transactions back: what blocks took before it must have left.
    pub(crate) fn take_out_all(&mut self) {
        while !self.taken.is_empty() {
            self.take_out(usize::MAX);
        }
    }

    /// Takes out a step's worth of the transactions that blocks have.
    pub(crate) fn take_out_some(&mut self) {
        self.take_out(TAKEN_A_STEP);
    }

    /// Takes out so many of the transactions that blocks have. Until then they are still offered
    /// to peers, which does no harm.
    fn take_out(&mut self, count: usize) {
        let Some((change, done)) = self.taken.pop_front() else { return };
        let all = change.connected.iter().flat_map(|connected| connected.block.transactions());
        let mut taken = 0;
        for transaction in all.skip(done).take(count) {
            let txid = transaction.txid();
            self.dropped(&txid);
            self.settled.insert(txid);
            self.fetches.settled(&txid);
            taken += 1;
        }
        if taken == count {
            self.taken.push_front((change, done + count));
        }
    }

    /// A peer has these transactions.
    pub(crate) fn announced(&mut self, peer: PeerId, txids: &[Hash]) {
        let Some(listener) = self.listeners.get_mut(&peer) else { return };
        for txid in txids {
            listener.known.insert(*txid);
            if !self.pool.contains_key(txid) && !self.settled.contains(txid) {
                self.fetches.announced(peer, *txid);
            }
        }
    }

    /// A peer delivers transactions; each must have been asked of it.
    pub(crate) fn delivered(
        &mut self,
        peer: PeerId,
        list: Vec<Vec<u8>>,
        out: &mut Outbox,
    ) -> Result<(), Reason> {
        let mut wanted = Vec::with_capacity(list.len());
        for bytes in list {
            // Only the id is of interest here, and it is the hash of the bytes, whatever they are:
            // decoding and the rules are for the stages behind the reactor.
            let txid = sha256d(&bytes);
            if self.fetches.delivered(peer, txid)? && !self.pool.contains_key(&txid) {
                wanted.push(bytes);
            }
        }
        if !wanted.is_empty() {
            out.work(Work::Transactions { from: peer, list: wanted });
        }
        Ok(())
    }

    /// Sends the announcements and requests that are due. While blocks are missing nothing is
    /// requested.
    pub(crate) fn tick(&mut self, now: Millis, may_fetch: bool, timing: &Timing, out: &mut Outbox) {
        self.inbound_at.take_if(|at| now >= *at);
        if self.alarm.is_due(now) {
            for (peer, listener) in &mut self.listeners {
                if listener.due_at().is_some_and(|at| now >= at) {
                    let all = announce(*peer, listener, &self.order, out);
                    listener.announce_at = (!all).then_some(now);
                }
            }
            self.alarm.reset(self.announcements_due_at());
        }
        self.fetches.expire(now);
        if may_fetch {
            self.fetches.request(now, timing.transaction_retry_ms, out);
        }
    }

    fn announcements_due_at(&self) -> Option<Millis> {
        self.listeners.values().filter_map(Listener::due_at).min()
    }

    pub(crate) fn wake_at(&self) -> Option<Millis> {
        let taken = (!self.taken.is_empty()).then_some(Millis(0));
        [self.alarm.wake_at(), self.fetches.wake_at(), taken].into_iter().flatten().min()
    }

    /// For each alarm what it is set to, and what a look at everything gives.
    #[cfg(test)]
    pub(crate) fn alarms(&self) -> [(&'static str, Option<Millis>, Option<Millis>); 2] {
        let (alarm, fetches) = (self.alarm.wake_at(), &self.fetches);
        [
            ("announcements", alarm, self.announcements_due_at()),
            ("fetches", fetches.wake_at(), fetches.due_at()),
        ]
    }
}

impl Listener {
    /// When it is to be told something.
    fn due_at(&self) -> Option<Millis> {
        self.announce_at.filter(|_| !self.backlogged)
    }
}

/// A time drawn from an exponential distribution with this mean, in milliseconds.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "at most a few times the mean, and never below zero"
)]
fn delay_ms(mean_ms: u64, rng: &mut StdRng) -> u64 {
    let means = -(1.0 - rng.random::<f64>()).ln();
    (means.min(MAX_MEANS) * mean_ms as f64) as u64
}

/// Announces what entered the pool and is still there, a message full; returns whether that is
/// all.
fn announce(
    peer: PeerId,
    listener: &mut Listener,
    order: &BTreeMap<u64, Hash>,
    out: &mut Outbox,
) -> bool {
    let mut txids = Vec::new();
    for (entry, txid) in order.range(listener.next_entry..) {
        if txids.len() == MAX_TXIDS {
            break;
        }
        listener.next_entry = entry + 1;
        if listener.known.insert(*txid) {
            txids.push(*txid);
        }
    }
    if !txids.is_empty() {
        out.send(peer, Message::AnnounceTransactions { txids });
    }
    order.range(listener.next_entry..).next().is_none()
}

#[cfg(test)]
mod tests;

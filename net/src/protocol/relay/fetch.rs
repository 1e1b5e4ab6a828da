//! Transactions announced to us: asked of one peer at a time, of the next if the first fails.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chain::Hash;
use chain::ledger::PeerId;

use crate::protocol::alarm::Alarm;
use crate::protocol::budget::{Budget, Rate};
use crate::protocol::outbox::Outbox;
use crate::protocol::port::{Millis, Reason};
use crate::wire::Message;

/// Transactions asked of one peer at a time.
const MAX_IN_FLIGHT: usize = 100;
/// Transactions asked of one peer or delivered by it and not yet judged, so that no peer fills the
/// queues behind the reactor, where blocks wait as well.
const MAX_UNJUDGED: usize = 400;
/// Refused transactions of one peer: so many at once, and so many a second. Beyond that it is
/// asked for no more for a while. Honest peers announce what their own pools took, and ours
/// seldom differ.
const REFUSALS_BURST: u64 = 200;
const REFUSALS: Rate = Rate::per_second(REFUSALS_BURST, 20);
/// Announcements of one peer that wait to be asked for; those beyond are ignored.
const MAX_QUEUED: usize = 5000;
/// Peers remembered as having one transaction.
const MAX_HOLDERS: usize = 8;
/// Requests remembered after they were given up, so that a late answer is no violation.
const MAX_LATE: usize = 1000;

#[derive(Debug)]
struct Wish {
    /// Peers that announced it and have not failed, in order. The first is asked first.
    holders: Vec<PeerId>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Asked(PeerId),
    /// Delivered by this peer, not yet judged.
    Delivered(PeerId),
}

#[derive(Debug)]
struct Holder {
    queue: VecDeque<Hash>,
    /// Asked of it, in the order of asking.
    open: VecDeque<(Millis, Hash)>,
    /// Asked of it and given up.
    late: VecDeque<Hash>,
    /// Delivered by it, and neither in the pool nor refused.
    unjudged: usize,
    refusals: Budget,
    /// Too many of its transactions were refused: it is asked again then.
    rests_until: Option<Millis>,
}

/// What was announced to us and is neither in the pool nor refused.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    wishes: BTreeMap<Hash, Wish>,
    holders: BTreeMap<PeerId, Holder>,
    /// Those of them whose queue is not empty.
    with_queue: BTreeSet<PeerId>,
    alarm: Alarm,
}

impl Fetches {
    pub(super) fn ready(&mut self, peer: PeerId, now: Millis) {
        let holder = Holder {
            queue: VecDeque::new(),
            open: VecDeque::new(),
            late: VecDeque::new(),
            unjudged: 0,
            refusals: Budget::new(REFUSALS, REFUSALS_BURST, now),
            rests_until: None,
        };
        self.holders.insert(peer, holder);
    }

    pub(super) fn removed(&mut self, peer: PeerId) {
        self.holders.remove(&peer);
        self.with_queue.remove(&peer);
        let touched: Vec<Hash> = self
            .wishes
            .iter()
            .filter(|(_, wish)| wish.holders.contains(&peer) || wish.state.owner() == Some(peer))
            .map(|(txid, _)| *txid)
            .collect();
        touched.iter().for_each(|txid| self.failed(peer, txid));
    }

    pub(super) fn announced(&mut self, peer: PeerId, txid: Hash) {
        let Some(holder) = self.holders.get_mut(&peer) else { return };
        if holder.queue.len() >= MAX_QUEUED {
            return;
        }
        let wish = self
            .wishes
            .entry(txid)
            .or_insert_with(|| Wish { holders: Vec::new(), state: State::Waiting });
        if wish.holders.len() >= MAX_HOLDERS || wish.holders.contains(&peer) {
            return;
        }
        wish.holders.push(peer);
        if wish.holders.len() == 1 && wish.state == State::Waiting {
            holder.queue.push_back(txid);
            self.with_queue.insert(peer);
        }
    }

    /// Takes a transaction off what the peer owes; returns whether it is still wanted.
    pub(super) fn delivered(&mut self, peer: PeerId, txid: Hash) -> Result<bool, Reason> {
        let Some(holder) = self.holders.get_mut(&peer) else { return Ok(false) };
        if let Some(at) = holder.open.iter().position(|(_, open)| *open == txid) {
            holder.open.remove(at);
        } else if let Some(at) = holder.late.iter().position(|late| *late == txid) {
            holder.late.remove(at);
        } else {
            return Err(Reason::Protocol("transaction was not asked for"));
        }
        let Some(wish) = self.wishes.get_mut(&txid) else { return Ok(false) };
        if matches!(wish.state, State::Delivered(_)) {
            return Ok(false);
        }
        wish.state = State::Delivered(peer);
        holder.unjudged += 1;
        Ok(true)
    }

    /// The transaction is in the pool, refused or in a block.
    pub(super) fn settled(&mut self, txid: &Hash) {
        let Some(wish) = self.wishes.remove(txid) else { return };
        if let State::Delivered(peer) = wish.state
            && let Some(holder) = self.holders.get_mut(&peer)
        {
            holder.unjudged = holder.unjudged.saturating_sub(1);
        }
    }

    /// The pool did not take a transaction of the peer.
    pub(super) fn refused(&mut self, peer: PeerId, now: Millis) {
        if let Some(holder) = self.holders.get_mut(&peer) {
            holder.refusals.spend(1, now);
        }
    }

    /// Gives up requests that are overdue.
    pub(super) fn expire(&mut self, now: Millis) {
        if !self.alarm.is_due(now) {
            return;
        }
        let mut failed = Vec::new();
        for (peer, holder) in &mut self.holders {
            holder.rests_until.take_if(|until| now >= *until);
            while let Some((until, txid)) = holder.open.front().copied() {
                if now < until {
                    break;
                }
                holder.open.pop_front();
                holder.late.push_back(txid);
                if holder.late.len() > MAX_LATE {
                    holder.late.pop_front();
                }
                failed.push((*peer, txid));
            }
        }
        failed.iter().for_each(|(peer, txid)| self.failed(*peer, txid));
        self.alarm.reset(self.due_at());
    }

    /// The peer does not deliver the transaction: the next one is asked, or nobody.
    fn failed(&mut self, peer: PeerId, txid: &Hash) {
        let Some(wish) = self.wishes.get_mut(txid) else { return };
        let was_next = wish.holders.first() == Some(&peer);
        wish.holders.retain(|holder| *holder != peer);
        let free = match wish.state.owner() {
            Some(owner) => owner == peer,
            None => was_next,
        };
        if !free {
            return;
        }
        wish.state = State::Waiting;
        let next = wish.holders.first().copied();
        match next.and_then(|next| self.holders.get_mut(&next)) {
            Some(holder) => {
                holder.queue.push_front(*txid);
                self.with_queue.extend(next);
            }
            None => {
                self.wishes.remove(txid);
            }
        }
    }

    /// Asks for what waits, as far as each peer has room.
    pub(super) fn request(&mut self, now: Millis, retry_ms: u64, out: &mut Outbox) {
        self.with_queue.retain(|peer| {
            let Some(holder) = self.holders.get_mut(peer) else { return false };
            assert!(!holder.queue.is_empty(), "only who has a queue is looked at");
            if holder.refusals.available(now) == 0 {
                holder.rests_until = holder.refusals.empty_until();
                self.alarm.set(holder.rests_until);
                return true;
            }
            let mut txids = Vec::new();
            while holder.open.len() < MAX_IN_FLIGHT
                && holder.open.len() + holder.unjudged < MAX_UNJUDGED
                && let Some(txid) = holder.queue.pop_front()
            {
                let Some(wish) = self.wishes.get_mut(&txid) else { continue };
                if wish.state == State::Waiting {
                    wish.state = State::Asked(*peer);
                    holder.open.push_back((now + retry_ms, txid));
                    txids.push(txid);
                }
            }
            if !txids.is_empty() {
                self.alarm.set(now + retry_ms);
                out.send(*peer, Message::GetTransactions { txids });
            }
            !holder.queue.is_empty()
        });
    }

    /// Announcements of the peer that wait to be asked for.
    #[cfg(test)]
    pub(super) fn queued(&self, peer: PeerId) -> usize {
        self.holders[&peer].queue.len()
    }

    pub(super) fn due_at(&self) -> Option<Millis> {
        let times = self.holders.values().flat_map(|holder| {
            let open = holder.open.front().map(|(until, _)| *until);
            open.into_iter().chain(holder.rests_until)
        });
        times.min()
    }

    pub(super) fn wake_at(&self) -> Option<Millis> {
        self.alarm.wake_at()
    }
}

impl State {
    fn owner(self) -> Option<PeerId> {
        match self {
            State::Waiting => None,
            State::Asked(peer) | State::Delivered(peer) => Some(peer),
        }
    }
}

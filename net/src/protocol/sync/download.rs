//! Block bodies: which to ask of whom, and what to do when they do not come.
//!
//! Each wanted block is asked of one peer at a time. A peer that delivers nothing for a while
//! (2 s, doubling with each time in a row up to 64 s) loses its blocks to others that have them;
//! after several times it is dropped. Who says that it does not have a block, or has removed old
//! ones, is not to blame: others are asked, and after a while the same again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use chain::Hash;
use chain::ledger::PeerId;
use chain::store::ChainPoint;

use crate::protocol::alarm::Alarm;
use crate::protocol::config::Timing;
use crate::protocol::outbox::Outbox;
use crate::protocol::port::{Millis, Reason};
use crate::protocol::recent::RecentSet;
use crate::wire::Message;
use crate::wire::message::MAX_BLOCKS_ASKED;

/// Blocks that one peer may owe: two questions full, so that one is answered while the other is on
/// its way.
const MAX_IN_FLIGHT: usize = 2 * MAX_BLOCKS_ASKED;
/// Stalls in a row after which a peer is dropped: 2 + 4 + .. + 64 s without a block.
const MAX_STALLS: u32 = 6;
/// A block that a peer owes for so long goes to another, whatever else the peer delivers.
const MAX_AGE_MS: u64 = 120_000;
/// After so long, peers are asked again for what they did not have: it may have come to them.
const ASK_AGAIN_MS: u64 = 5_000;
/// Blocks remembered as missing at a peer.
const MAX_LACKING: usize = 64;

#[derive(Debug)]
struct Source {
    /// Asked of it and neither delivered nor denied, also those given to another peer since.
    asked: BTreeSet<Hash>,
    /// Of these, those that are still its own.
    in_flight: usize,
    /// When it has stalled; set while it owes anything.
    deadline: Option<Millis>,
    stall_ms: u64,
    stalls: u32,
    lacking: RecentSet<Hash>,
}

impl Source {
    /// Gives new time for what is still owed.
    fn answered(&mut self, now: Millis, alarm: &mut Alarm) {
        self.deadline = (!self.asked.is_empty()).then_some(now + self.stall_ms);
        alarm.set(self.deadline);
    }
}

/// Heights of the blocks whose bodies each peer has.
pub(super) type Spans = BTreeMap<PeerId, RangeInclusive<u32>>;

/// Who owes a block, and since when.
#[derive(Clone, Copy, Debug)]
struct Debt {
    peer: PeerId,
    since: Millis,
}

/// The blocks wanted, and where each of them is.
#[derive(Debug)]
pub(crate) struct Downloads {
    wanted: Vec<ChainPoint>,
    in_flight: BTreeMap<Hash, Debt>,
    /// Given to the ledger, which has not yet taken them off its list.
    handed: BTreeMap<Hash, PeerId>,
    /// Not to be asked of anybody for now.
    held: BTreeSet<Hash>,
    sources: BTreeMap<PeerId, Source>,
    /// When to forget what peers did not have.
    ask_again_at: Option<Millis>,
    alarm: Alarm,
    stall_min_ms: u64,
    stall_max_ms: u64,
}

impl Downloads {
    pub(super) fn new(timing: &Timing) -> Downloads {
        Downloads {
            wanted: Vec::new(),
            in_flight: BTreeMap::new(),
            handed: BTreeMap::new(),
            held: BTreeSet::new(),
            sources: BTreeMap::new(),
            ask_again_at: None,
            alarm: Alarm::default(),
            stall_min_ms: timing.block_stall_ms,
            stall_max_ms: timing.block_stall_max_ms,
        }
    }

    pub(super) fn ready(&mut self, peer: PeerId) {
        let source = Source {
            asked: BTreeSet::new(),
            in_flight: 0,
            deadline: None,
            stall_ms: self.stall_min_ms,
            stalls: 0,
            lacking: RecentSet::new(MAX_LACKING),
        };
        self.sources.insert(peer, source);
    }

    /// What the peer owed, and what it delivered and the ledger still wants, is free again.
    pub(super) fn removed(&mut self, peer: PeerId) {
        self.sources.remove(&peer);
        self.in_flight.retain(|_, debt| debt.peer != peer);
        self.handed.retain(|_, owner| *owner != peer);
    }

    /// The peer has told of headers, so it may have what it lacked.
    pub(super) fn has_news(&mut self, peer: PeerId) {
        if let Some(source) = self.sources.get_mut(&peer) {
            source.lacking.clear();
        }
    }

    /// Height of a block whose body the ledger wants.
    pub(crate) fn wanted_height_of(&self, hash: &Hash) -> Option<u32> {
        self.wanted.iter().find(|point| point.hash == *hash).map(|point| point.height)
    }

    /// Whether a block is asked of a peer, or given to the ledger.
    pub(crate) fn is_coming(&self, hash: &Hash) -> bool {
        self.in_flight.contains_key(hash) || self.handed.contains_key(hash)
    }

    pub(super) fn hold(&mut self, hash: Hash) {
        self.held.insert(hash);
    }

    pub(super) fn release(&mut self, hash: &Hash) {
        self.held.remove(hash);
    }

    /// Height of the last block wanted.
    pub(super) fn wanted_height(&self) -> Option<u32> {
        self.wanted.last().map(|point| point.height)
    }

    pub(super) fn set_wanted(&mut self, wanted: Vec<ChainPoint>) {
        let hashes: BTreeSet<Hash> = wanted.iter().map(|point| point.hash).collect();
        self.handed.retain(|hash, _| hashes.contains(hash));
        self.wanted = wanted;
    }

    /// Takes a block off the peer's debts; returns whether nobody delivered it before.
    pub(super) fn delivered(
        &mut self,
        peer: PeerId,
        hash: Hash,
        now: Millis,
    ) -> Result<bool, Reason> {
        let Some(source) = self.sources.get_mut(&peer) else { return Ok(false) };
        if !source.asked.remove(&hash) {
            return Err(Reason::Protocol("block was not asked for"));
        }
        source.stalls = 0;
        source.stall_ms = (source.stall_ms / 2).max(self.stall_min_ms);
        source.answered(now, &mut self.alarm);
        if let Some(debt) = self.in_flight.remove(&hash)
            && let Some(owner) = self.sources.get_mut(&debt.peer)
        {
            owner.in_flight -= 1;
        }
        if self.handed.contains_key(&hash) {
            return Ok(false);
        }
        if self.wanted.iter().any(|point| point.hash == hash) {
            self.handed.insert(hash, peer);
        }
        Ok(true)
    }

    /// Whether a peer that has just delivered should be asked for more. Not for each block that
    /// comes: the list of wanted ones is long.
    pub(super) fn has_half_delivered(&self, peer: PeerId) -> bool {
        self.sources.get(&peer).is_some_and(|source| source.in_flight <= MAX_IN_FLIGHT / 2)
    }

    /// The peer does not have these after all.
    pub(super) fn not_found(
        &mut self,
        peer: PeerId,
        hashes: &[Hash],
        now: Millis,
    ) -> Result<(), Reason> {
        let Some(source) = self.sources.get_mut(&peer) else { return Ok(()) };
        for hash in hashes {
            if !source.asked.remove(hash) {
                return Err(Reason::Protocol("not-found for a block that was not asked for"));
            }
            source.lacking.insert(*hash);
            if self.in_flight.get(hash).is_some_and(|debt| debt.peer == peer) {
                self.in_flight.remove(hash);
                source.in_flight -= 1;
            }
        }
        source.answered(now, &mut self.alarm);
        self.alarm.set(*self.ask_again_at.get_or_insert(now + ASK_AGAIN_MS));
        Ok(())
    }

    /// Asks for wanted blocks that nobody owes, lowest first.
    pub(super) fn assign(&mut self, now: Millis, spans: &Spans, out: &mut Outbox) {
        let free = |source: &Source| MAX_IN_FLIGHT - source.in_flight;
        let mut free: usize = self.sources.values().map(free).sum();
        let mut questions: BTreeMap<PeerId, Vec<Hash>> = BTreeMap::new();
        for point in &self.wanted {
            if free == 0 {
                break;
            }
            if self.is_coming(&point.hash) || self.held.contains(&point.hash) {
                continue;
            }
            let Some(peer) = best_source(&self.sources, spans, point) else { continue };
            let source = self.sources.get_mut(&peer).expect("chosen from this map");
            source.in_flight += 1;
            source.asked.insert(point.hash);
            self.alarm.set(*source.deadline.get_or_insert(now + source.stall_ms));
            self.alarm.set(now + MAX_AGE_MS);
            self.in_flight.insert(point.hash, Debt { peer, since: now });
            questions.entry(peer).or_default().push(point.hash);
            free -= 1;
        }
        for (peer, hashes) in questions {
            for hashes in hashes.chunks(MAX_BLOCKS_ASKED) {
                out.send(peer, Message::GetBlocks { hashes: hashes.to_vec() });
            }
        }
    }

    /// Whether anything is overdue. If the alarm rings too early, nothing is done: blocks must not
    /// be assigned more often because of that.
    pub(super) fn is_due(&mut self, now: Millis) -> bool {
        if self.alarm.is_due(now) {
            self.alarm.reset(self.due_at());
        }
        self.alarm.is_due(now)
    }

    /// Frees the blocks of peers that deliver nothing, where another peer can; returns the peers
    /// to drop.
    pub(super) fn expire(&mut self, now: Millis, spans: &Spans) -> Vec<PeerId> {
        if self.ask_again_at.take_if(|at| now >= *at).is_some() {
            self.sources.values_mut().for_each(|source| source.lacking.clear());
        }
        let (mut late, mut gone) = (BTreeSet::new(), Vec::new());
        for (peer, source) in &mut self.sources {
            if source.deadline.is_none_or(|deadline| now < deadline) {
                continue;
            }
            source.stalls += 1;
            source.stall_ms = (source.stall_ms * 2).min(self.stall_max_ms);
            source.deadline = Some(now + source.stall_ms);
            if source.stalls >= MAX_STALLS {
                gone.push(*peer);
            } else {
                late.insert(*peer);
            }
        }
        for point in &self.wanted {
            let Some(debt) = self.in_flight.get(&point.hash) else { continue };
            let is_old = now >= debt.since + MAX_AGE_MS;
            if !is_old && !late.contains(&debt.peer) {
                continue;
            }
            // The debtor itself is not asked twice, so this is another peer.
            let better = best_source(&self.sources, spans, point).filter(|other| {
                is_old || self.sources[other].stalls < self.sources[&debt.peer].stalls
            });
            if better.is_some() {
                self.sources.get_mut(&debt.peer).expect("debtors are peers").in_flight -= 1;
                self.in_flight.remove(&point.hash);
            }
        }
        // Nobody else has these, or they are not wanted any more: look again later.
        for debt in self.in_flight.values_mut().filter(|debt| now >= debt.since + MAX_AGE_MS) {
            debt.since = now;
        }
        self.alarm.reset(self.due_at());
        gone
    }

    pub(super) fn due_at(&self) -> Option<Millis> {
        let deadlines = self.sources.values().filter_map(|source| source.deadline);
        let ages = self.in_flight.values().map(|debt| debt.since + MAX_AGE_MS);
        deadlines.chain(ages).chain(self.ask_again_at).min()
    }

    pub(super) fn wake_at(&self) -> Option<Millis> {
        self.alarm.wake_at()
    }
}

/// The peer to ask for a block: it has it, has room, delivers, and has the fewest open requests.
fn best_source(
    sources: &BTreeMap<PeerId, Source>,
    spans: &Spans,
    point: &ChainPoint,
) -> Option<PeerId> {
    let able = sources.iter().filter(|(peer, source)| {
        source.in_flight < MAX_IN_FLIGHT
            && !source.asked.contains(&point.hash)
            && !source.lacking.contains(&point.hash)
            && spans.get(peer).is_some_and(|span| span.contains(&point.height))
    });
    able.min_by_key(|(peer, source)| (source.stalls, source.in_flight, **peer)).map(|(p, _)| *p)
}

//! The address book: where nodes have been heard of, and how it went with them.
//!
//! Addresses lie in buckets, those that were only heard of in the new table, those that have
//! worked in the tried table. A secret decides which bucket an address may be in, so that nobody
//! can aim at one, and the group of the address and of who told of it have few buckets each. So
//! whoever tells of thousands of addresses of his own takes a small part of the book, and since
//! first a bucket and then an address in it is chosen, gets a small part of our attention.
//!
//! A full bucket of the new table keeps what it has, but for addresses not seen for long and
//! those that are in other buckets too. A full bucket of the tried table gives up an address only
//! after a test: the next feeler dials it, and if it answers it stays.

mod file;
mod table;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::{IteratorRandom, SliceRandom};
use serde::{Deserialize, Serialize};

use super::port::Millis;
use super::secret::Secret;
use crate::wire::KnownAddress;
pub use file::BookError;
use table::{BUCKET_SIZE, MAX_COPIES, NEW_BUCKETS, TRIED_BUCKETS, Table};

/// Addresses a book holds at most.
pub const MAX_BOOK: usize = (NEW_BUCKETS as usize + TRIED_BUCKETS as usize) * BUCKET_SIZE;

/// Peers that are dialled first after a start. As many as Bitcoin Core saves.
pub(crate) const MAX_ANCHORS: usize = 2;

/// An address that never worked is forgotten after this many failures (as in Bitcoin Core).
const MAX_NEW_FAILURES: u32 = 3;
/// One that once worked, after this many (as in Bitcoin Core) ..
const MAX_TRIED_FAILURES: u32 = 10;
/// .. if the last success is so long ago: a week, a holiday of a machine at home.
const MIN_ABSENCE_S: u64 = 7 * 24 * 3600;
/// An address not seen for so long is worth nothing any more: 30 days (as in Bitcoin Core).
const HORIZON_S: u64 = 30 * 24 * 3600;
/// Tried addresses that wait for a test at a time (as in Bitcoin Core); feelers make one in two
/// minutes.
const MAX_TESTS: usize = 10;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// In the tried table, not in the new one.
    tried: bool,
    /// Its buckets in that table, ascending.
    buckets: Vec<u16>,
    /// When somebody said to have been connected to it, or we were.
    last_seen_s: u64,
    /// When a handshake with it last succeeded; 0 = never.
    last_success_s: u64,
    /// Failed attempts since it was last of use; what the pause between attempts grows with.
    attempts: u32,
    /// Failures since the last success that are its own fault as far as we can tell.
    failures: u32,
    /// When the last of these was.
    failed_ms: u64,
    next_try_ms: u64,
}

impl Entry {
    /// Whether it failed too often.
    fn is_given_up(&self, now_s: u64) -> bool {
        match self.last_success_s {
            0 => self.failures >= MAX_NEW_FAILURES,
            last => {
                self.failures >= MAX_TRIED_FAILURES && now_s.saturating_sub(last) > MIN_ABSENCE_S
            }
        }
    }

    fn is_old(&self, now: Millis) -> bool {
        self.last_seen_s.saturating_add(HORIZON_S) < now.0 / 1000
    }
}

/// Known addresses, bounded by [`MAX_BOOK`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressBook {
    secret: Secret,
    entries: BTreeMap<SocketAddr, Entry>,
    new: Table,
    tried: Table,
    /// When anybody was last reached. A failure counts only if somebody was reached since the one
    /// before it: else it may be our own line that is dead, which must not empty the book.
    reached_ms: u64,
    /// Tried addresses that are to be tested, each with the one that would take its place.
    tests: BTreeMap<SocketAddr, SocketAddr>,
    anchors: Vec<SocketAddr>,
}

impl AddressBook {
    /// An empty book whose buckets are chosen by 32 secret bytes. [`AddressBook::default`] has
    /// zeros instead, which everybody knows: it is for tests.
    pub fn new(secret: [u8; 32]) -> AddressBook {
        AddressBook { secret: Secret(secret), ..AddressBook::default() }
    }

    /// Addresses in the book.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the address is in the book.
    pub fn contains(&self, address: &SocketAddr) -> bool {
        self.entries.contains_key(&canonical(address))
    }

    /// Whether the address is in the book and has worked.
    pub fn is_tried(&self, address: &SocketAddr) -> bool {
        self.entries.get(&canonical(address)).is_some_and(|entry| entry.tried)
    }

    pub(crate) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The peers to dial first.
    pub(crate) fn anchors(&self) -> &[SocketAddr] {
        &self.anchors
    }

    /// Remembers peers to dial first after the next start, the first [`MAX_ANCHORS`] of them.
    pub(crate) fn set_anchors(&mut self, anchors: &[SocketAddr]) {
        self.anchors = anchors.iter().take(MAX_ANCHORS).copied().collect();
    }

    /// Adds an address that `source` told us of; returns whether it is new in the book.
    pub fn heard(
        &mut self,
        address: SocketAddr,
        source: IpAddr,
        last_seen_s: u64,
        now: Millis,
    ) -> bool {
        let address = canonical(&address);
        let last_seen_s = last_seen_s.min(now.0 / 1000);
        let fresh = Entry { last_seen_s, ..Entry::default() };
        if fresh.is_old(now) {
            return false;
        }
        let bucket = table::new_bucket(&self.secret, &address, source);
        if let Some(entry) = self.entries.get_mut(&address) {
            entry.last_seen_s = entry.last_seen_s.max(last_seen_s);
            let copies = entry.buckets.len();
            if !entry.tried
                && copies < MAX_COPIES
                && !self.new.is_full(bucket)
                && table::may_copy(&self.secret, &address, source, copies)
            {
                self.put_new(bucket, address);
            }
            return false;
        }
        if !self.make_room(bucket, now) {
            return false;
        }
        self.entries.insert(address, fresh);
        self.put_new(bucket, address);
        true
    }

    /// Puts a known address into a bucket of the new table that has room.
    fn put_new(&mut self, bucket: u16, address: SocketAddr) {
        let entry = self.entries.get_mut(&address).expect("only known addresses have buckets");
        if let Err(at) = entry.buckets.binary_search(&bucket) {
            entry.buckets.insert(at, bucket);
            self.new.insert(bucket, address);
        }
    }

    /// Makes room in a bucket of the new table for an address that has none yet: at the cost of
    /// one not seen for long, or else of one that has other copies.
    fn make_room(&mut self, bucket: u16, now: Millis) -> bool {
        if !self.new.is_full(bucket) {
            return true;
        }
        let worth = |address: &SocketAddr| {
            let entry = &self.entries[address];
            (!entry.is_old(now), MAX_COPIES - entry.buckets.len())
        };
        let worst = self.new.members(bucket).min_by_key(|address| worth(address)).copied();
        let worst = worst.expect("a full bucket is not empty");
        let entry = self.entries.get_mut(&worst).expect("buckets hold known addresses");
        if !entry.is_old(now) && entry.buckets.len() == 1 {
            return false;
        }
        entry.buckets.retain(|other| *other != bucket);
        if entry.buckets.is_empty() {
            self.entries.remove(&worst);
        }
        self.new.remove(bucket, &worst);
        true
    }

    /// Notes that a handshake with the address succeeded.
    pub fn succeeded(&mut self, address: SocketAddr, now: Millis) {
        let (address, now_s) = (canonical(&address), now.0 / 1000);
        self.reached_ms = now.0;
        self.tests.remove(&address);
        let entry = self.entries.entry(address).or_default();
        (entry.last_seen_s, entry.last_success_s, entry.failures) = (now_s, now_s, 0);
        if entry.tried {
            return;
        }
        let bucket = table::tried_bucket(&self.secret, &address);
        if self.tried.is_full(bucket) {
            self.plan_test(bucket, address);
            self.drop_if_nowhere(&address);
        } else {
            self.promote(address);
        }
    }

    /// Has a member of a full bucket tested that has not been of use for the longest time, on
    /// behalf of who would take its place.
    fn plan_test(&mut self, bucket: u16, challenger: SocketAddr) {
        let members = self.tried.members(bucket);
        let oldest = members.min_by_key(|address| self.entries[*address].last_success_s);
        if let Some(oldest) = oldest.copied()
            && self.tests.len() < MAX_TESTS
        {
            self.tests.entry(oldest).or_insert(challenger);
        }
    }

    /// Moves an address to the tried table, whose bucket has room.
    fn promote(&mut self, address: SocketAddr) {
        let bucket = table::tried_bucket(&self.secret, &address);
        let entry = self.entries.get_mut(&address).expect("only known addresses are moved");
        entry.buckets.iter().for_each(|bucket| self.new.remove(*bucket, &address));
        (entry.tried, entry.buckets) = (true, vec![bucket]);
        self.tried.insert(bucket, address);
    }

    /// Moves a tried address that failed its test back to the new table, if that has room, and
    /// who waited for its place to the tried one.
    fn replace(&mut self, failed: SocketAddr, challenger: SocketAddr, now: Millis) {
        if let Some(entry) = self.entries.get_mut(&failed) {
            entry.buckets.iter().for_each(|bucket| self.tried.remove(*bucket, &failed));
            (entry.tried, entry.buckets) = (false, Vec::new());
            let bucket = table::new_bucket(&self.secret, &failed, failed.ip());
            if self.make_room(bucket, now) {
                self.put_new(bucket, failed);
            }
            self.drop_if_nowhere(&failed);
        }
        let bucket = table::tried_bucket(&self.secret, &challenger);
        let waits = self.entries.get(&challenger).is_some_and(|entry| !entry.tried);
        if waits && !self.tried.is_full(bucket) {
            self.promote(challenger);
        }
    }

    fn drop_if_nowhere(&mut self, address: &SocketAddr) {
        if self.entries.get(address).is_some_and(|entry| entry.buckets.is_empty()) {
            self.entries.remove(address);
        }
    }

    /// Notes that an attempt to connect failed, or a connection ended before it was of use;
    /// `backoff` says for how many milliseconds to leave the address alone after so many.
    pub fn failed(&mut self, address: &SocketAddr, now: Millis, backoff: impl FnOnce(u32) -> u64) {
        let address = canonical(address);
        let Some(entry) = self.entries.get_mut(&address) else { return };
        entry.attempts = entry.attempts.saturating_add(1);
        entry.next_try_ms = (now + backoff(entry.attempts)).0;
        if entry.failures > 0 && self.reached_ms <= entry.failed_ms {
            return;
        }
        entry.failures = entry.failures.saturating_add(1);
        entry.failed_ms = now.0;
        if entry.is_given_up(now.0 / 1000) {
            self.remove(&address);
        } else if let Some(challenger) = self.tests.remove(&address) {
            self.replace(address, challenger, now);
        }
    }

    /// Notes that a connection to the address that was of use has ended just now, and that it is
    /// to be left alone for so many milliseconds.
    pub fn rested(&mut self, address: &SocketAddr, now: Millis, pause_ms: u64) {
        let address = canonical(address);
        if let Some(entry) = self.entries.get_mut(&address) {
            let now_s = now.0 / 1000;
            (entry.last_seen_s, entry.last_success_s, entry.attempts) = (now_s, now_s, 1);
            entry.next_try_ms = (now + pause_ms).0;
            self.tests.remove(&address);
        }
    }

    /// Forgets an address.
    pub fn remove(&mut self, address: &SocketAddr) {
        let address = canonical(address);
        self.tests.remove(&address);
        let Some(entry) = self.entries.remove(&address) else { return };
        let table = if entry.tried { &mut self.tried } else { &mut self.new };
        entry.buckets.iter().for_each(|bucket| table.remove(*bucket, &address));
    }

    /// Picks an address to try now among those `allowed`; half of the time one that once
    /// worked, if there is one.
    pub fn pick(
        &self,
        now: Millis,
        rng: &mut StdRng,
        allowed: impl Fn(&SocketAddr) -> bool,
    ) -> Option<SocketAddr> {
        let mut tables = [&self.new, &self.tried];
        if rng.random_bool(0.5) {
            tables.reverse();
        }
        tables.into_iter().find_map(|table| self.pick_from(table, now, rng, &allowed))
    }

    /// Picks an address for a feeler: one that waits for its test, or else one that never worked.
    pub(crate) fn pick_for_test(
        &mut self,
        now: Millis,
        rng: &mut StdRng,
        allowed: impl Fn(&SocketAddr) -> bool,
    ) -> Option<SocketAddr> {
        while let Some((tried, _)) = self.tests.first_key_value() {
            if allowed(tried) {
                return Some(*tried);
            }
            // It is connected, or will not be dialled for other reasons: it stays.
            self.tests.pop_first();
        }
        self.pick_from(&self.new, now, rng, allowed)
    }

    /// A bucket at random, then an address in it.
    fn pick_from(
        &self,
        table: &Table,
        now: Millis,
        rng: &mut StdRng,
        allowed: impl Fn(&SocketAddr) -> bool,
    ) -> Option<SocketAddr> {
        let mut buckets = table.buckets();
        buckets.shuffle(rng);
        buckets.into_iter().find_map(|bucket| {
            let due = table
                .members(bucket)
                .filter(|address| self.entries[*address].next_try_ms <= now.0 && allowed(address));
            due.choose(rng).copied()
        })
    }

    /// At most `count` addresses seen not too long ago, at random, for a peer.
    pub fn sample(&self, count: usize, now: Millis, rng: &mut StdRng) -> Vec<KnownAddress> {
        let recent = self.entries.iter().filter(|(_, entry)| !entry.is_old(now));
        let known = recent.sample(rng, count).into_iter().map(|(address, entry)| KnownAddress {
            ip: address.ip(),
            port: address.port(),
            last_seen_s: entry.last_seen_s,
        });
        known.collect()
    }
}

/// One form for each address, so that none is in the book twice.
fn canonical(address: &SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests;

//! The address book: where nodes have been heard of, and how it went with them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use serde::{Deserialize, Serialize};

use super::port::Millis;
use crate::wire::KnownAddress;

/// Addresses a book holds. The least promising goes when one more comes.
pub const MAX_BOOK: usize = 4096;

/// An address that never worked is forgotten after this many failures.
const MAX_NEW_FAILURES: u32 = 3;
/// One that once worked, after this many ..
const MAX_TRIED_FAILURES: u32 = 10;
/// .. if nobody has seen it for a week: it is us who cannot be reached, more often than not.
const MIN_ABSENCE_S: u64 = 7 * 24 * 3600;

/// First byte of a saved book.
const BOOK_VERSION: u8 = 1;

/// Why saved bytes are not an address book. The node starts with an empty one then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// The file is of another version of the program.
    #[error("address book has version {0}, this program knows 1")]
    Version(u8),
    /// The bytes do not decode.
    #[error("address book is damaged")]
    Damaged,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// A handshake with it has succeeded.
    tried: bool,
    /// Since the last success.
    failures: u32,
    last_seen_s: u64,
    next_try_ms: u64,
}

/// Known addresses, bounded by [`MAX_BOOK`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressBook {
    entries: BTreeMap<SocketAddr, Entry>,
}

impl AddressBook {
    /// Reads what [`AddressBook::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are something else; use an empty book then and say so.
    pub fn decode(bytes: &[u8]) -> Result<AddressBook, BookError> {
        let (version, mut rest) = bytes.split_first().ok_or(BookError::Damaged)?;
        if *version != BOOK_VERSION {
            return Err(BookError::Version(*version));
        }
        let mut take = || -> Option<AddressBook> {
            let (count, after) = postcard::take_from_bytes::<u32>(rest).ok()?;
            rest = after;
            let mut entries = BTreeMap::new();
            for _ in 0..usize::try_from(count).ok().filter(|count| *count <= MAX_BOOK)? {
                let ((address, entry), after) =
                    postcard::take_from_bytes::<(SocketAddr, Entry)>(rest).ok()?;
                entries.insert(address, entry);
                rest = after;
            }
            rest.is_empty().then_some(AddressBook { entries })
        };
        take().ok_or(BookError::Damaged)
    }

    /// The bytes to save: a version byte, then postcard.
    pub fn encode(&self) -> Vec<u8> {
        let entries: Vec<_> = self.entries.iter().collect();
        let body = postcard::to_stdvec(&entries).expect("encoding to memory cannot fail");
        [&[BOOK_VERSION][..], &body].concat()
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
        self.entries.contains_key(address)
    }

    /// Adds an address somebody told us of; returns whether it is new.
    pub fn heard(&mut self, address: SocketAddr, last_seen_s: u64, now: Millis) -> bool {
        let last_seen_s = last_seen_s.min(now.0 / 1000);
        if let Some(entry) = self.entries.get_mut(&address) {
            entry.last_seen_s = entry.last_seen_s.max(last_seen_s);
            return false;
        }
        if self.entries.len() >= MAX_BOOK && !self.make_room() {
            return false;
        }
        let entry = Entry { tried: false, failures: 0, last_seen_s, next_try_ms: 0 };
        self.entries.insert(address, entry);
        true
    }

    /// Removes the worst of the addresses that never worked.
    fn make_room(&mut self) -> bool {
        let new = self.entries.iter().filter(|(_, entry)| !entry.tried);
        let worst = new.min_by_key(|(_, entry)| (u32::MAX - entry.failures, entry.last_seen_s));
        let worst = worst.map(|(address, _)| *address);
        worst.is_some_and(|address| self.entries.remove(&address).is_some())
    }

    /// Notes that a connection to the address succeeded.
    pub fn succeeded(&mut self, address: SocketAddr, now: Millis) {
        self.heard(address, now.0 / 1000, now);
        if let Some(entry) = self.entries.get_mut(&address) {
            let last_seen_s = now.0 / 1000;
            *entry = Entry { tried: true, failures: 0, last_seen_s, next_try_ms: 0 };
        }
    }

    /// Notes that a connection failed or ended; `backoff` says for how many milliseconds to
    /// leave the address alone after so many failures.
    pub fn failed(&mut self, address: &SocketAddr, now: Millis, backoff: impl FnOnce(u32) -> u64) {
        let Some(entry) = self.entries.get_mut(address) else { return };
        entry.failures += 1;
        entry.next_try_ms = (now + backoff(entry.failures)).0;
        let absence_s = (now.0 / 1000).saturating_sub(entry.last_seen_s);
        let is_given_up = match entry.tried {
            true => entry.failures >= MAX_TRIED_FAILURES && absence_s > MIN_ABSENCE_S,
            false => entry.failures >= MAX_NEW_FAILURES,
        };
        if is_given_up {
            self.entries.remove(address);
        }
    }

    /// Forgets an address.
    pub fn remove(&mut self, address: &SocketAddr) {
        self.entries.remove(address);
    }

    /// Picks an address to try now among those `allowed`; half of the time one that once
    /// worked, if there is one.
    pub fn pick(
        &self,
        now: Millis,
        rng: &mut StdRng,
        allowed: impl Fn(&SocketAddr) -> bool,
    ) -> Option<SocketAddr> {
        let due = |(address, entry): &(&SocketAddr, &Entry)| {
            entry.next_try_ms <= now.0 && allowed(address)
        };
        let tried = self.entries.iter().filter(due).filter(|(_, entry)| entry.tried);
        let tried = tried.map(|(address, _)| *address).choose(rng);
        let new = self.entries.iter().filter(due).filter(|(_, entry)| !entry.tried);
        let new = new.map(|(address, _)| *address).choose(rng);
        if rand::RngExt::random_bool(rng, 0.5) { tried.or(new) } else { new.or(tried) }
    }

    /// At most `count` addresses, at random, for a peer.
    pub fn sample(&self, count: usize, rng: &mut StdRng) -> Vec<KnownAddress> {
        let chosen = self.entries.iter().sample(rng, count);
        let known = chosen.into_iter().map(|(address, entry)| KnownAddress {
            ip: address.ip(),
            port: address.port(),
            last_seen_s: entry.last_seen_s,
        });
        known.collect()
    }
}

/// Whether an address heard of from a peer at `from` can be a node's: not a group's, not
/// nobody's, and one of this machine only if the peer is on this machine too.
pub fn is_plausible(address: &SocketAddr, from: IpAddr) -> bool {
    let ip = address.ip().to_canonical();
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    address.port() != 0
        && !ip.is_unspecified()
        && !ip.is_multicast()
        && !broadcast
        && (!ip.is_loopback() || from.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests;

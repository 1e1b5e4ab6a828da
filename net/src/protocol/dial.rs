//! Whom to connect to, and when to try again.
//!
//! Fixed addresses are dialled for ever, beyond the slots. Free slots are filled from the address
//! book. A failed address waits 1, 2, 4 .. seconds up to a limit, with some jitter, so that
//! nodes that lost each other at the same moment do not knock at the same moment.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use chain::ledger::PeerId;
use rand::RngExt;
use rand::rngs::StdRng;

use super::address::AddressBook;
use super::config::Timing;
use super::discouraged::Discouraged;
use super::outbox::Outbox;
use super::peers::Peers;
use super::port::{Millis, Output};
use crate::wire::NodeId;

/// Most fixed addresses; those beyond are refused.
const MAX_FIXED: usize = 64;
/// Addresses whose node id is remembered.
const MAX_NODES: usize = 1024;
/// How often the book is searched while slots are free.
const BOOK_INTERVAL_MS: u64 = 1000;

#[derive(Debug, Default)]
struct Fixed {
    failures: u32,
    next_at: Millis,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Dialling,
    Connected(PeerId),
}

/// Opens connections.
#[derive(Debug, Default)]
pub(crate) struct Dialler {
    fixed: BTreeMap<SocketAddr, Fixed>,
    links: BTreeMap<SocketAddr, Link>,
    /// Who answered at an address the last time, so that a node we have already is not dialled.
    nodes: BTreeMap<SocketAddr, NodeId>,
    book_at: Millis,
    slots: usize,
}

/// What the dialler looks at to choose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    pub(crate) book: &'a AddressBook,
    pub(crate) peers: &'a Peers,
    pub(crate) discouraged: &'a Discouraged,
}

impl Known<'_> {
    fn is_connected(&self, node: Option<&NodeId>) -> bool {
        node.is_some_and(|node| self.peers.by_node(node).is_some())
    }

    fn is_taken_or_bad(&self, address: &SocketAddr, now: Millis) -> bool {
        self.discouraged.contains(address.ip(), now)
            || self.peers.iter().any(|(_, peer)| peer.listens_at() == Some(*address))
    }
}

/// How an outbound connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It was of use: try again soon.
    Fair,
    /// It never came about, or should not have: wait ever longer.
    Failed,
    /// The peer broke a rule: wait for the longest time.
    Violation,
}

impl Dialler {
    pub(crate) fn new(slots: usize, fixed: &[SocketAddr]) -> Dialler {
        let mut dialler = Dialler { slots, ..Dialler::default() };
        fixed.iter().for_each(|address| dialler.add_fixed(*address));
        dialler
    }

    /// Keeps a connection to the address from now on.
    pub(crate) fn add_fixed(&mut self, address: SocketAddr) {
        if self.fixed.len() < MAX_FIXED {
            self.fixed.entry(address).or_default().next_at = Millis::default();
        }
    }

    pub(crate) fn is_fixed(&self, address: &SocketAddr) -> bool {
        self.fixed.contains_key(address)
    }

    /// Notes that the address is our own and must not be dialled.
    pub(crate) fn forget(&mut self, address: &SocketAddr) {
        self.fixed.remove(address);
    }

    pub(crate) fn connected(&mut self, address: SocketAddr, peer: PeerId, node_id: NodeId) {
        self.links.insert(address, Link::Connected(peer));
        self.nodes.insert(address, node_id);
        if self.nodes.len() > MAX_NODES {
            self.nodes.pop_first();
        }
    }

    /// Notes the end of a connection to the address, or of the attempt.
    pub(crate) fn ended(
        &mut self,
        address: &SocketAddr,
        ending: Ending,
        now: Millis,
        timing: &Timing,
        rng: &mut StdRng,
    ) {
        self.links.remove(address);
        let Some(fixed) = self.fixed.get_mut(address) else { return };
        fixed.failures = match ending {
            Ending::Fair => 0,
            Ending::Failed | Ending::Violation => fixed.failures.saturating_add(1),
        };
        let wait_ms = match ending {
            Ending::Violation => timing.backoff_max_ms,
            _ => backoff_ms(
                fixed.failures,
                timing.backoff_first_ms,
                timing.fixed_backoff_max_ms,
                rng,
            ),
        };
        fixed.next_at = now + wait_ms;
    }

    /// Dials what is due.
    pub(crate) fn tick(
        &mut self,
        now: Millis,
        known: Known<'_>,
        rng: &mut StdRng,
        out: &mut Outbox,
    ) {
        for (address, fixed) in &mut self.fixed {
            if self.links.contains_key(address) || now < fixed.next_at {
                continue;
            }
            if known.is_connected(self.nodes.get(address)) {
                fixed.next_at = now + BOOK_INTERVAL_MS;
                continue;
            }
            self.links.insert(*address, Link::Dialling);
            out.push(Output::Connect(*address));
        }
        if now < self.book_at {
            return;
        }
        self.book_at = now + BOOK_INTERVAL_MS;
        while self.has_free_slot() {
            let allowed = |address: &SocketAddr| {
                !self.links.contains_key(address)
                    && !self.fixed.contains_key(address)
                    && !known.is_connected(self.nodes.get(address))
                    && !known.is_taken_or_bad(address, now)
            };
            let Some(address) = known.book.pick(now, rng, allowed) else {
                break;
            };
            self.links.insert(address, Link::Dialling);
            out.push(Output::Connect(address));
        }
    }

    /// Fixed addresses take no slots.
    fn has_free_slot(&self) -> bool {
        let taken = self.links.keys().filter(|address| !self.fixed.contains_key(address)).count();
        taken < self.slots
    }

    pub(crate) fn wake_at(&self) -> Option<Millis> {
        let idle = self.fixed.iter().filter(|(address, _)| !self.links.contains_key(address));
        let fixed = idle.map(|(_, fixed)| fixed.next_at).min();
        let book = self.has_free_slot().then_some(self.book_at);
        fixed.into_iter().chain(book).min()
    }
}

/// `first * 2^(failures - 1)` up to `max`, of which up to a quarter is taken off at random.
pub(crate) fn backoff_ms(failures: u32, first_ms: u64, max_ms: u64, rng: &mut StdRng) -> u64 {
    let doublings = failures.saturating_sub(1).min(32);
    let full_ms = first_ms.saturating_mul(1 << doublings).min(max_ms);
    full_ms - rng.random_range(0..=full_ms / 4)
}

#[cfg(test)]
mod tests;

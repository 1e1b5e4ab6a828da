//! Whom to connect to, and when to try again.
//!
//! Fixed addresses are dialled for ever, beyond the slots. Free slots are filled from the address
//! book, the anchors of the last run first, at most one of each network group, so that a party
//! with many addresses in one place is one peer among several. A failed address waits 1, 2, 4 ..
//! seconds up to a limit, with some jitter, so that nodes that lost each other at the same moment
//! do not knock at the same moment. Now and then a feeler goes out: it only finds out whether an
//! address works, so that the book holds enough that do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use rand::RngExt;
use rand::rngs::StdRng;

use super::address::AddressBook;
use super::alarm::Alarm;
use super::ban::Bans;
use super::config::Timing;
use super::discouraged::Discouraged;
use super::group::Group;
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

/// Opens connections.
#[derive(Debug, Default)]
pub(crate) struct Dialler {
    fixed: BTreeMap<SocketAddr, Fixed>,
    /// Addresses that are being dialled or connected.
    links: BTreeSet<SocketAddr>,
    /// The one of them that is only tried out.
    feeler: Option<SocketAddr>,
    /// To be dialled before all others of the book.
    anchors: VecDeque<SocketAddr>,
    /// Who answered at an address the last time, so that a node we have already is not dialled.
    nodes: BTreeMap<SocketAddr, NodeId>,
    book_at: Millis,
    feeler_at: Option<Millis>,
    alarm: Alarm,
    slots: usize,
}

/// What the dialler looks at to choose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    pub(crate) peers: &'a Peers,
    pub(crate) discouraged: &'a Discouraged,
    pub(crate) bans: &'a Bans,
}

impl Known<'_> {
    fn is_connected(&self, node: Option<&NodeId>) -> bool {
        node.is_some_and(|node| self.peers.by_node(node).is_some())
    }

    fn is_bad(&self, ip: IpAddr, now: Millis) -> bool {
        self.discouraged.contains(ip, now) || self.bans.contains(ip, now)
    }
}

/// The peers we have, in the form in which many addresses are compared with them.
struct Have {
    nodes: BTreeSet<NodeId>,
    addresses: BTreeSet<SocketAddr>,
}

impl Have {
    fn new(peers: &Peers) -> Have {
        let nodes = peers.iter().map(|(_, peer)| peer.node_id).collect();
        let addresses = peers.iter().filter_map(|(_, peer)| peer.listens_at()).collect();
        Have { nodes, addresses }
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
    pub(crate) fn new(slots: usize, fixed: &[SocketAddr], anchors: &[SocketAddr]) -> Dialler {
        let anchors = anchors.iter().copied().collect();
        let mut dialler = Dialler { slots, anchors, ..Dialler::default() };
        fixed.iter().for_each(|address| dialler.add_fixed(*address));
        dialler.alarm.reset(dialler.due_at());
        dialler
    }

    /// Keeps a connection to the address from now on.
    pub(crate) fn add_fixed(&mut self, address: SocketAddr) {
        if self.fixed.len() < MAX_FIXED {
            self.fixed.entry(address).or_default().next_at = Millis::default();
            self.alarm.reset(self.due_at());
        }
    }

    pub(crate) fn is_fixed(&self, address: &SocketAddr) -> bool {
        self.fixed.contains_key(address)
    }

    /// Whether a fixed peer is at this host, at whatever port.
    pub(crate) fn is_fixed_host(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.fixed.keys().any(|address| address.ip().to_canonical() == ip)
    }

    pub(crate) fn is_feeler(&self, address: &SocketAddr) -> bool {
        self.feeler == Some(*address) && !self.is_fixed(address)
    }

    /// Notes that the address is our own and must not be dialled.
    pub(crate) fn forget(&mut self, address: &SocketAddr) {
        self.fixed.remove(address);
    }

    pub(crate) fn connected(&mut self, address: SocketAddr, node_id: NodeId) {
        self.links.insert(address);
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
        self.feeler.take_if(|feeler| feeler == address);
        if let Some(fixed) = self.fixed.get_mut(address) {
            fixed.failures = match ending {
                Ending::Fair => 0,
                Ending::Failed | Ending::Violation => fixed.failures.saturating_add(1),
            };
            let most_ms = timing.fixed_backoff_max_ms;
            let wait_ms = match ending {
                Ending::Violation => timing.backoff_max_ms,
                _ => backoff_ms(fixed.failures, timing.backoff_first_ms, most_ms, rng),
            };
            fixed.next_at = now + wait_ms;
        }
        self.alarm.reset(self.due_at());
    }

    /// Dials what is due.
    pub(crate) fn tick(
        &mut self,
        now: Millis,
        book: &mut AddressBook,
        known: Known<'_>,
        timing: &Timing,
        rng: &mut StdRng,
        out: &mut Outbox,
    ) {
        if now < self.book_at && !self.alarm.is_due(now) {
            return;
        }
        for (address, fixed) in &mut self.fixed {
            if self.links.contains(address) || now < fixed.next_at {
                continue;
            }
            if known.is_connected(self.nodes.get(address)) || known.bans.contains(address.ip(), now)
            {
                fixed.next_at = now + BOOK_INTERVAL_MS;
                continue;
            }
            self.links.insert(*address);
            out.push(Output::Connect(*address));
        }
        if now >= self.book_at {
            self.book_at = now + BOOK_INTERVAL_MS;
            self.fill_slots(now, book, known, rng, out);
        }
        let feeler_at = *self.feeler_at.get_or_insert(now + timing.feeler_ms);
        if now >= feeler_at {
            self.feeler_at = Some(now + timing.feeler_ms);
            self.feel(now, book, known, rng, out);
        }
        self.alarm.reset(self.due_at());
    }

    fn fill_slots(
        &mut self,
        now: Millis,
        book: &AddressBook,
        known: Known<'_>,
        rng: &mut StdRng,
        out: &mut Outbox,
    ) {
        let have = Have::new(known.peers);
        while self.has_free_slot() {
            let groups = self.groups();
            let allowed = |address: &SocketAddr| {
                self.is_free(address, known, &have, now)
                    && !groups.contains(&Group::of(address.ip()))
            };
            let anchor = self.anchors.iter().position(allowed);
            let picked = match anchor {
                Some(at) => self.anchors.remove(at),
                None => book.pick(now, rng, allowed),
            };
            let Some(address) = picked else { break };
            self.links.insert(address);
            out.push(Output::Connect(address));
        }
        // They were the first; from now on they are addresses like others.
        self.anchors.clear();
    }

    /// Sends a feeler. Without a single peer there is no telling whether it is the address or our
    /// own line that does not work.
    fn feel(
        &mut self,
        now: Millis,
        book: &mut AddressBook,
        known: Known<'_>,
        rng: &mut StdRng,
        out: &mut Outbox,
    ) {
        if self.slots == 0 || self.feeler.is_some() || known.peers.iter().next().is_none() {
            return;
        }
        let have = Have::new(known.peers);
        let allowed = |address: &SocketAddr| self.is_free(address, known, &have, now);
        if let Some(address) = book.pick_for_test(now, rng, allowed) {
            self.feeler = Some(address);
            self.links.insert(address);
            out.push(Output::Connect(address));
        }
    }

    /// Whether nothing but the choice of groups speaks against dialling an address of the book.
    fn is_free(&self, address: &SocketAddr, known: Known<'_>, have: &Have, now: Millis) -> bool {
        !self.links.contains(address)
            && !self.fixed.contains_key(address)
            && !have.addresses.contains(address)
            && !self.nodes.get(address).is_some_and(|node| have.nodes.contains(node))
            && !known.is_bad(address.ip(), now)
    }

    /// The groups we have a connection to, or are about to. The local one is not counted: those
    /// in it are chosen by whoever runs the machine.
    fn groups(&self) -> BTreeSet<Group> {
        let links = self.links.iter().filter(|address| !self.is_feeler(address));
        let groups = links.map(|address| Group::of(address.ip()));
        groups.filter(|group| *group != Group::Local).collect()
    }

    /// Fixed addresses and feelers take no slots.
    fn has_free_slot(&self) -> bool {
        let takes = |address: &&SocketAddr| {
            !self.fixed.contains_key(*address) && self.feeler != Some(**address)
        };
        self.links.iter().filter(takes).count() < self.slots
    }

    pub(crate) fn wake_at(&self) -> Option<Millis> {
        self.alarm.wake_at()
    }

    pub(crate) fn due_at(&self) -> Option<Millis> {
        let idle = self.fixed.iter().filter(|(address, _)| !self.links.contains(*address));
        let fixed = idle.map(|(_, fixed)| fixed.next_at).min();
        let book = self.has_free_slot().then_some(self.book_at);
        let feeler = self.feeler_at.filter(|_| self.slots > 0);
        fixed.into_iter().chain(book).chain(feeler).min()
    }
}

/// `first * 2^(failures - 1)` up to `max`, of which up to a quarter is taken off at random.
pub(crate) fn backoff_ms(failures: u32, first_ms: u64, max_ms: u64, rng: &mut StdRng) -> u64 {
    let doublings = failures.saturating_sub(1).min(32);
    let full_ms = first_ms.saturating_mul(1 << doublings).min(max_ms);
    full_ms - rng.random_range(0..=full_ms / 4)
}

#[cfg(test)]
mod eclipse;
#[cfg(test)]
mod tests;

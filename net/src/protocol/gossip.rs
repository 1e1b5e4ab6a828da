//! Addresses from peer to peer.
//!
//! A node asks each node it dialled once for addresses and answers each peer once. A few fresh
//! addresses travel on to two peers. What a peer tells beyond one address in ten seconds (after
//! a first thousand) is ignored, so that no peer can flood the book.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use chain::ledger::PeerId;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;

use super::address::AddressBook;
use super::ban::Bans;
use super::budget::{Budget, Rate};
use super::group::is_plausible;
use super::outbox::Outbox;
use super::port::{Direction, Millis};
use crate::wire::message::MAX_ADDRESSES;
use crate::wire::{KnownAddress, Message};

/// Addresses a peer may tell: so many at once, and one more every ten seconds.
const ADDRESSES: Rate = Rate::one_in(MAX_ADDRESSES as u64, 10_000);
/// Longer messages are answers and not relayed.
pub(crate) const MAX_RELAYED: usize = 10;
/// Peers a fresh address is relayed to.
const FAN_OUT: usize = 2;
/// An answer tells at most this share of the book, in percent, but no less than `MAX_RELAYED`.
const ANSWER_PERCENT: usize = 23;

#[derive(Debug)]
struct Talker {
    ip: IpAddr,
    answered: bool,
    budget: Budget,
}

/// What every peer that has said hello told and was told.
#[derive(Debug, Default)]
pub(crate) struct Gossip {
    talkers: BTreeMap<PeerId, Talker>,
}

impl Gossip {
    pub(crate) fn ready(
        &mut self,
        peer: PeerId,
        address: SocketAddr,
        direction: Direction,
        now: Millis,
        out: &mut Outbox,
    ) {
        let budget = Budget::new(ADDRESSES, MAX_ADDRESSES as u64, now);
        let talker = Talker { ip: address.ip(), answered: false, budget };
        self.talkers.insert(peer, talker);
        if direction == Direction::Outbound {
            out.send(peer, Message::GetAddresses);
        }
    }

    pub(crate) fn removed(&mut self, peer: PeerId) {
        self.talkers.remove(&peer);
    }

    /// Answers a peer, once.
    pub(crate) fn asked(
        &mut self,
        peer: PeerId,
        now: Millis,
        book: &AddressBook,
        rng: &mut StdRng,
        out: &mut Outbox,
    ) {
        let Some(talker) = self.talkers.get_mut(&peer) else { return };
        if std::mem::replace(&mut talker.answered, true) {
            return;
        }
        let share = (book.len() * ANSWER_PERCENT / 100).clamp(MAX_RELAYED, MAX_ADDRESSES);
        let ip = talker.ip;
        let mut list = book.sample(share, now, rng);
        list.retain(|known| is_plausible(&known.socket(), ip));
        out.send(peer, Message::Addresses(list));
    }

    /// Takes what a peer tells into the book; returns what is new.
    pub(crate) fn told(
        &mut self,
        peer: PeerId,
        list: &[KnownAddress],
        now: Millis,
        book: &mut AddressBook,
        bans: &Bans,
    ) -> Vec<KnownAddress> {
        let Some(talker) = self.talkers.get_mut(&peer) else {
            return Vec::new();
        };
        let most = usize::try_from(talker.budget.available(now)).unwrap_or(usize::MAX);
        let heard = list.len().min(most);
        talker.budget.spend(heard as u64, now);
        let mut fresh = list[..heard].to_vec();
        fresh.retain(|known| {
            let address = known.socket();
            is_plausible(&address, talker.ip)
                && !bans.contains(address.ip(), now)
                && book.heard(address, talker.ip, known.last_seen_s, now)
        });
        fresh
    }

    /// Passes fresh addresses on to a few peers other than the one they came from.
    pub(crate) fn relay(
        &self,
        from: PeerId,
        fresh: &[KnownAddress],
        rng: &mut StdRng,
        out: &mut Outbox,
    ) {
        let others = self.talkers.iter().filter(|(peer, _)| **peer != from);
        for (peer, talker) in others.sample(rng, FAN_OUT) {
            let mut list = fresh.to_vec();
            list.retain(|known| is_plausible(&known.socket(), talker.ip));
            if !list.is_empty() {
                out.send(*peer, Message::Addresses(list));
            }
        }
    }
}

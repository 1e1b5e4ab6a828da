//! Connections come and go: who is let in, who has to leave, whom to dial, and what the address
//! book learns of it.

use super::dial::{Known, backoff_ms};
use super::evict::{self, Candidate};
use super::group::Group;
use super::handshake::{self, Admission, Standing};
use super::{
    Ban, Bans, Direction, Ending, IpAddr, KnownAddress, Millis, Output, Peer, PeerId, Protocol,
    Reason, SocketAddr, gossip, is_plausible,
};

impl Protocol {
    /// Whether a connection from this address is worth a handshake.
    pub fn may_knock(&self, ip: IpAddr, now: Millis) -> bool {
        !self.bans.contains(ip, now) && !self.is_stranger(ip) && !self.discouraged.contains(ip, now)
    }

    fn is_stranger(&self, ip: IpAddr) -> bool {
        self.config.exclusive && !self.dialler.is_fixed_host(ip)
    }

    pub(super) fn connected(&mut self, id: PeerId, peer: Peer) {
        let (address, ip) = (peer.address, peer.address.ip());
        let outbound = peer.direction == Direction::Outbound;
        if outbound {
            self.dialler.connected(address, peer.node_id);
            self.book.succeeded(address, self.now);
            self.save_book.changed = true;
        }
        let standing = Standing {
            banned: self.bans.contains(ip, self.now),
            stranger: self.is_stranger(ip),
            discouraged: self.discouraged.contains(ip, self.now),
            feeler: outbound && self.dialler.is_feeler(&address),
        };
        let admission = handshake::admit(&self.config, &self.peers, &peer, standing);
        let candidate = match admission {
            Admission::MakeRoom => self.evictable(),
            _ => None,
        };
        self.peers.insert(id, peer);
        self.hellos.set(self.now + self.config.timing.hello_ms);
        self.merits.connected(id);
        self.list_peers.changed = true;
        match (admission, candidate) {
            (Admission::Keep, _) => {}
            (Admission::Replace(older), _) => self.drop_peer(older, Reason::Duplicate),
            (Admission::MakeRoom, Some(other)) => self.drop_peer(other, Reason::Evicted),
            (Admission::MakeRoom, None) => return self.drop_peer(id, Reason::Full),
            (Admission::Refuse(reason, older), _) => {
                if let Some(older) = older {
                    self.pings.probe(older, self.now);
                }
                let is_myself = reason == Reason::Myself;
                self.drop_peer(id, reason);
                if is_myself && outbound {
                    self.dialler.forget(&address);
                    self.book.remove(&address);
                }
                return;
            }
        }
        self.out.send(id, handshake::hello(&self.config, self.sync.tip_height()));
    }

    /// The inbound peer that has to go if one more is to be let in.
    fn evictable(&self) -> Option<PeerId> {
        let inbound = self.peers.iter().filter(|(_, peer)| peer.direction == Direction::Inbound);
        let candidates = inbound.map(|(id, peer)| Candidate {
            peer: id,
            group: Group::of(peer.address.ip()),
            ping_ms: self.pings.shortest_ms(id),
            merit: self.merits.of(id),
            connected_at: peer.connected_at,
        });
        evict::choose(candidates.collect(), self.book.secret())
    }

    /// Takes the operator's bans, and drops whom they hit.
    pub(super) fn ban(&mut self, list: &[Ban]) {
        self.bans = Bans::new(list);
        let banned = self.peers.iter().filter(|(_, peer)| {
            let ip = peer.address.ip();
            self.bans.contains(ip, self.now)
        });
        let banned: Vec<PeerId> = banned.map(|(id, _)| id).collect();
        banned.into_iter().for_each(|id| self.drop_peer(id, Reason::Banned));
    }

    pub(super) fn dial(&mut self) {
        let (peers, discouraged, bans) = (&self.peers, &self.discouraged, &self.bans);
        let known = Known { peers, discouraged, bans };
        let (rng, out) = (&mut self.rng, &mut self.out);
        self.dialler.tick(self.now, &mut self.book, known, &self.config.timing, rng, out);
    }

    /// The best of the peers we chose ourselves: those that brought blocks last, then those that
    /// are connected longest.
    pub(super) fn anchors(&self) -> Vec<SocketAddr> {
        let chosen = self.peers.iter().filter(|(_, peer)| {
            peer.direction == Direction::Outbound
                && peer.hello.is_some()
                && !self.dialler.is_fixed(&peer.address)
        });
        let mut chosen: Vec<_> = chosen
            .map(|(id, peer)| {
                let last_block = self.merits.of(id).last_block;
                (std::cmp::Reverse(last_block), peer.connected_at, peer.address)
            })
            .collect();
        chosen.sort_unstable();
        chosen.into_iter().map(|(.., address)| address).collect()
    }

    /// Ends a connection from our side.
    pub(super) fn drop_peer(&mut self, id: PeerId, reason: Reason) {
        if self.peers.get(id).is_none() {
            return;
        }
        self.forget(id, &reason);
        self.out.push(Output::Disconnect { peer: id, reason });
    }

    /// Forgets a connection that has ended.
    pub(super) fn forget(&mut self, id: PeerId, reason: &Reason) {
        let Some(peer) = self.peers.remove(id) else { return };
        self.list_peers.changed = true;
        self.pings.removed(id);
        self.merits.removed(id);
        self.budgets.removed(id);
        self.serving.removed(id);
        self.gossip.removed(id);
        self.relay.removed(id);
        self.sync.removed(id, self.now, &mut self.out);
        self.with_blocks(|blocks, around| blocks.removed(id, around));
        if reason.is_violation() && !self.dialler.is_fixed(&peer.address) {
            let until = self.now + self.config.timing.discourage_ms;
            self.discouraged.insert(peer.address.ip(), until);
        }
        if peer.direction == Direction::Outbound {
            let ending = match reason {
                _ if reason.is_violation() => Ending::Violation,
                Reason::Tried => Ending::Fair,
                Reason::Myself | Reason::Duplicate | Reason::Banned => Ending::Failed,
                _ if peer.hello.is_none() => Ending::Failed,
                _ => Ending::Fair,
            };
            self.link_ended(&peer.address, ending);
        }
    }

    pub(super) fn link_ended(&mut self, address: &SocketAddr, ending: Ending) {
        let timing = &self.config.timing;
        self.dialler.ended(address, ending, self.now, timing, &mut self.rng);
        let rng = &mut self.rng;
        let mut pause = |failures| match ending {
            Ending::Violation => timing.backoff_max_ms,
            _ => backoff_ms(failures, timing.backoff_first_ms, timing.backoff_max_ms, rng),
        };
        match ending {
            Ending::Fair => self.book.rested(address, self.now, pause(1)),
            Ending::Failed | Ending::Violation => self.book.failed(address, self.now, pause),
        }
        self.save_book.changed = true;
    }

    /// A peer told us of addresses: to be remembered, and passed on if they are news.
    pub(super) fn told(&mut self, id: PeerId, list: &[KnownAddress]) {
        let fresh = self.gossip.told(id, list, self.now, &mut self.book, &self.bans);
        self.save_book.changed |= !fresh.is_empty();
        if !fresh.is_empty() && list.len() <= gossip::MAX_RELAYED {
            self.gossip.relay(id, &fresh, &mut self.rng, &mut self.out);
        }
    }

    /// A peer told us its own port: to be remembered, and passed on if it is new.
    pub(super) fn heard_of_inbound(&mut self, id: PeerId, address: SocketAddr) {
        let (ip, port, now_s) = (address.ip(), address.port(), self.now.0 / 1000);
        if is_plausible(&address, ip) && self.book.heard(address, ip, now_s, self.now) {
            self.save_book.changed = true;
            let fresh = [KnownAddress { ip, port, last_seen_s: now_s }];
            self.gossip.relay(id, &fresh, &mut self.rng, &mut self.out);
        }
    }
}

#[cfg(test)]
mod tests;

//! What to say to whom: a state machine without IO, clock or randomness of its own.
//!
//! [`Protocol`] owns one sub-protocol for each concern; every one of them keeps its own state of
//! each peer and puts what it wants done into one outbox. The order of handling is always the
//! same: the input, then everything that is due by now, then the driver takes the outputs.
//!
//! Promises: a peer that breaks a rule is dropped; all memory is bounded for each peer, and the
//! number of peers is bounded; a block or transaction crosses a link at most once, and only if it
//! was asked for. Leaves out: verification, storage, sockets.

mod address;
mod block_relay;
mod config;
mod dial;
mod discouraged;
#[cfg(test)]
mod fixture;
mod gossip;
mod handshake;
mod new_blocks;
mod outbox;
mod peers;
mod ping;
mod port;
mod recent;
mod relay;
mod serve;
mod stages;
mod sync;

use std::net::SocketAddr;

use chain::ledger::PeerId;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::wire::{Hello, KnownAddress, Message};
pub use address::{AddressBook, BookError, MAX_BOOK, is_plausible};
use block_relay::BlockRelay;
pub use config::{Config, Timing};
use dial::{Dialler, Ending, Known, backoff_ms};
use discouraged::Discouraged;
use gossip::Gossip;
use handshake::Admission;
use outbox::Outbox;
use peers::{Peer, Peers};
use ping::Pings;
pub use port::{Direction, Input, Millis, Output, PeerInfo, PeerState, Reason, Served, Work};
use relay::Relay;
use serve::{Ask, Serving};
use sync::Sync;

/// The protocol of one node with all its peers.
pub struct Protocol {
    config: Config,
    rng: StdRng,
    now: Millis,
    out: Outbox,
    peers: Peers,
    book: AddressBook,
    discouraged: Discouraged,
    dialler: Dialler,
    gossip: Gossip,
    pings: Pings,
    sync: Sync,
    blocks: BlockRelay,
    relay: Relay,
    serving: Serving,
    /// When the book may be saved next, if it has changed.
    save_book: Dirty,
    /// When the list of peers may be given next, if it has changed.
    list_peers: Dirty,
}

/// Something to be said again when it has changed, but not too often.
#[derive(Debug, Default)]
struct Dirty {
    changed: bool,
    not_before: Millis,
}

impl Dirty {
    fn take(&mut self, now: Millis, interval_ms: u64) -> bool {
        let due = self.changed && now >= self.not_before;
        if due {
            *self = Dirty { changed: false, not_before: now + interval_ms };
        }
        due
    }

    fn wake_at(&self) -> Option<Millis> {
        self.changed.then_some(self.not_before)
    }
}

impl Protocol {
    /// Starts without connections. Equal seeds and inputs give equal outputs.
    pub fn new(config: Config, book: AddressBook, seed: u64) -> Protocol {
        Protocol {
            rng: StdRng::seed_from_u64(seed),
            now: Millis::default(),
            out: Outbox::default(),
            peers: Peers::default(),
            book,
            discouraged: Discouraged::default(),
            dialler: Dialler::new(config.outbound_slots, &config.peers),
            gossip: Gossip::default(),
            pings: Pings::default(),
            sync: Sync::new(&config.timing),
            blocks: BlockRelay::new(),
            relay: Relay::new(),
            serving: Serving::default(),
            save_book: Dirty::default(),
            list_peers: Dirty::default(),
            config,
        }
    }

    /// Takes an input, and does what is due at `now`, which never goes back.
    pub fn handle(&mut self, now: Millis, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Connected { peer, address, direction, node_id } => {
                let connected_at = self.now;
                let hello = None;
                self.connected(peer, Peer { address, node_id, direction, connected_at, hello });
            }
            Input::ConnectFailed { address, .. } => self.link_ended(&address, Ending::Failed),
            Input::Disconnected { peer, reason } => self.forget(peer, &reason),
            Input::Message { peer, message } => {
                if let Err(reason) = self.message(peer, message) {
                    self.drop_peer(peer, reason);
                }
            }
            Input::Backlogged { peer } => self.serving.set_backlogged(peer, &mut self.out),
            Input::Drained { peer } => self.serving.drained(peer, &mut self.out),
            Input::Ledger(output) => self.ledger(output),
            Input::Served { peer, served } => self.served(peer, served),
            Input::Rebuilt { peer, block } => self.blocks.checked(peer, block, &mut self.rng),
            Input::NotRebuilt { hash } => {
                self.with_blocks(|blocks, around| blocks.not_rebuilt(&hash, around));
            }
            Input::BadPayload { peer, what } => self.drop_peer(peer, Reason::Chain(what)),
            Input::AddPeer(address) => self.dialler.add_fixed(address),
            Input::Tick => {}
        }
        self.tick();
    }

    /// The next thing to be done.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop()
    }

    /// When to call [`Protocol::handle`] with [`Input::Tick`] if nothing happens before.
    pub fn wake_at(&self) -> Option<Millis> {
        let timing = &self.config.timing;
        let times = [
            self.dialler.wake_at(),
            handshake::wake_at(&self.peers, timing.hello_ms),
            self.pings.wake_at(timing),
            self.sync.wake_at(timing),
            self.blocks.wake_at(),
            self.relay.wake_at(),
            self.serving.wake_at(self.now),
            self.save_book.wake_at(),
            self.list_peers.wake_at(),
        ];
        times.into_iter().flatten().min()
    }

    /// The address book, to be saved when the node stops.
    pub fn book(&self) -> &AddressBook {
        &self.book
    }

    fn connected(&mut self, id: PeerId, peer: Peer) {
        let (address, node_id, outbound) =
            (peer.address, peer.node_id, peer.direction == Direction::Outbound);
        if outbound {
            self.dialler.connected(address, id, node_id);
            self.book.succeeded(address, self.now);
            self.save_book.changed = true;
        }
        let discouraged = self.discouraged.contains(address.ip(), self.now);
        let admission = handshake::admit(&self.config, &self.peers, &peer, discouraged);
        self.peers.insert(id, peer);
        self.list_peers.changed = true;
        match admission {
            Admission::Keep => {}
            Admission::Replace(older) => self.drop_peer(older, Reason::Duplicate),
            Admission::Refuse(reason, older) => {
                if let Some(older) = older {
                    self.pings.probe(older, self.now);
                }
                if reason == Reason::Myself && outbound {
                    self.dialler.forget(&address);
                    self.book.remove(&address);
                }
                return self.drop_peer(id, reason);
            }
        }
        self.out.send(id, handshake::hello(&self.config, self.sync.tip_height()));
    }

    fn message(&mut self, id: PeerId, message: Message) -> Result<(), Reason> {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(id) else { return Ok(()) };
        if let Message::Hello(hello) = message {
            handshake::greet(peer, hello.clone())?;
            self.ready(id, &hello);
            return Ok(());
        }
        if peer.hello.is_none() {
            return Err(Reason::Protocol("message before hello"));
        }
        self.pings.heard(id, now);
        match message {
            Message::Hello(_) => {}
            Message::Ping(nonce) => self.out.send(id, Message::Pong(nonce)),
            Message::Pong(nonce) => {
                self.pings.pong(id, nonce, now);
                self.list_peers.changed = true;
            }
            Message::GetHeaders { locator } => {
                self.serving.headers_asked(id, locator, &mut self.out);
            }
            Message::Headers(headers) => self.sync.headers(id, headers, &mut self.out)?,
            Message::GetBlocks { hashes } => {
                self.serving.blocks_asked(id, hashes, &mut self.out)?;
            }
            Message::Block(bytes) => self.sync.block(id, bytes, now, &mut self.out)?,
            Message::NotFound { hashes } => self.not_found(id, hashes)?,
            Message::AnnounceTransactions { txids } => self.relay.announced(id, &txids),
            Message::GetTransactions { txids } => self.serving.transactions_asked(id, txids)?,
            Message::Transactions(list) => self.relay.delivered(id, list, &mut self.out)?,
            Message::GetAddresses => {
                self.gossip.asked(id, &self.book, &mut self.rng, &mut self.out);
            }
            Message::Addresses(list) => self.told(id, &list),
            Message::AnnounceBlock(header) => self.block_announced(id, header, None),
            Message::CompactBlock(block) => self.block_announced(id, block.header, Some(block)),
            Message::GetCompactBlock { hash } => self.asked(id, Ask::Compact(hash))?,
            Message::GetBlockTransactions { hash, indexes } => {
                self.asked(id, Ask::Transactions { hash, indexes })?;
            }
            Message::BlockTransactions { hash, list } => {
                self.with_blocks(|blocks, around| blocks.delivered(id, &hash, list, around))?;
            }
        }
        Ok(())
    }

    /// A peer has said hello: every sub-protocol begins.
    fn ready(&mut self, id: PeerId, hello: &Hello) {
        let Some(peer) = self.peers.get(id) else { return };
        let (address, direction, listens_at) = (peer.address, peer.direction, peer.listens_at());
        self.list_peers.changed = true;
        self.pings.ready(id, self.now);
        self.serving.ready(id);
        self.blocks.ready(id);
        self.sync.ready(id, hello.height, self.now, &mut self.out);
        self.relay.ready(id, direction, self.now);
        self.gossip.ready(id, address, direction, self.now, &mut self.out);
        if direction == Direction::Inbound
            && let Some(listens_at) = listens_at
        {
            self.heard_of_inbound(id, listens_at);
        }
    }

    /// A peer told us of addresses: to be remembered, and passed on if they are news.
    fn told(&mut self, id: PeerId, list: &[KnownAddress]) {
        let fresh = self.gossip.told(id, list, self.now, &mut self.book);
        self.save_book.changed |= !fresh.is_empty();
        if !fresh.is_empty() && list.len() <= gossip::MAX_RELAYED {
            self.gossip.relay(id, &fresh, &mut self.rng, &mut self.out);
        }
    }

    /// A peer told us its own port: to be remembered, and passed on if it is new.
    fn heard_of_inbound(&mut self, id: PeerId, address: SocketAddr) {
        let now_s = self.now.0 / 1000;
        if is_plausible(&address, address.ip()) && self.book.heard(address, now_s, self.now) {
            self.save_book.changed = true;
            let (ip, port) = (address.ip(), address.port());
            let fresh = [KnownAddress { ip, port, last_seen_s: now_s }];
            self.gossip.relay(id, &fresh, &mut self.rng, &mut self.out);
        }
    }

    /// Does everything that is due.
    fn tick(&mut self) {
        let (now, timing) = (self.now, self.config.timing);
        let mut gone = handshake::overdue(&self.peers, now, timing.hello_ms);
        gone.extend(self.pings.tick(now, &timing, &mut self.rng, &mut self.out));
        gone.extend(self.sync.tick(now, &timing, &mut self.out));
        gone.into_iter().for_each(|(peer, reason)| self.drop_peer(peer, reason));
        self.relay.tick(now, !self.sync.is_far_behind(), &timing, &mut self.out);
        self.with_blocks(BlockRelay::tick);
        let (relay, blocks) = (&self.relay, &self.blocks);
        self.serving.tick(|txid| relay.find(txid), |ask| blocks.answer(ask), &mut self.out);
        self.dial();
        if self.save_book.take(now, timing.save_book_ms) {
            self.out.push(Output::SaveBook(self.book.encode()));
        }
        if self.list_peers.take(now, timing.list_peers_ms) {
            let list = self.peers.list(|peer, info| {
                info.height = self.sync.peer_height(peer);
                info.ping_ms = self.pings.round_trip_ms(peer);
                info.blocks_whole = self.sync.delivered(peer);
                (info.blocks_rebuilt, info.transactions_fetched) = self.blocks.counts(peer);
            });
            self.out.push(Output::Peers(list.into()));
        }
    }

    fn dial(&mut self) {
        let (book, peers, discouraged) = (&self.book, &self.peers, &self.discouraged);
        let known = Known { book, peers, discouraged };
        self.dialler.tick(self.now, known, &mut self.rng, &mut self.out);
    }

    /// Ends a connection from our side.
    fn drop_peer(&mut self, id: PeerId, reason: Reason) {
        if self.peers.get(id).is_none() {
            return;
        }
        self.forget(id, &reason);
        self.out.push(Output::Disconnect { peer: id, reason });
    }

    /// Forgets a connection that has ended.
    fn forget(&mut self, id: PeerId, reason: &Reason) {
        let Some(peer) = self.peers.remove(id) else { return };
        self.list_peers.changed = true;
        self.pings.removed(id);
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
                Reason::Myself | Reason::Duplicate => Ending::Failed,
                _ if peer.hello.is_none() => Ending::Failed,
                _ => Ending::Fair,
            };
            self.link_ended(&peer.address, ending);
        }
    }

    fn link_ended(&mut self, address: &SocketAddr, ending: Ending) {
        let timing = &self.config.timing;
        self.dialler.ended(address, ending, self.now, timing, &mut self.rng);
        let rng = &mut self.rng;
        self.book.failed(address, self.now, |failures| match ending {
            Ending::Violation => timing.backoff_max_ms,
            _ => backoff_ms(failures, timing.backoff_first_ms, timing.backoff_max_ms, rng),
        });
        self.save_book.changed = true;
    }
}

#[cfg(test)]
mod tests;

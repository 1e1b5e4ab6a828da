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
mod alarm;
mod ban;
mod block_relay;
pub(crate) mod budget;
mod config;
mod connections;
mod dial;
mod discouraged;
mod evict;
#[cfg(test)]
mod fixture;
mod gossip;
mod group;
mod handshake;
mod merit;
mod new_blocks;
mod outbox;
mod peers;
mod ping;
mod port;
mod recent;
mod relay;
mod secret;
mod serve;
mod stages;
mod sync;

use std::net::{IpAddr, SocketAddr};

use chain::ledger::PeerId;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::wire::{Hello, KnownAddress, Message};
pub use address::{AddressBook, BookError, MAX_BOOK};
use alarm::Alarm;
use ban::Bans;
pub use ban::{Ban, MAX_BANS, Subnet, SubnetError};
use block_relay::BlockRelay;
use budget::Budgets;
pub use config::{Config, Timing};
use dial::{Dialler, Ending};
use discouraged::Discouraged;
use gossip::Gossip;
pub use group::{Group, is_plausible};
use merit::Merits;
use outbox::Outbox;
use peers::{Peer, Peers, Told};
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
    /// Hellos that are overdue.
    hellos: Alarm,
    book: AddressBook,
    discouraged: Discouraged,
    bans: Bans,
    dialler: Dialler,
    merits: Merits,
    budgets: Budgets,
    gossip: Gossip,
    pings: Pings,
    sync: Sync,
    blocks: BlockRelay,
    relay: Relay,
    serving: Serving,
    /// When the book may be saved next, if it has changed.
    save_book: Dirty,
    /// Height up to which we have removed bodies.
    pruned: u32,
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
        let slots = if config.exclusive { 0 } else { config.outbound_slots };
        Protocol {
            rng: StdRng::seed_from_u64(seed),
            now: Millis::default(),
            out: Outbox::default(),
            peers: Peers::default(),
            hellos: Alarm::default(),
            discouraged: Discouraged::default(),
            bans: Bans::new(&config.bans),
            dialler: Dialler::new(slots, &config.peers, book.anchors()),
            merits: Merits::default(),
            budgets: Budgets::default(),
            book,
            gossip: Gossip::default(),
            pings: Pings::default(),
            sync: Sync::new(&config.timing),
            blocks: BlockRelay::new(),
            relay: Relay::new(),
            serving: Serving::default(),
            save_book: Dirty::default(),
            pruned: 0,
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
            Input::Backlogged { peer } => {
                self.relay.set_backlogged(peer, true);
                self.serving.set_backlogged(peer, &mut self.out);
            }
            Input::Drained { peer } => {
                self.relay.set_backlogged(peer, false);
                self.serving.drained(peer, &mut self.out);
            }
            Input::Ledger(output) => self.ledger(output),
            Input::Served { peer, served } => self.served(peer, served),
            Input::Rebuilt { peer, block } => self.blocks.checked(peer, block, &mut self.rng),
            Input::NotRebuilt { hash } => {
                self.with_blocks(|blocks, around| blocks.not_rebuilt(&hash, around));
            }
            Input::BadPayload { peer, what } => self.drop_peer(peer, Reason::Chain(what)),
            Input::AddPeer(address) => self.dialler.add_fixed(address),
            Input::Bans(list) => self.ban(&list),
            Input::Tick => self.relay.take_out_some(),
        }
        self.tick();
    }

    /// The next thing to be done.
    pub fn poll(&mut self) -> Option<Output> {
        let output = self.out.pop();
        if let Some(Output::Work(work)) = &output {
            self.merits.handed(work);
        }
        output
    }

    /// When to call [`Protocol::handle`] with [`Input::Tick`] at the latest.
    pub fn wake_at(&self) -> Option<Millis> {
        let times = [
            self.dialler.wake_at(),
            self.hellos.wake_at(),
            self.pings.wake_at(),
            self.sync.wake_at(),
            self.blocks.wake_at(),
            self.relay.wake_at(),
            self.serving.wake_at(self.now),
            self.save_book.wake_at(),
            self.list_peers.wake_at(),
        ];
        times.into_iter().flatten().min()
    }

    /// The address book.
    pub fn book(&self) -> &AddressBook {
        &self.book
    }

    /// The address book with the best of our peers as anchors, in the form to be saved.
    pub fn save_book(&mut self) -> Vec<u8> {
        let anchors = self.anchors();
        if !anchors.is_empty() {
            self.book.set_anchors(&anchors);
        }
        self.book.encode()
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
        self.charge(id, &message);
        match message {
            Message::Hello(_) => {}
            // What waits for a peer that does not read is as good a sign of life.
            Message::Ping(_) if !self.serving.reads(id) => {}
            Message::Ping(nonce) => self.out.send(id, Message::Pong(nonce)),
            Message::Pong(nonce) => {
                self.pings.pong(id, nonce, now);
                self.list_peers.changed = true;
            }
            Message::GetHeaders { locator } => {
                self.serving.headers_asked(id, locator, &mut self.out);
            }
            Message::Headers(headers) => {
                self.sync.headers(id, headers, self.now, &mut self.out)?;
            }
            Message::GetBlocks { hashes } => {
                self.serving.blocks_asked(id, hashes, &mut self.out)?;
            }
            Message::Block(bytes) => self.sync.block(id, bytes, now, &mut self.out)?,
            Message::NotFound { hashes } => self.not_found(id, hashes)?,
            Message::AnnounceTransactions { txids } => self.relay.announced(id, &txids),
            Message::GetTransactions { txids } => self.serving.transactions_asked(id, txids)?,
            Message::Transactions(list) => self.relay.delivered(id, list, &mut self.out)?,
            Message::GetAddresses => {
                self.gossip.asked(id, now, &self.book, &mut self.rng, &mut self.out);
            }
            Message::Addresses(list) => self.told(id, &list),
            Message::AnnounceBlock(header) => self.block_announced(id, header, None),
            Message::CompactBlock(block) => self.block_announced(id, block.header, Some(block)),
            Message::GetCompactBlock { hash } => self.asked(id, Ask::Compact(hash))?,
            Message::GetBlockTransactions { hash, indexes } => {
                self.asked(id, Ask::Transactions { hash, indexes })?;
            }
            Message::BodiesFrom { height } => self.sync.bodies_from(id, height, now, &mut self.out),
            Message::BlockTransactions { hash, list } => {
                self.with_blocks(|blocks, around| blocks.delivered(id, &hash, list, around))?;
            }
        }
        Ok(())
    }

    /// Charges a peer for what it says unasked. Who has spent all is not read for a while.
    fn charge(&mut self, id: PeerId, message: &Message) {
        let asked = matches!(message, Message::Headers(_)) && self.sync.is_asked(id);
        let cost = if asked { 0 } else { budget::cost(message) };
        if let Some(until) = self.budgets.charge(id, cost, self.now) {
            self.out.push(Output::Rest { peer: id, until });
        }
    }

    /// A peer has said hello: every sub-protocol begins.
    fn ready(&mut self, id: PeerId, hello: &Hello) {
        let Some(peer) = self.peers.get(id) else { return };
        let (address, direction, listens_at) = (peer.address, peer.direction, peer.listens_at());
        self.list_peers.changed = true;
        self.budgets.ready(id, self.now);
        self.pings.ready(id, self.now);
        self.serving.ready(id);
        self.blocks.ready(id);
        self.sync.ready(id, hello.height, self.now, &mut self.out);
        self.say_bodies(id);
        self.relay.ready(id, direction, self.now);
        if self.config.exclusive {
            return;
        }
        self.gossip.ready(id, address, direction, self.now, &mut self.out);
        if direction == Direction::Inbound
            && let Some(listens_at) = listens_at
        {
            self.heard_of_inbound(id, listens_at);
        }
    }

    /// Does everything that is due.
    fn tick(&mut self) {
        let (now, timing) = (self.now, self.config.timing);
        let mut gone = handshake::overdue(&self.peers, now, timing.hello_ms, &mut self.hellos);
        gone.extend(self.pings.tick(now, &timing, &mut self.rng, &mut self.out));
        gone.extend(self.sync.tick(now, &mut self.out));
        gone.into_iter().for_each(|(peer, reason)| self.drop_peer(peer, reason));
        self.relay.tick(now, !self.sync.is_far_behind(), &timing, &mut self.out);
        self.with_blocks(BlockRelay::tick);
        let (relay, blocks) = (&self.relay, &self.blocks);
        self.serving.tick(|txid| relay.find(txid), |ask| blocks.answer(ask), &mut self.out);
        self.dial();
        if self.save_book.take(now, timing.save_book_ms) {
            let bytes = self.save_book();
            self.out.push(Output::SaveBook(bytes));
        }
        if self.list_peers.take(now, timing.list_peers_ms) {
            let list = self.peers.list(|peer| Told {
                height: self.sync.peer_height(peer),
                ping_ms: self.pings.round_trip_ms(peer),
                merit: self.merits.of(peer),
                blocks_whole: self.sync.delivered(peer),
                rebuilt: self.blocks.counts(peer),
            });
            self.out.push(Output::Peers(list.into()));
        }
    }
}

#[cfg(test)]
mod tests;

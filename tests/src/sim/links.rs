//! What happens on links: nodes dial, send, hang up, and packets arrive.

use std::collections::VecDeque;
use std::net::SocketAddr;

use chain::ledger::PeerId;
use net::wire::{FrameDecoder, Message, codec};
use net::{Direction, Input, Millis, Output, Reason};

use super::events::{Event, Ms};
use super::network::{End, Link, LinkId, Packet};
use super::{Simulation, WATCHED_KINDS};

/// As the reactor's limits.
const BACKLOG_BYTES: u64 = 1024 * 1024;
const DRAINED_BYTES: u64 = BACKLOG_BYTES / 2;
const MAX_OUTPUT_BYTES: u64 = 32 * 1024 * 1024;
const HANDSHAKE_MS: u64 = 10_000;

/// Noise and TCP add to each message, roughly, in bytes.
const OVERHEAD_BYTES: u64 = 60;

impl Simulation {
    /// A node dials an address.
    pub(super) fn connect(&mut self, from: usize, address: SocketAddr) {
        let life = self.nodes[from].life;
        let failed = |refused| Event::ConnectFailed { node: from, life, address, refused };
        let to = self.addresses.get(&address).copied();
        let Some(to) = to.filter(|&to| !self.net.is_cut(from, to) && !self.net.is_cut(to, from))
        else {
            self.queue.push(self.now + HANDSHAKE_MS, failed(false));
            return;
        };
        let median_ms = self.net.median_ms(from, to).max(1);
        if self.nodes[to].live.is_none() {
            self.queue.push(self.now + 2 * median_ms, failed(true));
            return;
        }
        let end = |node: usize, life, ready_at| End {
            node,
            life,
            peer: None,
            closed: false,
            busy_until: 0,
            backlogged: false,
            last_arrival: ready_at,
            inbox: VecDeque::new(),
            held: VecDeque::new(),
            rests_until: 0,
        };
        // TCP's handshake, then the three messages of Noise.
        let (first, second) = (self.now + 4 * median_ms, self.now + 5 * median_ms);
        let ends = [end(from, life, first), end(to, self.nodes[to].life, second)];
        let link = self.net.next_link;
        self.net.next_link += 1;
        self.net.links.insert(link, Link { ends, address, median_ms });
        self.queue.push(first, Event::Established { link, side: 0 });
        self.queue.push(second, Event::Established { link, side: 1 });
    }

    /// The handshake is done at one end.
    pub(super) fn established(&mut self, id: LinkId, side: usize) {
        let Some(link) = self.net.links.get(&id) else { return };
        let (end, other) = (&link.ends[side], &link.ends[1 - side]);
        let (node, address) = (end.node, link.address);
        if end.closed || !self.is_alive(end) {
            return;
        }
        let cut = self.net.is_cut(node, other.node) || self.net.is_cut(other.node, node);
        if cut || other.closed || !self.is_alive(other) {
            if side == 0 {
                let life = end.life;
                let failed = Event::ConnectFailed { node, life, address, refused: !cut };
                self.queue.push(self.now + HANDSHAKE_MS, failed);
                self.net.links.remove(&id);
            } else {
                self.close_end(id, 1);
            }
            return;
        }
        let other = &self.nodes[other.node];
        let node_id = other.node_id;
        let (direction, address) = match side {
            0 => (Direction::Outbound, address),
            // The port of an outgoing connection is any.
            _ => (Direction::Inbound, SocketAddr::new(other.address.ip(), 50_000)),
        };
        let peer = self.live(node).meet(id, side);
        self.net.links.get_mut(&id).expect("looked up above").ends[side].peer = Some(peer);
        self.tell(node, Input::Connected { peer, address, direction, node_id });
    }

    fn is_alive(&self, end: &End) -> bool {
        self.nodes[end.node].live.is_some() && self.nodes[end.node].life == end.life
    }

    /// Sends a message over the link of a peer.
    pub(super) fn send(&mut self, from: usize, peer: PeerId, message: &Message) {
        if self.trace.prints() {
            let kind = message.kind().name;
            let to = self.other_end(from, peer);
            if WATCHED_KINDS.contains(&kind) {
                self.trace.say(self.now, || format!("  {from} -> {to:?} {kind}"));
            }
        }
        self.send_bytes(from, peer, codec::encode(message));
    }

    /// Sends bytes, whatever they are.
    pub(super) fn send_bytes(&mut self, from: usize, peer: PeerId, bytes: Vec<u8>) {
        let Some(&(id, side)) = self.live(from).links.get(&peer) else { return };
        let now = self.now;
        let Some(link) = self.net.links.get_mut(&id) else { return };
        let to = link.ends[1 - side].node;
        let rate = self.net.rates[from].min(self.net.rates[to]).max(1);
        let size = bytes.len() as u64 + OVERHEAD_BYTES;
        self.counts.add("messages");
        self.counts.more("bytes", size);
        let end = &mut link.ends[side];
        end.busy_until = end.busy_until.max(now) + size.div_ceil(rate);
        let waiting = (end.busy_until - now) * rate;
        if waiting > BACKLOG_BYTES && !end.backlogged {
            end.backlogged = true;
            self.counts.add("backlogged peers");
            let drained_at = end.busy_until - DRAINED_BYTES / rate;
            self.queue.push(drained_at, Event::Drained { link: id, side });
            self.tell(from, Input::Backlogged { peer });
        }
        if waiting > MAX_OUTPUT_BYTES {
            return self.lose(id, side, Reason::NotReading);
        }
        let sent_at = self.net.links[&id].ends[side].busy_until;
        self.transmit(id, 1 - side, Packet::Data(bytes), sent_at);
    }

    /// Puts a packet on its way to an end, or holds it at a cut.
    fn transmit(&mut self, id: LinkId, side: usize, packet: Packet, sent_at: Ms) {
        let link = &self.net.links[&id];
        let (from, to) = (link.ends[1 - side].node, link.ends[side].node);
        let median_ms = link.median_ms;
        if self.net.is_cut(from, to) || !link.ends[side].held.is_empty() {
            let link = self.net.links.get_mut(&id).expect("looked up above");
            link.ends[side].held.push_back(packet);
            return;
        }
        let at = sent_at + self.net.latency_ms(median_ms);
        let link = self.net.links.get_mut(&id).expect("looked up above");
        let end = &mut link.ends[side];
        end.last_arrival = end.last_arrival.max(at);
        end.inbox.push_back(packet);
        self.queue.push(end.last_arrival, Event::Arrive { link: id, side });
    }

    /// Sends on what a cut held back, where there is none any more.
    pub(super) fn release_held(&mut self) {
        let holds = |link: &Link| link.ends.iter().any(|end| !end.held.is_empty());
        let held: Vec<LinkId> =
            self.net.links.iter().filter(|(_, link)| holds(link)).map(|(id, _)| *id).collect();
        for id in held {
            for side in 0..2 {
                let Some(link) = self.net.links.get_mut(&id) else { continue };
                let (from, to) = (link.ends[1 - side].node, link.ends[side].node);
                if !self.net.is_cut(from, to) {
                    let packets = std::mem::take(
                        &mut self.net.links.get_mut(&id).expect("just seen").ends[side].held,
                    );
                    for packet in packets {
                        self.transmit(id, side, packet, self.now);
                    }
                }
            }
        }
    }

    /// A packet arrives.
    pub(super) fn arrive(&mut self, id: LinkId, side: usize) {
        let Some(link) = self.net.links.get_mut(&id) else { return };
        let end = &mut link.ends[side];
        if end.rests_until > self.now && !end.closed {
            // It is not read: what arrives waits in its order.
            return self.queue.push(end.rests_until, Event::Arrive { link: id, side });
        }
        let Some(packet) = end.inbox.pop_front() else { return };
        let (node, closed, life, peer) = (end.node, end.closed, end.life, end.peer);
        let is_up = self.nodes[node].live.is_some();
        if closed || life != self.nodes[node].life || peer.is_none() {
            // Nobody is at home in a machine that is down; otherwise the system says so.
            if is_up && !self.net.links[&id].ends[1 - side].closed {
                self.close_end(id, side);
            }
            return;
        }
        let peer = peer.expect("checked above");
        match packet {
            Packet::End => {
                self.forget_end(id, side);
                self.tell(node, Input::Disconnected { peer, reason: Reason::Closed });
            }
            Packet::Data(bytes) => {
                self.trace.bytes(&bytes);
                match FrameDecoder::default().take(&mut &bytes[..]) {
                    Ok(Some(message)) => self.tell(node, Input::Message { peer, message }),
                    Ok(None) => {}
                    Err(error) => {
                        self.judge_punishment(node, peer, &error.to_string());
                        self.lose(id, side, Reason::Wire(error.into()));
                    }
                }
            }
        }
    }

    /// A node does not read a peer for a while.
    fn rest(&mut self, node: usize, peer: PeerId, until: Millis) {
        let skew_ms = self.live(node).started_skew_ms;
        let Some(&(id, side)) = self.live(node).links.get(&peer) else { return };
        if let Some(other) = self.other_end(node, peer)
            && ![node, other].iter().any(|site| self.nodes[*site].byzantine)
        {
            self.fail(format!("honest node {other} asked too much of node {node}"));
        }
        if let Some(link) = self.net.links.get_mut(&id) {
            link.ends[side].rests_until = until.0.saturating_add_signed(-skew_ms);
            self.counts.add("rests of a peer that asked too much");
        }
    }

    /// What an end had to send may have become less.
    pub(super) fn drained(&mut self, id: LinkId, side: usize) {
        let Some(link) = self.net.links.get_mut(&id) else { return };
        let (from, to) = (link.ends[side].node, link.ends[1 - side].node);
        let rate = self.net.rates[from].min(self.net.rates[to]).max(1);
        let end = &mut link.ends[side];
        let waiting = end.busy_until.saturating_sub(self.now) * rate;
        if waiting > DRAINED_BYTES {
            let at = self.now + ((waiting - DRAINED_BYTES) / rate).max(1);
            self.queue.push(at, Event::Drained { link: id, side });
        } else if end.backlogged && !end.closed {
            end.backlogged = false;
            if let Some(peer) = end.peer {
                self.tell(from, Input::Drained { peer });
            }
        }
    }

    /// A node closes a connection.
    pub(super) fn hang_up(&mut self, node: usize, peer: PeerId) {
        if let Some(&(id, side)) = self.live(node).links.get(&peer) {
            self.close_end(id, side);
        }
    }

    /// A connection breaks at one end, which notices; the other end is told.
    pub(super) fn lose(&mut self, id: LinkId, side: usize, reason: Reason) {
        let Some(link) = self.net.links.get(&id) else { return };
        let (node, peer) = (link.ends[side].node, link.ends[side].peer);
        self.close_end(id, side);
        if let Some(peer) = peer.filter(|_| self.nodes[node].live.is_some()) {
            self.tell(node, Input::Disconnected { peer, reason });
        }
    }

    /// Closes one end and tells the other.
    pub(super) fn close_end(&mut self, id: LinkId, side: usize) {
        self.forget_end(id, side);
        if let Some(link) = self.net.links.get(&id) {
            let sent_at = link.ends[side].busy_until.max(self.now);
            self.transmit(id, 1 - side, Packet::End, sent_at);
        }
    }

    /// Takes one end away without a word; the link goes with the second.
    pub(super) fn forget_end(&mut self, id: LinkId, side: usize) {
        let Some(link) = self.net.links.get_mut(&id) else { return };
        let end = &mut link.ends[side];
        (end.closed, end.inbox, end.held) = (true, VecDeque::new(), VecDeque::new());
        let (node, life, peer) = (end.node, end.life, end.peer.take());
        if let (Some(peer), true) = (peer, self.nodes[node].life == life)
            && let Some(live) = &mut self.nodes[node].live
        {
            live.links.remove(&peer);
        }
        if self.net.links[&id].ends.iter().all(|end| end.closed) {
            self.net.links.remove(&id);
        }
    }

    /// The node at the other end of a peer's link.
    pub(super) fn other_end(&mut self, node: usize, peer: PeerId) -> Option<usize> {
        let &(id, side) = self.live(node).links.get(&peer)?;
        Some(self.net.links.get(&id)?.ends[1 - side].node)
    }

    /// A connection that was wanted did not come about.
    pub(super) fn connect_failed(&mut self, node: usize, address: SocketAddr, refused: bool) {
        let reason = match refused {
            true => Reason::Io("refused".to_string()),
            false => Reason::HandshakeTimeout,
        };
        self.tell(node, Input::ConnectFailed { address, reason });
    }

    /// The time on the clock that a node's protocol lives by.
    pub(super) fn protocol_time(&self, node: usize) -> Millis {
        let live = self.nodes[node].live.as_ref().expect("only nodes that run are asked");
        Millis(self.now.saturating_add_signed(live.started_skew_ms))
    }

    /// Does what a protocol wants done.
    pub(super) fn obey(&mut self, node: usize, output: Output) {
        match output {
            Output::Connect(address) => self.connect(node, address),
            Output::Disconnect { peer, reason } => {
                self.counts.add(&format!("disconnects: {}", reason_name(&reason)));
                if reason.is_violation() {
                    self.judge_punishment(node, peer, &reason.to_string());
                }
                self.hang_up(node, peer);
            }
            Output::Send { peer, message } => {
                if !self.is_dropped(&message) {
                    self.send(node, peer, &message);
                }
            }
            Output::Rest { peer, until } => self.rest(node, peer, until),
            Output::Work(work) => self.queue_work(node, work),
            Output::SaveBook(bytes) => self.live(node).book = bytes,
            Output::Peers(_) => {}
        }
    }
}

fn reason_name(reason: &Reason) -> &'static str {
    match reason {
        Reason::HelloTimeout => "no hello",
        Reason::PingTimeout => "ping not answered",
        Reason::Stalled => "stalled",
        Reason::Myself => "myself",
        Reason::Duplicate => "duplicate",
        Reason::Full => "full",
        Reason::Discouraged => "discouraged",
        Reason::Protocol(_) => "broke the protocol",
        Reason::Chain(_) => "broke a rule of the chain",
        _ => "other",
    }
}

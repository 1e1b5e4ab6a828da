//! The peers' side of the reactor: listener, links, handshakes and their buffers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Bound;

use chain::ledger::PeerId;
use mio::Token;
use mio::event::Event;
use mio::net::TcpStream;

use super::ReactorConfig;
use super::connection::{Door, Listener};
use super::link::{Link, Stage};
use super::lobby::Lobby;
use crate::protocol::budget::{Budget, Rate};
use crate::protocol::{Direction, Input, Millis, Reason};
use crate::wire::{Message, NodeId, Role, Session, SessionEvent};

/// A peer with more than this waiting for it is backlogged: the protocol sends nothing large.
const BACKLOG_BYTES: usize = 256 * 1024;
/// Down to this it is drained again.
const DRAINED_BYTES: usize = BACKLOG_BYTES / 2;
/// A peer with more than this waiting is dropped: two blocks, a message of transactions, and
/// announcements for a long time.
const MAX_OUTPUT_BYTES: usize = 32 * 1024 * 1024;
/// What all links together may hold: messages of which a part has come, and output that waits.
const MAX_HELD_BYTES: usize = 64 * 1024 * 1024;
/// A link that holds no more than this is never dropped for it.
const FREE_HELD_BYTES: usize = 64 * 1024;
/// Connections let in in one round; the others wait at the door.
const ACCEPTS_A_ROUND: usize = 64;
/// Links that may take a step of their handshake in one round. A step can take four
/// multiplications on the curve, 0.2 ms.
const STEPS_A_ROUND: usize = 8;
/// Such steps a second: a fifth of a core.
const STEPS: Rate = Rate::per_second(200, 1000);
/// Bytes read at a time.
const READ_BYTES: usize = 64 * 1024;

/// All connections to peers, established or on the way.
pub(crate) struct PeerPort {
    config: ReactorConfig,
    listener: Listener,
    links: BTreeMap<Token, Link>,
    tokens: BTreeMap<PeerId, Token>,
    next_peer: u64,
    /// Inbound links that have not shaken hands.
    lobby: Lobby,
    /// Links that may take a step towards being peers.
    knocking: BTreeSet<Token>,
    steps: Budget,
    /// Peers that may have something to read.
    ready: BTreeSet<Token>,
    /// Peers that are not read before a time.
    resting: BTreeMap<Token, Millis>,
    /// What all links hold.
    held_bytes: usize,
    /// The link served last, so that all have their turn.
    turn: Token,
    /// Links with output to write.
    unsent: BTreeSet<Token>,
    /// What the protocol must be told, whether or not it takes messages now.
    notices: VecDeque<Input>,
    buffer: Vec<u8>,
}

impl PeerPort {
    pub(crate) fn new(config: ReactorConfig, listener: Listener) -> PeerPort {
        PeerPort {
            lobby: Lobby::new(config.max_handshakes),
            config,
            listener,
            links: BTreeMap::new(),
            tokens: BTreeMap::new(),
            next_peer: 0,
            knocking: BTreeSet::new(),
            steps: Budget::new(STEPS, 200, Millis(0)),
            ready: BTreeSet::new(),
            resting: BTreeMap::new(),
            held_bytes: 0,
            turn: Token(0),
            unsent: BTreeSet::new(),
            notices: VecDeque::new(),
            buffer: vec![0; READ_BYTES],
        }
    }

    pub(crate) fn listener(&mut self) -> &mut Listener {
        &mut self.listener
    }

    /// Takes an event, if it is for one of ours.
    pub(crate) fn note(&mut self, event: &Event) {
        let token = event.token();
        if let Some(link) = self.links.get_mut(&token) {
            link.socket.note(event);
            match link.stage {
                Stage::Established(_) if self.resting.contains_key(&token) => false,
                Stage::Established(_) => self.ready.insert(token),
                Stage::Connecting | Stage::Handshake => self.knocking.insert(token),
            };
            self.unsent.insert(token);
        }
    }

    /// Lets in who knocks and may, as far as there is room for handshakes.
    pub(crate) fn accept(
        &mut self,
        door: &mut Door<'_>,
        now: Millis,
        may_knock: impl Fn(IpAddr) -> bool,
    ) {
        for _ in 0..ACCEPTS_A_ROUND {
            let Some((stream, address)) = self.listener.accept(now) else { return };
            if !may_knock(address.ip()) {
                tracing::debug!(target: "net", %address, "refused: unwanted or a stranger");
                continue;
            }
            let added = self.add(stream, address, Direction::Inbound, door, now);
            match added.map(|token| self.lobby.enter(token, address.ip())) {
                Ok(None) => {}
                Ok(Some(oldest)) => self.fail(oldest, Reason::Evicted),
                Err(error) => {
                    tracing::warn!(target: "net", %address, %error, "cannot take a connection");
                }
            }
        }
    }

    /// Starts to open a connection.
    pub(crate) fn connect(&mut self, address: SocketAddr, door: &mut Door<'_>, now: Millis) {
        let added = TcpStream::connect(address)
            .and_then(|stream| self.add(stream, address, Direction::Outbound, door, now));
        if let Err(error) = added {
            let reason = Reason::Io(error.to_string());
            self.notices.push_back(Input::ConnectFailed { address, reason });
        }
    }

    fn add(
        &mut self,
        stream: TcpStream,
        address: SocketAddr,
        direction: Direction,
        door: &mut Door<'_>,
        now: Millis,
    ) -> io::Result<Token> {
        let (token, socket) = door.stream(stream)?;
        let (role, stage) = match direction {
            Direction::Outbound => (Role::Initiator, Stage::Connecting),
            Direction::Inbound => (Role::Responder, Stage::Handshake),
        };
        let link = Link {
            socket,
            session: Session::new(role, &self.config.identity, &self.config.genesis),
            address,
            direction,
            stage,
            handshake_by: now + self.config.handshake_ms,
            backlogged: false,
            held_bytes: 0,
            holds_since: None,
        };
        self.links.insert(token, link);
        Ok(token)
    }

    /// Whether [`PeerPort::next`] or [`PeerPort::shake_hands`] has something to look at.
    pub(crate) fn has_work(&self) -> bool {
        let may_step = !self.knocking.is_empty() && self.steps.empty_until().is_none();
        may_step || !self.ready.is_empty()
    }

    /// Reads nothing from a peer before a time.
    pub(crate) fn rest(&mut self, peer: PeerId, until: Millis) {
        if let Some(token) = self.tokens.get(&peer) {
            self.ready.remove(token);
            self.resting.insert(*token, until);
        }
    }

    /// Goes on with handshakes: some in a round, whoever else wants to, so that peers have their
    /// turn.
    pub(crate) fn shake_hands(&mut self, now: Millis) {
        let steps = usize::try_from(self.steps.available(now)).unwrap_or(usize::MAX);
        for _ in 0..steps.min(STEPS_A_ROUND) {
            let Some(token) = self.knocking.pop_first() else { return };
            self.steps.spend(1, now);
            let Some(link) = self.links.get_mut(&token) else { continue };
            match link.read(&mut self.buffer) {
                Ok(Some(SessionEvent::Established(node_id))) => self.meet(token, node_id),
                // Nothing else comes before that.
                Ok(_) => {}
                Err(reason) => self.fail(token, reason),
            }
            self.flush(token, now);
        }
    }

    /// A link has become a peer.
    fn meet(&mut self, token: Token, node_id: NodeId) {
        let Some(link) = self.links.get_mut(&token) else { return };
        let peer = PeerId(self.next_peer);
        self.next_peer += 1;
        link.stage = Stage::Established(peer);
        let (address, direction) = (link.address, link.direction);
        self.tokens.insert(peer, token);
        self.lobby.leave(token);
        self.ready.insert(token);
        self.notices.push_back(Input::Connected { peer, address, direction, node_id });
    }

    /// What the protocol must be told at once.
    pub(crate) fn notice(&mut self) -> Option<Input> {
        self.notices.pop_front()
    }

    /// Reads on until some peer has said something. Each gets one message in its turn.
    pub(crate) fn next(&mut self, now: Millis) -> Option<Input> {
        loop {
            let after = (Bound::Excluded(self.turn), Bound::Unbounded);
            let token = self.ready.range(after).next().or_else(|| self.ready.first()).copied()?;
            self.turn = token;
            let link = self.links.get_mut(&token);
            let read = link.map_or(Ok(None), |link| link.read(&mut self.buffer));
            self.weigh(token, now);
            match read {
                Ok(Some(SessionEvent::Message(message))) => {
                    if let Some(peer) = self.peer(token) {
                        return Some(Input::Message { peer, message });
                    }
                }
                Ok(Some(SessionEvent::Established(_))) => {}
                Ok(None) => {
                    self.ready.remove(&token);
                    self.flush(token, now);
                }
                Err(reason) => self.fail(token, reason),
            }
            if let Some(notice) = self.notices.pop_front() {
                return Some(notice);
            }
        }
    }

    fn peer(&self, token: Token) -> Option<PeerId> {
        match self.links.get(&token)?.stage {
            Stage::Established(peer) => Some(peer),
            Stage::Connecting | Stage::Handshake => None,
        }
    }

    /// Queues a message.
    pub(crate) fn send(&mut self, peer: PeerId, message: &Message) {
        let Some(token) = self.tokens.get(&peer) else { return };
        let Some(link) = self.links.get_mut(token) else { return };
        link.session.send(message);
        self.unsent.insert(*token);
        let waiting = link.session.output().len();
        if waiting > BACKLOG_BYTES && !link.backlogged {
            link.backlogged = true;
            self.notices.push_back(Input::Backlogged { peer });
        }
        if waiting > MAX_OUTPUT_BYTES {
            let token = *token;
            self.fail(token, Reason::NotReading);
        }
    }

    /// Writes what the sockets take.
    pub(crate) fn flush_all(&mut self, now: Millis) {
        for token in std::mem::take(&mut self.unsent) {
            self.flush(token, now);
        }
    }

    fn flush(&mut self, token: Token, now: Millis) {
        let Some(link) = self.links.get_mut(&token) else { return };
        if link.stage == Stage::Connecting {
            return;
        }
        match link.socket.write(link.session.output(), now) {
            Ok(sent) => link.session.sent(sent),
            Err(error) => return self.fail(token, Reason::Io(error.to_string())),
        }
        if link.backlogged
            && link.session.output().len() <= DRAINED_BYTES
            && let Stage::Established(peer) = link.stage
        {
            link.backlogged = false;
            self.notices.push_back(Input::Drained { peer });
        }
        self.weigh(token, now);
    }

    /// Finds out what a link holds. If that is too much for all together, whoever has held much for
    /// the longest time goes: first of those that came to us.
    fn weigh(&mut self, token: Token, now: Millis) {
        let Some(link) = self.links.get_mut(&token) else { return };
        let bytes = link.session.held_bytes();
        self.held_bytes = self.held_bytes - link.held_bytes + bytes;
        link.held_bytes = bytes;
        link.holds_since = (bytes > FREE_HELD_BYTES).then(|| link.holds_since.unwrap_or(now));
        while self.held_bytes > MAX_HELD_BYTES {
            let hoarder = |(token, link): (&Token, &Link)| {
                Some((link.direction == Direction::Outbound, link.holds_since?, *token))
            };
            let Some((.., token)) = self.links.iter().filter_map(hoarder).min() else { return };
            self.fail(token, Reason::Hoarding);
        }
    }

    /// Whether everything is written that can be.
    pub(crate) fn is_flushed(&self) -> bool {
        self.links.values().all(|link| link.session.output().is_empty())
    }

    /// Closes a connection, after one attempt to write what is left.
    pub(crate) fn disconnect(&mut self, peer: PeerId, reason: &Reason, now: Millis) {
        let Some(token) = self.tokens.get(&peer).copied() else { return };
        self.flush(token, now);
        if let Some(link) = self.remove(token) {
            link.log_end(reason);
        }
    }

    /// Gives up a link and tells the protocol, if it knows of it.
    fn fail(&mut self, token: Token, reason: Reason) {
        let Some(link) = self.remove(token) else { return };
        link.log_end(&reason);
        match (link.stage, link.direction) {
            (Stage::Established(peer), _) => {
                self.notices.push_back(Input::Disconnected { peer, reason });
            }
            (_, Direction::Outbound) => {
                let address = link.address;
                self.notices.push_back(Input::ConnectFailed { address, reason });
            }
            (_, Direction::Inbound) => {}
        }
    }

    /// Dropping the socket closes it and takes it out of the poll.
    fn remove(&mut self, token: Token) -> Option<Link> {
        self.ready.remove(&token);
        self.resting.remove(&token);
        self.knocking.remove(&token);
        self.lobby.leave(token);
        self.unsent.remove(&token);
        let link = self.links.remove(&token)?;
        self.held_bytes -= link.held_bytes;
        if let Stage::Established(peer) = link.stage {
            self.tokens.remove(&peer);
        }
        Some(link)
    }

    /// Gives up links that take too long, and wakes peers that have rested.
    pub(crate) fn expire(&mut self, now: Millis) {
        self.resting.retain(|token, until| {
            let rests = now < *until;
            if !rests {
                self.ready.insert(*token);
            }
            rests
        });
        let is_late = |link: &Link| {
            link.deadline(self.config.stall_ms).is_some_and(|deadline| now >= deadline)
        };
        let late = self.links.iter().filter(|(_, link)| is_late(link));
        let late: Vec<Token> = late.map(|(token, _)| *token).collect();
        for token in late {
            let reason = match self.peer(token) {
                Some(_) => Reason::NotReading,
                None => Reason::HandshakeTimeout,
            };
            self.fail(token, reason);
        }
    }

    pub(crate) fn wake_at(&self) -> Option<Millis> {
        let deadlines = self.links.values().filter_map(|link| link.deadline(self.config.stall_ms));
        let step = self.steps.empty_until().filter(|_| !self.knocking.is_empty());
        let others = self.resting.values().copied().chain(step).chain(self.listener.wake_at());
        deadlines.chain(others).min()
    }
}

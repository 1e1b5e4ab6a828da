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
use super::connection::{Door, Listener, ReadResult, Socket};
use crate::protocol::{Direction, Input, Millis, Reason};
use crate::wire::{Message, Role, Session, SessionEvent};

/// A peer with more than this waiting for it is backlogged: the protocol sends nothing large.
const BACKLOG_BYTES: usize = 1024 * 1024;
/// Down to this it is drained again.
const DRAINED_BYTES: usize = BACKLOG_BYTES / 2;
/// A peer with more than this waiting is dropped: two blocks, a message of transactions, and
/// announcements for a long time.
const MAX_OUTPUT_BYTES: usize = 32 * 1024 * 1024;
/// Bytes read at a time.
const READ_BYTES: usize = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Handshake,
    Established(PeerId),
}

struct Link {
    socket: Socket,
    session: Session,
    address: SocketAddr,
    direction: Direction,
    stage: Stage,
    /// By when the handshake must be done.
    handshake_by: Millis,
    backlogged: bool,
}

/// All connections to peers, established or on the way.
pub(crate) struct PeerPort {
    config: ReactorConfig,
    listener: Listener,
    links: BTreeMap<Token, Link>,
    tokens: BTreeMap<PeerId, Token>,
    next_peer: u64,
    /// Links that may have something to read.
    ready: BTreeSet<Token>,
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
            config,
            listener,
            links: BTreeMap::new(),
            tokens: BTreeMap::new(),
            next_peer: 0,
            ready: BTreeSet::new(),
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
            self.ready.insert(token);
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
        while let Some((stream, address)) = self.listener.accept(now) {
            if !may_knock(address.ip()) {
                tracing::debug!(target: "net", %address, "refused: banned or a stranger");
                continue;
            }
            let pending = self.links.values().filter(|link| {
                link.direction == Direction::Inbound && link.stage == Stage::Handshake
            });
            if pending.count() >= self.config.max_handshakes {
                tracing::debug!(target: "net", %address, "refused: too many handshakes");
                continue;
            }
            let added = self.add(stream, address, Direction::Inbound, door, now);
            if let Err(error) = added {
                tracing::warn!(target: "net", %address, %error, "cannot take a connection");
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
    ) -> io::Result<()> {
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
        };
        self.links.insert(token, link);
        Ok(())
    }

    /// Whether [`PeerPort::next`] has something to look at.
    pub(crate) fn has_work(&self) -> bool {
        !self.ready.is_empty()
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
            match self.read(token) {
                Ok(Some(SessionEvent::Message(message))) => {
                    if let Some(peer) = self.peer(token) {
                        return Some(Input::Message { peer, message });
                    }
                }
                Ok(Some(SessionEvent::Established(node_id))) => {
                    self.unsent.insert(token);
                    let peer = PeerId(self.next_peer);
                    self.next_peer += 1;
                    self.tokens.insert(peer, token);
                    let link = self.links.get_mut(&token)?;
                    link.stage = Stage::Established(peer);
                    let (address, direction) = (link.address, link.direction);
                    return Some(Input::Connected { peer, address, direction, node_id });
                }
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

    /// Reads from one link until something has happened or it has no more.
    fn read(&mut self, token: Token) -> Result<Option<SessionEvent>, Reason> {
        let Some(link) = self.links.get_mut(&token) else { return Ok(None) };
        if link.stage == Stage::Connecting {
            match link.socket.opened() {
                None => return Ok(None),
                Some(Err(error)) => return Err(Reason::Io(error.to_string())),
                Some(Ok(())) => link.stage = Stage::Handshake,
            }
        }
        loop {
            if let Some(event) = link.session.next_event()? {
                return Ok(Some(event));
            }
            match link.socket.read(&mut self.buffer) {
                ReadResult::Bytes(count) => link.session.receive(&self.buffer[..count]),
                ReadResult::WouldBlock => return Ok(None),
                ReadResult::Ended => return Err(Reason::Closed),
                ReadResult::Failed(error) => return Err(Reason::Io(error.to_string())),
            }
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
            log_end(&link, reason);
        }
    }

    /// Gives up a link and tells the protocol, if it knows of it.
    fn fail(&mut self, token: Token, reason: Reason) {
        let Some(link) = self.remove(token) else { return };
        log_end(&link, &reason);
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
        self.unsent.remove(&token);
        let link = self.links.remove(&token)?;
        if let Stage::Established(peer) = link.stage {
            self.tokens.remove(&peer);
        }
        Some(link)
    }

    /// Gives up links that take too long.
    pub(crate) fn expire(&mut self, now: Millis) {
        let is_late = |link: &Link| self.deadline(link).is_some_and(|deadline| now >= deadline);
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

    fn deadline(&self, link: &Link) -> Option<Millis> {
        match link.stage {
            Stage::Established(_) => {
                link.socket.stalled_since().map(|since| since + self.config.stall_ms)
            }
            Stage::Connecting | Stage::Handshake => Some(link.handshake_by),
        }
    }

    pub(crate) fn wake_at(&self) -> Option<Millis> {
        let deadlines = self.links.values().filter_map(|link| self.deadline(link));
        deadlines.chain(self.listener.wake_at()).min()
    }
}

fn log_end(link: &Link, reason: &Reason) {
    let (address, direction) = (link.address, link.direction);
    match link.stage {
        Stage::Established(peer) => {
            let peer = peer.0;
            tracing::info!(target: "net", peer, %address, ?direction, %reason, "disconnected");
        }
        // Somebody wanted this connection, and the other end is no node of our network.
        _ if direction == Direction::Outbound && matches!(reason, Reason::Wire(_)) => {
            tracing::warn!(target: "net", %address, ?direction, %reason, "no connection");
        }
        _ => tracing::debug!(target: "net", %address, ?direction, %reason, "no connection"),
    }
}

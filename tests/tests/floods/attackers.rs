//! Peers that mean no good. Each kind is one thread, so that they do not take the whole machine.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use chain::header::Header;
use chain::params::Network;
use chain::{Hash, sha256d};
use net::wire::message::{MAX_BLOCKS_ASKED, MAX_TXIDS};
use net::wire::{Hello, Message, Role, Session, SessionEvent};
use net::{Identity, PROTOCOL_VERSION};
use tests::chains::{free_network, signing_key, unsigned};
use tests::node::wait_until;

/// Half-open connections that are kept.
const HALF_OPEN: usize = 2000;
/// Of these, so many are opened again at a time.
const REOPENED: usize = 400;
/// Peers that ask and do not read, more than a node has slots.
const SLOW: usize = 100;
/// Clients of the admin port that ask and do not read.
const CLIENTS: usize = 100;
/// Between two looks at many connections.
const PAUSE: Duration = Duration::from_millis(50);
/// A node that is busy may be slow to let somebody in.
const PATIENCE: Duration = Duration::from_millis(500);
/// Signed transactions that the pool refuses.
const REFUSED: u64 = 3000;

/// What is attacked, and how hard it was.
pub(super) struct Siege<'a> {
    pub(super) peers: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) headers: &'a [Header],
    pub(super) over: AtomicBool,
    pub(super) half_open: AtomicUsize,
    pub(super) garbage: AtomicUsize,
    pub(super) flooded: AtomicUsize,
    /// Transactions that no pool takes, of all connections ...
    pub(super) delivered: AtomicUsize,
    /// ... and of the one with the most.
    pub(super) delivered_by_one: AtomicUsize,
    pub(super) slow: AtomicUsize,
    pub(super) clients: AtomicUsize,
}

impl<'a> Siege<'a> {
    pub(super) fn new(peers: SocketAddr, admin: SocketAddr, headers: &'a [Header]) -> Siege<'a> {
        let zero = || AtomicUsize::new(0);
        Siege {
            peers,
            admin,
            headers,
            over: AtomicBool::new(false),
            half_open: zero(),
            garbage: zero(),
            flooded: zero(),
            delivered: zero(),
            delivered_by_one: zero(),
            slow: zero(),
            clients: zero(),
        }
    }

    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    /// Connections on which nothing or one byte is said. Who is dropped comes again.
    pub(super) fn half_open(&self) {
        let mut places: Vec<Option<TcpStream>> = (0..HALF_OPEN).map(|_| None).collect();
        while self.goes_on() {
            let mut reopened = 0;
            for (number, place) in places.iter_mut().enumerate() {
                if place.as_mut().is_some_and(is_closed) {
                    *place = None;
                }
                if place.is_none() && reopened < REOPENED && self.goes_on() {
                    reopened += 1;
                    *place = connect(&self.peers);
                    if let Some(stream) = place.as_mut().filter(|_| number % 2 == 0) {
                        stream.write_all(&[32]).ok(); // it may be closed already
                    }
                    self.half_open.fetch_add(usize::from(place.is_some()), Ordering::Relaxed);
                }
            }
            thread::park_timeout(PAUSE);
        }
    }

    /// Garbage as fast as it is taken: at once, after a handshake, or as its second half.
    pub(super) fn garbage(&self) {
        let garbage: Vec<u8> = (0..2048_u32).flat_map(|at| sha256d(&at.to_le_bytes()).0).collect();
        let packet = |length: u16| [&length.to_le_bytes()[..], &garbage[..length.into()]].concat();
        let kinds = [garbage.clone(), [packet(32), packet(64)].concat(), packet(60_000)];
        for (kind, bytes) in kinds.iter().enumerate().cycle().take_while(|_| self.goes_on()) {
            let stream = match kind {
                2 => Peer::open(self.peers, 3).map(|peer| peer.stream),
                _ => connect(&self.peers),
            };
            let Some(mut stream) = stream else { continue };
            if stream.set_nonblocking(false).is_err() {
                continue;
            }
            while self.goes_on() && stream.write_all(bytes).is_ok() {
                self.garbage.fetch_add(bytes.len(), Ordering::Relaxed);
            }
        }
    }

    /// A peer that breaks no rule and says as much as is taken.
    pub(super) fn questions(&self) {
        self.flood(10, &self.all_questions(), &[]);
    }

    /// A peer that has nothing but transactions that no pool takes, all of them well signed.
    pub(super) fn transactions(&self) {
        let refused = refused(&free_network());
        let announce = |part: &[(Hash, Vec<u8>)]| Message::AnnounceTransactions {
            txids: part.iter().map(|(txid, _)| *txid).collect(),
        };
        let messages: Vec<Message> = refused.chunks(50).map(announce).collect();
        self.flood(60, &messages, &refused);
    }

    /// Says the messages again and again, and delivers what it is asked for.
    fn flood(&self, mut seed: u8, messages: &[Message], refused: &[(Hash, Vec<u8>)]) {
        while self.goes_on() {
            seed = seed.wrapping_add(1);
            let Some(mut peer) = Peer::open(self.peers, seed) else { continue };
            let delivered = AtomicUsize::new(0);
            for message in messages.iter().cycle() {
                let sent = peer.say(message) && peer.answer(refused, &delivered);
                self.flooded.fetch_add(usize::from(sent), Ordering::Relaxed);
                if !sent || !self.goes_on() {
                    break;
                }
                // What is not taken waits: a peer that is not read cannot say more.
                while self.goes_on() && peer.flush() && peer.session.output().len() > 1 << 20 {
                    peer.answer(refused, &delivered);
                    thread::park_timeout(Duration::from_millis(1));
                }
            }
            let delivered = delivered.into_inner();
            self.delivered.fetch_add(delivered, Ordering::Relaxed);
            self.delivered_by_one.fetch_max(delivered, Ordering::Relaxed);
        }
    }

    /// All that a peer may say again and again.
    fn all_questions(&self) -> Vec<Message> {
        let known: Vec<Hash> = self.headers.iter().map(Header::hash).collect();
        let random = |at: u32| sha256d(&[&b"nothing"[..], &at.to_le_bytes()].concat());
        let mut list = Vec::new();
        for round in 0..50_u32 {
            let txids = (round * 1000..).map(random).take(MAX_TXIDS).collect();
            list.push(Message::AnnounceTransactions { txids });
            list.push(Message::GetBlocks { hashes: known[..MAX_BLOCKS_ASKED].to_vec() });
            list.push(Message::Headers(self.headers.to_vec()));
            for hash in &known[..20] {
                list.push(Message::Ping(round.into()));
                list.push(Message::GetHeaders { locator: vec![*hash] });
                list.push(Message::GetCompactBlock { hash: *hash });
            }
            list.extend(self.headers[..10].iter().map(|header| Message::AnnounceBlock(*header)));
            list.push(Message::GetTransactions { txids: (0..40).map(random).collect() });
        }
        list
    }

    /// Peers that ask for as much as they may, and never read.
    pub(super) fn slow_readers(&self) {
        let hashes: Vec<Hash> = self.headers.iter().map(Header::hash).collect();
        let (hashes, locator) = (hashes[..MAX_BLOCKS_ASKED].to_vec(), vec![hashes[0]]);
        let mut places: Vec<Option<Peer>> = (0..SLOW).map(|_| None).collect();
        while self.goes_on() {
            for (number, place) in places.iter_mut().enumerate().take_while(|_| self.goes_on()) {
                if place.is_none() {
                    let seed = 100 + u8::try_from(number).expect("a hundred");
                    *place = Peer::open(self.peers, seed);
                    self.slow.fetch_add(usize::from(place.is_some()), Ordering::Relaxed);
                }
                let Some(peer) = place else { continue };
                let asks = peer.said < 4 * MAX_BLOCKS_ASKED;
                if asks {
                    peer.said += MAX_BLOCKS_ASKED;
                    peer.say(&Message::GetBlocks { hashes: hashes.clone() });
                }
                if peer.session.output().len() < 4096 {
                    peer.say(&Message::GetHeaders { locator: locator.clone() });
                    peer.say(&Message::Ping(1));
                }
                if !peer.flush() {
                    *place = None;
                }
            }
            thread::park_timeout(PAUSE);
        }
    }

    /// Clients that ask for long answers and never read.
    pub(super) fn clients(&self) {
        let lines = b"HELP\n".repeat(2000);
        let mut places: Vec<Option<TcpStream>> = (0..CLIENTS).map(|_| None).collect();
        while self.goes_on() {
            for place in &mut places {
                if place.is_none() {
                    *place = connect(&self.admin);
                    self.clients.fetch_add(usize::from(place.is_some()), Ordering::Relaxed);
                }
                let written = place.as_mut().map(|stream| stream.write(&lines));
                if let Some(Err(error)) = written
                    && error.kind() != ErrorKind::WouldBlock
                {
                    *place = None;
                }
            }
            thread::park_timeout(PAUSE);
        }
    }
}

/// A connection that does not block.
fn connect(address: &SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(address, PATIENCE).ok()?;
    stream.set_nonblocking(true).ok()?;
    Some(stream)
}

fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 64]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

/// The first headers of a node's chain.
pub(super) fn old_headers(address: SocketAddr, count: usize) -> Vec<Header> {
    let mut peer = Peer::open(address, 1).expect("the node lets a peer in");
    let genesis = free_network().genesis_hash();
    peer.say(&Message::GetHeaders { locator: vec![genesis] });
    let mut buffer = [0; 4096];
    let mut found = None;
    wait_until("headers", || {
        while let Ok(Some(event)) = peer.session.next_event() {
            match event {
                SessionEvent::Message(Message::Headers(list)) if list.len() >= count => {
                    found = Some(list);
                }
                _ => {}
            }
        }
        if let Ok(count) = peer.stream.read(&mut buffer) {
            peer.session.receive(&buffer[..count]);
        }
        found.is_some()
    });
    let mut list = found.expect("waited for");
    list.truncate(count);
    list
}

/// Transactions of an unknown account, too far ahead for any pool.
fn refused(network: &Network) -> Vec<(Hash, Vec<u8>)> {
    let key = signing_key(9);
    let put = kv::Operation::Delete { key: b"flood", expect: kv::Expect::Any };
    let list = (0..REFUSED).map(|number| {
        let transaction = unsigned(&key, 1_000_000 + number, std::slice::from_ref(&put));
        let transaction = transaction.sign(&key, &network.genesis_hash());
        (transaction.txid(), transaction.bytes().to_vec())
    });
    list.collect()
}

/// A peer by hand, on a socket that does not block.
struct Peer {
    stream: TcpStream,
    session: Session,
    said: usize,
}

impl Peer {
    /// Connects, shakes hands and says hello; `None` if the node does not want it.
    fn open(address: SocketAddr, seed: u8) -> Option<Peer> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.set_nodelay(true).ok()?;
        let identity = Identity::from_secret([seed; 32]);
        let session = Session::new(Role::Initiator, &identity, &free_network().genesis_hash());
        let mut peer = Peer { stream, session, said: 0 };
        let mut buffer = [0; 256];
        loop {
            if !peer.flush() {
                return None;
            }
            match peer.session.next_event().ok()? {
                Some(SessionEvent::Established(_)) => break,
                _ => match peer.stream.read(&mut buffer) {
                    Ok(count @ 1..) => peer.session.receive(&buffer[..count]),
                    _ => return None,
                },
            }
        }
        let (protocol, agent) = (PROTOCOL_VERSION, "flood".to_string());
        let said =
            peer.say(&Message::Hello(Hello { protocol, agent, height: 1, listen_port: None }));
        peer.stream.set_nonblocking(true).ok()?;
        said.then_some(peer)
    }

    fn say(&mut self, message: &Message) -> bool {
        self.session.send(message);
        self.flush()
    }

    /// Writes what is taken; returns whether the connection is still there.
    fn flush(&mut self) -> bool {
        while !self.session.output().is_empty() {
            match self.stream.write(self.session.output()) {
                Ok(count) => self.session.sent(count),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }

    /// Reads what has come, and delivers the transactions that the node asks for.
    fn answer(&mut self, refused: &[(Hash, Vec<u8>)], delivered: &AtomicUsize) -> bool {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.session.next_event() {
                Ok(Some(SessionEvent::Message(Message::GetTransactions { txids }))) => {
                    let asked = refused.iter().filter(|(txid, _)| txids.contains(txid));
                    let list: Vec<Vec<u8>> = asked.map(|(_, bytes)| bytes.clone()).collect();
                    delivered.fetch_add(list.len(), Ordering::Relaxed);
                    if !list.is_empty() && !self.say(&Message::Transactions(list)) {
                        return false;
                    }
                    continue;
                }
                Ok(Some(_)) => continue,
                Ok(None) => {}
                Err(_) => return false,
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(count) => self.session.receive(&buffer[..count]),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }
}

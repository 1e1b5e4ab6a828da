//! A node without threads and sockets: the protocol, and behind it a verifier and a ledger that
//! answer when they are told to.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use chain::block::Assembly;
use chain::ledger::{self, Ledger, Output as Said, PeerId, Source, Time};
use chain::rules::RuleError;
use chain::rules::isolation::{BlockFault, check_headers};
use chain::store::{Archive, MemoryStore};
use chain::verify::Verifier;
use net::protocol::MAX_BOOK;
use net::wire::message::MAX_HEADERS;
use net::wire::{CompactBlock, codec};
use net::{
    AddressBook, Config, Direction, Input, Message, Millis, NodeId, Output, Protocol, Reason,
    Served, Work,
};
use tests::chains::{memory_ledger, options, verifier};

use super::protocol::start;
use super::world::World;

pub(super) const INBOUND: usize = 4;
pub(super) const OUTBOUND: usize = 2;
/// Its own slots, a feeler, and some that were asked for.
const MAX_LINKS: usize = INBOUND + OUTBOUND + 1 + 17;
/// Work that waits; the reactor stops reading before there is more.
const MAX_WORK: usize = 64;
/// What one input may cause: a word to each peer, and a day's worth of nothing.
const MAX_OUTPUTS: usize = 1_000;
/// A node that is woken so often without time passing keeps a reactor busy.
const MAX_WAKES_AT_ONCE: usize = 100;

pub(super) struct Node<'a> {
    world: &'a World,
    protocol: Protocol,
    ledger: Ledger<MemoryStore>,
    verifier: Verifier,
    pub(super) now: Millis,
    /// With what each was asked last and has not answered.
    links: BTreeMap<PeerId, Option<Message>>,
    next_peer: u64,
    dialling: Vec<SocketAddr>,
    work: VecDeque<Work>,
    dropped: Option<Reason>,
}

impl<'a> Node<'a> {
    pub(super) fn new(world: &'a World, config: Config, seed: u64) -> Node<'a> {
        let now = start();
        let mut book = AddressBook::default();
        for number in 0..6 {
            let address = SocketAddr::from(([192, 0, 2, number], 7400));
            book.heard(address, address.ip(), now.0 / 1000, now);
        }
        let mut node = Node {
            world,
            protocol: Protocol::new(config, book, seed),
            ledger: memory_ledger(options(&world.network)),
            verifier: verifier(&world.network),
            now,
            links: BTreeMap::new(),
            next_peer: 0,
            dialling: Vec::new(),
            work: VecDeque::new(),
            dropped: None,
        };
        node.listen();
        node
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = PeerId> {
        self.links.keys().copied()
    }

    pub(super) fn connect(&mut self, direction: Direction, address: SocketAddr, node_id: NodeId) {
        if direction == Direction::Inbound && !self.protocol.may_knock(address.ip(), self.now) {
            return;
        }
        let peer = PeerId(self.next_peer);
        self.next_peer += 1;
        self.links.insert(peer, None);
        self.input(Input::Connected { peer, address, direction, node_id });
    }

    /// Something becomes of the oldest connection that is being opened.
    pub(super) fn dialled(&mut self, how: u8) {
        if self.dialling.is_empty() {
            return;
        }
        let address = self.dialling.remove(0);
        if how % 4 == 3 {
            let reason = Reason::HandshakeTimeout;
            return self.input(Input::ConnectFailed { address, reason });
        }
        self.connect(Direction::Outbound, address, NodeId([how; 32]));
    }

    /// Nothing comes of a connection that is being opened, if it is.
    pub(super) fn gives_up_dialling(&mut self, address: &SocketAddr) {
        self.dialling.retain(|dialled| dialled != address);
    }

    /// A connection ends by itself.
    pub(super) fn gone(&mut self, peer: PeerId) {
        if self.links.remove(&peer).is_some() {
            self.input(Input::Disconnected { peer, reason: Reason::Closed });
        }
    }

    /// A peer answers what it was asked last: as it should, or with something else of the kind.
    pub(super) fn answer(&mut self, peer: PeerId, spoil: u8) {
        let Some(question) = self.links.get_mut(&peer).and_then(Option::take) else { return };
        let world = self.world;
        let mut answers = match question {
            Message::Ping(nonce) => vec![Message::Pong(nonce)],
            Message::GetHeaders { .. } => vec![Message::Headers(World::headers(&world.chain))],
            Message::GetBlocks { hashes } => {
                let block = |hash| match world.find(hash) {
                    Some(block) => Message::Block(block.bytes().to_vec()),
                    None => Message::NotFound { hashes: vec![*hash] },
                };
                hashes.iter().map(block).collect()
            }
            Message::GetCompactBlock { hash } => match world.find(&hash) {
                Some(block) => vec![Message::CompactBlock(CompactBlock::of(block, 3))],
                None => vec![Message::NotFound { hashes: vec![hash] }],
            },
            Message::GetBlockTransactions { hash, indexes } => {
                let list = world.find(&hash).map_or(&[][..], |block| block.transactions());
                let asked = indexes.iter().filter_map(|at| list.get(usize::from(*at)));
                let list = asked.map(|item| item.bytes().to_vec()).collect();
                vec![Message::BlockTransactions { hash, list }]
            }
            Message::GetTransactions { txids } => {
                let asked = world.transactions().filter(|item| txids.contains(&item.txid()));
                vec![Message::Transactions(asked.map(|item| item.bytes().to_vec()).collect())]
            }
            Message::GetAddresses => vec![Message::Addresses(Vec::new())],
            _ => Vec::new(),
        };
        match spoil % 8 {
            5 => answers.reverse(),
            6 => answers.truncate(1),
            7 => answers.extend_from_within(..),
            _ => {}
        }
        for message in answers {
            self.input(Input::Message { peer, message });
        }
    }

    /// Tells the protocol something, and looks at everything it says.
    pub(super) fn input(&mut self, input: Input) {
        if self.work.len() > MAX_WORK {
            self.run_stages(usize::MAX);
        }
        self.protocol.handle(self.now, input);
        let mut count = 0;
        while let Some(output) = self.protocol.poll() {
            count += 1;
            assert!(count <= MAX_OUTPUTS, "one input causes {count} outputs: {output:?}");
            self.obey(output);
        }
    }

    fn obey(&mut self, output: Output) {
        match output {
            Output::Connect(address) => {
                assert!(!self.dialling.contains(&address), "{address} is dialled twice");
                self.dialling.push(address);
            }
            Output::Disconnect { peer, reason } => {
                assert!(self.links.remove(&peer).is_some(), "{peer:?} is dropped twice");
                self.dropped = Some(reason);
            }
            Output::Send { peer, message } => {
                let asked = self.links.get_mut(&peer).expect("only who is connected is told");
                assert!(codec::encode(&message).len() <= message.kind().max_bytes + 5);
                let is_question = !matches!(message, Message::Hello(_) | Message::Pong(_));
                if is_question {
                    *asked = Some(message);
                }
            }
            Output::Work(work) => self.work.push_back(work),
            // What was read already may still come.
            Output::Rest { .. } => {}
            Output::SaveBook(bytes) => drop(AddressBook::decode(&bytes).expect("our own book")),
            Output::Peers(list) => assert!(list.len() <= self.links.len() + 1),
        }
    }

    /// Lets time pass, waking the protocol whenever it wants.
    pub(super) fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        let mut at_once = 0;
        while let Some(at) = self.protocol.wake_at().filter(|at| *at <= end) {
            at_once = if at > self.now { 0 } else { at_once + 1 };
            assert!(at_once < MAX_WAKES_AT_ONCE, "something stays due since {at:?}");
            self.now = self.now.max(at);
            self.input(Input::Tick);
        }
        self.now = end;
        self.input(Input::Tick);
    }

    /// The machine was asleep: time passes, and nobody is woken for it.
    pub(super) fn sleep(&mut self, ms: u64) {
        self.now = self.now + ms;
        self.input(Input::Tick);
    }

    /// The stages do so much of what waits for them.
    pub(super) fn run_stages(&mut self, count: usize) {
        for _ in 0..count {
            let Some(work) = self.work.pop_front() else { return };
            self.do_work(work);
        }
    }

    fn do_work(&mut self, work: Work) {
        let network = &self.world.network;
        match work {
            Work::Headers { from, headers } => match check_headers(network, &headers) {
                Ok(headers) => self.feed(ledger::Input::Headers { from, headers }),
                Err(error) => self.bad(from, &error),
            },
            Work::Announced { from, header } => match check_headers(network, &[header]) {
                Ok(headers) => headers
                    .into_iter()
                    .for_each(|header| self.feed(ledger::Input::Announced { from, header })),
                Err(error) => self.bad(from, &error),
            },
            Work::Block { from, bytes, .. } => match self.verifier.judge_block(bytes) {
                Ok(block) => self.feed(ledger::Input::Block { from, block }),
                Err(fault) => self.blame(from, fault),
            },
            Work::Gone { peer } => self.feed(ledger::Input::PeerGone { peer }),
            Work::Rebuilt { from, assembly } => self.rebuilt(from, *assembly),
            Work::Transactions { from, list } => {
                for result in self.verifier.transactions(&list) {
                    let source = Source::Peer(from);
                    match result {
                        Ok(transaction) => {
                            self.feed(ledger::Input::Transaction { source, transaction });
                        }
                        Err(error) => self.bad(from, &error),
                    }
                }
            }
            Work::ServeHeaders { to, locator } => {
                let headers = self.ledger.store().headers_after(&locator, MAX_HEADERS);
                let served = Served::Headers(headers.expect("memory does not fail"));
                self.input(Input::Served { peer: to, served });
            }
            Work::ServeBlock { to, hash } => {
                let store = self.ledger.store();
                let is_main = store.main_height(&hash).expect("memory does not fail").is_some();
                let body = store.body(&hash).expect("memory does not fail");
                let bytes = body.here().filter(|_| is_main);
                let served = Served::Block { hash, bytes };
                self.input(Input::Served { peer: to, served });
            }
        }
    }

    fn rebuilt(&mut self, from: PeerId, assembly: Assembly) {
        let hash = assembly.header.hash();
        match self.verifier.judge_assembly(assembly) {
            Ok(block) => {
                self.input(Input::Rebuilt { peer: from, block: block.clone() });
                self.feed(ledger::Input::Relayed { block });
            }
            Err(BlockFault {
                error: RuleError::MerkleRoot { .. } | RuleError::MerkleMutated,
                condemned: None,
            }) => self.input(Input::NotRebuilt { hash }),
            Err(fault) => self.blame(from, fault),
        }
    }

    fn blame(&mut self, from: PeerId, fault: BlockFault) {
        let BlockFault { error, condemned } = fault;
        match condemned {
            Some(hash) => self.feed(ledger::Input::InvalidBlock { from, hash, error }),
            None => self.bad(from, &error),
        }
    }

    fn bad(&mut self, peer: PeerId, error: &RuleError) {
        self.input(Input::BadPayload { peer, what: error.to_string() });
    }

    /// Tells the ledger something, and the protocol what it says.
    pub(super) fn feed(&mut self, input: ledger::Input) {
        let now = Time { unix_ms: self.now.0 };
        self.ledger.handle(now, input).expect("memory does not fail");
        self.listen();
    }

    fn listen(&mut self) {
        while let Some(said) = self.ledger.poll() {
            if !matches!(said, Said::Template(_) | Said::Answer { .. } | Said::PoolSize { .. }) {
                self.input(Input::Ledger(said));
            }
        }
    }

    /// What must hold after every step.
    pub(super) fn check(&mut self) {
        assert!(self.links.len() <= MAX_LINKS, "{} connections", self.links.len());
        assert!(self.dialling.len() <= MAX_LINKS, "{} are dialled", self.dialling.len());
        assert!(self.protocol.book().len() <= MAX_BOOK);
        let tip = self.ledger.standing().tip;
        assert_eq!(self.ledger.store().tip().expect("memory does not fail"), tip);
    }

    /// How far it came, and why it parted with somebody last.
    pub(super) fn word(&self) -> String {
        let height = self.ledger.standing().tip.height;
        let dropped = match &self.dropped {
            None => "nobody dropped".to_string(),
            Some(Reason::Protocol(what)) => (*what).to_string(),
            Some(Reason::Chain(what)) => {
                let words = what.split(' ').filter(|word| word.chars().all(char::is_alphabetic));
                words.take(5).collect::<Vec<_>>().join(" ")
            }
            Some(reason) => reason.to_string(),
        };
        let height = match height {
            0 => "genesis",
            1..=11 => "between",
            _ => "tip",
        };
        format!("{height} {dropped}")
    }
}

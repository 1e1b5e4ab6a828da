//! A protocol driven by hand, and chains to feed it with.

use std::net::SocketAddr;
use std::sync::Arc;

use chain::block::{Block, CheckedBlock, Coinbase};
use chain::commitment::EMPTY;
use chain::execute::{Account, BlockContext, Delta, ExecuteError, Filled, StateMachine, View};
use chain::header::{Header, VERSION_FIXED};
use chain::ledger::{self, ConnectedBlock, HeadersVerdict, PeerId, TipChange};
use chain::params::Network;
use chain::rules::merkle;
use chain::store::{ChainPoint, StoreError};
use chain::tx::{CheckedTransaction, PublicKey, TRANSACTION_VERSION, Transaction, Unsigned};
use chain::verify::Verifier;
use chain::{CompactTarget, Hash, Work as ChainWork};
use ed25519_zebra::SigningKey;

use super::*;
use crate::wire::{NodeId, PROTOCOL_VERSION};

/// When tests begin.
pub(super) const START: Millis = Millis(1_800_000_000_000);

/// A protocol that wants to be woken more often while time passes would keep the reactor busy.
const MAX_WAKES: usize = 100_000;

/// A node under test.
pub(super) struct Bench {
    pub(super) protocol: Protocol,
    pub(super) now: Millis,
    next_peer: u64,
}

impl Bench {
    pub(super) fn new() -> Bench {
        Bench::with(Config { listen_port: Some(7400), ..Config::new(node(0)) })
    }

    pub(super) fn with(config: Config) -> Bench {
        Bench::with_book(config, AddressBook::default())
    }

    pub(super) fn with_book(config: Config, book: AddressBook) -> Bench {
        let protocol = Protocol::new(config, book, 1);
        check_alarms(&protocol);
        Bench { protocol, now: START, next_peer: 1 }
    }

    /// Gives an input and takes all outputs but the lists of peers and saved books.
    pub(super) fn input(&mut self, input: Input) -> Vec<Output> {
        let before = alarms(&self.protocol);
        self.protocol.handle(self.now, input);
        let outputs: Vec<Output> = std::iter::from_fn(|| self.protocol.poll()).collect();
        check_alarms(&self.protocol);
        if !outputs.iter().any(|output| matches!(output, Output::Disconnect { .. })) {
            let rang = before.iter().zip(alarms(&self.protocol));
            for ((name, at, _), (_, wake_at, due_at)) in rang {
                let rang = at.is_some_and(|at| at <= self.now);
                assert!(!rang || wake_at == due_at, "{name}: {wake_at:?}, not {due_at:?}");
            }
        }
        let shown = |output: &Output| !matches!(output, Output::Peers(_) | Output::SaveBook(_));
        outputs.into_iter().filter(shown).collect()
    }

    /// The list of peers as people see it.
    pub(super) fn peers(&mut self) -> Arc<[PeerInfo]> {
        self.protocol.list_peers = Dirty { changed: true, not_before: self.now };
        self.protocol.handle(self.now, Input::Tick);
        let outputs = std::iter::from_fn(|| self.protocol.poll());
        let lists = outputs.filter_map(|output| match output {
            Output::Peers(list) => Some(list),
            _ => None,
        });
        lists.last().expect("it is due")
    }

    /// Lets time pass, waking the protocol whenever it wants.
    pub(super) fn pass(&mut self, ms: u64) -> Vec<Output> {
        let end = self.now + ms;
        let (mut outputs, mut wakes) = (Vec::new(), 0);
        while let Some(at) = self.protocol.wake_at().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            outputs.extend(self.input(Input::Tick));
            wakes += 1;
            assert!(wakes < MAX_WAKES, "something stays due: {at:?} at {:?}", self.now);
        }
        self.now = end;
        outputs.extend(self.input(Input::Tick));
        outputs
    }

    /// A connection after Noise, before hello.
    pub(super) fn connect(
        &mut self,
        direction: Direction,
        node_id: NodeId,
        address: SocketAddr,
    ) -> (PeerId, Vec<Output>) {
        let peer = PeerId(self.next_peer);
        self.next_peer += 1;
        let outputs = self.input(Input::Connected { peer, address, direction, node_id });
        (peer, outputs)
    }

    /// An inbound peer that has said hello with this height.
    pub(super) fn peer(&mut self, height: u32) -> PeerId {
        let number = u8::try_from(self.next_peer).unwrap();
        let (peer, _) = self.connect(Direction::Inbound, node(number), address(number, 50_000));
        self.say(peer, hello(height));
        peer
    }

    pub(super) fn say(&mut self, peer: PeerId, message: Message) -> Vec<Output> {
        self.input(Input::Message { peer, message })
    }

    pub(super) fn ledger(&mut self, output: ledger::Output) -> Vec<Output> {
        self.input(Input::Ledger(output))
    }
}

/// An alarm: its name, what it is set to, and what a look at everything gives.
type Set = (&'static str, Option<Millis>, Option<Millis>);

fn alarms(protocol: &Protocol) -> Vec<Set> {
    let Protocol { peers, hellos, pings, sync, relay, serving, dialler, now, .. } = protocol;
    let timing = &protocol.config.timing;
    let hello_at = handshake::missing(peers, timing.hello_ms).map(|(_, until)| until).min();
    let mut list = vec![
        ("hellos", hellos.wake_at(), hello_at),
        ("pings", pings.wake_at(), pings.due_at(timing)),
        ("serving", serving.wake_at(*now), serving.due_at(*now)),
        ("dialler", dialler.wake_at(), dialler.due_at()),
    ];
    list.extend(sync.alarms());
    list.extend(relay.alarms());
    list
}

/// Checks that no part of the protocol sleeps through what is due.
pub(super) fn check_alarms(protocol: &Protocol) {
    for (name, wake_at, due_at) in alarms(protocol) {
        let in_time = due_at.is_none_or(|due_at| wake_at.is_some_and(|at| at <= due_at));
        assert!(in_time, "{name} sleeps until {wake_at:?} and is due at {due_at:?}");
    }
}

pub(super) fn node(number: u8) -> NodeId {
    NodeId([number; 32])
}

pub(super) fn address(number: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, number], port))
}

pub(super) fn hello(height: u32) -> Message {
    let agent = "test".to_string();
    Message::Hello(Hello { protocol: PROTOCOL_VERSION, agent, height, listen_port: None })
}

/// The messages among the outputs that go to one peer.
pub(super) fn to(peer: PeerId, outputs: &[Output]) -> Vec<Message> {
    let sent = outputs.iter().filter_map(|output| match output {
        Output::Send { peer: to, message } if *to == peer => Some(message.clone()),
        _ => None,
    });
    sent.collect()
}

/// The work handed on, but for the word that a peer is gone.
pub(super) fn works(outputs: &[Output]) -> Vec<Work> {
    let works = outputs.iter().filter_map(|output| match output {
        Output::Work(Work::Gone { .. }) => None,
        Output::Work(work) => Some(work.clone()),
        _ => None,
    });
    works.collect()
}

/// The reason for which the outputs drop the peer, if they do.
pub(super) fn dropped(peer: PeerId, outputs: &[Output]) -> Option<Reason> {
    outputs.iter().find_map(|output| match output {
        Output::Disconnect { peer: whom, reason } if *whom == peer => Some(reason.clone()),
        _ => None,
    })
}

/// A network on which every second hash is a block.
pub(super) fn network() -> Network {
    Network { start_bits: CompactTarget(0x207f_ffff), ..Network::dev() }
}

/// Nothing means anything.
pub(super) struct Nothing;

impl StateMachine for Nothing {
    fn check(&self, _: &Network, _: &Transaction) -> Result<(), String> {
        Ok(())
    }

    fn execute(
        &self,
        _: &dyn View,
        _: BlockContext<'_>,
        _: &[CheckedTransaction],
    ) -> Result<Delta, ExecuteError> {
        Ok(Delta::default())
    }

    fn fill(
        &self,
        _: &dyn View,
        _: BlockContext<'_>,
        _: &[CheckedTransaction],
    ) -> Result<Filled, StoreError> {
        Ok(Filled::default())
    }

    fn commits_to(&self, _: &[u8]) -> bool {
        false
    }

    fn account(&self, _: &dyn View, _: &PublicKey) -> Result<Account, StoreError> {
        Ok(Account { balance: 0, sequence: 0 })
    }
}

pub(super) fn verifier() -> Verifier {
    Verifier::new(network(), Arc::new(Nothing), [1; 32])
}

/// So many transactions of one signer.
pub(super) fn transactions(count: u64) -> Vec<CheckedTransaction> {
    let key = SigningKey::from([7; 32]);
    let sign = |sequence| {
        let operations = vec![vec![0; 40].into()];
        let (version, signer) = (TRANSACTION_VERSION, PublicKey::from(&key));
        let unsigned = Unsigned { version, signer, sequence, expires_at: 0, fee: 0, operations };
        unsigned.sign(&key, &network().genesis_hash()).bytes().to_vec()
    };
    let list: Vec<Vec<u8>> = (0..count).map(sign).collect();
    verifier().transactions(&list).into_iter().map(Result::unwrap).collect()
}

/// A chain of so many blocks after genesis; the last has the transactions.
pub(super) fn blocks(count: u32, with: &[CheckedTransaction]) -> Vec<CheckedBlock> {
    let (mut prev, mut list) = (network().genesis_hash(), Vec::new());
    for height in 1..=count {
        let with = if height == count { with } else { &[] };
        let block = block(prev, height, with);
        prev = block.hash();
        list.push(block);
    }
    list
}

fn block(prev: Hash, height: u32, with: &[CheckedTransaction]) -> CheckedBlock {
    let coinbase = Coinbase {
        height,
        extranonce: 0,
        tag: Vec::new(),
        value: network().subsidy.at(height),
        payee: PublicKey::default(),
        state_root: EMPTY,
    };
    let transactions = with.iter().map(|tx| Arc::new(Transaction::clone(tx))).collect();
    let header = Header {
        version: VERSION_FIXED,
        prev,
        merkle_root: Hash::ZERO,
        time: network().genesis_time + height,
        bits: network().start_bits,
        nonce: 0,
    };
    let mut block = Block { header, coinbase, transactions };
    block.header.merkle_root = merkle::root(&block.txids()).unwrap();
    loop {
        if let Ok(checked) = verifier().block(block.encode()) {
            return checked;
        }
        block.header.nonce += 1;
    }
}

pub(super) fn point(block: &CheckedBlock) -> ChainPoint {
    ChainPoint { height: block.coinbase().height, hash: block.hash() }
}

pub(super) fn headers(blocks: &[CheckedBlock]) -> Vec<Header> {
    blocks.iter().map(|block| *block.header()).collect()
}

pub(super) fn wanted(blocks: &[CheckedBlock]) -> ledger::Output {
    ledger::Output::Wanted(blocks.iter().map(point).collect())
}

pub(super) fn accepted(from: PeerId, last: &CheckedBlock) -> ledger::Output {
    let last = point(last);
    let verdict = HeadersVerdict::Accepted { new: 1, last, work: ChainWork::ZERO };
    ledger::Output::HeadersJudged { from, verdict }
}

/// The ledger's first word, at genesis.
pub(super) fn started() -> ledger::Output {
    let genesis = network().genesis();
    let tip = ChainPoint { height: 0, hash: genesis.header.hash() };
    tip_change(&[], tip, genesis.header)
}

/// The blocks were connected; the last of them is the tip.
pub(super) fn connected(blocks: &[CheckedBlock]) -> ledger::Output {
    let last = blocks.last().unwrap();
    tip_change(blocks, point(last), *last.header())
}

fn tip_change(blocks: &[CheckedBlock], tip: ChainPoint, header: Header) -> ledger::Output {
    let connected = blocks.iter().map(|block| ConnectedBlock {
        block: block.clone(),
        height: block.coinbase().height,
        outcomes: Vec::new(),
    });
    ledger::Output::TipChanged(Arc::new(TipChange {
        reverted: Vec::new(),
        connected: connected.collect(),
        tip,
        header,
        work: ChainWork::ZERO,
        best_header: tip,
        locator: vec![tip.hash],
    }))
}

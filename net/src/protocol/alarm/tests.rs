use std::sync::LazyLock;

use chain::block::CheckedBlock;
use chain::ledger::{self, PeerId};
use chain::mempool::{DropReason, Refusal};
use chain::tx::CheckedTransaction;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::protocol::fixture::*;
use crate::protocol::{AddressBook, Config, Direction, Input, Output, Reason, Timing, Work};
use crate::wire::{CompactBlock, Message};

#[test]
fn it_rings_at_the_earliest_of_all_times() {
    let mut alarm = Alarm::default();
    assert!(!alarm.is_due(Millis(u64::MAX)));
    [7, 5, 6].into_iter().for_each(|at| alarm.set(Millis(at)));
    alarm.set(None);
    assert_eq!(alarm.wake_at(), Some(Millis(5)));
    assert!(!alarm.is_due(Millis(4)) && alarm.is_due(Millis(5)) && alarm.is_due(Millis(9)));
    alarm.reset(Some(Millis(8)));
    assert_eq!(alarm.wake_at(), Some(Millis(8)));
}

static TRANSACTIONS: LazyLock<Vec<CheckedTransaction>> = LazyLock::new(|| transactions(60));
static BLOCKS: LazyLock<Vec<CheckedBlock>> = LazyLock::new(|| blocks(20, &TRANSACTIONS[40..]));

/// A node among peers that do as the numbers say; the bench looks after its alarms.
struct World {
    bench: Bench,
    /// Connected, but without a hello.
    silent: Vec<PeerId>,
    peers: Vec<PeerId>,
    dialled: Vec<std::net::SocketAddr>,
    /// What others would say next to what they were asked.
    answers: Vec<Input>,
}

impl World {
    fn new(block_stall_ms: u64) -> World {
        let mut book = AddressBook::default();
        for number in 1..=40 {
            let address = ([100, number, 0, 1], 7400).into();
            book.heard(address, address.ip(), START.0 / 1000, START);
        }
        let timing = Timing { block_stall_ms, block_stall_max_ms: 200_000, ..Timing::default() };
        let config = Config { outbound_slots: 3, inbound_slots: 6, timing, ..Config::new(node(0)) };
        let bench = Bench::with_book(config, book);
        let (silent, peers, dialled, answers) = Default::default();
        let mut world = World { bench, silent, peers, dialled, answers };
        world.input(Input::Ledger(started()));
        world
    }

    fn input(&mut self, input: Input) {
        let outputs = self.bench.input(input);
        self.note(outputs);
    }

    fn say(&mut self, peer: PeerId, message: Message) {
        self.input(Input::Message { peer, message });
    }

    fn connect(&mut self, direction: Direction, number: u8, address: std::net::SocketAddr) {
        let (peer, outputs) = self.bench.connect(direction, node(number), address);
        self.silent.push(peer);
        self.note(outputs);
    }

    fn note(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send { peer, message } => self.asked(peer, message),
                Output::Disconnect { peer, .. } => self.lose(peer),
                Output::Connect(address) => self.dialled.push(address),
                Output::Work(Work::Headers { from, headers }) => {
                    let last = BLOCKS.iter().find(|block| Some(block.header()) == headers.last());
                    self.answers.push(Input::Ledger(accepted(from, last.unwrap())));
                }
                Output::Work(Work::Announced { from, header }) => {
                    let block = BLOCKS.iter().find(|block| *block.header() == header);
                    self.answers.push(Input::Ledger(accepted(from, block.unwrap())));
                }
                _ => {}
            }
        }
    }

    fn lose(&mut self, peer: PeerId) {
        self.silent.retain(|other| *other != peer);
        self.peers.retain(|other| *other != peer);
    }

    /// Thinks of answers to a question.
    fn asked(&mut self, peer: PeerId, message: Message) {
        let count = self.answers.len();
        let answers = match message {
            Message::Ping(nonce) => vec![Message::Pong(nonce)],
            Message::GetHeaders { .. } => vec![Message::Headers(headers(&BLOCKS[..count % 20]))],
            Message::GetBlocks { hashes } => {
                let answer = |hash| match BLOCKS.iter().find(|block| block.hash() == hash) {
                    Some(block) if hash.0[5] % 4 != 0 => Message::Block(block.bytes().to_vec()),
                    _ => Message::NotFound { hashes: vec![hash] },
                };
                hashes.into_iter().map(answer).collect()
            }
            Message::GetCompactBlock { hash } if count.is_multiple_of(2) => {
                let block = BLOCKS.iter().find(|block| block.hash() == hash).unwrap();
                vec![Message::CompactBlock(CompactBlock::of(block, 5))]
            }
            Message::GetCompactBlock { hash } => vec![Message::NotFound { hashes: vec![hash] }],
            Message::GetTransactions { txids } => {
                let is_asked = |tx: &&CheckedTransaction| txids.contains(&tx.txid());
                let list = TRANSACTIONS.iter().filter(is_asked).map(|tx| tx.bytes().to_vec());
                let mut list: Vec<_> = list.collect();
                list.truncate(1 + count % 8);
                vec![Message::Transactions(list)]
            }
            _ => Vec::new(),
        };
        let inputs = answers.into_iter().map(|message| Input::Message { peer, message });
        self.answers.extend(inputs);
    }

    /// Does one of the things that can happen; the other numbers say with whom and how much.
    fn step(&mut self, (what, who, much): (u8, u8, u16)) {
        let some = usize::from(much);
        let peer = match self.peers.len() {
            0 => PeerId(0),
            count => self.peers[usize::from(who) % count],
        };
        let transaction = &TRANSACTIONS[some % 40];
        match what {
            0 => self.connect(Direction::Inbound, who % 16, address(who % 16, much)),
            1 => {
                if let Some(address) = self.dialled.pop() {
                    self.connect(Direction::Outbound, who % 16, address);
                }
            }
            2 | 3 => {
                if let Some(peer) = self.silent.pop() {
                    self.peers.push(peer);
                    self.say(peer, hello(u32::from(who % 20)));
                }
            }
            4 => {
                let reason = Reason::Io("reset".to_string());
                self.lose(peer);
                self.input(Input::Disconnected { peer, reason });
            }
            5 => match self.dialled.pop() {
                Some(address) => {
                    let reason = Reason::Io("refused".to_string());
                    self.input(Input::ConnectFailed { address, reason });
                }
                None => self.input(Input::AddPeer(address(who, 7400))),
            },
            6..=9 => {
                if !self.answers.is_empty() {
                    let answer = self.answers.swap_remove(some % self.answers.len());
                    self.input(answer);
                }
            }
            10 | 11 => {
                let txids = TRANSACTIONS[some % 40..].iter().map(|tx| tx.txid()).collect();
                self.say(peer, Message::AnnounceTransactions { txids });
            }
            12 => {
                let (transaction, from) = (transaction.clone(), Some(peer));
                let pooled = ledger::Output::Pooled { transaction, from, reverted: false };
                self.input(Input::Ledger(pooled));
            }
            13 => {
                let (txid, refusal) = (transaction.txid(), Refusal::Known);
                for _ in 0..who {
                    let refused =
                        ledger::Output::Refused { from: peer, txid, refusal: refusal.clone() };
                    self.input(Input::Ledger(refused));
                }
            }
            14 => {
                let (txid, reason) = (transaction.txid(), DropReason::Expired);
                self.input(Input::Ledger(ledger::Output::Dropped { txid, reason }));
            }
            15 | 16 => self.input(Input::Ledger(wanted(&BLOCKS[some % 20..]))),
            17 => self.input(Input::Ledger(connected(&BLOCKS[..=some % 20]))),
            18 => self.say(peer, Message::AnnounceBlock(*BLOCKS[some % 20].header())),
            19 => self
                .say(peer, Message::GetTransactions { txids: vec![transaction.txid(); some % 50] }),
            20 => self.say(peer, Message::GetCompactBlock { hash: BLOCKS[some % 20].hash() }),
            21 => self.say(peer, Message::BodiesFrom { height: u32::from(who % 8) }),
            22 => self.input(Input::Backlogged { peer }),
            23 => self.input(Input::Drained { peer }),
            24 => {
                self.bench.now = self.bench.now + u64::from(much);
                self.input(Input::Tick);
            }
            _ => {
                let at = self.bench.protocol.wake_at();
                self.bench.now = self.bench.now.max(at.unwrap_or_default());
                self.input(Input::Tick);
            }
        }
    }
}

proptest! {
    #[test]
    fn nothing_is_slept_through(
        steps in vec((0..40_u8, any::<u8>(), any::<u16>()), 1..400),
        block_stall_ms in prop_oneof![Just(2_000_u64), Just(200_000)],
    ) {
        let mut world = World::new(block_stall_ms);
        steps.into_iter().for_each(|step| world.step(step));
    }
}

//! New blocks in compact form: whatever the form and the answers are, what is put together is the
//! block of the header, or nothing is.

use std::sync::Arc;

use chain::block::CheckedBlock;
use chain::ledger::{HeadersVerdict, Output as Said, PeerId, TipChange};
use chain::store::ChainPoint;
use net::wire::{CompactBlock, ShortId};
use net::{AddressBook, Config, Direction, Input, Message, NodeId, Output, Protocol, Work};
use tests::chains::verifier;

use super::draw::Draw;
use super::protocol::start;
use super::target::{Memory, Target};
use super::world::WORLD;

/// A protocol, the pool and one block.
pub(super) const TARGET: Target =
    Target { name: "compact", samples, run, memory: Memory { per_byte: 256, fixed: 192 * 1024 } };

const PEER: PeerId = PeerId(1);

fn samples() -> Vec<Vec<u8>> {
    // Which block, what is in the pool; changes of the form; changes of the answer.
    let mut samples = vec![vec![11, 0, 0, 0, 0], vec![11, 0xff, 0xff, 0, 0], vec![0, 0, 0, 0, 0]];
    for kind in 0..9 {
        samples.push(vec![11, 0x55, 0x05, 1, kind, 3, 1]);
        samples.push(vec![10, 0xa0, 0x0a, 0, 1, kind, 2, 1]);
    }
    samples
}

fn run(input: &[u8]) -> String {
    let mut draw = Draw::new(input);
    let block = draw.pick(&WORLD.chain);
    let here = draw.number(2);
    let mut bench = Bench::new(block, here);
    let mut form = CompactBlock::of(block, 5);
    let changes = draw.byte() % 4;
    (0..changes).for_each(|_| spoil_form(&mut form, &mut draw));
    let form_is_good = form == CompactBlock::of(block, 5);
    bench.input(Input::Message { peer: PEER, message: Message::CompactBlock(form) });
    bench.accept();
    let mut answer_is_good = true;
    if let Some(indexes) = bench.missing.take() {
        let list = indexes.iter().map(|at| block.transactions().get(usize::from(*at)));
        let good: Vec<Vec<u8>> = list.flatten().map(|item| item.bytes().to_vec()).collect();
        let mut list = good.clone();
        let changes = draw.byte() % 4;
        (0..changes).for_each(|_| spoil_answer(&mut list, &mut draw));
        answer_is_good = list == good;
        let message = Message::BlockTransactions { hash: block.hash(), list };
        bench.input(Input::Message { peer: PEER, message });
    }
    let word = match (bench.assembly.take(), bench.dropped) {
        (Some(assembly), false) => match verifier(&WORLD.network).judge_assembly(assembly) {
            Ok(rebuilt) => {
                assert_eq!(rebuilt.bytes(), block.bytes(), "another block was put together");
                return format!("rebuilt {form_is_good}");
            }
            Err(fault) => {
                assert!(fault.condemned.is_none(), "a good header is condemned: {fault:?}");
                "refused"
            }
        },
        (Some(_), true) => panic!("what a peer that broke a rule has sent is used"),
        (None, true) => "peer dropped",
        (None, false) => "given up",
    };
    assert!(!(form_is_good && answer_is_good), "a good form comes to nothing: {word}");
    word.to_string()
}

/// A protocol with one peer.
struct Bench<'a> {
    protocol: Protocol,
    block: &'a CheckedBlock,
    /// Places that were asked for.
    missing: Option<Vec<u16>>,
    assembly: Option<chain::block::Assembly>,
    dropped: bool,
}

impl Bench<'_> {
    /// The parent of the block is executed; so much of its transactions and of others is here.
    fn new(block: &CheckedBlock, here: u64) -> Bench<'_> {
        let config = Config::new(NodeId([99; 32]));
        let protocol = Protocol::new(config, AddressBook::default(), 1);
        let mut bench = Bench { protocol, block, missing: None, assembly: None, dropped: false };
        bench.input(Input::Ledger(Said::TipChanged(Arc::new(parent_of(block)))));
        let others = WORLD.loose.iter();
        for (at, transaction) in block.transactions().iter().chain(others).enumerate() {
            if here >> (at % 16) & 1 == 1 {
                let transaction = transaction.clone();
                let pooled = Said::Pooled { transaction, from: None, reverted: false };
                bench.input(Input::Ledger(pooled));
            }
        }
        bench.input(Input::Connected {
            peer: PEER,
            address: ([203, 0, 113, 1], 7400).into(),
            direction: Direction::Inbound,
            node_id: NodeId([1; 32]),
        });
        let message = WORLD.messages[0].clone();
        bench.input(Input::Message { peer: PEER, message });
        let message = Message::AnnounceBlock(*block.header());
        bench.input(Input::Message { peer: PEER, message });
        bench.accept();
        bench
    }

    /// The ledger takes the header and wants the body.
    fn accept(&mut self) {
        let (height, hash) = (self.block.coinbase().height, self.block.hash());
        let last = ChainPoint { height, hash };
        let verdict = HeadersVerdict::Accepted { new: 1, last, work: chain::Work::ZERO };
        self.input(Input::Ledger(Said::HeadersJudged { from: PEER, verdict }));
        self.input(Input::Ledger(Said::Wanted(vec![last])));
    }

    fn input(&mut self, input: Input) {
        self.protocol.handle(start(), input);
        while let Some(output) = self.protocol.poll() {
            match output {
                Output::Send { message: Message::GetBlockTransactions { indexes, .. }, .. } => {
                    self.missing = Some(indexes);
                }
                Output::Work(Work::Rebuilt { assembly, .. }) => self.assembly = Some(*assembly),
                Output::Disconnect { .. } => self.dropped = true,
                _ => {}
            }
        }
    }
}

/// The ledger's word that it has executed the block's parent.
fn parent_of(block: &CheckedBlock) -> TipChange {
    let hash = block.header().prev;
    let header = WORLD.find(&hash).map_or(WORLD.network.genesis().header, |found| *found.header());
    let tip = ChainPoint { height: block.coinbase().height - 1, hash };
    TipChange {
        reverted: Vec::new(),
        connected: Vec::new(),
        tip,
        header,
        work: chain::Work::ZERO,
        best_header: tip,
        locator: vec![hash],
    }
}

fn spoil_form(form: &mut CompactBlock, draw: &mut Draw<'_>) {
    let kind = draw.byte() % 9;
    let at = draw.below(form.ids.len() + 1);
    let other = draw.below(form.ids.len() + 1);
    let is_place = at < form.ids.len();
    match kind {
        0 if is_place => form.ids[at].0[0] ^= 1,
        1 => form.ids.insert(at, ShortId([draw.byte(); 6])),
        2 if is_place => drop(form.ids.remove(at)),
        3 if is_place && other < form.ids.len() => form.ids.swap(at, other),
        4 if is_place => form.ids.push(form.ids[at]),
        5 => form.salt ^= 1,
        6 => drop(form.coinbase.pop()),
        7 => {
            if let Some(byte) = form.coinbase.get_mut(at) {
                *byte ^= 1 << (draw.byte() % 8);
            }
        }
        _ => form.ids.truncate(at),
    }
}

fn spoil_answer(list: &mut Vec<Vec<u8>>, draw: &mut Draw<'_>) {
    let kind = draw.byte() % 7;
    let at = draw.below(list.len() + 1);
    let is_place = at < list.len();
    match kind {
        0 if is_place => drop(list.remove(at)),
        1 => list.insert(at, WORLD.loose[0].bytes().to_vec()),
        2 => list.reverse(),
        3 if is_place => drop(list[at].pop()),
        4 if is_place => list[at].push(0),
        5 if is_place => {
            list[at].iter_mut().take(1).for_each(|byte| *byte ^= 1 << (draw.byte() % 8));
        }
        _ => list.push(draw.bytes().to_vec()),
    }
}

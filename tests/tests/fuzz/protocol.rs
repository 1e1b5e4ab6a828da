//! The peer protocol as a whole, with a real verifier and a real ledger behind it: peers come,
//! go and say anything in any order, answers of the stages are late, time jumps ahead.
//!
//! Nothing panics, nobody hears anything after the connection has ended, every message that is
//! sent is within its cap, nothing stays due for ever, and what the node holds is bounded.

use std::net::SocketAddr;

use chain::ledger::PeerId;
use net::wire::message::kind_of;
use net::{Ban, Config, Direction, Input, Message, Millis, NodeId, Reason, Served};

use super::draw::{Draw, stretched};
use super::node::{INBOUND, Node, OUTBOUND};
use super::target::{Memory, Target};
use super::world::WORLD;

/// A ledger, the chain and the tables of recent things; then what some peers may make it keep.
pub(super) const TARGET: Target = Target {
    name: "protocol",
    samples,
    run,
    memory: Memory { per_byte: 1024, fixed: 1536 * 1024 },
};

/// Times that matter: a tick, a retry, a limit.
const PASSES_MS: [u64; 8] = [1, 120, 2_000, 5_000, 10_000, 20_000, 61_000, 130_000];
const DAY_MS: u64 = 24 * 3_600_000;
const FIXED: ([u8; 4], u16) = ([203, 0, 113, 200], 7400);

fn samples() -> Vec<Vec<u8>> {
    // A peer that brings the chain and answers; another that asks for all of it.
    let message = |find: fn(&Message) -> bool| {
        u8::try_from(WORLD.messages.iter().position(find).expect("it is there")).expect("few")
    };
    let hello = message(|m| matches!(m, Message::Hello(_)));
    let headers = message(|m| matches!(m, Message::Headers(list) if list.len() == 12));
    let branch = message(|m| matches!(m, Message::Headers(list) if list.len() == 7));
    let announced = message(|m| matches!(m, Message::AnnounceBlock(_)));
    let loose = message(|m| matches!(m, Message::AnnounceTransactions { .. })) + 1;
    let connect = |number: u8| [0, number, number, 3, number, hello];
    let answers = |peer: u8, count: usize| [[6, 7, 5, peer, 0]].repeat(count).concat();
    let mut samples = vec![
        [&[0][..], &connect(0), &[3, 0, headers, 6, 7], &answers(0, 20)].concat(),
        [&[0][..], &connect(0), &[3, 0, headers, 6, 7], &answers(0, 12), &connect(1)[..]].concat(),
        [&[1][..], &connect(0), &connect(1), &[3, 0, announced], &answers(0, 4)].concat(),
        [&[0][..], &connect(2), &[3, 0, branch], &answers(0, 8), &[3, 0, headers], &answers(0, 9)]
            .concat(),
        [&[2][..], &connect(0), &[3, 0, loose], &answers(0, 3), &connect(1), &answers(1, 3)]
            .concat(),
        [&[0][..], &connect(0), &connect(1), &connect(2), &connect(3), &connect(4)].concat(),
        [&[8, 1, 0, 0, 4, 2, 2, 1, 0, 0, 4, 6, 4, 7][..], &connect(9)].concat(),
    ];
    for at in 0..WORLD.messages.len() {
        let at = u8::try_from(at).expect("few");
        let first = [&[at % 4][..], &connect(at % 7), &[3, 0, headers], &answers(0, 9)].concat();
        samples.push([&first[..], &[3, 0, at, 6, 2, 1, 5, 0, 1, 4, 2]].concat());
    }
    samples.extend((0..6).map(|seed| stretched(&[seed])));
    samples
}

fn run(input: &[u8]) -> String {
    let mut draw = Draw::new(input);
    let options = draw.byte();
    let mut config = Config::new(NodeId([99; 32]));
    (config.listen_port, config.inbound_slots) = (Some(7400), INBOUND);
    config.outbound_slots = OUTBOUND;
    config.exclusive = options % 8 == 7;
    if options % 4 == 3 {
        config.peers.push(SocketAddr::from(FIXED));
    }
    let mut node = Node::new(&WORLD, config, u64::from(options));
    while !draw.is_empty() {
        step(&mut node, &mut draw);
        node.check();
    }
    node.run_stages(usize::MAX);
    node.pass(200_000);
    node.check();
    node.word()
}

fn step(node: &mut Node, draw: &mut Draw<'_>) {
    match draw.byte() % 16 {
        0 => {
            let (number, who) = (draw.byte() % 16, draw.byte());
            let node_id = NodeId([if who == 255 { 99 } else { who % 16 + 1 }; 32]);
            node.connect(Direction::Inbound, address(number), node_id);
        }
        1 => node.dialled(draw.byte()),
        2 => {
            let Some(peer) = peer(node, draw) else { return };
            node.gone(peer);
        }
        4 => node.pass(*draw.pick(&PASSES_MS)),
        10 => node.sleep(DAY_MS),
        5 => {
            let Some(peer) = peer(node, draw) else { return };
            node.answer(peer, draw.byte());
        }
        6 => node.run_stages(draw.below(8)),
        7 => {
            let Some(peer) = peer(node, draw) else { return };
            let is_full = draw.one_in(2);
            node.input(if is_full { Input::Backlogged { peer } } else { Input::Drained { peer } });
        }
        8 => unasked(node, draw),
        9 => {
            let Some(peer) = peer(node, draw) else { return };
            let kind = kind_of(draw.byte() % 19 + 1).expect("there are 19");
            if let Ok(message) = Message::decode_body(kind, draw.bytes().to_vec()) {
                node.input(Input::Message { peer, message });
            }
        }
        _ => {
            let Some(peer) = peer(node, draw) else { return };
            let message = draw.pick(&WORLD.messages).clone();
            node.input(Input::Message { peer, message });
        }
    }
}

/// What drivers and stages say though nobody asked, or not any more.
fn unasked(node: &mut Node, draw: &mut Draw<'_>) {
    let from = PeerId(u64::from(draw.byte() % 8));
    let block = *draw.pick(&WORLD.blocks().collect::<Vec<_>>());
    let hash = block.hash();
    let until = node.now + 60_000;
    let subnet = "203.0.113.0/29".parse().expect("a subnet");
    let input = match draw.byte() % 10 {
        0 => Input::AddPeer(address(draw.byte() % 16)),
        1 => Input::Bans(vec![Ban { subnet, until }]),
        2 => Input::Bans(Vec::new()),
        3 => Input::NotRebuilt { hash },
        4 => Input::Rebuilt { peer: from, block: block.clone() },
        5 => Input::Served { peer: from, served: Served::Block { hash, bytes: None } },
        6 => Input::Served { peer: from, served: Served::Headers(Vec::new()) },
        7 => Input::ConnectFailed { address: address(draw.byte()), reason: Reason::Closed },
        8 => Input::BadPayload { peer: from, what: "nothing good".to_string() },
        _ => Input::Disconnected { peer: from, reason: Reason::NotReading },
    };
    if let Input::Disconnected { peer, .. } = input {
        return node.gone(peer);
    }
    if let Input::ConnectFailed { address, .. } = &input {
        node.gives_up_dialling(address);
    }
    // A block that is put together goes to the ledger besides.
    let relayed = matches!(input, Input::Rebuilt { .. }).then(|| block.clone());
    node.input(input);
    if let Some(block) = relayed {
        node.feed(chain::ledger::Input::Relayed { block });
    }
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, number], [7400, 50_000][usize::from(number % 2)]))
}

fn peer(node: &Node, draw: &mut Draw<'_>) -> Option<PeerId> {
    let peers: Vec<PeerId> = node.peers().collect();
    (!peers.is_empty()).then(|| *draw.pick(&peers))
}

/// When everything begins: all blocks' times have passed.
pub(super) fn start() -> Millis {
    Millis(tests::chains::clock(&WORLD.network, 60).unix_ms)
}

//! Many nodes with real ledgers, and time that passes in a queue: how soon a block is everywhere,
//! and what it costs.

use std::collections::BTreeMap;
use std::sync::Arc;

use chain::execute::Delta;
use chain::ledger::{Ledger, LedgerOptions, RequestId, Source, Time};
use chain::mempool::PoolLimits;
use chain::rules::isolation::{check_headers, checked_genesis};
use chain::store::MemoryStore;
use rand::SeedableRng;

use super::*;
use crate::protocol::port::Served;
use crate::protocol::{AddressBook, Config, Direction, Protocol};
use crate::wire::codec;

const NODES: usize = 200;
const DIALS: usize = 8;
const TRANSACTIONS: u64 = 400;
/// Mean time of one way, and of the work on one message, in milliseconds.
const ONE_WAY_MS: u64 = 100;
const WORK_MS: u64 = 5;
/// Longer than a test lasts.
const LONG_MS: u64 = 1_000_000_000;

/// What a node received.
#[derive(Clone, Copy, Debug, Default)]
struct Bill {
    bytes: u64,
    compact: u64,
    whole: u64,
    transactions: u64,
    relayed: u64,
}

struct Member {
    protocol: Protocol,
    ledger: Ledger<MemoryStore>,
    /// The other end of each connection: node, name there, milliseconds.
    links: BTreeMap<PeerId, (usize, PeerId, u64)>,
    bill: Bill,
    done: Option<Millis>,
}

struct Net {
    nodes: Vec<Member>,
    now: Millis,
    /// By time, then in the order of happening.
    events: BTreeMap<(Millis, u64), (usize, Input)>,
    next: u64,
}

impl Net {
    fn new(rng: &mut StdRng) -> Net {
        let nodes = (0..NODES).map(|number| member(u64::try_from(number).unwrap())).collect();
        let mut net = Net { nodes, now: START, events: BTreeMap::new(), next: 0 };
        for node in 0..NODES {
            net.drive(node, Input::Ledger(started()));
        }
        let mut names = 0;
        for (node, _) in (0..NODES).flat_map(|node| [node; DIALS].into_iter().zip(0..)) {
            let other = rng.random_range(0..NODES);
            let is_linked = net.nodes[node].links.values().any(|link| link.0 == other);
            if other != node && !is_linked {
                names += 2;
                let one_way = rng.random_range(ONE_WAY_MS / 2..=ONE_WAY_MS * 3 / 2);
                net.link(node, other, names, one_way);
            }
        }
        net.run(5_000);
        net
    }

    fn link(&mut self, from: usize, to: usize, name: u64, one_way: u64) {
        let ends = [(from, PeerId(name), Direction::Outbound, to, PeerId(name + 1))];
        let back = [(to, PeerId(name + 1), Direction::Inbound, from, PeerId(name))];
        for (node, peer, direction, other, there) in ends.into_iter().chain(back) {
            self.nodes[node].links.insert(peer, (other, there, one_way));
            let (node_id, address) = (key(other), address(1, 1));
            self.later(0, node, Input::Connected { peer, address, direction, node_id });
        }
    }

    fn later(&mut self, ms: u64, node: usize, input: Input) {
        self.next += 1;
        self.events.insert((self.now + ms, self.next), (node, input));
    }

    fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(next) = self.events.first_entry().filter(|next| next.key().0 <= end) {
            let ((at, _), (node, input)) = next.remove_entry();
            self.now = at;
            self.drive(node, input);
        }
        self.now = end;
    }

    fn drive(&mut self, node: usize, input: Input) {
        if let Input::Message { message, .. } = &input {
            self.nodes[node].bill.add(message);
        }
        let before = self.nodes[node].protocol.wake_at();
        self.nodes[node].protocol.handle(self.now, input);
        check_alarms(&self.nodes[node].protocol);
        while let Some(output) = self.nodes[node].protocol.poll() {
            match output {
                Output::Send { peer, message } => {
                    let (other, peer, one_way) = self.nodes[node].links[&peer];
                    self.later(one_way, other, Input::Message { peer, message });
                }
                Output::Work(work) => self.work(node, work),
                Output::Disconnect { reason, .. } => panic!("dropped for {reason}"),
                Output::Connect(_)
                | Output::SaveBook(_)
                | Output::Peers(_)
                | Output::Rest { .. } => {}
            }
        }
        let after = self.nodes[node].protocol.wake_at();
        if let Some(at) = after.filter(|at| after != before || *at <= self.now) {
            self.later((at - self.now).max(1), node, Input::Tick);
        }
    }

    /// The stages behind the reactor.
    fn work(&mut self, node: usize, work: Work) {
        let input = match work {
            Work::Announced { from, header } => {
                let header = check_headers(&network(), &[header]).unwrap().remove(0);
                ledger::Input::Announced { from, header }
            }
            Work::Headers { from, headers } => ledger::Input::Headers {
                from,
                headers: check_headers(&network(), &headers).unwrap(),
            },
            Work::Rebuilt { from: peer, assembly } => {
                let block = verifier().judge_assembly(*assembly).unwrap();
                self.later(WORK_MS, node, Input::Rebuilt { peer, block: block.clone() });
                ledger::Input::Relayed { block }
            }
            Work::Gone { peer } => ledger::Input::PeerGone { peer },
            Work::Block { from, bytes, .. } => {
                ledger::Input::Block { from, block: verifier().block(bytes).unwrap() }
            }
            Work::Transactions { from, list } => {
                for transaction in verifier().transactions(&list) {
                    let (source, transaction) = (Source::Peer(from), transaction.unwrap());
                    self.tell_ledger(node, ledger::Input::Transaction { source, transaction });
                }
                return;
            }
            Work::ServeHeaders { to, .. } => {
                let served = Served::Headers(Vec::new());
                return self.later(WORK_MS, node, Input::Served { peer: to, served });
            }
            work => panic!("nobody asks for {work:?} here"),
        };
        self.tell_ledger(node, input);
    }

    fn tell_ledger(&mut self, node: usize, input: ledger::Input) {
        let now = Time { unix_ms: self.now.0 };
        self.nodes[node].ledger.handle(now, input).unwrap();
        while let Some(output) = self.nodes[node].ledger.poll() {
            if matches!(&output, ledger::Output::TipChanged(change) if !change.connected.is_empty())
            {
                self.nodes[node].done.get_or_insert(self.now);
            }
            self.later(WORK_MS, node, Input::Ledger(output));
        }
    }
}

impl Bill {
    fn add(&mut self, message: &Message) {
        self.bytes += codec::encode(message).len() as u64;
        match message {
            Message::CompactBlock(_) => self.compact += 1,
            Message::Block(_) => self.whole += 1,
            Message::Transactions(list) => self.relayed += list.len() as u64,
            Message::BlockTransactions { list, .. } => self.transactions += list.len() as u64,
            _ => {}
        }
    }
}

fn key(number: usize) -> crate::NodeId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    crate::NodeId(bytes)
}

fn member(number: u64) -> Member {
    let network = network();
    let store = MemoryStore::new(&checked_genesis(&network), &Delta::default());
    let pool = PoolLimits::default();
    let machine = Arc::new(Nothing);
    let options = LedgerOptions {
        network,
        machine,
        key: None,
        payee: None,
        extranonce_start: 0,
        pool,
        pruning: None,
        secret: [0; 32],
    };
    let now = Time { unix_ms: START.0 };
    let config = Config { outbound_slots: 0, ..Config::new(key(usize::try_from(number).unwrap())) };
    Member {
        protocol: Protocol::new(config, AddressBook::default(), number),
        ledger: Ledger::open(options, store, now, &mut |_| ()).unwrap(),
        links: BTreeMap::new(),
        bill: Bill::default(),
        done: None,
    }
}

#[test]
fn a_block_reaches_everybody_soon_and_costs_each_little_more_than_what_it_lacks() {
    let mut rng = StdRng::seed_from_u64(7);
    let list = transactions(TRANSACTIONS);
    let block = blocks(1, &list).remove(0);
    let mut net = Net::new(&mut rng);
    let (mut lacking, timing) = (vec![0; NODES], Timing::default());
    // Announced long after, so that nobody tells the others before the block comes.
    for (node, lacking) in net.nodes.iter_mut().zip(&mut lacking).skip(1) {
        for transaction in &list {
            if rng.random_range(0..20) == 0 {
                *lacking += transaction.bytes().len() as u64;
                continue;
            }
            node.protocol.relay.pooled(
                transaction.clone(),
                net.now,
                &Timing { announce_inbound_ms: LONG_MS, announce_outbound_ms: LONG_MS, ..timing },
                &mut rng,
            );
        }
    }
    net.nodes.iter_mut().for_each(|node| (node.bill, node.done) = (Bill::default(), None));
    let start = net.now;
    net.tell_ledger(0, ledger::Input::Block { from: PeerId(0), block: block.clone() });
    net.run(10_000);

    let mut times: Vec<u64> = net.nodes.iter().map(|node| node.done.unwrap() - start).collect();
    times.sort_unstable();
    let compact_bytes = codec::encode(&compact(&block)).len() as u64;
    for (node, lacking) in net.nodes.iter().zip(lacking).skip(1) {
        let Bill { bytes, compact, whole, transactions, .. } = node.bill;
        assert_eq!((compact, whole), (1, 0), "one compact form, and no whole block");
        assert!(transactions < 60, "{transactions} transactions of {TRANSACTIONS}");
        // Announcements and headers of some thirty neighbours besides.
        let limit = lacking * 115 / 100 + compact_bytes + 8_000;
        assert!(bytes <= limit, "{bytes} bytes for {lacking} that were missing, limit {limit}");
    }
    let (most, last) = (times[NODES * 95 / 100], times[NODES - 1]);
    assert!(most <= 12 * ONE_WAY_MS, "95 % after {most} ms, all after {last} ms");
}

#[test]
fn a_transaction_reaches_everybody_soon_and_once() {
    let list = transactions(20);
    let mut net = Net::new(&mut StdRng::seed_from_u64(8));
    for transaction in &list {
        let source = Source::Client(RequestId(1));
        let input = ledger::Input::Transaction { source, transaction: transaction.clone() };
        net.tell_ledger(0, input);
        net.run(20);
    }
    net.run(3_000);
    assert!(net.nodes.iter().all(|node| node.ledger.pool().len() == list.len()));
    let relayed: u64 = net.nodes.iter().map(|node| node.bill.relayed).sum();
    let needed = (list.len() * (NODES - 1)) as u64;
    assert!((needed..=needed * 105 / 100).contains(&relayed), "{relayed} for {needed}");
}

/// The peer sent its block unasked while our question for it was on its way.
#[test]
fn a_compact_form_that_comes_twice_leaves_the_transactions_owed() {
    let list = transactions(20);
    let block = blocks(1, &list).remove(0);
    let (mut bench, peers) = bench(1, &list[1..]);
    announce(&mut bench, peers[0], &block);
    let outputs = bench.say(peers[0], compact(&block));
    assert_eq!(to(peers[0], &outputs), [ask_for(&block, &[0])]);
    bench.say(peers[0], compact(&block));
    let outputs = bench.say(peers[0], parts(&block, &[0]));
    assert_eq!(dropped(peers[0], &outputs), None);
    assert_eq!(judge(&outputs).unwrap().bytes(), block.bytes());
}

//! Broadcasts of the real node, measured: nodes find each other by gossip, then one makes a block,
//! or clients hand in transactions.
//!
//! Whose transactions a node has when a block comes is drawn, and they are placed in its pool by
//! hand; that they are not announced after that is all that is not as usual.

use chain::Hash;
use chain::ledger::{Input, Mined, PeerId, RequestId, Source};
use chain::sha256d;
use chain::tx::{CheckedTransaction, SigningKey};
use kv::{Expect, Operation};

use super::disk::Crash;
use super::events::Ms;
use super::faults::Faults;
use super::lines::Lines;
use super::meter::Meter;
use super::{MINUTE_MS, OUTBOUND_SLOTS, Options, Simulation};
use crate::broadcast::{Load, Outcome, Overlay, Plan, Question, Spread, lacking};
use crate::chains::{solve, unsigned};

/// Nodes that start at once have found each other after a few minutes; nobody waits longer.
const SETTLE_LIMIT_MS: Ms = 20 * MINUTE_MS;
/// Until a template has what the pool has.
const TEMPLATE_MS: Ms = 1_100;
/// A broadcast has come as far as it ever will, or costs all that it will.
const BROADCAST_LIMIT_MS: Ms = 60_000;
const AFTERMATH_MS: Ms = 5_000;
/// Whoever this is, it is no peer.
const NOBODY: PeerId = PeerId(u64::MAX);

impl Simulation {
    /// Nodes that have found each other.
    fn settled(question: &Question) -> Simulation {
        let options =
            Options { faults: Faults::none(), ..Options::new(question.seed, question.nodes, 0) };
        let mut simulation = Simulation::assemble(options);
        let Question { seed, nodes, slow_lines, slow_start, .. } = *question;
        let lines = Lines::new(nodes, seed, slow_lines, slow_start);
        simulation.entries = question.entries;
        simulation.net.rates = lines.rates();
        simulation.net.lines = Some(lines);
        let of_blocks = matches!(question.load, Load::Block { .. });
        simulation.meter = Some(Meter::new(question.nodes, of_blocks));
        if of_blocks {
            // Nothing is announced but blocks, so what waits for it need not be written down.
            let never_ms = 24 * 60 * MINUTE_MS;
            simulation.timing.announce_outbound_ms = never_ms;
            simulation.timing.announce_inbound_ms = never_ms;
            let maker = Plan::new(question).sent[0].1;
            simulation.nodes[maker].share = 1.0;
        }
        for node in 0..question.nodes {
            simulation.start(node);
            simulation.settle();
        }
        let slots = OUTBOUND_SLOTS.min(question.nodes / 2);
        while simulation.nodes.iter().any(|site| site.outbound() < slots) {
            assert!(simulation.now < simulation.started + SETTLE_LIMIT_MS, "nodes stay alone");
            simulation.go_on(1_000);
        }
        // Everybody has said hello to everybody.
        simulation.go_on(10_000);
        simulation
    }

    fn go_on(&mut self, ms: Ms) {
        self.run_until(self.now + ms);
        assert_eq!(self.failure, None, "every check of the simulator holds");
    }

    fn overlay(&self) -> Overlay {
        let links = self
            .net
            .links
            .values()
            .filter(|link| link.ends.iter().all(|end| end.peer.is_some() && !end.closed));
        Overlay { links: links.map(|link| (link.ends[0].node, link.ends[1].node)).collect() }
    }

    /// The trouble begins.
    fn strike(&mut self, plan: &Plan) {
        self.meter_mut().run(plan.roles.clone());
        for node in &plan.crashed {
            self.end_node(*node, Crash::PowerCut);
        }
    }

    fn meter_mut(&mut self) -> &mut Meter {
        self.meter.as_mut().expect("broadcasts are measured")
    }

    fn when_had(&mut self, hash: &Hash, since: Ms, plan: &Plan) -> Spread {
        let had = self.meter_mut().who_has(hash).iter().filter(|(node, _)| plan.counts(*node));
        let mut times_ms: Vec<u64> = had.map(|(_, at)| at - since).collect();
        times_ms.sort_unstable();
        Spread { times_ms, wanted: plan.counted() }
    }

    /// Transactions of one size, each of an account of its own.
    fn make(&mut self, count: usize, bytes: usize) -> Vec<CheckedTransaction> {
        let genesis = self.network.genesis_hash();
        let make = |number: usize| {
            let seed = [self.options.seed.to_le_bytes(), (number as u64).to_le_bytes()].concat();
            let signer = SigningKey::from(sha256d(&seed).0);
            let key = format!("broadcast-{number:06}");
            let with = |length: usize| {
                let (key, value) = (key.as_bytes(), vec![7; length]);
                let put = Operation::Put { key, value: &value, expect: Expect::Any, policy: None };
                unsigned(&signer, 0, &[put])
            };
            // Lengths take one byte more above 127, twice.
            let length = bytes.saturating_sub(with(0).signed_len());
            let length = (length.saturating_sub(2)..=length).rev();
            let mut fitting = length.map(with).filter(|made| made.signed_len() <= bytes);
            fitting.next().unwrap_or_else(|| with(0)).sign(&signer, &genesis).bytes().to_vec()
        };
        let made: Vec<Vec<u8>> = (0..count).map(make).collect();
        let check = |bytes| self.verified.transaction(bytes).expect("a valid transaction");
        made.into_iter().map(check).collect()
    }

    /// Puts transactions where they are when the block is found. Returns what each node lacks, in
    /// bytes.
    fn fill_pools(
        &mut self,
        question: &Question,
        maker: usize,
        all: &[CheckedTransaction],
    ) -> Vec<u64> {
        let mut missing = vec![0; question.nodes];
        for (node, missing) in missing.iter_mut().enumerate() {
            let lacks = if node == maker { Default::default() } else { lacking(question, node) };
            for (place, transaction) in all.iter().enumerate() {
                if lacks.contains(&place) {
                    *missing += transaction.bytes().len() as u64;
                } else {
                    let (source, transaction) = (Source::Peer(NOBODY), transaction.clone());
                    self.feed(node, Input::Transaction { source, transaction });
                }
            }
            self.settle();
        }
        missing
    }

    /// A miner finds a block with all that its pool has.
    fn find(&mut self, maker: usize) -> Hash {
        let template = self.live(maker).template.clone().expect("the maker mines");
        let (solution, payee) = (solve(template.job()), template.payee());
        self.feed(maker, Input::Mined(Mined { template, payee, solution }));
        self.settle();
        self.nodes[maker].tip
    }

    fn broadcast_block(&mut self, question: &Question, plan: &Plan) -> Outcome {
        let Load::Block { bytes, transaction_bytes, .. } = question.load else {
            unreachable!("called for blocks only")
        };
        let maker = plan.sent[0].1;
        let all = self.make(bytes / transaction_bytes, transaction_bytes);
        let missing = self.fill_pools(question, maker, &all);
        self.go_on(TEMPLATE_MS);
        self.strike(plan);
        let since = self.now;
        let hash = self.find(maker);
        let count = self.live(maker).ledger.pool().len();
        assert_eq!(count, 0, "the block has everything");
        while self.now < since + BROADCAST_LIMIT_MS
            && self.when_had(&hash, since, plan).times_ms.len() < plan.counted()
        {
            self.go_on(100);
        }
        self.go_on(AFTERMATH_MS);
        let spread = self.when_had(&hash, since, plan);
        let others = (0..question.nodes).filter(|node| plan.counts(*node) && *node != maker);
        let meter = self.meter_mut();
        let costs = others.map(|node| {
            let mut cost = meter.cost(node);
            cost.missing = missing[node];
            cost
        });
        Outcome { costs: costs.collect(), spreads: vec![spread] }
    }

    fn broadcast_transactions(&mut self, question: &Question, plan: &Plan) -> Outcome {
        let Load::Transactions { count, bytes, .. } = question.load else {
            unreachable!("called for transactions only")
        };
        let all = self.make(count, bytes);
        self.strike(plan);
        let since = self.now;
        for ((at, node), transaction) in plan.sent.iter().zip(&all) {
            self.go_on((since + at).saturating_sub(self.now));
            let source = Source::Client(RequestId(*at));
            self.feed(*node, Input::Transaction { source, transaction: transaction.clone() });
            self.settle();
        }
        self.go_on(BROADCAST_LIMIT_MS);
        let spreads = plan
            .sent
            .iter()
            .zip(&all)
            .map(|((at, _), transaction)| self.when_had(&transaction.txid(), since + at, plan));
        let spreads = spreads.collect();
        let nodes = (0..question.nodes).filter(|node| plan.counts(*node));
        let meter = self.meter_mut();
        Outcome { spreads, costs: nodes.map(|node| meter.cost(node)).collect() }
    }
}

impl super::Site {
    /// Connections that it opened and that are up.
    fn outbound(&self) -> usize {
        let Some(live) = &self.live else { return 0 };
        live.links.values().filter(|(_, side)| *side == 0).count()
    }
}

/// Measures the real node. Returns who was connected to whom as well.
///
/// # Panics
/// When a check of the simulator fails.
pub fn measure(question: &Question) -> (Outcome, Overlay) {
    let plan = Plan::new(question);
    let mut simulation = Simulation::settled(question);
    let overlay = simulation.overlay();
    let outcome = match question.load {
        Load::Block { .. } => simulation.broadcast_block(question, &plan),
        Load::Transactions { .. } => simulation.broadcast_transactions(question, &plan),
    };
    (outcome, overlay)
}

/// Who is connected to whom when nodes have found each other.
///
/// # Panics
/// When a check of the simulator fails.
pub fn overlay(question: &Question) -> Overlay {
    Simulation::settled(question).overlay()
}

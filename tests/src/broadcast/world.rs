//! Where the other ways are tried: nodes that know nothing but their peers, on the connections that
//! real nodes have made, with the lines of the simulator.
//!
//! A payload that comes in is looked at for as long as real nodes do, then it is there and goes on.
//! Of a block in compact form, what is missing is fetched from who sent the form; if it does not
//! come, from the next one that did.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::plumtree::{Plumtree, Timer};
use super::say::{BLOCK_HEAD_BYTES, HEAD_BYTES, Id, SHORT_ID_BYTES, Say, Wish};
use super::{Cost, How, Load, Outcome, Plan, Question, Role, Spread, lacking};
use crate::sim::lines::{Flight, Lines, on_line};

/// How long a node looks at a payload before it goes on, in microseconds, as in the simulator.
const LOOK_US: std::ops::RangeInclusive<u64> = 1_000..=10_000;
/// What is missing of a block is asked of somebody else after so long, as in the node.
const FETCH_US: u64 = 2_000_000;
/// Payloads that make the tree before anything is measured, and the time between them.
const WARM_UP: u64 = 30;
const WARM_UP_EVERY_US: u64 = 3_000_000;
/// How long a broadcast is watched.
const WATCHED_US: u64 = 60_000_000;

/// Who is connected to whom: who dialled, who was dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// All connections.
    pub links: Vec<(usize, usize)>,
}

/// What happens.
#[derive(Debug)]
enum Event {
    Send(Id),
    Strike,
    /// On its way: from, to, what, how long a frame.
    Reach((usize, usize, Say, usize), Flight),
    Arrive((usize, usize, Say, usize)),
    /// A node has looked at a payload.
    Looked {
        node: usize,
        id: Id,
    },
    /// What is missing of it may be asked of somebody else.
    Overdue {
        node: usize,
        id: Id,
        tries: u32,
    },
    Timer {
        node: usize,
        timer: Timer,
    },
}

/// What a node knows of a payload.
#[derive(Debug, Default)]
struct Known {
    /// Who sent it, in compact form or whole, and was not asked for the rest.
    senders: VecDeque<usize>,
    /// Whom it asked for the rest.
    asked: Option<usize>,
    tries: u32,
    /// How many nodes it has passed on the way here.
    round: u8,
    from: Option<usize>,
    complete: bool,
    had_us: Option<u64>,
}

/// The way of one node.
#[derive(Debug)]
enum Way {
    Flood,
    Plumtree(Box<Plumtree>),
}

#[derive(Debug)]
struct Node {
    role: Role,
    is_up: bool,
    peers: Vec<usize>,
    way: Way,
    known: BTreeMap<Id, Known>,
    /// How many transactions of a block it lacks, and their bytes.
    lacks: usize,
    missing: usize,
    cost: Cost,
}

struct World {
    now_us: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    scheduled: u64,
    nodes: Vec<Node>,
    lines: Lines,
    draw: StdRng,
    /// What a payload takes, whole or in compact form.
    form_bytes: usize,
    is_compact: bool,
    /// Payloads before this one are not measured.
    first: Id,
    origins: Vec<usize>,
    measures: bool,
    medians: BTreeMap<(usize, usize), u64>,
}

/// Asks another way than the real one the same question, on the same connections.
///
/// # Panics
/// When it is asked for the real one.
pub fn run(question: &Question, how: How, overlay: &Overlay) -> Outcome {
    let plan = Plan::new(question);
    let mut world = World::new(question, how, overlay);
    let warm_up = if how == How::Plumtree { WARM_UP } else { 0 };
    world.first = Id::try_from(warm_up).expect("a few");
    for number in 0..warm_up {
        let origin = world.draw.random_range(0..question.nodes);
        world.send_at(number * WARM_UP_EVERY_US, origin);
    }
    let begin_us = warm_up * WARM_UP_EVERY_US + WATCHED_US;
    world.push(begin_us - 1, Event::Strike);
    plan.sent.iter().for_each(|(at, node)| world.send_at(begin_us + at * 1000, *node));
    let last_us = plan.sent.last().map_or(0, |(at, _)| at * 1000);
    world.run_until(begin_us + last_us + WATCHED_US, &plan);
    let spread = |number: usize| {
        let id = world.first + Id::try_from(number).expect("few payloads");
        let since_us = begin_us + plan.sent[number].0 * 1000;
        let counted = world.nodes.iter().enumerate().filter(|(node, _)| plan.counts(*node));
        let had = counted.filter_map(|(_, node)| node.known.get(&id)?.had_us);
        let mut times_ms: Vec<u64> = had.map(|had| (had - since_us) / 1000).collect();
        times_ms.sort_unstable();
        Spread { times_ms, wanted: plan.counted() }
    };
    let is_block = matches!(question.load, Load::Block { .. });
    let maker = is_block.then_some(plan.sent[0].1);
    let others = |node: &usize| plan.counts(*node) && Some(*node) != maker;
    let costs = (0..question.nodes).filter(others).map(|node| world.nodes[node].cost.clone());
    Outcome { spreads: (0..plan.sent.len()).map(spread).collect(), costs: costs.collect() }
}

impl World {
    fn new(question: &Question, how: How, overlay: &Overlay) -> World {
        let (form_bytes, is_compact) = match question.load {
            Load::Block { bytes, whole: true, .. } => {
                (HEAD_BYTES + BLOCK_HEAD_BYTES + bytes, false)
            }
            Load::Block { bytes, transaction_bytes, .. } => {
                let ids = bytes / transaction_bytes * SHORT_ID_BYTES;
                (HEAD_BYTES + BLOCK_HEAD_BYTES + ids, true)
            }
            Load::Transactions { bytes, .. } => (HEAD_BYTES + 3 + bytes, false),
        };
        let mut neighbours = vec![BTreeSet::new(); question.nodes];
        for (a, b) in &overlay.links {
            neighbours[*a].insert(*b);
            neighbours[*b].insert(*a);
        }
        let node = |(number, peers): (usize, BTreeSet<usize>)| {
            let way = match how {
                How::Flood => Way::Flood,
                How::Plumtree => Way::Plumtree(Box::new(Plumtree::new(&peers, question.load))),
                How::Graven => panic!("the real node is measured in the simulator"),
            };
            let lacks = lacking(question, number).len();
            let missing = match question.load {
                Load::Block { transaction_bytes, .. } => lacks * transaction_bytes,
                Load::Transactions { .. } => 0,
            };
            let cost = Cost { missing: missing as u64, ..Cost::default() };
            let peers = peers.into_iter().collect();
            let (role, known) = (Role::Honest, BTreeMap::new());
            Node { role, is_up: true, peers, way, known, lacks, missing, cost }
        };
        let Question { seed, nodes, slow_lines, slow_start, .. } = *question;
        World {
            now_us: 0,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            scheduled: 0,
            nodes: neighbours.into_iter().enumerate().map(node).collect(),
            lines: Lines::new(nodes, seed, slow_lines, slow_start),
            draw: StdRng::seed_from_u64(seed ^ 0x776f_726c_6400),
            form_bytes,
            is_compact,
            first: 0,
            origins: Vec::new(),
            measures: false,
            medians: BTreeMap::new(),
        }
    }

    fn push(&mut self, at_us: u64, event: Event) {
        self.queue.push(Reverse((at_us, self.scheduled)));
        self.events.insert(self.scheduled, event);
        self.scheduled += 1;
    }

    fn send_at(&mut self, at_us: u64, origin: usize) {
        let id = Id::try_from(self.origins.len()).expect("few payloads");
        self.origins.push(origin);
        self.push(at_us, Event::Send(id));
    }

    fn run_until(&mut self, until_us: u64, plan: &Plan) {
        while let Some(Reverse((at_us, number))) = self.queue.pop() {
            if at_us > until_us {
                return;
            }
            self.now_us = at_us;
            let event = self.events.remove(&number).expect("each is taken once");
            self.step(event, plan);
        }
    }

    fn step(&mut self, event: Event, plan: &Plan) {
        match event {
            Event::Send(id) => {
                let origin = self.origins[id as usize];
                self.nodes[origin].known.entry(id).or_default().complete = true;
                self.looked(origin, id);
            }
            Event::Strike => self.strike(plan),
            Event::Reach(said, flight) => {
                let in_us = self.lines.receive(said.1, flight).max(self.now_us);
                self.push(in_us, Event::Arrive(said));
            }
            Event::Arrive((from, to, say, frame)) => {
                if self.nodes[to].is_up && self.nodes[from].is_up {
                    self.count(to, &say, frame);
                    self.arrive(from, to, say);
                }
            }
            Event::Looked { node, id } => self.looked(node, id),
            Event::Overdue { node, id, tries } => {
                let known = self.nodes[node].known.get(&id);
                if known.is_some_and(|known| !known.complete && known.tries == tries) {
                    self.fetch(node, id);
                }
            }
            Event::Timer { node, timer } => {
                if self.nodes[node].is_up
                    && let Way::Plumtree(tree) = &mut self.nodes[node].way
                {
                    let wishes = tree.due(timer);
                    self.grant(node, wishes);
                }
            }
        }
    }

    fn strike(&mut self, plan: &Plan) {
        self.measures = true;
        plan.crashed.iter().for_each(|node| self.nodes[*node].is_up = false);
        for node in 0..self.nodes.len() {
            self.nodes[node].role = plan.roles[node];
            if plan.roles[node] == Role::Pruning {
                let peers = self.nodes[node].peers.clone();
                peers.into_iter().for_each(|peer| self.launch(node, peer, Say::Prune));
            }
        }
    }

    fn count(&mut self, node: usize, say: &Say, frame: usize) {
        if !self.measures {
            return;
        }
        let cost = &mut self.nodes[node].cost;
        let frame = frame as u64;
        cost.bytes += frame;
        cost.line_bytes += on_line(frame);
        cost.copies += u64::from(matches!(say, Say::Payload(..)));
        let name = say.name();
        *cost.by_kind.entry(name).or_default() += frame;
    }

    fn launch(&mut self, from: usize, to: usize, say: Say) {
        let Node { role, is_up, .. } = self.nodes[from];
        if !is_up || say.is_withheld(role, self.is_compact) {
            return;
        }
        let lines = &self.lines;
        let median_ms =
            *self.medians.entry((from, to)).or_insert_with(|| lines.median_ms(from, to));
        let about = if matches!(say, Say::Fetch(_)) { from } else { to };
        let Node { lacks, missing, .. } = self.nodes[about];
        let frame = say.frame_bytes(self.form_bytes, lacks, missing);
        let flight = self.lines.send(self.now_us, (from, to), frame, median_ms);
        self.push(flight.first_us, Event::Reach((from, to, say, frame), flight));
    }

    fn grant(&mut self, node: usize, wishes: Vec<Wish>) {
        for wish in wishes {
            match wish {
                Wish::Say(to, say) => self.launch(node, to, say),
                Wish::Wake(after_us, timer) => {
                    self.push(self.now_us + after_us, Event::Timer { node, timer });
                }
            }
        }
    }

    fn arrive(&mut self, from: usize, to: usize, say: Say) {
        match say {
            Say::Payload(id, round) => self.payload(from, to, id, round),
            Say::Fetch(id) => {
                if self.nodes[to].known.get(&id).is_some_and(|known| known.complete) {
                    self.launch(to, from, Say::Rest(id));
                }
            }
            Say::Rest(id) => {
                let known = self.nodes[to].known.entry(id).or_default();
                if !known.complete && known.asked == Some(from) {
                    self.complete(to, id);
                }
            }
            Say::Have(_) | Say::Graft(_) | Say::Prune => {
                let node = &mut self.nodes[to];
                if node.role == Role::Pruning {
                    return;
                }
                if let Way::Plumtree(tree) = &mut node.way {
                    let wishes = tree.heard(from, say);
                    self.grant(to, wishes);
                }
            }
        }
    }

    fn payload(&mut self, from: usize, to: usize, id: Id, round: u8) {
        let lacks = self.is_compact && self.nodes[to].lacks > 0;
        let node = &mut self.nodes[to];
        let is_new = !node.known.contains_key(&id);
        let known = node.known.entry(id).or_default();
        if is_new {
            (known.round, known.from) = (round, Some(from));
        }
        if let Way::Plumtree(tree) = &mut node.way {
            let wishes = tree.payload(from, id, round, is_new);
            self.grant(to, wishes);
        }
        let known = self.nodes[to].known.entry(id).or_default();
        if known.complete {
            return;
        }
        if lacks {
            known.senders.push_back(from);
            if known.asked.is_none() {
                self.fetch(to, id);
            }
        } else {
            self.complete(to, id);
        }
    }

    /// Asks the next one that sent the compact form for what is missing.
    fn fetch(&mut self, node: usize, id: Id) {
        let known = self.nodes[node].known.entry(id).or_default();
        known.asked = known.senders.pop_front();
        known.tries += 1;
        let (asked, tries) = (known.asked, known.tries);
        if let Some(asked) = asked {
            self.launch(node, asked, Say::Fetch(id));
            self.push(self.now_us + FETCH_US, Event::Overdue { node, id, tries });
        }
    }

    fn complete(&mut self, node: usize, id: Id) {
        self.nodes[node].known.entry(id).or_default().complete = true;
        let looks_us = self.draw.random_range(LOOK_US);
        self.push(self.now_us + looks_us, Event::Looked { node, id });
    }

    /// A node has a payload and passes it on.
    fn looked(&mut self, at: usize, id: Id) {
        let node = &mut self.nodes[at];
        let known = node.known.entry(id).or_default();
        known.had_us = Some(self.now_us);
        let (from, round) = (known.from, known.round.saturating_add(1));
        let wishes = match &mut node.way {
            Way::Flood => {
                let others = node.peers.iter().filter(|peer| Some(**peer) != from);
                others.map(|peer| Wish::Say(*peer, Say::Payload(id, round))).collect()
            }
            Way::Plumtree(tree) => tree.has(id, from, round),
        };
        self.grant(at, wishes);
    }
}

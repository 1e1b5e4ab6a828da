//! The whole system in one thread: many nodes, a network between them, faults, and checks.
//!
//! The nodes are the very objects that the binary runs: `net::Protocol` and `chain::Ledger` with
//! the key-value machine. What `cli/src/node.rs` joins by threads and queues is joined here by
//! one queue of events, ordered by `(time, sequence)`. Everything follows from the seed: the same
//! options give the same trace, byte for byte.
//!
//! Messages travel as the bytes of the real codec; only the encryption is left out. Checks that
//! need nothing but the bytes are made once and shared by all nodes (`verified`); all that has
//! to do with history, each node does for itself.

pub mod broadcast;
mod check;
mod clients;
mod disk;
mod events;
mod faults;
pub(crate) mod lines;
mod links;
mod meter;
mod mining;
mod mischief;
mod network;
mod node;
mod report;
mod verified;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use chain::Hash;
use chain::params::{Mining, Network, Retarget};
use net::Timing;
use net::wire::Message;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::chains::free_network;
use crate::replay::Replay;
use clients::Clients;
use events::{Event, Ms, Queue, Trace};
use faults::Running;
pub use faults::{Fault, Faults};
use meter::Meter;
use network::Net;
use node::Site;
pub use report::{Counts, Failure, Report};
use verified::Verified;

const MINUTE_MS: Ms = 60_000;

/// Port of every node.
const PORT: u16 = 7400;

/// Connections that a node opens; the usual number.
const OUTBOUND_SLOTS: usize = 8;

/// After the last fault all nodes must agree within this time.
const HEAL_LIMIT_MS: Ms = 60 * MINUTE_MS;

/// Between two dear checks.
const CHECK_MS: Ms = 10 * MINUTE_MS;

/// Messages that a printed trace shows.
const WATCHED_KINDS: [&str; 4] = ["headers", "get-headers", "get-blocks", "not-found"];

/// A bug planted to see whether it is caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// Transactions are never announced.
    DropRelay,
    /// A reorganisation does not restore what the blocks taken off had changed.
    ForgetUndo,
    /// The block log says that it is synced when it is not.
    AcknowledgeBeforeSync,
}

impl Plant {
    /// Every bug there is.
    pub const ALL: [Plant; 3] = [Plant::DropRelay, Plant::ForgetUndo, Plant::AcknowledgeBeforeSync];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Plant::DropRelay => "drop-relay",
            Plant::ForgetUndo => "forget-undo",
            Plant::AcknowledgeBeforeSync => "acknowledge-before-sync",
        }
    }
}

/// What is simulated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Everything random follows from it.
    pub seed: u64,
    /// How many nodes there are, at least 2.
    pub nodes: usize,
    /// What may go wrong.
    pub faults: Faults,
    /// Virtual time with faults, in minutes; the time to recover comes on top.
    pub minutes: u32,
    /// A bug to be found.
    pub plant: Option<Plant>,
    /// Whether events are printed.
    pub trace: bool,
}

impl Options {
    /// All faults, nothing planted.
    pub fn new(seed: u64, nodes: usize, minutes: u32) -> Options {
        Options { seed, nodes, faults: Faults::all(), minutes, plant: None, trace: false }
    }
}

/// Independent sources of chance, so that one does not shift the others.
struct Draws {
    nodes: StdRng,
    mining: StdRng,
    clients: StdRng,
    faults: StdRng,
}

/// A system and its time.
pub struct Simulation {
    options: Options,
    network: Network,
    now: Ms,
    started: Ms,
    queue: Queue,
    trace: Trace,
    nodes: Vec<Site>,
    addresses: BTreeMap<SocketAddr, usize>,
    next_address: usize,
    net: Net,
    verified: Verified,
    reference: Replay,
    clients: Clients,
    /// What nodes must be told still, in order.
    told: VecDeque<(usize, net::Input)>,
    /// Blocks of byzantine nodes, `None` where the body is withheld.
    forged: BTreeMap<Hash, Option<Vec<u8>>>,
    running: Running,
    draws: Draws,
    /// Settings of the protocol of every node.
    timing: Timing,
    /// Each node knows three of the first so many from the start.
    entries: usize,
    /// What a broadcast costs, where that is the question.
    meter: Option<Meter>,
    counts: Counts,
    failure: Option<String>,
}

/// A minute a block, four hashes on average at that pace, and targets that follow the blocks.
fn simulated_network() -> Network {
    Network {
        name: "simulated".to_string(),
        target_interval_s: 60,
        future_limit_s: 120,
        mining: Mining::Continuous,
        retarget: Retarget::Asert { half_life_s: 900 },
        ..free_network()
    }
}

impl Simulation {
    /// All nodes are started, nothing has happened yet.
    pub fn new(options: Options) -> Simulation {
        let mut simulation = Simulation::assemble(options);
        simulation.begin();
        simulation
    }

    /// Nodes that have not been started.
    fn assemble(options: Options) -> Simulation {
        let draw = |number: u64| StdRng::seed_from_u64(options.seed ^ number << 56);
        let network = simulated_network();
        let started = u64::from(network.genesis_time) * 1000;
        let genesis = network.genesis_hash();
        let count = options.nodes;
        let nodes: Vec<Site> = (0..count)
            .map(|number| Site::new(number, node::node_id(options.seed, number), genesis))
            .collect();
        Simulation {
            now: started,
            started,
            queue: Queue::default(),
            trace: Trace::new(options.trace),
            addresses: nodes.iter().map(|site| site.address).zip(0..).collect(),
            next_address: count,
            nodes,
            net: Net::new(count, draw(1)),
            verified: Verified::new(&network),
            reference: Replay::new(&network),
            clients: Clients::new(),
            told: VecDeque::new(),
            forged: BTreeMap::new(),
            running: Running::default(),
            draws: Draws { nodes: draw(2), mining: draw(3), clients: draw(4), faults: draw(5) },
            timing: Timing::default(),
            entries: node::ENTRIES_KNOWN,
            meter: None,
            counts: Counts::default(),
            failure: None,
            network,
            options,
        }
    }

    fn begin(&mut self) {
        self.share_hash_rate();
        self.begin_faults();
        for node in 0..self.nodes.len() {
            self.start(node);
            self.settle();
        }
        self.queue.push(self.now + CHECK_MS, Event::Check);
        self.queue.push(self.now + 1, Event::Write);
        self.queue.push(self.now + MINUTE_MS, Event::Retry);
    }

    /// Half of the honest nodes mine, some much more than others.
    fn share_hash_rate(&mut self) {
        self.choose_byzantine();
        let draw = &mut self.draws.mining;
        let honest = self.nodes.iter_mut().filter(|site| !site.byzantine);
        for site in honest.step_by(2) {
            site.share = draw.random_range(0.1..1.0_f64).powi(2);
        }
        let sum: f64 = self.nodes.iter().map(|site| site.share).sum();
        self.nodes.iter_mut().for_each(|site| site.share /= sum);
    }

    /// Lets everything happen up to a moment, or until a check fails.
    pub fn run_until(&mut self, until: Ms) {
        while self.failure.is_none()
            && let Some((at, event)) = self.queue.pop(until)
        {
            self.now = at;
            self.step(event);
        }
        if self.failure.is_none() {
            self.now = until;
        }
    }

    /// The node without which an event means nothing, and the run of it that is meant.
    fn subject(&self, event: &Event) -> Option<(usize, Option<u32>)> {
        match event {
            Event::Arrive { link, side }
            | Event::Reach { link, side, .. }
            | Event::Established { link, side }
            | Event::Drained { link, side } => {
                self.net.links.get(link).map(|link| (link.ends[*side].node, None))
            }
            Event::ConnectFailed { node, life, .. }
            | Event::Wake { node, life }
            | Event::Stages { node, life }
            | Event::Found { node, life, .. } => Some((*node, Some(*life))),
            _ => None,
        }
    }

    fn step(&mut self, event: Event) {
        if let Some((node, life)) = self.subject(&event) {
            let site = &self.nodes[node];
            if life.is_some_and(|life| life != site.life || site.live.is_none()) {
                return;
            }
            if site.paused_until > self.now {
                return self.queue.push(site.paused_until, event);
            }
        }
        self.trace.note(self.now, &event);
        self.counts.add("events");
        match event {
            Event::Arrive { link, side } => self.arrive(link, side),
            Event::Reach { link, side, flight } => self.reach(link, side, flight),
            Event::Established { link, side } => self.established(link, side),
            Event::ConnectFailed { node, address, refused, .. } => {
                self.connect_failed(node, address, refused);
            }
            Event::Drained { link, side } => self.drained(link, side),
            Event::Wake { node, .. } => {
                self.counts.add("wakes");
                self.wake(node);
            }
            Event::Stages { node, .. } => self.run_stages(node),
            Event::Found { node, search, .. } => self.found(node, search),
            Event::Write => self.write(),
            Event::Retry => self.retry(),
            Event::Begin(fault) => self.begin_fault(fault),
            Event::End(episode) => self.end_fault(episode),
            Event::Restart { node } => self.restart(node),
            Event::Check => {
                self.check_all();
                self.queue.push(self.now + CHECK_MS, Event::Check);
            }
        }
        self.settle();
    }

    /// Whether a planted bug swallows a message, or a node that does not do its part.
    fn is_dropped(&self, node: usize, message: &Message) -> bool {
        let is_withheld = |meter: &Meter| meter.withholds(node, message);
        self.options.plant == Some(Plant::DropRelay)
            && matches!(message, Message::AnnounceTransactions { .. })
            || self.meter.as_ref().is_some_and(is_withheld)
    }

    /// Notes that something does not hold; the first time counts.
    fn fail(&mut self, what: String) {
        self.failure.get_or_insert(what);
    }

    fn minutes_after_start(&self, minutes: u32) -> Ms {
        self.started + u64::from(minutes) * MINUTE_MS
    }

    fn run(&mut self) -> Option<String> {
        self.run_until(self.minutes_after_start(self.options.minutes));
        let healed_at = self.now;
        self.heal();
        while self.failure.is_none()
            && let Some(why) = self.unsettled()
        {
            if self.now > healed_at + HEAL_LIMIT_MS {
                self.fail(format!("an hour after the last fault {why}"));
            }
            self.run_until(self.now + 1_000);
        }
        self.counts.most("most seconds to recover", (self.now - healed_at) / 1000);
        if self.failure.is_none() {
            self.check_end();
        }
        self.failure.take()
    }
}

/// Runs a simulation to its end: faults, then time to recover, then everything must agree.
///
/// # Errors
/// The first check that does not hold, a panic included.
pub fn run(options: &Options) -> Result<Report, Box<Failure>> {
    let mut simulation = Simulation::new(options.clone());
    let outcome = catch_unwind(AssertUnwindSafe(|| simulation.run()));
    let what = outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or(panic.downcast_ref::<&str>().map(ToString::to_string));
        Some(format!("panic: {}", text.unwrap_or_default()))
    });
    let virtual_ms = simulation.now - simulation.started;
    match what {
        Some(what) => Err(Box::new(Failure { options: options.clone(), at_ms: virtual_ms, what })),
        None => {
            let Simulation { counts, trace, .. } = simulation;
            Ok(Report { counts, virtual_ms, trace: trace.finish() })
        }
    }
}

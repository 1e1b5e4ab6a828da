//! What it costs to bring a block or a transaction to every node: measurements of the real node in
//! the simulator ([`crate::sim::broadcast`]) and of two other ways to do it, on the same
//! connections, lines and faults. Results and the decision stand in docs/broadcast.md.
//!
//! The other ways ([`Flood`](How::Flood), [`Plumtree`](How::Plumtree)) are experiments: small state
//! machines without verification, chain or bytes. No node speaks them.

pub mod plot;
mod plumtree;
mod say;
pub mod table;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

pub use world::{Overlay, run};

/// Every node knows these from the start, so they have the most connections.
pub(crate) const SEEDS: usize = 3;

/// How a payload travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// As the node does it: announced, fetched once.
    Graven,
    /// Everybody sends it to everybody at once.
    Flood,
    /// Along a tree, repaired by announcements (Leitão, Pereira, Rodrigues 2007).
    Plumtree,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// One block.
    Block {
        /// Of all its transactions together.
        bytes: usize,
        /// Of each of its transactions.
        transaction_bytes: usize,
        /// How many of a hundred transactions a node has already, on average.
        known_percent: u32,
        /// Whether a block travels whole; the real node uses the compact form in any case.
        whole: bool,
    },
    /// Single transactions, each handed to some node.
    Transactions {
        /// How many.
        count: usize,
        /// Of each.
        bytes: usize,
        /// From one to the next, in milliseconds.
        every_ms: u64,
    },
}

/// What goes wrong, and with how many nodes of a hundred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// Nodes lose power at the moment of the broadcast; nobody is told.
    Crash(u32),
    /// Nodes do not do their part.
    Dishonest(Role, u32),
}

/// What a node does of its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// All of it.
    Honest,
    /// It announces what it has and never gives it.
    Silent,
    /// It gives the compact form of blocks and never the transactions that are missing.
    Halting,
    /// It takes and says nothing.
    Mute,
    /// As [`Role::Mute`], and it tells all others to send it nothing (only in Plumtree).
    Pruning,
}

/// One measurement.
#[derive(Clone, Debug)]
pub struct Question {
    /// Everything random follows from it.
    pub seed: u64,
    /// How many nodes there are.
    pub nodes: usize,
    /// What is sent.
    pub load: Load,
    /// What goes wrong.
    pub trouble: Trouble,
    /// How many lines of a hundred carry 10 instead of 100 megabits a second.
    pub slow_lines: u32,
    /// Whether TCP's slow start after idle times is simulated.
    pub slow_start: bool,
    /// Each node knows three of the first so many nodes from the start; at least 3.
    pub entries: usize,
}

/// What follows from a question alone, so that all ways are asked the same.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// What each node does from the moment of the broadcast on.
    pub(crate) roles: Vec<Role>,
    /// Who loses power at that moment.
    pub(crate) crashed: BTreeSet<usize>,
    /// What is sent: when, in milliseconds from that moment, and by whom.
    pub(crate) sent: Vec<(u64, usize)>,
}

impl Plan {
    pub(crate) fn new(question: &Question) -> Plan {
        let mut draw = StdRng::seed_from_u64(question.seed ^ 0x0070_6c61_6e00);
        let mut order: Vec<usize> = (0..question.nodes).collect();
        order.shuffle(&mut draw);
        // An ordinary node makes the block.
        let maker = *order.iter().find(|node| **node >= SEEDS).expect("more nodes than seeds");
        order.retain(|node| *node != maker);
        let mut plan = Plan {
            roles: vec![Role::Honest; question.nodes],
            crashed: BTreeSet::new(),
            sent: vec![(0, maker)],
        };
        let part = |percent: u32| question.nodes * percent as usize / 100;
        match question.trouble {
            Trouble::None => {}
            Trouble::Crash(percent) => plan.crashed.extend(order.drain(..part(percent))),
            Trouble::Dishonest(role, percent) => {
                order.drain(..part(percent)).for_each(|node| plan.roles[node] = role);
            }
        }
        if let Load::Transactions { count, every_ms, .. } = question.load {
            let mut origin = || order[draw.random_range(0..order.len())];
            plan.sent = (0..count as u64).map(|number| (number * every_ms, origin())).collect();
        }
        plan
    }

    /// Those whose costs and times count.
    pub(crate) fn counts(&self, node: usize) -> bool {
        self.roles[node] == Role::Honest && !self.crashed.contains(&node)
    }

    /// How many nodes count.
    pub(crate) fn counted(&self) -> usize {
        (0..self.roles.len()).filter(|node| self.counts(*node)).count()
    }
}

/// The places of a block's transactions that a node lacks.
pub(crate) fn lacking(question: &Question, node: usize) -> BTreeSet<usize> {
    let Load::Block { bytes, transaction_bytes, known_percent, .. } = question.load else {
        return BTreeSet::new();
    };
    let seed = question.seed.rotate_left(32) ^ node as u64 ^ 0x006c_6163_6b00;
    let mut draw = StdRng::seed_from_u64(seed);
    let places = 0..bytes / transaction_bytes;
    places.filter(|_| !draw.random_ratio(known_percent, 100)).collect()
}

/// What came in at one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Frames of all messages that the payload caused.
    pub bytes: u64,
    /// The same with what Noise, TCP and IP add.
    pub line_bytes: u64,
    /// Payloads.
    pub copies: u64,
    /// Bytes of the transactions of the block that it lacked.
    pub missing: u64,
    /// [`Cost::bytes`] by the name of the message.
    pub by_kind: BTreeMap<&'static str, u64>,
}

/// How one payload spread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// When it was there, in milliseconds, ascending; its origin has it at 0.
    pub times_ms: Vec<u64>,
    /// How many nodes should have it.
    pub wanted: usize,
}

impl Spread {
    /// When so many of a hundred had it, if ever.
    pub fn time_ms(&self, percent: usize) -> Option<u64> {
        let count = (self.wanted * percent).div_ceil(100).max(1);
        self.times_ms.get(count - 1).copied()
    }
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// One for each payload.
    pub spreads: Vec<Spread>,
    /// One for each honest node that is up; the maker of a block is left out.
    pub costs: Vec<Cost>,
}

/// Promised: a block costs a node at most so many hundredths of what it lacked ..
pub const MISSING_PERCENT: u64 = 115;
/// .. and so many bytes on top.
pub const BLOCK_BYTES: u64 = 25_000;

impl Cost {
    /// What a block may cost at most.
    pub fn bound(&self) -> u64 {
        self.missing * MISSING_PERCENT / 100 + BLOCK_BYTES
    }
}

impl Outcome {
    /// The mean of something over all nodes.
    pub fn mean(&self, of: impl Fn(&Cost) -> u64) -> f64 {
        self.costs.iter().map(|cost| of(cost) as f64).sum::<f64>() / self.costs.len() as f64
    }

    /// Nodes whose block cost more than [`Cost::bound`].
    pub fn over_bound(&self) -> usize {
        self.costs.iter().filter(|cost| cost.bytes > cost.bound()).count()
    }

    /// The median over the payloads of when so many of a hundred nodes had it; `None` if half of
    /// them never came so far.
    pub fn time_ms(&self, percent: usize) -> Option<u64> {
        let times = self.spreads.iter().map(|spread| spread.time_ms(percent));
        let mut times: Vec<u64> = times.map(|time| time.unwrap_or(u64::MAX)).collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied().filter(|time| *time < u64::MAX)
    }

    /// Of all that should have come in anywhere, the share that did.
    pub fn reached(&self) -> f64 {
        let sum = |of: &dyn Fn(&Spread) -> usize| self.spreads.iter().map(of).sum::<usize>() as f64;
        sum(&|spread| spread.times_ms.len()) / sum(&|spread| spread.wanted)
    }
}

impl How {
    /// Every way there is.
    pub const ALL: [How; 3] = [How::Graven, How::Flood, How::Plumtree];

    /// Its name on the command line and in tables.
    pub fn name(self) -> &'static str {
        match self {
            How::Graven => "graven",
            How::Flood => "flood",
            How::Plumtree => "plumtree",
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::None => f.write_str("none"),
            Trouble::Crash(percent) => write!(f, "crash:{percent}"),
            Trouble::Dishonest(role, percent) => write!(f, "{}:{percent}", role.name()),
        }
    }
}

impl Role {
    const DISHONEST: [Role; 4] = [Role::Silent, Role::Halting, Role::Mute, Role::Pruning];

    fn name(self) -> &'static str {
        match self {
            Role::Honest => "honest",
            Role::Silent => "silent",
            Role::Halting => "halting",
            Role::Mute => "mute",
            Role::Pruning => "pruning",
        }
    }
}

impl FromStr for Trouble {
    type Err = String;

    /// `none`, or a name and how many nodes of a hundred, as `crash:30`.
    fn from_str(text: &str) -> Result<Trouble, String> {
        if text == "none" {
            return Ok(Trouble::None);
        }
        let (name, percent) = text.split_once(':').ok_or("trouble is given as NAME:PERCENT")?;
        let percent = percent.parse().ok().filter(|percent| *percent < 100);
        let percent = percent.ok_or("not a percentage below 100")?;
        if name == "crash" {
            return Ok(Trouble::Crash(percent));
        }
        let role = Role::DISHONEST.into_iter().find(|role| role.name() == name);
        role.map(|role| Trouble::Dishonest(role, percent))
            .ok_or_else(|| format!("no trouble is called {name:?}"))
    }
}

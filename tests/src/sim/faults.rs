//! What goes wrong, and when: every kind of fault comes by chance, lasts a while and ends.

use std::fmt;
use std::str::FromStr;

use net::Reason;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::disk::Crash;
use super::events::{Event, Ms};
use super::network::{LinkId, exponential, whole};
use super::{MINUTE_MS, Simulation};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A connection breaks; both ends notice, or one.
    Loss,
    /// Nodes cannot reach each other: halves, a ring, one way only, or one node after the other.
    Partition,
    /// A node's line carries a few kilobytes a second.
    Slow,
    /// A node's clock jumps, up to a minute off.
    Clock,
    /// A node is killed or loses power, and comes back later.
    Crash,
    /// Some nodes lie, withhold and flood.
    Byzantine,
    /// A node stands still for a while.
    Pause,
}

impl Fault {
    /// Every kind there is.
    pub const ALL: [Fault; 7] = [
        Fault::Loss,
        Fault::Partition,
        Fault::Slow,
        Fault::Clock,
        Fault::Crash,
        Fault::Byzantine,
        Fault::Pause,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Loss => "loss",
            Fault::Partition => "partition",
            Fault::Slow => "slow",
            Fault::Clock => "clock",
            Fault::Crash => "crash",
            Fault::Byzantine => "byzantine",
            Fault::Pause => "pause",
        }
    }

    /// Between two of them, on average, in a system of 20 nodes. What strikes single nodes comes
    /// more often where there are more.
    fn mean_ms(self, nodes: usize) -> f64 {
        let each = 20.0 / nodes as f64;
        let minutes = match self {
            Fault::Loss => each,
            Fault::Partition => 15.0,
            Fault::Slow | Fault::Clock => 8.0 * each,
            Fault::Crash => 4.0 * each,
            Fault::Byzantine => 1.0 * each,
            Fault::Pause => 3.0 * each,
        };
        minutes * MINUTE_MS as f64
    }
}

/// The kinds of faults that occur.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Every kind.
    pub fn all() -> Faults {
        Faults(Fault::ALL.to_vec())
    }

    /// None at all.
    pub fn none() -> Faults {
        Faults(Vec::new())
    }

    /// Whether a kind is among them.
    pub fn has(&self, fault: Fault) -> bool {
        self.0.contains(&fault)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            0 => f.write_str("none"),
            n if n == Fault::ALL.len() => f.write_str("all"),
            _ => {
                let names: Vec<&str> = self.0.iter().map(|fault| fault.name()).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}

impl FromStr for Faults {
    type Err = String;

    /// `all`, `none`, or names with commas between them.
    fn from_str(text: &str) -> Result<Faults, String> {
        let find = |name: &str| {
            let known = Fault::ALL.into_iter().find(|fault| fault.name() == name);
            known.ok_or_else(|| format!("no fault is called {name:?}"))
        };
        match text {
            "all" => Ok(Faults::all()),
            "none" => Ok(Faults::none()),
            list => list.split(',').map(find).collect::<Result<_, _>>().map(Faults),
        }
    }
}

/// Something to be undone when it has lasted long enough, or to be done later.
#[derive(Clone, Debug)]
pub(super) enum Episode {
    /// These ways will be cut for so long: from, to.
    CutLater(Vec<(usize, usize)>, Ms),
    /// These ways are cut: from, to.
    Cut(Vec<(usize, usize)>),
    /// This node's line is slow.
    Slow(usize),
}

/// What is going on now.
#[derive(Debug, Default)]
pub(super) struct Running {
    /// Faults are over for good.
    pub(super) over: bool,
}

impl Simulation {
    /// Some of the nodes, at the end of the list, will not be honest.
    pub(super) fn choose_byzantine(&mut self) {
        if self.options.faults.has(Fault::Byzantine) {
            let count = self.nodes.len();
            let byzantine = self.nodes.iter_mut().skip(count - count / 7);
            byzantine.for_each(|site| site.byzantine = true);
        }
    }

    pub(super) fn begin_faults(&mut self) {
        let faults = self.options.faults.clone();
        if faults.has(Fault::Clock) {
            for site in &mut self.nodes {
                site.skew_ms = draw_skew(&mut self.draws.faults) / 4;
            }
        }
        faults.0.into_iter().for_each(|fault| self.schedule(fault));
    }

    fn schedule(&mut self, fault: Fault) {
        let mean_ms = fault.mean_ms(self.nodes.len());
        let wait = exponential(&mut self.draws.faults, mean_ms);
        self.queue.push(self.now + whole(wait).max(1), Event::Begin(fault));
    }

    /// One of the honest nodes, or of those that are not.
    fn any_node(&mut self, byzantine: bool) -> Option<usize> {
        let of_kind = |node: &usize| self.nodes[*node].byzantine == byzantine;
        let nodes: Vec<usize> = (0..self.nodes.len()).filter(of_kind).collect();
        let draw = &mut self.draws.faults;
        (!nodes.is_empty()).then(|| nodes[draw.random_range(0..nodes.len())])
    }

    pub(super) fn begin_fault(&mut self, fault: Fault) {
        if self.running.over {
            return;
        }
        self.schedule(fault);
        let Some(node) = self.any_node(fault == Fault::Byzantine) else { return };
        let now = self.now;
        self.trace.say(now, || format!("{} {node}", fault.name()));
        match fault {
            Fault::Loss => self.lose_some_link(),
            Fault::Partition => self.partition(),
            Fault::Slow => {
                self.counts.add("fault: slow");
                self.net.rates[node] = self.draws.faults.random_range(2..10);
                let lasts = self.draws.faults.random_range(5..20) * MINUTE_MS;
                self.queue.push(now + lasts, Event::End(Episode::Slow(node)));
            }
            Fault::Clock => {
                self.counts.add("fault: clock jump");
                self.nodes[node].skew_ms = draw_skew(&mut self.draws.faults);
                self.schedule_wake(node);
            }
            Fault::Crash => self.crash(node),
            Fault::Byzantine => self.mischief(node),
            Fault::Pause => {
                self.counts.add("fault: pause");
                let lasts = self.draws.faults.random_range(1_000..120_000);
                self.nodes[node].paused_until = now + lasts;
            }
        }
    }

    pub(super) fn end_fault(&mut self, episode: Episode) {
        if self.running.over {
            return;
        }
        match episode {
            Episode::CutLater(ways, lasts) => self.cut(ways, lasts),
            Episode::Cut(ways) => {
                ways.into_iter().for_each(|(from, to)| self.net.cut(from, to, false));
                self.release_held();
            }
            Episode::Slow(node) => self.net.rates[node] = self.net.usual_rates[node],
        }
    }

    fn lose_some_link(&mut self) {
        let links: Vec<LinkId> = self.net.links.keys().copied().collect();
        if links.is_empty() {
            return;
        }
        let draw = &mut self.draws.faults;
        let (id, side) = (links[draw.random_range(0..links.len())], draw.random_range(0..2));
        if draw.random_bool(0.5) {
            self.counts.add("fault: connection lost");
            self.lose(id, side, Reason::Io("reset".to_string()));
        } else {
            // The other end will find out by itself.
            self.counts.add("fault: connection lost at one end");
            let end = &self.net.links[&id].ends[side];
            let (node, peer) = (end.node, end.peer);
            self.forget_end(id, side);
            if let Some(peer) = peer {
                let reason = Reason::Io("reset".to_string());
                self.tell(node, net::Input::Disconnected { peer, reason });
            }
        }
    }

    fn partition(&mut self) {
        let count = self.nodes.len();
        let mut order: Vec<usize> = (0..count).collect();
        order.shuffle(&mut self.draws.faults);
        let lasts = self.draws.faults.random_range(1..12) * MINUTE_MS;
        match self.draws.faults.random_range(0..4) {
            0 => {
                self.counts.add("fault: partition into two");
                let side = order.split_off(self.draws.faults.random_range(1..count));
                let both = side.iter().flat_map(|a| order.iter().map(|b| (*a, *b)));
                let ways = both.flat_map(|(a, b)| [(a, b), (b, a)]).collect();
                self.cut(ways, lasts);
            }
            1 => {
                self.counts.add("fault: partition into a ring");
                let is_near = |a: usize, b: usize| {
                    (a + count - b) % count <= 1 || (b + count - a) % count <= 1
                };
                let all = (0..count).flat_map(|a| (0..count).map(move |b| (a, b)));
                let far = all.filter(|(a, b)| !is_near(*a, *b));
                let ways = far.map(|(a, b)| (order[a], order[b])).collect();
                self.cut(ways, lasts);
            }
            2 => {
                self.counts.add("fault: partition one way");
                let side = order.split_off(count / 2);
                let ways = side.iter().flat_map(|a| order.iter().map(|b| (*a, *b))).collect();
                self.cut(ways, lasts);
            }
            _ => {
                self.counts.add("fault: partition node by node");
                order.truncate(count.div_ceil(2));
                let mut at = self.now;
                for node in order {
                    let others = (0..count).filter(|other| *other != node);
                    let ways = others.flat_map(|other| [(node, other), (other, node)]).collect();
                    // One after the other goes, and they come back in another order.
                    at += self.draws.faults.random_range(1_000..20_000);
                    let lasts = self.draws.faults.random_range(10_000..=lasts);
                    self.queue.push(at, Event::End(Episode::CutLater(ways, lasts)));
                }
            }
        }
    }

    fn cut(&mut self, ways: Vec<(usize, usize)>, lasts: Ms) {
        ways.iter().for_each(|(from, to)| self.net.cut(*from, *to, true));
        self.queue.push(self.now + lasts, Event::End(Episode::Cut(ways)));
    }

    /// A node dies and comes back later with what its disk kept.
    fn crash(&mut self, node: usize) {
        let draw = &mut self.draws.faults;
        let crash = if draw.random_bool(0.5) { Crash::Kill } else { Crash::PowerCut };
        let down_ms = match draw.random_bool(0.5) {
            true => draw.random_range(2_000..30_000),
            false => draw.random_range(30_000..10 * MINUTE_MS),
        };
        self.end_node(node, crash);
        self.queue.push(self.now + down_ms, Event::Restart { node });
    }

    /// Ends a node's run.
    pub(super) fn end_node(&mut self, node: usize, crash: Crash) {
        let Some(live) = self.take_down(node) else { return };
        let what = match crash {
            Crash::Kill => "fault: killed",
            Crash::PowerCut => "fault: power cut",
        };
        self.counts.add(what);
        self.nodes[node].power_lost |= crash == Crash::PowerCut;
        for (id, side) in live.links.values().copied() {
            match crash {
                // The system closes what the process had open.
                Crash::Kill => self.close_end(id, side),
                Crash::PowerCut => self.forget_end(id, side),
            }
        }
        let disk = live.ledger.store().after(crash, &mut self.draws.faults);
        self.nodes[node].rest = Some((disk, live.book));
    }

    pub(super) fn restart(&mut self, node: usize) {
        if self.nodes[node].live.is_none() {
            self.counts.add("restarts");
            self.start(node);
        }
    }

    /// Ends all faults: what is down comes back, clocks are set, the byzantine leave.
    pub(super) fn heal(&mut self) {
        self.running.over = true;
        self.net.heal_all();
        self.net.rates.clone_from(&self.net.usual_rates);
        self.release_held();
        for node in 0..self.nodes.len() {
            let site = &mut self.nodes[node];
            (site.paused_until, site.skew_ms) = (0, 0);
            if site.byzantine {
                self.end_node(node, Crash::Kill);
            } else {
                self.restart(node);
            }
            self.settle();
            self.schedule_wake(node);
        }
    }
}

/// Up to a minute ahead or behind.
fn draw_skew(draw: &mut StdRng) -> i64 {
    draw.random_range(-60_000..=60_000)
}

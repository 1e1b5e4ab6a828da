//! The network between nodes: links with latency and bandwidth, which can be cut.
//!
//! A link is a TCP connection: what one end sends arrives whole and in order, or not at all. A
//! cut does not end it: packets wait, as they would be sent again and again, until the cut heals
//! or somebody gives up.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use chain::ledger::PeerId;
use rand::RngExt;
use rand::rngs::StdRng;

use super::events::Ms;

/// Names a link; never used twice.
pub(super) type LinkId = u64;

/// What a node's line carries, in bytes a millisecond.
const USUAL_RATE: std::ops::Range<u64> = 500..5_000;

/// What travels.
#[derive(Clone, Debug)]
pub(super) enum Packet {
    /// A frame.
    Data(Vec<u8>),
    /// The other end has closed the connection.
    End,
}

/// One end of a link.
#[derive(Debug)]
pub(super) struct End {
    pub(super) node: usize,
    pub(super) life: u32,
    /// Its name at the node, from the handshake to the end.
    pub(super) peer: Option<PeerId>,
    pub(super) closed: bool,
    /// Until when what it has to send keeps its line busy.
    pub(super) busy_until: Ms,
    pub(super) backlogged: bool,
    /// When the last packet reaches it.
    pub(super) last_arrival: Ms,
    /// On the way to it.
    pub(super) inbox: VecDeque<Packet>,
    /// To it, held back by a cut.
    pub(super) held: VecDeque<Packet>,
    /// Its node does not read it before.
    pub(super) rests_until: Ms,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Link {
    /// Who dialled, who was dialled.
    pub(super) ends: [End; 2],
    pub(super) address: SocketAddr,
    pub(super) median_ms: u64,
}

/// All links.
pub(super) struct Net {
    pub(super) links: BTreeMap<LinkId, Link>,
    pub(super) next_link: LinkId,
    /// Where the nodes are, in a square of side 1.
    places: Vec<(f64, f64)>,
    /// What each node's line carries, in bytes a millisecond.
    pub(super) rates: Vec<u64>,
    pub(super) usual_rates: Vec<u64>,
    /// How many cuts lie between one node and another, one way.
    cuts: Vec<u32>,
    pub(super) draw: StdRng,
}

impl Net {
    pub(super) fn new(nodes: usize, mut draw: StdRng) -> Net {
        let places = (0..nodes).map(|_| (draw.random(), draw.random())).collect();
        let rates: Vec<u64> = (0..nodes).map(|_| draw.random_range(USUAL_RATE)).collect();
        Net {
            links: BTreeMap::new(),
            next_link: 0,
            places,
            usual_rates: rates.clone(),
            rates,
            cuts: vec![0; nodes * nodes],
            draw,
        }
    }

    pub(super) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cuts[from * self.places.len() + to] > 0
    }

    /// Cuts the way from one node to another, or heals one cut.
    pub(super) fn cut(&mut self, from: usize, to: usize, on: bool) {
        let cuts = &mut self.cuts[from * self.places.len() + to];
        *cuts = if on { *cuts + 1 } else { cuts.saturating_sub(1) };
    }

    pub(super) fn heal_all(&mut self) {
        self.cuts.fill(0);
    }

    /// Half of the packets between two nodes take less than this, in milliseconds.
    pub(super) fn median_ms(&self, a: usize, b: usize) -> u64 {
        let ((ax, ay), (bx, by)) = (self.places[a], self.places[b]);
        let distance = (ax - bx).hypot(ay - by);
        whole(2.0 + 120.0 * distance)
    }

    /// How long one packet takes: never less than most of the median, seldom much more.
    pub(super) fn latency_ms(&mut self, median_ms: u64) -> u64 {
        let spread = exponential(&mut self.draw, 0.2);
        whole(median_ms as f64 * (0.86 + spread)).max(1)
    }
}

/// A draw from the exponential distribution.
pub(super) fn exponential(draw: &mut StdRng, mean: f64) -> f64 {
    let uniform: f64 = draw.random();
    -(1.0 - uniform).ln() * mean
}

/// Rounds what is not negative and not large.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "durations are small")]
pub(super) fn whole(value: f64) -> u64 {
    value.round() as u64
}

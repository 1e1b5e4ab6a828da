//! The lines of nodes, as measurements of broadcasts need them: a node has one line for all its
//! connections, up and down, and how far two nodes are apart is drawn once for each pair.
//!
//! A message takes the line up of its sender as soon as what was sent before has gone, travels for
//! as long as the pair is apart, and takes the line down of its receiver in the order in which
//! messages reach it. Its last byte cannot come in faster than either line carries it. Nothing is
//! lost, and connections do not share a line fairly: who comes first is served first.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::network::whole;

/// What most lines carry, both ways, in bits a microsecond (megabits a second).
const FAST_MBIT: u64 = 100;
/// What the others carry.
const SLOW_MBIT: u64 = 10;

/// One way, in milliseconds: the median, and the standard deviation of its logarithm.
const MEDIAN_MS: f64 = 100.0;
const LOG_DEVIATION: f64 = 0.6;
/// No pair is nearer or farther, in milliseconds.
const NEAREST_MS: f64 = 20.0;
const FARTHEST_MS: f64 = 400.0;

/// Noise adds to each packet its length and a tag, in bytes.
const NOISE_BYTES: u64 = 18;
/// Longest plaintext of a packet, in bytes.
const PACKET_BYTES: u64 = 65_519;
/// Payload of a TCP segment on Ethernet with time stamps, in bytes.
const SEGMENT_BYTES: u64 = 1_448;
/// Headers of IPv4 and of TCP with time stamps, in bytes. Acknowledgements are left out.
const HEADER_BYTES: u64 = 52;

/// What TCP sends before it has heard an acknowledgement, in bytes (RFC 6928: ten segments).
const FIRST_WINDOW_BYTES: u64 = 10 * SEGMENT_BYTES;
/// After so long without traffic it begins again there, in microseconds.
const IDLE_US: u64 = 1_000_000;

/// A message between two lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flight {
    /// Its bytes on the line.
    bytes: u64,
    /// When its first byte reaches the receiver's line, and its last one if that is free.
    pub(crate) first_us: u64,
    last_us: u64,
}

/// One node's line.
#[derive(Clone, Copy, Debug)]
struct Line {
    mbit: u64,
    up_free_us: u64,
    down_free_us: u64,
}

/// How much TCP dares to send at once on a connection, one way.
#[derive(Clone, Copy, Debug)]
struct Window {
    bytes: u64,
    last_us: u64,
}

/// The lines of all nodes.
#[derive(Debug)]
pub(crate) struct Lines {
    seed: u64,
    lines: Vec<Line>,
    /// By sender and receiver, if TCP's slow start is simulated.
    windows: Option<BTreeMap<(usize, usize), Window>>,
    draw: StdRng,
}

/// The bytes that a frame takes on a line.
pub(crate) fn on_line(frame: u64) -> u64 {
    let packed = frame + frame.div_ceil(PACKET_BYTES) * NOISE_BYTES;
    packed + packed.div_ceil(SEGMENT_BYTES) * HEADER_BYTES
}

impl Lines {
    /// So many lines of a hundred are slow.
    pub(crate) fn new(nodes: usize, seed: u64, slow_percent: u32, slow_start: bool) -> Lines {
        let mut draw = StdRng::seed_from_u64(seed ^ 0x006c_696e_6573);
        let line = |draw: &mut StdRng| Line {
            mbit: if draw.random_ratio(slow_percent, 100) { SLOW_MBIT } else { FAST_MBIT },
            up_free_us: 0,
            down_free_us: 0,
        };
        let lines = (0..nodes).map(|_| line(&mut draw)).collect();
        Lines { seed, lines, windows: slow_start.then(BTreeMap::new), draw }
    }

    /// Half of the messages between two nodes take less than this, in milliseconds, one way.
    pub(crate) fn median_ms(&self, a: usize, b: usize) -> u64 {
        let pair = (a.min(b) as u64) << 32 | a.max(b) as u64;
        let mut draw = StdRng::seed_from_u64(self.seed.rotate_left(17) ^ pair);
        // Box and Muller's way from two uniform draws to a normal one.
        let (one, two): (f64, f64) = (draw.random(), draw.random());
        let normal = (-2.0 * (1.0 - one).ln()).sqrt() * (std::f64::consts::TAU * two).cos();
        let ms = MEDIAN_MS * (LOG_DEVIATION * normal).exp();
        whole(ms.clamp(NEAREST_MS, FARTHEST_MS))
    }

    /// What the lines carry, in bytes a millisecond.
    pub(crate) fn rates(&self) -> Vec<u64> {
        self.lines.iter().map(|line| line.mbit * 1000 / 8).collect()
    }

    /// A frame leaves: it takes the sender's line. The pair's median is passed in, because drawing
    /// it takes longer than looking it up.
    pub(crate) fn send(
        &mut self,
        now_us: u64,
        (from, to): (usize, usize),
        frame: usize,
        median_ms: u64,
    ) -> Flight {
        let bytes = on_line(frame as u64);
        // Never less than most of the median, seldom much more.
        let spread = 0.86 - 0.2 * (1.0 - self.draw.random::<f64>()).ln();
        let apart_us = whole(median_ms as f64 * 1000.0 * spread);
        let waits_us = self.waits_us(now_us, (from, to), bytes, 2 * apart_us);
        let line = &mut self.lines[from];
        let begin_us = line.up_free_us.max(now_us);
        line.up_free_us = begin_us + line.takes_us(bytes);
        Flight {
            bytes,
            first_us: begin_us + apart_us,
            last_us: line.up_free_us + apart_us + waits_us,
        }
    }

    /// The first byte is there: the message takes the receiver's line. Returns when all of it is
    /// in, in microseconds.
    pub(crate) fn receive(&mut self, to: usize, flight: Flight) -> u64 {
        let line = &mut self.lines[to];
        let in_us = line.down_free_us.max(flight.first_us) + line.takes_us(flight.bytes);
        line.down_free_us = in_us;
        in_us.max(flight.last_us)
    }

    /// How long a message waits for acknowledgements in slow start.
    fn waits_us(&mut self, now_us: u64, way: (usize, usize), bytes: u64, round_us: u64) -> u64 {
        let Some(windows) = &mut self.windows else { return 0 };
        let first = Window { bytes: FIRST_WINDOW_BYTES, last_us: now_us };
        let window = windows.entry(way).or_insert(first);
        if now_us > window.last_us + IDLE_US {
            *window = first;
        }
        let (mut sent, mut rounds) = (window.bytes, 0);
        while sent < bytes {
            window.bytes *= 2;
            sent += window.bytes;
            rounds += 1;
        }
        window.last_us = now_us + rounds * round_us;
        rounds * round_us
    }
}

impl Line {
    fn takes_us(&self, bytes: u64) -> u64 {
        bytes * 8 / self.mbit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_symmetric_and_have_the_median_that_is_promised() {
        let lines = Lines::new(100, 3, 10, false);
        let pairs = (0..100).flat_map(|a| (a + 1..100).map(move |b| (a, b)));
        let mut all: Vec<u64> = pairs.map(|(a, b)| lines.median_ms(a, b)).collect();
        assert_eq!(lines.median_ms(3, 70), lines.median_ms(70, 3));
        all.sort_unstable();
        assert!((95..=105).contains(&all[all.len() / 2]), "{}", all[all.len() / 2]);
        assert!(all[0] >= 20 && all[all.len() - 1] <= 400);
    }

    #[test]
    fn messages_wait_for_both_lines_and_for_acknowledgements() {
        let mut lines = Lines::new(3, 1, 0, false);
        lines.lines[2].mbit = SLOW_MBIT;
        // A tenth of a second on a fast line, a second on a slow one.
        let frame = 1_200_000;
        let takes_us = lines.lines[0].takes_us(on_line(frame as u64));
        let first = lines.send(0, (0, 1), frame, 100);
        let second = lines.send(0, (0, 2), frame, 100);
        assert!(first.first_us < 2 * takes_us && second.first_us >= takes_us + 86_000);
        assert!((lines.receive(1, first) - first.first_us).abs_diff(takes_us) < 2);
        let in_us = lines.receive(2, second);
        assert!((in_us - second.first_us).abs_diff(10 * takes_us) < 20);
        let third = lines.send(0, (1, 2), 100, 20);
        assert!(lines.receive(2, third) > in_us, "the slow line is taken");
        // Ten segments go at once, twenty after a round trip, then forty.
        let mut slow = Lines::new(2, 1, 0, true);
        let mut waits = |bytes, at| slow.waits_us(at, (0, 1), bytes, 1000);
        assert_eq!((waits(14_000, 0), waits(14_500, 5_000_000)), (0, 1000));
        assert_eq!(waits(28_000, 5_500_000), 0, "the window is open");
        assert_eq!((waits(44_000, 9_000_000), waits(14_000, 20_000_000)), (2000, 0));
    }
}

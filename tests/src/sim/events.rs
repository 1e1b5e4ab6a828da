//! What happens when: the queue of events, and the trace of those that happened.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use sha2::{Digest, Sha256};

use super::faults::{Episode, Fault};
use super::lines::Flight;
use super::network::LinkId;

/// Milliseconds since the Unix epoch, of nobody's clock.
pub(super) type Ms = u64;

/// Something that happens. A node's `life` says which of its runs is meant: what a crash has
/// overtaken does not happen.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// The next packet reaches an end of a link.
    Arrive { link: LinkId, side: usize },
    /// The first byte of a packet reaches the line of an end, where lines are measured.
    Reach { link: LinkId, side: usize, flight: Flight },
    /// The handshake is done at an end of a link.
    Established { link: LinkId, side: usize },
    /// A connection did not come about.
    ConnectFailed { node: usize, life: u32, address: SocketAddr, refused: bool },
    /// Half of what an end had to send may be gone.
    Drained { link: LinkId, side: usize },
    /// Something in a node is due.
    Wake { node: usize, life: u32 },
    /// A node's stages behind the reactor take what waits.
    Stages { node: usize, life: u32 },
    /// A miner finds a solution, unless it searches something else by now.
    Found { node: usize, life: u32, search: u64 },
    /// A client writes.
    Write,
    /// Clients look after what is not confirmed yet.
    Retry,
    /// A fault begins.
    Begin(Fault),
    /// A fault ends.
    End(Episode),
    /// A node is started again.
    Restart { node: usize },
    /// The dear checks.
    Check,
}

/// Events by time, then by the order in which they were scheduled.
#[derive(Debug, Default)]
pub(super) struct Queue {
    events: BTreeMap<(Ms, u64), Event>,
    scheduled: u64,
}

impl Queue {
    pub(super) fn push(&mut self, at: Ms, event: Event) {
        self.events.insert((at, self.scheduled), event);
        self.scheduled += 1;
    }

    /// The next event up to `until`.
    pub(super) fn pop(&mut self, until: Ms) -> Option<(Ms, Event)> {
        let first = self.events.first_entry().filter(|first| first.key().0 <= until)?;
        let ((at, _), event) = first.remove_entry();
        Some((at, event))
    }
}

/// A hash over everything that happened, in order.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    hash: Sha256,
    print: bool,
}

impl Trace {
    pub(super) fn new(print: bool) -> Trace {
        Trace { hash: Sha256::new(), print }
    }

    pub(super) fn note(&mut self, at: Ms, event: &Event) {
        let (kind, one, two): (u8, u64, u64) = match event {
            Event::Arrive { link, side } => (1, *link, *side as u64),
            Event::Established { link, side } => (2, *link, *side as u64),
            Event::ConnectFailed { node, refused, .. } => (3, *node as u64, u64::from(*refused)),
            Event::Drained { link, side } => (4, *link, *side as u64),
            Event::Wake { node, .. } => (5, *node as u64, 0),
            Event::Stages { node, .. } => (6, *node as u64, 0),
            Event::Found { node, search, .. } => (7, *node as u64, *search),
            Event::Write => (8, 0, 0),
            Event::Retry => (9, 0, 0),
            Event::Begin(fault) => (10, *fault as u64, 0),
            Event::End(_) => (11, 0, 0),
            Event::Restart { node } => (12, *node as u64, 0),
            Event::Check => (13, 0, 0),
            Event::Reach { link, side, .. } => (14, *link, *side as u64),
        };
        let words = [at, one, two];
        self.hash.update([kind]);
        words.iter().for_each(|word| self.hash.update(word.to_le_bytes()));
        if self.print
            && !matches!(event, Event::Wake { .. } | Event::Arrive { .. } | Event::Reach { .. })
        {
            eprintln!("{at} {event:?}");
        }
    }

    /// Notes bytes that one node said to another.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
    }

    /// Notes what is worth a line.
    pub(super) fn say(&mut self, at: Ms, what: impl FnOnce() -> String) {
        if self.print {
            eprintln!("{at} {}", what());
        }
    }

    pub(super) fn prints(&self) -> bool {
        self.print
    }

    pub(super) fn finish(&self) -> [u8; 32] {
        self.hash.clone().finalize().into()
    }
}

//! A line between two nodes that goes wrong when the test wants it to.
//!
//! A [`Proxy`] stands on loopback between a node that dials it and the node it dials. What passes
//! through is delayed, cut to pieces, garbled, swallowed or held back, by what [`Faults`] say at
//! that moment. Chance is drawn from a seed; the operating system decides how bytes arrive, so two
//! runs are alike and not equal.
//!
//! A thread for each direction reads and gives each chunk a time, another one writes it then.

mod carry;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::node::now;

/// A direction of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the node that dialled to the one that was dialled.
    There,
    /// The other one.
    Back,
}

impl Way {
    /// Both.
    pub const BOTH: [Way; 2] = [Way::There, Way::Back];
}

/// What goes wrong. [`Faults::none`] is a good line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// Each chunk arrives so much later, in milliseconds, but never before the one ahead of it.
    pub delay_ms: RangeInclusive<u64>,
    /// What the line carries each way, in bytes a second.
    pub bytes_a_second: Option<u64>,
    /// Chunks are cut into pieces of at most so many bytes, or fewer by chance.
    pub piece_bytes: Option<usize>,
    /// What arrives within so many milliseconds is handed on as one.
    pub gather_ms: u64,
    /// One bit of one chunk in so many is flipped, this way.
    pub garble: Option<(Way, u32)>,
    /// One chunk in so many is written twice, this way.
    pub repeat: Option<(Way, u32)>,
    /// One chunk in so many is overtaken by the next, this way.
    pub reorder: Option<(Way, u32)>,
    /// Nothing gets through, and nothing is lost: it waits until this ends.
    pub stall: bool,
    /// New connections are closed at once.
    pub refuse: bool,
    /// A connection is cut after so many bytes, both ways counted.
    pub cut_after_bytes: Option<u64>,
}

impl Faults {
    /// A good line.
    pub fn none() -> Faults {
        Faults {
            delay_ms: 0..=0,
            bytes_a_second: None,
            piece_bytes: None,
            gather_ms: 0,
            garble: None,
            repeat: None,
            reorder: None,
            stall: false,
            refuse: false,
            cut_after_bytes: None,
        }
    }
}

/// What has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were joined to the other node.
    pub joined: u64,
    /// New connections that were closed at once, by the fault or because nobody listens there.
    pub refused: u64,
    /// Connections that were cut.
    pub cut: u64,
    /// Bytes written, both ways.
    pub bytes: u64,
    /// Chunks with a flipped bit, repeated, or overtaken.
    pub spoilt: u64,
    /// Bytes that were swallowed.
    pub swallowed: u64,
}

/// A line to one node. It ends, and all connections with it, when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepts: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    faults: Faults,
    links: BTreeMap<u64, Link>,
    counts: Counts,
    is_over: bool,
}

/// One connection: the two sockets, and what became of it.
#[derive(Debug)]
struct Link {
    /// To who dialled, and to who was dialled.
    ends: [TcpStream; 2],
    /// What is read this way is thrown away, for ever: bytes that are lost cannot be made up for.
    swallows: [bool; 2],
    /// Bytes written, both ways.
    bytes: u64,
    is_cut: bool,
    /// Directions that still carry something.
    open_ways: usize,
}

impl Proxy {
    /// Listens on a free port of loopback; whoever connects there is joined to `to`.
    ///
    /// # Panics
    /// When there is no free port or no room for a thread.
    pub fn start(to: SocketAddr, seed: u64) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let state = State {
            faults: Faults::none(),
            links: BTreeMap::new(),
            counts: Counts::default(),
            is_over: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let accepts = carry::spawn("proxy", {
            let shared = Arc::clone(&shared);
            move || carry::accept(&listener, to, seed, &shared)
        });
        Proxy { address, shared, accepts: Some(accepts) }
    }

    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets other things go wrong from now on.
    pub fn set(&self, faults: Faults) {
        self.shared.lock().faults = faults;
        self.shared.changed.notify_all();
    }

    /// Ends all connections, so that both ends notice.
    pub fn cut(&self) {
        self.shared.lock().cut_all();
        self.shared.changed.notify_all();
    }

    /// Ends all connections for who dialled; who was dialled hears nothing of it, nor of anything
    /// else on them.
    pub fn cut_at_dialler(&self) {
        let mut state = self.shared.lock();
        for link in state.links.values_mut() {
            link.swallows = [true; 2];
            link.ends[0].shutdown(Shutdown::Both).ok(); // it may have ended by itself
        }
        state.counts.cut += state.links.len() as u64;
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Swallows from now on what the connections there are now carry this way. Neither end
    /// notices.
    pub fn swallow(&self, way: Way) {
        for link in self.shared.lock().links.values_mut() {
            link.swallows[way as usize] = true;
        }
        self.shared.changed.notify_all();
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        self.shared.lock().counts
    }

    /// Connections there are now.
    pub fn links(&self) -> usize {
        self.shared.lock().links.len()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_over = true;
        state.cut_all();
        drop(state);
        self.shared.changed.notify_all();
        // Whoever waits for a connection is woken by one.
        TcpStream::connect(self.address).ok();
        if let Some(accepts) = self.accepts.take() {
            accepts.join().ok();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread of the proxy panics")
    }

    /// Waits until something changes or the time comes.
    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        until: Option<Instant>,
    ) -> MutexGuard<'a, State> {
        let Some(until) = until else {
            return self.changed.wait(state).expect("no thread of the proxy panics");
        };
        let left = until.saturating_duration_since(now()).max(Duration::from_micros(1));
        self.changed.wait_timeout(state, left).expect("no thread of the proxy panics").0
    }
}

impl State {
    fn cut_all(&mut self) {
        for link in self.links.values() {
            link.cut();
        }
        self.counts.cut += self.links.len() as u64;
    }
}

impl Link {
    fn cut(&self) {
        for end in &self.ends {
            end.shutdown(Shutdown::Both).ok(); // it may have ended by itself
        }
    }
}

#[cfg(test)]
mod tests;

//! Reactors on real loopback sockets. Nothing sleeps: tests wait for what must happen, and only
//! a failing test waits in vain.

mod crowds;
mod peers;
mod services;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use chain::Hash;
use crossbeam::channel::{Receiver, Sender, bounded};

use super::*;
use crate::protocol::{AddressBook, Config, PeerState, Timing};

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A pipeline whose other ends the test holds.
struct TestPipeline {
    works: Sender<Work>,
    inputs: Receiver<Input>,
    peers: Sender<Arc<[PeerInfo]>>,
    books: Sender<Vec<u8>>,
    stop: Arc<AtomicBool>,
}

impl Pipeline for TestPipeline {
    fn send(&mut self, work: Work) -> Result<(), Work> {
        self.works.try_send(work).map_err(|error| error.into_inner())
    }

    fn receive(&mut self) -> Option<Input> {
        self.inputs.try_recv().ok()
    }

    fn peers_changed(&mut self, peers: Arc<[PeerInfo]>) {
        self.peers.try_send(peers).expect("tests leave few lists unread");
    }

    fn save_book(&mut self, bytes: Vec<u8>) {
        self.books.try_send(bytes).expect("tests leave few books unread");
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// A running reactor.
struct Node {
    address: SocketAddr,
    services: Vec<SocketAddr>,
    works: Receiver<Work>,
    inputs: Sender<Input>,
    peers: Receiver<Arc<[PeerInfo]>>,
    books: Receiver<Vec<u8>>,
    stop: Arc<AtomicBool>,
    waker: ReactorWaker,
    thread: Option<JoinHandle<io::Result<()>>>,
}

/// What to start a node with.
struct Setup {
    seed: u8,
    listen: SocketAddr,
    peers: Vec<SocketAddr>,
    handshake_ms: u64,
    stall_ms: u64,
    timing: Timing,
    work_queue: usize,
    services: Vec<(ServiceLimits, Box<dyn Service>)>,
}

impl Setup {
    fn new(seed: u8) -> Setup {
        let (listen, peers, services) = (any_port(), vec![], vec![]);
        let timing = Timing { list_peers_ms: 5, backoff_first_ms: 20, ..Timing::default() };
        let (handshake_ms, stall_ms, work_queue) = (10_000, 60_000, 64);
        Setup { seed, listen, peers, handshake_ms, stall_ms, timing, work_queue, services }
    }

    fn start(self) -> Node {
        let identity = identity(self.seed);
        let (peers, timing) = (self.peers, self.timing);
        let config = Config { peers, timing, ..Config::new(identity.node_id()) };
        let mut reactor = Reactor::bind(ReactorConfig {
            handshake_ms: self.handshake_ms,
            stall_ms: self.stall_ms,
            ..ReactorConfig::new(self.listen, GENESIS, identity)
        })
        .unwrap();
        let address = reactor.peers_address().unwrap();
        let services = self.services.into_iter();
        let services = services
            .map(|(limits, service)| reactor.add_service(any_port(), limits, service).unwrap());
        let services = services.collect();
        let waker = reactor.waker();
        let (works, works_end) = bounded(self.work_queue);
        let (inputs_end, inputs) = bounded(64);
        let (peers, peers_end) = bounded(1000);
        let (books, books_end) = bounded(64);
        let stop = Arc::new(AtomicBool::new(false));
        let pipeline = TestPipeline { works, inputs, peers, books, stop: Arc::clone(&stop) };
        let protocol = Protocol::new(config, AddressBook::default(), 1);
        let thread = Builder::new()
            .name(format!("reactor-{}", self.seed))
            .spawn(move || reactor.run(protocol, pipeline))
            .unwrap();
        Node {
            address,
            services,
            works: works_end,
            inputs: inputs_end,
            peers: peers_end,
            books: books_end,
            stop,
            waker,
            thread: Some(thread),
        }
    }
}

const GENESIS: Hash = Hash([42; 32]);

fn identity(seed: u8) -> Identity {
    Identity::from_secret([seed; 32])
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

impl Node {
    /// Waits until so many peers are ready.
    fn wait_ready(&self, count: usize) -> Arc<[PeerInfo]> {
        loop {
            let list = self.peers.recv_timeout(PATIENCE).expect("peers become ready");
            if list.iter().filter(|peer| peer.state == PeerState::Ready).count() == count {
                return list;
            }
        }
    }

    fn input(&self, input: Input) {
        self.inputs.send(input).unwrap();
        self.waker.wake();
    }

    fn stop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the reactor does not panic").expect("nor fail");
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

//! The one event loop: sockets, clock, and who is called when.
//!
//! One thread runs [`Reactor::run`]. Every round it gives the services their turns, takes what the
//! pipeline has for the protocol, lets time pass, gives the peers their turns, writes, and sleeps
//! until something happens. Clients come first, right after the sleep: most of what they ask is
//! answered at once, and the rest of a round can take milliseconds.
//!
//! It never blocks: when the pipeline is full, it keeps the rest, reads nothing more from peers,
//! and tries again soon, while the services stay as quick as ever.

mod clients;
mod connection;
mod link;
mod lobby;
mod peers;
mod service;
mod timer;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chain::Hash;
use mio::{Events, Poll, Token, Waker};

use crate::protocol::{Input, Millis, Output, PeerInfo, Protocol, Work};
use crate::wire::Identity;
use clients::ServicePort;
use connection::Door;
use peers::PeerPort;
pub use service::{ClientId, Service, ServiceLimits, ServiceOutput};
use timer::{Clock, wait};

/// Token of the waker; listeners and connections take the numbers after it.
const WAKER: Token = Token(0);
/// Events taken in one round.
const EVENTS: usize = 1024;
/// Inputs taken from the pipeline, and messages from peers, in one round: few, so that services
/// have their turn every few milliseconds whatever peers do.
const INPUTS_A_ROUND: usize = 128;
/// The longest sleep.
const MAX_WAIT_MS: u64 = 1000;
/// The sleep while the pipeline is full.
const FULL_WAIT_MS: u64 = 2;
/// How long a stopping reactor goes on writing.
const STOP_MS: u64 = 500;

/// What the reactor is joined to: the stages that verify, store and look up.
pub trait Pipeline: Send {
    /// Takes work.
    ///
    /// # Errors
    /// Gives the work back when the queue is full. The reactor keeps it, stops reading from
    /// peers, and tries again.
    fn send(&mut self, work: Work) -> Result<(), Work>;

    /// The next thing the protocol should know: the ledger's outputs, answers to what was to be
    /// served, faults of payloads. Never blocks.
    fn receive(&mut self) -> Option<Input>;

    /// The list of peers has changed.
    fn peers_changed(&mut self, peers: Arc<[PeerInfo]>);

    /// Saves the address book. Should not take long.
    fn save_book(&mut self, bytes: Vec<u8>);

    /// Whether the node stops.
    fn stopping(&self) -> bool;
}

/// Settings of a [`Reactor`].
#[derive(Clone, Debug)]
pub struct ReactorConfig {
    /// Where peers can connect to; port 0 = any free one.
    pub listen: SocketAddr,
    /// The network's genesis hash, which every handshake commits to.
    pub genesis: Hash,
    /// Our static key.
    pub identity: Identity,
    /// For connecting and shaking hands, in milliseconds.
    pub handshake_ms: u64,
    /// Inbound connections that may be shaking hands at a time. For one more the oldest goes.
    pub max_handshakes: usize,
    /// A peer that takes nothing of what waits for it for so long is dropped, in milliseconds.
    pub stall_ms: u64,
}

impl ReactorConfig {
    /// The usual settings: ten seconds for a handshake, 256 at a time, a minute of not reading.
    pub fn new(listen: SocketAddr, genesis: Hash, identity: Identity) -> ReactorConfig {
        ReactorConfig {
            listen,
            genesis,
            identity,
            handshake_ms: 10_000,
            max_handshakes: 256,
            stall_ms: 60_000,
        }
    }
}

/// Interrupts the reactor's sleep. Send first, then wake.
#[derive(Clone, Debug)]
pub struct ReactorWaker(Arc<Bell>);

#[derive(Debug)]
struct Bell {
    waker: Waker,
    /// Whether it was rung and the reactor has not begun to look: no need to ring again.
    rung: AtomicBool,
}

impl ReactorWaker {
    fn new(waker: Waker) -> ReactorWaker {
        ReactorWaker(Arc::new(Bell { waker, rung: AtomicBool::new(false) }))
    }

    /// Makes the reactor look at its pipeline and services soon.
    pub fn wake(&self) {
        if self.0.rung.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Err(error) = self.0.waker.wake() {
            // It also looks by itself once a second.
            tracing::warn!(target: "net", %error, "cannot wake the reactor");
        }
    }

    /// The reactor is awake. Must come before it looks: who sends after its look rings again.
    fn heard(&self) {
        self.0.rung.swap(false, Ordering::AcqRel);
    }
}

/// The event loop, before it runs.
pub struct Reactor {
    poll: Poll,
    waker: ReactorWaker,
    next_token: usize,
    clock: Clock,
    peers_token: Token,
    peers: PeerPort,
    services: Vec<(Token, ServicePort)>,
}

impl Reactor {
    /// Opens the peers' listener.
    ///
    /// # Errors
    /// When the system refuses, for example because the port is taken.
    pub fn bind(config: ReactorConfig) -> io::Result<Reactor> {
        let poll = Poll::new()?;
        let waker = ReactorWaker::new(Waker::new(poll.registry(), WAKER)?);
        let mut next_token = WAKER.0 + 1;
        let mut door = Door { registry: poll.registry(), next_token: &mut next_token };
        let (peers_token, listener) = door.listener(config.listen)?;
        let peers = PeerPort::new(config, listener);
        let clock = Clock::start();
        Ok(Reactor { poll, waker, next_token, clock, peers_token, peers, services: Vec::new() })
    }

    /// Where peers can connect to.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn peers_address(&mut self) -> io::Result<SocketAddr> {
        self.peers.listener().address()
    }

    /// Opens a service's listener and returns its address.
    ///
    /// # Errors
    /// When the system refuses, for example because the port is taken.
    pub fn add_service(
        &mut self,
        listen: SocketAddr,
        limits: ServiceLimits,
        service: Box<dyn Service>,
    ) -> io::Result<SocketAddr> {
        let registry = self.poll.registry();
        let mut door = Door { registry, next_token: &mut self.next_token };
        let (token, listener) = door.listener(listen)?;
        let address = listener.address()?;
        self.services.push((token, ServicePort::new(listener, limits, service)));
        Ok(address)
    }

    /// A handle to interrupt the reactor's sleep.
    pub fn waker(&self) -> ReactorWaker {
        self.waker.clone()
    }

    /// Runs until the pipeline says that the node stops, then writes what can be written within
    /// half a second and saves the address book.
    ///
    /// # Errors
    /// When the system's event queue fails.
    pub fn run(self, protocol: Protocol, pipeline: impl Pipeline) -> io::Result<()> {
        let unsent = VecDeque::new();
        let mut driver = Driver { reactor: self, protocol, pipeline, unsent, lag_ms: 0 };
        driver.run()
    }
}

/// A running reactor.
struct Driver<P> {
    reactor: Reactor,
    protocol: Protocol,
    pipeline: P,
    /// Work the pipeline did not take yet. While there is any, peers are not read.
    unsent: VecDeque<Work>,
    /// How far the protocol's time is behind the clock: it stands still while peers are not
    /// read, because what they sent in time must not count as late.
    lag_ms: u64,
}

impl<P: Pipeline> Driver<P> {
    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        while !self.pipeline.stopping() {
            let busy = self.round();
            let wait_ms = if self.unsent.is_empty() { MAX_WAIT_MS } else { FULL_WAIT_MS };
            let max_ms = if busy { 0 } else { wait_ms };
            let now = self.reactor.clock.now();
            self.sleep(&mut events, wait(now, self.wake_at(), max_ms))?;
            if !self.unsent.is_empty() {
                self.lag_ms += self.reactor.clock.now() - now;
            }
        }
        self.stop(&mut events)
    }

    /// Writes what can be written in the time left, and saves the book.
    fn stop(&mut self, events: &mut Events) -> io::Result<()> {
        let stop_by = self.reactor.clock.now() + STOP_MS;
        self.give_services_turns();
        while !self.is_flushed() && self.reactor.clock.now() < stop_by {
            self.sleep(events, wait(self.reactor.clock.now(), Some(stop_by), STOP_MS))?;
            self.give_services_turns();
            self.reactor.peers.flush_all(self.reactor.clock.now());
        }
        self.pipeline.save_book(self.protocol.save_book());
        Ok(())
    }

    /// Gives everybody a turn; returns whether there is more to do at once.
    fn round(&mut self) -> bool {
        let now = self.reactor.clock.now();
        self.accept(now);
        let mut busy = self.give_services_turns();
        busy |= self.take_inputs(now);
        self.reactor.peers.expire(now);
        if self.protocol_wake_at().is_some_and(|at| now >= at) {
            self.tell(now, Input::Tick);
        }
        self.pass_notices(now);
        busy |= self.read_peers(now);
        self.reactor.peers.flush_all(now);
        self.pass_notices(now);
        busy
    }

    /// Takes what the pipeline has; returns whether there may be more.
    fn take_inputs(&mut self, now: Millis) -> bool {
        self.retry_work();
        for _ in 0..INPUTS_A_ROUND {
            let Some(input) = self.pipeline.receive() else { return false };
            self.tell(now, input);
        }
        true
    }

    fn accept(&mut self, now: Millis) {
        let Reactor { poll, next_token, peers, services, .. } = &mut self.reactor;
        let mut door = Door { registry: poll.registry(), next_token };
        let protocol = &self.protocol;
        peers.accept(&mut door, now, |ip| protocol.may_knock(ip, now));
        for (_, service) in services {
            service.accept(&mut door, now);
        }
    }

    fn give_services_turns(&mut self) -> bool {
        let now = self.reactor.clock.now();
        let mut busy = false;
        for (_, service) in &mut self.reactor.services {
            service.turn(now);
            busy |= service.has_work();
        }
        busy
    }

    /// Reads from peers until they or the pipeline's room are exhausted; returns whether there
    /// is more to read at once.
    fn read_peers(&mut self, now: Millis) -> bool {
        self.reactor.peers.shake_hands(now);
        self.pass_notices(now);
        for _ in 0..INPUTS_A_ROUND {
            if !self.unsent.is_empty() {
                return false;
            }
            let Some(input) = self.reactor.peers.next(now) else { break };
            self.tell(now, input);
        }
        self.reactor.peers.has_work()
    }

    fn pass_notices(&mut self, now: Millis) {
        while let Some(notice) = self.reactor.peers.notice() {
            self.tell(now, notice);
        }
    }

    /// Tells the protocol something and does what it wants.
    fn tell(&mut self, now: Millis, input: Input) {
        if let Input::Connected { peer, address, direction, node_id } = &input {
            let peer = peer.0;
            tracing::info!(target: "net", peer, %address, ?direction, %node_id, "connected");
        }
        self.protocol.handle(Millis(now.0.saturating_sub(self.lag_ms)), input);
        while let Some(output) = self.protocol.poll() {
            self.obey(now, output);
        }
    }

    fn obey(&mut self, now: Millis, output: Output) {
        let Reactor { poll, next_token, peers, .. } = &mut self.reactor;
        match output {
            Output::Connect(address) => {
                let mut door = Door { registry: poll.registry(), next_token };
                peers.connect(address, &mut door, now);
            }
            Output::Disconnect { peer, reason } => peers.disconnect(peer, &reason, now),
            Output::Send { peer, message } => peers.send(peer, &message),
            Output::Rest { peer, until } => peers.rest(peer, until + self.lag_ms),
            Output::Work(work) => {
                self.unsent.push_back(work);
                self.retry_work();
            }
            Output::SaveBook(bytes) => self.pipeline.save_book(bytes),
            Output::Peers(list) => self.pipeline.peers_changed(list),
        }
    }

    /// Sends on what the pipeline takes, in order.
    fn retry_work(&mut self) {
        while let Some(work) = self.unsent.pop_front() {
            if let Err(work) = self.pipeline.send(work) {
                self.unsent.push_front(work);
                return;
            }
        }
    }

    fn protocol_wake_at(&self) -> Option<Millis> {
        self.protocol.wake_at().map(|at| at + self.lag_ms)
    }

    fn wake_at(&self) -> Option<Millis> {
        let services = self.reactor.services.iter().filter_map(|(_, service)| service.wake_at());
        services.chain(self.reactor.peers.wake_at()).chain(self.protocol_wake_at()).min()
    }

    fn sleep(&mut self, events: &mut Events, duration: Duration) -> io::Result<()> {
        match self.reactor.poll.poll(events, Some(duration)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        self.reactor.waker.heard();
        let now = self.reactor.clock.now();
        for event in events.iter() {
            let token = event.token();
            if token == self.reactor.peers_token {
                self.reactor.peers.listener().note(now);
            }
            self.reactor.peers.note(event);
            for (listener, service) in &mut self.reactor.services {
                if token == *listener {
                    service.listener().note(now);
                }
                service.note(event);
            }
        }
        Ok(())
    }

    fn is_flushed(&self) -> bool {
        self.reactor.peers.is_flushed()
            && self.reactor.services.iter().all(|(_, service)| service.is_flushed())
    }
}

#[cfg(test)]
mod tests;

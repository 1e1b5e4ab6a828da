//! The admin port: one line each way. Clients are served in order, one request at a time each;
//! what takes long (reads, writes, waits) is handed to other threads and answered when they do.
//!
//! Like every service of the reactor it never blocks: when a queue is full the client is told
//! `-BUSY`.

mod answers;
mod bans;
mod client;
mod lives;
mod redis;
mod requests;
mod status;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use chain::ledger::{self, RequestId};
use chain::params::Network;
use chain::store::ChainPoint;
use crossbeam::channel::{Receiver, Sender};
use net::{ClientId, Millis, PeerInfo, Service, ServiceOutput};
use parking_lot::Mutex;
use serde_json::Value;

use crate::bans::BanList;
use crate::command;
use crate::reads;
use crate::reply::{self, Code, Failure};
use crate::request::{Read, Wait};
use crate::stratum::Workers;
use client::Client;
use lives::Lives;
use redis::Redis;
use status::Status;

/// A client that says nothing for so long, and waits for nothing, is disconnected.
const IDLE_MS: u64 = 10 * 60 * 1000;

/// What other threads said that is heard in one turn: clients have theirs in between.
const EVENTS_A_TURN: usize = 128;

/// Waits that end in one turn. A block can end those of all clients, and to send each an answer
/// takes longer than to serve a read.
const ENDS_A_TURN: usize = 8;

/// What other threads tell the admin port.
#[derive(Debug)]
pub enum Event {
    /// The ledger said something.
    Ledger(ledger::Output),
    /// A reader has answered.
    Read {
        /// Whose question.
        request: RequestId,
        /// The tip it was read at.
        tip: Option<ChainPoint>,
        /// The answer.
        answer: Result<reads::Answer, Failure>,
    },
    /// The verify stage refused what a client submitted.
    Refused {
        /// Whose request.
        request: RequestId,
        /// Why.
        failure: Failure,
    },
}

/// A question for a reader thread.
#[derive(Debug)]
pub struct ReadJob {
    /// Names the answer.
    pub request: RequestId,
    /// The question.
    pub read: Read,
}

/// The latest list of peers, put there by the reactor.
pub type PeerList = Arc<Mutex<Arc<[PeerInfo]>>>;

/// Transactions that a client has signed, at least one.
pub type SignedBytes = Vec<Vec<u8>>;

/// What the admin port is joined to.
pub struct Joints {
    /// From the readers.
    pub answers: Receiver<Event>,
    /// From the other threads.
    pub events: Receiver<Event>,
    /// To the ledger.
    pub ledger: Sender<ledger::Input>,
    /// To the verify stage: transactions that clients have signed.
    pub submit: Box<dyn Fn(RequestId, SignedBytes) -> Result<(), Failure> + Send>,
    /// To the readers.
    pub reads: Box<dyn Fn(ReadJob) -> Result<(), Failure> + Send>,
    /// To the protocol: addresses to connect to, bans.
    pub tell_protocol: Box<dyn Fn(net::Input) -> Result<(), Failure> + Send>,
    /// Keeps the bans beyond the end of the node.
    pub save_bans: Box<dyn Fn(BanList) -> Result<(), Failure> + Send>,
    /// The peers.
    pub peers: PeerList,
    /// The miners' counters; `None` when this node does not mine.
    pub search: Option<Arc<miner::Search>>,
    /// The accounts of the Stratum port; `None` when there is none.
    pub workers: Option<Arc<Mutex<Workers>>>,
    /// Stops the node.
    pub stop: Box<dyn Fn() + Send>,
}

/// How the admin port is set up.
pub struct AdminOptions {
    /// The network, for limits and status.
    pub network: Network,
    /// What `AUTH` must name.
    pub cookie: String,
    /// Whether clients on loopback may do everything without `AUTH`.
    pub trust_loopback: bool,
    /// Where the chain stands at the start.
    pub start: ledger::TipChange,
    /// The operator's bans at the start.
    pub bans: BanList,
}

/// The admin port.
pub struct Admin {
    options: AdminOptions,
    joints: Joints,
    clients: BTreeMap<ClientId, Client>,
    /// Clients that have asked to be told what happens. Some may have taken it back.
    listening: BTreeSet<ClientId>,
    /// Who waits for which answer of another thread.
    asked: BTreeMap<RequestId, Asked>,
    next_request: u64,
    lives: Lives,
    /// Waits that have come to an end, and how.
    settled: VecDeque<(ClientId, Result<Value, Failure>)>,
    status: Status,
    bans: BanList,
    redis: Redis,
    /// Whether it was the readers' turn to be heard. They and the others take turns: answers do
    /// not wait for all that a block brings, and not the other way round.
    hears_answers: bool,
    outbox: VecDeque<ServiceOutput>,
    now: Millis,
}

/// Why a question was asked.
#[derive(Clone, Copy, Debug)]
enum Asked {
    /// The answer goes to the client as it is.
    Read(ClientId),
    /// A write; with its wait, if any.
    Write(ClientId, Option<Wait>),
    /// `TX`: first the index, then the pool.
    Transaction(ClientId, chain::Hash),
    /// `WAIT`: likewise.
    Wait(ClientId, chain::Hash),
    /// `TX` of what the pool does not have: a block may have taken it from there meanwhile, which
    /// the index has by then.
    TransactionAgain(ClientId, chain::Hash),
    /// `WAIT`: likewise.
    WaitAgain(ClientId, chain::Hash),
    /// `BALANCE`.
    Balance(ClientId),
    /// Something of the Redis protocol.
    Redis(ClientId),
}

impl Asked {
    fn client(self) -> ClientId {
        match self {
            Asked::Read(client)
            | Asked::Write(client, _)
            | Asked::Transaction(client, _)
            | Asked::TransactionAgain(client, _)
            | Asked::WaitAgain(client, _)
            | Asked::Wait(client, _)
            | Asked::Balance(client)
            | Asked::Redis(client) => client,
        }
    }
}

impl Admin {
    /// An admin port without clients.
    pub fn new(options: AdminOptions, joints: Joints) -> Admin {
        Admin {
            status: Status::new(&options.start),
            bans: options.bans.clone(),
            redis: Redis::new(options.start.tip),
            options,
            joints,
            clients: BTreeMap::new(),
            listening: BTreeSet::new(),
            asked: BTreeMap::new(),
            next_request: 0,
            lives: Lives::default(),
            settled: VecDeque::new(),
            hears_answers: false,
            outbox: VecDeque::new(),
            now: Millis(0),
        }
    }

    /// Serves a client's lines until it has none or must wait.
    fn serve(&mut self, id: ClientId) {
        while let Some(client) = self.clients.get_mut(&id) {
            if client.redis.is_none() && client.turns_to_redis() {
                client.turn_to_redis(self.now);
            }
            if client.redis.is_some() {
                self.serve_redis(id);
                break;
            }
            match client.next_line() {
                Ok(Some(line)) => self.line(id, &line),
                Ok(None) => {
                    let client = &self.clients[&id];
                    if client.ended && !client.busy && !client.is_full() && !client.watches() {
                        self.close(id);
                    }
                    break;
                }
                Err(failure) => {
                    self.send(id, reply::line(&Err(failure)));
                    self.close(id);
                    break;
                }
            }
        }
        if let Some(client) = self.clients.get_mut(&id)
            && let Some(output) = client.flow(id)
        {
            self.outbox.push_back(output);
        }
    }

    fn line(&mut self, id: ClientId, line: &[u8]) {
        if is_http(line) {
            // A web page must not be able to write through the browser of who runs a node.
            let failure = Failure::new(Code::NoProto, "this is no web server");
            self.clients.get_mut(&id).expect("it sent the line").discard();
            self.send(id, reply::line(&Err(failure)));
            return self.close(id);
        }
        let parsed = std::str::from_utf8(line)
            .map_err(|_| Failure::new(Code::Usage, "the line is not UTF-8; use base64:.. words"))
            .and_then(command::parse);
        match parsed {
            Ok(None) => {}
            Ok(Some((command, request))) => {
                let cut_off = self.clients[&id].is_cut_off() && command.needs_auth;
                let started = if cut_off {
                    // Its end may be missing with the end of its value.
                    Err(Failure::new(Code::Usage, "the line was cut off: it has no line end"))
                } else {
                    self.request(id, command, request)
                };
                if let Err(failure) = started {
                    // Not busy any more, so that `serve`, which called this, goes on by itself.
                    self.clients.get_mut(&id).expect("it sent the line").busy = false;
                    self.finish(id, &Err(failure));
                }
            }
            Err(failure) => self.finish(id, &Err(failure)),
        }
    }

    /// Sends the reply to a client's request and goes on with its next line.
    fn finish(&mut self, id: ClientId, answer: &Result<Value, Failure>) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let was_busy = std::mem::take(&mut client.busy);
        client.active_at = self.now;
        // A client has one open request, and this is its reply: nothing else may answer it.
        if let Some(question) = client.question.take() {
            self.asked.remove(&question);
        }
        self.lives.forget(id);
        match client.redis {
            Some(_) => self.reply_json(id, answer),
            None => self.send(id, reply::line(answer)),
        }
        if was_busy {
            self.serve(id);
        }
    }

    fn send(&mut self, client: ClientId, bytes: Vec<u8>) {
        if let Some(client) = self.clients.get_mut(&client) {
            client.unsent += bytes.len();
        }
        self.outbox.push_back(ServiceOutput::Send { client, bytes });
    }

    fn close(&mut self, client: ClientId) {
        self.outbox.push_back(ServiceOutput::Close { client });
    }
}

impl Service for Admin {
    fn opened(&mut self, now: Millis, id: ClientId, address: SocketAddr) {
        self.now = now;
        let authorised = self.options.trust_loopback && address.ip().is_loopback();
        let max_line = client::max_line(&self.options.network);
        self.clients.insert(id, Client::new(now, authorised, max_line, address));
    }

    fn received(&mut self, now: Millis, id: ClientId, bytes: &[u8]) {
        self.now = now;
        if let Some(client) = self.clients.get_mut(&id) {
            client.received(now, bytes);
            self.serve(id);
        }
    }

    fn ended(&mut self, now: Millis, id: ClientId) {
        self.now = now;
        if let Some(client) = self.clients.get_mut(&id) {
            client.end();
            self.serve(id);
        }
    }

    fn closed(&mut self, now: Millis, id: ClientId) {
        self.now = now;
        self.asked.retain(|_, asked| asked.client() != id);
        if let Some(session) = self.clients.remove(&id).and_then(|client| client.redis) {
            self.forget_redis(&session);
        }
        self.listening.remove(&id);
        self.lives.forget(id);
    }

    fn drained(&mut self, now: Millis, id: ClientId) {
        self.now = now;
        if let Some(client) = self.clients.get_mut(&id)
            && std::mem::take(&mut client.unsent) > 0
        {
            self.serve(id);
        }
    }

    fn woken(&mut self, now: Millis) {
        self.now = now;
        self.status.start(now);
        let Joints { answers, events, .. } = &self.joints;
        let are_next = events.is_empty() || !self.hears_answers;
        self.hears_answers = are_next && !answers.is_empty();
        let queue = if self.hears_answers { answers.clone() } else { events.clone() };
        queue.try_iter().take(EVENTS_A_TURN).for_each(|event| self.event(event));
        for _ in 0..ENDS_A_TURN {
            let Some((client, answer)) = self.settled.pop_front() else { break };
            self.finish(client, &answer);
        }
        for (client, answer) in self.lives.overdue(now) {
            self.finish(client, &Err(answer));
        }
        self.redis_overdue(now);
        let idle: Vec<ClientId> = self
            .clients
            .iter()
            .filter(|(_, client)| client.idle_at().is_some_and(|at| at + IDLE_MS <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in idle {
            let failure = Failure::new(Code::Idle, "nothing was asked for ten minutes");
            self.send(id, reply::line(&Err(failure)));
            self.close(id);
        }
    }

    fn poll(&mut self) -> Option<ServiceOutput> {
        self.outbox.pop_front()
    }

    fn wake_at(&self) -> Option<Millis> {
        let Joints { answers, events, .. } = &self.joints;
        if !(answers.is_empty() && events.is_empty() && self.settled.is_empty()) {
            return Some(self.now);
        }
        let idle = self.clients.values().filter_map(Client::idle_at).min().map(|at| at + IDLE_MS);
        let waits = [self.lives.next_deadline(), self.redis_wake_at()];
        idle.into_iter().chain(waits.into_iter().flatten()).min()
    }
}

/// Whether a line is of a web browser's request.
fn is_http(line: &[u8]) -> bool {
    let starts =
        |word: &[u8]| line.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    let ends = |word: &[u8]| line.ends_with(word);
    starts(b"host:") || starts(b"post ") || ends(b" HTTP/1.1") || ends(b" HTTP/1.0")
}

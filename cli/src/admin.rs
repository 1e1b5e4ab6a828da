//! The admin port: one line each way. Clients are served in order, one request at a time each;
//! what takes long (reads, writes, waits) is handed to other threads and answered when they do.
//!
//! Like every service of the reactor it never blocks: when a queue is full the client is told
//! `-BUSY`.

mod client;
mod lives;
mod status;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use chain::ledger::{self, Answer, PoolStatus, RequestId};
use chain::params::Network;
use crossbeam::channel::{Receiver, Sender, TrySendError};
use net::{ClientId, Millis, PeerInfo, Service, ServiceOutput};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::command::{self, COMMANDS, Command};
use crate::reply::{self, Code, Failure};
use crate::request::{Read, Request, Wait};
use client::Client;
use lives::{Lives, Waiter};
use status::Status;

/// A client that says nothing for so long, and waits for nothing, is disconnected.
const IDLE_MS: u64 = 10 * 60 * 1000;

/// What other threads tell the admin port.
#[derive(Debug)]
pub enum Event {
    /// The ledger said something.
    Ledger(ledger::Output),
    /// A reader has answered.
    Read {
        /// Whose question.
        request: RequestId,
        /// The answer.
        answer: Result<Value, Failure>,
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

/// What the admin port is joined to.
pub struct Joints {
    /// From other threads.
    pub events: Receiver<Event>,
    /// To the ledger.
    pub ledger: Sender<ledger::Input>,
    /// To the verify stage: transactions that clients have signed.
    pub submit: Box<dyn Fn(RequestId, Vec<u8>) -> Result<(), Failure> + Send>,
    /// To the readers.
    pub reads: Box<dyn Fn(ReadJob) -> Result<(), Failure> + Send>,
    /// To the protocol: addresses to connect to.
    pub add_peer: Box<dyn Fn(SocketAddr) -> Result<(), Failure> + Send>,
    /// The peers.
    pub peers: PeerList,
    /// The miners' counters; `None` when this node does not mine.
    pub search: Option<Arc<miner::Search>>,
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
}

/// The admin port.
pub struct Admin {
    options: AdminOptions,
    joints: Joints,
    clients: BTreeMap<ClientId, Client>,
    /// Who waits for which answer of another thread.
    asked: BTreeMap<RequestId, Asked>,
    next_request: u64,
    lives: Lives,
    status: Status,
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
    /// `BALANCE`.
    Balance(ClientId),
}

impl Asked {
    fn client(self) -> ClientId {
        match self {
            Asked::Read(client)
            | Asked::Write(client, _)
            | Asked::Transaction(client, _)
            | Asked::Wait(client, _)
            | Asked::Balance(client) => client,
        }
    }
}

impl Admin {
    /// An admin port without clients.
    pub fn new(options: AdminOptions, joints: Joints) -> Admin {
        Admin {
            options,
            joints,
            clients: BTreeMap::new(),
            asked: BTreeMap::new(),
            next_request: 0,
            lives: Lives::default(),
            status: Status::default(),
            outbox: VecDeque::new(),
            now: Millis(0),
        }
    }

    /// Serves a client's lines until it has none or must wait.
    fn serve(&mut self, id: ClientId) {
        while let Some(client) = self.clients.get_mut(&id) {
            match client.next_line() {
                Ok(Some(line)) => self.line(id, &line),
                Ok(None) => {
                    let client = &self.clients[&id];
                    if client.ended && !client.busy && !client.watches() {
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
        let parsed = std::str::from_utf8(line)
            .map_err(|_| Failure::new(Code::Usage, "the line is not UTF-8; use base64:.. words"))
            .and_then(command::parse);
        match parsed {
            Ok(None) => {}
            Ok(Some((command, request))) => {
                if let Err(failure) = self.request(id, command, request) {
                    self.finish(id, &Err(failure));
                }
            }
            Err(failure) => self.finish(id, &Err(failure)),
        }
    }

    /// Starts a request. Whoever answers later has `busy` set.
    fn request(
        &mut self,
        id: ClientId,
        command: &Command,
        request: Request,
    ) -> Result<(), Failure> {
        if command.needs_auth && !self.clients[&id].authorised {
            let what = format!("{} needs AUTH with the node's admin.cookie", command.name);
            return Err(Failure::new(Code::NoAuth, what));
        }
        match request {
            Request::Read(read) => self.read(Asked::Read(id), read),
            Request::Transaction(txid) => {
                self.read(Asked::Transaction(id, txid), Read::Inclusion(txid))
            }
            Request::Write { draft, wait } => {
                let request = self.ask(Asked::Write(id, wait));
                self.tell_ledger(request, ledger::Input::Write { request, draft })
            }
            Request::Submit { transaction, wait } => {
                let request = self.ask(Asked::Write(id, wait));
                (self.joints.submit)(request, transaction).inspect_err(|_| self.forget(request))
            }
            Request::Balance(key) => {
                let request = self.ask(Asked::Balance(id));
                self.tell_ledger(request, ledger::Input::Account { request, key })
            }
            Request::Wait { txid, wait } => {
                // Registered before the index is asked, so that no block is missed in between.
                self.lives.wait(txid, self.waiter(id, wait));
                self.read(Asked::Wait(id, txid), Read::Inclusion(txid))
            }
            Request::Mine { blocks, timeout_s } => self.mine(id, blocks, timeout_s),
            other => {
                let answer = self.immediate(id, other)?;
                self.finish(id, &Ok(answer));
                Ok(())
            }
        }
    }

    /// Requests that are answered from what the port knows.
    fn immediate(&mut self, id: ClientId, request: Request) -> Result<Value, Failure> {
        let client = self.clients.get_mut(&id).expect("it sent the line");
        match request {
            Request::Watch { prefix, confirmations } => {
                let watches = client.watch(prefix, confirmations)?;
                Ok(json!({ "watching": watches }))
            }
            Request::Unwatch => {
                client.unwatch();
                Ok(json!({ "watching": 0 }))
            }
            Request::Status => {
                let joints = &self.joints;
                Ok(self.status.show(
                    self.now,
                    &self.options.network,
                    &joints.peers.lock(),
                    joints.search.as_deref(),
                ))
            }
            Request::Peers => Ok(status::show_peers(self.now, &self.joints.peers.lock())),
            Request::AddPeer(address) => {
                (self.joints.add_peer)(address)?;
                Ok(json!({ "adding": address.to_string() }))
            }
            Request::Auth(token) => {
                if !same(token.as_bytes(), self.options.cookie.as_bytes()) {
                    let what = "the token is not the one in admin.cookie";
                    return Err(Failure::new(Code::NoAuth, what));
                }
                client.authorised = true;
                Ok(json!({ "authorised": true }))
            }
            Request::Help(name) => help(name.as_deref()),
            Request::Quit => {
                client.ended = true;
                client.discard();
                Ok(json!({ "bye": true }))
            }
            Request::Shutdown => {
                (self.joints.stop)();
                Ok(json!({ "stopping": true }))
            }
            _ => unreachable!("every other request is answered by another thread"),
        }
    }

    fn mine(&mut self, id: ClientId, blocks: u32, timeout_s: u64) -> Result<(), Failure> {
        if self.joints.search.is_none() {
            return Err(Failure::new(Code::Refused, "this node does not mine; start it with --mine"));
        }
        let target = self.status.height() + blocks;
        self.lives.wait_for_height(target, self.waiter(id, Wait { confirmations: 1, timeout_s }));
        self.clients.get_mut(&id).expect("it sent the line").busy = true;
        self.want_height(target)
    }

    fn want_height(&self, height: u32) -> Result<(), Failure> {
        self.joints.ledger.try_send(ledger::Input::MineTo { height }).map_err(|_| busy())
    }

    fn waiter(&self, client: ClientId, wait: Wait) -> Waiter {
        let deadline = self.now + wait.timeout_s.saturating_mul(1000);
        Waiter { client, confirmations: wait.confirmations, deadline }
    }

    fn ask(&mut self, asked: Asked) -> RequestId {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.asked.insert(request, asked);
        self.clients.get_mut(&asked.client()).expect("it sent the line").busy = true;
        request
    }

    fn forget(&mut self, request: RequestId) {
        self.asked.remove(&request);
    }

    fn read(&mut self, asked: Asked, read: Read) -> Result<(), Failure> {
        let request = self.ask(asked);
        (self.joints.reads)(ReadJob { request, read }).inspect_err(|_| self.forget(request))
    }

    fn tell_ledger(&mut self, request: RequestId, input: ledger::Input) -> Result<(), Failure> {
        self.joints.ledger.try_send(input).map_err(|error| {
            self.forget(request);
            match error {
                TrySendError::Full(_) => busy(),
                TrySendError::Disconnected(_) => Failure::new(Code::Busy, "the node is stopping"),
            }
        })
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Ledger(output) => self.ledger_said(output),
            Event::Refused { request, failure } => self.answered(request, Err(failure)),
            Event::Read { request, answer } => self.answered(request, answer),
        }
    }

    fn ledger_said(&mut self, output: ledger::Output) {
        match output {
            ledger::Output::Answer { request, answer } => self.ledger_answered(request, answer),
            ledger::Output::TipChanged(change) => {
                self.status.tip_changed(&change);
                for height in self.lives.tip_changed(&change) {
                    self.want_height(height).ok(); // a busy ledger makes blocks anyway
                }
                self.settle();
                self.tell_watchers(|client| client.tip_events(&change));
            }
            ledger::Output::Pooled { transaction, reverted, .. } => {
                self.status.pooled(&transaction);
                if !reverted {
                    self.tell_watchers(|client| client.pooled_events(&transaction));
                }
            }
            ledger::Output::Dropped { txid, reason } => {
                self.lives.dropped(&txid, reason);
                self.settle();
                self.tell_watchers(|client| client.dropped_events(&txid, reason));
            }
            _ => {}
        }
    }

    fn ledger_answered(&mut self, request: RequestId, answer: Answer) {
        let Some(asked) = self.asked.get(&request).copied() else { return };
        let answer = match (asked, answer) {
            (Asked::Write(client, Some(wait)), Answer::Accepted { txid }) => {
                self.asked.remove(&request);
                self.lives.wait(txid, self.waiter(client, wait));
                self.lives.is_pending(&txid);
                return;
            }
            (_, Answer::Accepted { txid }) => {
                Ok(json!({ "txid": txid.to_string(), "status": "pending" }))
            }
            (Asked::Wait(_, txid), Answer::Status(PoolStatus::Pending)) => {
                self.asked.remove(&request);
                self.lives.is_pending(&txid);
                return;
            }
            (Asked::Wait(_, txid), Answer::Status(PoolStatus::Dropped(reason))) => {
                self.asked.remove(&request);
                self.lives.dropped(&txid, reason);
                return self.settle();
            }
            (Asked::Wait(client, txid), Answer::Status(PoolStatus::Unknown)) => {
                self.lives.forget(client);
                Err(unknown(&txid))
            }
            (Asked::Transaction(_, txid), Answer::Status(status)) => show_status(&txid, &status),
            (_, Answer::Status(_)) => unreachable!("only TX and WAIT look transactions up"),
            (_, Answer::Refused(refusal)) => Err(Failure::new(Code::Refused, refusal)),
            (_, Answer::Invalid(error)) => Err(Failure::new(Code::Refused, error)),
            (_, Answer::NoKey) => Err(Failure::new(
                Code::Locked,
                "the node's wallet is locked; start it with --passphrase-file",
            )),
            (_, Answer::Account { key, balance, next_sequence, pooled }) => Ok(json!({
                "address": key.to_string(),
                "balance": balance,
                "coins": command::show_coins(balance),
                "next_sequence": next_sequence,
                "pending": pooled,
            })),
        };
        self.answered(request, answer);
    }

    /// Passes an answer on, or asks the next question.
    fn answered(&mut self, request: RequestId, answer: Result<Value, Failure>) {
        let Some(asked) = self.asked.remove(&request) else { return };
        match (asked, &answer) {
            (Asked::Transaction(_, txid) | Asked::Wait(_, txid), Err(failure))
                if failure.code == Code::NotFound && failure.message != unknown(&txid).message =>
            {
                self.asked.insert(request, asked);
                let input = ledger::Input::Lookup { request, txid };
                if let Err(failure) = self.tell_ledger(request, input) {
                    self.lives.forget(asked.client());
                    self.finish(asked.client(), &Err(failure));
                }
            }
            (Asked::Wait(_, txid), Ok(included)) => {
                self.lives.found(&txid, included, self.status.height());
                self.settle();
            }
            _ => self.finish(asked.client(), &answer),
        }
    }

    /// Answers the waits that have come to an end.
    fn settle(&mut self) {
        for (client, answer) in self.lives.settled() {
            self.finish(client, &answer);
        }
    }

    /// Sends the reply to a client's request and goes on with its next line.
    fn finish(&mut self, id: ClientId, answer: &Result<Value, Failure>) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let was_busy = std::mem::take(&mut client.busy);
        client.active_at = self.now;
        self.send(id, reply::line(answer));
        if was_busy {
            self.serve(id);
        }
    }

    fn tell_watchers(&mut self, mut events: impl FnMut(&mut Client) -> Vec<Value>) {
        for (id, client) in &mut self.clients {
            if client.watches() {
                for event in events(client) {
                    let bytes = reply::event(&event);
                    self.outbox.push_back(ServiceOutput::Send { client: *id, bytes });
                }
            }
        }
    }

    fn send(&mut self, client: ClientId, bytes: Vec<u8>) {
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
        self.clients.insert(id, Client::new(now, authorised, max_line));
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
        self.clients.remove(&id);
        self.asked.retain(|_, asked| asked.client() != id);
        self.lives.forget(id);
    }

    fn woken(&mut self, now: Millis) {
        self.now = now;
        while let Ok(event) = self.joints.events.try_recv() {
            self.event(event);
        }
        for (client, answer) in self.lives.overdue(now) {
            self.finish(client, &Err(answer));
        }
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
        let idle = self.clients.values().filter_map(Client::idle_at).min().map(|at| at + IDLE_MS);
        idle.into_iter().chain(self.lives.next_deadline()).min()
    }
}

fn busy() -> Failure {
    Failure::new(Code::Busy, "the node has more to do than it can take; try again")
}

fn unknown(txid: &chain::Hash) -> Failure {
    let what = format!("transaction {txid} is neither in the chain nor in this node's pool");
    Failure::new(Code::NotFound, what)
}

fn show_status(txid: &chain::Hash, status: &PoolStatus) -> Result<Value, Failure> {
    match status {
        PoolStatus::Pending => Ok(json!({ "txid": txid.to_string(), "status": "pending" })),
        PoolStatus::Dropped(reason) => Ok(json!({
            "txid": txid.to_string(),
            "status": reason.code(),
            "message": reason.to_string(),
        })),
        PoolStatus::Unknown => Err(unknown(txid)),
    }
}

fn help(name: Option<&str>) -> Result<Value, Failure> {
    let show = |command: &Command| {
        let usage = format!("{} {}", command.name, command.usage);
        json!({ "command": usage.trim_end(), "about": command.about, "auth": command.needs_auth })
    };
    match name {
        None => Ok(COMMANDS.iter().map(show).collect()),
        Some(name) => command::find(name)
            .map(show)
            .ok_or_else(|| Failure::new(Code::NotFound, format!("no command {name:?}"))),
    }
}

/// Compares without telling by its time where the first difference is.
fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len()
        && left.iter().zip(right).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

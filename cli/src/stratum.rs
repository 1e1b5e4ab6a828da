//! The Stratum port: work for miners of all makes, and blocks of what they find.
//!
//! A [`Service`] of the reactor, so it never blocks. The ledger's templates come in through a
//! queue; each miner gets the newest as a job that pays the address its user name is, or the
//! node's own payee. A new tip is told at once, new transactions every half minute. What solves
//! a template goes back to the ledger, and waits here while the ledger's queue is full: it is
//! never dropped.

mod connection;
mod work;
mod workers;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use chain::ledger::Mined;
use chain::template::Template;
use chain::tx::PublicKey;
use crossbeam::channel::{Receiver, Sender, TrySendError};
use miner::job::VERSION_MASK;
use miner::stratum::server::{self, Event, Login, Session, Share};
use net::{ClientId, Millis, Service, ServiceLimits, ServiceOutput};
use parking_lot::Mutex;

use connection::{Connection, Next};
use work::{Change, Work, payee_of};
pub use workers::Workers;

/// Miners are given a new job after so long though the tip is the same: some stop without one
/// for two minutes (minerd).
const RENEW_MS: u64 = 30_000;

/// Miners are looked at so often, to see which have become slow.
const ADJUST_MS: u64 = 10_000;

/// Blocks for which the ledger had no room are offered again after so long.
const RETRY_MS: u64 = 10;

/// Miners of one host, so that none can take every place. Loopback may have them all.
const MAX_MINERS_A_HOST: usize = MAX_MINERS / 2;

/// Miners in all.
const MAX_MINERS: usize = 512;

/// Set in the low half of every extranonce given here: the node's own threads count up from a start
/// without it.
const OF_STRATUM: u32 = 1 << 31;

/// Bounds of the port: 512 miners, who are sent about a kilobyte every half minute. One that does
/// not read is dropped after a minute or 256 KiB.
pub fn limits() -> ServiceLimits {
    ServiceLimits {
        max_clients: MAX_MINERS,
        refusal: server::refusal("too many miners: try again later, or at another node"),
        pause_output_bytes: 64 * 1024,
        max_output_bytes: 256 * 1024,
        stall_ms: 60_000,
    }
}

/// What the port is joined to.
pub struct StratumJoints {
    /// What to mine, from the ledger; `None` = nothing for now.
    pub templates: Receiver<Option<Arc<Template>>>,
    /// To the ledger: blocks.
    pub blocks: Sender<Mined>,
    /// The accounts, which the admin port shows.
    pub workers: Arc<Mutex<Workers>>,
}

/// The port.
pub struct Stratum {
    joints: StratumJoints,
    /// Who is paid when a user name is no address.
    payee: PublicKey,
    connections: BTreeMap<ClientId, Connection>,
    work: Option<Work>,
    /// Templates that shares can still come of, by their job's number.
    templates: BTreeMap<u64, Arc<Template>>,
    /// The ledger's newest, not given out yet.
    newest: Option<Arc<Template>>,
    next_extranonce1: u32,
    /// Blocks the ledger has had no room for.
    unsent: VecDeque<Mined>,
    outbox: VecDeque<ServiceOutput>,
    /// When miners are next given a job, or a sign of life.
    renew_at: Millis,
    adjust_at: Millis,
    now: Millis,
}

impl Stratum {
    /// A port without miners. `start` is where the extranonces of connections begin: two nodes that
    /// mine for one payee should not give the same ones.
    pub fn new(payee: PublicKey, start: u32, joints: StratumJoints) -> Stratum {
        Stratum {
            joints,
            payee,
            connections: BTreeMap::new(),
            work: None,
            templates: BTreeMap::new(),
            newest: None,
            next_extranonce1: start | OF_STRATUM,
            unsent: VecDeque::new(),
            outbox: VecDeque::new(),
            renew_at: Millis(0),
            adjust_at: Millis(0),
            now: Millis(0),
        }
    }

    /// Takes what the ledger says is to be mined.
    fn template(&mut self, template: Option<Arc<Template>>) {
        let Some(template) = template else {
            // Mined on demand, and nothing waits. What miners do now makes no block any more.
            (self.work, self.newest) = (None, None);
            self.forget_jobs();
            return;
        };
        let changes = self.work.as_ref().map(|work| work.change(&template));
        self.newest = Some(template);
        match changes {
            None | Some(Change::Tip) => {
                self.forget_jobs();
                self.renew();
            }
            Some(Change::FirstTransactions) => self.renew(),
            Some(Change::Contents) => {}
        }
    }

    fn forget_jobs(&mut self) {
        self.templates.clear();
        self.unsent.clear(); // too late for what is not in the ledger's queue by now
        self.connections.values_mut().for_each(|connection| connection.session.forget_jobs());
    }

    /// Gives everybody the newest template.
    fn renew(&mut self) {
        self.renew_at = self.now + RENEW_MS;
        if let Some(template) = self.newest.take() {
            self.templates.insert(template.job().id, Arc::clone(&template));
            if self.templates.len() > server::MAX_JOBS {
                self.templates.pop_first(); // no miner has a job of it any more
            }
            self.work = Some(Work::new(template));
        }
        let ids: Vec<ClientId> = self.connections.keys().copied().collect();
        ids.into_iter().for_each(|id| self.give(id));
    }

    /// Gives a miner what is mined, or a sign of life if there is nothing.
    fn give(&mut self, id: ClientId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if let Some(payee) = connection.payee {
            match &mut self.work {
                Some(work) => connection.session.give(&work.job(payee)),
                None => connection.session.repeat_difficulty(),
            }
        }
        self.flush(id);
    }

    fn flush(&mut self, id: ClientId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            let bytes = connection.session.take_output();
            if !bytes.is_empty() {
                self.outbox.push_back(ServiceOutput::Send { client: id, bytes });
            }
        }
    }

    /// Serves a miner's lines until it has none or has had its share of time.
    fn serve(&mut self, id: ClientId) {
        while let Some(connection) = self.connections.get_mut(&id) {
            match connection.next_line(self.now) {
                Next::Line(line) if line.trim_ascii().is_empty() => {}
                Next::Line(line) => {
                    let event = connection.session.line(self.now.0, &line);
                    self.event(id, event);
                }
                Next::Nothing => break,
                Next::Close(reason) => self.close(id, reason),
            }
        }
        if let Some(connection) = self.connections.get_mut(&id) {
            self.outbox.extend(connection.flow(id));
        }
    }

    fn close(&mut self, id: ClientId, reason: Option<&str>) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.close();
        }
        self.outbox.extend(
            reason.map(|reason| ServiceOutput::Send { client: id, bytes: server::refusal(reason) }),
        );
        self.outbox.push_back(ServiceOutput::Close { client: id });
    }

    fn event(&mut self, id: ClientId, event: Event) {
        match event {
            Event::Served => {}
            Event::Nonsense => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.nonsense();
                }
            }
            Event::Authorize(login) => self.authorise(id, login),
            Event::Share { user, verdict } => {
                self.joints.workers.lock().share(self.now, &user, &verdict);
                if let Ok(share) = verdict {
                    self.take(id, &user, &share);
                }
            }
        }
        self.flush(id);
        if self.connections.get_mut(&id).is_some_and(|it| it.session.wants_job(self.now.0)) {
            self.give(id);
        }
    }

    fn authorise(&mut self, id: ClientId, login: Login) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let user = login.user.clone();
        let was_ready = connection.session.is_ready();
        let known = connection.session.users().len();
        let payee = payee_of(&user, self.payee).and_then(|payee| match connection.payee {
            Some(other) if other != payee => {
                Err("a connection pays one address: open another for the next".to_string())
            }
            _ => Ok(payee),
        });
        connection.session.authorise(login, payee.clone().map(|_| ()));
        let Ok(payee) = payee else { return };
        if connection.session.users().len() > known {
            connection.payee = Some(payee);
            let mut workers = self.joints.workers.lock();
            workers.joined(self.now, &user, payee.to_string());
            workers.miners += usize::from(!was_ready);
            tracing::info!(target: "stratum", miner = id.0, user, %payee, "mines for us");
        }
        if !was_ready {
            self.give(id);
        }
    }

    /// Hands a share that makes a block to the ledger.
    fn take(&mut self, id: ClientId, user: &str, share: &Share) {
        let Share { solution, hash, is_block, .. } = *share;
        let template = self.templates.get(&solution.job_id).filter(|_| is_block);
        let payee = self.connections.get(&id).and_then(|connection| connection.payee);
        let (Some(template), Some(payee)) = (template, payee) else { return };
        let height = template.height();
        tracing::info!(target: "stratum", miner = id.0, user, height, %hash, "found a block");
        let template = Arc::clone(template);
        self.unsent.push_back(Mined { template, payee, solution });
        self.send_blocks();
    }

    fn send_blocks(&mut self) {
        while let Some(block) = self.unsent.pop_front() {
            // A ledger that has ended takes nothing any more: the node stops.
            if let Err(TrySendError::Full(block)) = self.joints.blocks.try_send(block) {
                self.unsent.push_front(block);
                break;
            }
        }
    }

    /// Looks at everybody's speed and at who has not logged in.
    fn adjust(&mut self) {
        self.adjust_at = self.now + ADJUST_MS;
        let ids: Vec<ClientId> = self.connections.keys().copied().collect();
        for id in ids {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            if connection.is_overdue(self.now) {
                self.close(id, Some("nobody has logged in for half a minute"));
            } else if connection.session.wants_job(self.now.0) {
                self.give(id);
            }
        }
    }

    fn new_extranonce1(&mut self) -> u32 {
        let extranonce1 = self.next_extranonce1;
        self.next_extranonce1 = extranonce1.wrapping_add(1) | OF_STRATUM;
        extranonce1
    }
}

impl Service for Stratum {
    fn opened(&mut self, now: Millis, id: ClientId, address: SocketAddr) {
        self.now = now;
        let host = address.ip();
        let of_host = self.connections.values().filter(|other| other.host == host).count();
        let session = Session::new(now.0, self.new_extranonce1(), VERSION_MASK);
        self.connections.insert(id, Connection::new(now, host, session));
        tracing::debug!(target: "stratum", miner = id.0, %address, "connected");
        if of_host >= MAX_MINERS_A_HOST && !host.is_loopback() {
            self.close(id, Some("too many miners of one host"));
        }
    }

    fn received(&mut self, now: Millis, id: ClientId, bytes: &[u8]) {
        self.now = now;
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.received(bytes);
            self.serve(id);
        }
    }

    fn ended(&mut self, now: Millis, id: ClientId) {
        self.now = now;
        self.serve(id);
        self.close(id, None);
    }

    fn closed(&mut self, now: Millis, id: ClientId) {
        self.now = now;
        let Some(connection) = self.connections.remove(&id) else { return };
        let mut workers = self.joints.workers.lock();
        workers.miners -= usize::from(connection.session.is_ready());
        for user in connection.session.users() {
            workers.left(now, user);
            tracing::info!(target: "stratum", miner = id.0, user, "gone");
        }
    }

    fn woken(&mut self, now: Millis) {
        self.now = now;
        while let Ok(template) = self.joints.templates.try_recv() {
            self.template(template);
        }
        self.send_blocks();
        if self.renew_at <= now {
            self.renew();
        }
        if self.adjust_at <= now {
            self.adjust();
        }
        let rested = self.connections.iter().filter(|(_, it)| it.has_rested(now));
        let rested: Vec<ClientId> = rested.map(|(id, _)| *id).collect();
        rested.into_iter().for_each(|id| self.serve(id));
    }

    fn poll(&mut self) -> Option<ServiceOutput> {
        self.outbox.pop_front()
    }

    fn wake_at(&self) -> Option<Millis> {
        let renew_at = (!self.connections.is_empty()).then_some(self.renew_at);
        let retry_at = (!self.unsent.is_empty()).then(|| self.now + RETRY_MS);
        let rests = self.connections.values().filter_map(Connection::rests_until);
        let adjust_at = (!self.connections.is_empty()).then_some(self.adjust_at);
        rests.chain([renew_at, retry_at, adjust_at].into_iter().flatten()).min()
    }
}

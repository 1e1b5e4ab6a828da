//! Runs the stages: each takes from its queue, works, and passes on, until its queue is closed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chain::Hash;
use chain::ledger::{Input, Ledger, Mined, Output, PeerId, Time, TipChange, WANTED_WINDOW};
use chain::params::Network;
use chain::store::{Archive, Body, SqliteArchive, SqliteStore};
use chain::template::Template;
use crossbeam::channel::{Receiver, Sender, select};
use miner::{Search, Solution};
use net::wire::message::MAX_HEADERS;
use net::{Served, Work};

use super::crew::{self, StopHandle};
use super::joints::Outward;
use super::{NodeError, time_from};
use crate::admin::{Event, ReadJob};
use crate::pace::Pace;
use crate::reads::{self, Answered};

/// Inputs that come so soon after one another share a commit, in milliseconds: what a sync of the
/// log may take. Nobody is told anything before it.
const COMMIT_MS: u64 = 10;

/// The same while thousands of blocks are missing, in milliseconds: rows that change with every
/// block are then written once for thousands of them.
const CATCHING_UP_COMMIT_MS: u64 = 250;

/// How long the ledger stage sleeps at most: also how soon a dead miner is noticed.
const LEDGER_NAP: Duration = Duration::from_secs(1);

/// Between two lines of the log about catching up, in milliseconds.
const PROGRESS_MS: u64 = 5_000;

/// Templates whose solution can still be on its way when the miners have newer ones.
const RECENT_TEMPLATES: usize = 2;

/// Now, as the ledger counts it. The one clock of the stages.
#[expect(clippy::disallowed_methods, reason = "the driver of the stages reads the clock for them")]
pub(crate) fn now() -> Time {
    time_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO))
}

/// Drives the ledger, and gives its jobs to the miners.
pub(super) struct LedgerStage {
    pub(super) ledger: Ledger<SqliteStore>,
    pub(super) inputs: Receiver<Input>,
    /// Hears of commits that have ended.
    pub(super) committed: Receiver<()>,
    pub(super) solutions: Receiver<Solution>,
    /// Of miners at the Stratum port.
    pub(super) blocks: Receiver<Mined>,
    pub(super) search: Option<Arc<Search>>,
    /// What the miners were given last, newest at the end.
    pub(super) mining: VecDeque<Arc<Template>>,
    pub(super) progress: SyncProgress,
    /// Told while no body is missing.
    pub(super) history: Option<Sender<()>>,
    pub(super) stop: StopHandle,
}

impl LedgerStage {
    pub(super) fn run(mut self, out: &Outward) -> Result<(), NodeError> {
        let _helpers = crew::helpers()?; // to hash what large blocks change
        self.speak(out);
        // What is queued when the node stops concerns nobody any more: nothing of it was
        // acknowledged, and nothing can be.
        while let Some(input) = self.next()
            && !self.stop.is_stopping()
        {
            self.ledger.take(now(), input)?;
            self.take_more(out)?;
            self.ledger.commit(now())?;
            self.speak(out);
            if let Some(history) = self.history.as_ref().filter(|_| self.has_all_bodies()) {
                history.try_send(()).ok(); // it is enough to hear it once
            }
            if self.search.as_ref().is_some_and(|search| !search.is_alive()) {
                return Err(NodeError::Died("miner".to_string()));
            }
        }
        if let Some(search) = &self.search {
            search.set_job(None);
        }
        Ok(self.ledger.flush()?)
    }

    fn has_all_bodies(&self) -> bool {
        self.ledger.missing_bodies() == 0
    }

    /// Takes what is there already: one commit is enough for all of it. Who is far behind also
    /// waits for more, and says what is missing meanwhile.
    fn take_more(&mut self, out: &Outward) -> Result<(), NodeError> {
        let start = now();
        let mut say_wanted_at = start.plus_ms(COMMIT_MS);
        loop {
            let is_far_behind = self.ledger.is_far_behind();
            let time = now();
            if is_far_behind && time >= say_wanted_at {
                for wanted in self.ledger.changed_wanted() {
                    out.ledger_said(wanted);
                }
                out.wake();
                say_wanted_at = time.plus_ms(COMMIT_MS);
            }
            let (ms, wait) = if is_far_behind {
                (CATCHING_UP_COMMIT_MS, Duration::from_millis(COMMIT_MS))
            } else {
                (COMMIT_MS, Duration::ZERO)
            };
            if time >= start.plus_ms(ms) || self.stop.is_stopping() {
                return Ok(());
            }
            // Blocks of our own first: they are worth nothing when somebody else has one.
            let solution = self.solutions.try_recv().ok().map(|solution| self.mined(solution));
            let block = solution.or_else(|| self.blocks.try_recv().ok().map(Input::Mined));
            match block.or_else(|| self.inputs.recv_timeout(wait).ok()) {
                Some(input) => self.ledger.take(now(), input)?,
                None if is_far_behind => {}
                None => return Ok(()),
            }
        }
    }

    /// The next input, or a tick; `None` when the queue is closed.
    fn next(&self) -> Option<Input> {
        let until = self.ledger.wake_at().map_or(LEDGER_NAP, |at| {
            Duration::from_millis(at.unix_ms.saturating_sub(now().unix_ms)).min(LEDGER_NAP)
        });
        select! {
            recv(self.inputs) -> input => input.ok(),
            recv(self.solutions) -> solution => Some(self.mined(solution.ok()?)),
            recv(self.blocks) -> block => block.ok().map(Input::Mined),
            recv(self.committed) -> _ => Some(Input::Tick),
            default(until) => Some(Input::Tick),
        }
    }

    /// Gives the miners something to mine, or nothing.
    fn mine(&mut self, template: Option<Arc<Template>>) {
        let Some(search) = &self.search else { return };
        search.set_job(template.as_ref().map(|template| Arc::clone(template.job())));
        self.mining.extend(template);
        if self.mining.len() > RECENT_TEMPLATES {
            self.mining.pop_front();
        }
    }

    /// What a miner found, with what it was given.
    fn mined(&self, solution: Solution) -> Input {
        let found = self.mining.iter().find(|template| template.job().id == solution.job_id);
        found.map_or(Input::Tick, |template| {
            Input::Mined(Mined {
                template: Arc::clone(template),
                payee: template.payee(),
                solution,
            })
        })
    }

    fn speak(&mut self, out: &Outward) {
        while let Some(output) = self.ledger.poll() {
            match output {
                Output::Template(template) => {
                    self.mine(template.clone());
                    out.stratum(template);
                }
                Output::TipChanged(change) => {
                    self.progress.log(now(), &change);
                    out.ledger_said(Output::TipChanged(change));
                }
                output => out.ledger_said(output),
            }
        }
        out.wake();
    }
}

/// Logs what becomes of the tip.
#[derive(Default)]
pub(super) struct SyncProgress {
    pace: Pace,
    /// When a node that is far behind logs again.
    due_ms: u64,
}

impl SyncProgress {
    fn log(&mut self, now: Time, change: &TipChange) {
        let (height, hash) = (change.tip.height, change.tip.hash);
        self.pace.note(now.unix_ms, height);
        let best = change.best_header.height;
        if !change.reverted.is_empty() {
            tracing::warn!(target: "chain", reverted = change.reverted.len(),
                connected = change.connected.len(), height, %hash, "reorganised");
        } else if best.saturating_sub(height) as usize > WANTED_WINDOW {
            if now.unix_ms >= self.due_ms {
                self.due_ms = now.unix_ms + PROGRESS_MS;
                tracing::info!(target: "chain", height, of = best,
                    blocks_per_second = self.pace.per_second().map(f64::round),
                    left_s = self.pace.seconds_to(best), "catching up");
            }
        } else if let Some(last) = change.connected.last() {
            let transactions = last.block.transactions().len();
            tracing::info!(target: "chain", height, %hash, transactions, "new tip");
        }
    }
}

/// Something to read.
pub(super) enum ReadTask {
    /// For a client of the admin port.
    Client(ReadJob),
    /// For a peer: headers after a locator.
    Headers {
        /// Who wants them.
        to: PeerId,
        /// Newest first.
        locator: Vec<Hash>,
    },
    /// For a peer: a block.
    Block {
        /// Who wants it.
        to: PeerId,
        /// Which.
        hash: Hash,
    },
}

impl ReadTask {
    /// A peer's work back.
    pub(super) fn into_work(self) -> Option<Work> {
        match self {
            ReadTask::Client(_) => None,
            ReadTask::Headers { to, locator } => Some(Work::ServeHeaders { to, locator }),
            ReadTask::Block { to, hash } => Some(Work::ServeBlock { to, hash }),
        }
    }
}

/// Answers from the store.
pub(super) struct ReaderStage {
    pub(super) archive: SqliteArchive,
    pub(super) network: Network,
    pub(super) reads: Receiver<ReadTask>,
    /// To tell the ledger of what cannot be read.
    pub(super) inputs: Sender<Input>,
}

impl ReaderStage {
    pub(super) fn run(self, out: &Outward) -> Result<(), NodeError> {
        let mut anchor = None;
        for task in &self.reads {
            match task {
                ReadTask::Client(ReadJob { request, read }) => {
                    let Answered { tip, answer, unreadable } =
                        reads::answer(&self.archive, &self.network, &mut anchor, &read);
                    if let Some(hash) = unreadable {
                        self.unreadable(hash);
                    }
                    out.answer(Event::Read { request, tip, answer });
                }
                ReadTask::Headers { to, locator } => {
                    let headers = self
                        .archive
                        .snapshot(|archive| archive.headers_after(&locator, MAX_HEADERS))?;
                    let served = Served::Headers(headers);
                    out.protocol(net::Input::Served { peer: to, served });
                }
                ReadTask::Block { to, hash } => {
                    let body = self.archive.servable_body(&hash)?;
                    if let Body::Damaged(_) = body {
                        self.unreadable(hash);
                    }
                    let served = Served::Block { hash, bytes: body.here() };
                    out.protocol(net::Input::Served { peer: to, served });
                }
            }
        }
        Ok(())
    }

    /// Tells the ledger. If it has too much to do, the next reader of the block tells it again.
    fn unreadable(&self, hash: Hash) {
        self.inputs.try_send(Input::Unreadable { hash }).ok();
    }
}

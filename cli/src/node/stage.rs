//! Runs the stages: each takes from its queue, works, and passes on, until its queue is closed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chain::Hash;
use chain::block::Assembly;
use chain::ledger::{Input, Ledger, Mined, Output, PeerId, RequestId, Source, Time};
use chain::params::Network;
use chain::rules::RuleError;
use chain::rules::isolation::{self, BlockFault};
use chain::store::{Archive, SqliteArchive, SqliteStore};
use chain::template::Template;
use chain::tx::CheckedTransaction;
use chain::verify::Verifier;
use crossbeam::channel::{Receiver, Sender, select};
use miner::{Search, Solution};
use net::wire::message::MAX_HEADERS;
use net::{Served, Work};

use super::crew::StopHandle;
use super::joints::Outward;
use super::{LEDGER_NAP, NodeError, time_from};
use crate::admin::{Event, ReadJob};
use crate::reads;
use crate::reply::{Code, Failure};

/// Tasks that verify takes at once, so that signatures come in batches.
const VERIFY_BATCH: usize = 128;

/// Templates whose solution can still be on its way when the miners have newer ones.
const RECENT_TEMPLATES: usize = 2;

/// Now, as the ledger counts it. The one clock of the stages.
#[expect(clippy::disallowed_methods, reason = "the driver of the stages reads the clock for them")]
pub(super) fn now() -> Time {
    time_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO))
}

/// Something to verify.
pub(super) enum VerifyTask {
    /// From a peer: headers, a block, transactions.
    Peer(Work),
    /// A transaction that a client has signed.
    Client {
        /// Whose request.
        request: RequestId,
        /// The transaction.
        bytes: Vec<u8>,
    },
}

impl VerifyTask {
    /// A peer's work back.
    pub(super) fn into_work(self) -> Option<Work> {
        match self {
            VerifyTask::Peer(work) => Some(work),
            VerifyTask::Client { .. } => None,
        }
    }
}

/// Where a transaction of a batch came from.
#[derive(Clone, Copy)]
enum Origin {
    Peer(PeerId),
    Client(RequestId),
}

/// Decodes, checks isolation rules and signatures.
pub(super) struct VerifyStage {
    pub(super) verifier: Verifier,
    pub(super) network: Network,
    pub(super) work: Receiver<VerifyTask>,
    pub(super) inputs: Sender<Input>,
    pub(super) stop: StopHandle,
}

impl VerifyStage {
    pub(super) fn run(mut self, out: &Outward) -> Result<(), NodeError> {
        while let Ok(first) = self.work.recv()
            && !self.stop.is_stopping()
        {
            let more: Vec<VerifyTask> = self.work.try_iter().take(VERIFY_BATCH - 1).collect();
            let (mut origins, mut loose) = (Vec::new(), Vec::new());
            for task in std::iter::once(first).chain(more) {
                match task {
                    VerifyTask::Peer(Work::Transactions { from, list }) => {
                        origins.extend(list.iter().map(|_| Origin::Peer(from)));
                        loose.extend(list);
                    }
                    VerifyTask::Client { request, bytes } => {
                        origins.push(Origin::Client(request));
                        loose.push(bytes);
                    }
                    VerifyTask::Peer(work) => {
                        self.transactions(&mut origins, &mut loose, out);
                        self.ordered(work, out);
                    }
                }
            }
            self.transactions(&mut origins, &mut loose, out);
        }
        Ok(())
    }

    /// Verifies what has been collected in one batch.
    fn transactions(&mut self, origins: &mut Vec<Origin>, loose: &mut Vec<Vec<u8>>, out: &Outward) {
        let results = self.verifier.transactions(loose);
        loose.clear();
        for (origin, result) in origins.drain(..).zip(results) {
            self.pass_on(origin, result, out);
        }
    }

    fn pass_on(
        &self,
        origin: Origin,
        result: Result<CheckedTransaction, RuleError>,
        out: &Outward,
    ) {
        match (origin, result) {
            (Origin::Peer(peer), Ok(transaction)) => {
                self.to_ledger(Input::Transaction { source: Source::Peer(peer), transaction });
            }
            (Origin::Client(request), Ok(transaction)) => {
                self.to_ledger(Input::Transaction { source: Source::Client(request), transaction });
            }
            (Origin::Peer(peer), Err(error)) => bad_payload(peer, &error, out),
            (Origin::Client(request), Err(error)) => {
                let failure = Failure::new(Code::Refused, error);
                out.admin(Event::Refused { request, failure });
            }
        }
    }

    fn ordered(&self, work: Work, out: &Outward) {
        match work {
            Work::Headers { from, headers } => {
                match isolation::check_headers(&self.network, &headers) {
                    Ok(headers) => self.to_ledger(Input::Headers { from, headers }),
                    Err(error) => bad_payload(from, &error, out),
                }
            }
            Work::Announced { from, header } => {
                match isolation::check_headers(&self.network, &[header]) {
                    Ok(list) => list
                        .into_iter()
                        .for_each(|header| self.to_ledger(Input::Announced { from, header })),
                    Err(error) => bad_payload(from, &error, out),
                }
            }
            Work::Rebuilt { from, assembly } => self.rebuilt(from, *assembly, out),
            Work::Block { from, bytes } => match self.verifier.judge_block(bytes) {
                Ok(block) => self.to_ledger(Input::Block { from, block }),
                Err(BlockFault { error, condemned: Some(hash) }) => {
                    self.to_ledger(Input::InvalidBlock { from, hash, error });
                }
                Err(BlockFault { error, condemned: None }) => bad_payload(from, &error, out),
            },
            Work::Transactions { .. } | Work::ServeHeaders { .. } | Work::ServeBlock { .. } => {
                unreachable!("transactions are batched, and what is served goes to the readers")
            }
        }
    }

    /// A block put together here: peers that wait for it get it before the ledger executes it.
    fn rebuilt(&self, from: PeerId, assembly: Assembly, out: &Outward) {
        let hash = assembly.header.hash();
        match self.verifier.judge_assembly(assembly) {
            Ok(block) => {
                out.protocol(net::Input::Rebuilt { peer: from, block: block.clone() });
                self.to_ledger(Input::Relayed { block });
            }
            Err(BlockFault { error, condemned: Some(hash) }) => {
                self.to_ledger(Input::InvalidBlock { from, hash, error });
            }
            Err(BlockFault { error, condemned: None }) => match error {
                RuleError::MerkleRoot { .. } | RuleError::MerkleMutated => {
                    out.protocol(net::Input::NotRebuilt { hash });
                }
                error => bad_payload(from, &error, out),
            },
        }
    }

    /// A ledger that has ended needs to know nothing.
    fn to_ledger(&self, input: Input) {
        self.inputs.send(input).ok();
    }
}

fn bad_payload(peer: PeerId, error: &RuleError, out: &Outward) {
    out.protocol(net::Input::BadPayload { peer, what: error.to_string() });
}

/// Drives the ledger, and gives its jobs to the miners.
pub(super) struct LedgerStage {
    pub(super) ledger: Ledger<SqliteStore>,
    pub(super) inputs: Receiver<Input>,
    pub(super) solutions: Receiver<Solution>,
    pub(super) search: Option<Arc<Search>>,
    /// What the miners were given last, newest at the end.
    pub(super) mining: VecDeque<Arc<Template>>,
    pub(super) stop: StopHandle,
}

impl LedgerStage {
    pub(super) fn run(mut self, out: &Outward) -> Result<(), NodeError> {
        self.speak(out);
        // What is queued when the node stops concerns nobody any more: nothing of it was
        // acknowledged, and nothing can be.
        while let Some(input) = self.next()
            && !self.stop.is_stopping()
        {
            self.ledger.handle(now(), input)?;
            self.speak(out);
            if self.search.as_ref().is_some_and(|search| !search.is_alive()) {
                return Err(NodeError::Died("miner".to_string()));
            }
        }
        if let Some(search) = &self.search {
            search.set_job(None);
        }
        Ok(self.ledger.flush()?)
    }

    /// The next input, or a tick; `None` when the queue is closed.
    fn next(&self) -> Option<Input> {
        let until = self.ledger.wake_at().map_or(LEDGER_NAP, |at| {
            Duration::from_millis(at.unix_ms.saturating_sub(now().unix_ms)).min(LEDGER_NAP)
        });
        if self.search.is_none() {
            return match self.inputs.recv_timeout(until) {
                Ok(input) => Some(input),
                Err(error) if error.is_timeout() => Some(Input::Tick),
                Err(_) => None,
            };
        }
        select! {
            recv(self.inputs) -> input => input.ok(),
            recv(self.solutions) -> solution => Some(self.mined(solution.ok()?)),
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
                Output::Template(template) => self.mine(template),
                Output::TipChanged(change) => {
                    log_tip(&change);
                    out.ledger_said(Output::TipChanged(change));
                }
                output => out.ledger_said(output),
            }
        }
    }
}

fn log_tip(change: &chain::ledger::TipChange) {
    let (height, hash) = (change.tip.height, change.tip.hash);
    if !change.reverted.is_empty() {
        tracing::warn!(target: "chain", reverted = change.reverted.len(),
            connected = change.connected.len(), height, %hash, "reorganised");
    } else if let Some(last) = change.connected.last() {
        let transactions = last.block.transactions().len();
        tracing::info!(target: "chain", height, %hash, transactions, "new tip");
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
}

impl ReaderStage {
    pub(super) fn run(self, out: &Outward) -> Result<(), NodeError> {
        for task in &self.reads {
            match task {
                ReadTask::Client(ReadJob { request, read }) => {
                    let answer = reads::answer(&self.archive, &self.network, &read);
                    out.admin(Event::Read { request, answer });
                }
                ReadTask::Headers { to, locator } => {
                    let headers = self
                        .archive
                        .snapshot(|archive| archive.headers_after(&locator, MAX_HEADERS))?;
                    let served = Served::Headers(headers);
                    out.protocol(net::Input::Served { peer: to, served });
                }
                ReadTask::Block { to, hash } => {
                    let bytes = self.archive.servable_block(&hash)?;
                    let served = Served::Block { hash, bytes };
                    out.protocol(net::Input::Served { peer: to, served });
                }
            }
        }
        Ok(())
    }
}

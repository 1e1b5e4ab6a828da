//! The admin port, a ledger and a reader of its store, joined in one thread. The test says who has
//! a turn: what depends on the order of events can be tested without chance.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chain::Hash;
use chain::execute::Delta;
use chain::ledger::{Input, Ledger, LedgerOptions, Mined, Output, PeerId, Time};
use chain::params::Network;
use chain::rules::isolation::checked_genesis;
use chain::store::{SqliteArchive, SqliteStore};
use chain::template::Template;
use cli::admin::{Admin, AdminOptions, Event, Joints, ReadJob};
use cli::bans::BanList;
use cli::reads::{self, Answered};
use crossbeam::channel::{Receiver, Sender, bounded};
use net::{ClientId, Millis, Service, ServiceOutput};
use tests::chains::{Grower, account, clock, free_network, options, signing_key, solve};

use crate::requests;

/// Room for all that a test makes in one go.
const QUEUE: usize = 4096;

/// The parts of a node that a client of the admin port meets.
pub(super) struct Parts {
    network: Network,
    port: Admin,
    ledger: Ledger<SqliteStore>,
    archive: SqliteArchive,
    inputs: Receiver<Input>,
    jobs: Receiver<ReadJob>,
    answers: Sender<Event>,
    events: Sender<Event>,
    /// What the ledger has said and the port has not heard yet.
    unheard: Vec<Output>,
    template: Option<Arc<Template>>,
    time: Time,
    now: Millis,
    clients: u64,
    sent: BTreeMap<ClientId, Vec<u8>>,
    closed: BTreeSet<ClientId>,
    _folder: tempfile::TempDir,
}

impl Parts {
    pub(super) fn new() -> Parts {
        let folder = tempfile::tempdir().unwrap();
        let network = free_network();
        let (genesis, delta) = (checked_genesis(&network), Delta::default());
        let store = SqliteStore::open(folder.path(), &network, &genesis, &delta).unwrap();
        let (key, payee) = (Some(signing_key(0)), Some(account(0)));
        let options = LedgerOptions { key, payee, ..options(&network) };
        let time = clock(&network, 100);
        let ledger = Ledger::open(options, store, time, &mut |_| ()).unwrap();
        let archive = SqliteArchive::open(folder.path(), &network).unwrap();
        let (to_ledger, inputs) = bounded(QUEUE);
        let (ask, jobs) = bounded(QUEUE);
        let (answers, answered) = bounded(QUEUE);
        let (events, heard) = bounded(QUEUE);
        let joints = Joints {
            answers: answered,
            events: heard,
            ledger: to_ledger,
            submit: Box::new(|_, _| unreachable!("no test submits")),
            reads: Box::new(move |job| {
                ask.try_send(job).unwrap();
                Ok(())
            }),
            tell_protocol: Box::new(|_| unreachable!("no test speaks of peers")),
            save_bans: Box::new(|_| unreachable!("no test bans")),
            peers: Arc::default(),
            search: None,
            workers: None,
            stop: Box::new(|| unreachable!("no test stops the node")),
        };
        let admin = AdminOptions {
            network: network.clone(),
            cookie: "cookie".to_string(),
            trust_loopback: true,
            start: ledger.standing(),
            bans: BanList::default(),
        };
        Parts {
            port: Admin::new(admin, joints),
            network,
            ledger,
            archive,
            inputs,
            jobs,
            answers,
            events,
            unheard: Vec::new(),
            template: None,
            time,
            now: Millis(1_000_000),
            clients: 0,
            sent: BTreeMap::new(),
            closed: BTreeSet::new(),
            _folder: folder,
        }
    }

    pub(super) fn connect(&mut self) -> ClientId {
        self.clients += 1;
        let id = ClientId(self.clients);
        self.port.opened(self.now, id, ([127, 0, 0, 1], 1).into());
        id
    }

    /// The connection breaks.
    pub(super) fn hang_up(&mut self, id: ClientId) {
        self.port.closed(self.now, id);
    }

    pub(super) fn send(&mut self, id: ClientId, bytes: &[u8]) {
        self.port.received(self.now, id, bytes);
        self.collect();
    }

    /// What was said to a client since it was last looked at.
    pub(super) fn said(&mut self, id: ClientId) -> String {
        let bytes = self.sent.remove(&id).unwrap_or_default();
        if !bytes.is_empty() {
            self.port.drained(self.now, id);
            self.collect();
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(super) fn is_closed(&self, id: ClientId) -> bool {
        self.closed.contains(&id)
    }

    /// Time passes for the port.
    pub(super) fn pass(&mut self, ms: u64) {
        self.now = self.now + ms;
    }

    /// The ledger does what it was asked to; the port does not hear of it yet.
    pub(super) fn ledger_works(&mut self) {
        while let Ok(input) = self.inputs.try_recv() {
            self.ledger_takes(input);
        }
    }

    /// The ledger mines all that waits; the port does not hear of it yet.
    pub(super) fn mine(&mut self) {
        self.ledger_works();
        while !self.ledger.pool().is_empty() {
            self.time = self.time.plus_ms(1000);
            let template = self.template.clone().expect("something waits");
            let (payee, solution) = (template.payee(), solve(template.job()));
            self.ledger_takes(Input::Mined(Mined { template, payee, solution }));
            self.ledger_takes(Input::Tick);
        }
    }

    /// A peer's branch of empty blocks, longer than this chain, replaces it.
    pub(super) fn reorganise(&mut self) {
        let mut grower = Grower::new(&self.network);
        for _ in 0..=self.ledger.standing().tip.height {
            let block = grower.grow(account(9), &[]);
            self.ledger_takes(Input::Block { from: PeerId(1), block });
        }
    }

    fn ledger_takes(&mut self, input: Input) {
        self.ledger.handle(self.time, input).unwrap();
        while let Some(output) = self.ledger.poll() {
            match output {
                Output::Template(template) => self.template = template,
                Output::Answer { .. }
                | Output::TipChanged(_)
                | Output::Pooled { .. }
                | Output::Dropped { .. }
                | Output::PoolSize { .. } => self.unheard.push(output),
                _ => {}
            }
        }
    }

    /// The port hears what the ledger has said.
    pub(super) fn port_hears(&mut self) {
        for output in std::mem::take(&mut self.unheard) {
            self.events.send(Event::Ledger(output)).unwrap();
        }
        self.port.woken(self.now);
        self.collect();
    }

    /// The transactions of blocks that the port has not heard of yet.
    pub(super) fn mined(&self) -> Vec<Hash> {
        let changes = self.unheard.iter().filter_map(|output| match output {
            Output::TipChanged(change) => Some(change),
            _ => None,
        });
        let blocks = changes.flat_map(|change| &change.connected);
        blocks.flat_map(|block| block.block.transactions()).map(|it| it.txid()).collect()
    }

    /// Whether the port wants to be woken now.
    pub(super) fn is_due(&self) -> bool {
        self.port.wake_at().is_some_and(|at| at <= self.now)
    }

    /// What the port wants to have read.
    pub(super) fn questions(&mut self) -> Vec<ReadJob> {
        self.jobs.try_iter().collect()
    }

    /// What a reader finds now; nobody is told yet.
    pub(super) fn read(&self, job: &ReadJob) -> Event {
        let Answered { tip, answer, .. } =
            reads::answer(&self.archive, &self.network, &mut None, &job.read);
        Event::Read { request: job.request, tip, answer }
    }

    /// The port is told what a reader has found.
    pub(super) fn port_is_told(&mut self, event: Event) {
        self.answers.send(event).unwrap();
        self.port.woken(self.now);
        self.collect();
    }

    /// So much happens that concerns nobody. Returns how much the port has not heard yet.
    pub(super) fn much_happens(&mut self, count: usize) -> usize {
        let news = || Event::Ledger(Output::PoolSize { count: 0, bytes: 0 });
        (0..count).for_each(|_| self.events.send(news()).unwrap());
        self.events.len()
    }

    /// Readers answer what they were asked.
    pub(super) fn readers_answer(&mut self) {
        for job in self.questions() {
            let event = self.read(&job);
            self.port_is_told(event);
        }
    }

    /// Everybody works, but nobody mines, until nothing is left to do.
    pub(super) fn settle(&mut self) {
        loop {
            self.ledger_works();
            self.port_hears();
            self.readers_answer();
            if self.inputs.is_empty() && self.unheard.is_empty() && self.jobs.is_empty() {
                return;
            }
        }
    }

    /// All that waits is mined, and everybody hears of it.
    pub(super) fn block(&mut self) {
        self.mine();
        self.settle();
    }

    /// What a request in blank-separated words is answered with, without a block.
    pub(super) fn ask(&mut self, id: ClientId, line: &str) -> String {
        self.send(id, &requests(&[line]));
        self.settle();
        self.said(id)
    }

    fn collect(&mut self) {
        while let Some(output) = self.port.poll() {
            match output {
                ServiceOutput::Send { client, bytes } => {
                    self.sent.entry(client).or_default().extend(bytes);
                }
                ServiceOutput::Close { client } => {
                    self.closed.insert(client);
                }
                _ => {}
            }
        }
    }
}

//! THE DIAGRAM: every queue, stage and thread of a node is made here.
//!
//! ```text
//! peers <-> reactor -> verify (rayon) -> ledger -> job slot -> miner threads
//! admin <-> reactor ------------------->   ^ |                      |
//! stratum <-> reactor ------ block ----->  | +-> log                |
//!              ^    -> readers             | +-> index (SQLite)     |
//!              |          |                +------- solution -------+
//!              +----------+---- answers, relay, events, templates -<- ledger
//! ```
//!
//! Every queue is bounded. The reactor never blocks: when a queue is full it stops reading peers
//! and tells clients `-BUSY`. Verify, readers and ledger may block on their way out; the way goes
//! to the reactor, which always drains, so there is no cycle. Closing runs downstream: the
//! reactor ends first and drops its senders, then verify, then the ledger, which flushes, then the
//! thread that writes the index.

mod crew;
mod history;
mod joints;
mod miners;
mod peers;
mod stage;
mod verify;

use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chain::Hash;
use chain::execute::{Delta, StateMachine};
use chain::ledger::{Ledger, LedgerOptions, OpenError, Progress, Pruning, Time, TipChange};
use chain::mempool::PoolLimits;
use chain::params::Network;
use chain::rules::isolation::checked_genesis;
use chain::store::{SqliteArchive, SqliteStore, StoreError};
use chain::verify::Verifier;
use crossbeam::channel::{bounded, never};
use kv::KeyValue;
use net::{Identity, Reactor, ReactorConfig, ServiceLimits};

use crate::admin::{Admin, AdminOptions};
use crate::bans::BanList;
use crate::config::NodeConfig;
use crate::descriptors;
use crate::folder::{self, Folder, FolderError};
use crate::stratum::{self, Stratum, StratumJoints};
use crate::upkeep::Damaged;
use crate::wallet::{WALLET_FILE, Wallet, WalletError};
pub(crate) use crew::signals;
use crew::{Crew, Share};
use history::HistoryStage;
use joints::Outward;
pub(crate) use miners::fastest_kernel;
use miners::start_miners;
pub(crate) use stage::now;
use stage::{LedgerStage, ReaderStage, SyncProgress};
use verify::VerifyStage;

/// Payloads on their way to be verified. When full, peers are not read.
const WORK_QUEUE: usize = 256;

/// Inputs of the ledger. When full, verify waits and clients get `-BUSY`.
const LEDGER_QUEUE: usize = 1024;

/// Questions of clients to the readers. When full, clients get `-BUSY`. Also what they answer.
const READ_QUEUE: usize = 1024;

/// Questions of peers to their reader. When full, peers are not read.
const PEER_READ_QUEUE: usize = 1024;

/// What verify, ledger and readers tell the reactor. When full, they wait.
const REACTOR_QUEUE: usize = 4096;

/// Solutions of miners; there is one a job at most.
const SOLUTION_QUEUE: usize = 16;

/// Blocks of miners at the Stratum port. When full, they wait there.
const BLOCK_QUEUE: usize = 16;

/// Templates for the Stratum port. When full, the ledger waits.
const TEMPLATE_QUEUE: usize = 64;

/// Bytes in a MiB.
const MIB: u64 = 1024 * 1024;

/// Threads that answer reads: for clients one more than a slow read can occupy, and one for peers,
/// who must not wait for clients.
const READERS: [&str; 3] = ["reader-0", "reader-1", "peer-reader"];

/// Why a node cannot start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The data folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The wallet.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A listener cannot be opened.
    #[error("cannot listen at {address} for {what}: {source}")]
    Listen {
        /// What for.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The operating system refused something else.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is nobody to pay for blocks.
    #[error("--stratum needs somebody to pay: name a --payee or unlock the wallet")]
    NoPayee,
    /// The blocks do not lead to the state with which the folder began.
    #[error(
        "block {hash} at height {height} is not valid: executed from genesis on, the blocks before \
         it do not lead to the state it commits to, with which this folder began. Move blocks.log, \
         index.sqlite* and the folder history out of the data folder and start again, to fetch \
         the chain from peers; leave wallet.key where it is"
    )]
    FalseSnapshot {
        /// Of the snapshot.
        height: u32,
        /// Of the snapshot.
        hash: Hash,
    },
    /// A thread ended that should not have.
    #[error("the {0} thread died; this is a bug, see the log above")]
    Died(String),
}

/// Runs a node until it is told to stop.
///
/// # Errors
/// When it cannot start, or its store or one of its threads fails.
#[expect(clippy::too_many_lines, reason = "the diagram is read from top to bottom, in one piece")]
pub fn run(config: &NodeConfig) -> Result<(), NodeError> {
    let signals = signals()?;
    descriptors::allow_many();
    crew::verifiers()?; // rayon's, before anything is verified
    let network = config.network.clone();
    let genesis = network.genesis_hash();

    // Stores.
    let folder = Folder::open(&config.data)?;
    let wallet = open_wallet(config)?;
    let machine: Arc<dyn StateMachine> = Arc::new(KeyValue);
    let payee = config.payee.or(wallet.as_ref().map(Wallet::address));
    let options = LedgerOptions {
        network: network.clone(),
        machine: Arc::clone(&machine),
        key: wallet.as_ref().map(Wallet::key),
        payee: payee.filter(|_| config.threads > 0 || config.stratum.is_some()),
        extranonce_start: u64::from(folder::random_u32()?) << 32,
        pool: PoolLimits::default(),
        pruning: config.prune_mib.map(|mib| Pruning::above(u64::from(mib.get()) * MIB)),
        secret: *folder::random()?,
    };
    if SqliteStore::adopt_second(folder.path())? {
        tracing::info!(target: "history", "the index of all blocks takes the snapshot's place");
    }
    let mut ledger = open_ledger(folder.path(), options, Damaged::Refuse)?;
    let (index_writer, committed) = ledger.store_mut().write_elsewhere()?;
    let snapshot = history::snapshot_of(ledger.store())?.filter(|_| config.prune_mib.is_none());
    let start = ledger.standing();
    let archives = READERS
        .iter()
        .map(|_| SqliteArchive::open(folder.path(), &network))
        .collect::<Result<Vec<_>, _>>()?;

    // Queues.
    let (work, work_out) = bounded(WORK_QUEUE);
    let (inputs, inputs_out) = bounded(LEDGER_QUEUE);
    let (reads, reads_out) = bounded(READ_QUEUE);
    let (peer_reads, peer_reads_out) = bounded(PEER_READ_QUEUE);
    let (solutions, solutions_out) = bounded(SOLUTION_QUEUE);
    let (to_protocol, from_stages) = bounded(REACTOR_QUEUE);
    let (to_admin, events) = bounded(REACTOR_QUEUE);
    let (answers, answered) = bounded(READ_QUEUE);
    let (to_stratum, templates) = bounded(TEMPLATE_QUEUE);
    let (blocks, blocks_out) = bounded(BLOCK_QUEUE);
    let (complete, complete_out) = bounded(1);

    // Stages.
    let identity = Identity::from_secret(*folder.identity()?);
    let mut reactor = Reactor::bind(ReactorConfig::new(config.listen, genesis, identity.clone()))
        .map_err(|source| listen_error("peers", config.listen, source))?;
    let peers_address =
        reactor.peers_address().map_err(|source| listen_error("peers", config.listen, source))?;
    let to_stratum = config.stratum.map(|_| to_stratum);
    let outward = Outward { to_protocol, to_admin, answers, to_stratum, waker: reactor.waker() };
    let bans = peers::bans(&folder);
    let protocol = peers::protocol(config, &folder, &identity, peers_address, &bans)?;
    let verifier = Verifier::new(network.clone(), machine, *folder::random()?);
    let search = start_miners(config, payee.is_some(), solutions)?;
    let workers = config.stratum.map(|_| Arc::default());
    let crew = Crew::new(reactor.waker());
    let links = joints::Links {
        work: work.clone(),
        inputs: inputs.clone(),
        reads,
        peer_reads,
        outward: outward.clone(),
        stop: crew.stop_handle(),
        search: search.clone(),
        workers: workers.clone(),
    };
    let (pipeline, admin_joints) = joints::join(links, from_stages, [answered, events], &folder);
    let admin = Admin::new(admin_options(config, &folder, start, bans)?, admin_joints);
    let admin_address = reactor
        .add_service(config.admin, ServiceLimits::default(), Box::new(admin))
        .map_err(|source| listen_error("administration", config.admin, source))?;
    let mut listening = vec![("peers", peers_address), ("admin", admin_address)];
    if let (Some(address), Some(workers)) = (config.stratum, workers) {
        let joints = StratumJoints { templates, blocks: blocks.clone(), workers };
        let payee = payee.ok_or(NodeError::NoPayee)?;
        let stratum = Stratum::new(payee, folder::random_u32()?, joints);
        let address = reactor
            .add_service(address, stratum::limits(), Box::new(stratum))
            .map_err(|source| listen_error("miners", address, source))?;
        listening.push(("stratum", address));
    }
    let ledger_stage = LedgerStage {
        ledger,
        inputs: inputs_out,
        committed,
        // A queue that nobody sends to is closed, which would mean the end.
        solutions: if search.is_some() { solutions_out } else { never() },
        blocks: if config.stratum.is_some() { blocks_out } else { never() },
        search,
        mining: VecDeque::new(),
        progress: SyncProgress::default(),
        history: snapshot.map(|_| complete),
        stop: crew.stop_handle(),
    };
    let reader_inputs = inputs.clone();
    let verify_stage = VerifyStage {
        verifier,
        network: network.clone(),
        work: work_out,
        inputs,
        stop: crew.stop_handle(),
    };
    let history_stage = snapshot.map(|snapshot| HistoryStage {
        folder: config.data.clone(),
        network: network.clone(),
        snapshot,
        complete: complete_out,
        stop: crew.stop_handle(),
    });
    let queues = [reads_out.clone(), reads_out, peer_reads_out];
    let reader_stages = archives.into_iter().zip(queues).map(|(archive, reads)| ReaderStage {
        archive,
        network: network.clone(),
        reads,
        inputs: reader_inputs.clone(),
    });

    // Threads. Each stage owns its receivers and the next one's senders.
    let mut crew = crew;
    crew.spawn("reactor", Share::Full, move || {
        let running = reactor.run(protocol, pipeline);
        running.map_err(|source| NodeError::System { what: "the event loop failed", source })
    })?;
    let out = outward.clone();
    crew.spawn("verify", Share::Less, move || verify_stage.run(&out))?;
    for (name, reader) in READERS.into_iter().zip(reader_stages) {
        let out = outward.clone();
        crew.spawn(name, Share::Full, move || reader.run(&out))?;
    }
    crew.spawn("ledger", Share::Less, move || ledger_stage.run(&outward))?;
    crew.spawn("index", Share::Little, move || {
        index_writer.run();
        Ok(())
    })?;
    if let Some(history) = history_stage {
        crew.spawn("history", Share::Less, move || history.run())?;
    }
    drop((work, blocks, reader_inputs));

    announce(&folder, config, &listening)?;
    let result = crew.run_until_stopped(&signals);
    folder.forget_session();
    tracing::info!(target: "node", "stopped");
    result
}

/// Opens the ledger of a folder, making or repairing what is needed, with progress on a terminal.
///
/// # Errors
/// When the store or its log cannot be used.
pub fn open_ledger(
    folder: &Path,
    options: LedgerOptions,
    damaged: Damaged,
) -> Result<Ledger<SqliteStore>, NodeError> {
    let genesis = checked_genesis(&options.network);
    let mut store = SqliteStore::open(folder, &options.network, &genesis, &Delta::default())?;
    if damaged == Damaged::LeaveOut {
        store.leave_out_damaged();
    }
    let bar = crate::terminal::progress_bar("indexing");
    let mut progress = |progress: Progress| {
        // Ten thousandths of the log are fine enough for a bar.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share is within 0.0 to 1.0"
        )]
        let position = (progress.share * 10_000.0) as u64;
        bar.set_length(10_000);
        bar.set_position(position);
        bar.set_message(format!("{} blocks, height {}", progress.blocks, progress.height));
    };
    let ledger = Ledger::open(options, store, stage::now(), &mut progress)?;
    bar.finish_and_clear();
    Ok(ledger)
}

/// The folder's wallet; a new one is made where there is none. `None` when it is locked.
fn open_wallet(config: &NodeConfig) -> Result<Option<Wallet>, NodeError> {
    let path = config.data.join(WALLET_FILE);
    if !path.exists() {
        let wallet = Wallet::generate()?;
        wallet.save(&path, config.passphrase.as_ref())?;
        tracing::info!(target: "node", address = %wallet.address(), path = %path.display(),
            "made a new wallet");
        return Ok(Some(wallet));
    }
    match Wallet::open(&path, config.passphrase.as_ref()) {
        Ok(wallet) => Ok(Some(wallet)),
        Err(WalletError::Locked(path)) => {
            tracing::warn!(target: "node", path = %path.display(),
                "the wallet is encrypted and no passphrase is given: \
                 this node cannot sign writes or mine for itself");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn admin_options(
    config: &NodeConfig,
    folder: &Folder,
    start: TipChange,
    bans: BanList,
) -> Result<AdminOptions, NodeError> {
    Ok(AdminOptions {
        network: config.network.clone(),
        cookie: folder.new_cookie()?,
        trust_loopback: config.network.name == "dev" && config.admin.ip().is_loopback(),
        start,
        bans,
    })
}

/// Tells scripts and people where the node listens.
fn announce(
    folder: &Folder,
    config: &NodeConfig,
    listening: &[(&str, SocketAddr)],
) -> Result<(), NodeError> {
    folder.write_addresses(listening)?;
    let Network { name, .. } = &config.network;
    tracing::info!(target: "node", network = name, data = %config.data.display(),
        version = env!("CARGO_PKG_VERSION"), "ready");
    let mut out = std::io::stdout().lock();
    listening
        .iter()
        .try_for_each(|(what, address)| writeln!(out, "listening {what}={address}"))
        .and_then(|()| out.flush())
        .map_err(|source| NodeError::System { what: "standard output", source })
}

fn listen_error(what: &'static str, address: SocketAddr, source: std::io::Error) -> NodeError {
    NodeError::Listen { what, address, source }
}

/// A moment as the ledger counts it.
fn time_from(unix: Duration) -> Time {
    Time { unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX) }
}

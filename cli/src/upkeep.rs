//! Work on a data folder: verify, rebuild, dump with the node stopped; copies and snapshots of
//! a running one, and what is made of them.

mod backup;
mod snapshot;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chain::audit::{AuditError, AuditReport, audit};
use chain::execute::StateMachine;
use chain::ledger::LedgerOptions;
use chain::mempool::PoolLimits;
use chain::params::Network;
use chain::snapshot::SnapshotError;
use chain::store::{Archive, SqliteArchive, SqliteStore, StoreError};
use kv::KeyValue;

use crate::folder::{Folder, FolderError};
use crate::node::{self, NodeError};
use crate::terminal::progress_bar;

pub use backup::{WalletCopy, backup};
pub use snapshot::{create_snapshot, restore_snapshot};

/// Why upkeep failed.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// The data folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// There is no chain in the folder.
    #[error("{0} holds no chain; name a node's data folder with --data")]
    NoChain(String),
    /// Something is where something new is to be made.
    #[error("{0} is there already; name a new one, nothing is overwritten")]
    Exists(String),
    /// The folder has a chain.
    #[error(
        "{0} is there already: a snapshot is restored into a data folder without a chain; name \
         another --data, or move blocks.log, pending.log and index.sqlite* out of this one"
    )]
    HasChain(String),
    /// A file or folder beside the store.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A snapshot cannot be made or is refused.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The ledger.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The log alone does not give the state.
    #[error(
        "block bodies up to height {0} were pruned, so blocks.log alone does not give the state: \
         the index must not go. If it is lost all the same, `graven reindex --skip-damaged` \
         indexes what is there, and a node with peers then fetches the chain again"
    )]
    Pruned(u32),
    /// The chain does not verify.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

/// What a reindex does where the log holds no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damaged {
    /// It refuses.
    Refuse,
    /// It goes on at the next block.
    LeaveOut,
}

/// Checks every rule from genesis on, or from the last pruned body on. A damaged body is noted, so
/// that a node fetches it when it runs.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify_chain(data: &Path, network: &Network) -> Result<AuditReport, UpkeepError> {
    let _lock = lock(data)?;
    // Blocks that a crash left out of the index are part of the chain too.
    let mut ledger = node::open_ledger(data, reader_options(network), Damaged::Refuse)?;
    let archive = SqliteArchive::open(data, network)?;
    let bar = progress_bar("verifying");
    bar.set_length(archive.tip()?.height.into());
    let machine: Arc<dyn StateMachine> = Arc::new(KeyValue);
    let report = audit(&archive, network, &machine, &mut |height| bar.set_position(height.into()));
    bar.finish_and_clear();
    if let Err(AuditError::Body { hash, damage: Some(damage), .. }) = &report {
        ledger.lose(hash, damage)?;
        ledger.flush()?;
    }
    Ok(report?)
}

/// Rebuilds the index from the block log and returns the height reached.
///
/// # Errors
/// When the log cannot be used.
pub fn reindex(data: &Path, network: &Network, damaged: Damaged) -> Result<u32, UpkeepError> {
    let _lock = lock(data)?;
    if damaged == Damaged::Refuse
        && let Ok(archive) = SqliteArchive::open(data, network)
        && let pruned @ 1.. = archive.pruned()?
    {
        return Err(UpkeepError::Pruned(pruned));
    }
    SqliteStore::remove_index(data)?;
    let mut ledger = node::open_ledger(data, reader_options(network), damaged)?;
    ledger.flush()?;
    Ok(ledger.store().tip()?.height)
}

/// Writes every row of the index, in a fixed order.
///
/// # Errors
/// When the store or `out` fails.
pub fn dump_index(
    data: &Path,
    network: &Network,
    out: &mut dyn std::io::Write,
) -> Result<(), UpkeepError> {
    let _lock = lock(data)?;
    drop(node::open_ledger(data, reader_options(network), Damaged::Refuse)?);
    Ok(SqliteArchive::open(data, network)?.dump(out)?)
}

/// Locks a folder that must be there already.
fn lock(data: &Path) -> Result<Folder, UpkeepError> {
    check_chain(data)?;
    let folder = Folder::open(data)?;
    SqliteStore::adopt_second(data)?;
    Ok(folder)
}

fn check_chain(data: &Path) -> Result<(), UpkeepError> {
    if data.join("blocks.log").exists() {
        return Ok(());
    }
    Err(UpkeepError::NoChain(data.display().to_string()))
}

/// A ledger that neither signs nor mines.
pub(crate) fn reader_options(network: &Network) -> LedgerOptions {
    LedgerOptions {
        network: network.clone(),
        machine: Arc::new(KeyValue),
        key: None,
        payee: None,
        extranonce_start: 0,
        pool: PoolLimits::default(),
        pruning: None,
        secret: [0; 32], // there are no peers
    }
}

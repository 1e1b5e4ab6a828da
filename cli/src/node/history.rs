//! Executes the blocks before a snapshot, in a second index, once all of their bodies are here.

use std::path::PathBuf;

use chain::execute::Delta;
use chain::ledger::{Ledger, Progress};
use chain::params::Network;
use chain::rules::isolation::checked_genesis;
use chain::store::{Archive, ChainPoint, SqliteStore};
use crossbeam::channel::Receiver;

use super::NodeError;
use super::crew::StopHandle;
use super::stage::now;
use crate::upkeep::reader_options;

/// Between two lines of the log, in milliseconds.
const PROGRESS_MS: u64 = 10_000;

/// The block of the snapshot with which a folder began, unless it has all before it, or wants to
/// have less.
pub(super) fn snapshot_of(store: &SqliteStore) -> Result<Option<ChainPoint>, NodeError> {
    let Some(height) = store.began_with()? else { return Ok(None) };
    Ok(store.main_hash(height)?.map(|hash| ChainPoint { height, hash }))
}

/// What a node that began with a snapshot has still to do.
pub(super) struct HistoryStage {
    pub(super) folder: PathBuf,
    pub(super) network: Network,
    /// The newest block whose state was not executed here.
    pub(super) snapshot: ChainPoint,
    /// Says that no body is missing.
    pub(super) complete: Receiver<()>,
    pub(super) stop: StopHandle,
}

impl HistoryStage {
    pub(super) fn run(self) -> Result<(), NodeError> {
        if self.complete.recv().is_ok() {
            self.execute()?;
        }
        // The end of this thread would be that of the node.
        while self.complete.recv().is_ok() {}
        Ok(())
    }

    fn execute(&self) -> Result<(), NodeError> {
        let HistoryStage { folder, network, snapshot, stop, .. } = self;
        tracing::info!(target: "history", to = snapshot.height,
            "all blocks before the snapshot are here: executing them from genesis on");
        let genesis = checked_genesis(network);
        let open =
            || SqliteStore::open_second(folder, network, &genesis, &Delta::default(), stop.flag());
        let store = open().or_else(|error| {
            tracing::warn!(target: "history", %error, "beginning the second index anew");
            SqliteStore::remove_second(folder)?;
            open()
        })?;
        let mut due_ms = now().unix_ms + PROGRESS_MS;
        let mut progress = |Progress { height, .. }: Progress| {
            let time_ms = now().unix_ms;
            if time_ms >= due_ms {
                due_ms = time_ms + PROGRESS_MS;
                tracing::info!(target: "history", height, of = snapshot.height, "executing");
            }
        };
        let ledger = Ledger::open(reader_options(network), store, now(), &mut progress)?;
        if stop.is_stopping() {
            return Ok(()); // the next start goes on where it is
        }
        let node = ledger.tree().find(&snapshot.hash);
        if node.is_some_and(|id| ledger.tree().is_invalid(id)) {
            let ChainPoint { height, hash } = *snapshot;
            return Err(NodeError::FalseSnapshot { height, hash });
        }
        if ledger.store().main_hash(snapshot.height)? != Some(snapshot.hash) {
            tracing::error!(target: "history", reached = ledger.store().tip()?.height,
                "blocks.log cannot be read up to the snapshot; `graven verify-chain` says more");
            return Ok(());
        }
        ledger.into_store().finish_second(folder)?;
        tracing::info!(target: "history", height = snapshot.height,
            "the blocks lead to the state of the snapshot; from the next start on the node has \
             what every transaction did");
        Ok(())
    }
}

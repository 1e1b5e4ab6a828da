//! Starts the miners.

use std::sync::Arc;

use super::NodeError;
use super::crew::Share;
use crate::config::NodeConfig;

/// Starts the search, if this node mines.
///
/// # Errors
/// When threads cannot be started.
pub(super) fn start_miners(
    config: &NodeConfig,
    has_payee: bool,
    solutions: crossbeam::channel::Sender<miner::Solution>,
) -> Result<Option<Arc<miner::Search>>, NodeError> {
    if config.threads == 0 {
        return Ok(None);
    }
    if !has_payee {
        tracing::warn!(target: "node", "nothing is mined: name a --payee or unlock the wallet");
        return Ok(None);
    }
    let kernel = config.kernel.unwrap_or_else(fastest_kernel);
    let options = miner::SearchOptions {
        pin: config.pin,
        ..miner::SearchOptions::new(config.threads, kernel)
    };
    let found = move |solution| {
        // One solution a job: the queue cannot be full while the ledger lives.
        solutions.try_send(solution).ok();
    };
    let search = Share::Rest
        .of(|| miner::Search::start(options, found))
        .map_err(|source| NodeError::System { what: "miners cannot be started", source })?;
    if let Some(error) = search.unpinned() {
        tracing::warn!(target: "node", %error, "mining threads are not pinned");
    }
    tracing::info!(target: "node", kernel = kernel.name, threads = config.threads, "mining");
    Ok(Some(Arc::new(search)))
}

/// Measures the kernels, logs what each reached and returns the fastest.
pub(crate) fn fastest_kernel() -> &'static miner::Kernel {
    let trials = miner::bench::fastest();
    for miner::bench::Trial { kernel, hashes_per_second } in &trials {
        tracing::info!(target: "kernel", kernel = kernel.name,
            mega_hashes_per_second = format_args!("{:.2}", hashes_per_second / 1e6), "measured");
    }
    trials[0].kernel
}

//! The commands that work on a data folder.

use std::io::Write;

use serde_json::json;

use super::{TerminalError, print, show, stdout_error};
use crate::args::{BackupArgs, CreateArgs, Global, ReindexArgs, RestoreArgs, SnapshotCommand};
use crate::config;
use crate::upkeep::{self, Damaged, WalletCopy};

pub(super) fn backup(global: &Global, args: &BackupArgs) -> Result<(), TerminalError> {
    let network = config::network(global.network.as_deref())?;
    let data = config::data_folder(global)?;
    let wallet = if args.with_wallet { WalletCopy::Include } else { WalletCopy::LeaveOut };
    let report = upkeep::backup(&data, &network, &args.target, wallet)?;
    let value = json!({
        "backup": args.target.display().to_string(),
        "height": report.tip.height,
        "tip": report.tip.hash.to_string(),
        "pending": report.pending,
        "bytes": report.bytes,
        "wallet": args.with_wallet,
    });
    print(global, &value, show::fields)
}

pub(super) fn snapshot(global: &Global, command: &SnapshotCommand) -> Result<(), TerminalError> {
    let mut network = config::network(global.network.as_deref())?;
    let data = config::data_folder(global)?;
    let (what, place, report) = match command {
        SnapshotCommand::Create(CreateArgs { file, depth }) => {
            ("snapshot", file, upkeep::create_snapshot(&data, &network, file, *depth)?)
        }
        SnapshotCommand::Restore(RestoreArgs { file, minimum_work, checkpoints }) => {
            config::add_landmarks(&mut network, minimum_work.as_deref(), checkpoints)?;
            ("restored", &data, upkeep::restore_snapshot(&data, &network, file)?)
        }
    };
    let value = json!({
        what: place.display().to_string(),
        "height": report.block.height,
        "block": report.block.hash.to_string(),
        "work": report.work.to_string(),
        "rows": report.rows,
        "bytes": report.bytes,
    });
    print(global, &value, show::fields)
}

pub(super) fn verify_chain(global: &Global) -> Result<(), TerminalError> {
    let network = config::network(global.network.as_deref())?;
    let report = upkeep::verify_chain(&config::data_folder(global)?, &network)?;
    let value = json!({
        "verified": true,
        "from": report.from,
        "height": report.height,
        "tip": report.tip.to_string(),
        "transactions": report.transactions,
        "state_rows": report.rows,
    });
    print(global, &value, show::fields)
}

pub(super) fn reindex(global: &Global, args: &ReindexArgs) -> Result<(), TerminalError> {
    let network = config::network(global.network.as_deref())?;
    let damaged = if args.skip_damaged { Damaged::LeaveOut } else { Damaged::Refuse };
    let height = upkeep::reindex(&config::data_folder(global)?, &network, damaged)?;
    print(global, &json!({ "height": height }), show::fields)
}

pub(super) fn dump_index(global: &Global) -> Result<(), TerminalError> {
    let network = config::network(global.network.as_deref())?;
    let data = config::data_folder(global)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    upkeep::dump_index(&data, &network, &mut out)?;
    out.flush().map_err(stdout_error)
}

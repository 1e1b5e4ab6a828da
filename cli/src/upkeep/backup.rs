//! `backup`: a copy of a data folder whose node may be running.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use chain::params::Network;
use chain::store::{BackupProgress, BackupReport, SqliteArchive};

use super::{UpkeepError, check_chain};
use crate::terminal::progress_bar;
use crate::wallet::WALLET_FILE;

/// Whether a copy has the wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalletCopy {
    /// It has: whoever has the copy can spend the coins.
    Include,
    /// It has not: a node that starts on it makes a new one.
    LeaveOut,
}

/// Copies a data folder to `target`, which must not be there; all or nothing.
///
/// # Errors
/// When a file cannot be read or written, or the copy does not check.
pub fn backup(
    data: &Path,
    network: &Network,
    target: &Path,
    wallet: WalletCopy,
) -> Result<BackupReport, UpkeepError> {
    check_chain(data)?;
    let parent = parent_of_new(target)?;
    let archive = SqliteArchive::open(data, network)?;
    let fail = |path: &Path| io_error(path.to_path_buf());
    let temporary = tempfile::Builder::new()
        .prefix(".graven-backup-")
        .tempdir_in(parent)
        .map_err(fail(parent))?;
    let bar = progress_bar("copying");
    let mut progress = |BackupProgress { done, total }| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let report = archive.back_up(temporary.path(), network, &mut progress)?;
    if wallet == WalletCopy::Include {
        copy_secret(&data.join(WALLET_FILE), &temporary.path().join(WALLET_FILE))?;
        sync_folder(temporary.path())?;
    }
    parent_of_new(target)?; // it took a while
    std::fs::rename(temporary.path(), target).map_err(fail(target))?;
    drop(temporary.keep());
    sync_folder(parent)?;
    bar.finish_and_clear();
    Ok(report)
}

/// The folder in which something new is to be made.
pub(super) fn parent_of_new(target: &Path) -> Result<&Path, UpkeepError> {
    if target.symlink_metadata().is_ok() {
        return Err(UpkeepError::Exists(target.display().to_string()));
    }
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok(parent.unwrap_or(Path::new(".")))
}

pub(super) fn sync_folder(path: &Path) -> Result<(), UpkeepError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(io_error(path.to_path_buf()))
}

pub(super) fn io_error(path: PathBuf) -> impl FnOnce(std::io::Error) -> UpkeepError {
    move |source| UpkeepError::Io { path, source }
}

fn copy_secret(from: &Path, to: &Path) -> Result<(), UpkeepError> {
    let mut source = File::open(from).map_err(io_error(from.to_path_buf()))?;
    let mut options = File::options();
    options.write(true).create_new(true).mode(0o600);
    let mut copy = options.open(to).map_err(io_error(to.to_path_buf()))?;
    std::io::copy(&mut source, &mut copy)
        .and_then(|_| copy.sync_all())
        .map_err(io_error(to.to_path_buf()))
}

//! `snapshot`: the state as a file, and a data folder made of one.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use chain::params::Network;
use chain::snapshot::{self, RestoreOptions, SnapshotProgress, SnapshotReport};
use chain::store::{Foundation, RecordLog, SqliteArchive, SqliteStore};
use indicatif::ProgressBar;
use kv::KeyValue;

use super::backup::{io_error, parent_of_new, sync_folder};
use super::{UpkeepError, check_chain};
use crate::folder::{self, Folder};
use crate::node;
use crate::terminal::progress_bar;

/// Bytes read or written at a time.
const BUFFER_BYTES: usize = 1024 * 1024;

/// Writes the state `depth` blocks below the tip of a data folder, whose node may be running, into
/// a new file; all or nothing.
///
/// # Errors
/// When the chain is too short, or a file cannot be read or written.
pub fn create_snapshot(
    data: &Path,
    network: &Network,
    file: &Path,
    depth: u32,
) -> Result<SnapshotReport, UpkeepError> {
    check_chain(data)?;
    let parent = parent_of_new(file)?;
    let archive = SqliteArchive::open(data, network)?;
    let temporary = tempfile::Builder::new()
        .prefix(".graven-snapshot-")
        .permissions(std::fs::Permissions::from_mode(0o666)) // the umask takes from it
        .tempfile_in(parent)
        .map_err(io_error(parent.to_path_buf()))?;
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, temporary.as_file());
    let bar = progress_bar("writing");
    let report = archive.snapshot(|archive| {
        let mut progress = |progress| show(&bar, progress);
        let made = snapshot::create(archive, &KeyValue, network, depth, &mut out, &mut progress);
        Ok(made)
    })??;
    out.flush()
        .and_then(|()| temporary.as_file().sync_all())
        .map_err(io_error(file.to_path_buf()))?;
    drop(out);
    let kept = temporary.persist_noclobber(file);
    kept.map_err(|error| io_error(file.to_path_buf())(error.error))?;
    sync_folder(parent)?;
    bar.finish_and_clear();
    Ok(report)
}

/// Makes the store of a snapshot in a data folder that has none, if all of it is true; else nothing
/// is left behind.
///
/// # Errors
/// When the folder has a chain or is in use, or the first thing that is wrong with the snapshot.
pub fn restore_snapshot(
    data: &Path,
    network: &Network,
    file: &Path,
) -> Result<SnapshotReport, UpkeepError> {
    let input = File::open(file).map_err(io_error(file.to_path_buf()))?;
    let is_new = !data.exists();
    let opened = Folder::open(data).map_err(UpkeepError::from);
    let restored = opened.and_then(|folder| restore_into(&folder, network, &input));
    if is_new && restored.is_err() {
        Folder::remove_empty(data);
    }
    restored
}

fn restore_into(
    folder: &Folder,
    network: &Network,
    input: &File,
) -> Result<SnapshotReport, UpkeepError> {
    let data = folder.path();
    let has_more_than_a_head = |name: &str| {
        let size = std::fs::metadata(data.join(name)).map(|metadata| metadata.len());
        size.is_ok_and(|size| size > RecordLog::start())
    };
    if let Some(name) = Foundation::files().into_iter().find(|name| has_more_than_a_head(name)) {
        return Err(UpkeepError::HasChain(data.join(name).display().to_string()));
    }
    let temporary = tempfile::Builder::new()
        .prefix(".restoring-")
        .tempdir_in(data)
        .map_err(io_error(data.to_path_buf()))?;
    let options = RestoreOptions {
        network: network.clone(),
        machine: Arc::new(KeyValue),
        now_s: node::now().seconds(),
        secret: *folder::random()?,
    };
    let bar = progress_bar("restoring");
    let mut input = BufReader::with_capacity(BUFFER_BYTES, input);
    let mut progress = |progress| show(&bar, progress);
    let report = snapshot::restore(&mut input, temporary.path(), &options, &mut progress)?;
    SqliteStore::remove_second(data)?; // of what was here before
    // The index last: without it there is no chain here, with it all of it.
    for name in Foundation::made() {
        let to = data.join(name);
        std::fs::rename(temporary.path().join(name), &to).map_err(io_error(to))?;
    }
    sync_folder(data)?;
    bar.finish_and_clear();
    Ok(report)
}

fn show(bar: &ProgressBar, progress: SnapshotProgress) {
    match progress {
        SnapshotProgress::Headers(done, all) => {
            bar.set_length(all.into());
            bar.set_position(done.into());
            bar.set_message("headers");
        }
        SnapshotProgress::Rows(count) => bar.set_message(format!("{count} rows")),
        SnapshotProgress::Trie(part) => {
            bar.set_length(256);
            bar.set_position(part.into());
            bar.set_message("state root");
        }
    }
}

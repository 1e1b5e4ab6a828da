//! What a disk may hold after a power cut, given the calls before it.
//!
//! Bytes are on stable storage when their file has been synced. Of those that are not, any may be
//! there, in any order, and each sector of a write may be the new one, the old one or noise; bytes
//! that no write touches stay. Names (made, changed, taken away) come to stable storage in order,
//! as by the journal of ext4 or XFS: those up to a file's making when it is synced, all of them
//! when the folder is.

use std::collections::BTreeMap;
use std::path::Path;

use rand::RngExt;
use rand::rngs::StdRng;

use super::hooks::{FileId, Op};

/// Bytes that a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// What becomes of that which was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// All is there, as after the end of the process alone.
    Nothing,
    /// All is gone.
    All,
    /// What came first is there.
    Later,
    /// The last thing that is there is half there.
    Torn,
    /// Some of it, in no order.
    Some,
    /// Sectors are old, new or noise.
    Garbled,
}

/// Every kind of loss.
pub(crate) const LOSSES: [Loss; 6] =
    [Loss::Nothing, Loss::All, Loss::Later, Loss::Torn, Loss::Some, Loss::Garbled];

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

#[derive(Clone, Debug)]
enum Naming {
    Give(String, FileId),
    Change(String, String),
    Take(String),
}

/// A folder on a disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    synced: BTreeMap<FileId, Vec<u8>>,
    names: BTreeMap<String, FileId>,
    /// Not synced, oldest first.
    changes: Vec<(FileId, Change)>,
    namings: Vec<Naming>,
}

/// Files by name.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

impl Disk {
    /// Goes on by a call.
    pub(crate) fn apply(&mut self, op: &Op) {
        match op {
            Op::Create { id, name } => {
                self.synced.insert(*id, Vec::new());
                self.namings.push(Naming::Give(name.clone(), *id));
            }
            Op::Write { id, offset, bytes } => {
                self.changes.push((*id, Change::Write(*offset, bytes.clone())));
            }
            Op::Hole { id, offset, length } => {
                self.changes.push((*id, Change::Write(*offset, vec![0; *length])));
            }
            Op::Truncate { id, length } => self.changes.push((*id, Change::Truncate(*length))),
            Op::Rename { from, to } => {
                self.namings.push(Naming::Change(from.clone(), to.clone()));
            }
            Op::Unlink { name } => self.namings.push(Naming::Take(name.clone())),
            Op::Sync { id } => {
                for (_, change) in self.changes.extract_if(.., |(of, _)| of == id) {
                    change.apply(self.synced.get_mut(id).expect("files are made first"));
                }
                let made = |naming: &Naming| matches!(naming, Naming::Give(_, of) if of == id);
                let through = self.namings.iter().rposition(made).map_or(0, |at| at + 1);
                apply_names(&mut self.names, self.namings.drain(..through));
            }
            Op::SyncFailed { id } => self.changes.retain(|(of, _)| of != id),
            Op::SyncFolder => apply_names(&mut self.names, self.namings.drain(..)),
        }
    }

    /// What may be found after a power cut.
    pub(crate) fn after(&self, loss: Loss, draw: &mut StdRng) -> Files {
        let named = match loss {
            Loss::Nothing => self.namings.len(),
            Loss::All => 0,
            _ => draw.random_range(0..=self.namings.len()),
        };
        let mut names = self.names.clone();
        apply_names(&mut names, self.namings[..named].iter().cloned());
        let mut files = self.synced.clone();
        for (id, change) in self.left(loss, draw) {
            change.apply(files.get_mut(&id).expect("files are made first"));
        }
        names.into_iter().map(|(name, id)| (name, files[&id].clone())).collect()
    }

    fn left(&self, loss: Loss, draw: &mut StdRng) -> Vec<(FileId, Change)> {
        let mut left = self.changes.clone();
        match loss {
            Loss::Nothing => {}
            Loss::All => left.clear(),
            Loss::Later => left.truncate(draw.random_range(0..=left.len())),
            Loss::Torn => {
                left.truncate(draw.random_range(0..=left.len()));
                if let Some((_, Change::Write(_, bytes))) = left.last_mut() {
                    bytes.truncate(draw.random_range(0..=bytes.len()));
                }
            }
            Loss::Some => left.retain(|_| draw.random()),
            Loss::Garbled => {
                left = left.iter().flat_map(|(id, change)| garbled(*id, change, draw)).collect();
            }
        }
        left
    }
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Change::Write(offset, bytes) => {
                let end = offset + bytes.len();
                file.resize(file.len().max(end), 0);
                file[*offset..end].copy_from_slice(bytes);
            }
            Change::Truncate(length) => file.resize(*length, 0),
        }
    }
}

/// A change sector by sector.
fn garbled(id: FileId, change: &Change, draw: &mut StdRng) -> Vec<(FileId, Change)> {
    let Change::Write(offset, bytes) = change else {
        return if draw.random() { vec![(id, change.clone())] } else { Vec::new() };
    };
    let mut sectors = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        let room = SECTOR_BYTES - (offset + start) % SECTOR_BYTES;
        let mut sector = bytes[start..bytes.len().min(start + room)].to_vec();
        let at = offset + start;
        start += sector.len();
        match draw.random_range(0..3) {
            0 => continue,
            1 => draw.fill(&mut sector[..]),
            _ => {}
        }
        sectors.push((id, Change::Write(at, sector)));
    }
    sectors
}

fn apply_names(names: &mut BTreeMap<String, FileId>, namings: impl IntoIterator<Item = Naming>) {
    for naming in namings {
        match naming {
            Naming::Give(name, id) => _ = names.insert(name, id),
            Naming::Take(name) => _ = names.remove(&name),
            Naming::Change(from, to) => {
                let id = names.remove(&from).expect("only a file that is there is renamed");
                names.insert(to, id);
            }
        }
    }
}

/// Puts files into an empty folder.
pub(crate) fn write_files(folder: &Path, files: &Files) {
    for (name, bytes) in files {
        std::fs::write(folder.join(name), bytes).expect("there is room");
    }
}

/// The files of a folder, without SQLite's shared memory.
pub(crate) fn read_files(folder: &Path) -> Files {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let names = entries.map(|entry| entry.expect("it can be listed").file_name());
    let names = names.map(|name| name.into_string().expect("names are ASCII"));
    names
        .filter(|name| !name.ends_with("-shm"))
        .map(|name| (name.clone(), std::fs::read(folder.join(name)).expect("it can be read")))
        .collect()
}

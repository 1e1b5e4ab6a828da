//! Bits that change in files at rest.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use chain::store::{Archive, Body};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use super::check::{Truth, body_is_right, scratch};
use super::disk::{Disk, Files, Loss, read_files, write_files};
use super::hooks;
use super::script::{Lived, Script, open};

const LOG: &str = "blocks.log";
const PENDING: &str = "pending.log";
const INDEX: &str = "index.sqlite";
const WAL: &str = "index.sqlite-wal";

const LOG_HEAD_BYTES: usize = 40;
const INDEX_HEAD_BYTES: usize = 100;
const PAGE_BYTES: usize = 4096;
const WAL_HEAD_BYTES: usize = 32;
const FRAME_BYTES: usize = 24 + PAGE_BYTES;
const SECTOR_BYTES: usize = 512;

/// What came of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// Everything is read as it was, a block is taken and one is reverted.
    Right,
    /// An error named the file.
    Named,
    /// Something else was read, without an error; `verify-chain` finds it.
    Silent,
}

/// Outcomes by the part of the file that was damaged.
pub(crate) type Outcomes = BTreeMap<(&'static str, Outcome), usize>;

#[derive(Clone, Copy, Debug)]
enum Damage {
    Bit(usize, u8),
    Zeros(usize),
}

/// Damages the files of a node that has stopped, and of one that was killed, at every part:
/// `share` bits in each page of the index and each record.
pub(crate) fn damage_everything(seed: u64, blocks: usize, share: usize) -> Outcomes {
    let mut truth = Truth::new(Script::new(seed, blocks));
    let folder = scratch();
    hooks::watch(folder.path(), None);
    let lived = truth.script.run(folder.path());
    let (ops, _) = hooks::unwatch();
    assert!(lived.error.is_none(), "seed {seed}: {:?}", lived.error);
    let last = lived.acks.last().expect("it has started");
    let mut draw = StdRng::seed_from_u64(seed);
    let mut disk = Disk::default();
    ops[..last.ops].iter().for_each(|op| disk.apply(op));
    let (killed, stopped) = (disk.after(Loss::Nothing, &mut draw), read_files(folder.path()));
    assert!(killed.contains_key(WAL) && !stopped.contains_key(WAL));
    let (mut outcomes, mut failures) = (Outcomes::new(), Vec::new());
    for (files, name) in [(&stopped, LOG), (&killed, PENDING), (&stopped, INDEX), (&killed, WAL)] {
        for (part, damage) in damages(name, &files[name], share, &mut draw) {
            let damaged = damaged(files, name, damage);
            match outcome(&mut truth, &damaged, &lived, name) {
                Ok(outcome) => *outcomes.entry((part, outcome)).or_default() += 1,
                Err(error) => failures.push(format!("seed {seed}, {name}, {damage:?}: {error}")),
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    outcomes
}

fn damages(
    name: &str,
    bytes: &[u8],
    share: usize,
    draw: &mut StdRng,
) -> Vec<(&'static str, Damage)> {
    // Parts of a file: what they are, where, and how many bits of each.
    let mut parts: Vec<(&'static str, usize, usize, usize)> = Vec::new();
    let mut zeros = Vec::new();
    match name {
        LOG | PENDING => {
            let (file_head, head, record) = match name {
                LOG => ("head of blocks.log", "head of a block", "block"),
                _ => ("head of pending.log", "head of a transaction", "transaction"),
            };
            parts.push((file_head, 0, LOG_HEAD_BYTES, LOG_HEAD_BYTES));
            let mut at = LOG_HEAD_BYTES;
            while let Some((length, _)) = bytes[at..].split_first_chunk::<4>() {
                let length = usize::try_from(u32::from_le_bytes(*length)).expect("64 bits");
                parts.push((head, at, at + 8, share));
                parts.push((record, at + 8, at + 8 + length, share));
                zeros.push((record, at + 8));
                at += 8 + length;
            }
        }
        INDEX => {
            parts.push(("index head", 0, INDEX_HEAD_BYTES, INDEX_HEAD_BYTES));
            for page in (0..bytes.len()).step_by(PAGE_BYTES) {
                let start = if page == 0 { INDEX_HEAD_BYTES } else { page };
                parts.push(("page head", start, start + 12, share));
                parts.push(("page", start, page + PAGE_BYTES, 4 * share));
                let sector = draw.random_range(0..PAGE_BYTES / SECTOR_BYTES);
                zeros.push(("page", page + sector * SECTOR_BYTES));
            }
        }
        _ => {
            parts.push(("WAL head", 0, WAL_HEAD_BYTES, WAL_HEAD_BYTES));
            for frame in (WAL_HEAD_BYTES..bytes.len()).step_by(FRAME_BYTES) {
                parts.push(("WAL frame", frame, frame + 24, share));
                parts.push(("WAL frame", frame, frame + FRAME_BYTES, share));
                zeros.push(("WAL frame", frame));
            }
        }
    }
    let mut damages: Vec<(&'static str, Damage)> = Vec::new();
    for (part, start, end, bits) in parts {
        let bits = (0..bits).map(|number| {
            // Each byte of a part that is that small, else bytes by chance.
            let is_small = bits == end - start;
            let at = if is_small { start + number } else { draw.random_range(start..end) };
            (part, Damage::Bit(at, draw.random_range(0..8)))
        });
        damages.extend(bits);
    }
    damages.extend(zeros.into_iter().map(|(part, at)| (part, Damage::Zeros(at))));
    damages
}

fn damaged(files: &Files, name: &str, damage: Damage) -> Files {
    let mut files = files.clone();
    let bytes = files.get_mut(name).expect("it is there");
    match damage {
        Damage::Bit(at, bit) => bytes[at] ^= 1 << bit,
        Damage::Zeros(at) => {
            let end = bytes.len().min(at + SECTOR_BYTES);
            bytes[at..end].fill(0);
        }
    }
    files
}

fn outcome(truth: &mut Truth, files: &Files, lived: &Lived, name: &str) -> Result<Outcome, String> {
    let folder = scratch();
    write_files(folder.path(), files);
    let result = catch_unwind(AssertUnwindSafe(|| live(truth, &folder, lived)));
    match result.map_err(|_| "a panic".to_string())? {
        Ok(()) => Ok(Outcome::Right),
        Err(error) if error.starts_with("PANIC") => Err(error),
        Err(error) if error.starts_with("WRONG") => {
            let fresh = scratch();
            write_files(fresh.path(), files);
            // Some damage does harm when the page is written next.
            match truth.audit(fresh.path()).and_then(|()| truth.audit(folder.path())) {
                Ok(()) => Err(format!("verify-chain does not see this: {error}")),
                Err(_) => Ok(Outcome::Silent),
            }
        }
        // A node fetches it from its peers again.
        Err(error) if error.contains("of blocks.log") => Ok(Outcome::Named),
        // The ledger does not know where its index is, but says what to do about it.
        Err(error) if error.contains(name.trim_end_matches("-wal")) => Ok(Outcome::Named),
        Err(error) if error.contains("`graven reindex`") && name != LOG => Ok(Outcome::Named),
        Err(error) => Err(format!("the error does not name the file: {error}")),
    }
}

/// Reads everything, then reverts the last block for two others.
fn live(truth: &mut Truth, folder: &TempDir, lived: &Lived) -> Result<(), String> {
    let tip = lived.acks.last().expect("it has started").tip;
    let mut ledger =
        open(folder.path(), &truth.script.network).map_err(|error| error.to_string())?;
    let found = ledger.store().tip().map_err(|error| error.to_string())?.hash;
    if found != tip {
        return Err(format!("WRONG tip {found}"));
    }
    truth.read_all(ledger.store(), tip)?;
    for hash in &lived.bodies {
        // One off the main chain that is not found is fetched again, or missed when it is needed.
        let bytes = truth.script.blocks[hash].1.bytes();
        let is_stored = ledger.store().body(hash).map_err(|error| error.to_string())?;
        if is_stored != Body::Unknown && !body_is_right(ledger.store(), hash, bytes)? {
            return Err(format!("WRONG bytes of block {hash}"));
        }
    }
    let parent = truth.script.blocks[&tip].1.header().prev;
    let rival = truth.block_after(parent);
    truth.give(&mut ledger, rival.clone())?;
    truth.go_on(&mut ledger, rival.hash())?;
    let tip = truth.block_after(rival.hash()).hash();
    truth.read_all(ledger.store(), tip)
}

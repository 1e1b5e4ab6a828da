//! The block log: opening a damaged file keeps every whole record before the damage, cuts off what
//! can only be a torn tail, and refuses everything else without touching it.

use std::path::PathBuf;

use chain::Hash;
use chain::store::{RecordLog, StoreError};
use chain::tx::MIN_TRANSACTION_BYTES;
use tempfile::TempDir;

use super::target::{Memory, Target};

/// A record may be as long as a block before it shows that it is cut short.
pub(super) const TARGET: Target = Target {
    name: "log",
    samples,
    run,
    memory: Memory { per_byte: 16, fixed: MAX_RECORD + 16 * 1024 },
};

const HEAD: usize = 40;
const MAX_RECORD: usize = 4 * 1024 * 1024;

thread_local! {
    /// In memory where there is such a folder: repairs are synced.
    static FOLDER: TempDir =
        tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
}

fn record(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
    [&length[..], &crc32c::crc32c(payload).to_le_bytes(), payload].concat()
}

fn samples() -> Vec<Vec<u8>> {
    let head = [&b"GRVNLOG2"[..], &Hash::ZERO.0].concat();
    let [a, b, c] = [(1, 101), (2, 180), (3, 300)].map(|(byte, len)| record(&vec![byte; len]));
    let whole = [&head[..], &a, &b, &c].concat();
    let mut damaged = whole.clone();
    damaged[HEAD + a.len() + 20] ^= 1;
    let huge = [&u32::MAX.to_le_bytes()[..], &[0; 9]].concat();
    let promised = [&4_000_000_u32.to_le_bytes()[..], &[7; 50]].concat();
    vec![
        whole.clone(),
        head.clone(),
        head[..30].to_vec(),
        Vec::new(),
        [&head[..], &a, &b[..100]].concat(),
        [&head[..], &a, &[0; 500]].concat(),
        [&head[..], &a, &huge, &b].concat(),
        [&head[..], &a, &promised].concat(),
        [&head[..], &record(b"short"), &a].concat(),
        damaged,
        [&b"GRVNLOG2"[..], &whole[8..]].concat(),
        [&whole[..10], &[9], &whole[11..]].concat(),
    ]
}

fn run(input: &[u8]) -> String {
    let path: PathBuf = FOLDER.with(|folder| folder.path().join("log"));
    std::fs::write(&path, input).unwrap();
    let opened = RecordLog::open(&path, &Hash::ZERO).and_then(|mut log| log.read_all_repairing());
    let after = std::fs::read(&path).unwrap();
    let (expected, end) = whole_records(input);
    match opened {
        Ok(records) => {
            assert_eq!(records, expected, "records are lost or made up");
            let has_head = input.len() >= HEAD && input.starts_with(b"GRVNLOG");
            let is_new = input.len() <= HEAD && !has_head;
            assert!(is_new || after == input[..end], "the file is not what was read");
            assert!(is_new || !has_whole_record(&input[end..]), "a whole record is cut off");
            let again = RecordLog::open(&path, &Hash::ZERO).unwrap().read_all_repairing();
            assert_eq!(again.unwrap(), expected, "once repaired is repaired");
            let cut = if end < input.len() { "repaired" } else { "whole" };
            format!("{cut} {}", if is_new { "new".to_string() } else { sizes(records.len()) })
        }
        Err(error) => {
            assert_eq!(after, input, "a refused file is changed");
            match error {
                StoreError::Damaged { offset: 0, .. } => "no log".to_string(),
                StoreError::Damaged { offset, .. } => {
                    assert_eq!(usize::try_from(offset).unwrap(), end, "damage elsewhere");
                    assert!(has_whole_record(&input[end..]), "a torn tail is refused");
                    format!("refused after {}", sizes(expected.len()))
                }
                StoreError::OtherNetwork { .. } => "other network".to_string(),
                StoreError::NoStateRoots { .. } => "without state roots".to_string(),
                error => panic!("{error}"),
            }
        }
    }
}

fn sizes(count: usize) -> String {
    count.min(4).to_string()
}

/// The record at the front of the bytes, by the letter of docs/format.md.
fn first_record(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let payload = rest.get(..length)?;
    let is_good = (1..=MAX_RECORD).contains(&length)
        && crc32c::crc32c(payload) == u32::from_le_bytes(*checksum);
    is_good.then_some(payload)
}

/// The records up to the first that is none, and where that begins.
fn whole_records(input: &[u8]) -> (Vec<Vec<u8>>, usize) {
    let (mut records, mut at) = (Vec::new(), HEAD.min(input.len()));
    while let Some(payload) = first_record(&input[at..]) {
        records.push(payload.to_vec());
        at += 8 + payload.len();
    }
    (records, at)
}

/// Whether a record that could be a transaction or a block is anywhere in the bytes.
fn has_whole_record(bytes: &[u8]) -> bool {
    (0..bytes.len()).any(|at| {
        first_record(&bytes[at..]).is_some_and(|payload| payload.len() >= MIN_TRANSACTION_BYTES)
    })
}

//! How a node makes a snapshot.

use std::collections::BTreeMap;
use std::io::Write;

use miner::Work;

use super::form::{COINBASES_A_CHUNK, HEADERS_A_CHUNK, Kind, ROWS_BYTES, ShownCoinbase, Writer};
use super::{SnapshotError, SnapshotProgress, SnapshotReport, Transferable};
use crate::block::Block;
use crate::execute::{Order, Range};
use crate::header::Header;
use crate::params::Network;
use crate::rules::merkle;
use crate::store::{Archive, ChainPoint, StoreError};
use crate::tree::work_of;

/// Rows read at a time; the largest have 64 KiB on built-in networks.
const ROWS_A_READ: usize = 128;

/// Above every row key.
const AFTER_ALL: [u8; 300] = [0xff; 300];

/// Writes the state `depth` blocks below the tip. All reads must be of one moment. Equal chains
/// give equal files.
///
/// # Errors
/// When the chain is too short, the store fails, or `out` does.
///
/// # Panics
/// When `depth` exceeds [`super::MAX_DEPTH`].
pub fn create<A: Archive>(
    archive: &A,
    machine: &dyn Transferable,
    network: &Network,
    depth: u32,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(SnapshotProgress),
) -> Result<SnapshotReport, SnapshotError> {
    assert!(depth <= super::MAX_DEPTH, "the caller keeps to the limit");
    let tip = archive.tip()?;
    let height = tip.height.checked_sub(depth).filter(|height| *height > 0);
    let height = height.ok_or(SnapshotError::TooShort { height: tip.height, depth })?;
    let undo_from = archive.pruned()?;
    if height < undo_from {
        return Err(SnapshotError::NoUndo { height, undo_from });
    }
    let mut making = Making {
        archive,
        machine,
        network,
        height,
        out: Writer::begin(out, &network.genesis_hash(), height)?,
        progress,
    };
    let (hash, work) = making.headers()?;
    making.blocks()?;
    let rows = making.rows(tip.height)?;
    making.out.chunk(Kind::End, &rows.to_le_bytes())?;
    let bytes = making.out.bytes();
    Ok(SnapshotReport { block: ChainPoint { height, hash }, work, rows, bytes })
}

struct Making<'a, A> {
    archive: &'a A,
    machine: &'a dyn Transferable,
    network: &'a Network,
    height: u32,
    out: Writer<'a>,
    progress: &'a mut dyn FnMut(SnapshotProgress),
}

impl<A: Archive> Making<'_, A> {
    /// Writes the headers; returns hash and work of the last.
    fn headers(&mut self) -> Result<(miner::Hash, Work), SnapshotError> {
        let genesis = self.network.genesis().header;
        let (mut hash, mut work) = (genesis.hash(), work_of(&genesis));
        let mut next = 1;
        while next <= self.height {
            let left = (self.height - next + 1) as usize;
            let headers = self.archive.main_headers(next, left.min(HEADERS_A_CHUNK))?;
            let last = headers.last().ok_or_else(|| missing(next))?;
            hash = last.hash();
            work = headers.iter().fold(work, |work, header| work + work_of(header));
            next += u32::try_from(headers.len()).expect("a chunk has few");
            let bytes: Vec<u8> = headers.iter().flat_map(Header::encode).collect();
            self.out.chunk(Kind::Headers, &bytes)?;
            (self.progress)(SnapshotProgress::Headers(next - 1, self.height));
        }
        Ok((hash, work))
    }

    /// Writes the coinbases of the blocks below the last, and the last one whole.
    fn blocks(&mut self) -> Result<(), SnapshotError> {
        let below: Vec<u32> = self
            .machine
            .coinbases(self.network, self.height)
            .filter(|height| *height < self.height)
            .collect();
        for heights in below.chunks(COINBASES_A_CHUNK) {
            let mut shown = Vec::new();
            for height in heights {
                let block = Block::decode(&self.body(*height)?)
                    .expect("the log's checksums vouch for blocks");
                let branch = merkle::coinbase_branch(&block.txids()[1..]);
                shown.push((block.coinbase.encode(), branch));
            }
            let shown: Vec<ShownCoinbase<'_>> = shown
                .iter()
                .map(|(coinbase, branch)| ShownCoinbase { coinbase, branch: branch.clone() })
                .collect();
            self.out.chunk(Kind::Coinbases, &encode(&shown))?;
        }
        let last = self.body(self.height)?;
        self.out.chunk(Kind::Block, &last)
    }

    fn body(&self, height: u32) -> Result<Vec<u8>, SnapshotError> {
        let hash = self.archive.main_hash(height)?.ok_or_else(|| missing(height))?;
        self.archive.body(&hash)?.here().ok_or(SnapshotError::NoBody(height))
    }

    /// Writes the carried rows; returns how many there are.
    fn rows(&mut self, tip: u32) -> Result<u64, SnapshotError> {
        let before = self.undone(tip)?;
        let mut undone = before.iter().peekable();
        let mut chunk = RowsChunk::default();
        let mut from = Vec::new();
        loop {
            let range =
                Range { from: &from, to: &AFTER_ALL, order: Order::Ascending, limit: ROWS_A_READ };
            let page = self.archive.range(range)?;
            for (key, value) in &page {
                while let Some((key, value)) = undone.next_if(|(other, _)| *other < key) {
                    self.row(&mut chunk, key, value.as_deref())?;
                }
                match undone.next_if(|(other, _)| *other == key) {
                    Some((_, value)) => self.row(&mut chunk, key, value.as_deref())?,
                    None => self.row(&mut chunk, key, Some(value))?,
                }
            }
            let Some((last, _)) = page.last() else { break };
            from = [&last[..], &[0]].concat();
            (self.progress)(SnapshotProgress::Rows(chunk.count));
        }
        for (key, value) in undone {
            self.row(&mut chunk, key, value.as_deref())?;
        }
        self.close(&mut chunk)?;
        Ok(chunk.count)
    }

    /// What the rows were that the blocks above have changed.
    fn undone(&self, tip: u32) -> Result<BTreeMap<Vec<u8>, Option<Vec<u8>>>, StoreError> {
        let mut before = BTreeMap::new();
        for height in (self.height + 1..=tip).rev() {
            before.extend(self.archive.undo(height)?);
        }
        Ok(before)
    }

    fn row(
        &mut self,
        chunk: &mut RowsChunk,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), SnapshotError> {
        let Some(value) = value.filter(|_| self.machine.is_carried(key)) else { return Ok(()) };
        chunk.bytes += key.len() + value.len();
        chunk.rows.push((key.to_vec(), value.to_vec()));
        chunk.count += 1;
        if chunk.bytes >= ROWS_BYTES { self.close(chunk) } else { Ok(()) }
    }

    fn close(&mut self, chunk: &mut RowsChunk) -> Result<(), SnapshotError> {
        if !chunk.rows.is_empty() {
            self.out.chunk(Kind::Rows, &encode(&chunk.rows))?;
        }
        (chunk.rows, chunk.bytes) = (Vec::new(), 0);
        Ok(())
    }
}

/// Rows that are not written yet, and how many there were in all.
#[derive(Default)]
struct RowsChunk {
    rows: Vec<(Vec<u8>, Vec<u8>)>,
    bytes: usize,
    count: u64,
}

fn encode(list: &impl serde::Serialize) -> Vec<u8> {
    postcard::to_stdvec(list).expect("encoding to memory cannot fail")
}

fn missing(height: u32) -> StoreError {
    let what = format!("the header of block {height} is not there");
    StoreError::Inconsistent { path: "index".into(), what }
}

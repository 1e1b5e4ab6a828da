//! How a snapshot becomes a store, if all of it is true.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use miner::{Hash, Work, sha256d_pair};
use sha2::{Digest, Sha256};

use super::form::{COINBASES_A_CHUNK, HEADERS_A_CHUNK, Kind, Reader, ShownCoinbase};
use super::trie::Leaves;
use super::{RowCheck, SnapshotError, SnapshotProgress, SnapshotReport, Transferable};
use crate::block::{CheckedBlock, Coinbase};
use crate::commitment;
use crate::execute::{Row, StateMachine};
use crate::header::{HEADER_BYTES, Header};
use crate::params::Network;
use crate::rules::context::{self, ParentFacts};
use crate::rules::{RuleError, isolation};
use crate::store::{ChainPoint, Foundation};
use crate::tree::work_of;
use crate::verify::Verifier;

/// No block's merkle tree is deeper.
const MAX_BRANCH: usize = 32;

/// What restoring needs to know.
pub struct RestoreOptions {
    /// The rules in force; the landmarks rule out chains.
    pub network: Network,
    /// What the rows mean.
    pub machine: Arc<dyn Transferable>,
    /// Seconds since the Unix epoch.
    pub now_s: u64,
    /// Unpredictable, for [`Verifier`].
    pub secret: [u8; 32],
}

/// Makes the store of a snapshot in `folder`, which is thrown away if this fails. Then the file is
/// damaged or lies, or the folder cannot be written.
///
/// # Errors
/// The first thing that is wrong.
pub fn restore(
    input: &mut dyn Read,
    folder: &Path,
    options: &RestoreOptions,
    progress: &mut dyn FnMut(SnapshotProgress),
) -> Result<SnapshotReport, SnapshotError> {
    let genesis = isolation::checked_genesis(&options.network);
    let (reader, height) = Reader::begin(input, &genesis.hash())?;
    if height == 0 {
        return Err(SnapshotError::Lie("it is of genesis, whose state is empty".to_string()));
    }
    let target = Foundation::begin(folder, &genesis)?;
    let time = genesis.header().time;
    let mut restoring = Restoring {
        options,
        reader,
        height,
        target,
        facts: ParentFacts { height: 0, time, times: vec![time] },
        hash: genesis.hash(),
        work: work_of(genesis.header()),
        derived: Vec::new(),
        progress,
    };
    let mut chunk = restoring.headers()?;
    chunk = restoring.coinbases(chunk)?;
    let block = restoring.block(chunk)?;
    let rows = restoring.rows(folder, block.coinbase())?;
    let Restoring { reader, target, hash, work, .. } = restoring;
    target.finish(&block, height)?;
    let block = ChainPoint { height, hash };
    Ok(SnapshotReport { block, work, rows, bytes: reader.offset() })
}

type Chunk = (Kind, Vec<u8>);

struct Restoring<'a> {
    options: &'a RestoreOptions,
    reader: Reader<'a>,
    height: u32,
    target: Foundation,
    /// Of the last header so far.
    facts: ParentFacts,
    hash: Hash,
    work: Work,
    /// Rows that follow from coinbases.
    derived: Vec<Row>,
    progress: &'a mut dyn FnMut(SnapshotProgress),
}

impl Restoring<'_> {
    /// Takes all headers; returns the chunk after them.
    fn headers(&mut self) -> Result<Chunk, SnapshotError> {
        let network = &self.options.network;
        loop {
            let (kind, payload) = self.reader.chunk()?;
            if kind != Kind::Headers {
                if self.facts.height < self.height {
                    return Err(self.lie("headers are missing"));
                }
                let wanted = network.landmarks.minimum_work;
                if self.work < wanted {
                    return Err(SnapshotError::LittleWork { found: self.work, wanted });
                }
                return Ok((kind, payload));
            }
            let (bytes, rest) = payload.as_chunks::<HEADER_BYTES>();
            if !rest.is_empty() || bytes.is_empty() || bytes.len() > HEADERS_A_CHUNK {
                return Err(self.lie("a part with headers has no whole number of them"));
            }
            if bytes.len() > (self.height - self.facts.height) as usize {
                return Err(self.lie("there are more headers than its height"));
            }
            let headers: Vec<Header> = bytes.iter().map(Header::decode).collect();
            let first = self.facts.height + 1;
            for header in &headers {
                self.header(header)?;
            }
            self.target.put_headers(first, &headers)?;
            (self.progress)(SnapshotProgress::Headers(self.facts.height, self.height));
        }
    }

    /// All rules for headers, and landmarks.
    fn header(&mut self, header: &Header) -> Result<(), SnapshotError> {
        let RestoreOptions { network, now_s, .. } = self.options;
        let (height, hash) = (self.facts.height + 1, header.hash());
        let rule = |error| SnapshotError::Rule { height, error };
        isolation::check_header(network, header).map_err(rule)?;
        if header.prev != self.hash {
            return Err(rule(RuleError::NotLinked { got: header.prev, expected: self.hash }));
        }
        context::check_header(network, header, &self.facts).map_err(rule)?;
        context::time_is_not_too_new(network, header, *now_s).map_err(rule)?;
        network.landmarks.check(height, &hash).map_err(rule)?;
        self.work = self.work + work_of(header);
        self.facts.advance(header);
        self.hash = hash;
        Ok(())
    }

    /// Takes the coinbases that rows follow from; returns the chunk after them.
    fn coinbases(&mut self, mut chunk: Chunk) -> Result<Chunk, SnapshotError> {
        let (machine, last) = (Arc::clone(&self.options.machine), self.height);
        let mut heights =
            machine.coinbases(&self.options.network, last).filter(move |height| *height < last);
        while chunk.0 == Kind::Coinbases {
            let shown: Vec<ShownCoinbase<'_>> = self.decode(&chunk.1)?;
            if shown.is_empty() || shown.len() > COINBASES_A_CHUNK {
                return Err(self.lie("a part has no or too many coinbases"));
            }
            for ShownCoinbase { coinbase: bytes, branch } in shown {
                let height = heights.next().ok_or_else(|| self.lie("a coinbase is too many"))?;
                let coinbase = self.coinbase(height, bytes, &branch)?;
                self.derive(&coinbase);
            }
            chunk = self.reader.chunk()?;
        }
        match heights.next() {
            None => Ok(chunk),
            Some(height) => Err(self.lie(&format!("the coinbase of block {height} is missing"))),
        }
    }

    /// A coinbase that its block's header commits to.
    fn coinbase(
        &self,
        height: u32,
        bytes: &[u8],
        branch: &[Hash],
    ) -> Result<Coinbase, SnapshotError> {
        let header = self.target.header(height)?;
        let coinbase = Coinbase::decode(bytes).ok().filter(|_| branch.len() <= MAX_BRANCH);
        let coinbase = coinbase.filter(|coinbase| {
            // No coinbase has the 64 bytes of an inner node of the tree.
            let root =
                branch.iter().fold(coinbase.txid(), |left, right| sha256d_pair(&left, right));
            coinbase.height == height && root == header.merkle_root
        });
        coinbase.ok_or_else(|| self.lie(&format!("block {height} has another coinbase")))
    }

    fn derive(&mut self, coinbase: &Coinbase) {
        let RestoreOptions { network, machine, .. } = self.options;
        self.derived.extend(machine.row_of(network, self.height, coinbase));
    }

    /// Takes the last block, by every rule that needs no state.
    fn block(&mut self, (kind, payload): Chunk) -> Result<CheckedBlock, SnapshotError> {
        let RestoreOptions { network, machine, secret, .. } = self.options;
        if kind != Kind::Block {
            return Err(self.lie("the last block is missing"));
        }
        let height = self.height;
        let rule = |error| SnapshotError::Rule { height, error };
        let machine: Arc<dyn StateMachine> = machine.clone();
        let verifier = Verifier::new(network.clone(), machine, *secret);
        let block = verifier.block(payload).map_err(rule)?;
        if block.hash() != self.hash {
            return Err(self.lie("the last block is another one than the last header"));
        }
        context::coinbase_height_matches(block.coinbase(), height).map_err(rule)?;
        context::coinbase_value_matches(network, block.coinbase(), block.transactions())
            .map_err(rule)?;
        self.derive(block.coinbase());
        Ok(block)
    }

    /// Takes the rows, checks all of them, and writes those that are derived and the pages.
    fn rows(&mut self, folder: &Path, committed: &Coinbase) -> Result<u64, SnapshotError> {
        let machine = Arc::clone(&self.options.machine);
        let mut check = machine.row_check();
        let mut leaves = Leaves::begin(folder)?;
        let (mut last, mut count) = (Vec::new(), 0_u64);
        loop {
            let (kind, payload) = self.reader.chunk()?;
            if kind == Kind::End {
                if payload != count.to_le_bytes() {
                    return Err(self.lie("rows are missing"));
                }
                break;
            }
            if kind != Kind::Rows {
                return Err(self.lie("there is more than one last block"));
            }
            let rows: Vec<(&[u8], &[u8])> = self.decode(&payload)?;
            for (key, value) in rows {
                if key <= &last[..] {
                    return Err(self.lie("its rows are not in order"));
                }
                self.row(&mut *check, &mut leaves, key, value)?;
                last = key.to_vec();
                count += 1;
            }
            (self.progress)(SnapshotProgress::Rows(count));
        }
        check.end()?;
        let progress = &mut *self.progress;
        let root =
            leaves.build(&mut self.target, &mut |part| progress(SnapshotProgress::Trie(part)))?;
        if root != committed.state_root {
            return Err(self.lie("block and rows have different state roots"));
        }
        for (key, value) in std::mem::take(&mut self.derived) {
            self.target.put_row(&key, &value)?;
        }
        Ok(count)
    }

    fn row(
        &mut self,
        check: &mut dyn RowCheck,
        leaves: &mut Leaves,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), SnapshotError> {
        let machine = &self.options.machine;
        if !machine.is_carried(key) {
            return Err(self.lie("a row is of a kind that is not carried"));
        }
        check.row(&self.target, key, value)?;
        if machine.commits_to(key) {
            leaves.add(&commitment::path(key), &Sha256::digest(value).into())?;
        }
        Ok(self.target.put_row(key, value)?)
    }

    /// Reads a list that fills its chunk.
    fn decode<'b, T: serde::Deserialize<'b>>(
        &self,
        bytes: &'b [u8],
    ) -> Result<Vec<T>, SnapshotError> {
        match postcard::take_from_bytes(bytes) {
            Ok((list, [])) => Ok(list),
            _ => Err(self.lie("a part does not decode")),
        }
    }

    fn lie(&self, what: &str) -> SnapshotError {
        SnapshotError::Lie(what.to_string())
    }
}

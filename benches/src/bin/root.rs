//! Prints one run of the measurement of the state root as CSV, the form kept in `benches/runs/`.
//!
//! `cargo run --release -p benches --bin root -- KEYS..` fills a store on disk with so many keys,
//! then connects blocks that write random ones of them, with the commitment and without. Columns:
//! keys in the state; keys a block writes; microseconds a key to compute the root, to write and
//! commit the block with the pages, and without them; pages and kilobytes of pages a block writes;
//! steps of a witness. Medians of the blocks.

use std::time::Instant;

use chain::Hash;
use chain::block::{Block, CheckedBlock, Coinbase};
use chain::commitment::{EMPTY, Witness, commit};
use chain::execute::{Delta, RowChange, View};
use chain::header::{Header, VERSION_FIXED};
use chain::params::Network;
use chain::rules::{isolation, merkle};
use chain::store::{SqliteStore, Store};
use chain::tx::PublicKey;
use chain::verify::Verifier;
use chain::{CompactTarget, sha256d};
use kv::KeyValue;

/// Keys a block writes.
const BLOCKS: [usize; 2] = [1_000, 8_000];
/// Measured blocks of each size.
const RUNS: usize = 15;
/// Keys a block writes while the store is filled.
const FILL: u64 = 20_000;
/// Bytes of a head: owner, policy, version, deleted, history.
const HEAD_BYTES: usize = 69;

fn main() {
    println!("# SHA-256 by the sha2 crate, SQLite with synchronous = NORMAL, one thread");
    println!(
        "keys,block_keys,root_us,store_us,store_without_pages_us,pages,page_kilobytes,witness_steps"
    );
    let sizes = std::env::args().skip(1).map(|word| word.parse().expect("a number of keys"));
    for keys in sizes {
        let (mut with, mut without) = (Bench::new(true), Bench::new(false));
        with.fill(keys);
        without.fill(keys);
        for block_keys in BLOCKS {
            let mut rows: Vec<_> = (0..RUNS).map(|_| with.block(block_keys, keys)).collect();
            let mut plain: Vec<_> = (0..RUNS).map(|_| without.block(block_keys, keys)).collect();
            let median = |value: fn(&Measured) -> f64, rows: &mut Vec<Measured>| {
                rows.sort_by(|a, b| value(a).total_cmp(&value(b)));
                value(&rows[RUNS / 2])
            };
            let per_key = 1e6 / block_keys as f64;
            println!(
                "{keys},{block_keys},{:.2},{:.2},{:.2},{},{:.0},{}",
                median(|row| row.root_s, &mut rows) * per_key,
                median(|row| row.store_s, &mut rows) * per_key,
                median(|row| row.store_s, &mut plain) * per_key,
                median(|row| row.pages as f64, &mut rows),
                median(|row| row.page_bytes as f64, &mut rows) / 1e3,
                with.witness_steps(keys),
            );
        }
    }
}

struct Measured {
    root_s: f64,
    store_s: f64,
    pages: usize,
    page_bytes: usize,
}

struct Bench {
    network: Network,
    verifier: Verifier,
    store: SqliteStore,
    tip: (Hash, u32),
    commits: bool,
    draw: u64,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new(commits: bool) -> Bench {
        let network = Network { start_bits: CompactTarget(0x207f_ffff), ..Network::dev() };
        let folder = tempfile::tempdir().expect("there is room");
        let genesis = isolation::checked_genesis(&network);
        let store = SqliteStore::open(folder.path(), &network, &genesis, &Delta::default());
        Bench {
            verifier: Verifier::new(network.clone(), std::sync::Arc::new(KeyValue), [0; 32]),
            store: store.expect("a new folder"),
            tip: (genesis.hash(), 0),
            network,
            commits,
            draw: 1,
            _folder: folder,
        }
    }

    fn fill(&mut self, keys: u64) {
        for from in (0..keys).step_by(usize::try_from(FILL).expect("small")) {
            let chosen: Vec<u64> = (from..keys.min(from + FILL)).collect();
            self.connect(&chosen);
        }
    }

    fn block(&mut self, block_keys: usize, keys: u64) -> Measured {
        let mut chosen: Vec<u64> = (0..block_keys).map(|_| self.next() % keys).collect();
        chosen.sort_unstable();
        chosen.dedup();
        self.connect(&chosen)
    }

    fn connect(&mut self, keys: &[u64]) -> Measured {
        let mut rows: Vec<RowChange> = keys.iter().map(|key| self.change(*key)).collect();
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        let mut delta = Delta { rows, ..Delta::default() };
        let block = self.next_block();
        let start = clock();
        if self.commits {
            delta = commit(&KeyValue, &self.store, delta).expect("the store works");
        }
        let root_s = start.elapsed().as_secs_f64();
        self.store.append(&block).expect("the store works");
        let start = clock();
        self.store.connect(&block, self.tip.1, &delta).expect("the store works");
        self.store.commit().expect("the store works");
        let store_s = start.elapsed().as_secs_f64();
        let bytes = delta.pages.iter().map(|page| page.after.as_ref().map_or(0, Vec::len));
        Measured { root_s, store_s, pages: delta.pages.len(), page_bytes: bytes.sum() }
    }

    /// A new head of a key, which need not make sense.
    fn change(&mut self, key: u64) -> RowChange {
        let key = key_of(key);
        let before = self.store.get(&key).expect("the store works");
        let after: Vec<u8> = (0..HEAD_BYTES).map(|_| self.next().to_le_bytes()[0]).collect();
        RowChange { key, before, after: Some(after) }
    }

    fn next_block(&mut self) -> CheckedBlock {
        let height = self.tip.1 + 1;
        let coinbase = Coinbase {
            height,
            extranonce: 0,
            tag: Vec::new(),
            value: self.network.subsidy.at(height),
            payee: PublicKey([1; 32]),
            state_root: EMPTY,
        };
        let header = Header {
            version: VERSION_FIXED,
            prev: self.tip.0,
            merkle_root: Hash::ZERO,
            time: self.network.genesis_time + height,
            bits: self.network.start_bits,
            nonce: 0,
        };
        let mut block = Block { header, coinbase, transactions: Vec::new() };
        block.header.merkle_root = merkle::root(&block.txids()).expect("one transaction");
        let target = self.network.start_bits.decode().expect("canonical");
        while !target.is_met_by(&block.header.hash()) {
            block.header.nonce += 1;
        }
        self.tip = (block.header.hash(), height);
        self.verifier.block(block.encode()).expect("it is sound")
    }

    /// Nodes on the way to a row.
    fn witness_steps(&self, keys: u64) -> usize {
        Witness::of(&self.store, &key_of(keys / 2)).expect("the store works").steps.len()
    }

    /// xorshift64*
    fn next(&mut self) -> u64 {
        self.draw ^= self.draw >> 12;
        self.draw ^= self.draw << 25;
        self.draw ^= self.draw >> 27;
        self.draw.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
}

#[expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]
fn clock() -> Instant {
    Instant::now()
}

/// The row of a head, as random as names are.
fn key_of(key: u64) -> Vec<u8> {
    [b"k", &sha256d(&key.to_le_bytes()).0[..16]].concat()
}

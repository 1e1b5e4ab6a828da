//! The commitment to the state beside the Jellyfish Merkle tree of the `jmt` crate, on the same
//! data.
//!
//! ```text
//! RAYON_NUM_THREADS=1 cargo run --release --manifest-path benches/jmt/Cargo.toml \
//!     --target-dir target/jmt -- KEYS..
//! ```
//!
//! fills both, in memory, with so many keys, then writes blocks of 1,000 random ones of them in
//! turns, and prints CSV: microseconds a block; bytes of the nodes or pages that a block writes,
//! with their keys; bytes that all of them take; bytes of a proof (the middle and the longest of
//! 1,000). Medians of the blocks. Both keep the newest version alone and hash with SHA-256. Without
//! `RAYON_NUM_THREADS` ours has all cores.

use std::collections::HashMap;
use std::time::Instant;

use chain::commitment::{LeafChange, Pages, Witness, path, update};
use chain::store::StoreError;
use jmt::storage::{LeafNode, Node, NodeKey, TreeReader};
use jmt::{KeyHash, OwnedValue, Sha256Jmt, Version};
use sha2::{Digest, Sha256};

/// Keys a block writes.
const BLOCK_KEYS: usize = 1_000;
/// Measured blocks.
const RUNS: usize = 31;
/// Keys a block writes while the trees are filled.
const FILL: u64 = 20_000;
/// Bytes of a head: owner, policy, version, deleted, history.
const HEAD_BYTES: usize = 69;
/// Proofs measured.
const PROOFS: usize = 1_000;

fn main() {
    println!("tree,keys,block_us,block_bytes,kept_bytes,proof_bytes_median,proof_bytes_longest");
    for keys in std::env::args().skip(1).map(|word| word.parse().expect("a number of keys")) {
        let mut draw = Draw(1);
        let (mut ours, mut theirs) = (Ours::default(), Theirs::default());
        for from in (0..keys).step_by(FILL as usize) {
            let rows: Vec<Row> = (from..keys.min(from + FILL)).map(|key| draw.row(key)).collect();
            ours.write(&rows);
            theirs.write(&rows);
        }
        let (mut of_ours, mut of_theirs) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let mut chosen: Vec<u64> = (0..BLOCK_KEYS).map(|_| draw.next() % keys).collect();
            chosen.sort_unstable();
            chosen.dedup();
            let rows: Vec<Row> = chosen.into_iter().map(|key| draw.row(key)).collect();
            of_ours.push(ours.write(&rows));
            of_theirs.push(theirs.write(&rows));
        }
        let asked: Vec<Vec<u8>> = (0..PROOFS).map(|_| key_of(draw.next() % keys)).collect();
        let proofs = asked.iter().map(|key| ours.proof_bytes(key)).collect();
        line("graven", keys, of_ours, ours.kept(), proofs);
        let proofs = asked.iter().map(|key| theirs.proof_bytes(key)).collect();
        line("jmt", keys, of_theirs, theirs.kept(), proofs);
    }
}

fn line(tree: &str, keys: u64, blocks: Vec<(f64, usize)>, kept: usize, mut proofs: Vec<usize>) {
    let mut times: Vec<f64> = blocks.iter().map(|(seconds, _)| seconds * 1e6).collect();
    times.sort_by(f64::total_cmp);
    let mut bytes: Vec<usize> = blocks.iter().map(|(_, bytes)| *bytes).collect();
    bytes.sort_unstable();
    proofs.sort_unstable();
    println!(
        "{tree},{keys},{:.0},{},{kept},{},{}",
        times[RUNS / 2],
        bytes[RUNS / 2],
        proofs[PROOFS / 2],
        proofs[PROOFS - 1]
    );
}

/// Key and new value.
type Row = (Vec<u8>, Vec<u8>);

fn key_of(key: u64) -> Vec<u8> {
    format!("kkey-{key}").into_bytes()
}

/// Numbers in no order (splitmix64).
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn row(&mut self, key: u64) -> Row {
        (key_of(key), (0..HEAD_BYTES).map(|_| self.next().to_le_bytes()[0]).collect())
    }
}

/// The pages of chain::commitment.
#[derive(Default)]
struct Ours(HashMap<Vec<u8>, Vec<u8>>);

impl Pages for Ours {
    fn page(&self, prefix: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.get(prefix).cloned())
    }
}

impl Ours {
    /// Seconds to compute the root, and bytes of the changed pages with their prefixes.
    fn write(&mut self, rows: &[Row]) -> (f64, usize) {
        let start = Instant::now();
        let change = |(key, value): &Row| LeafChange {
            path: path(key),
            value: Some(Sha256::digest(value).into()),
        };
        let mut changes: Vec<LeafChange> = rows.iter().map(change).collect();
        changes.sort_unstable();
        let update = update(self, &changes).expect("memory does not fail");
        let seconds = start.elapsed().as_secs_f64();
        let mut bytes = 0;
        for page in update.pages {
            bytes += page.prefix.len() + page.after.as_ref().map_or(0, Vec::len);
            match page.after {
                Some(after) => self.0.insert(page.prefix, after),
                None => self.0.remove(&page.prefix),
            };
        }
        (seconds, bytes)
    }

    /// The length of a list and of each step: a bit and a sibling.
    fn proof_bytes(&self, key: &[u8]) -> usize {
        let witness = Witness::of(self, key).expect("memory does not fail");
        2 + 33 * witness.steps.len()
    }

    fn kept(&self) -> usize {
        self.0.iter().map(|(prefix, page)| prefix.len() + page.len()).sum()
    }
}

/// The newest version of a Jellyfish Merkle tree.
#[derive(Default)]
struct Theirs {
    nodes: HashMap<NodeKey, Node>,
    version: Version,
}

impl TreeReader for Theirs {
    fn get_node_option(&self, key: &NodeKey) -> anyhow::Result<Option<Node>> {
        Ok(self.nodes.get(key).cloned())
    }

    /// Values are not part of the tree, and are kept elsewhere.
    fn get_value_option(&self, _: Version, _: KeyHash) -> anyhow::Result<Option<OwnedValue>> {
        Ok(Some(vec![0; HEAD_BYTES]))
    }

    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        Ok(None)
    }
}

impl Theirs {
    fn write(&mut self, rows: &[Row]) -> (f64, usize) {
        self.version += 1;
        let values: Vec<Row> = rows.to_vec();
        let start = Instant::now();
        let set = values.into_iter().map(|(key, value)| (KeyHash(path(&key)), Some(value)));
        let (_, batch) =
            Sha256Jmt::new(self).put_value_set(set, self.version).expect("memory does not fail");
        let seconds = start.elapsed().as_secs_f64();
        let mut bytes = 0;
        for (key, node) in batch.node_batch.nodes() {
            bytes += size(key) + size(node);
            self.nodes.insert(key.clone(), node.clone());
        }
        for stale in &batch.stale_node_index_batch {
            self.nodes.remove(&stale.node_key);
        }
        (seconds, bytes)
    }

    fn proof_bytes(&self, key: &[u8]) -> usize {
        let (_, proof) = Sha256Jmt::new(self)
            .get_with_proof(KeyHash(path(key)), self.version)
            .expect("memory does not fail");
        size(&proof)
    }

    fn kept(&self) -> usize {
        self.nodes.iter().map(|(key, node)| size(key) + size(node)).sum()
    }
}

fn size(value: &impl borsh::BorshSerialize) -> usize {
    borsh::object_length(value).expect("it has a form")
}

//! What the parts of a node could do alone with the blocks of a chain.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chain::ledger::{Input, Ledger, LedgerOptions, PeerId, Time};
use chain::mempool::PoolLimits;
use chain::params::Network;
use chain::store::{Archive, SqliteArchive, SqliteStore};
use chain::tx::{PublicKey, SigningKey, TRANSACTION_VERSION, Unsigned};
use chain::verify::Verifier;
use chain::{CompactTarget, Hash, sha256d};
use kv::{Expect, KeyValue, Operation};

use super::{BenchError, now};
use crate::upkeep::Damaged;

/// Half of all hashes meet it: proof of work costs nothing here.
pub(super) const BITS: CompactTarget = CompactTarget(0x207f_ffff);

/// Blocks that share a commit while limits are measured, as they do in a node that catches up.
const BLOCKS_A_COMMIT: usize = 2000;
/// Likewise, bytes of blocks at which there is one.
const BYTES_A_COMMIT: usize = 16 * 1024 * 1024;

/// Between two blocks of the chain, in seconds.
pub(super) const INTERVAL_S: u64 = 2;

/// How long the blocks of a chain take, all of them together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    /// Decoded and verified on all cores.
    pub(super) verify: Duration,
    /// Hashed twice on one core.
    pub(super) hash: Duration,
    /// Verified blocks executed and written by a ledger.
    pub(super) ledger: Duration,
}

/// A ledger on a folder.
pub(super) fn open(
    folder: &Path,
    network: &Network,
    payee: Option<PublicKey>,
) -> Result<Ledger<SqliteStore>, BenchError> {
    let options = LedgerOptions {
        network: network.clone(),
        machine: Arc::new(KeyValue),
        key: None,
        payee,
        extranonce_start: 0,
        pool: PoolLimits::default(),
        pruning: None,
        secret: [0; 32],
    };
    Ok(crate::node::open_ledger(folder, options, Damaged::Refuse)?)
}

/// A ledger's time when it makes the block of this height.
pub(super) fn time_of(network: &Network, height: u32) -> Time {
    let seconds = u64::from(network.genesis_time) + INTERVAL_S * u64::from(height);
    Time { unix_ms: seconds * 1000 }
}

/// A transaction of puts of new values.
pub(super) fn put(
    key: &SigningKey,
    sequence: u64,
    names: impl Iterator<Item = String>,
    value: &[u8],
    genesis: &Hash,
) -> Vec<u8> {
    let put = |name: String| {
        let put = Operation::Put { key: name.as_bytes(), value, expect: Expect::Any, policy: None };
        put.encode()
    };
    let unsigned = Unsigned {
        version: TRANSACTION_VERSION,
        signer: PublicKey::from(key),
        sequence,
        expires_at: 0,
        fee: 0,
        operations: names.map(put).collect(),
    };
    unsigned.sign(key, genesis).bytes().to_vec()
}

/// The key of a writer.
pub(super) fn writer(number: u32) -> SigningKey {
    SigningKey::from(sha256d(&number.to_le_bytes()).0)
}

/// Measures the parts, one after the other, with the chain in `source`.
pub(super) fn limits(
    source: &Path,
    temp: &Path,
    network: &Network,
    progress: &mut dyn FnMut(f64),
) -> Result<Limits, BenchError> {
    let archive = SqliteArchive::open(source, network)?;
    let height = archive.tip()?.height;
    let verifier = Verifier::new(network.clone(), Arc::new(KeyValue), [0; 32]);
    let folder = temp.join("limit");
    std::fs::create_dir(&folder)?;
    let mut ledger = open(&folder, network, None)?;
    let end = time_of(network, u32::MAX / 4);
    let mut spent = Limits::default();
    let mut next = 1;
    while next <= height {
        let (mut blocks, mut bytes) = (Vec::new(), 0);
        while next <= height && blocks.len() < BLOCKS_A_COMMIT && bytes < BYTES_A_COMMIT {
            let hash = archive.main_hash(next)?.expect("the chain has so many blocks");
            let block = archive.body(&hash)?.here().expect("blocks of the chain are stored");
            bytes += block.len();
            blocks.push(block);
            next += 1;
        }
        let started = now();
        let hashed = blocks.iter().map(|block| sha256d(block)).max();
        spent.hash += started.elapsed();
        assert!(hashed.is_some(), "there is a block");
        let started = now();
        let blocks = blocks.into_iter().map(|block| (block, None)).collect();
        let checked = verifier.blocks(blocks);
        spent.verify += started.elapsed();
        let started = now();
        for block in checked {
            let block = block.expect("our own block is valid");
            ledger.take(end, Input::Block { from: PeerId(0), block })?;
        }
        ledger.commit(end)?;
        while ledger.poll().is_some() {}
        spent.ledger += started.elapsed();
        progress(f64::from(next - 1) / f64::from(height));
    }
    Ok(spent)
}

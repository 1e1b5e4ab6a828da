//! What the parts of a node could do alone with the blocks of a chain.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chain::ledger::{Input, Ledger, LedgerOptions, PeerId, Time};
use chain::mempool::PoolLimits;
use chain::params::Network;
use chain::store::{Archive, SqliteArchive, SqliteStore};
use chain::tx::{PublicKey, SigningKey, TRANSACTION_VERSION, Unsigned};
use chain::verify::Verifier;
use chain::{CompactTarget, Hash, sha256d};
use kv::{Expect, KeyValue, Operation};
use rustix::time::{ClockId, clock_gettime};

use super::{BenchError, now};
use crate::upkeep::Damaged;

/// Half of all hashes meet it: proof of work costs nothing here.
pub(super) const BITS: CompactTarget = CompactTarget(0x207f_ffff);

/// Blocks that share a commit while limits are measured, as they do in a node that catches up,
/// unless their rows are too many before.
const BLOCKS_A_COMMIT: usize = 2000;
/// Bytes of blocks that are measured at a time: many commits, since the last one is waited for.
const BYTES_AT_A_TIME: usize = 64 * 1024 * 1024;

/// Between two blocks of the chain, in seconds.
pub(super) const INTERVAL_S: u64 = 2;

/// What the blocks of a chain take, all of them together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    /// To decode and verify them on all cores.
    pub(super) verify: Spent,
    /// To hash them twice on one core.
    pub(super) hash: Spent,
    /// To execute and write verified blocks, by a ledger and the thread that writes its index.
    pub(super) ledger: Spent,
}

/// What some work takes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    pub(super) time: Duration,
    /// Of all cores together.
    pub(super) cpu: Duration,
}

/// When some work began.
struct Begin {
    time: Instant,
    cpu: Duration,
}

impl Begin {
    fn now() -> Begin {
        Begin { time: now(), cpu: used() }
    }

    fn end(self, spent: &mut Spent) {
        spent.time += self.time.elapsed();
        spent.cpu += used().saturating_sub(self.cpu);
    }
}

/// CPU time of this process.
fn used() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("no process has used less than nothing")
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
    let folder = temp.join("limit");
    std::fs::create_dir(&folder)?;
    let mut ledger = open(&folder, network, None)?;
    let (index_writer, _) = ledger.store_mut().write_elsewhere()?;
    std::thread::scope(|scope| {
        // Ends with the ledger, which is dropped at the end of the measurement.
        scope.spawn(move || index_writer.run());
        measure(&archive, network, ledger, progress)
    })
}

fn measure(
    archive: &SqliteArchive,
    network: &Network,
    mut ledger: Ledger<SqliteStore>,
    progress: &mut dyn FnMut(f64),
) -> Result<Limits, BenchError> {
    let height = archive.tip()?.height;
    let verifier = Verifier::new(network.clone(), Arc::new(KeyValue), [0; 32]);
    let end = time_of(network, u32::MAX / 4);
    let mut spent = Limits::default();
    let mut next = 1;
    while next <= height {
        let (mut blocks, mut bytes) = (Vec::new(), 0);
        while next <= height && bytes < BYTES_AT_A_TIME {
            let hash = archive.main_hash(next)?.expect("the chain has so many blocks");
            let block = archive.body(&hash)?.here().expect("blocks of the chain are stored");
            bytes += block.len();
            blocks.push(block);
            next += 1;
        }
        let begin = Begin::now();
        let hashed = blocks.iter().map(|block| sha256d(block)).max();
        begin.end(&mut spent.hash);
        assert!(hashed.is_some(), "there is a block");
        let begin = Begin::now();
        let blocks = blocks.into_iter().map(|block| (block, None)).collect();
        let checked = verifier.blocks(blocks);
        begin.end(&mut spent.verify);
        let begin = Begin::now();
        for (number, block) in (1..).zip(checked) {
            let block = block.expect("our own block is valid");
            ledger.take(end, Input::Block { from: PeerId(0), block })?;
            if number % BLOCKS_A_COMMIT == 0 {
                ledger.commit(end)?;
            }
        }
        ledger.commit(end)?;
        ledger.settle()?;
        while ledger.poll().is_some() {}
        begin.end(&mut spent.ledger);
        progress(f64::from(next - 1) / f64::from(height));
    }
    Ok(spent)
}

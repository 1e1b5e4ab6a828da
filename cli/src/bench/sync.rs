//! `graven bench sync`: how fast a new node gets a chain from two peers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chain::header::Header;
use chain::ledger::{Input, Ledger, LedgerOptions, Mined, Output, PeerId, Source, Time};
use chain::mempool::PoolLimits;
use chain::params::{Mining, Network};
use chain::store::{Archive, SqliteArchive, SqliteStore};
use chain::template::Template;
use chain::tx::{PublicKey, SigningKey, TRANSACTION_VERSION, Unsigned};
use chain::verify::Verifier;
use chain::{CompactTarget, Hash, sha256d};
use clap::Args;
use kv::{Expect, KeyValue, Operation};
use miner::Solution;
use serde::Serialize;

use super::{BenchError, now};
use crate::child::{ChildNode, ChildSetup};

/// Half of all hashes meet it: proof of work costs nothing here.
const BITS: CompactTarget = CompactTarget(0x207f_ffff);

/// Accounts that write in turn.
const WRITERS: u64 = 64;

/// Between two blocks of the chain, in seconds.
const INTERVAL_S: u64 = 2;

/// Blocks that share a commit while the limits are measured, as they do in a node that catches up.
const BLOCKS_A_COMMIT: u32 = 2000;

/// Between two looks at the new node.
const POLL: Duration = Duration::from_millis(50);

/// Measures how fast a new node catches up
///
/// Makes a chain, starts two nodes that have it and one that has nothing and connects to both, all
/// on this machine, and waits until that one has it all. What verification, hashing and the
/// ledger with its store could do alone is measured beside it.
#[derive(Args, Clone, Debug)]
pub struct SyncArgs {
    /// Blocks of the chain
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub blocks: u32,
    /// Transactions in each block, one put of 64 bytes each
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub transactions: u32,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct SyncReport {
    /// Blocks of the chain.
    pub blocks: u32,
    /// Transactions of the chain, coinbases not counted.
    pub transactions: u64,
    /// Bytes of the chain.
    pub bytes: u64,
    /// From the new node's start to its last block.
    pub seconds: f64,
    /// Blocks of that time.
    pub blocks_per_second: f64,
    /// Transactions of that time.
    pub transactions_per_second: f64,
    /// Signatures verified in blocks, on all cores, and nothing else: blocks a second.
    pub verify_blocks_per_second: f64,
    /// Bytes hashed twice, on one core, and nothing else: blocks a second.
    pub hash_blocks_per_second: f64,
    /// Verified blocks executed and written by a ledger, and nothing else: blocks a second.
    pub ledger_blocks_per_second: f64,
    /// The least of these.
    pub ceiling_per_second: f64,
    /// `blocks_per_second` divided by it.
    pub share_of_ceiling: f64,
}

/// Measures. `progress` is told what is done and how much of it, 0.0 to 1.0.
///
/// # Errors
/// When a node cannot be used.
pub fn sync(
    args: &SyncArgs,
    progress: &mut dyn FnMut(&'static str, f64),
) -> Result<SyncReport, BenchError> {
    if !(1..=1_000_000).contains(&args.blocks) || args.transactions > 1000 {
        return Err(BenchError::Usage("--blocks is 1 to 1000000 and --transactions at most 1000"));
    }
    let temp = tempfile::tempdir()?;
    let network = Network {
        name: "sync".to_string(),
        mining: Mining::Continuous,
        start_bits: BITS,
        ..Network::dev()
    };
    let file = temp.path().join("sync.toml");
    std::fs::write(&file, network.to_toml())?;
    let (one, other) = (temp.path().join("one"), temp.path().join("other"));
    std::fs::create_dir(&one)?;
    std::fs::create_dir(&other)?;
    grow(&one, &network, args, &mut |share| progress("making a chain", share))?;
    let limits = limits(&one, temp.path(), &network, args, &mut |share| {
        progress("measuring the limits", share);
    })?;
    for entry in std::fs::read_dir(&one)? {
        let entry = entry?;
        std::fs::copy(entry.path(), other.join(entry.file_name()))?;
    }
    let network = file.display().to_string();
    let setup = |data: &Path, peers| ChildSetup {
        data: data.to_path_buf(),
        network: network.clone(),
        threads: 0,
        listen: None,
        peers,
    };
    let sources = [
        ChildNode::start(&setup(&one, Vec::new()))?,
        ChildNode::start(&setup(&other, Vec::new()))?,
    ];
    let peers = sources.iter().map(|source| source.peers).collect();
    let started = now();
    let fresh = ChildNode::start(&setup(&temp.path().join("fresh"), peers))?;
    wait_for(&fresh, args.blocks, &mut |share| progress("catching up", share))?;
    let seconds = started.elapsed().as_secs_f64();
    let bytes = std::fs::metadata(one.join("blocks.log"))?.len();
    let [verify, hash, ledger] = limits;
    let blocks_per_second = f64::from(args.blocks) / seconds;
    let ceiling_per_second = verify.min(hash).min(ledger);
    Ok(SyncReport {
        blocks: args.blocks,
        transactions: u64::from(args.blocks) * u64::from(args.transactions),
        bytes,
        seconds,
        blocks_per_second,
        transactions_per_second: blocks_per_second * f64::from(args.transactions),
        verify_blocks_per_second: verify,
        hash_blocks_per_second: hash,
        ledger_blocks_per_second: ledger,
        ceiling_per_second,
        share_of_ceiling: blocks_per_second / ceiling_per_second,
    })
}

fn open(
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
        secret: [0; 32],
    };
    Ok(crate::node::open_ledger(folder, options)?)
}

/// A ledger's time when it makes the block of this height.
fn time_of(network: &Network, height: u32) -> Time {
    let seconds = u64::from(network.genesis_time) + INTERVAL_S * u64::from(height);
    Time { unix_ms: seconds * 1000 }
}

/// Makes a chain with the node's own code: pool, templates, blocks.
fn grow(
    folder: &Path,
    network: &Network,
    args: &SyncArgs,
    progress: &mut dyn FnMut(f64),
) -> Result<(), BenchError> {
    let genesis = network.genesis_hash();
    let keys: Vec<SigningKey> =
        (0..WRITERS).map(|writer| SigningKey::from(sha256d(&writer.to_le_bytes()).0)).collect();
    let mut ledger = open(folder, network, Some(PublicKey::from(&keys[0])))?;
    let mut verifier = Verifier::new(network.clone(), Arc::new(KeyValue), [0; 32]);
    let mut written = 0u64;
    for height in 1..=args.blocks {
        let signed: Vec<Vec<u8>> = (written..written + u64::from(args.transactions))
            .map(|number| put(&keys, number, &genesis))
            .collect();
        written += u64::from(args.transactions);
        let now = time_of(network, height);
        for transaction in verifier.transactions(&signed) {
            let transaction = transaction.expect("what was just signed is valid");
            ledger
                .take(now, Input::Transaction { source: Source::Peer(PeerId(0)), transaction })?;
        }
        ledger.commit(now)?;
        let templates = std::iter::from_fn(|| ledger.poll());
        let template = templates.filter_map(|output| match output {
            Output::Template(template) => template,
            _ => None,
        });
        let template = template.last().expect("a miner has work on every tip");
        let solution = solve(&template);
        let mined = Mined { payee: template.payee(), template, solution };
        ledger.take(now, Input::Mined(mined))?;
        if height % 1000 == 0 {
            progress(f64::from(height) / f64::from(args.blocks));
        }
    }
    Ok(ledger.flush()?)
}

/// The transaction of this number: the writers take turns, each key is new.
fn put(keys: &[SigningKey], number: u64, genesis: &Hash) -> Vec<u8> {
    let key = &keys[usize::try_from(number % WRITERS).expect("few writers")];
    let name = format!("key{number}");
    let operation = Operation::Put {
        key: name.as_bytes(),
        value: &[b'v'; 64],
        expect: Expect::Any,
        policy: None,
    };
    let unsigned = Unsigned {
        version: TRANSACTION_VERSION,
        signer: PublicKey::from(key),
        sequence: number / WRITERS,
        expires_at: 0,
        fee: 0,
        operations: vec![operation.encode()],
    };
    unsigned.sign(key, genesis).bytes().to_vec()
}

/// Tries nonces until one is good, which is soon.
fn solve(template: &Template) -> Solution {
    let job = template.job();
    let solution = |nonce| Solution {
        job_id: job.id,
        version: job.version,
        extranonce: job.extranonce_start,
        time: job.time,
        nonce,
    };
    let is_met =
        |nonce: &u32| job.target.is_met_by(&Header::decode(&job.header(&solution(*nonce))).hash());
    (0..).find(is_met).map(solution).expect("every second nonce is good")
}

/// How many blocks a second of the chain in `source` could be verified, hashed, and taken in by a
/// ledger.
fn limits(
    source: &Path,
    temp: &Path,
    network: &Network,
    args: &SyncArgs,
    progress: &mut dyn FnMut(f64),
) -> Result<[f64; 3], BenchError> {
    let archive = SqliteArchive::open(source, network)?;
    let verifier = Verifier::new(network.clone(), Arc::new(KeyValue), [0; 32]);
    let folder = temp.join("limit");
    std::fs::create_dir(&folder)?;
    let mut ledger = open(&folder, network, None)?;
    let end = time_of(network, u32::MAX / 4);
    let mut spent = [Duration::ZERO; 3];
    for first in (1..=args.blocks).step_by(BLOCKS_A_COMMIT as usize) {
        let mut blocks = Vec::new();
        for height in first..=args.blocks.min(first + BLOCKS_A_COMMIT - 1) {
            let hash = archive.main_hash(height)?.expect("the chain has so many blocks");
            blocks.push(archive.block_bytes(&hash)?.expect("blocks of the chain are stored"));
        }
        let started = now();
        let hashed = blocks.iter().map(|block| sha256d(block)).max();
        spent[1] += started.elapsed();
        assert!(hashed.is_some(), "there is a block");
        let started = now();
        let blocks = blocks.into_iter().map(|block| (block, None)).collect();
        let checked = verifier.blocks(blocks);
        spent[0] += started.elapsed();
        let started = now();
        for block in checked {
            let block = block.expect("our own block is valid");
            ledger.take(end, Input::Block { from: PeerId(0), block })?;
        }
        ledger.commit(end)?;
        while ledger.poll().is_some() {}
        spent[2] += started.elapsed();
        progress(f64::from(first) / f64::from(args.blocks));
    }
    Ok(spent.map(|spent| f64::from(args.blocks) / spent.as_secs_f64()))
}

fn wait_for(
    node: &ChildNode,
    height: u32,
    progress: &mut dyn FnMut(f64),
) -> Result<(), BenchError> {
    let mut client = node.client()?;
    loop {
        let reached = client.ask("STATUS")?["height"].as_f64().unwrap_or_default();
        progress(reached / f64::from(height));
        if reached >= f64::from(height) {
            return Ok(());
        }
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "another process is looked at now and then")]
fn pause() {
    std::thread::sleep(POLL);
}

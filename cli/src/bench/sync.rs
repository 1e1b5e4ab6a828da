//! `graven bench sync`: how fast a new node gets a chain from two peers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chain::header::Header;
use chain::ledger::{Input, Mined, Output, PeerId, Source};
use chain::params::{Mining, Network};
use chain::template::Template;
use chain::tx::{PublicKey, SigningKey};
use chain::verify::Verifier;
use clap::Args;
use kv::KeyValue;
use miner::Solution;
use serde::Serialize;

use super::limits::{BITS, limits, open, put, time_of, writer};
use super::{BenchError, now};
use crate::child::{ChildNode, ChildSetup};

/// Accounts that write in turn.
const WRITERS: u32 = 64;

/// Of each value.
const VALUE_BYTES: usize = 64;

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
    let spent = limits(&one, temp.path(), &network, &mut |share| {
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
    let [verify, hash, ledger] = [spent.verify, spent.hash, spent.ledger]
        .map(|spent| f64::from(args.blocks) / spent.time.as_secs_f64());
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

/// Makes a chain with the node's own code: pool, templates, blocks.
fn grow(
    folder: &Path,
    network: &Network,
    args: &SyncArgs,
    progress: &mut dyn FnMut(f64),
) -> Result<(), BenchError> {
    let genesis = network.genesis_hash();
    let keys: Vec<SigningKey> = (0..WRITERS).map(writer).collect();
    let mut ledger = open(folder, network, Some(PublicKey::from(&keys[0])))?;
    let mut verifier = Verifier::new(network.clone(), Arc::new(KeyValue), [0; 32]);
    let mut written = 0u64;
    for height in 1..=args.blocks {
        let signed: Vec<Vec<u8>> = (written..written + u64::from(args.transactions))
            .map(|number| {
                let (writer, sequence) = (number % u64::from(WRITERS), number / u64::from(WRITERS));
                let key = &keys[usize::try_from(writer).expect("few writers")];
                let name = std::iter::once(format!("key{number}"));
                put(key, sequence, name, &[b'v'; VALUE_BYTES], &genesis)
            })
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

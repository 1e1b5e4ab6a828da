//! `graven bench put`: how many puts a second become part of the chain.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use chain::params::{Mining, Network};
use clap::Args;
use data_encoding::BASE64;
use serde::Serialize;

use super::get::percentile;
use super::limits::{BITS, limits, put as signed_put, writer};
use super::{BenchError, now};
use crate::child::{ChildNode, ChildSetup};

/// Measures how many puts a second are confirmed
///
/// Signs transactions, then starts a node in a temporary folder and hands them in over connections
/// that each wait until what they sent is in a block, on disk, before they send more. It mines
/// at a difficulty that costs nothing, whenever something waits. What verification, and the ledger
/// with its log and index, could do alone with the same blocks is measured after it.
#[derive(Args, Clone, Debug)]
pub struct PutArgs {
    /// Accounts, each with a connection of its own
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub writers: u32,
    /// Keys to put, each a new one
    #[arg(long, value_name = "N", default_value_t = 250_000)]
    pub puts: u32,
    /// Puts in a transaction, up to 1000
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub per_transaction: u32,
    /// Transactions that a writer sends at a time, up to 1000
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub batch: u32,
    /// Bytes of a value, up to 4096
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    pub value_bytes: u32,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct PutReport {
    /// Accounts and connections.
    pub writers: u32,
    /// Puts that were confirmed.
    pub puts: u64,
    /// Puts in each transaction.
    pub puts_per_transaction: u32,
    /// Transactions that a writer had under way at a time.
    pub batch: u32,
    /// Blocks that it took.
    pub blocks: u32,
    /// From the first byte sent to the last answer.
    pub seconds: f64,
    /// Puts in blocks on disk, of that time.
    pub confirmed_puts_per_second: f64,
    /// From sending a put to hearing that it is confirmed: half took no longer, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
    /// Of all threads of the node, in microseconds a put; Linux only.
    pub cpu_us_per_put: Option<f64>,
    /// Written by the node, a put; Linux only.
    pub disk_bytes_per_put: Option<f64>,
    /// Of the folder afterwards, a put.
    pub kept_bytes_per_put: f64,
    /// Blocks decoded, hashed and verified on all cores, and nothing else: puts a second.
    pub verify_puts_per_second: f64,
    /// Verified blocks executed and written to log and index, and nothing else: puts a second.
    pub ledger_puts_per_second: f64,
    /// Of these two together, in microseconds a put.
    pub ceiling_cpu_us_per_put: f64,
    /// What the cores could do if there were nothing but these two.
    pub ceiling_per_second: f64,
    /// `confirmed_puts_per_second` divided by it.
    pub share_of_ceiling: f64,
}

/// Measures. `progress` is told what is done and how much of it, 0.0 to 1.0.
///
/// # Errors
/// When the node cannot be used, or does not confirm what it was given.
pub fn put(
    args: &PutArgs,
    progress: &(dyn Fn(&'static str, f64) + Sync),
) -> Result<PutReport, BenchError> {
    check(args)?;
    let temp = tempfile::tempdir()?;
    let network = network();
    let file = temp.path().join("puts.toml");
    std::fs::write(&file, network.to_toml())?;
    progress("signing", 0.0);
    let lines = sign(args, &network);
    let puts: u64 = lines.iter().flatten().map(|line| u64::from(line.puts)).sum();
    let data = temp.path().join("node");
    let node = ChildNode::start(&ChildSetup {
        data: data.clone(),
        network: file.display().to_string(),
        threads: 1,
        listen: None,
        peers: Vec::new(),
    })?;
    let before = node.usage();
    let (seconds, latencies) = write(&node, &lines, progress)?;
    let used = before.zip(node.usage()).map(|(before, after)| after.since(before));
    let height = node.ask("STATUS")?["height"].as_u64().unwrap_or_default();
    node.stop()?;
    let kept = folder_bytes(&data)?;
    let spent = limits(&data, temp.path(), &network, &mut |share| {
        progress("measuring the limits", share);
    })?;
    let each = |total: f64| total / puts as f64;
    let [verify, ledger] =
        [spent.verify, spent.ledger].map(|spent| puts as f64 / spent.time.as_secs_f64());
    let confirmed_puts_per_second = puts as f64 / seconds;
    // Each of them alone, and both on the cores that they share.
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let shared = cores * puts as f64 / (spent.verify.cpu + spent.ledger.cpu).as_secs_f64();
    let ceiling_per_second = verify.min(ledger).min(shared);
    Ok(PutReport {
        writers: args.writers,
        puts,
        puts_per_transaction: args.per_transaction,
        batch: args.batch,
        blocks: u32::try_from(height).unwrap_or(u32::MAX),
        seconds,
        confirmed_puts_per_second,
        p50_ms: percentile(&latencies, 500),
        p99_ms: percentile(&latencies, 990),
        cpu_us_per_put: used.map(|used| each(used.cpu.as_secs_f64() * 1e6)),
        disk_bytes_per_put: used.map(|used| each(used.written_bytes as f64)),
        kept_bytes_per_put: each(kept as f64),
        verify_puts_per_second: verify,
        ledger_puts_per_second: ledger,
        ceiling_cpu_us_per_put: each((spent.verify.cpu + spent.ledger.cpu).as_secs_f64() * 1e6),
        ceiling_per_second,
        share_of_ceiling: confirmed_puts_per_second / ceiling_per_second,
    })
}

/// A network whose blocks cost nothing and come when something waits.
pub(super) fn network() -> Network {
    Network {
        name: "puts".to_string(),
        mining: Mining::OnDemand,
        start_bits: BITS,
        ..Network::dev()
    }
}

pub(super) fn check(args: &PutArgs) -> Result<(), BenchError> {
    let PutArgs { writers, puts, per_transaction, batch, value_bytes } = args;
    if !(1..=200).contains(writers) || !(1..=100_000_000).contains(puts) {
        return Err(BenchError::Usage("--writers is 1 to 200 and --puts 1 to 100000000"));
    }
    if !(1..=1000).contains(per_transaction) || !(1..=1000).contains(batch) {
        return Err(BenchError::Usage("--per-transaction and --batch are 1 to 1000"));
    }
    // A line holds 350 KB of transactions.
    let put_bytes = u64::from(*value_bytes) + 64;
    let line_bytes = u64::from(*batch) * (128 + u64::from(*per_transaction) * put_bytes);
    if *value_bytes > 4096 || line_bytes > 350_000 {
        return Err(BenchError::Usage(
            "--batch transactions of --per-transaction puts of --value-bytes are at most 350 KB",
        ));
    }
    Ok(())
}

/// What a writer sends at a time.
pub(super) struct Line {
    text: String,
    puts: u32,
}

/// All that each writer sends, signed by as many threads as there are cores.
pub(super) fn sign(args: &PutArgs, network: &Network) -> Vec<Vec<Line>> {
    let genesis = network.genesis_hash();
    let share = |number: u32| {
        let PutArgs { writers, puts, .. } = args;
        puts / writers + u32::from(number < puts % writers)
    };
    let value = vec![b'v'; args.value_bytes as usize];
    let of_writer = |number: u32| {
        let key = writer(number);
        let names: Vec<String> =
            (0..share(number)).map(|put| format!("key-{number}-{put}")).collect();
        let transactions: Vec<(String, u32)> = (0..)
            .zip(names.chunks(args.per_transaction as usize))
            .map(|(sequence, names)| {
                let puts = u32::try_from(names.len()).expect("a thousand at most");
                let bytes = signed_put(&key, sequence, names.iter().cloned(), &value, &genesis);
                (format!(" base64:{}", BASE64.encode(&bytes)), puts)
            })
            .collect();
        let line = |chunk: &[(String, u32)]| {
            let words: String = chunk.iter().map(|(word, _)| word.as_str()).collect();
            let puts = chunk.iter().map(|(_, puts)| puts).sum();
            Line { text: format!("SUBMIT{words} WAIT 1"), puts }
        };
        transactions.chunks(args.batch as usize).map(line).collect::<Vec<Line>>()
    };
    let next = AtomicU32::new(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut signed: Vec<(u32, Vec<Line>)> = std::thread::scope(|scope| {
        let work = || {
            let take = || next.fetch_add(1, Ordering::Relaxed);
            let numbers = std::iter::from_fn(|| Some(take()).filter(|at| *at < args.writers));
            numbers.map(|number| (number, of_writer(number))).collect::<Vec<_>>()
        };
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("signing ends")).collect()
    });
    signed.sort_unstable_by_key(|(number, _)| *number);
    signed.into_iter().map(|(_, lines)| lines).collect()
}

/// Hands everything in. Returns the seconds it took, and how long each put took, sorted.
pub(super) fn write(
    node: &ChildNode,
    lines: &[Vec<Line>],
    progress: &(dyn Fn(&'static str, f64) + Sync),
) -> Result<(f64, Vec<Duration>), BenchError> {
    let all: usize = lines.iter().map(Vec::len).sum();
    let done = AtomicU32::new(0);
    let told = |_: ()| {
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        progress("writing", f64::from(done) / all as f64);
    };
    // Connected before the clock starts.
    let clients = lines.iter().map(|_| node.client()).collect::<Result<Vec<_>, _>>()?;
    let started: Instant = now();
    let writers = std::thread::scope(|scope| {
        let of_writer = |(mut client, lines): (crate::client::Client, &'_ [Line])| {
            let mut latencies = Vec::new();
            for line in lines {
                let sent = now();
                let answer = client.ask(&line.text)?;
                if answer["status"] != "confirmed" {
                    return Err(BenchError::NotWritten(answer.to_string()));
                }
                let took = sent.elapsed();
                latencies.extend(std::iter::repeat_n(took, line.puts as usize));
                told(());
            }
            Ok(latencies)
        };
        let writers: Vec<_> = clients
            .into_iter()
            .zip(lines)
            .map(|(client, lines)| scope.spawn(move || of_writer((client, lines))))
            .collect();
        let ended = writers.into_iter().map(|writer| writer.join().expect("writers do not panic"));
        ended.collect::<Result<Vec<_>, _>>()
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let mut latencies: Vec<Duration> = writers.into_iter().flatten().collect();
    latencies.sort_unstable();
    Ok((seconds, latencies))
}

/// Of all files in it.
pub(super) fn folder_bytes(folder: &Path) -> Result<u64, BenchError> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

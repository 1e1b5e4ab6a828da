//! `graven bench scale`: what a node costs as it has more and more keys.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::get::percentile;
use super::keys::{self, Draw, Keys};
use super::prove::{ask, verify};
use super::put::folder_bytes;
use super::{BenchError, now};
use crate::child::{ChildNode, ChildSetup};
use crate::client::Client;

/// Measures how a node's costs grow with the number of keys
///
/// Starts a node in a temporary folder and writes keys in signed transactions of 100, values of 64
/// bytes. At each number of keys it looks at memory and disk, stops the node, starts it again, and
/// reads and proves keys in no order. Ten million keys take about ten gigabytes of disk; the
/// variable TMPDIR says where.
#[derive(Args, Clone, Debug)]
pub struct ScaleArgs {
    /// Numbers of keys to measure at, ascending
    #[arg(
        long,
        value_name = "N,..",
        value_delimiter = ',',
        default_values_t = [10_000, 100_000, 1_000_000]
    )]
    pub keys: Vec<u64>,
    /// Seconds of reads at each, and as many of proofs
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    pub seconds: f64,
    /// Draw the figures over the number of keys into this file (SVG)
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct ScaleReport {
    /// One for each number of keys.
    pub rows: Vec<ScaleRow>,
}

/// A node with so many keys.
#[derive(Clone, Debug, Serialize)]
pub struct ScaleRow {
    /// How many.
    pub keys: u64,
    /// Confirmed, since the row before.
    pub puts_per_second: f64,
    /// Of all threads of the node meanwhile, in microseconds a put; Linux only.
    pub cpu_us_per_put: Option<f64>,
    /// Written by the node meanwhile, a put; Linux only.
    pub disk_bytes_per_put: Option<f64>,
    /// Memory of the node when they are written; Linux only.
    pub resident_bytes: Option<u64>,
    /// The most it ever had, while they were written and read; Linux only.
    pub peak_resident_bytes: Option<u64>,
    /// Of its folder when it has ended, a key.
    pub kept_bytes_per_key: f64,
    /// From the request to end to the end.
    pub stop_s: f64,
    /// From the start of the process to the first value read.
    pub start_s: f64,
    /// Values read one after the other, by one connection.
    pub gets_per_second: f64,
    /// From request to answer: half of all took no longer, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
    /// Likewise, of proofs.
    pub prove_p50_ms: f64,
    /// Likewise.
    pub prove_p99_ms: f64,
    /// Of the longest proof, headers not counted.
    pub proof_bytes: usize,
    /// Of the longest way from the root to a key.
    pub proof_steps: usize,
}

/// Measures. `progress` is told what is done and how much of it, 0.0 to 1.0; `measured` each row
/// that is not the last, for the next may take an hour.
///
/// # Errors
/// When the node cannot be used, or answers wrongly.
pub fn scale(
    args: &ScaleArgs,
    progress: &(dyn Fn(&str, f64) + Sync),
    measured: &dyn Fn(&ScaleRow),
) -> Result<ScaleReport, BenchError> {
    keys::check(&args.keys, args.seconds)?;
    let temp = tempfile::tempdir()?;
    let mut keys = Keys::new(keys::network("scale"));
    let file = temp.path().join("scale.toml");
    std::fs::write(&file, keys.network().to_toml())?;
    let setup = ChildSetup {
        data: temp.path().join("node"),
        network: file.display().to_string(),
        threads: 1,
        listen: None,
        peers: Vec::new(),
    };
    let mut node = ChildNode::start(&setup)?;
    let mut rows: Vec<ScaleRow> = Vec::new();
    for count in &args.keys {
        let before = rows.last().map_or(0, |row| row.keys);
        let (row, again) = row(&setup, node, &mut keys, (before, *count), args.seconds, progress)?;
        if args.keys.last() != Some(count) {
            measured(&row);
        }
        rows.push(row);
        node = again;
    }
    Ok(ScaleReport { rows })
}

fn row(
    setup: &ChildSetup,
    node: ChildNode,
    keys: &mut Keys,
    (before, count): (u64, u64),
    seconds: f64,
    progress: &(dyn Fn(&str, f64) + Sync),
) -> Result<(ScaleRow, ChildNode), BenchError> {
    let usage = node.usage();
    let writing = format!("writing {count} keys");
    let took = keys.write(&node, count, &|share| progress(&writing, share))?;
    let used = usage.zip(node.usage()).map(|(before, after)| after.since(before));
    let filled = node.memory();
    progress(&format!("starting with {count} keys"), 1.0);
    let started = now();
    node.stop()?;
    let stop_s = started.elapsed().as_secs_f64();
    let kept = folder_bytes(&setup.data)?;
    let started = now();
    let node = ChildNode::start(setup)?;
    let mut client = node.client()?;
    let mut draw = Draw::new(count, 0);
    keys::read(&mut client, draw.number())?;
    let start_s = started.elapsed().as_secs_f64();
    progress(&format!("reading of {count} keys"), 1.0);
    let reads = read(&mut client, &mut draw, seconds)?;
    progress(&format!("proving of {count} keys"), 1.0);
    let (proofs, answers) = ask(&mut client, &mut draw, seconds)?;
    let checked = verify(&answers, 0.0)?;
    let peak = |memory: crate::child::Memory| memory.peak_bytes;
    let each = |total: f64| total / (count - before) as f64;
    let row = ScaleRow {
        keys: count,
        puts_per_second: (count - before) as f64 / took.as_secs_f64(),
        cpu_us_per_put: used.map(|used| each(used.cpu.as_secs_f64() * 1e6)),
        disk_bytes_per_put: used.map(|used| each(used.written_bytes as f64)),
        resident_bytes: filled.map(|memory| memory.resident_bytes),
        peak_resident_bytes: filled.map(peak).max(node.memory().map(peak)),
        kept_bytes_per_key: kept as f64 / count as f64,
        stop_s,
        start_s,
        gets_per_second: reads.len() as f64 / reads.iter().sum::<Duration>().as_secs_f64(),
        p50_ms: percentile(&reads, 500),
        p99_ms: percentile(&reads, 990),
        prove_p50_ms: percentile(&proofs, 500),
        prove_p99_ms: percentile(&proofs, 990),
        proof_bytes: checked.proof_bytes,
        proof_steps: checked.proof_steps,
    };
    Ok((row, node))
}

/// How long each of many reads takes, sorted.
fn read(client: &mut Client, draw: &mut Draw, seconds: f64) -> Result<Vec<Duration>, BenchError> {
    let started = now();
    let mut took = Vec::new();
    while took.is_empty() || started.elapsed().as_secs_f64() < seconds {
        took.push(keys::read(client, draw.number())?);
    }
    took.sort_unstable();
    Ok(took)
}

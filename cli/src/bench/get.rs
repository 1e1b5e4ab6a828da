//! `graven bench get`: reads over TCP, with and without mining.

use std::path::Path;
use std::time::{Duration, Instant};

use chain::CompactTarget;
use chain::params::{Mining, Network};
use clap::Args;
use serde::Serialize;

use super::{BenchError, now};
use crate::child::{ChildNode, ChildSetup};
use crate::client::ClientError;

/// A block takes 2^26 hashes: a few a second where all cores mine with wide kernels.
const BITS: CompactTarget = CompactTarget(0x1d3f_ffff);

/// Bytes of a value.
const VALUE_BYTES: usize = 64;

/// Measures reads
///
/// Starts a node in a temporary folder, writes keys, and reads them over connections that each ask
/// again when they have their answer. First the node's miner rests, then it mines.
#[derive(Args, Clone, Debug)]
pub struct GetArgs {
    /// Connections that read at the same time
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub connections: u32,
    /// Seconds a row
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    pub seconds: f64,
    /// Keys to read, each with a value of 64 bytes
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub keys: u32,
    /// Threads that mine in the second row [default: all cores]
    #[arg(long, value_name = "THREADS")]
    pub mine: Option<usize>,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct GetReport {
    /// Connections that read at the same time.
    pub connections: u32,
    /// Keys that were read.
    pub keys: u32,
    /// Without and with mining.
    pub rows: Vec<GetRow>,
}

/// Reads of one node.
#[derive(Clone, Debug, Serialize)]
pub struct GetRow {
    /// Threads that mined meanwhile.
    pub mining_threads: usize,
    /// What they reached.
    pub hashes_per_second: f64,
    /// Answers a second over all connections.
    pub gets_per_second: f64,
    /// From request to answer: half of all took no longer, in milliseconds; ...
    pub p50_ms: f64,
    /// ... 99 of 100; ...
    pub p99_ms: f64,
    /// ... 999 of 1000; ...
    pub p999_ms: f64,
    /// ... all.
    pub max_ms: f64,
}

/// Measures reads, without and with mining. `begins` is told what comes next.
///
/// # Errors
/// When the node cannot be used or answers wrongly.
pub fn get(args: &GetArgs, begins: &mut dyn FnMut(&'static str)) -> Result<GetReport, BenchError> {
    if !(args.seconds > 0.0 && args.seconds <= 3600.0) {
        return Err(BenchError::Usage("--seconds is above 0 and at most 3600"));
    }
    if !(1..=200).contains(&args.connections) || !(1..=1_000_000).contains(&args.keys) {
        return Err(BenchError::Usage("--connections is 1 to 200 and --keys 1 to 1000000"));
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = args.mine.unwrap_or(cores).max(1);
    let temp = tempfile::tempdir()?;
    begins("while the miner rests");
    let idle = row(args, temp.path(), Mining::OnDemand, 1)?;
    begins("while all cores mine");
    let busy = row(args, temp.path(), Mining::Continuous, threads)?;
    Ok(GetReport { connections: args.connections, keys: args.keys, rows: vec![idle, busy] })
}

fn row(args: &GetArgs, temp: &Path, mining: Mining, threads: usize) -> Result<GetRow, BenchError> {
    let rests = mining == Mining::OnDemand;
    let name = if rests { "resting" } else { "mining" };
    let network = Network { name: name.to_string(), mining, start_bits: BITS, ..Network::dev() };
    let file = temp.join(format!("{name}.toml"));
    std::fs::write(&file, network.to_toml())?;
    let node = ChildNode::start(&ChildSetup {
        data: temp.join(name),
        network: file.display().to_string(),
        threads,
        listen: None,
        peers: Vec::new(),
    })?;
    fill(&node, args.keys)?;
    let hashes = |node: &ChildNode| {
        let status = node.ask("STATUS")?;
        Ok::<_, ClientError>(status["hash_rate"].as_f64().unwrap_or_default())
    };
    hashes(&node)?; // the rate is since the last time somebody asked
    let duration = Duration::from_secs_f64(args.seconds);
    let started = now();
    let readers = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..args.connections)
            .map(|number| {
                let node = &node;
                scope.spawn(move || read(node, number, args.keys, started + duration))
            })
            .collect();
        let done = readers.into_iter().map(|reader| reader.join().expect("readers do not panic"));
        done.collect::<Result<Vec<_>, _>>()
    })?;
    let elapsed_s = started.elapsed().as_secs_f64();
    let hashes_per_second = hashes(&node)?;
    let mut latencies: Vec<Duration> = readers.into_iter().flatten().collect();
    latencies.sort_unstable();
    Ok(GetRow {
        mining_threads: if rests { 0 } else { threads },
        hashes_per_second,
        gets_per_second: latencies.len() as f64 / elapsed_s,
        p50_ms: percentile(&latencies, 500),
        p99_ms: percentile(&latencies, 990),
        p999_ms: percentile(&latencies, 999),
        max_ms: percentile(&latencies, 1000),
    })
}

/// Writes the keys and waits until they are in the chain.
pub(super) fn fill(node: &ChildNode, keys: u32) -> Result<(), BenchError> {
    let mut client = node.client()?;
    for key in 0..keys {
        let line = format!("PUT key{key} {}", value(key));
        client.ask(&line)?;
    }
    client.ask("PUT last key WAIT 1")?;
    Ok(())
}

pub(super) fn value(key: u32) -> String {
    format!("{key:0VALUE_BYTES$}")
}

/// Reads until the deadline; how long each read took.
fn read(
    node: &ChildNode,
    first: u32,
    keys: u32,
    deadline: Instant,
) -> Result<Vec<Duration>, BenchError> {
    let mut client = node.client()?;
    let mut latencies = Vec::new();
    // A walk through all keys in no order that a cache would like (Weyl's sequence).
    let mut at = first;
    loop {
        at = at.wrapping_add(0x9e37_79b9);
        let key = at % keys;
        let asked = now();
        let answer = client.ask(&format!("RETRIEVE key{key}"))?;
        let answered = now();
        latencies.push(answered - asked);
        if answer["value"] != value(key) {
            return Err(BenchError::Differs(answer.to_string()));
        }
        if answered >= deadline {
            return Ok(latencies);
        }
    }
}

/// The value that so many of a thousand do not exceed, in milliseconds.
pub(super) fn percentile(sorted: &[Duration], per_mille: usize) -> f64 {
    let rank = (sorted.len() * per_mille).div_ceil(1000).max(1);
    sorted[rank - 1].as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let list: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&list, 500), 100.0);
        assert_eq!(percentile(&list, 990), 198.0);
        assert_eq!(percentile(&list, 1000), 200.0);
        assert_eq!(percentile(&list[..1], 500), 1.0);
    }
}

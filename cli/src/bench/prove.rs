//! `graven bench prove`: proofs a second that a node makes and a client checks.

use std::time::Duration;

use clap::Args;
use kv::proof::{Finding, Proof};
use serde::Serialize;

use super::get::percentile;
use super::keys::{self, Draw, Keys};
use super::{BenchError, now};
use crate::child::{ChildNode, ChildSetup};
use crate::client::Client;
use crate::light::proof::ProofFile;

/// Most proofs of a connection that are kept to be checked.
const CHECKED: usize = 1000;

/// Keys that are not there, to be proven so.
const ABSENT: u32 = 100;

/// Measures how many proofs a second a node makes, and a client checks
///
/// Starts a node in a temporary folder, writes keys, and has them proven over connections that
/// each ask again when they have their answer. Then the client checks proofs, on one thread.
#[derive(Args, Clone, Debug)]
pub struct ProveArgs {
    /// Connections that ask at the same time
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub connections: u32,
    /// Numbers of keys to measure at, ascending
    #[arg(
        long,
        value_name = "N,..",
        value_delimiter = ',',
        default_values_t = [1_000, 10_000, 100_000]
    )]
    pub keys: Vec<u64>,
    /// Seconds of proofs at each, and as many of checks
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    pub seconds: f64,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct ProveReport {
    /// Connections that asked at the same time.
    pub connections: u32,
    /// One for each number of keys.
    pub rows: Vec<ProveRow>,
}

/// Proofs of one of so many keys.
#[derive(Clone, Debug, Serialize)]
pub struct ProveRow {
    /// How many.
    pub keys: u64,
    /// Made by the node and read by the client, over all connections.
    pub proofs_per_second: f64,
    /// From request to answer: half of all took no longer, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
    /// Files read and checked by one thread.
    pub verifications_per_second: f64,
    /// Of the longest proof of a value of 64 bytes, headers not counted.
    pub proof_bytes: usize,
    /// Its steps from the root to the key.
    pub proof_steps: usize,
    /// Of the longest proof that a key was never written.
    pub absence_bytes: usize,
    /// Of the longest file, JSON with one header.
    pub file_bytes: usize,
}

/// Measures. `progress` is told what is done and how much of it, 0.0 to 1.0.
///
/// # Errors
/// When the node cannot be used, or proves nothing.
pub fn prove(
    args: &ProveArgs,
    progress: &(dyn Fn(&str, f64) + Sync),
) -> Result<ProveReport, BenchError> {
    keys::check(&args.keys, args.seconds)?;
    if !(1..=200).contains(&args.connections) {
        return Err(BenchError::Usage("--connections is 1 to 200"));
    }
    let temp = tempfile::tempdir()?;
    let mut keys = Keys::new(keys::network("prove"));
    let file = temp.path().join("prove.toml");
    std::fs::write(&file, keys.network().to_toml())?;
    let node = ChildNode::start(&ChildSetup {
        data: temp.path().join("node"),
        network: file.display().to_string(),
        threads: 1,
        listen: None,
        peers: Vec::new(),
    })?;
    let mut rows = Vec::new();
    for count in &args.keys {
        let writing = format!("writing {count} keys");
        keys.write(&node, *count, &|share| progress(&writing, share))?;
        progress(&format!("proving of {count} keys"), 1.0);
        rows.push(row(args, &node, *count)?);
    }
    Ok(ProveReport { connections: args.connections, rows })
}

fn row(args: &ProveArgs, node: &ChildNode, count: u64) -> Result<ProveRow, BenchError> {
    let clients = (0..args.connections).map(|_| node.client()).collect::<Result<Vec<_>, _>>()?;
    let started = now();
    let clients = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..)
            .zip(clients)
            .map(|(stream, mut client)| {
                let mut draw = Draw::new(count, stream);
                scope.spawn(move || ask(&mut client, &mut draw, args.seconds))
            })
            .collect();
        let ended = clients.into_iter().map(|client| client.join().expect("they do not panic"));
        ended.collect::<Result<Vec<_>, BenchError>>()
    })?;
    let elapsed_s = started.elapsed().as_secs_f64();
    let (times, answers): (Vec<_>, Vec<_>) = clients.into_iter().unzip();
    let mut times: Vec<Duration> = times.into_iter().flatten().collect();
    times.sort_unstable();
    let answers: Vec<Answer> = answers.into_iter().flatten().collect();
    let checked = verify(&answers, args.seconds)?;
    Ok(ProveRow {
        keys: count,
        proofs_per_second: times.len() as f64 / elapsed_s,
        p50_ms: percentile(&times, 500),
        p99_ms: percentile(&times, 990),
        verifications_per_second: checked.per_second,
        proof_bytes: checked.proof_bytes,
        proof_steps: checked.proof_steps,
        absence_bytes: verify(&absences(node)?, 0.0)?.proof_bytes,
        file_bytes: answers.iter().map(|answer| answer.file.len()).max().unwrap_or_default(),
    })
}

/// A proof as it came.
pub(super) struct Answer {
    /// The key's number; `None` = there is no such key.
    number: Option<u64>,
    key: String,
    /// JSON.
    file: String,
}

/// Asks for one proof after the other; returns how long each took, sorted, and some of them.
pub(super) fn ask(
    client: &mut Client,
    draw: &mut Draw,
    seconds: f64,
) -> Result<(Vec<Duration>, Vec<Answer>), BenchError> {
    let started = now();
    let (mut times, mut answers) = (Vec::new(), Vec::new());
    while times.is_empty() || started.elapsed().as_secs_f64() < seconds {
        let number = draw.number();
        let key = keys::name(number);
        let asked = now();
        let file = client.ask(&format!("RETRIEVE {key} PROVE"))?;
        times.push(asked.elapsed());
        if answers.len() < CHECKED {
            answers.push(Answer { number: Some(number), key, file: file.to_string() });
        }
    }
    times.sort_unstable();
    Ok((times, answers))
}

/// Proofs that keys were never written.
fn absences(node: &ChildNode) -> Result<Vec<Answer>, BenchError> {
    let mut client = node.client()?;
    let absence = |number| {
        let key = format!("absent{number}");
        let file = client.ask(&format!("RETRIEVE {key} PROVE"))?.to_string();
        Ok::<_, BenchError>(Answer { number: None, key, file })
    };
    (0..ABSENT).map(absence).collect()
}

/// What was seen of proofs that were checked.
pub(super) struct Checked {
    /// How many, of one thread.
    per_second: f64,
    /// Of the longest.
    pub(super) proof_bytes: usize,
    /// The most there were.
    pub(super) proof_steps: usize,
}

/// Checks each proof at least once, and goes on for so many seconds.
pub(super) fn verify(answers: &[Answer], seconds: f64) -> Result<Checked, BenchError> {
    let (mut proof_bytes, mut proof_steps, mut count) = (0, 0, 0_u32);
    let started = now();
    while count == 0 || started.elapsed().as_secs_f64() < seconds {
        for answer in answers {
            let proof = check(answer)?;
            proof_bytes = proof_bytes.max(proof.encode().len());
            proof_steps = proof_steps.max(proof.steps.len());
            count += 1;
        }
    }
    let per_second = f64::from(count) / started.elapsed().as_secs_f64();
    Ok(Checked { per_second, proof_bytes, proof_steps })
}

/// Reads a proof and checks what it shows, as somebody does who has the block's header.
fn check(answer: &Answer) -> Result<Proof, BenchError> {
    let doubt = |what: &dyn std::fmt::Display| BenchError::NotProven(what.to_string());
    let file = ProofFile::read(answer.file.as_bytes()).map_err(|error| doubt(&error))?;
    let header = file.headers.first().ok_or_else(|| doubt(&"it comes without its header"))?;
    let proven = file.proof.verify(answer.key.as_bytes(), header);
    let shown = match proven.map_err(|error| doubt(&error))?.finding {
        Finding::Absent => None,
        Finding::Written { mut versions, .. } => versions.pop().map(|last| last.value),
    };
    if shown != answer.number.map(|number| keys::value(number).into_bytes()) {
        return Err(doubt(&"it shows another value"));
    }
    Ok(file.proof)
}

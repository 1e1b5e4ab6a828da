//! `graven bench mixed`: how long reads take while as much is written as can be.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use crossbeam::channel;
use serde::Serialize;

use super::get::{fill, percentile, value};
use super::put::{self, PutArgs};
use super::{BenchError, now};
use crate::child::{ChildNode, ChildSetup};
use crate::client::Client;

/// Keys that are asked for again and again; all others once.
const HOT_KEYS: u32 = 1000;

/// Measures reads while as much is written as can be
///
/// Signs transactions, starts a node in a temporary folder, and writes keys to read. Then
/// connections ask for them at a steady pace: first while nothing is written, then while writers
/// hand in what was signed, as `bench put` does, until the last of it is confirmed.
#[derive(Args, Clone, Debug)]
pub struct MixedArgs {
    /// How much is written, and how.
    #[command(flatten)]
    pub writes: PutArgs,
    /// Reads a second, of all kinds together
    #[arg(long, value_name = "N", default_value_t = 1200)]
    pub gets: u32,
    /// Connections that read, for each of the three kinds of reads
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub connections: u32,
    /// Keys to read, each with a value of 64 bytes
    #[arg(long, value_name = "N", default_value_t = 30_000)]
    pub keys: u32,
    /// Seconds of reads before anything is written
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    pub seconds: f64,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct MixedReport {
    /// Accounts and connections that wrote.
    pub writers: u32,
    /// Puts that were confirmed.
    pub puts: u64,
    /// Puts in each transaction.
    pub puts_per_transaction: u32,
    /// From the first byte that the writers sent to their last answer.
    pub seconds: f64,
    /// Puts in blocks on disk, of that time.
    pub confirmed_puts_per_second: f64,
    /// Reads answered a second meanwhile, of all kinds.
    pub gets_per_second: f64,
    /// From request to answer meanwhile: half of all reads took no longer, in milliseconds; ...
    pub p50_ms: f64,
    /// ... 99 of 100.
    pub p99_ms: f64,
    /// Each kind of reads, without and with writes.
    pub rows: Vec<MixedRow>,
}

/// Reads of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct MixedRow {
    /// What was asked.
    pub read: Kind,
    /// Puts confirmed a second meanwhile.
    pub confirmed_puts_per_second: f64,
    /// Answers a second.
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

/// How a key is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `GET` of the Redis protocol, of one of the keys that are asked for all the time.
    GetHot,
    /// The same of a key that nobody has asked for.
    GetCold,
    /// `RETRIEVE` of the line protocol.
    Retrieve,
}

const KINDS: [Kind; 3] = [Kind::GetHot, Kind::GetCold, Kind::Retrieve];

/// How long the reads of each of [`KINDS`] took, sorted.
type Latencies = [Vec<Duration>; KINDS.len()];

/// Measures. `progress` is told what is done and how much of it, 0.0 to 1.0.
///
/// # Errors
/// When the node cannot be used, or does not confirm what it was given.
pub fn mixed(
    args: &MixedArgs,
    progress: &(dyn Fn(&'static str, f64) + Sync),
) -> Result<MixedReport, BenchError> {
    check(args)?;
    let temp = tempfile::tempdir()?;
    let network = put::network();
    let file = temp.path().join("mixed.toml");
    std::fs::write(&file, network.to_toml())?;
    progress("signing", 0.0);
    let lines = put::sign(&args.writes, &network);
    let node = ChildNode::start(&ChildSetup {
        data: temp.path().join("node"),
        network: file.display().to_string(),
        threads: 1,
        listen: None,
        peers: Vec::new(),
    })?;
    progress("writing what is read", 0.0);
    fill(&node, args.keys)?;
    let cold = AtomicU32::new(hot_keys(args));
    let readers = Readers { node: &node, args, cold: &cold };
    readers.warm()?;

    progress("reading", 0.0);
    let ends = now() + Duration::from_secs_f64(args.seconds);
    let (quiet_s, quiet) = readers.read(&|due| due >= ends)?;
    let over = AtomicBool::new(false);
    let (wrote, read) = std::thread::scope(|scope| {
        let reads = scope.spawn(|| readers.read(&|_| over.load(Ordering::Relaxed)));
        let wrote = put::write(&node, &lines, progress);
        over.store(true, Ordering::Relaxed);
        (wrote, reads.join().expect("readers do not panic"))
    });
    let ((seconds, writes), (busy_s, busy)) = (wrote?, read?);
    node.stop()?;

    let puts = writes.len() as u64;
    let confirmed = puts as f64 / seconds;
    let rows_of = |latencies: &Latencies, seconds: f64, confirmed: f64| {
        let row = |(kind, list): (&Kind, &Vec<Duration>)| row(*kind, list, seconds, confirmed);
        KINDS.iter().zip(latencies).map(row).collect::<Vec<MixedRow>>()
    };
    let rows = [rows_of(&quiet, quiet_s, 0.0), rows_of(&busy, busy_s, confirmed)].concat();
    let mut all = busy.concat();
    all.sort_unstable();
    Ok(MixedReport {
        writers: args.writes.writers,
        puts,
        puts_per_transaction: args.writes.per_transaction,
        seconds,
        confirmed_puts_per_second: confirmed,
        gets_per_second: all.len() as f64 / busy_s,
        p50_ms: percentile(&all, 500),
        p99_ms: percentile(&all, 990),
        rows,
    })
}

fn check(args: &MixedArgs) -> Result<(), BenchError> {
    put::check(&args.writes)?;
    let MixedArgs { gets, connections, keys, seconds, .. } = args;
    if !(*seconds > 0.0 && *seconds <= 3600.0) {
        return Err(BenchError::Usage("--seconds is above 0 and at most 3600"));
    }
    if !(1..=16).contains(connections) || !(1..=100_000).contains(gets) {
        return Err(BenchError::Usage("--connections is 1 to 16 and --gets 1 to 100000"));
    }
    if !(2..=1_000_000).contains(keys) {
        return Err(BenchError::Usage("--keys is 2 to 1000000"));
    }
    Ok(())
}

fn hot_keys(args: &MixedArgs) -> u32 {
    HOT_KEYS.min(args.keys / 2)
}

fn row(read: Kind, sorted: &[Duration], seconds: f64, confirmed: f64) -> MixedRow {
    MixedRow {
        read,
        confirmed_puts_per_second: confirmed,
        gets_per_second: sorted.len() as f64 / seconds,
        p50_ms: percentile(sorted, 500),
        p99_ms: percentile(sorted, 990),
        p999_ms: percentile(sorted, 999),
        max_ms: percentile(sorted, 1000),
    }
}

/// The thread of a connection that reads, and how long its reads took.
type Reader<'a> = std::thread::ScopedJoinHandle<'a, Result<Vec<Duration>, BenchError>>;

/// Those who read.
struct Readers<'a> {
    node: &'a ChildNode,
    args: &'a MixedArgs,
    /// The next key that nobody has asked for; when there are none left they begin again.
    cold: &'a AtomicU32,
}

impl Readers<'_> {
    /// Asks for each of the keys that are asked for all the time.
    fn warm(&self) -> Result<(), BenchError> {
        let mut client = self.node.client()?;
        (0..hot_keys(self.args)).try_for_each(|key| ask(&mut client, Kind::GetHot, key))
    }

    /// Reads at the pace that was asked for until `is_over`, which is asked with the moment when
    /// a read is due. Returns the seconds it took, and how long the reads of each kind took.
    fn read(
        &self,
        is_over: &(dyn Fn(Instant) -> bool + Sync),
    ) -> Result<(f64, Latencies), BenchError> {
        let MixedArgs { gets, connections, .. } = self.args;
        let kinds = KINDS.iter().flat_map(|kind| (0..*connections).map(move |_| *kind));
        // Connected before the clock starts.
        let clients = kinds.map(|kind| Ok((kind, self.node.client()?)));
        let clients = clients.collect::<Result<Vec<_>, BenchError>>()?;
        let count = u32::try_from(clients.len()).expect("a few dozen at most");
        let every = Duration::from_secs(1) * count / *gets;
        let started = now();
        let done = std::thread::scope(|scope| {
            let readers: Vec<_> = (0..count)
                .zip(clients)
                .map(|(number, (kind, client))| {
                    // One after the other, not all at once.
                    let first = started + every * number / count;
                    let paced = move || self.paced(client, kind, number, first, every, is_over);
                    (kind, scope.spawn(paced))
                })
                .collect();
            let join = |(kind, reader): (Kind, Reader<'_>)| {
                Ok((kind, reader.join().expect("readers do not panic")?))
            };
            readers.into_iter().map(join).collect::<Result<Vec<_>, BenchError>>()
        })?;
        let seconds = started.elapsed().as_secs_f64();
        let latencies = KINDS.map(|kind| {
            let of_kind = done.iter().filter(|(other, _)| *other == kind);
            let mut list: Vec<Duration> = of_kind.flat_map(|(_, list)| list).copied().collect();
            list.sort_unstable();
            list
        });
        Ok((seconds, latencies))
    }

    /// One connection's reads. A read that is due while the one before is not answered counts
    /// from then on: a stall is felt by all that would have been asked meanwhile.
    fn paced(
        &self,
        mut client: Client,
        kind: Kind,
        number: u32,
        first: Instant,
        every: Duration,
        is_over: &(dyn Fn(Instant) -> bool + Sync),
    ) -> Result<Vec<Duration>, BenchError> {
        let (hot, keys) = (hot_keys(self.args), self.args.keys);
        let (mut due, mut at, mut latencies) = (first, number, Vec::new());
        loop {
            // A walk through all keys in no order that a cache would like (Weyl's sequence).
            at = at.wrapping_add(0x9e37_79b9);
            let key = match kind {
                Kind::GetHot => at % hot,
                Kind::GetCold => hot + self.cold.fetch_add(1, Ordering::Relaxed) % (keys - hot),
                Kind::Retrieve => at % keys,
            };
            let mut asked = due;
            if now() < due {
                channel::at(due).recv().ok();
                asked = now();
            }
            ask(&mut client, kind, key)?;
            latencies.push(asked.elapsed());
            due += every;
            if is_over(due) {
                return Ok(latencies);
            }
        }
    }
}

/// Asks for a key and looks at the answer.
fn ask(client: &mut Client, kind: Kind, key: u32) -> Result<(), BenchError> {
    let name = format!("key{key}");
    let found = match kind {
        Kind::GetHot | Kind::GetCold => client.get(&name)?.unwrap_or_default(),
        Kind::Retrieve => {
            let answer = client.ask(&format!("RETRIEVE {name}"))?;
            answer["value"].as_str().unwrap_or_default().as_bytes().to_vec()
        }
    };
    if found != value(key).as_bytes() {
        return Err(BenchError::Differs(found.escape_ascii().to_string()));
    }
    Ok(())
}

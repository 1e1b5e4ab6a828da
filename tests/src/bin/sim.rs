//! Runs the simulator over many seeds:
//! `cargo run --release -p tests --bin sim -- --seeds 0..200 --nodes 20 --hours 2`.

use std::ops::Range;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use rayon::ThreadPoolBuilder;
use tests::sim::{Counts, Failure, Faults, Options, Plant, run};

/// As the binary has: docs/decisions/0018-the-binary-has-an-allocator-of-its-own.md.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Simulates systems of nodes with faults, one for each seed, and checks what must hold.
#[derive(Debug, Parser)]
struct Args {
    /// Seeds, the last excluded, as `0..200`.
    #[arg(long, default_value = "0..20", value_parser = parse_range)]
    seeds: Range<u64>,
    /// Nodes in each system.
    #[arg(long, default_value_t = 20)]
    nodes: usize,
    /// `all`, `none`, or some of loss,partition,slow,clock,crash,byzantine,pause.
    #[arg(long, default_value = "all")]
    faults: Faults,
    /// Virtual hours with faults; the time to recover comes on top.
    #[arg(long, default_value_t = 2.0)]
    hours: f64,
    /// Seeds at a time; as many as there are cores if not given.
    #[arg(long)]
    jobs: Option<usize>,
    /// A bug to plant: drop-relay, forget-undo or acknowledge-before-sync.
    #[arg(long, value_parser = parse_plant)]
    plant: Option<Plant>,
    /// Prints the events.
    #[arg(long)]
    trace: bool,
}

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("seeds are given as FROM..TO")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
    Ok(number(from)?..number(to)?)
}

fn parse_plant(text: &str) -> Result<Plant, String> {
    let known = Plant::ALL.into_iter().find(|plant| plant.name() == text);
    known.ok_or_else(|| format!("no planted bug is called {text:?}"))
}

/// What all runs came to so far.
#[derive(Default)]
struct Sum {
    passed: u64,
    virtual_ms: u64,
    counts: Counts,
    failures: Vec<Failure>,
}

#[expect(clippy::disallowed_methods, reason = "the ratio to real time is what is measured")]
fn main() -> ExitCode {
    let args = Args::parse();
    let started = Instant::now();
    let jobs = args.jobs.or(std::thread::available_parallelism().ok().map(usize::from));
    let jobs = jobs.unwrap_or(1).max(1);
    let (next, sum) = (AtomicU64::new(args.seeds.start), Mutex::new(Sum::default()));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            // The verifier's batches run in the pool of their thread: one simulation, one core.
            let pool = ThreadPoolBuilder::new().num_threads(1).build().expect("a thread starts");
            let (args, next, sum) = (&args, &next, &sum);
            scope.spawn(move || pool.install(|| work(args, next, sum)));
        }
    });
    let sum = sum.into_inner().expect("no job panics");
    let real_s = started.elapsed().as_secs_f64();
    summary(&args, &sum, real_s, jobs);
    if sum.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Takes one seed after the other.
fn work(args: &Args, next: &AtomicU64, sum: &Mutex<Sum>) {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= args.seeds.end {
            return;
        }
        let outcome = run(&options(args, seed));
        let mut sum = sum.lock().expect("no job panics");
        match outcome {
            Ok(report) => {
                sum.passed += 1;
                sum.virtual_ms += report.virtual_ms;
                sum.counts.merge(&report.counts);
            }
            Err(failure) => {
                eprintln!("{failure}\n");
                sum.failures.push(*failure);
            }
        }
        let done = sum.passed + sum.failures.len() as u64;
        if done.is_multiple_of(10) {
            eprintln!("{done} seeds done, {} failed", sum.failures.len());
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "hours are few")]
fn options(args: &Args, seed: u64) -> Options {
    Options {
        seed,
        nodes: args.nodes,
        faults: args.faults.clone(),
        minutes: (args.hours * 60.0).round() as u32,
        plant: args.plant,
        trace: args.trace,
    }
}

fn summary(args: &Args, sum: &Sum, real_s: f64, jobs: usize) {
    let virtual_s = sum.virtual_ms as f64 / 1000.0;
    let Args { nodes, faults, hours, .. } = args;
    println!("nodes={nodes} faults={faults} hours={hours} jobs={jobs}");
    println!("{} seeds passed, {} failed", sum.passed, sum.failures.len());
    for (what, count) in sum.counts.iter() {
        println!("{count:>12}  {what}");
    }
    println!("{:>12.1}  virtual hours", virtual_s / 3600.0);
    println!("{real_s:>12.1}  real seconds");
    println!("{:>12.0}  virtual seconds a real second and core", virtual_s / real_s / jobs as f64);
    for failure in &sum.failures {
        println!("\nFAILED {failure}");
    }
}

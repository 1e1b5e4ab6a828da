//! Measures how many headers kernels try in a second.
//!
//! What is measured is the real search: worker threads, batches, rolling and all, on a job that
//! nothing solves. Figures are medians of several runs after a warm-up. The baseline is one
//! thread of the `sha2` crate's compression function with a midstate, which is what a miner
//! written with that crate alone would reach.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel;
use ruint::aliases::U256;
use serde::Serialize;

use crate::job::{Job, VERSION_MASK};
use crate::kernel::{self, Kernel};
use crate::pow::{Hash, Target};
use crate::search::{Pin, Search, SearchOptions, now};

mod clock;
mod fastest;
#[cfg(test)]
mod tests;

pub use fastest::{Trial, fastest};

/// The median of this many runs is reported; odd, so that it is one of them.
const RUNS: u32 = 5;
const _: () = assert!(RUNS % 2 == 1);
/// Mined before the first run: threads start, the CPU's clock rises, batches find their size.
const WARM_UP: Duration = Duration::from_millis(50);
/// Counters grow batch by batch, so batches are short compared to a run.
const BATCH: Duration = Duration::from_millis(1);
/// The row of [`kernel::KERNELS`] that is the baseline, and the name reports give it.
const BASELINE_KERNEL: &str = "sha2";
const BASELINE_NAME: &str = "sha2-midstate";

/// The speed of one kernel on a number of threads.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measurement {
    /// Name of the kernel.
    pub kernel: &'static str,
    /// Number of worker threads.
    pub threads: usize,
    /// Headers tried by all threads in all runs.
    pub hashes: u64,
    /// Length of all runs together, in seconds.
    pub seconds: f64,
    /// Headers per second, all threads together: the median of the runs.
    pub hashes_per_second: f64,
    /// Fastest run minus slowest run, divided by the median.
    pub spread: f64,
    /// Why the threads ran on any core although they were to be pinned.
    #[serde(skip)]
    pub unpinned: Option<String>,
}

/// What all rows of a report are compared with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Baseline {
    /// What was measured, on one thread.
    pub name: &'static str,
    /// Headers per second.
    pub hashes_per_second: f64,
}

/// One line of a report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Name of the kernel.
    pub kernel: &'static str,
    /// Number of worker threads.
    pub threads: usize,
    /// Headers per second, all threads together.
    pub hashes_per_second: f64,
    /// Headers per second divided by the baseline's.
    pub ratio_to_baseline: f64,
    /// Fastest run minus slowest run, divided by the median.
    pub spread: f64,
}

/// The outcome of [`run`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The CPU's name, or `unknown`.
    pub cpu: String,
    /// What the rows are compared with.
    pub baseline: Baseline,
    /// One row for each kernel and number of threads, in the order asked for.
    pub rows: Vec<Row>,
    /// The clock of one CPU, in cycles per second, measured between the baseline and the rows.
    #[serde(skip)]
    pub clock_hertz: f64,
    /// Why the threads ran on any core although they were to be pinned.
    #[serde(skip)]
    pub unpinned: Option<String>,
}

impl Report {
    /// Returns how many cycles of one CPU's clock a header took in this row, if every thread had
    /// a CPU to itself and the clock did not change.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "there are few threads")]
    pub fn cycles_per_hash(&self, row: &Row) -> f64 {
        self.clock_hertz * row.threads as f64 / row.hashes_per_second
    }
}

/// Measures the baseline, then every kernel with every number of threads, and hands each row to
/// `progress` as soon as it is known. Takes about `seconds_per_row` for the baseline and each row.
///
/// # Panics
/// When the operating system refuses a thread or `seconds_per_row` is no positive duration.
pub fn run(
    kernels: &[&'static Kernel],
    thread_counts: &[usize],
    seconds_per_row: f64,
    pin: Pin,
    progress: &mut dyn FnMut(&Row),
) -> Report {
    let reference = kernel::choose(Some(BASELINE_KERNEL)).expect("the sha2 row runs everywhere");
    let baseline = measure(reference, 1, seconds_per_row, pin).hashes_per_second;
    let clock_hertz = clock::hertz();
    let mut rows = Vec::with_capacity(kernels.len() * thread_counts.len());
    let mut unpinned = None;
    for kernel in kernels {
        for &threads in thread_counts {
            let measured = measure(kernel, threads, seconds_per_row, pin);
            let row = Row::new(&measured, baseline);
            progress(&row);
            unpinned = unpinned.or(measured.unpinned);
            rows.push(row);
        }
    }
    let baseline = Baseline { name: BASELINE_NAME, hashes_per_second: baseline };
    Report { cpu: cpu_name(), baseline, rows, clock_hertz, unpinned }
}

impl Row {
    fn new(measurement: &Measurement, baseline_hashes_per_second: f64) -> Self {
        Self {
            kernel: measurement.kernel,
            threads: measurement.threads,
            hashes_per_second: measurement.hashes_per_second,
            ratio_to_baseline: measurement.hashes_per_second / baseline_hashes_per_second,
            spread: measurement.spread,
        }
    }
}

/// Measures one kernel for about `seconds`, after a short warm-up.
///
/// # Panics
/// When the operating system refuses a thread, or `seconds` is not a positive duration.
#[must_use]
pub fn measure(kernel: &'static Kernel, threads: usize, seconds: f64, pin: Pin) -> Measurement {
    assert!(seconds > 0.0, "a measurement takes some time");
    let run_length = Duration::from_secs_f64(seconds) / RUNS;
    let (sender, solutions) = channel::bounded(1);
    let options = SearchOptions { batch: BATCH, pin, ..SearchOptions::new(threads, kernel) };
    let search = Search::start(options, move |solution| {
        // Cannot happen; if it does, the wait below ends and the assertion there tells.
        let _ = sender.try_send(solution);
    });
    let search = search.expect("the operating system gives as many threads as are asked for");
    search.set_job(Some(Arc::new(unreachable_job())));
    let pause = |length| {
        let solution = solutions.recv_timeout(length);
        assert!(solution.is_err(), "a job without solutions was solved: {solution:?}");
    };

    pause(WARM_UP);
    let mut samples = vec![Sample::take(&search)];
    for _ in 0..RUNS {
        pause(run_length);
        samples.push(Sample::take(&search));
    }
    let unpinned = search.unpinned().map(ToString::to_string);
    search.stop();
    Measurement { unpinned, ..summarise(kernel.name, threads, &samples) }
}

/// The counters at a moment.
#[derive(Clone, Copy)]
struct Sample {
    at: Instant,
    hashes: u64,
}

impl Sample {
    fn take(search: &Search) -> Self {
        Self { at: now(), hashes: search.hashes().iter().sum() }
    }

    /// Returns the headers tried and the seconds passed since an earlier sample.
    fn since(&self, earlier: &Self) -> (u64, f64) {
        let seconds = self.at.duration_since(earlier.at).as_secs_f64();
        (self.hashes - earlier.hashes, seconds)
    }
}

/// Takes at least two samples: one at the start and one at the end of each run.
#[expect(clippy::cast_precision_loss, reason = "counts of a few seconds are far below 2^53")]
fn summarise(kernel: &'static str, threads: usize, samples: &[Sample]) -> Measurement {
    let speed = |(hashes, seconds): (u64, f64)| hashes as f64 / seconds;
    let mut speeds: Vec<f64> =
        samples.windows(2).map(|pair| speed(pair[1].since(&pair[0]))).collect();
    speeds.sort_by(f64::total_cmp);
    let median = speeds[speeds.len() / 2];
    let (hashes, seconds) = samples[samples.len() - 1].since(&samples[0]);
    Measurement {
        kernel,
        threads,
        hashes,
        seconds,
        hashes_per_second: median,
        spread: (speeds[speeds.len() - 1] - speeds[0]) / median,
        unpinned: None,
    }
}

/// A job of realistic shape that no header solves.
pub(crate) fn unreachable_job() -> Job {
    Job {
        id: 0,
        version: 0x2000_0000,
        prev: Hash([0x5a; 32]),
        coinbase_prefix: vec![1; 64],
        coinbase_suffix: vec![2; 128],
        branch: vec![Hash([3; 32]); 10],
        time: 1_800_000_000,
        time_max: 1_800_000_000,
        bits: Target::DIFFICULTY_1.encode(),
        target: Target::from_uint(U256::ZERO),
        extranonce_bytes: 8,
        extranonce_start: 0,
        version_mask: VERSION_MASK,
    }
}

/// Returns the CPU's name as Linux tells it, or `unknown`.
fn cpu_name() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    model_name(&text).unwrap_or("unknown").to_owned()
}

fn model_name(cpuinfo: &str) -> Option<&str> {
    let values = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let mut names = values.filter(|(key, _)| key.trim() == "model name");
    names.next().map(|(_, name)| name.trim()).filter(|name| !name.is_empty())
}

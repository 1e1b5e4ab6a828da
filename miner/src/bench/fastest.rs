//! The choice of a kernel by measurement: what is fastest depends on more than the CPU's flags.

use std::hint::black_box;
use std::time::Duration;

use super::unreachable_job;
use crate::job::Solution;
use crate::kernel::{KERNELS, Kernel, MAX_VERSIONS, Scan};
use crate::search::now;

/// Each kernel runs for this long, all of them in turn, so often; the best of its runs counts.
/// Other work on the machine then slows a run of some, not the best of one.
const RUN: Duration = Duration::from_millis(10);
const RUNS: usize = 5;
/// Nonces between two looks at the clock: a few milliseconds of the slowest kernel.
const NONCES: u32 = 256;

/// How fast a kernel was when the choice was made.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// Headers per second on one thread.
    pub hashes_per_second: f64,
}

/// Runs every kernel that this CPU can run for about 50 ms, on this thread, and returns them all,
/// the fastest first; never none.
#[must_use]
pub fn fastest() -> Vec<Trial> {
    let scan = unreachable_scan();
    let rows = KERNELS.iter().filter(|row| (row.available)());
    let mut trials: Vec<Trial> =
        rows.map(|kernel| Trial { kernel, hashes_per_second: 0.0 }).collect();
    for _ in 0..RUNS {
        for trial in &mut trials {
            let speed = run(trial.kernel, &scan);
            trial.hashes_per_second = trial.hashes_per_second.max(speed);
        }
    }
    trials.sort_by(|a, b| b.hashes_per_second.total_cmp(&a.hashes_per_second));
    trials
}

/// Returns headers per second of one run.
#[expect(clippy::cast_precision_loss, reason = "there are few versions")]
fn run(kernel: &Kernel, scan: &Scan) -> f64 {
    let headers = f64::from(NONCES) * MAX_VERSIONS as f64;
    let started = now();
    let mut done = 0.0;
    loop {
        let found = (kernel.scan)(black_box(scan), 0, NONCES);
        assert!(found.is_none(), "a target that nothing meets was met: {found:?}");
        done += headers;
        let elapsed = now().duration_since(started);
        if elapsed >= RUN {
            return done / elapsed.as_secs_f64();
        }
    }
}

fn unreachable_scan() -> Scan {
    let job = unreachable_job();
    let start =
        Solution { job_id: 0, version: job.version, extranonce: 0, time: job.time, nonce: 0 };
    let versions: Vec<u32> = (0..).map(|n: u32| job.version | n << 13).take(MAX_VERSIONS).collect();
    Scan::new(&job.header(&start), &versions, job.target)
}

//! Prints one run of the hash measurement as CSV, the form kept in `benches/runs/`.
//!
//! `cargo run --release -p benches` measures every kernel that this CPU can run, on one thread
//! and on as many as there are CPUs. Columns: kernel; threads; headers per second (median); that
//! divided by the baseline; fastest minus slowest run, divided by the median.

use std::num::NonZero;
use std::thread;

use miner::bench;
use miner::{KERNELS, Kernel, Pin};

const SECONDS_PER_ROW: f64 = 5.0;

fn main() {
    let kernels: Vec<&Kernel> = KERNELS.iter().filter(|row| (row.available)()).collect();
    let cpus = thread::available_parallelism().map_or(1, NonZero::get);
    let thread_counts = if cpus == 1 { vec![1] } else { vec![1, cpus] };
    let report = bench::run(&kernels, &thread_counts, SECONDS_PER_ROW, Pin::AnyCore, &mut |row| {
        eprintln!("{} x{}: {:.0} hashes/s", row.kernel, row.threads, row.hashes_per_second);
    });

    let baseline = report.baseline;
    let clock = report.clock_hertz / 1e9;
    println!("# {} ({cpus} CPUs), clock {clock:.2} GHz, {SECONDS_PER_ROW} s a row", report.cpu);
    println!("# baseline {}, 1 thread: {:.0}", baseline.name, baseline.hashes_per_second);
    println!("kernel,threads,hashes_per_second,ratio_to_baseline,spread");
    for row in report.rows {
        let ratio = row.ratio_to_baseline;
        println!(
            "{},{},{:.0},{ratio:.3},{:.3}",
            row.kernel, row.threads, row.hashes_per_second, row.spread,
        );
    }
}

//! The `bench` commands.

mod plot;
mod scale;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use indicatif::ProgressBar;
use miner::Kernel;
use miner::bench::{Report, Row};

use super::{TerminalError, print, progress_bar};
use crate::args::{self, BenchCommand, Global};
use crate::bench::{GetArgs, MixedArgs, PutArgs, SyncArgs};

/// Longest measurement of a row, in seconds.
const MAX_SECONDS: f64 = 3600.0;

pub(super) fn execute(global: &Global, command: BenchCommand) -> Result<(), TerminalError> {
    let (threads, kernel, seconds, pin, plot) = match command {
        BenchCommand::Get(args) => return get(global, &args),
        BenchCommand::Put(args) => return put(global, &args),
        BenchCommand::Mixed(args) => return mixed(global, &args),
        BenchCommand::Prove(args) => return scale::prove(global, &args),
        BenchCommand::Scale(args) => return scale::scale(global, &args),
        BenchCommand::Sync(args) => return sync(global, &args),
        BenchCommand::Hash { threads, kernel, seconds, pin, plot } => {
            (threads, kernel, seconds, pin, plot)
        }
    };
    if !(seconds > 0.0 && seconds <= MAX_SECONDS) {
        return Err(TerminalError::Usage("--seconds is above 0 and at most 3600".to_string()));
    }
    let kernels: Vec<&'static Kernel> = match &kernel {
        Some(name) => vec![miner::kernel::choose(Some(name))?],
        None => miner::KERNELS.iter().filter(|kernel| (kernel.available)()).collect(),
    };
    let skipped = miner::KERNELS.iter().filter(|row| kernel.is_none() && !(row.available)());
    for Kernel { name, .. } in skipped {
        eprintln!("kernel {name} cannot run on this CPU");
    }
    let counts = match threads {
        Some(0) => return Err(TerminalError::Usage("--threads counts from 1".to_string())),
        Some(threads) => vec![threads],
        None => thread_counts(),
    };
    let bar = progress_bar("measuring");
    bar.set_length((kernels.len() * counts.len()) as u64);
    let mut progress = |row: &Row| {
        bar.set_message(format!("{} x{}", row.kernel, row.threads));
        bar.inc(1);
    };
    let report = miner::bench::run(&kernels, &counts, seconds, args::pin(pin), &mut progress);
    bar.finish_and_clear();
    if let Some(why) = &report.unpinned {
        eprintln!("threads are not pinned: {why}");
    }
    let value = serde_json::to_value(&report).expect("a report has only plain fields");
    print(global, &value, |_| show(&report))?;
    plot.map_or(Ok(()), |path| {
        std::fs::write(&path, plot::svg(&report))
            .map_err(|source| TerminalError::Io { path, source })
    })
}

fn get(global: &Global, args: &GetArgs) -> Result<(), TerminalError> {
    let bar = progress_bar("reading");
    bar.set_length(2);
    let report = crate::bench::get(args, &mut |what| {
        bar.set_message(what);
        bar.inc(1);
    });
    bar.finish_and_clear();
    let value = serde_json::to_value(report?).expect("a report has only plain fields");
    print(global, &value, |value| {
        let mut table = Table::new();
        table
            .load_style(NOTHING)
            .set_header(["mining", "MH/s", "gets/s", "p50 ms", "p99 ms", "p99.9 ms", "max ms"]);
        for row in value["rows"].as_array().into_iter().flatten() {
            let number = |name: &str| row[name].as_f64().unwrap_or_default();
            table.add_row([
                format!("{} threads", row["mining_threads"]),
                format!("{:.2}", number("hashes_per_second") / 1e6),
                format!("{:.0}", number("gets_per_second")),
                format!("{:.3}", number("p50_ms")),
                format!("{:.3}", number("p99_ms")),
                format!("{:.3}", number("p999_ms")),
                format!("{:.3}", number("max_ms")),
            ]);
        }
        table.to_string()
    })
}

fn put(global: &Global, args: &PutArgs) -> Result<(), TerminalError> {
    let bar = progress_bar("writing");
    let report = crate::bench::put(args, &|what, share| shows(&bar, what, share));
    bar.finish_and_clear();
    let value = serde_json::to_value(report?).expect("a report has only plain fields");
    print(global, &value, super::show::fields)
}

fn mixed(global: &Global, args: &MixedArgs) -> Result<(), TerminalError> {
    let bar = progress_bar("reading and writing");
    let report = crate::bench::mixed(args, &|what, share| shows(&bar, what, share));
    bar.finish_and_clear();
    let value = serde_json::to_value(report?).expect("a report has only plain fields");
    print(global, &value, |value| {
        let mut table = Table::new();
        table
            .load_style(NOTHING)
            .set_header(["read", "puts/s", "gets/s", "p50 ms", "p99 ms", "p99.9 ms", "max ms"]);
        for row in value["rows"].as_array().into_iter().flatten() {
            let number = |name: &str| row[name].as_f64().unwrap_or_default();
            table.add_row([
                row["read"].as_str().unwrap_or_default().replace('_', " "),
                format!("{:.0}", number("confirmed_puts_per_second")),
                format!("{:.0}", number("gets_per_second")),
                format!("{:.3}", number("p50_ms")),
                format!("{:.3}", number("p99_ms")),
                format!("{:.3}", number("p999_ms")),
                format!("{:.3}", number("max_ms")),
            ]);
        }
        table.to_string()
    })
}

/// Shows what is done and how much of it, 0.0 to 1.0.
fn shows(bar: &ProgressBar, what: &str, share: f64) {
    bar.set_length(1000);
    bar.set_message(what.to_string());
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share is within 0.0 to 1.0"
    )]
    bar.set_position((share * 1000.0) as u64);
}

fn sync(global: &Global, args: &SyncArgs) -> Result<(), TerminalError> {
    let bar = progress_bar("syncing");
    let report = crate::bench::sync(args, &mut |what, share| shows(&bar, what, share));
    bar.finish_and_clear();
    let value = serde_json::to_value(report?).expect("a report has only plain fields");
    print(global, &value, super::show::fields)
}

/// 1, 2, 4 .. and all cores.
fn thread_counts() -> Vec<usize> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut counts: Vec<usize> = std::iter::successors(Some(1), |count| Some(count * 2))
        .take_while(|n| *n < cores)
        .collect();
    counts.push(cores);
    counts
}

fn show(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header([
        "kernel",
        "threads",
        "MH/s",
        "cycles",
        "x baseline",
        "spread",
    ]);
    for row in &report.rows {
        table.add_row([
            row.kernel.to_string(),
            row.threads.to_string(),
            format!("{:.2}", row.hashes_per_second / 1e6),
            format!("{:.1}", report.cycles_per_hash(row)),
            format!("{:.2}", row.ratio_to_baseline),
            format!("{:.1} %", row.spread * 100.0),
        ]);
    }
    let baseline = &report.baseline;
    let rate = baseline.hashes_per_second / 1e6;
    let clock = report.clock_hertz / 1e9;
    format!(
        "{}, {clock:.2} GHz\nbaseline {}: {rate:.2} MH/s on one thread\n{table}",
        report.cpu, baseline.name,
    )
}

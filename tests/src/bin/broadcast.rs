//! Measures broadcasts of the real node and of other ways to do it (docs/broadcast.md):
//! `cargo run --release -p tests --bin broadcast -- block --nodes 1000 --seeds 0..5`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};
use rayon::ThreadPoolBuilder;
use tests::broadcast::plot;
use tests::broadcast::table::{COLUMNS, Row, parse};
use tests::broadcast::{How, Load, Outcome, Overlay, Question, Trouble, run};
use tests::sim::broadcast::{measure, overlay};

/// Measures what it costs to bring blocks and transactions to every node. Writes a table.
#[derive(Debug, Parser)]
struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// One block.
    Block {
        /// Of all its transactions, in millions of bytes.
        #[arg(long, default_value_t = 1.0)]
        megabytes: f64,
        /// Of each transaction.
        #[arg(long, default_value_t = 250)]
        transaction_bytes: usize,
        /// How many of a hundred transactions a node has already, on average.
        #[arg(long, default_value_t = 95)]
        known: u32,
        /// Whether the other ways send the block whole.
        #[arg(long)]
        whole: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Draws the pictures of tables.
    Plot {
        /// Where they go.
        #[arg(long, default_value = "docs/broadcast")]
        into: PathBuf,
        /// What the other commands have written.
        tables: Vec<PathBuf>,
    },
    /// Single transactions at random nodes.
    Transactions {
        /// How many.
        #[arg(long, default_value_t = 2000)]
        count: usize,
        /// Of each.
        #[arg(long, default_value_t = 250)]
        bytes: usize,
        /// From one to the next, in milliseconds.
        #[arg(long, default_value_t = 50)]
        every_ms: u64,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Args, Debug)]
struct Common {
    /// How many nodes there are.
    #[arg(long, default_value_t = 1000)]
    nodes: usize,
    /// Seeds, the last excluded, as `0..5`.
    #[arg(long, default_value = "0..5", value_parser = parse_range)]
    seeds: Range<u64>,
    /// `none`, or crash, silent, halting, mute or pruning with a percentage of nodes, as
    /// `crash:30`.
    #[arg(long, default_value = "none")]
    trouble: Trouble,
    /// graven, flood or plumtree, with commas between.
    #[arg(long, value_delimiter = ',', value_parser = parse_how, default_value = "graven")]
    ways: Vec<How>,
    /// How many lines of a hundred carry 10 megabits a second; the others carry 100.
    #[arg(long, default_value_t = 10)]
    slow_lines: u32,
    /// Simulates TCP's slow start after idle times.
    #[arg(long)]
    slow_start: bool,
    /// Each node knows three of the first so many nodes from the start.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(3..))]
    entries: u64,
    /// Tells what each kind of message came to.
    #[arg(long)]
    kinds: bool,
}

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("seeds are given as FROM..TO")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
    Ok(number(from)?..number(to)?)
}

fn parse_how(text: &str) -> Result<How, String> {
    let known = How::ALL.into_iter().find(|how| how.name() == text);
    known.ok_or_else(|| format!("no way is called {text:?}"))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few megabytes")]
fn main() -> Result<(), Box<dyn Error>> {
    let (load, common) = match Command::parse().what {
        What::Plot { into, tables } => return pictures(&into, &tables),
        What::Block { megabytes, transaction_bytes, known, whole, common } => {
            let bytes = (megabytes * 1e6) as usize;
            (Load::Block { bytes, transaction_bytes, known_percent: known, whole }, common)
        }
        What::Transactions { count, bytes, every_ms, common } => {
            (Load::Transactions { count, bytes, every_ms }, common)
        }
    };
    println!("{COLUMNS}");
    // One measurement, one core: the verifier's batches run in the pool of their thread.
    let pool = ThreadPoolBuilder::new().num_threads(1).build().expect("a thread starts");
    pool.install(|| common.seeds.clone().for_each(|seed| ask(&common, load, seed)));
    Ok(())
}

/// Draws all pictures of docs/broadcast.md.
fn pictures(into: &Path, tables: &[PathBuf]) -> Result<(), Box<dyn Error>> {
    let mut rows = Vec::new();
    for table in tables {
        rows.extend(parse(&fs::read_to_string(table)?)?);
    }
    fs::create_dir_all(into)?;
    let most = rows.iter().map(|row| row.nodes).filter(|nodes| *nodes <= 1000).max();
    let usual = |row: &&Row| !row.slow_start && row.slow_lines == 10 && row.entries == 3;
    for (load, size, what) in
        [("block", 1000, "A block of 1 MB"), ("transactions", 250, "Transactions of 250 bytes")]
    {
        let of_load: Vec<&Row> =
            rows.iter().filter(|row| row.load == load && row.transaction_bytes == size).collect();
        let write = |name: String, svg: String| fs::write(into.join(name), svg);
        for trouble in ["none", "crash:30", "silent:20"] {
            let same = of_load.iter().copied().filter(|row| Some(row.nodes) == most);
            let same: Vec<&Row> = same.filter(|row| row.trouble == trouble && usual(row)).collect();
            if !same.is_empty() {
                let name = trouble.split(':').next().unwrap_or_default();
                let svg = plot::spread(&format!("{what}, trouble: {trouble}"), &same);
                write(format!("{load}-{name}.svg"), svg)?;
            }
        }
        let calm: Vec<&Row> =
            of_load.iter().copied().filter(|row| row.trouble == "none" && usual(row)).collect();
        let bytes = |row: &Row| Some(row.bytes_mean / 1000.0);
        let svg = plot::scaling(&format!("{what}: cost"), "kB a node", &calm, bytes);
        write(format!("{load}-bytes-by-nodes.svg"), svg)?;
        let seconds = |row: &Row| row.time_ms(95).map(|ms| ms as f64 / 1000.0);
        let svg = plot::scaling(&format!("{what}: time to 95 %"), "seconds", &calm, seconds);
        write(format!("{load}-time-by-nodes.svg"), svg)?;
    }
    Ok(())
}

/// Asks all ways the same question.
fn ask(common: &Common, load: Load, seed: u64) {
    let Common { nodes, trouble, slow_lines, slow_start, entries, .. } = *common;
    let entries = usize::try_from(entries).unwrap_or(usize::MAX);
    let question = Question { seed, nodes, load, trouble, slow_lines, slow_start, entries };
    let mut known: Option<Overlay> = None;
    for how in &common.ways {
        let outcome = match how {
            How::Graven => {
                let (outcome, overlay) = measure(&question);
                known = Some(overlay);
                outcome
            }
            other => run(&question, *other, known.get_or_insert_with(|| overlay(&question))),
        };
        println!("{}", Row::new(&question, *how, &outcome));
        if common.kinds {
            kinds(&outcome);
        }
    }
}

/// The mean bytes of each kind of message.
fn kinds(outcome: &Outcome) {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, bytes) in outcome.costs.iter().flat_map(|cost| &cost.by_kind) {
        *sums.entry(name).or_default() += bytes;
    }
    for (name, bytes) in sums {
        println!("# {:>12.1}  {name}", bytes as f64 / outcome.costs.len() as f64);
    }
    let mut worst: Vec<_> = outcome.costs.iter().collect();
    worst.sort_by_key(|cost| std::cmp::Reverse(cost.bytes.saturating_sub(cost.bound())));
    for cost in worst.iter().take(5) {
        println!("# {} of {} bytes: {:?}", cost.bytes, cost.bound(), cost.by_kind);
    }
}

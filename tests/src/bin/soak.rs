//! Many real nodes on loopback, written to and killed for minutes:
//! `cargo run --release -p tests --bin soak -- --nodes 51 --minutes 10 --seed 1`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tests::soak::{Options, run};

/// Runs many nodes on this machine, writes to them and kills them, and checks what must hold.
#[derive(Debug, Parser)]
struct Args {
    /// Nodes.
    #[arg(long, default_value_t = 51, value_parser = clap::value_parser!(u16).range(4..=500))]
    nodes: u16,
    /// For how long; starting all and agreeing in the end come on top.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// What chance is drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds between two kills, on average.
    #[arg(long, default_value_t = 4.0)]
    kill_every: f64,
    /// Clients that write all the time.
    #[arg(long, default_value_t = 8)]
    writers: u64,
    /// A block takes 2 to the power of so many hashes.
    #[arg(long, default_value_t = 26, value_parser = clap::value_parser!(u8).range(20..=40))]
    block_bits: u8,
}

fn main() -> ExitCode {
    // The nodes are this program too, so that they are the code that was just built.
    if std::env::args().any(|word| word == "node" || word == "verify-chain") {
        return cli::run(std::env::args_os());
    }
    let args = Args::parse();
    let options = Options {
        program: std::env::current_exe().expect("a running program has a path"),
        nodes: usize::from(args.nodes),
        duration: Duration::from_secs_f64(args.minutes * 60.0),
        kill_every: Duration::from_secs_f64(args.kill_every),
        writers: args.writers,
        block_bits: args.block_bits,
        seed: args.seed,
    };
    let mut folder = tempfile::tempdir().expect("a temporary folder can be made");
    match run(&options, folder.path(), &mut |line| println!("{line}")) {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Err(what) => {
            folder.disable_cleanup(true);
            eprintln!("FAILED (seed {}, {}): {what}", args.seed, folder.path().display());
            ExitCode::FAILURE
        }
    }
}

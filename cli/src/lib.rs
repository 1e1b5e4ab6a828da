//! The `graven` binary: words in, a node assembled, answers out.
//!
//! [`args`] is what may be typed, [`node`] the node's diagram, [`admin`] and [`stratum`] its
//! ports, [`command`] the grammar that terminal and port share, [`mine`] the miner for Stratum
//! servers, [`import`] what takes files in, [`terminal`] what a person sees.

pub mod admin;
pub mod args;
pub mod bans;
pub mod bench;
pub mod child;
pub mod client;
pub mod command;
pub mod config;
pub mod demo;
pub mod descriptors;
pub mod folder;
pub mod import;
pub mod light;
pub mod mine;
pub mod node;
mod pace;
pub mod reads;
pub mod reply;
pub mod request;
pub mod resp;
pub mod stratum;
pub mod terminal;
pub mod upkeep;
pub mod wallet;
pub mod words;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;

/// Runs the program with these arguments, the first of which is its name.
pub fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match args::Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => {
            error.print().ok(); // nobody is left to tell
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    start_log();
    match terminal::execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("graven: {error}");
            ExitCode::from(error.exit())
        }
    }
}

/// Logs for people on standard error; `GRAVEN_LOG` filters them (default `info`).
fn start_log() {
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(tracing::Level::INFO.into())
        .with_env_var("GRAVEN_LOG")
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

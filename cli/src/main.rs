//! The `graven` binary: node, miner, client and wallet.

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(std::env::args_os())
}

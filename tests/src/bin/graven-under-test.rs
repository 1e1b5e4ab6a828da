//! The `graven` binary as the tests start it: the same code, built by this package, so that cargo
//! tells the tests where it is.

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(std::env::args_os())
}

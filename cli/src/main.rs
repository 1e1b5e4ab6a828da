//! The `graven` binary: node, miner, client and wallet.

use std::process::ExitCode;

/// What one thread of the pipeline allocates another frees, and in glibc's allocator they wait for
/// one another: docs/decisions/0018-the-binary-has-an-allocator-of-its-own.md.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cli::run(std::env::args_os())
}

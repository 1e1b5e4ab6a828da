//! Copies of a node's folder: backups, and snapshots that new nodes start from.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod copies {
    mod backup;
    mod file;
    mod lies;
    mod nodes;
    mod rows;
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_graven-under-test");

//! Header chains with too little work, checkpoints, and blocks that are assumed to be valid: at the
//! ledger, and with real processes.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod low_work {
    pub(crate) mod assumed;
    pub(crate) mod flood;
    pub(crate) mod nodes;
}

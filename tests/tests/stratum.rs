//! The Stratum port of a real node, and the miners people run: their dialogues end in blocks.

#![expect(clippy::unwrap_used, reason = "what a miner for tests cannot read fails the test")]

mod stratum {
    mod crowds;
    mod dialogues;
    mod mistakes;
    mod own_miner;
    mod rig;
}

//! Consensus as a whole: random histories against naive models, and every rule by its name.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod consensus {
    mod histories;
    mod ledger;
    mod maker;
    mod pool;
    mod regressions;
    mod rules;
    mod verifier;
    mod world;
}

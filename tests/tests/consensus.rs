//! Consensus as a whole: random histories against naive models, and every rule by its name.

mod consensus {
    mod histories;
    mod maker;
    mod pool;
    mod regressions;
    mod rules;
    mod verifier;
    mod world;
}

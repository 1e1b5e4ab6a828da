//! Durability, by breaking what is below the block log and SQLite: what was acknowledged is found
//! again whatever a disk did with what was not synced, whichever call failed; what was damaged is
//! named.
//!
//! `GRAVEN_DURABILITY_SEEDS` asks for that many runs, with everything tried in each.

#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

mod durability {
    pub(crate) mod check;
    pub(crate) mod disk;
    pub(crate) mod errors;
    pub(crate) mod flips;
    #[expect(unsafe_code, reason = "it defines functions of the C library")]
    pub(crate) mod hooks;
    pub(crate) mod power;
    pub(crate) mod script;
    pub(crate) mod stop;
}

use std::collections::BTreeMap;

use durability::disk::LOSSES;
use durability::errors::{FAULTS, fail_each_call, nothing_is_acknowledged_after_a_failed_sync};
use durability::flips::{Outcome, damage_everything};
use durability::power::cut_at_every_sync;

/// How many runs the long form has.
fn long() -> Option<u64> {
    std::env::var("GRAVEN_DURABILITY_SEEDS").ok().and_then(|seeds| seeds.parse().ok())
}

#[test]
fn a_power_cut_at_any_sync_loses_nothing_that_was_confirmed() {
    let (seeds, share) = long().map_or((6, 3), |seeds| (seeds, 3 * LOSSES.len()));
    let (mut syncs, mut images) = (0, 0);
    for seed in 0..seeds {
        let counts = cut_at_every_sync(seed, 50, share);
        (syncs, images) = (syncs + counts.syncs, images + counts.images);
    }
    println!("{syncs} sync points, {images} images");
    assert!(syncs >= 300, "{syncs} sync points are too few to mean anything");
}

#[test]
fn whichever_call_fails_what_was_confirmed_is_found_again() {
    for fault in FAULTS {
        let (mut errors, mut stopped) = (0, 0);
        for seed in 0..long().unwrap_or(1) {
            let every = if long().is_some() { 1 } else { 7 };
            let counts = fail_each_call(seed, 12, every, fault);
            (errors, stopped) = (errors + counts.errors, stopped + counts.stopped);
        }
        println!("{}: {errors} errors, {stopped} runs stopped", fault.0);
        assert!(errors > 20, "{}: {errors} errors are too few to mean anything", fault.0);
        assert!(fault.2 || stopped > 0, "{}: nothing was noticed", fault.0);
    }
}

#[test]
fn after_a_failed_sync_nothing_more_is_acknowledged() {
    nothing_is_acknowledged_after_a_failed_sync();
}

#[test]
fn at_a_stop_a_transaction_is_forgotten_after_its_block_was_synced() {
    durability::stop::a_transaction_is_forgotten_after_its_block_was_synced();
}

#[test]
fn damage_is_named_or_found_by_an_audit() {
    let mut sums: BTreeMap<(&str, Outcome), usize> = BTreeMap::new();
    for seed in 0..long().unwrap_or(1) {
        let share = if long().is_some() { 16 } else { 3 };
        for (key, count) in damage_everything(seed, 24, share) {
            *sums.entry(key).or_default() += count;
        }
    }
    for ((part, outcome), count) in &sums {
        println!("{part}: {count} {outcome:?}");
    }
    let silent = |(part, outcome): &&(&str, Outcome)| {
        *outcome == Outcome::Silent && !part.starts_with("page") && !part.starts_with("index")
    };
    let silent: Vec<_> = sums.keys().filter(silent).collect();
    assert!(silent.is_empty(), "parts with a checksum: {silent:?}");
}

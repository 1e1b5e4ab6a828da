//! The whole system, simulated: what CI runs of it. The long form is
//! `cargo run --release -p tests --bin sim -- --seeds 0..200 --nodes 20 --hours 2`.

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tests::sim::{Failure, Faults, Options, Plant, Report, run};

/// Seeds of the short form, and how long each lasts, in virtual minutes.
const SEEDS: std::ops::Range<u64> = 0..30;
const MINUTES: u32 = 120;

/// A planted bug must be caught within so many seeds.
const PATIENCE: u64 = 200;

/// Runs one simulation on one thread, its checks of signatures included.
fn run_alone(options: &Options) -> Result<Report, Box<Failure>> {
    alone().install(|| run(options))
}

fn alone() -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(1).build().expect("a thread starts")
}

#[test]
fn twenty_nodes_agree_whatever_goes_wrong() {
    let outcomes: Vec<_> =
        SEEDS.into_par_iter().map(|seed| run_alone(&Options::new(seed, 20, MINUTES))).collect();
    let mut reports = Vec::new();
    for outcome in outcomes {
        match outcome {
            Ok(report) => reports.push(report),
            Err(failure) => panic!("{failure}"),
        }
    }
    // Faults and the ways out of them have really occurred.
    let sum = |what: &str| reports.iter().map(|report| report.counts.get(what)).sum::<u64>();
    for what in [
        "acknowledged writes included",
        "blocks mined",
        "byzantine nodes shunned",
        "byzantine: garbage",
        "byzantine: invalid block",
        "byzantine: two blocks of equal work",
        "byzantine: withheld body",
        "fault: clock jump",
        "fault: connection lost",
        "fault: connection lost at one end",
        "fault: killed",
        "fault: partition node by node",
        "fault: pause",
        "fault: power cut",
        "fault: slow",
        "reorganisations",
        "restarts",
        "restarts with blocks to index again",
    ] {
        assert!(sum(what) > 0, "{what}: never");
    }
}

#[test]
fn without_faults_nothing_is_reverted_for_long() {
    let options = Options { faults: Faults::none(), ..Options::new(1, 8, 60) };
    let report = run_alone(&options).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(report.counts.get("most blocks reverted at once") <= 2);
    assert_eq!(report.counts.get("disconnects: stalled"), 0);
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_one_does_not() {
    let options = |seed| Options::new(seed, 12, 30);
    let trace = |seed| run_alone(&options(seed)).unwrap_or_else(|failure| panic!("{failure}"));
    let first = trace(3);
    assert_eq!(first, trace(3));
    assert_ne!(first.trace, trace(4).trace);
}

/// Seeds until a planted bug is caught, and what caught it.
fn caught(plant: Plant) -> (u64, Failure) {
    let options = |seed| Options { plant: Some(plant), ..Options::new(seed, 10, 60) };
    let first = (0..PATIENCE).find_map(|seed| Some((seed + 1, *run_alone(&options(seed)).err()?)));
    first.unwrap_or_else(|| panic!("{} was not caught within {PATIENCE} seeds", plant.name()))
}

#[test]
fn planted_bugs_are_caught() {
    for (plant, word) in [
        (Plant::DropRelay, "wait"),
        (Plant::ForgetUndo, ""),
        (Plant::AcknowledgeBeforeSync, "comes back at height"),
    ] {
        let (seeds, failure) = caught(plant);
        println!("{} was caught by seed {} of {PATIENCE}: {failure}", plant.name(), seeds);
        assert!(failure.what.contains(word), "for another reason: {failure}");
    }
}

//! Old bodies are removed: what stays, what is given back, and what cannot be done any more.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use chain::Hash;
use chain::execute::Delta;
use chain::ledger::{Ledger, LedgerOptions, OpenError, Pruning};
use chain::params::Network;
use chain::rules::isolation::{check_headers, checked_genesis};
use chain::store::{Archive, Body, SqliteStore, StoreError};
use proptest::prelude::*;
use tempfile::TempDir;
use tests::chains::{Given, Grower, account, clock, free_network, memory_ledger, options, story};

use crate::{BLOCK_LOG, assert_alike, audited, config, dump, give, input, lived, straight};

/// Bodies are removed as soon as there are two that lie deep enough.
const SOON: Pruning = Pruning { most_bytes: 1, kept_blocks: 12, least_blocks: 2 };

fn pruning(network: &Network) -> LedgerOptions {
    LedgerOptions { pruning: Some(SOON), ..options(network) }
}

fn open_pruning(folder: &Path, network: &Network) -> Result<Ledger<SqliteStore>, OpenError> {
    let genesis = checked_genesis(network);
    let store = SqliteStore::open(folder, network, &genesis, &Delta::default())?;
    Ledger::open(pruning(network), store, clock(network, 0), &mut |_| ())
}

/// Blocks of a story, in which no branch is longer than those that are kept.
fn shallow(network: &Network, seed: u64) -> Vec<Given> {
    let given = story(network, seed, 60);
    let is_deep = |given: &[Given]| {
        let mut ledger = memory_ledger(pruning(network));
        given.iter().cloned().any(|given| {
            let result = ledger.handle(clock(network, 1000), input(given, 1));
            while ledger.poll().is_some() {}
            matches!(result, Err(StoreError::Pruned { .. }))
        })
    };
    let mut count = given.len();
    while is_deep(&given[..count]) {
        count -= 10;
    }
    given[..count].to_vec()
}

fn bodies(archive: &dyn Archive, given: &[Given]) -> Vec<(Hash, Body)> {
    let hashes: BTreeSet<Hash> = given
        .iter()
        .filter_map(|given| match given {
            Given::Block(block) => Some(block.hash()),
            _ => None,
        })
        .collect();
    hashes.into_iter().map(|hash| (hash, archive.body(&hash).unwrap())).collect()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn memory_and_disk_prune_alike_and_the_rest_verifies(seed in any::<u64>()) {
        let network = free_network();
        let given = shallow(&network, seed);
        let mut memory = memory_ledger(pruning(&network));
        give(&mut memory, &network, &given);
        let folder = TempDir::new().unwrap();
        let mut ledger = open_pruning(folder.path(), &network).unwrap();
        give(&mut ledger, &network, &given);
        for _ in ["lived", "opened again"] {
            let (store, model) = (ledger.store(), memory.store());
            assert_alike(model, store, &given);
            let pruned = store.pruned().unwrap();
            prop_assert_eq!(pruned, model.pruned().unwrap());
            prop_assert!(pruned + 14 >= store.tip().unwrap().height);
            prop_assert_eq!(bodies(model, &given), bodies(store, &given));
            for height in 1..=store.tip().unwrap().height {
                prop_assert_eq!(model.undo(height).unwrap(), store.undo(height).unwrap());
            }
            let report = audited(folder.path(), &network).unwrap();
            prop_assert_eq!(report.from, pruned + 1);
            drop(ledger);
            ledger = open_pruning(folder.path(), &network).unwrap();
        }
    }
}

#[test]
fn the_space_of_old_bodies_is_given_back_also_after_a_crash_before_that() {
    let network = free_network();
    let given = straight(&network, 400);
    let folder = lived(&network, &given);
    let log = folder.path().join(BLOCK_LOG);
    let whole = fs::read(&log).unwrap();
    let (length, taken) = (whole.len() as u64, fs::metadata(&log).unwrap().blocks());
    drop(open_and_prune(folder.path(), &network));
    let archive = chain::store::SqliteArchive::open(folder.path(), &network).unwrap();
    let pruned = archive.pruned().unwrap();
    assert_eq!(pruned, 388);
    let freed = fs::metadata(&log).unwrap();
    assert_eq!(freed.len(), length, "records stay where they are");
    assert!(freed.blocks() < taken / 2, "{} of {taken}", freed.blocks());
    let holes = fs::read(&log).unwrap();
    // As if the process had ended after the commit.
    fs::write(&log, &whole).unwrap();
    let before = dump(folder.path(), &network);
    drop(open_pruning(folder.path(), &network).unwrap());
    assert_eq!(before, dump(folder.path(), &network));
    assert!(fs::read(&log).unwrap() == holes, "the same is given back");
    assert_eq!(audited(folder.path(), &network).unwrap().from, 389);
}

/// A ledger prunes when it commits.
fn open_and_prune(folder: &Path, network: &Network) -> Ledger<SqliteStore> {
    let mut ledger = open_pruning(folder, network).unwrap();
    ledger.handle(clock(network, 1000), chain::ledger::Input::Tick).unwrap();
    ledger
}

#[test]
fn a_branch_from_below_what_is_kept_stops_the_ledger_with_the_reason() {
    let network = free_network();
    let mut grower = Grower::new(&network);
    let genesis = grower.place.clone();
    let main: Vec<Given> = (0..20).map(|_| Given::Block(grower.grow(account(0), &[]))).collect();
    grower.place = genesis;
    let branch: Vec<_> = (0..21).map(|_| grower.grow(account(1), &[])).collect();
    let folder = TempDir::new().unwrap();
    let mut ledger = open_pruning(folder.path(), &network).unwrap();
    give(&mut ledger, &network, &main);
    assert_eq!(ledger.store().pruned().unwrap(), 8);
    let mut error = None;
    for block in branch {
        let given = input(Given::Block(block), 1);
        error = ledger.handle(clock(&network, 1000), given).err();
    }
    let error = error.expect("it cannot go there");
    assert!(matches!(error, StoreError::Pruned { pruned: 8, to: 1 }), "{error}");
    assert!(error.to_string().contains("blocks.log"), "it says what to do: {error}");
    drop(ledger);
    // Nothing was taken off.
    assert_eq!(audited(folder.path(), &network).unwrap().height, 20);
}

#[test]
fn a_pruned_log_without_its_index_is_refused_until_it_is_asked_to_leave_out_what_is_gone() {
    let network = free_network();
    let given = straight(&network, 60);
    let folder = lived(&network, &given);
    drop(open_and_prune(folder.path(), &network));
    SqliteStore::remove_index(folder.path()).unwrap();
    let error = crate::open(folder.path(), &network).err().expect("there is a hole");
    assert!(error.to_string().contains("reindex --skip-damaged"), "{error}");
    let mut ledger = super::bodies::open_leaving_out(folder.path(), &network).unwrap();
    assert_eq!(ledger.store().tip().unwrap().height, 0);
    // Peers have what is missing; the blocks that are here need not come again.
    let headers: Vec<_> = given
        .iter()
        .map(|given| match given {
            Given::Block(block) => *block.header(),
            _ => panic!("not a block"),
        })
        .collect();
    let headers = Given::Headers(check_headers(&network, &headers).unwrap());
    give(&mut ledger, &network, &[headers]);
    give(&mut ledger, &network, &given[..48]);
    assert_eq!(ledger.store().tip().unwrap().height, 60);
    drop(ledger);
    assert_eq!(audited(folder.path(), &network).unwrap().height, 60);
}

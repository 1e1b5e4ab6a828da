//! What others than the writer see of a store, and when.

use chain::execute::{Order, Range, View};
use chain::ledger::{Input, PeerId};
use chain::store::{Archive, Body, SqliteArchive};
use proptest::prelude::*;
use tempfile::TempDir;
use tests::chains::{Given, Grower, account, clock, free_network, memory_ledger, options, story};

use crate::{assert_alike, config, input, lived, open, straight};

#[test]
fn only_blocks_of_the_main_chain_are_for_peers() {
    let network = free_network();
    let mut grower = Grower::new(&network);
    let genesis = grower.place.clone();
    let first = grower.grow(account(1), &[]);
    grower.place = genesis;
    // Of equal work, so it is stored and not executed: whether it is valid nobody knows.
    let rival = grower.grow(account(2), &[]);
    let given = [Given::Block(first.clone()), Given::Block(rival.clone())];
    let folder = lived(&network, &given);
    let archive = SqliteArchive::open(folder.path(), &network).unwrap();
    assert_eq!(archive.servable_body(&first.hash()).unwrap(), Body::Here(first.bytes().to_vec()));
    assert!(archive.body(&rival.hash()).unwrap().here().is_some());
    assert_eq!(archive.servable_body(&rival.hash()).unwrap(), Body::Unknown);
}

/// What is taken together is seen together, and a ledger that dies before leaves none of it.
#[test]
fn inputs_between_two_commits_are_seen_all_or_none() {
    let (network, folder) = (free_network(), TempDir::new().unwrap());
    let mut ledger = open(folder.path(), &network).unwrap();
    let reader = SqliteArchive::open(folder.path(), &network).unwrap();
    let now = clock(&network, 1000);
    for (number, given) in (1..).zip(straight(&network, 20)) {
        let Given::Block(block) = given else { unreachable!("a straight chain is of blocks") };
        ledger.take(now, Input::Block { from: PeerId(1), block }).unwrap();
        let heights = [ledger.store().tip(), reader.tip()].map(|tip| tip.unwrap().height);
        assert_eq!(heights, [number, if number <= 10 { 0 } else { 10 }]);
        if number == 10 {
            ledger.commit(now).unwrap();
        }
    }
    drop(ledger);
    assert_eq!(reader.tip().unwrap().height, 10);
    open(folder.path(), &network).unwrap();
    assert_eq!(reader.tip().unwrap().height, 20);
}

proptest! {
    #![proptest_config(config())]

    /// The writer holds rows back until the commit, but sees what they have become.
    #[test]
    fn rows_held_back_are_seen_by_their_writer(
        seed in any::<u64>(),
        commits in proptest::collection::vec(any::<bool>(), 200),
        (from, to, limit) in (any::<[u8; 2]>(), any::<[u8; 2]>(), 0..20_usize),
    ) {
        let (network, folder) = (free_network(), TempDir::new().unwrap());
        let now = clock(&network, 1000);
        let given = story(&network, seed, 30);
        let mut memory = memory_ledger(options(&network));
        let mut disk = open(folder.path(), &network).unwrap();
        for (given, commit) in given.iter().zip(commits.iter().cycle()) {
            memory.take(now, input(given.clone(), 1)).unwrap();
            disk.take(now, input(given.clone(), 1)).unwrap();
            assert_alike(memory.store(), disk.store(), std::slice::from_ref(given));
            for order in [Order::Ascending, Order::Descending] {
                let range = Range { from: &from, to: &to, order, limit };
                let rows = [memory.store().range(range), disk.store().range(range)];
                let [expected, seen] = rows.map(Result::unwrap);
                prop_assert_eq!(expected, seen);
                let (from, to) = (&from.map(|byte| byte % 16), &to.map(|byte| byte % 16));
                let range = Range { from, to, order, limit };
                let pages = [memory.store().page_range(range), disk.store().page_range(range)];
                let [expected, seen] = pages.map(Result::unwrap);
                prop_assert_eq!(expected, seen);
            }
            if *commit {
                disk.commit(now).unwrap();
            }
        }
        disk.commit(now).unwrap();
        assert_alike(memory.store(), disk.store(), &given);
    }
}

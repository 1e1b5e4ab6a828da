//! What others than the writer see of a store, and when.

use chain::ledger::{Input, PeerId};
use chain::store::{Archive, SqliteArchive};
use tempfile::TempDir;
use tests::chains::{Given, Grower, account, clock, free_network};

use crate::{lived, open, straight};

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
    assert_eq!(archive.servable_block(&first.hash()).unwrap().as_deref(), Some(first.bytes()));
    assert!(archive.block_bytes(&rival.hash()).unwrap().is_some());
    assert_eq!(archive.servable_block(&rival.hash()).unwrap(), None);
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

//! Bodies that are damaged: named, wanted again, and put back, while everything else goes on.

use std::path::Path;

use chain::audit::AuditError;
use chain::block::CheckedBlock;
use chain::execute::Delta;
use chain::ledger::{Input, Ledger, OpenError, Output, PeerId, TipChange};
use chain::mempool::DropReason;
use chain::params::Network;
use chain::rules::isolation::checked_genesis;
use chain::store::{Archive, Body, SqliteStore};
use tests::chains::{Given, Grower, account, clock, free_network, options, signing_key, unsigned};

use crate::{BLOCK_LOG, audited, borders, flip, input, lived, open, straight};

/// As `graven reindex --skip-damaged` does.
pub(super) fn open_leaving_out(
    folder: &Path,
    network: &Network,
) -> Result<Ledger<SqliteStore>, OpenError> {
    let genesis = checked_genesis(network);
    let mut store = SqliteStore::open(folder, network, &genesis, &Delta::default())?;
    store.leave_out_damaged();
    Ledger::open(options(network), store, clock(network, 0), &mut |_| ())
}

/// Opens a folder and hears what the ledger has to say at the start.
fn started(folder: &Path, network: &Network) -> (Ledger<SqliteStore>, Vec<Output>) {
    let mut ledger = open(folder, network).unwrap();
    let outputs = std::iter::from_fn(|| ledger.poll()).collect();
    (ledger, outputs)
}

/// Spoils the record of this place in the log.
fn spoil(folder: &Path, number: usize) {
    let log = folder.join(BLOCK_LOG);
    flip(&log, borders(&log)[number] + 100);
}

fn block(given: &Given) -> &CheckedBlock {
    match given {
        Given::Block(block) => block,
        _ => panic!("not a block"),
    }
}

fn handle(ledger: &mut Ledger<SqliteStore>, network: &Network, input: Input) -> Vec<Output> {
    ledger.handle(clock(network, 1000), input).unwrap();
    std::iter::from_fn(|| ledger.poll()).collect()
}

/// The hashes last wanted.
fn wanted(outputs: &[Output]) -> Vec<chain::Hash> {
    let mut lists = outputs.iter().filter_map(|output| match output {
        Output::Wanted(list) => Some(list.iter().map(|point| point.hash).collect()),
        _ => None,
    });
    lists.next_back().expect("the list was said")
}

fn change(outputs: &[Output]) -> &TipChange {
    let found = outputs.iter().find_map(|output| match output {
        Output::TipChanged(change) => Some(change),
        _ => None,
    });
    found.expect("the tip moved")
}

#[test]
fn a_damaged_body_is_wanted_until_it_is_back_and_a_rebuilt_index_finds_the_good_copy() {
    let network = free_network();
    let given = straight(&network, 6);
    let folder = lived(&network, &given);
    spoil(folder.path(), 2);
    let (hash, bytes) = (block(&given[2]).hash(), block(&given[2]).bytes().to_vec());
    let (mut ledger, _) = started(folder.path(), &network);
    assert!(matches!(ledger.store().body(&hash).unwrap(), Body::Damaged(_)));
    let outputs = handle(&mut ledger, &network, Input::Unreadable { hash });
    assert_eq!(wanted(&outputs), [hash]);
    assert_eq!(ledger.store().body(&hash).unwrap(), Body::Missing);
    drop(ledger);
    let result = audited(folder.path(), &network);
    let Err(AuditError::Body { height: 3, hash: named, damage: None }) = result else {
        panic!("{result:?}");
    };
    assert_eq!(named, hash);
    // It is still wanted after a start, and other blocks are taken meanwhile.
    let (mut ledger, outputs) = started(folder.path(), &network);
    assert_eq!(wanted(&outputs), [hash]);
    let outputs = handle(&mut ledger, &network, input(given[2].clone(), 1));
    assert_eq!(wanted(&outputs), []);
    assert_eq!(ledger.store().body(&hash).unwrap(), Body::Here(bytes.clone()));
    drop(ledger);
    assert_eq!(audited(folder.path(), &network).unwrap().height, 6);
    // Of the log alone: the damaged record is left out, and the copy at the end counts.
    SqliteStore::remove_index(folder.path()).unwrap();
    assert!(open(folder.path(), &network).is_err(), "damage is not passed over in silence");
    SqliteStore::remove_index(folder.path()).unwrap();
    let ledger = open_leaving_out(folder.path(), &network).unwrap();
    assert_eq!(ledger.store().body(&hash).unwrap(), Body::Here(bytes));
    assert_eq!(ledger.store().tip().unwrap().hash, block(&given[5]).hash());
    drop(ledger);
    assert_eq!(audited(folder.path(), &network).unwrap().height, 6);
}

#[test]
fn what_is_not_damaged_is_not_fetched_again() {
    let network = free_network();
    let given = straight(&network, 3);
    let folder = lived(&network, &given);
    let (mut ledger, _) = started(folder.path(), &network);
    for hash in [block(&given[1]).hash(), chain::Hash([7; 32]), network.genesis_hash()] {
        let before = ledger.store().body(&hash).unwrap();
        let outputs = handle(&mut ledger, &network, Input::Unreadable { hash });
        assert!(!outputs.iter().any(|output| matches!(output, Output::Wanted(_))));
        assert_eq!(ledger.store().body(&hash).unwrap(), before);
    }
}

/// Its peers are on the other branch too, and give nobody a block of this one.
#[test]
fn a_damaged_block_is_taken_off_the_chain_without_its_body() {
    let network = free_network();
    let mut grower = Grower::new(&network);
    let below = grower.grow(account(0), &[]);
    let fork = grower.place.clone();
    let key = signing_key(0);
    let put =
        kv::Operation::Put { key: b"k", value: b"v", expect: kv::Expect::Absent, policy: None };
    let lost = grower.sign(&key, unsigned(&key, 0, &[put]));
    let damaged = grower.grow(account(0), std::slice::from_ref(&lost));
    grower.place = fork;
    let rivals = [(); 2].map(|()| grower.grow(account(1), &[]));
    let folder = lived(&network, &[Given::Block(below), Given::Block(damaged.clone())]);
    spoil(folder.path(), 1);
    let (mut ledger, _) = started(folder.path(), &network);
    let from = PeerId(1);
    handle(&mut ledger, &network, Input::Block { from, block: rivals[0].clone() });
    let outputs = handle(&mut ledger, &network, Input::Block { from, block: rivals[1].clone() });
    let change = change(&outputs);
    assert_eq!(change.tip.hash, rivals[1].hash());
    let reverted: Vec<_> = change.reverted.iter().map(|block| (block.hash, block.height)).collect();
    assert_eq!(reverted, [(damaged.hash(), 2)]);
    assert!(change.reverted[0].block.is_none());
    let dropped = outputs.iter().find_map(|output| match output {
        Output::Dropped { txid, reason } => Some((*txid, *reason)),
        _ => None,
    });
    assert_eq!(dropped, Some((lost.txid(), DropReason::Lost)));
    assert_eq!(ledger.store().inclusion(&lost.txid()).unwrap(), None);
    assert_eq!(ledger.store().body(&damaged.hash()).unwrap(), Body::Unknown);
    // It comes back like any block of a branch, and can be executed once more.
    handle(&mut ledger, &network, Input::Block { from, block: damaged.clone() });
    assert_eq!(ledger.store().body(&damaged.hash()).unwrap().here().unwrap(), damaged.bytes());
    drop(ledger);
    assert_eq!(audited(folder.path(), &network).unwrap().height, 3);
}

/// Before it can be executed.
#[test]
fn a_damaged_block_of_a_branch_is_fetched_when_the_branch_becomes_the_best() {
    let network = free_network();
    let mut grower = Grower::new(&network);
    let genesis = grower.place.clone();
    let main = grower.grow(account(0), &[]);
    grower.place = genesis;
    let branch = [(); 2].map(|()| grower.grow(account(1), &[]));
    let folder = lived(&network, &[Given::Block(main.clone()), Given::Block(branch[0].clone())]);
    spoil(folder.path(), 1);
    let (mut ledger, _) = started(folder.path(), &network);
    let from = PeerId(1);
    let outputs = handle(&mut ledger, &network, Input::Block { from, block: branch[1].clone() });
    assert_eq!(wanted(&outputs), [branch[0].hash()]);
    assert_eq!(ledger.store().tip().unwrap().hash, main.hash(), "the chain does not shrink");
    let outputs = handle(&mut ledger, &network, Input::Block { from, block: branch[0].clone() });
    assert_eq!(change(&outputs).tip.hash, branch[1].hash());
    drop(ledger);
    assert_eq!(audited(folder.path(), &network).unwrap().height, 2);
}

//! Commits on another thread: what is under way is seen by the ledger, and by nobody else.

#![expect(clippy::disallowed_methods, reason = "the thread that writes is the test's own")]

use std::thread;
use std::time::Duration;

use chain::ledger::{Input, Ledger, Output};
use chain::params::Network;
use chain::store::{Archive, IndexWriter, SqliteArchive, SqliteStore, Store};
use crossbeam::channel::Receiver;
use proptest::prelude::*;
use tempfile::TempDir;
use tests::chains::{
    Given, Grower, account, clock, free_network, memory_ledger, options, signing_key, story,
    unsigned,
};

use crate::{assert_alike, audited, config, dump, input, lived, open, straight};

/// Heights of the tips that it says.
fn tips<S: Store>(ledger: &mut Ledger<S>) -> Vec<u32> {
    let outputs = std::iter::from_fn(|| ledger.poll());
    let tips = outputs.filter_map(|output| match output {
        Output::TipChanged(change) => Some(change.tip.height),
        _ => None,
    });
    tips.collect()
}

/// A ledger whose commits happen when the writer takes a step.
fn begin(network: &Network) -> (TempDir, Ledger<SqliteStore>, IndexWriter, Receiver<()>) {
    let folder = TempDir::new().unwrap();
    let mut ledger = open(folder.path(), network).unwrap();
    let (writer, ended) = ledger.store_mut().write_elsewhere().unwrap();
    tips(&mut ledger);
    (folder, ledger, writer, ended)
}

fn take(ledger: &mut Ledger<SqliteStore>, network: &Network, given: &Given) {
    let now = clock(network, 1000);
    ledger.take(now, input(given.clone(), 1)).unwrap();
    ledger.commit(now).unwrap();
}

#[test]
fn a_block_is_said_and_shown_when_its_commit_has_ended_and_not_before() {
    let network = free_network();
    let given = straight(&network, 3);
    let (folder, mut ledger, writer, ended) = begin(&network);
    let archive = SqliteArchive::open(folder.path(), &network).unwrap();
    let shown = || archive.tip().unwrap().height;

    take(&mut ledger, &network, &given[0]);
    take(&mut ledger, &network, &given[1]);
    assert_eq!(ledger.store().tip().unwrap().height, 2);
    assert_eq!((tips(&mut ledger), shown()), (vec![], 0));
    assert!(ended.try_recv().is_err());

    assert!(writer.step());
    ended.recv().unwrap();
    take(&mut ledger, &network, &given[2]);
    assert_eq!((tips(&mut ledger), shown()), (vec![1], 1), "the first one, whose commit began");

    assert!(writer.step());
    ledger.settle().unwrap();
    assert_eq!((tips(&mut ledger), shown()), (vec![2, 3], 3));
    drop(ledger);
    assert!(!writer.step(), "the store is gone");
}

/// Thirteen blocks of a megabyte and a half: the rows of twelve are more than is held back, once.
fn heavy_blocks(network: &Network) -> Vec<Given> {
    let mut grower = Grower::new(network);
    let key = signing_key(0);
    let value = vec![7; 60_000];
    let mut sequence = 0..;
    let blocks = std::iter::repeat_with(|| {
        let puts = sequence.by_ref().take(25).map(|sequence: u64| {
            let name = sequence.to_be_bytes();
            let put = kv::Operation::Put {
                key: &name,
                value: &value,
                expect: kv::Expect::Any,
                policy: None,
            };
            grower.sign(&key, unsigned(&key, sequence, &[put]))
        });
        let puts: Vec<_> = puts.collect();
        Given::Block(grower.grow(account(0), &puts))
    });
    blocks.take(13).collect()
}

/// While a disk is slow there is always one under way, and nothing would be said.
#[test]
fn a_commit_of_too_many_rows_does_not_hide_that_the_one_before_has_ended() {
    let network = free_network();
    let blocks = heavy_blocks(&network);
    let (folder, mut ledger, writer, _) = begin(&network);
    let now = clock(&network, 1000);
    take(&mut ledger, &network, &blocks[0]);
    assert!(!ledger.store_mut().is_settled().unwrap());
    assert!(writer.step());
    for block in &blocks[1..] {
        ledger.take(now, input(block.clone(), 1)).unwrap();
    }
    assert!(ledger.store_mut().is_settled().unwrap(), "the one that was asked for has ended");
    let archive = SqliteArchive::open(folder.path(), &network).unwrap();
    assert_eq!(archive.tip().unwrap().height, 1, "another one is under way");
    let writing = thread::spawn(move || writer.run());
    ledger.handle(now, Input::Tick).unwrap();
    assert_eq!(tips(&mut ledger), (1..=13).collect::<Vec<_>>());
    drop(ledger);
    writing.join().unwrap();
}

/// It would do nothing while the rows of a large block are written, and nobody would get work.
#[test]
fn a_ledger_does_not_wait_for_a_commit_of_too_many_rows() {
    let network = free_network();
    let blocks = heavy_blocks(&network);
    let (_folder, mut ledger, writer, _) = begin(&network);
    let now = clock(&network, 1000);
    for block in &blocks {
        ledger.take(now, input(block.clone(), 1)).unwrap();
    }
    thread::scope(|scope| {
        let (done, is_done) = crossbeam::channel::bounded(1);
        let ledger = &mut ledger;
        scope.spawn(move || {
            ledger.commit(now).unwrap();
            done.send(()).unwrap();
        });
        let in_time = is_done.recv_timeout(Duration::from_secs(60));
        if in_time.is_err() {
            writer.step();
        }
        in_time.expect("it waited for what nobody writes yet");
    });
    assert_eq!(tips(&mut ledger), Vec::<u32>::new());
    // First what was too much, then the rest.
    assert!(writer.step());
    ledger.commit(now).unwrap();
    assert_eq!(tips(&mut ledger), Vec::<u32>::new());
    assert!(!ledger.store_mut().is_settled().unwrap(), "the rest has begun");
    assert!(writer.step());
    ledger.commit(now).unwrap();
    assert_eq!(tips(&mut ledger), (1..=13).collect::<Vec<_>>());
}

#[test]
fn without_the_thread_that_writes_the_ledger_fails() {
    let network = free_network();
    let given = straight(&network, 2);
    let (folder, mut ledger, writer, _) = begin(&network);
    take(&mut ledger, &network, &given[0]);
    drop(writer);
    let error = ledger.settle().unwrap_err();
    assert!(error.to_string().contains("has ended"), "{error}");
    let now = clock(&network, 1000);
    assert!(ledger.handle(now, input(given[1].clone(), 1)).is_err(), "it does nothing more");
    drop(ledger);
    let ledger = open(folder.path(), &network).unwrap();
    assert_eq!(ledger.store().tip().unwrap().height, 1, "the log had it");
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn memory_and_disk_are_alike_while_commits_are_under_way(seed in any::<u64>()) {
        let network = free_network();
        let given = story(&network, seed, 40);
        let mut memory = memory_ledger(options(&network));
        let (folder, mut disk, writer, _) = begin(&network);
        let writing = thread::spawn(move || writer.run());
        tips(&mut memory);
        let mut said = (Vec::new(), Vec::new());
        for (number, one) in given.iter().enumerate() {
            memory.handle(clock(&network, 1000), input(one.clone(), 1)).unwrap();
            take(&mut disk, &network, one);
            assert_alike(memory.store(), disk.store(), &given[..=number]);
            said.0.extend(tips(&mut memory));
            said.1.extend(tips(&mut disk));
        }
        disk.handle(clock(&network, 1000), Input::Tick).unwrap();
        said.1.extend(tips(&mut disk));
        disk.flush().unwrap();
        prop_assert_eq!(said.0, said.1);
        drop(disk);
        writing.join().unwrap();
        prop_assert!(audited(folder.path(), &network).is_ok());
        let expected = lived(&network, &given);
        prop_assert_eq!(dump(expected.path(), &network), dump(folder.path(), &network));
    }
}

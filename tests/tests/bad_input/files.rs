//! Damaged files: what can be rebuilt is, what cannot is named and left as it is.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::node::{Client, Node, Setup, graven};

use super::support::{PROGRAM, assert_fails, assert_well, run_to_end, start, wait_for_log};

/// Blocks in the log of [`stopped`], after those before them.
const PUTS: usize = 6;

const LOG: &str = "blocks.log";
const INDEX: &str = "index.sqlite";

/// A stopped node with some blocks of 1000 bytes and more.
fn stopped(folder: &Path) -> Setup {
    let node = start(folder);
    let mut client = node.client();
    for number in 0..PUTS {
        let value = format!("{number}").repeat(1000);
        client.ask(&format!("PUT key/{number} {value} WAIT 1")).expect("a new node writes");
    }
    let (setup, status, _) = node.terminate();
    assert!(status.success(), "{status}");
    setup
}

fn assert_complete(client: &mut Client) {
    for number in 0..PUTS {
        let read = client.ask(&format!("RETRIEVE key/{number}")).expect("nothing is lost");
        assert_eq!(read["value"], format!("{number}").repeat(1000));
    }
}

/// A command on the folder of a stopped node.
fn upkeep(setup: &Setup, name: &str) -> Command {
    let mut command = graven(Path::new(PROGRAM));
    command.arg(name).arg("--data").arg(&setup.data);
    command
}

/// Removes the index and what SQLite keeps beside it.
fn remove_index(setup: &Setup) {
    for suffix in ["", "-wal", "-shm"] {
        let path = setup.data.join(format!("{INDEX}{suffix}"));
        std::fs::remove_file(path).ok(); // some are not there
    }
}

/// Where the middle record of a block log starts, as its lengths say.
fn middle_record(log: &[u8]) -> usize {
    let mut starts = vec![8 + 32];
    while let Some(head) = starts.last().and_then(|start| log.get(*start..start + 4)) {
        let length = u32::from_le_bytes(head.try_into().expect("four bytes"));
        starts.push(starts[starts.len() - 1] + 8 + length as usize);
    }
    assert!(starts.len() > PUTS, "the log has too few records: {starts:?}");
    starts[starts.len() / 2]
}

/// Changes a byte in the middle of the block log; returns the record's offset and the new bytes.
fn damage_log(path: &Path) -> (usize, Vec<u8>) {
    let mut bytes = std::fs::read(path).expect("a stopped node leaves a log");
    let offset = middle_record(&bytes);
    bytes[offset + 100] ^= 1;
    std::fs::write(path, &bytes).expect("the test's folder can be written");
    (offset, bytes)
}

#[test]
fn a_block_log_damaged_in_its_middle_is_refused_and_left_as_it_is() {
    let temp = tempfile::tempdir().unwrap();
    let setup = stopped(temp.path());
    let path = setup.data.join(LOG);
    let (offset, damaged) = damage_log(&path);
    let place = format!("{}: damaged at offset {offset}", path.display());
    let named = format!("damaged at offset {offset} of blocks.log");
    assert_fails(&mut upkeep(&setup, "verify-chain"), 1, &[&named, "checksum"]);
    remove_index(&setup);
    assert_fails(&mut setup.command(), 1, &[&place, "whole record"]);
    assert_fails(&mut upkeep(&setup, "reindex"), 1, &[&place, "whole record"]);
    assert!(std::fs::read(&path).unwrap() == damaged, "the log was changed");
    let mut repaired = damaged;
    repaired[offset + 100] ^= 1;
    std::fs::write(&path, repaired).unwrap();
    let mut node = setup.start();
    assert_complete(&mut node.client());
    assert_well(&mut node);
}

#[test]
fn a_block_log_that_is_shorter_than_its_index_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let setup = stopped(temp.path());
    let path = setup.data.join(LOG);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.truncate(middle_record(&bytes));
    std::fs::write(&path, &bytes).unwrap();
    let place = format!("{}: damaged at offset {}", path.display(), bytes.len());
    assert_fails(&mut setup.command(), 1, &[&place]);
    assert!(std::fs::read(&path).unwrap() == bytes, "the log was changed");
}

#[test]
fn an_index_of_a_newer_program_is_refused_and_left_as_it_is() {
    let temp = tempfile::tempdir().unwrap();
    let setup = stopped(temp.path());
    let path = setup.data.join(INDEX);
    let index = rusqlite::Connection::open(&path).unwrap();
    let ours: u32 = index.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    index.pragma_update(None, "user_version", ours + 1).unwrap();
    drop(index);
    let newer = format!("{}: format version {} is newer", path.display(), ours + 1);
    assert_fails(&mut setup.command(), 1, &[&newer]);
    let index = rusqlite::Connection::open(&path).unwrap();
    index.pragma_update(None, "user_version", ours).unwrap();
    drop(index);
    assert_complete(&mut setup.start().client());
}

#[test]
fn what_is_no_block_log_is_refused_and_left_as_it_is() {
    let temp = tempfile::tempdir().unwrap();
    let setup = stopped(temp.path());
    let path = setup.data.join(LOG);
    let other = b"#!/bin/sh\n# Somebody's file, which only has the same name as the log.\n";
    std::fs::write(&path, other).unwrap();
    assert_fails(&mut setup.command(), 1, &[&path.display().to_string(), "not a graven log"]);
    assert_eq!(std::fs::read(&path).unwrap(), other);
}

#[test]
fn a_torn_tail_is_cut_off_and_told() {
    let temp = tempfile::tempdir().unwrap();
    let setup = stopped(temp.path());
    let path = setup.data.join(LOG);
    let whole = std::fs::metadata(&path).unwrap().len();
    let mut log = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    log.write_all(&[&1000_u32.to_le_bytes()[..], &[0x55; 300]].concat()).unwrap();
    drop(log);
    let mut node = setup.start();
    wait_for_log(&node, "cut off an incomplete record");
    wait_for_log(&node, &format!("offset={whole} dropped=304"));
    assert_complete(&mut node.client());
    assert_well(&mut node);
    let (setup, ..) = node.terminate();
    let audit = run_to_end(&mut upkeep(&setup, "verify-chain"));
    assert!(audit.status.success(), "{}", String::from_utf8_lossy(&audit.stderr));
}

#[test]
fn a_damaged_address_book_is_begun_anew_and_told() {
    let temp = tempfile::tempdir().unwrap();
    let mut setup = stopped(temp.path());
    let book = setup.data.join("peers.book");
    std::fs::write(&book, [0xff; 1000]).unwrap();
    setup.peers.clear();
    let mut node = setup.start();
    wait_for_log(&node, "the address book cannot be read and is begun anew");
    assert_well(&mut node);
    node.terminate();
    let bytes = std::fs::read(&book).unwrap();
    assert!(net::AddressBook::decode(&bytes).unwrap().is_empty());
}

#[test]
fn lines_that_are_no_bans_are_told_and_the_others_hold() {
    let temp = tempfile::tempdir().unwrap();
    let setup = stopped(temp.path());
    let text = b"\xff\xfe\n203.0.113.0/24 99999999999\n203.0.113.0/99 1\n";
    std::fs::write(setup.data.join("bans.txt"), text).unwrap();
    let mut node = setup.start();
    wait_for_log(&node, "these lines are no bans and are left out");
    wait_for_log(&node, "lines=[1, 3]");
    let bans = node.ask("BANS").unwrap();
    assert_eq!((bans.as_array().unwrap().len(), &bans[0]["banned"]), (1, &"203.0.113.0/24".into()));
    assert_well(&mut node);
}

#[test]
fn an_address_book_of_an_older_version_is_begun_anew_and_told() {
    let temp = tempfile::tempdir().unwrap();
    let setup = stopped(temp.path());
    std::fs::write(setup.data.join("peers.book"), [1, 0]).unwrap();
    let mut node = setup.start();
    wait_for_log(&node, "address book has version 1, this program knows 2");
    assert_well(&mut node);
}

/// Asserts that a node refuses its index until it is rebuilt, and then has lost nothing.
fn assert_rebuildable(setup: &Setup) {
    let path = setup.data.join(INDEX).display().to_string();
    assert_fails(&mut setup.command(), 1, &[&path, "graven reindex"]);
    let rebuilt = run_to_end(&mut upkeep(setup, "reindex"));
    assert!(rebuilt.status.success(), "{}", String::from_utf8_lossy(&rebuilt.stderr));
    let mut node: Node = setup.start();
    assert_complete(&mut node.client());
    assert_well(&mut node);
}

fn index_of(setup: &Setup) -> PathBuf {
    let path = setup.data.join(INDEX);
    let bytes = std::fs::read(&path).expect("a stopped node leaves an index");
    remove_index(setup);
    std::fs::write(&path, bytes).expect("the test's folder can be written");
    path
}

#[test]
fn an_index_of_garbage_is_refused_until_it_is_rebuilt() {
    let temp = tempfile::tempdir().unwrap();
    let setup = stopped(temp.path());
    std::fs::write(index_of(&setup), [0x55; 100_000]).unwrap();
    assert_rebuildable(&setup);
}

#[test]
fn an_index_with_damaged_pages_is_refused_until_it_is_rebuilt() {
    let temp = tempfile::tempdir().unwrap();
    let setup = stopped(temp.path());
    let path = index_of(&setup);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096..].fill(0x55); // all pages but the first
    std::fs::write(&path, bytes).unwrap();
    assert_rebuildable(&setup);
}

#[test]
fn an_empty_or_missing_index_is_rebuilt_at_once() {
    let temp = tempfile::tempdir().unwrap();
    let setup = stopped(temp.path());
    std::fs::write(index_of(&setup), []).unwrap();
    assert_complete(&mut setup.start().client());
    remove_index(&setup);
    assert_complete(&mut setup.start().client());
}

#[test]
fn a_node_key_of_the_wrong_length_is_refused_and_left_as_it_is() {
    let temp = tempfile::tempdir().unwrap();
    let setup = stopped(temp.path());
    let path = setup.data.join("node.key");
    std::fs::write(&path, "short").unwrap();
    assert_fails(&mut setup.command(), 1, &["node.key", "32 bytes"]);
    assert_eq!(std::fs::read(&path).unwrap(), b"short");
}

#[test]
fn a_wallet_that_is_none_is_refused_and_left_as_it_is() {
    let temp = tempfile::tempdir().unwrap();
    let setup = stopped(temp.path());
    let path = setup.data.join("wallet.key");
    std::fs::write(&path, "not a key").unwrap();
    assert_fails(&mut setup.command(), 1, &["wallet"]);
    assert_eq!(std::fs::read(&path).unwrap(), b"not a key");
}

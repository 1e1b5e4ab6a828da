//! Damage that SQLite has no checksum for, and holes in a log.

use std::fs;

use chain::audit::AuditError;
use chain::ledger::OpenError;
use chain::store::StoreError;
use kv::Expect;
use rusqlite::Connection;
use tests::chains::{Given, Grower, free_network, signing_key, unsigned};

use crate::{BLOCK_LOG, INDEX, PENDING_LOG, audited, borders, flip, lived, open, straight};

/// The power went while two writes of clients were on their way to the disk, and only the second
/// one arrived: the node did not start any more.
#[test]
fn a_hole_in_the_pending_log_costs_the_records_in_it_alone() {
    let network = free_network();
    let mut grower = Grower::new(&network);
    let delete = kv::Operation::Delete { key: b"k", expect: Expect::Any };
    let waiting = [0, 1, 2].map(|number| {
        let key = signing_key(number);
        grower.sign(&key, unsigned(&key, 0, &[delete]))
    });
    let folder = lived(&network, &waiting.clone().map(Given::Transaction));
    let log = folder.path().join(PENDING_LOG);
    let mut bytes = fs::read(&log).unwrap();
    let borders = borders(&log);
    let [start, end] = [borders[1], borders[2]].map(|at| usize::try_from(at).unwrap());
    bytes[start..end].fill(0);
    fs::write(&log, bytes).unwrap();
    for start in ["the first", "the second"] {
        let ledger = open(folder.path(), &network).unwrap();
        let left = waiting.each_ref().map(|tx| ledger.pool().get(&tx.txid()).is_some());
        assert_eq!(left, [true, false, true], "{start} start");
    }
}

/// It was given to peers as another block, and taking it off the chain was a panic.
#[test]
fn a_block_whose_row_leads_to_another_record_is_refused() {
    let network = free_network();
    let folder = lived(&network, &straight(&network, 4));
    let borders = borders(&folder.path().join(BLOCK_LOG));
    let (second, third) = (borders[1], borders[2]);
    assert_eq!(second - 40, third - second, "records of one length");
    let index = Connection::open(folder.path().join(INDEX)).unwrap();
    let swap = "UPDATE block SET offset = ?1 WHERE offset = ?2";
    assert_eq!(index.execute(swap, [second, third].map(u64::cast_signed)).unwrap(), 1);
    drop(index);
    let result = audited(folder.path(), &network);
    assert!(
        matches!(result, Err(AuditError::Store(StoreError::Inconsistent { .. }))),
        "{result:?}"
    );
}

/// The tree of headers was built with it.
#[test]
fn a_header_that_is_not_that_of_its_hash_is_refused() {
    let network = free_network();
    let folder = lived(&network, &straight(&network, 4));
    let index = Connection::open(folder.path().join(INDEX)).unwrap();
    let change = "UPDATE block SET header = (SELECT header FROM block WHERE arrival = 1)
                  WHERE arrival = 2";
    assert_eq!(index.execute(change, []).unwrap(), 1);
    drop(index);
    let result = open(folder.path(), &network).map(|_| ());
    let is_named = matches!(&result, Err(OpenError::Store(StoreError::Inconsistent { path, .. }))
        if *path == folder.path().join(INDEX));
    assert!(is_named, "{result:?}");
}

/// Blocks are found by their hashes through a tree of their own, which nobody compared.
#[test]
fn an_audit_finds_a_block_that_is_not_found_by_its_hash() {
    let network = free_network();
    let folder = lived(&network, &straight(&network, 6));
    let path = folder.path().join(INDEX);
    let index = Connection::open(&path).unwrap();
    let hash: Vec<u8> =
        index.query_row("SELECT hash FROM chain WHERE height = 3", [], |row| row.get(0)).unwrap();
    let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_chain_1'";
    let page: u32 = index.query_row(root, [], |row| row.get(0)).unwrap();
    drop(index);
    let start = (usize::try_from(page).unwrap() - 1) * 4096;
    let bytes = fs::read(&path).unwrap();
    let inside = bytes[start..start + 4096].windows(32).position(|window| window == hash).unwrap();
    // Its last byte, so that the order of the tree is whole.
    flip(&path, (start + inside + 31) as u64);
    let result = audited(folder.path(), &network);
    assert!(matches!(result, Err(AuditError::Index { height: 3, .. })), "{result:?}");
}

/// A power cut at the very first start left a head that was never written, and no start after it
/// succeeded.
#[test]
fn a_log_of_a_head_of_noise_is_begun_anew() {
    let network = free_network();
    for noise in [0, 0xa5] {
        let folder = lived(&network, &[]);
        for log in [BLOCK_LOG, PENDING_LOG] {
            fs::write(folder.path().join(log), [noise; 40]).unwrap();
        }
        drop(open(folder.path(), &network).unwrap());
        assert!(fs::read(folder.path().join(BLOCK_LOG)).unwrap().starts_with(b"GRVNLOG"));
    }
}

//! The commitment on disk: what readers can show, and what happens when it is damaged or missing.

use std::fs;
use std::os::unix::fs::FileExt;

use chain::audit::AuditError;
use chain::block::CheckedBlock;
use chain::ledger::{Input, OpenError, Output, PeerId};
use chain::params::{Network, Subsidy};
use chain::store::{Archive, SqliteArchive, SqliteStore, StoreError};
use kv::state::{Head, head_row};
use rusqlite::Connection;
use tests::chains::{Given, Grower, account, clock, free_network, signing_key, unsigned};

use crate::{BLOCK_LOG, INDEX, PENDING_LOG, audited, lived, open, straight};

const KEYS: u8 = 200;

fn put(key: &[u8]) -> kv::Operation<'_> {
    kv::Operation::Put { key, value: b"v", expect: kv::Expect::Any, policy: None }
}

/// A block that writes many keys, and one that writes one of them.
fn two_blocks(network: &Network) -> [CheckedBlock; 2] {
    let mut grower = Grower::new(network);
    let key = signing_key(0);
    let keys: Vec<[u8; 1]> = (0..KEYS).map(|key| [key]).collect();
    let puts: Vec<_> = keys.iter().map(|key| put(key)).collect();
    let many = grower.sign(&key, unsigned(&key, 0, &puts));
    let one = grower.sign(&key, unsigned(&key, 1, &puts[..1]));
    [grower.grow(account(0), &[many]), grower.grow(account(0), &[one])]
}

#[test]
fn a_reader_shows_keys_to_who_knows_the_root() {
    let network = free_network();
    let blocks = two_blocks(&network);
    let folder = lived(&network, &blocks.clone().map(Given::Block));
    let root = blocks[1].coinbase().state_root;
    let archive = SqliteArchive::open(folder.path(), &network).unwrap();
    archive
        .snapshot(|archive| {
            for key in 0..=KEYS {
                let row = head_row(&[key]);
                let value = chain::execute::View::get(archive, &row)?;
                let witness = archive.witness(&row)?;
                assert_eq!(witness.root(&row, value.as_deref()), Ok(root));
                let head = value.map(|bytes| Head::decode(&bytes).unwrap());
                assert_eq!(
                    head.map(|head| head.version),
                    match key {
                        0 => Some(2),
                        KEYS => None,
                        _ => Some(1),
                    }
                );
            }
            Ok(())
        })
        .unwrap();
}

/// The page was damaged on this node's disk; the block is good, and so is the peer who sent it.
#[test]
fn a_damaged_page_stops_the_node_and_is_not_held_against_a_block() {
    let network = free_network();
    let [first, second] = two_blocks(&network);
    let folder = lived(&network, &[Given::Block(first)]);
    let index = Connection::open(folder.path().join(INDEX)).unwrap();
    let read = "SELECT prefix, slots FROM page WHERE length(prefix) = 1";
    let mut statement = index.prepare(read).unwrap();
    let pages = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let pages: Vec<(Vec<u8>, Vec<u8>)> = pages.map(Result::unwrap).collect();
    assert!(pages.len() > 10);
    for (prefix, mut slots) in pages {
        *slots.last_mut().unwrap() ^= 1; // of a row's value or a subtree's hash
        let changed = "UPDATE page SET slots = ?1 WHERE prefix = ?2";
        assert_eq!(index.execute(changed, (slots, prefix)).unwrap(), 1);
    }
    let mut ledger = open(folder.path(), &network).unwrap();
    let input = Input::Block { from: PeerId(1), block: second.clone() };
    let result = ledger.handle(clock(&network, 1000), input);
    assert!(matches!(&result, Err(StoreError::Inconsistent { .. })), "{result:?}");
    assert!(result.unwrap_err().to_string().contains("graven reindex"));
    let outputs: Vec<_> = std::iter::from_fn(|| ledger.poll()).collect();
    assert!(!outputs.iter().any(|output| matches!(output, Output::PeerFault { .. })));
    drop(ledger);
    let result = audited(folder.path(), &network);
    assert!(matches!(&result, Err(AuditError::Index { what, .. }) if what.contains("page")));
    SqliteStore::remove_index(folder.path()).unwrap();
    let ledger = open(folder.path(), &network).unwrap();
    assert_eq!(ledger.store().tip().unwrap().hash, second.hash(), "it was in the log already");
}

/// Its root is that of the page: no row's way there was looked at.
#[test]
fn a_damaged_first_page_is_not_held_against_a_block_that_changes_no_row() {
    // No reward, which would change an account.
    let free = free_network();
    let network = Network { subsidy: Subsidy { initial: 0, ..free.subsidy }, ..free };
    let mut grower = Grower::new(&network);
    let key = signing_key(0);
    let write = grower.sign(&key, unsigned(&key, 0, &[put(b"k")]));
    let first = grower.grow(account(0), &[write]);
    let empty = grower.grow(account(0), &[]);
    assert_eq!(first.coinbase().state_root, empty.coinbase().state_root);
    let folder = lived(&network, &[Given::Block(first)]);
    let index = Connection::open(folder.path().join(INDEX)).unwrap();
    let read = "SELECT slots FROM page WHERE length(prefix) = 0";
    let mut slots: Vec<u8> = index.query_row(read, [], |row| row.get(0)).unwrap();
    *slots.last_mut().unwrap() ^= 1;
    let changed = "UPDATE page SET slots = ?1 WHERE length(prefix) = 0";
    assert_eq!(index.execute(changed, [slots]).unwrap(), 1);
    let mut ledger = open(folder.path(), &network).unwrap();
    let input = Input::Block { from: PeerId(1), block: empty };
    let result = ledger.handle(clock(&network, 1000), input);
    assert!(matches!(&result, Err(StoreError::Inconsistent { .. })), "{result:?}");
    let outputs: Vec<_> = std::iter::from_fn(|| ledger.poll()).collect();
    assert!(!outputs.iter().any(|output| matches!(output, Output::PeerFault { .. })));
}

#[test]
fn a_folder_of_a_chain_without_state_roots_is_refused_with_what_to_do() {
    let network = free_network();
    for old in [BLOCK_LOG, PENDING_LOG] {
        let folder = lived(&network, &straight(&network, 2));
        let path = folder.path().join(old);
        let log = fs::OpenOptions::new().write(true).open(&path).unwrap();
        log.write_all_at(b"GRVNLOG1", 0).unwrap();
        let before = fs::read(&path).unwrap();
        for index_too in [false, true] {
            if index_too {
                SqliteStore::remove_index(folder.path()).unwrap();
            }
            match open(folder.path(), &network) {
                Err(OpenError::Store(error @ StoreError::NoStateRoots { .. })) => {
                    let text = error.to_string();
                    for word in [old, "blocks.log", "pending.log", "index.sqlite", "wallet.key"] {
                        assert!(text.contains(word), "{text}");
                    }
                }
                other => panic!("{:?}", other.err()),
            }
        }
        assert_eq!(fs::read(&path).unwrap(), before, "nothing was touched");
    }
}

#[test]
fn an_index_from_before_there_were_pages_is_refused_and_can_be_rebuilt() {
    let network = free_network();
    let folder = lived(&network, &straight(&network, 2));
    let index = Connection::open(folder.path().join(INDEX)).unwrap();
    index.execute_batch("DROP TABLE page; PRAGMA user_version = 1").unwrap();
    drop(index);
    let error = open(folder.path(), &network).err().unwrap();
    assert!(error.to_string().contains("graven reindex"), "{error}");
    SqliteStore::remove_index(folder.path()).unwrap();
    assert_eq!(open(folder.path(), &network).unwrap().store().tip().unwrap().height, 2);
}

//! The store on disk under a ledger: what survives, what is rebuilt, what is refused.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod store {
    mod bodies;
    mod damage;
    mod elsewhere;
    mod pending;
    mod pruning;
    mod readers;
    mod roots;
}

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use chain::audit::{AuditError, AuditReport, audit};
use chain::block::CheckedBlock;
use chain::execute::{Delta, Order, Range, Row, StateMachine, View};
use chain::ledger::{Input, Ledger, OpenError, PeerId, RequestId, Source};
use chain::params::Network;
use chain::rules::isolation::{check_headers, checked_genesis};
use chain::store::{Archive, MemoryStore, SqliteArchive, SqliteStore, Store, StoreError};
use kv::KeyValue;
use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;
use tests::chains::{
    Given, Grower, account, clock, free_network, memory_ledger, options, paid_network, signing_key,
    story, unsigned,
};

const BLOCK_LOG: &str = "blocks.log";
const PENDING_LOG: &str = "pending.log";
const INDEX: &str = "index.sqlite";

/// Bytes of a log before its first record, and of a record before its payload.
const LOG_HEAD_BYTES: u64 = 40;
const RECORD_HEAD_BYTES: u64 = 8;

/// A folder whose ledger lived through a story and was dropped without a flush.
fn lived(network: &Network, given: &[Given]) -> TempDir {
    let folder = TempDir::new().unwrap();
    let mut ledger = open(folder.path(), network).unwrap();
    give(&mut ledger, network, given);
    folder
}

fn open(folder: &Path, network: &Network) -> Result<Ledger<SqliteStore>, OpenError> {
    let genesis = checked_genesis(network);
    let store = SqliteStore::open(folder, network, &genesis, &Delta::default())?;
    Ledger::open(options(network), store, clock(network, 0), &mut |_| ())
}

fn give<S: Store>(ledger: &mut Ledger<S>, network: &Network, given: &[Given]) {
    for (number, given) in (1..).zip(given.iter().cloned()) {
        ledger.handle(clock(network, 1000), input(given, number)).unwrap();
        while ledger.poll().is_some() {}
    }
}

/// As a peer or, by a request of this number, a client would hand it in.
fn input(given: Given, number: u64) -> Input {
    let from = PeerId(1);
    match given {
        Given::Headers(headers) => Input::Headers { from, headers },
        Given::Block(block) => Input::Block { from, block },
        Given::Transaction(transaction) => {
            Input::Transaction { source: Source::Client(RequestId(number)), transaction }
        }
    }
}

/// A chain of blocks with a transaction each, in order.
fn straight(network: &Network, count: u64) -> Vec<Given> {
    let mut grower = Grower::new(network);
    let key = signing_key(0);
    let blocks = (0..count).map(|sequence| {
        let put = kv::Operation::Put {
            key: b"k",
            value: b"v",
            expect: kv::Expect::Version(sequence),
            policy: None,
        };
        let transaction = grower.sign(&key, unsigned(&key, sequence, &[put]));
        Given::Block(grower.grow(account(0), &[transaction]))
    });
    blocks.collect()
}

fn dump(folder: &Path, network: &Network) -> String {
    let mut out = Vec::new();
    SqliteArchive::open(folder, network).unwrap().dump(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn rows(view: &dyn View) -> Vec<Row> {
    let range = Range { from: &[], to: &[0xff; 300], order: Order::Ascending, limit: usize::MAX };
    view.range(range).unwrap()
}

fn pages(archive: &dyn Archive) -> Vec<Row> {
    let range = Range { from: &[], to: &[16], order: Order::Ascending, limit: usize::MAX };
    archive.page_range(range).unwrap()
}

fn audited(folder: &Path, network: &Network) -> Result<AuditReport, AuditError> {
    let machine: Arc<dyn StateMachine> = Arc::new(KeyValue);
    let archive = SqliteArchive::open(folder, network)?;
    audit(&archive, network, &machine, &mut |_| ())
}

/// Where the records of a log start, and at last where it ends.
fn borders(log: &Path) -> Vec<u64> {
    let bytes = fs::read(log).unwrap();
    let mut borders = vec![LOG_HEAD_BYTES];
    while let Some(&at) = borders.last()
        && at < bytes.len() as u64
    {
        let head = usize::try_from(at).unwrap();
        let length = u32::from_le_bytes(bytes[head..head + 4].try_into().unwrap());
        borders.push(at + RECORD_HEAD_BYTES + u64::from(length));
    }
    borders
}

fn cut(file: &Path, length: u64) {
    OpenOptions::new().write(true).open(file).unwrap().set_len(length).unwrap();
}

fn flip(file: &Path, offset: u64) {
    let file = OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
}

/// Copies the index as it is now, so that it can be put back behind the log.
fn copy_index(from: &Path, to: &Path) {
    SqliteStore::remove_index(to).unwrap();
    for suffix in ["", "-wal"] {
        let name = format!("{INDEX}{suffix}");
        if from.join(&name).exists() {
            fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
    }
}

/// `PROPTEST_CASES` asks for other than the usual number.
fn config() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    let cases = asked.unwrap_or(24);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn memory_and_disk_end_alike_and_a_drop_loses_nothing(seed in any::<u64>()) {
        let network = free_network();
        let given = story(&network, seed, 40);
        let mut memory = memory_ledger(options(&network));
        give(&mut memory, &network, &given);
        let folder = lived(&network, &given);
        let before = dump(folder.path(), &network);
        let ledger = open(folder.path(), &network).unwrap();
        assert_alike(memory.store(), ledger.store(), &given);
        prop_assert!(audited(folder.path(), &network).is_ok());
        drop(ledger);
        prop_assert_eq!(before, dump(folder.path(), &network));
    }

    #[test]
    fn a_rebuilt_index_is_the_same_to_the_byte(seed in any::<u64>()) {
        let network = free_network();
        let folder = lived(&network, &story(&network, seed, 40));
        let before = dump(folder.path(), &network);
        SqliteStore::remove_index(folder.path()).unwrap();
        drop(open(folder.path(), &network).unwrap());
        prop_assert_eq!(before, dump(folder.path(), &network));
    }

    #[test]
    fn an_index_behind_the_log_catches_up(seed in any::<u64>(), at in 0..1000_usize) {
        let network = free_network();
        let given = story(&network, seed, 30);
        let (first, second) = given.split_at(at * given.len() / 1000);
        let folder = TempDir::new().unwrap();
        let older = TempDir::new().unwrap();
        let mut ledger = open(folder.path(), &network).unwrap();
        give(&mut ledger, &network, first);
        copy_index(folder.path(), older.path());
        give(&mut ledger, &network, second);
        drop(ledger);
        let before = dump(folder.path(), &network);
        copy_index(older.path(), folder.path());
        drop(open(folder.path(), &network).unwrap());
        prop_assert_eq!(before, dump(folder.path(), &network));
    }
}

/// Children that came before their parent were attached in another order than that of the log.
#[test]
fn late_children_of_one_parent_tie_alike_after_a_rebuild() {
    let network = free_network();
    let mut grower = Grower::new(&network);
    let parent = grower.grow(account(0), &[]);
    let place = grower.place.clone();
    let children = [(); 3].map(|()| {
        grower.place = place.clone();
        grower.grow(account(0), &[])
    });
    let linked = |child: &CheckedBlock| {
        let headers = [*parent.header(), *child.header()];
        Given::Headers(check_headers(&network, &headers).unwrap())
    };
    let mut given: Vec<Given> = children.iter().map(linked).collect();
    given.extend(children.iter().rev().cloned().map(Given::Block));
    given.push(Given::Block(parent.clone()));
    let folder = lived(&network, &given);
    let tip = SqliteArchive::open(folder.path(), &network).unwrap().tip().unwrap();
    assert_eq!(tip.hash, children[2].hash(), "its body came first");
    let before = dump(folder.path(), &network);
    SqliteStore::remove_index(folder.path()).unwrap();
    drop(open(folder.path(), &network).unwrap());
    assert_eq!(before, dump(folder.path(), &network));
}

fn assert_alike(memory: &MemoryStore, disk: &SqliteStore, given: &[Given]) {
    assert_eq!(memory.tip().unwrap(), disk.tip().unwrap());
    assert_eq!(memory.main_headers(0, 1000).unwrap(), disk.main_headers(0, 1000).unwrap());
    assert_eq!(rows(memory), rows(disk));
    assert_eq!(pages(memory), pages(disk));
    for given in given {
        if let Given::Block(block) = given {
            for transaction in block.transactions() {
                let txid = transaction.txid();
                assert_eq!(memory.inclusion(&txid).unwrap(), disk.inclusion(&txid).unwrap());
            }
        }
    }
}

#[test]
fn a_torn_last_record_is_cut_off_wherever_it_was_torn() {
    let network = free_network();
    let given = straight(&network, 4);
    let folder = TempDir::new().unwrap();
    let older = TempDir::new().unwrap();
    let mut ledger = open(folder.path(), &network).unwrap();
    give(&mut ledger, &network, &given[..3]);
    copy_index(folder.path(), older.path());
    let before = dump(folder.path(), &network);
    give(&mut ledger, &network, &given[3..]);
    drop(ledger);
    let log = folder.path().join(BLOCK_LOG);
    let whole = fs::read(&log).unwrap();
    let [start, end] = borders(&log)[3..] else { panic!("four records") };
    for length in (start..end).step_by(7).chain([start + 1, start + 8, end - 1]) {
        fs::write(&log, &whole).unwrap();
        cut(&log, length);
        copy_index(older.path(), folder.path());
        let ledger = open(folder.path(), &network).unwrap();
        assert_eq!(ledger.store().tip().unwrap().height, 3);
        drop(ledger);
        assert_eq!(fs::metadata(&log).unwrap().len(), start);
        assert_eq!(dump(folder.path(), &network), before);
    }
}

#[test]
fn a_log_shorter_than_its_index_is_refused_by_name() {
    let network = free_network();
    let folder = lived(&network, &straight(&network, 3));
    let log = folder.path().join(BLOCK_LOG);
    let length = fs::metadata(&log).unwrap().len() - 5;
    cut(&log, length);
    match open(folder.path(), &network) {
        Err(OpenError::Store(StoreError::Damaged { path, offset, .. })) => {
            assert_eq!((path, offset), (log, length));
        }
        other => panic!("{:?}", other.err()),
    }
}

#[test]
fn damage_in_the_middle_of_the_log_is_refused_by_file_and_offset() {
    let network = free_network();
    let folder = lived(&network, &straight(&network, 5));
    let log = folder.path().join(BLOCK_LOG);
    let borders = borders(&log);
    for at in [borders[2], borders[2] + 4, borders[2] + 60, borders[3] - 1] {
        let whole = fs::read(&log).unwrap();
        flip(&log, at);
        SqliteStore::remove_index(folder.path()).unwrap();
        match open(folder.path(), &network) {
            Err(OpenError::Store(error @ StoreError::Damaged { offset, .. })) => {
                assert_eq!(offset, borders[2], "{error}");
                let text = error.to_string();
                assert!(text.contains(BLOCK_LOG) && text.contains(&offset.to_string()), "{text}");
            }
            other => panic!("damage at {at}: {:?}", other.err()),
        }
        assert_eq!(fs::metadata(&log).unwrap().len(), whole.len() as u64, "nothing was cut");
        fs::write(&log, &whole).unwrap();
    }
    SqliteStore::remove_index(folder.path()).unwrap();
    assert_eq!(open(folder.path(), &network).unwrap().store().tip().unwrap().height, 5);
}

#[test]
fn another_networks_folder_is_refused() {
    let network = free_network();
    let other = paid_network();
    let folder = lived(&network, &straight(&network, 1));
    let (found, wanted) = (network.genesis_hash(), other.genesis_hash());
    let refused = |error: &StoreError| {
        matches!(error, StoreError::OtherNetwork { found: a, wanted: b, .. }
            if (*a, *b) == (found, wanted))
    };
    match open(folder.path(), &other) {
        Err(OpenError::Store(error)) => assert!(refused(&error), "{error}"),
        other => panic!("{:?}", other.err()),
    }
    let error = SqliteArchive::open(folder.path(), &other).unwrap_err();
    assert!(refused(&error), "{error}");
    fs::remove_file(folder.path().join(BLOCK_LOG)).unwrap();
    fs::remove_file(folder.path().join(PENDING_LOG)).unwrap();
    match open(folder.path(), &other) {
        Err(OpenError::Store(error)) => assert!(refused(&error), "the index alone: {error}"),
        other => panic!("{:?}", other.err()),
    }
}

#[test]
fn what_clients_were_promised_survives_a_drop_and_a_torn_tail() {
    let network = free_network();
    let mut grower = Grower::new(&network);
    let key = signing_key(0);
    let write = kv::Operation::Delete { key: b"k", expect: kv::Expect::Any };
    let waiting: Vec<_> =
        (0..5).map(|sequence| grower.sign(&key, unsigned(&key, sequence, &[write]))).collect();
    let given: Vec<Given> = waiting.iter().cloned().map(Given::Transaction).collect();
    let folder = lived(&network, &given);
    let log = folder.path().join(PENDING_LOG);
    let mut ledger = open(folder.path(), &network).unwrap();
    for transaction in &waiting {
        assert_eq!(ledger.pool().get(&transaction.txid()), Some(transaction));
    }
    let block = grower.grow(account(0), &waiting[..1]);
    give(&mut ledger, &network, &[Given::Block(block)]);
    drop(ledger);
    let last = *borders(&log).iter().rev().nth(1).unwrap();
    cut(&log, last + 20);
    let ledger = open(folder.path(), &network).unwrap();
    let left: Vec<bool> =
        waiting.iter().map(|tx| ledger.pool().get(&tx.txid()).is_some()).collect();
    assert_eq!(left, [false, true, true, true, false], "included, kept, torn off");
}

#[test]
fn an_audit_finds_every_kind_of_alteration() {
    let network = free_network();
    let folder = lived(&network, &straight(&network, 6));
    let index = folder.path().join(INDEX);
    let log = folder.path().join(BLOCK_LOG);
    let report = audited(folder.path(), &network).unwrap();
    assert_eq!((report.height, report.transactions), (6, 6));
    let pristine = TempDir::new().unwrap();
    copy_index(folder.path(), pristine.path());
    for alteration in [
        "UPDATE state SET value = x'00' WHERE key = (SELECT max(key) FROM state)",
        "UPDATE state SET key = x'6b00' WHERE key = (SELECT min(key) FROM state)",
        "DELETE FROM state WHERE key = (SELECT max(key) FROM state)",
        "INSERT INTO state (key, value) VALUES (x'7a', x'00')",
        "UPDATE page SET slots = x'00000000' WHERE prefix = (SELECT max(prefix) FROM page)",
        "DELETE FROM page WHERE prefix = x''",
        "INSERT INTO page (prefix, slots) VALUES (x'0f', x'00')",
        "UPDATE tx SET outcome = x'00' WHERE height = 3",
        "UPDATE tx SET position = 1 WHERE height = 3",
        "DELETE FROM tx WHERE height = 3",
        "DELETE FROM chain WHERE height = 3",
    ] {
        let changed = Connection::open(&index).unwrap().execute(alteration, []).unwrap();
        assert_eq!(changed, 1, "{alteration}");
        let result = audited(folder.path(), &network);
        assert!(matches!(result, Err(AuditError::Index { .. })), "{alteration}: {result:?}");
        copy_index(pristine.path(), folder.path());
    }
    flip(&log, borders(&log)[3] + 100);
    let result = audited(folder.path(), &network);
    assert!(
        matches!(&result, Err(AuditError::Body { height: 4, damage: Some(_), .. })),
        "{result:?}"
    );
}

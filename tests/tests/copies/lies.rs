//! Snapshots of chains made by hand: what is true is restored to the row, what is not is refused.

use std::path::Path;
use std::sync::Arc;

use chain::block::CheckedBlock;
use chain::execute::{Delta, Order, Range, Row, View};
use chain::ledger::{Input, Ledger, PeerId};
use chain::params::Network;
use chain::rules::isolation::checked_genesis;
use chain::snapshot::{RestoreOptions, SnapshotError, SnapshotReport, create, restore};
use chain::store::{Archive, SqliteArchive, SqliteStore};
use kv::{Expect, KeyValue, Operation};
use tempfile::TempDir;
use tests::chains::{
    Grower, account, clock, least_fee, options, paid_network, signing_key, unsigned,
};
use tests::replay::Replay;

use super::file::{self, BLOCK, CHUNK_HEAD_BYTES, HEADERS, Parts};

/// Blocks of the chain.
const BLOCKS: u32 = 14;

/// A chain on which keys were written, deleted and handed over, coins paid, and rewards wait.
pub(super) struct World {
    network: Network,
    blocks: Vec<CheckedBlock>,
}

impl World {
    pub(super) fn new() -> World {
        let network = paid_network();
        let mut grower = Grower::new(&network);
        let put = |key: &'static [u8], value: &'static [u8]| Operation::Put {
            key,
            value,
            expect: Expect::Any,
            policy: None,
        };
        let lists = [
            vec![put(b"a", b"1"), put(b"b", b"1"), put(b"cc", b"1")],
            vec![put(b"a", b"2"), Operation::Delete { key: b"b", expect: Expect::Any }],
            vec![
                put(b"a", b"3"),
                Operation::HandOver { key: b"cc", to: account(3) },
                Operation::Pay { to: account(4), amount: 5 },
            ],
        ];
        let (key, mut lists) = (signing_key(0), (0..).zip(lists));
        let mut blocks = Vec::new();
        for height in 1..=BLOCKS {
            // The first rewards must have matured.
            let list = if height > 6 { lists.next() } else { None };
            let transactions = list.map(|(sequence, list)| {
                let mut transaction = unsigned(&key, sequence, &list);
                transaction.fee = least_fee(&network, &transaction);
                grower.sign(&key, transaction)
            });
            let payee = account(u8::try_from(height % 2).unwrap());
            blocks.push(grower.grow(payee, transactions.as_slice()));
        }
        World { network, blocks }
    }

    /// A folder whose node has so many of the blocks.
    fn folder(&self, count: usize) -> TempDir {
        let folder = TempDir::new().unwrap();
        let genesis = checked_genesis(&self.network);
        let store =
            SqliteStore::open(folder.path(), &self.network, &genesis, &Delta::default()).unwrap();
        let now = clock(&self.network, 1000);
        let mut ledger = Ledger::open(options(&self.network), store, now, &mut |_| ()).unwrap();
        for block in &self.blocks[..count] {
            ledger.handle(now, Input::Block { from: PeerId(1), block: block.clone() }).unwrap();
        }
        assert_eq!(ledger.store().tip().unwrap().height as usize, count);
        folder
    }

    fn snapshot(&self, count: usize, depth: u32) -> Vec<u8> {
        let folder = self.folder(count);
        let archive = SqliteArchive::open(folder.path(), &self.network).unwrap();
        let mut bytes = Vec::new();
        create(&archive, &KeyValue, &self.network, depth, &mut bytes, &mut |_| ()).unwrap();
        bytes
    }

    pub(super) fn parts(&self) -> Parts {
        Parts::of(&self.snapshot(BLOCKS as usize, 0))
    }

    pub(super) fn restore(
        &self,
        bytes: &[u8],
        into: &Path,
    ) -> Result<SnapshotReport, SnapshotError> {
        let options = RestoreOptions {
            network: self.network.clone(),
            machine: Arc::new(KeyValue),
            now_s: clock(&self.network, 1000).seconds(),
            secret: [5; 32],
        };
        restore(&mut &bytes[..], into, &options, &mut |_| ())
    }

    /// What a snapshot with checksums that fit is refused for.
    pub(super) fn refusal(&self, parts: &Parts) -> String {
        let folder = TempDir::new().unwrap();
        let result = self.restore(&parts.bytes(), folder.path());
        result.expect_err("it lies").to_string()
    }
}

fn rows(view: &dyn View) -> Vec<Row> {
    let range = Range { from: &[], to: &[0xff; 300], order: Order::Ascending, limit: usize::MAX };
    view.range(range).unwrap()
}

fn pages(archive: &dyn Archive) -> Vec<Row> {
    let range = Range { from: &[], to: &[16], order: Order::Ascending, limit: usize::MAX };
    archive.page_range(range).unwrap()
}

#[test]
fn the_state_of_each_depth_is_restored_to_the_row() {
    let world = World::new();
    let mut replay = Replay::new(&world.network);
    for (height, block) in (1..).zip(&world.blocks) {
        replay.learn(height, block);
    }
    for depth in 0..=9 {
        let height = BLOCKS - depth;
        let block = &world.blocks[height as usize - 1];
        let bytes = world.snapshot(BLOCKS as usize, depth);
        let folder = TempDir::new().unwrap();
        let report = world.restore(&bytes, folder.path()).unwrap();
        assert_eq!((report.block.height, report.block.hash), (height, block.hash()));
        assert_eq!(report.bytes, bytes.len() as u64);
        let archive = SqliteArchive::open(folder.path(), &world.network).unwrap();
        assert_eq!(archive.tip().unwrap(), report.block);
        let expected = replay.at(block.hash()).unwrap();
        assert!(rows(&archive) == rows(expected), "rows at {height}");
        assert!(pages(&archive) == pages(expected), "pages at {height}");
        let same = world.snapshot(height as usize, 0);
        assert!(bytes == same, "equal chains give equal files");
    }
}

#[test]
fn damage_anywhere_is_refused() {
    let world = World::new();
    let bytes = world.snapshot(BLOCKS as usize, 3);
    let borders = Parts::of(&bytes).borders();
    assert_eq!(*borders.last().unwrap(), bytes.len());
    let mut places: Vec<usize> = (0..file::HEAD_BYTES).collect();
    for pair in borders.windows(2) {
        let payload = pair[0] + CHUNK_HEAD_BYTES;
        places.extend(pair[0]..payload);
        places.extend([payload, payload.midpoint(pair[1]), pair[1] - 1]);
    }
    let folder = |at: usize, what: &str, bytes: &[u8]| {
        let folder = TempDir::new().unwrap();
        assert!(world.restore(bytes, folder.path()).is_err(), "{what} at {at}");
    };
    for at in places {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        folder(at, "a flipped bit", &changed);
    }
    for at in borders {
        for cut in [at.saturating_sub(1), at].into_iter().filter(|cut| *cut < bytes.len()) {
            folder(cut, "the end", &bytes[..cut]);
        }
    }
    folder(bytes.len(), "a byte more", &[&bytes[..], &[0]].concat());
}

#[test]
fn a_lie_about_the_chain_is_refused() {
    let world = World::new();
    let parts = world.parts();
    let refused = |change: &dyn Fn(&mut Parts), said: &str| {
        let mut parts = parts.clone();
        change(&mut parts);
        let refusal = world.refusal(&parts);
        assert!(refusal.contains(said), "{refusal}, not {said}");
    };
    let height = |parts: &mut Parts, height: u32| {
        parts.head[44..].copy_from_slice(&height.to_le_bytes());
    };
    refused(&|parts| height(parts, BLOCKS + 1), "headers are missing");
    refused(&|parts| height(parts, BLOCKS - 1), "more headers than its height");
    refused(&|parts| height(parts, 0), "genesis");
    refused(&|parts| parts.payload(HEADERS)[76] ^= 1, "not of a valid chain");
    refused(&|parts| parts.payload(HEADERS)[80] ^= 1, "block 2");
    refused(
        &|parts| {
            height(parts, BLOCKS - 1);
            let headers = parts.payload(HEADERS);
            headers.truncate(headers.len() - 80);
        },
        "block 10 has another coinbase",
    );
    refused(&|parts| parts.payload(BLOCK)[150] ^= 1, "block 14");
    let other = world.blocks[12].bytes().to_vec();
    refused(&|parts| parts.payload(BLOCK).clone_from(&other), "than the last header");
    refused(&|parts| parts.chunks.retain(|(kind, _)| *kind != BLOCK), "last block is missing");
    let honest = parts.coinbases();
    assert_eq!(honest.len(), 3, "those of the rewards that wait or are due");
    let refused = |change: &dyn Fn(&mut Vec<file::Shown>), said: &str| {
        let mut coinbases = honest.clone();
        change(&mut coinbases);
        let refusal = world.refusal(&parts.with_coinbases(&coinbases));
        assert!(refusal.contains(said), "{refusal}, not {said}");
    };
    let payee = |coinbase: &[u8]| coinbase.len() - 68;
    refused(
        &|list| {
            let at = payee(&list[1].0);
            list[1].0[at] ^= 1;
        },
        "has another coinbase",
    );
    refused(&|list| list[0].1.push([0; 32]), "has another coinbase");
    refused(&|list| list.swap(0, 1), "has another coinbase");
    refused(&|list| _ = list.remove(0), "has another coinbase");
    refused(&|list| _ = list.pop(), "the coinbase of block 13 is missing");
}

#[test]
fn landmarks_rule_snapshots_out() {
    let mut world = World::new();
    let bytes = world.snapshot(BLOCKS as usize, 2);
    let folder = TempDir::new().unwrap();
    let report = world.restore(&bytes, folder.path()).unwrap();
    let work: u64 = report.work.to_string().parse().unwrap();
    let wanted = chain::landmarks::parse_work(&(work + 1).to_string()).unwrap();
    world.network.landmarks.minimum_work = wanted;
    let folder = TempDir::new().unwrap();
    let refused = world.restore(&bytes, folder.path());
    assert!(matches!(refused, Err(SnapshotError::LittleWork { .. })), "{refused:?}");
    world.network.landmarks = chain::landmarks::Landmarks::default();
    let other = format!("5:{}", world.network.genesis_hash());
    world.network.landmarks.add(other.parse().unwrap()).unwrap();
    let folder = TempDir::new().unwrap();
    let refused = world.restore(&bytes, folder.path());
    assert!(matches!(refused, Err(SnapshotError::Rule { height: 5, .. })), "{refused:?}");
}

//! The pages against the trie by the letter, whatever rows come, change and go.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::page::nibble;
use super::*;

/// Pages in a map, and how often each is read.
#[derive(Clone, Debug, Default)]
struct Map {
    pages: BTreeMap<Vec<u8>, Vec<u8>>,
    reads: RefCell<Vec<Vec<u8>>>,
}

impl Pages for Map {
    fn page(&self, prefix: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.reads.borrow_mut().push(prefix.to_vec());
        Ok(self.pages.get(prefix).cloned())
    }
}

type Rows = BTreeMap<[u8; 32], [u8; 32]>;

impl Map {
    /// Applies changes, whose pages must each be read and written once.
    fn apply(&mut self, changes: &[LeafChange]) -> Root {
        self.reads.borrow_mut().clear();
        let Update { root, pages } = update(self, changes).unwrap();
        let reads = self.reads.borrow();
        assert_eq!(reads.iter().collect::<BTreeSet<_>>().len(), reads.len(), "read twice");
        let is_sorted = pages.is_sorted_by(|a, b| a.prefix < b.prefix);
        assert!(is_sorted, "written twice, or not in order");
        for PageChange { prefix, after } in pages {
            match after {
                Some(page) => self.pages.insert(prefix, page),
                None => self.pages.remove(&prefix),
            };
        }
        root
    }

    /// There are no pages but those that the rows need.
    fn assert_are_those_of(&self, rows: &Rows) {
        let mut shared: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        for path in rows.keys() {
            for length in 0..64 {
                let prefix = (0..length).map(|at| nibble(path, at)).collect();
                *shared.entry(prefix).or_default() += 1;
            }
        }
        shared.retain(|prefix, count| *count > 1 || prefix.is_empty());
        assert!(self.pages.keys().eq(shared.keys()));
    }
}

/// What brings these rows into an empty state.
fn additions(rows: &Rows) -> Vec<LeafChange> {
    rows.iter().map(|(path, value)| LeafChange { path: *path, value: Some(*value) }).collect()
}

fn root_of_rows(rows: &Rows) -> Root {
    root_of(&rows.iter().map(|(path, value)| (*path, *value)).collect::<Vec<_>>())
}

/// Paths of which some share many bits: each byte is one of few.
fn paths() -> impl Strategy<Value = [u8; 32]> {
    let byte = || prop_oneof![6 => Just(0_u8), 1 => any::<u8>()];
    prop_oneof![
        2 => prop::array::uniform32(byte()),
        2 => any::<[u8; 32]>(),
        1 => (0..256_usize).prop_map(|bit| {
            let mut path = [0; 32];
            path[bit / 8] = 128 >> (bit % 8);
            path
        }),
    ]
}

/// Changes of one block: rows that are removed need not be there.
fn batches() -> impl Strategy<Value = Vec<Vec<(usize, Option<u8>)>>> {
    let change = (0..40_usize, prop_oneof![2 => any::<u8>().prop_map(Some), 1 => Just(None)]);
    prop::collection::vec(prop::collection::vec(change, 0..20), 1..8)
}

fn changes(batch: &[(usize, Option<u8>)], paths: &[[u8; 32]]) -> Vec<LeafChange> {
    let change =
        |(at, value): &(usize, Option<u8>)| (paths[at % paths.len()], value.map(|v| [v; 32]));
    let changes: BTreeMap<_, _> = batch.iter().map(change).collect();
    changes.into_iter().map(|(path, value)| LeafChange { path, value }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn pages_are_those_of_the_rows_whatever_came_and_went(
        paths in prop::collection::vec(paths(), 1..40),
        batches in batches(),
    ) {
        let (mut map, mut rows) = (Map::default(), Rows::new());
        let mut done: Vec<(Vec<LeafChange>, Map, Root)> = Vec::new();
        for batch in &batches {
            let changes = changes(batch, &paths);
            let inverse = changes.iter().map(|change| {
                LeafChange { path: change.path, value: rows.get(&change.path).copied() }
            });
            done.push((inverse.collect(), map.clone(), root_of_rows(&rows)));
            for LeafChange { path, value } in &changes {
                match value {
                    Some(value) => rows.insert(*path, *value),
                    None => rows.remove(path),
                };
            }
            prop_assert_eq!(map.apply(&changes), root_of_rows(&rows));
            map.assert_are_those_of(&rows);
        }
        for (inverse, before, root) in done.iter().rev() {
            prop_assert_eq!(map.apply(inverse), *root);
            prop_assert_eq!(&map.pages, &before.pages);
        }
    }

    #[test]
    fn every_row_there_is_and_every_other_is_shown(
        keys in prop::collection::btree_map(any::<u16>(), any::<u8>(), 0..60),
        absent in prop::collection::vec(any::<u16>(), 0..20),
    ) {
        let row = |(key, value): (&u16, &u8)| {
            (path(&key.to_be_bytes()), Sha256::digest([*value]).into())
        };
        let rows: Rows = keys.iter().map(row).collect();
        let mut map = Map::default();
        let root = map.apply(&additions(&rows));
        for key in keys.keys().chain(&absent) {
            let (value, key) = (keys.get(key).map(|value| [*value]), key.to_be_bytes());
            let witness = Witness::of(&map, &key).unwrap();
            prop_assert_eq!(witness.root(&key, value.as_ref().map(|value| &value[..])), Ok(root));
            prop_assert_ne!(witness.root(&key, Some(b"other")), Ok(root));
            if value.is_some() {
                prop_assert_ne!(witness.root(&key, None), Ok(root));
            }
        }
    }
}

/// Two rows that part at the last bit: somebody who could find such keys makes 64 pages of them.
#[test]
fn rows_that_share_all_but_a_bit_make_a_page_a_nibble_and_no_more() {
    let (mut map, mut rows) = (Map::default(), Rows::new());
    for last in [0, 1] {
        let mut path = [7; 32];
        path[31] = last;
        rows.insert(path, [last; 32]);
        let root = map.apply(&[LeafChange { path, value: Some([last; 32]) }]);
        assert_eq!(root, root_of_rows(&rows));
    }
    assert_eq!(map.pages.len(), 64);
    let gone = *rows.keys().next().unwrap();
    rows.remove(&gone);
    assert_eq!(map.apply(&[LeafChange { path: gone, value: None }]), root_of_rows(&rows));
    assert_eq!(map.pages.len(), 1);
}

/// The index can be damaged in any way.
#[test]
fn pages_that_contradict_each_other_are_the_stores_fault() {
    let paths: Vec<[u8; 32]> = (0..40_u8).map(|n| path(&[n])).collect();
    let mut changes: Vec<_> =
        paths.iter().map(|path| LeafChange { path: *path, value: Some([1; 32]) }).collect();
    changes.sort_unstable();
    let mut whole = Map::default();
    whole.apply(&changes);
    for (prefix, page) in &whole.pages {
        let cut = page[..page.len() - 1].to_vec();
        let longer = [&page[..], &[0]].concat();
        let mut both = page.clone();
        for byte in [0, 1] {
            both[byte] |= page[byte + 2];
            both[byte + 2] |= page[byte];
        }
        let mut bad = vec![cut, longer, both, vec![0; 4], Vec::new()];
        if page[..2] != [0, 0] && page[2..4] == [0, 0] {
            let mut elsewhere = page.clone();
            elsewhere[4] ^= 0x80; // the first bit of a row's path
            bad.push(elsewhere);
        }
        for bytes in bad {
            let mut map = whole.clone();
            map.pages.insert(prefix.clone(), bytes);
            assert!(matches!(update(&map, &changes), Err(StoreError::Inconsistent { .. })));
        }
        if !prefix.is_empty() {
            let mut map = whole.clone();
            map.pages.remove(prefix);
            let error = update(&map, &changes).unwrap_err();
            assert!(error.to_string().contains("is missing"), "{error}");
            assert!((0..40_u8).any(|n| Witness::of(&map, &[n]).is_err()));
        }
    }
}

/// So many that all cores work on them, part by part, most of them below one page.
#[test]
fn blocks_of_thousands_of_rows_come_to_the_pages_of_their_rows() {
    let place = |number: u32| {
        let mut path = path(&number.to_be_bytes());
        if !number.is_multiple_of(5) {
            path[..2].copy_from_slice(&[0x12, 0x34]);
        }
        path
    };
    let (mut map, mut rows) = (Map::default(), Rows::new());
    for (block, numbers) in [0..30_000, 20_000..25_000, 5_000..40_000].into_iter().enumerate() {
        let value = |number: u32| {
            (block == 0 || !number.is_multiple_of(3)).then(|| [u8::try_from(block).unwrap(); 32])
        };
        let mut changes: Vec<LeafChange> = numbers
            .map(|number| LeafChange { path: place(number), value: value(number) })
            .collect();
        changes.sort_unstable();
        for LeafChange { path, value } in &changes {
            match value {
                Some(value) => rows.insert(*path, *value),
                None => rows.remove(path),
            };
        }
        assert_eq!(map.apply(&changes), root_of_rows(&rows));
        let mut fresh = Map::default();
        fresh.apply(&additions(&rows));
        assert_eq!(map.pages, fresh.pages);
    }
}

/// A chain of pages that leads deeper than any path.
#[test]
fn a_way_without_an_end_is_the_stores_fault() {
    let mut page = vec![0, 0, 1, 0];
    page.extend([1; 32]);
    let pages = (0..=64).map(|length| (vec![0; length], page.clone())).collect();
    let map = Map { pages, ..Map::default() };
    let change = LeafChange { path: [0; 32], value: Some([1; 32]) };
    assert!(matches!(update(&map, &[change]), Err(StoreError::Inconsistent { .. })));
    let key = (0_u32..).map(u32::to_be_bytes).find(|key| path(key)[0] == 0).unwrap();
    assert!(matches!(Witness::of(&map, &key), Err(StoreError::Inconsistent { .. })));
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// The vectors of docs/consensus.md.
#[test]
fn sets_of_rows_have_the_roots_that_are_published() {
    let root = |rows: &[(&[u8], &[u8])]| {
        let rows = rows.iter().map(|(key, value)| (path(key), Sha256::digest(value).into()));
        let rows: Rows = rows.collect();
        let mut map = Map::default();
        let root = map.apply(&additions(&rows));
        assert_eq!(root, root_of_rows(&rows));
        (hex(&root), map)
    };
    assert_eq!(root(&[]).0, hex(&[0; 32]));
    assert_eq!(
        root(&[(b"ka", b"1")]).0,
        "d7958d7e7fd6cf3071edafa05091878c4839adf0bed70e2c58ebc962b585330e"
    );
    assert_eq!(
        root(&[(b"ka", b"1"), (b"kb", b"2")]).0,
        "905b4c3cf1079a9cc1ed86ec7ca3b6585c1e653b50e4d0aeb8c636b74e414231"
    );
    let (five, map) =
        root(&[(b"ka", b"1"), (b"kb", b"2"), (b"kc", b"3"), (b"kd", b"4"), (b"ke", b"5")]);
    assert_eq!(five, "859304095048da4c94cd042a6230fa8a21af0afffd941804570fe265b0649c31");
    let steps = |key: &[u8]| {
        let Witness { steps, other } = Witness::of(&map, key).unwrap();
        let steps = steps.iter().map(|step| (step.bit, hex(&step.sibling)[..8].to_string()));
        (steps.collect::<Vec<_>>(), other.map(|(path, _)| hex(&path)[..8].to_string()))
    };
    assert_eq!(
        steps(b"kc"),
        (
            vec![
                (0, "905b4c3c".to_string()),
                (1, "220ff1e1".to_string()),
                (2, "ea8cff77".to_string())
            ],
            None
        )
    );
    assert_eq!(
        steps(b"kx"),
        (
            vec![(0, "d01b713a".to_string()), (1, "d7958d7e".to_string())],
            Some("74fec0c3".to_string())
        )
    );
}

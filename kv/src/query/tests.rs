//! Pages and damage; what is read of whole chains is compared with the model in
//! `execute/properties.rs`.

use std::cell::Cell;

use chain::execute::Row;
use chain::params::KeyPolicy;

use super::*;
use crate::state::encode;
use crate::testing::MapView;

const OWNER: PublicKey = PublicKey([5; 32]);

/// A key with versions of these values, one a block; `None` = a tombstone.
fn write(view: &mut MapView, key: &[u8], values: &[Option<&[u8]>]) {
    for (number, value) in (1_u32..).zip(values) {
        let row = Version {
            height: number * 10,
            txid: Hash::ZERO,
            writer: OWNER,
            kind: if value.is_some() { VersionKind::Put } else { VersionKind::Delete },
            before: [0; 32],
            value: value.unwrap_or_default(),
        };
        view.0.insert(version_row(key, u64::from(number)), encode(&row));
    }
    let head = Head {
        owner: OWNER,
        policy: KeyPolicy::Owned,
        version: values.len() as u64,
        deleted: values.last().is_some_and(Option::is_none),
        history: [0; 32],
    };
    view.0.insert(head_row(key), encode(&head));
}

fn scan_all(view: &MapView, limit: usize, values: Values) -> Vec<ScanPage> {
    let mut pages: Vec<ScanPage> = Vec::new();
    loop {
        let after = pages.last().and_then(|page| page.next.clone());
        let scan = Scan { prefix: b"", after: after.as_deref(), limit, values };
        pages.push(Query::new(view).scan(scan).unwrap());
        if pages.last().is_none_or(|page| page.next.is_none()) {
            return pages;
        }
    }
}

/// Counts the rows read one by one.
struct Counted<'a> {
    view: &'a MapView,
    reads: Cell<u32>,
}

impl View for Counted<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.reads.set(self.reads.get() + 1);
        self.view.get(key)
    }

    fn range(&self, range: Range<'_>) -> Result<Vec<Row>, StoreError> {
        self.view.range(range)
    }
}

#[test]
fn at_height_finds_every_version_of_a_long_history_in_few_reads() {
    let mut view = MapView::default();
    write(&mut view, b"k", &[Some(&b"v"[..]); 100]);
    for height in 0..1_100 {
        let counted = Counted { view: &view, reads: Cell::new(0) };
        let entry = Query::new(&counted).at_height(b"k", height).unwrap();
        let version = entry.map_or(0, |entry| entry.version);
        assert_eq!(version, u64::from(height / 10).min(100));
        let most = if height >= 1_000 { 2 } else { 2 + 7 };
        assert!(counted.reads.get() <= most, "{} reads", counted.reads.get());
    }
}

#[test]
fn a_page_of_history_is_bounded_in_bytes_and_entries() {
    let mut view = MapView::default();
    let third = vec![1; PAGE_VALUE_BYTES / 3];
    write(&mut view, b"large", &[Some(&third[..]); 9]);
    let query = Query::new(&view);
    let page = query.history(b"large", None, Order::Ascending, usize::MAX).unwrap();
    assert_eq!((page.entries.len(), page.next), (4, Some(4)));
    let page = query.history(b"large", Some(6), Order::Descending, 0).unwrap();
    assert_eq!((page.entries[0].version, page.entries.len(), page.next), (5, 1, Some(5)));
    write(&mut view, b"many", &[None; MAX_PAGE_ENTRIES + 1]);
    let query = Query::new(&view);
    let page = query.history(b"many", None, Order::Ascending, usize::MAX).unwrap();
    assert_eq!((page.entries.len(), page.next), (MAX_PAGE_ENTRIES, Some(1_000)));
    let page = query.history(b"many", page.next, Order::Ascending, usize::MAX).unwrap();
    assert_eq!((page.entries.len(), page.next), (1, None));
}

#[test]
fn a_page_of_a_scan_is_bounded_in_value_bytes() {
    let mut view = MapView::default();
    let half = vec![1; PAGE_VALUE_BYTES / 2];
    for key in [b"a", b"b", b"c"] {
        write(&mut view, key, &[Some(&half[..])]);
    }
    let lens = |values| {
        let pages = scan_all(&view, 10, values);
        pages.iter().map(|page| page.found.len()).collect::<Vec<_>>()
    };
    assert_eq!(lens(Values::Read), [2, 1]);
    assert_eq!(lens(Values::Skip), [3]);
}

#[test]
fn a_scan_walks_over_deleted_keys_in_bounded_steps() {
    let mut view = MapView::default();
    let deleted = u16::try_from(MAX_SCANNED_HEADS + SCAN_CHUNK).unwrap();
    for number in 0..deleted {
        write(&mut view, &number.to_be_bytes(), &[None]);
    }
    write(&mut view, b"\xff\xff", &[Some(b"alive")]);
    let pages = scan_all(&view, 10, Values::Read);
    let lens: Vec<usize> = pages.iter().map(|page| page.found.len()).collect();
    assert_eq!(lens, [0, 1]);
    let last_skipped = u16::try_from(MAX_SCANNED_HEADS - 1).unwrap().to_be_bytes();
    assert_eq!(pages[0].next.as_deref(), Some(&last_skipped[..]));
    assert_eq!(pages[1].found[0].key, b"\xff\xff");
}

#[test]
fn a_scan_of_more_heads_than_a_chunk_misses_none() {
    let mut view = MapView::default();
    for number in 0..1_500_u16 {
        let value = (number % 3 > 0).then_some(&b"v"[..]);
        write(&mut view, &number.to_be_bytes(), &[value]);
    }
    for limit in [1, 170, 256, 999, usize::MAX] {
        let pages = scan_all(&view, limit, Values::Skip);
        assert!(pages.iter().all(|page| page.found.len() <= limit.min(MAX_PAGE_ENTRIES)));
        let keys = pages.into_iter().flat_map(|page| page.found).map(|found| found.key);
        let expected = (0..1_500_u16).filter(|number| number % 3 > 0);
        assert!(keys.eq(expected.map(|number| number.to_be_bytes().to_vec())), "limit {limit}");
    }
}

#[test]
fn a_key_no_put_can_write_is_never_there() {
    let mut view = MapView::default();
    write(&mut view, &[7; 255], &[Some(b"v")]);
    let query = Query::new(&view);
    for key in [&[7; 256][..], b""] {
        assert_eq!(query.head(key).unwrap(), None);
        assert_eq!(query.latest(key).unwrap(), None);
        assert_eq!(query.at_version(key, 1).unwrap(), None);
        assert_eq!(query.at_height(key, 100).unwrap(), None);
        let page = query.history(key, None, Order::Descending, 9).unwrap();
        assert_eq!(page, HistoryPage::default());
    }
    let prefix = &[7; 256][..];
    for after in [None, Some(&[8][..])] {
        let scan = Scan { prefix, after, limit: 9, values: Values::Read };
        assert_eq!(query.scan(scan).unwrap(), ScanPage::default());
    }
}

#[test]
fn a_version_that_its_head_promises_but_is_missing_is_damage() {
    let mut view = MapView::default();
    write(&mut view, b"k", &[Some(b"1"), Some(b"2")]);
    view.0.remove(&version_row(b"k", 2));
    let error = Query::new(&view).latest(b"k").unwrap_err();
    assert!(error.to_string().contains("row 76016b0000000000000002 is missing"), "{error}");
}

/// In a damaged head can stand any number: after the greatest one more was looked for.
#[test]
fn the_greatest_version_is_found_by_height() {
    let mut view = MapView::default();
    write(&mut view, b"k", &[Some(b"1")]);
    let row = view.0.remove(&version_row(b"k", 1)).unwrap();
    view.0.insert(version_row(b"k", u64::MAX), row);
    let head = Query::new(&view).head(b"k").unwrap().unwrap();
    view.0.insert(head_row(b"k"), encode(&Head { version: u64::MAX, ..head }));
    let found = Query::new(&view).at_height(b"k", 10).unwrap().unwrap();
    assert_eq!(found.version, u64::MAX);
}

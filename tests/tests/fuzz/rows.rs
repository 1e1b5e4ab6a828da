//! A damaged state: whatever the rows of the index are, reads and execution answer or say that it
//! is damaged.

use std::collections::BTreeMap;

use chain::execute::{BlockContext, Order, Range, Row, StateMachine, View};
use chain::store::StoreError;
use kv::query::{Scan, Values};
use kv::{KeyValue, Query};
use tests::chains::{account, memory_ledger, options};

use super::draw::Draw;
use super::target::{Memory, Target};
use super::world::WORLD;

/// Rows, pages of them, and what a block changes.
pub(super) const TARGET: Target =
    Target { name: "rows", samples, run, memory: Memory { per_byte: 64, fixed: 64 * 1024 } };

/// Rows as bytes: key and value, each after its length.
struct Rows(BTreeMap<Vec<u8>, Vec<u8>>);

impl View for Rows {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.get(key).cloned())
    }

    fn range(&self, range: Range<'_>) -> Result<Vec<Row>, StoreError> {
        let Range { from, to, order, limit } = range;
        let found = self.0.iter().filter(|(key, _)| from <= &key[..] && &key[..] < to);
        let rows = found.map(|(key, value)| (key.clone(), value.clone()));
        Ok(match order {
            Order::Ascending => rows.take(limit).collect(),
            Order::Descending => rows.rev().take(limit).collect(),
        })
    }
}

fn lines<'a>(rows: impl Iterator<Item = (&'a Vec<u8>, &'a Vec<u8>)>) -> Vec<u8> {
    let line = |(key, value): (&Vec<u8>, &Vec<u8>)| {
        let length = |bytes: &[u8]| u8::try_from(bytes.len()).expect("short rows");
        [&[length(key)][..], key, &[length(value)], value].concat()
    };
    rows.flat_map(line).collect()
}

/// A key whose latest version is the greatest number there is: one more was looked for.
fn greatest_version(version: &[u8]) -> Vec<u8> {
    let number = u64::MAX.to_be_bytes();
    let head = [&[7; 32][..], &[0], &[0xff; 9], &[1, 0]].concat();
    let rows = BTreeMap::from([
        (b"kz".to_vec(), head),
        ([&b"v\x01z"[..], &number].concat(), version.to_vec()),
    ]);
    lines(rows.iter())
}

fn samples() -> Vec<Vec<u8>> {
    let mut ledger = memory_ledger(options(&WORLD.network));
    let mut samples = vec![Vec::new()];
    for (at, block) in WORLD.chain.iter().enumerate() {
        let from = chain::ledger::PeerId(1);
        let input = chain::ledger::Input::Block { from, block: block.clone() };
        let now = chain::ledger::Time { unix_ms: super::protocol::start().0 };
        ledger.handle(now, input).unwrap();
        if at % 3 == 1 {
            samples.push(lines(ledger.store().state().iter().rev()));
        }
    }
    let mut rows = ledger.store().state().iter();
    let version = rows.find_map(|(key, value)| key.starts_with(b"v").then_some(value));
    samples.push(greatest_version(version.expect("something was written")));
    samples
}

fn run(input: &[u8]) -> String {
    let mut draw = Draw::new(input);
    let mut rows = Rows(BTreeMap::new());
    while !draw.is_empty() {
        let key = draw.bytes().to_vec();
        rows.0.insert(key, draw.bytes().to_vec());
    }
    let query = Query::new(&rows);
    let mut damaged = 0;
    let mut note = |failed: bool| damaged += usize::from(failed);
    note(query.account(&account(1)).is_err());
    let keys: Vec<&[u8]> = rows.0.keys().filter_map(|row| row.strip_prefix(b"k")).collect();
    for key in keys.iter().take(6) {
        note(query.latest(key).is_err());
        for number in [0, 1, 2, u64::MAX] {
            note(query.at_version(key, number).is_err());
        }
        for height in [0, 3, u32::MAX] {
            note(query.at_height(key, height).is_err());
        }
        for order in [Order::Ascending, Order::Descending] {
            for after in [None, Some(1), Some(u64::MAX)] {
                note(query.history(key, after, order, 3).is_err());
            }
        }
    }
    for values in [Values::Read, Values::Skip] {
        let scan = Scan { prefix: b"", after: None, limit: 10, values };
        note(query.scan(scan).is_err());
    }
    let reads = if damaged > 0 { "damaged" } else { "sound" };
    let block = &WORLD.chain[WORLD.chain.len() - 1];
    let context = BlockContext { network: &WORLD.network, height: 12, payee: account(1) };
    let executed = KeyValue.execute(&rows, context, block.transactions());
    let filled = KeyValue.fill(&rows, context, block.transactions());
    let balance = KeyValue.account(&rows, &account(1)).is_ok();
    let words = [executed.is_ok(), filled.is_ok(), balance];
    format!("{} keys {reads} {words:?}", keys.len().min(2))
}

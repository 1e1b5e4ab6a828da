//! The latest values of keys that were asked for, in memory, as of the tip the admin port knows.
//!
//! A value gets in only when it was read at exactly that tip, and every change of the tip is
//! applied before anybody is told of it: nobody who knows of a block is shown a value from before
//! it.

use std::collections::{BTreeMap, HashMap, VecDeque};

use chain::Hash;
use chain::ledger::{ConnectedBlock, TipChange};
use chain::store::ChainPoint;
use kv::Operation;

use crate::reads::{is_applied, key_of};

/// Most bytes of keys and values, and of what it takes to keep them.
pub const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// Bytes that an entry costs beyond its key and value: two vectors and its share of the table.
const ENTRY_BYTES: usize = 96;

/// Tips before the present one that are remembered: as many as the queue to the port holds, which
/// can all come while a reader reads. For so many changes a tip that readers have seen is waited
/// for, in case it is never told.
const TIPS_BEFORE: usize = 4096;

/// Values by key: `None` = the key has no live value.
type Values = HashMap<Vec<u8>, Option<Box<[u8]>>>;

/// The values, in two generations: when the young one has grown to half the bound the old one is
/// forgotten, and what is asked for becomes young again.
#[derive(Debug)]
pub struct Latest {
    young: Values,
    old: Values,
    young_bytes: usize,
    bound: usize,
    tip: ChainPoint,
    /// The tips before, oldest first, with those between them that nobody was told of but readers
    /// can have seen. Heights do not tell which of two tips is newer: the chain with the most work
    /// may have fewer blocks.
    before: VecDeque<ChainPoint>,
    /// Tips that readers have seen and the port was not told of yet, and for how many changes they
    /// are waited for.
    unheard: BTreeMap<Hash, usize>,
}

impl Latest {
    /// No values, as of this tip.
    pub fn new(tip: ChainPoint, bound: usize) -> Latest {
        let (young, old, before, unheard) = Default::default();
        Latest { young, old, young_bytes: 0, bound, tip, before, unheard }
    }

    /// The latest value of a key, if it is known here: `Some(None)` = it has no live value.
    pub fn get(&mut self, key: &[u8]) -> Option<Option<&[u8]>> {
        if !self.unheard.is_empty() {
            return None;
        }
        if !self.young.contains_key(key) {
            let (key, value) = self.old.remove_entry(key)?;
            self.insert(key, value);
        }
        self.young.get(key).map(Option::as_deref)
    }

    /// Takes note of the tip that a reader has answered at. Must precede the client's hearing of
    /// the answer: what it has seen there, it must not be shown older.
    pub fn read_at(&mut self, tip: ChainPoint) {
        if tip != self.tip && !self.is_before(tip) {
            self.unheard.insert(tip.hash, TIPS_BEFORE);
        }
    }

    /// Whether a reader's tip is the one known here.
    pub fn is_at(&self, tip: ChainPoint) -> bool {
        tip == self.tip
    }

    /// Whether a reader's tip is older than the one known here.
    pub fn is_before(&self, tip: ChainPoint) -> bool {
        tip != self.tip && self.before.iter().rev().any(|before| *before == tip) // newest first
    }

    /// Keeps what a reader has found at a tip, if that is the one known here.
    pub fn keep(&mut self, tip: ChainPoint, key: &[u8], value: Option<&[u8]>) {
        if tip == self.tip {
            self.old.remove(key);
            self.insert(key.to_vec(), value.map(Box::from));
        }
    }

    fn insert(&mut self, key: Vec<u8>, value: Option<Box<[u8]>>) {
        let bytes = ENTRY_BYTES + key.len() + value.as_ref().map_or(0, |value| value.len());
        if self.young_bytes + bytes > self.bound / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += bytes;
        self.young.insert(key, value);
    }

    /// Follows the chain.
    pub fn tip_changed(&mut self, change: &TipChange) {
        self.before.push_back(std::mem::replace(&mut self.tip, change.tip));
        for ConnectedBlock { block, height, .. } in &change.connected {
            let point = ChainPoint { height: *height, hash: block.hash() };
            self.unheard.remove(&point.hash);
            self.before.extend((point != self.tip).then_some(point));
        }
        self.before.drain(..self.before.len().saturating_sub(TIPS_BEFORE));
        self.unheard.remove(&change.tip.hash);
        self.unheard.retain(|_, changes| {
            *changes -= 1;
            *changes > 0
        });
        if self.young.is_empty() && self.old.is_empty() {
            return;
        }
        if change.reverted.iter().any(|reverted| reverted.block.is_none()) {
            // What it wrote is not known: it could be any of these.
            (self.young, self.old) = Default::default();
            self.young_bytes = 0;
        }
        for reverted in &change.reverted {
            for transaction in reverted.transactions() {
                for key in transaction.operations.iter().filter_map(|bytes| key_of(bytes)) {
                    self.forget(key);
                }
            }
        }
        for connected in &change.connected {
            let transactions = connected.block.transactions();
            for (transaction, outcome) in transactions.iter().zip(&connected.outcomes) {
                let mut keys = transaction.operations.iter().filter_map(|bytes| key_of(bytes));
                if !keys.any(|key| self.has(key)) || !is_applied(outcome) {
                    continue;
                }
                for bytes in &transaction.operations {
                    match Operation::decode_again(bytes) {
                        Ok(Operation::Put { key, value, .. }) => self.update(key, Some(value)),
                        Ok(Operation::Delete { key, .. }) => self.update(key, None),
                        _ => {}
                    }
                }
            }
        }
    }

    fn has(&self, key: &[u8]) -> bool {
        self.young.contains_key(key) || self.old.contains_key(key)
    }

    /// A new value of a key that somebody has asked for.
    fn update(&mut self, key: &[u8], value: Option<&[u8]>) {
        if self.young.contains_key(key) || self.old.remove(key).is_some() {
            self.insert(key.to_vec(), value.map(Box::from));
        }
    }

    fn forget(&mut self, key: &[u8]) {
        self.young.remove(key);
        self.old.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chain::Hash;

    fn tip(height: u32, byte: u8) -> ChainPoint {
        ChainPoint { height, hash: Hash([byte; 32]) }
    }

    /// A change of the tip without blocks that concern anybody.
    fn moved(tip: ChainPoint) -> TipChange {
        let header = chain::params::Network::dev().genesis().header;
        let (reverted, connected, locator) = Default::default();
        let work = chain::Work::ZERO;
        TipChange { reverted, connected, tip, header, work, best_header: tip, locator }
    }

    #[test]
    fn only_what_was_read_at_the_known_tip_is_kept() {
        let mut latest = Latest::new(tip(5, 5), CACHE_BYTES);
        latest.keep(tip(4, 4), b"old", Some(b"x"));
        latest.keep(tip(5, 5), b"now", Some(b"y"));
        latest.keep(tip(5, 5), b"gone", None);
        assert_eq!(latest.get(b"old"), None);
        assert_eq!(latest.get(b"now"), Some(Some(&b"y"[..])));
        assert_eq!(latest.get(b"gone"), Some(None));
    }

    #[test]
    fn who_has_seen_a_newer_tip_is_shown_nothing_older() {
        let mut latest = Latest::new(tip(4, 4), CACHE_BYTES);
        latest.tip_changed(&moved(tip(5, 5)));
        latest.keep(tip(5, 5), b"key", Some(b"y"));
        latest.read_at(tip(4, 4)); // a slow reader changes nothing
        assert!(latest.get(b"key").is_some());
        for newer in [tip(6, 6), tip(5, 9)] {
            latest.unheard.clear();
            latest.read_at(newer);
            assert_eq!(latest.get(b"key"), None);
        }
    }

    /// The first of two that were told late was taken for the one that had been seen.
    #[test]
    fn nothing_is_shown_until_the_tip_that_was_seen_is_known() {
        let mut latest = Latest::new(tip(5, 5), CACHE_BYTES);
        latest.keep(tip(5, 5), b"key", Some(b"y"));
        latest.read_at(tip(7, 7));
        latest.read_at(tip(6, 6)); // by another reader, before
        latest.tip_changed(&moved(tip(6, 6)));
        assert_eq!(latest.get(b"key"), None);
        latest.tip_changed(&moved(tip(7, 7)));
        assert!(latest.get(b"key").is_some());
        latest.read_at(tip(8, 8)); // which is never told
        for height in 0..TIPS_BEFORE {
            assert_eq!(latest.get(b"key"), None);
            latest.tip_changed(&moved(tip(u32::try_from(height).unwrap(), 9)));
        }
        assert!(latest.get(b"key").is_some());
    }

    #[test]
    fn a_tip_is_newer_when_it_was_not_known_before_whatever_its_height() {
        let mut latest = Latest::new(tip(5, 5), CACHE_BYTES);
        latest.tip_changed(&moved(tip(6, 6)));
        latest.tip_changed(&moved(tip(6, 7)));
        latest.keep(tip(6, 7), b"key", Some(b"y"));
        for late in [tip(5, 5), tip(6, 6)] {
            latest.read_at(late);
            assert!(latest.get(b"key").is_some(), "{late:?}");
        }
        latest.read_at(tip(4, 9)); // fewer blocks of more work
        assert_eq!(latest.get(b"key"), None);
    }

    #[test]
    fn memory_is_bounded_and_what_is_asked_for_stays() {
        let mut latest = Latest::new(tip(1, 1), 40 * (ENTRY_BYTES + 10));
        for number in 0..1000u32 {
            let key = format!("{number:05}");
            latest.keep(tip(1, 1), key.as_bytes(), Some(b"12345"));
            latest.keep(tip(1, 1), b"often", Some(b"67890"));
            assert!(latest.get(b"often").is_some());
            assert!(latest.young.len() + latest.old.len() <= 40);
        }
        assert_eq!(latest.get(b"00000"), None);
        assert!(latest.get(b"00999").is_some());
    }
}

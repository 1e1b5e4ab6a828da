//! A connection's own writes that wait for a block, so that it reads what it has written.

use std::collections::{BTreeMap, VecDeque};

use chain::Hash;

use crate::resp::data::Write;

/// Transactions that are remembered; the oldest is forgotten for one more.
const MAX_TRANSACTIONS: usize = 1024;

/// Bytes of their keys and values that are remembered, but for the newest transaction's.
const MAX_BYTES: usize = 256 * 1024;

/// The writes.
#[derive(Debug, Default)]
pub(super) struct Own {
    keys: BTreeMap<Vec<u8>, Pending>,
    /// Oldest first: each with its keys and its bytes.
    transactions: VecDeque<(Hash, Vec<Vec<u8>>, usize)>,
    bytes: usize,
}

/// What waits for one key.
#[derive(Debug)]
struct Pending {
    /// Versions that they will make.
    versions: u64,
    /// The newest transaction that writes the key.
    last: Hash,
    /// What it writes, `Some(None)` = a tombstone; `None` when it was dropped: what the ones before
    /// it write is not remembered.
    value: Option<Option<Vec<u8>>>,
}

impl Own {
    /// What the key's value will be, if one of the writes is about it.
    pub(super) fn value(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        if self.keys.is_empty() {
            return None; // mostly so, and this is on the way of every GET
        }
        self.keys.get(key)?.value.as_ref().map(Option::as_deref)
    }

    /// How many versions of a key they will make.
    pub(super) fn versions(&self, key: &[u8]) -> u64 {
        self.keys.get(key).map_or(0, |pending| pending.versions)
    }

    /// The transactions.
    pub(super) fn transactions(&self) -> impl Iterator<Item = &Hash> {
        self.transactions.iter().map(|(txid, ..)| txid)
    }

    /// Takes in a transaction that waits from now on. Returns those that are forgotten for it, with
    /// their keys.
    pub(super) fn accepted(&mut self, txid: Hash, writes: Vec<Write>) -> Vec<(Hash, Vec<Vec<u8>>)> {
        let mut keys = Vec::with_capacity(writes.len());
        let mut bytes = 0;
        for Write { key, value, .. } in writes {
            bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            let versions = self.versions(&key) + 1;
            self.keys.insert(key.clone(), Pending { versions, last: txid, value: Some(value) });
            keys.push(key);
        }
        self.bytes += bytes;
        self.transactions.push_back((txid, keys, bytes));
        let mut forgotten = Vec::new();
        while self.transactions.len() > MAX_TRANSACTIONS
            || (self.bytes > MAX_BYTES && self.transactions.len() > 1)
        {
            let oldest = self.transactions[0].0;
            forgotten.push((oldest, self.gone(&oldest)));
        }
        forgotten
    }

    /// Forgets a transaction that is in a block, or will never be in one. Returns its keys.
    pub(super) fn gone(&mut self, txid: &Hash) -> Vec<Vec<u8>> {
        let Some(at) = self.transactions.iter().position(|(other, ..)| other == txid) else {
            return Vec::new();
        };
        let (_, keys, bytes) = self.transactions.remove(at).expect("just found");
        self.bytes -= bytes;
        for key in &keys {
            let Some(pending) = self.keys.get_mut(key) else { continue };
            pending.versions -= 1;
            // Transactions of one account come in their order. When a later one is gone before an
            // earlier one, it was dropped: the earlier one's value is not known any more.
            if pending.versions == 0 {
                self.keys.remove(key);
            } else if pending.last == *txid {
                pending.value = None;
            }
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use kv::Expect;

    use super::*;

    fn write(key: &str, value: Option<&str>) -> Write {
        let (key, value) = (key.into(), value.map(Into::into));
        Write { key, value, expect: Expect::Any }
    }

    #[test]
    fn the_newest_write_of_a_key_is_shown_until_it_is_in_a_block() {
        let mut own = Own::default();
        own.accepted(Hash([1; 32]), vec![write("a", Some("1")), write("b", Some("1"))]);
        own.accepted(Hash([2; 32]), vec![write("a", Some("2")), write("b", None)]);
        assert_eq!(own.value(b"a"), Some(Some(&b"2"[..])));
        assert_eq!((own.value(b"b"), own.value(b"c")), (Some(None), None));
        assert_eq!((own.versions(b"a"), own.versions(b"c")), (2, 0));
        own.gone(&Hash([1; 32]));
        assert_eq!((own.value(b"b"), own.versions(b"a")), (Some(None), 1));
        own.gone(&Hash([2; 32]));
        assert_eq!((own.value(b"a"), own.bytes), (None, 0));
    }

    #[test]
    fn a_dropped_write_shows_nothing_of_the_ones_before() {
        let mut own = Own::default();
        own.accepted(Hash([1; 32]), vec![write("a", Some("1"))]);
        own.accepted(Hash([2; 32]), vec![write("a", Some("2"))]);
        own.gone(&Hash([2; 32]));
        assert_eq!(own.value(b"a"), None);
        own.gone(&Hash([1; 32]));
        assert_eq!(own.versions(b"a"), 0);
    }

    #[test]
    fn a_write_after_a_dropped_one_is_seen_until_its_own_block() {
        let mut own = Own::default();
        own.accepted(Hash([1; 32]), vec![write("a", Some("1"))]);
        own.accepted(Hash([2; 32]), vec![write("a", Some("2"))]);
        own.gone(&Hash([2; 32]));
        own.accepted(Hash([3; 32]), vec![write("a", Some("3"))]);
        assert_eq!((own.value(b"a"), own.versions(b"a")), (Some(Some(&b"3"[..])), 2));
        own.gone(&Hash([1; 32]));
        assert_eq!((own.value(b"a"), own.versions(b"a")), (Some(Some(&b"3"[..])), 1));
    }

    #[test]
    fn memory_is_bounded() {
        let mut own = Own::default();
        for number in 0..3000u16 {
            let mut txid = [0; 32];
            txid[..2].copy_from_slice(&number.to_le_bytes());
            own.accepted(Hash(txid), vec![write(&number.to_string(), Some("x"))]);
        }
        assert_eq!(own.transactions.len(), MAX_TRANSACTIONS);
        assert_eq!(own.keys.len(), MAX_TRANSACTIONS);
        let long = "x".repeat(MAX_BYTES);
        let forgotten = own.accepted(Hash([9; 32]), vec![write("long", Some(&long))]);
        assert_eq!((forgotten.len(), own.keys.len()), (MAX_TRANSACTIONS, 1));
    }
}

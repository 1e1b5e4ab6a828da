//! Cursors of `SCAN`: numbers, as clients want them, for the keys where pages ended.

use std::collections::BTreeMap;

/// Cursors that are remembered, of all clients: 1 MiB of keys. The oldest is forgotten for one
/// more.
const MAX_CURSORS: usize = 4096;

/// The cursors. They do not belong to connections, because clients have pools of those.
#[derive(Debug, Default)]
pub(super) struct Cursors {
    keys: BTreeMap<u64, Vec<u8>>,
    last: u64,
}

impl Cursors {
    /// A cursor to go on after this key.
    pub(super) fn after(&mut self, key: Vec<u8>) -> u64 {
        self.last += 1;
        self.keys.insert(self.last, key);
        if self.keys.len() > MAX_CURSORS {
            self.keys.pop_first();
        }
        self.last
    }

    /// The key to go on after.
    pub(super) fn key(&self, cursor: u64) -> Option<&[u8]> {
        self.keys.get(&cursor).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_last_until_many_newer_ones_are_given() {
        let mut cursors = Cursors::default();
        let first = cursors.after(b"a".to_vec());
        assert_eq!((first, cursors.key(first)), (1, Some(&b"a"[..])));
        for _ in 0..MAX_CURSORS {
            assert!(cursors.key(first).is_some()); // asking again is no harm
            cursors.after(b"b".to_vec());
        }
        assert_eq!((cursors.key(first), cursors.keys.len()), (None, MAX_CURSORS));
    }
}

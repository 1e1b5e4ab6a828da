//! The pages of the commitment near its root, in memory: blocks read and change many of them, and
//! the other connection's cache begins anew with every commit.

use crate::commitment::PageChange;

/// Pages with prefixes of at most so many nibbles are kept: 69,905. They take 38 MB when there are
/// more pages below each of them, and 73 MB if all slots of the last are single rows.
const NIBBLES: usize = 4;

/// Pages near the root that have been changed, written or not.
#[derive(Debug, Default)]
pub(super) struct UpperPages(Vec<Option<Box<[u8]>>>);

impl UpperPages {
    /// Takes note of a change, if it is one near the root.
    pub(super) fn set(&mut self, change: &PageChange) {
        let Some(place) = place(&change.prefix) else { return };
        if self.0.len() <= place {
            self.0.resize(place + 1, None);
        }
        self.0[place] = change.after.as_deref().map(Into::into);
    }

    /// A page, if it is kept.
    pub(super) fn get(&self, prefix: &[u8]) -> Option<&[u8]> {
        self.0.get(place(prefix)?)?.as_deref()
    }
}

/// Shorter prefixes come first, those of one length in their order; `None` = it is too long.
fn place(prefix: &[u8]) -> Option<usize> {
    let below = |place: usize, nibble: &u8| 16 * place + 1 + usize::from(*nibble);
    (prefix.len() <= NIBBLES).then(|| prefix.iter().fold(0, below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_short_prefix_has_a_place_of_its_own() {
        let mut prefixes = vec![vec![]];
        for length in 0..NIBBLES {
            let longer = prefixes.iter().filter(|prefix| prefix.len() == length);
            let longer = longer.flat_map(|prefix| (0..16).map(|n| [&prefix[..], &[n]].concat()));
            prefixes.extend(longer.collect::<Vec<_>>());
        }
        let places: Vec<usize> = prefixes.iter().filter_map(|prefix| place(prefix)).collect();
        assert_eq!(places, (0..69_905).collect::<Vec<_>>());
        assert_eq!(place(&[0; NIBBLES + 1]), None);
    }
}

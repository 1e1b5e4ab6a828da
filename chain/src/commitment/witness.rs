//! What shows somebody who knows only the root that a row is there, or is not.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::page::{Page, Pages, Slot, bit_number, fold, read};
use super::{EMPTY, Root, bit_of, branch, leaf, path};
use crate::store::StoreError;

/// One node on the way from the root to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Where its rows part.
    pub bit: u8,
    /// The half that the way does not take.
    pub sibling: [u8; 32],
}

/// The way from the root to where a row is or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// From the root down: at most 256, bits ascending.
    pub steps: Vec<Step>,
    /// The row at which the way ends, if it is another one: its path, the SHA-256 of its value.
    pub other: Option<([u8; 32], [u8; 32])>,
}

/// Why a witness shows nothing, whatever the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WitnessError {
    /// Its steps do not go down.
    #[error("the steps of the witness do not go down the trie")]
    Order,
    /// It ends at another row than the one it is for.
    #[error("the witness ends at another row")]
    OtherRow,
    /// It is to show that there is no row, and ends at that row, or nowhere though it has steps.
    #[error("the witness does not end at another row")]
    NoOtherRow,
    /// The row it ends at does not lie on the way to the one that is looked for.
    #[error("the witness ends at a row that is not on the way")]
    Astray,
}

impl Witness {
    /// The way from the root of these pages to where the row `key` is or would be.
    ///
    /// # Errors
    /// When the store fails or its pages contradict each other.
    pub fn of<P: Pages + ?Sized>(pages: &P, key: &[u8]) -> Result<Witness, StoreError> {
        let wanted = path(key);
        let mut witness = Witness::default();
        let mut prefix = Vec::new();
        let Some(bytes) = pages.page(&prefix)? else {
            return Ok(witness);
        };
        let mut page = Page::decode(&prefix, &bytes)?;
        loop {
            let number = witness.follow(&page, prefix.len(), &wanted);
            prefix.push(bit_number(number));
            match page.slots[number] {
                Slot::Leaf(found) => {
                    let other = (found.path != wanted).then_some((found.path, found.value));
                    return Ok(Witness { other, ..witness });
                }
                Slot::Subtree(_) => page = read(pages, &prefix)?,
                Slot::Empty => unreachable!("the way leads along slots that are not empty"),
            }
        }
    }

    /// Notes the nodes of a page that lie on the way; returns the slot it leads to. Where only one
    /// half has rows there is no node, and the way is through that half.
    fn follow(&mut self, page: &Page, depth: usize, wanted: &[u8; 32]) -> usize {
        let mut slots = 0..page.slots.len();
        for bit in 4 * depth..4 * depth + 4 {
            let middle = slots.start.midpoint(slots.end);
            let (left, right) = (slots.start..middle, middle..slots.end);
            let bit = bit_number(bit);
            let (taken, other) = if bit_of(wanted, bit) { (right, left) } else { (left, right) };
            let below = usize::from(bit) + 1;
            let is_empty = |slots: &[Slot]| slots.iter().all(|slot| *slot == Slot::Empty);
            slots = if is_empty(&page.slots[taken.clone()]) {
                other
            } else {
                if let Some(sibling) = fold(&page.slots[other], below) {
                    self.steps.push(Step { bit, sibling });
                }
                taken
            };
        }
        slots.start
    }

    /// The root of the state that this is the witness of, given what it says of the row `key`.
    ///
    /// # Errors
    /// When the witness is no such witness.
    pub fn root(&self, key: &[u8], value: Option<&[u8]>) -> Result<Root, WitnessError> {
        match value {
            Some(value) => self.root_with(key, value),
            None => self.root_without(key),
        }
    }

    /// The root of a state in which the row `key` has the value `value`.
    ///
    /// # Errors
    /// When the witness is no such witness.
    pub fn root_with(&self, key: &[u8], value: &[u8]) -> Result<Root, WitnessError> {
        if self.other.is_some() {
            return Err(WitnessError::OtherRow);
        }
        let path = path(key);
        self.climb(&path, leaf(&path, &Sha256::digest(value).into()))
    }

    /// The root of a state in which there is no row `key`. Nodes name the bit at which they part,
    /// so from the root down there is one way for each path; were the row there, it would end at
    /// it.
    ///
    /// # Errors
    /// When the witness is no such witness.
    pub fn root_without(&self, key: &[u8]) -> Result<Root, WitnessError> {
        let wanted = path(key);
        let Some((other, value)) = &self.other else {
            return if self.steps.is_empty() { Ok(EMPTY) } else { Err(WitnessError::NoOtherRow) };
        };
        if *other == wanted {
            return Err(WitnessError::NoOtherRow);
        }
        if self.steps.iter().any(|step| bit_of(other, step.bit) != bit_of(&wanted, step.bit)) {
            return Err(WitnessError::Astray);
        }
        self.climb(other, leaf(other, value))
    }

    fn climb(&self, path: &[u8; 32], leaf: [u8; 32]) -> Result<Root, WitnessError> {
        if !self.steps.is_sorted_by(|above, below| above.bit < below.bit) {
            return Err(WitnessError::Order);
        }
        Ok(self.steps.iter().rfold(leaf, |hash, Step { bit, sibling }| match bit_of(path, *bit) {
            false => branch(*bit, &hash, sibling),
            true => branch(*bit, sibling, &hash),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commitment::root_of;

    fn rows(count: u8) -> Vec<([u8; 32], [u8; 32])> {
        let row = |n: u8| (path(&n.to_be_bytes()), Sha256::digest([n]).into());
        let mut rows: Vec<_> = (0..count).map(row).collect();
        rows.sort_unstable();
        rows
    }

    /// By the letter: at each node, the half that is not taken.
    fn witness(rows: &[([u8; 32], [u8; 32])], wanted: &[u8; 32]) -> Witness {
        let mut witness = Witness::default();
        let mut rows = rows;
        while let [(first, _), .., (last, _)] = rows {
            let parts = |bit: &u8| bit_of(first, *bit) != bit_of(last, *bit);
            let bit = (0..=255).find(parts).expect("paths are distinct");
            let right = rows.partition_point(|(path, _)| !bit_of(path, bit));
            let (left, right) = rows.split_at(right);
            let (taken, other) = if bit_of(wanted, bit) { (right, left) } else { (left, right) };
            witness.steps.push(Step { bit, sibling: root_of(other) });
            rows = taken;
        }
        witness.other = rows.first().copied().filter(|(path, _)| path != wanted);
        witness
    }

    #[test]
    fn rows_that_are_there_and_rows_that_are_not_are_shown() {
        for count in [0, 1, 2, 3, 17, 100] {
            let rows = rows(count);
            let root = root_of(&rows);
            for n in 0..count + 20 {
                let key = n.to_be_bytes();
                let witness = witness(&rows, &path(&key));
                let (with, without) = (witness.root_with(&key, &[n]), witness.root_without(&key));
                if n < count {
                    assert_eq!(with, Ok(root));
                    assert_ne!(witness.root_with(&key, b"other"), Ok(root));
                    assert_ne!(without, Ok(root));
                } else {
                    assert_eq!(without, Ok(root));
                    assert_ne!(with, Ok(root));
                }
            }
        }
    }

    #[test]
    fn a_row_that_is_there_is_never_shown_to_be_absent() {
        let rows = rows(40);
        let root = root_of(&rows);
        for n in 0..40_u8 {
            for other in (0..40_u8).filter(|other| *other != n) {
                let mut witness = witness(&rows, &path(&other.to_be_bytes()));
                witness.other = Some((path(&other.to_be_bytes()), Sha256::digest([other]).into()));
                assert_eq!(
                    witness.root_without(&other.to_be_bytes()),
                    Err(WitnessError::NoOtherRow)
                );
                assert_ne!(witness.root_without(&n.to_be_bytes()), Ok(root));
            }
        }
    }
}

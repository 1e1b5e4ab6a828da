//! The commitment to the state: the root of a binary trie over its rows.
//!
//! The trie is path-compressed: where all rows below a place lie in one half, there is no node.
//! So its form, and with it the root, follows from the set of rows alone, in whatever order they
//! came. The hash format is consensus, see docs/consensus.md; the idea of nodes that name the bit
//! at which they part is that of crit-bit trees. Which rows it is of, the state machine says.
//!
//! The store keeps the trie in pages ([`Pages`]), which are no more than the rows: a block that is
//! taken off the chain takes its rows back, and the pages with them.

mod page;
mod update;
mod witness;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::execute::{Delta, RowChange, StateMachine};
use crate::store::{Archive, StoreError};

pub use page::{PageChange, Pages};
pub use update::{LeafChange, Update, update};
pub use witness::{Step, Witness, WitnessError};

/// Root of the state after a block.
pub type Root = [u8; 32];

/// Root of the state that has no rows.
pub const EMPTY: Root = [0; 32];

const LEAF: u8 = 0;
const BRANCH: u8 = 1;

/// Where the row with this key lies: SHA-256 of the key.
pub fn path(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// Hash of the row at `path` whose value has the SHA-256 `value`.
pub fn leaf(path: &[u8; 32], value: &[u8; 32]) -> [u8; 32] {
    // In one piece, which the hash takes without keeping parts of it.
    let mut bytes = [LEAF; 1 + 32 + 32];
    bytes[1..33].copy_from_slice(path);
    bytes[33..].copy_from_slice(value);
    Sha256::digest(bytes).into()
}

/// Hash of a node whose rows part at `bit` of their paths (0 = the first byte's highest): `left`
/// are those that have 0 there.
pub fn branch(bit: u8, left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut bytes = [BRANCH; 2 + 32 + 32];
    bytes[1] = bit;
    bytes[2..34].copy_from_slice(left);
    bytes[34..].copy_from_slice(right);
    Sha256::digest(bytes).into()
}

/// A bit of a path, as [`branch`] counts them.
pub fn bit_of(path: &[u8; 32], bit: u8) -> bool {
    path[usize::from(bit / 8)] >> (7 - bit % 8) & 1 == 1
}

/// Root of exactly these rows: what the trie must come to, by the letter, for tests and audits.
/// Takes paths with the SHA-256 of the values, ascending, each path once.
pub fn root_of(rows: &[([u8; 32], [u8; 32])]) -> Root {
    let [(first, _), .., (last, _)] = rows else {
        return rows.first().map_or(EMPTY, |(path, value)| leaf(path, value));
    };
    let bit = (0..=255).find(|bit| bit_of(first, *bit) != bit_of(last, *bit));
    let bit = bit.expect("paths are distinct");
    let (left, right) = rows.split_at(rows.partition_point(|(path, _)| !bit_of(path, bit)));
    branch(bit, &root_of(left), &root_of(right))
}

/// Adds to what a block does to the rows what it does to the commitment.
///
/// # Errors
/// When the store fails or its pages contradict each other.
pub fn commit<P: Pages + ?Sized>(
    machine: &dyn StateMachine,
    pages: &P,
    delta: Delta,
) -> Result<Delta, StoreError> {
    let rows = delta.rows.iter().map(|row| (&row.key[..], row.after.as_deref()));
    let Update { root, pages } = update(pages, &leaf_changes(machine, rows))?;
    Ok(Delta { state_root: root, pages, ..delta })
}

/// What taking the block at `height`, the tip, off the chain does to the pages.
///
/// # Errors
/// When the store fails or its pages contradict each other.
pub fn revert<A: Archive + ?Sized>(
    machine: &dyn StateMachine,
    archive: &A,
    height: u32,
) -> Result<Vec<PageChange>, StoreError> {
    let undo = archive.undo(height)?;
    let rows = undo.iter().map(|(key, before)| (&key[..], before.as_deref()));
    Ok(update(archive, &leaf_changes(machine, rows))?.pages)
}

/// Checks every page that [`commit`] read for these rows, the first one in any case, against the
/// root of the state before them.
///
/// # Errors
/// When the store fails, or is damaged: then what [`commit`] said is worth nothing.
pub fn check<P: Pages + ?Sized>(
    machine: &dyn StateMachine,
    pages: &P,
    rows: &[RowChange],
    root: &Root,
) -> Result<(), StoreError> {
    let mut is_sound = update(pages, &[])?.root == *root;
    for row in rows.iter().filter(|row| machine.commits_to(&row.key)) {
        let shown = Witness::of(pages, &row.key)?.root(&row.key, row.before.as_deref());
        is_sound &= shown.as_ref() == Ok(root);
    }
    is_sound.then_some(()).ok_or_else(|| page::damaged(&[], "has another root than the chain"))
}

/// Rows by key with their new values, as the trie is told of them.
pub fn leaf_changes<'a>(
    machine: &dyn StateMachine,
    rows: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
) -> Vec<LeafChange> {
    let change = |(key, value): &(&[u8], Option<&[u8]>)| LeafChange {
        path: path(key),
        value: value.map(|value| Sha256::digest(value).into()),
    };
    let committed: Vec<_> = rows.filter(|(key, _)| machine.commits_to(key)).collect();
    let mut changes: Vec<LeafChange> = if committed.len() < update::PARALLEL {
        committed.iter().map(change).collect()
    } else {
        committed.par_iter().map(change).collect()
    };
    changes.sort_unstable();
    changes
}

#[cfg(test)]
mod tests;

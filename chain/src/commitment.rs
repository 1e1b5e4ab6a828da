//! The commitment to the state: the root of a binary trie over its rows.
//!
//! The trie is path-compressed: where all rows below a place lie in one half, there is no node.
//! So its form, and with it the root, follows from the set of rows alone, in whatever order they
//! came. The hash format is consensus, see docs/consensus.md; the idea of nodes that name the bit
//! at which they part is that of crit-bit trees.

mod witness;

use sha2::{Digest, Sha256};

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
    let hash = Sha256::new().chain_update([LEAF]).chain_update(path).chain_update(value);
    hash.finalize().into()
}

/// Hash of a node whose rows part at `bit` of their paths (0 = the first byte's highest): `left`
/// are those that have 0 there.
pub fn branch(bit: u8, left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let hash = Sha256::new().chain_update([BRANCH, bit]).chain_update(left).chain_update(right);
    hash.finalize().into()
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

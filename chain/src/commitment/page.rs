//! How the trie is kept: pages of four bits of the path.
//!
//! There is a page for every prefix of whole nibbles that at least two rows share, and one for the
//! empty prefix if there is any row. Its hash is that of the trie's node above its rows, because a
//! half without rows makes no node. So pages follow from the rows alone, too.

use std::fmt::Write;
use std::path::PathBuf;

use super::{Root, branch, leaf};
use crate::store::StoreError;

/// Slots of a page: one for each nibble.
pub(super) const SLOTS: usize = 16;

/// Nibbles of a path.
pub(super) const NIBBLES: usize = 64;

/// Bytes of the two masks that a page begins with.
const HEAD_BYTES: usize = 4;

/// Read access to the pages as of one block.
pub trait Pages {
    /// The page of a prefix, a nibble a byte; `None` = there is none.
    ///
    /// # Errors
    /// When the store fails.
    fn page(&self, prefix: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
}

/// A page that a block changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageChange {
    /// What its rows' paths begin with, a nibble (0 to 15) a byte; at most 63.
    pub prefix: Vec<u8>,
    /// Its bytes after the block; `None` = there is none any more.
    pub after: Option<Vec<u8>>,
}

/// A row as the trie knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) path: [u8; 32],
    /// SHA-256 of its value.
    pub(super) value: [u8; 32],
}

/// What lies below one nibble.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Slot {
    #[default]
    Empty,
    /// One row.
    Leaf(Leaf),
    /// More rows: the hash of their node. They have a page.
    Subtree(Root),
}

impl Slot {
    pub(super) fn hash(&self) -> Option<Root> {
        match self {
            Slot::Empty => None,
            Slot::Leaf(Leaf { path, value }) => Some(leaf(path, value)),
            Slot::Subtree(hash) => Some(*hash),
        }
    }
}

/// What lies below a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) slots: [Slot; SLOTS],
}

impl Page {
    /// Reads the page of a prefix: masks of the slots that are rows and of those that are
    /// subtrees, each two bytes with slot 0 lowest, little-endian; then, slot by slot, path and
    /// value hash or the hash.
    ///
    /// # Errors
    /// When the bytes are no page of this prefix.
    pub(super) fn decode(prefix: &[u8], bytes: &[u8]) -> Result<Page, StoreError> {
        Page::parse(prefix, bytes).ok_or_else(|| damaged(prefix, "is malformed"))
    }

    fn parse(prefix: &[u8], bytes: &[u8]) -> Option<Page> {
        let (head, mut rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let leaves = u16::from_le_bytes([head[0], head[1]]);
        let subtrees = u16::from_le_bytes([head[2], head[3]]);
        let mut page = Page::default();
        for (number, slot) in (0_u8..).zip(&mut page.slots) {
            *slot = match (leaves >> number & 1, subtrees >> number & 1) {
                (0, 0) => Slot::Empty,
                (1, 0) => {
                    let path = *take(&mut rest)?;
                    if !lies_below(&path, prefix, number) {
                        return None;
                    }
                    Slot::Leaf(Leaf { path, value: *take(&mut rest)? })
                }
                (0, 1) => Slot::Subtree(*take(&mut rest)?),
                _ => return None,
            };
        }
        (rest.is_empty() && leaves | subtrees != 0).then_some(page)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let (mut leaves, mut subtrees) = (0_u16, 0_u16);
        let size = |slot: &Slot| match slot {
            Slot::Empty => 0,
            Slot::Leaf(_) => 2 * size_of::<Root>(),
            Slot::Subtree(_) => size_of::<Root>(),
        };
        let mut bytes: Vec<u8> =
            Vec::with_capacity(HEAD_BYTES + self.slots.iter().map(size).sum::<usize>());
        bytes.extend([0; HEAD_BYTES]);
        for (number, slot) in self.slots.iter().enumerate() {
            match slot {
                Slot::Empty => {}
                Slot::Leaf(Leaf { path, value }) => {
                    leaves |= 1 << number;
                    bytes.extend(path);
                    bytes.extend(value);
                }
                Slot::Subtree(hash) => {
                    subtrees |= 1 << number;
                    bytes.extend(hash);
                }
            }
        }
        bytes[..2].copy_from_slice(&leaves.to_le_bytes());
        bytes[2..HEAD_BYTES].copy_from_slice(&subtrees.to_le_bytes());
        bytes
    }

    /// The slots that are not empty.
    pub(super) fn filled(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| **slot != Slot::Empty)
    }

    /// Hash of the node above its rows, if `depth` nibbles lead to it; `None` = it has none.
    pub(super) fn hash(&self, depth: usize) -> Option<Root> {
        fold(&self.slots, 4 * depth)
    }
}

/// Hash of the node above some slots that part first at `bit`.
pub(super) fn fold(slots: &[Slot], bit: usize) -> Option<Root> {
    if let [slot] = slots {
        return slot.hash();
    }
    let (left, right) = slots.split_at(slots.len() / 2);
    match (fold(left, bit + 1), fold(right, bit + 1)) {
        (Some(left), Some(right)) => Some(branch(bit_number(bit), &left, &right)),
        (left, right) => left.or(right),
    }
}

pub(super) fn bit_number(bit: usize) -> u8 {
    u8::try_from(bit).expect("a page lies at most 63 nibbles deep")
}

/// A nibble of a path, the first byte's high one first.
pub(super) fn nibble(path: &[u8; 32], number: usize) -> u8 {
    let byte = path[number / 2];
    if number.is_multiple_of(2) { byte >> 4 } else { byte & 15 }
}

fn lies_below(path: &[u8; 32], prefix: &[u8], slot: u8) -> bool {
    let nibbles = prefix.iter().chain([&slot]).enumerate();
    prefix.len() < NIBBLES && nibbles.clone().all(|(at, wanted)| nibble(path, at) == *wanted)
}

fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8; 32]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(taken)
}

/// The page that another one says is there.
///
/// # Errors
/// When the store fails, or there is none or none that is well-formed.
pub(super) fn read<P: Pages + ?Sized>(pages: &P, prefix: &[u8]) -> Result<Page, StoreError> {
    if prefix.len() >= NIBBLES {
        return Err(damaged(prefix, "cannot be there: paths end before"));
    }
    match pages.page(prefix)? {
        Some(bytes) => Page::decode(prefix, &bytes),
        None => Err(damaged(prefix, "is missing")),
    }
}

/// The fault of a page that is not what the others say it must be.
pub(super) fn damaged(prefix: &[u8], what: &str) -> StoreError {
    let hex = prefix.iter().fold(String::new(), |mut text, nibble| {
        write!(text, "{nibble:x}").expect("writing to a string cannot fail");
        text
    });
    let what = format!("page '{hex}' {what}");
    StoreError::Inconsistent { path: PathBuf::from("commitment"), what }
}

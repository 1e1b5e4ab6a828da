//! The saved form of an address book.

use std::net::SocketAddr;

use serde::Deserialize;

use super::table::{self, MAX_COPIES, NEW_BUCKETS};
use super::{AddressBook, Entry, MAX_ANCHORS, MAX_BOOK, canonical};
use crate::protocol::secret::Secret;

/// First byte of a saved book. Version 1 had no buckets.
const BOOK_VERSION: u8 = 2;

/// Why saved bytes are not an address book. The node starts with an empty one then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// The file is of another version of the program.
    #[error("address book has version {0}, this program knows {BOOK_VERSION}")]
    Version(u8),
    /// The bytes do not decode.
    #[error("address book is damaged")]
    Damaged,
}

impl AddressBook {
    /// Reads what [`AddressBook::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are something else; use an empty book then and say so.
    pub fn decode(bytes: &[u8]) -> Result<AddressBook, BookError> {
        let (version, rest) = bytes.split_first().ok_or(BookError::Damaged)?;
        if *version != BOOK_VERSION {
            return Err(BookError::Version(*version));
        }
        read(rest).ok_or(BookError::Damaged)
    }

    /// The bytes to save: a version byte, the secret, then postcard.
    pub fn encode(&self) -> Vec<u8> {
        let entries: Vec<_> = self.entries.iter().collect();
        let body = postcard::to_stdvec(&(&self.anchors, entries));
        let body = body.expect("encoding to memory cannot fail");
        [&[BOOK_VERSION][..], &self.secret.0, &body].concat()
    }
}

fn read(bytes: &[u8]) -> Option<AddressBook> {
    let (secret, mut rest) = bytes.split_first_chunk::<32>()?;
    let mut book = AddressBook { secret: Secret(*secret), ..AddressBook::default() };
    for _ in 0..count(&mut rest, MAX_ANCHORS)? {
        book.anchors.push(take(&mut rest)?);
    }
    for _ in 0..count(&mut rest, MAX_BOOK)? {
        let (address, entry): (SocketAddr, Entry) = take(&mut rest)?;
        place(&mut book, address, entry)?;
    }
    rest.is_empty().then_some(book)
}

/// Puts a saved entry where it belongs, if it belongs there and there is room.
fn place(book: &mut AddressBook, address: SocketAddr, entry: Entry) -> Option<()> {
    let copies = entry.buckets.len();
    let is_placed = match entry.tried {
        true => entry.buckets == [table::tried_bucket(&book.secret, &address)],
        false => {
            (1..=MAX_COPIES).contains(&copies)
                && entry.buckets.iter().all(|bucket| *bucket < NEW_BUCKETS)
                && entry.buckets.is_sorted_by(|a, b| a < b)
        }
    };
    if !is_placed || address != canonical(&address) || book.entries.contains_key(&address) {
        return None;
    }
    let table = if entry.tried { &mut book.tried } else { &mut book.new };
    for bucket in &entry.buckets {
        if table.is_full(*bucket) {
            return None;
        }
        table.insert(*bucket, address);
    }
    book.entries.insert(address, entry);
    Some(())
}

fn count(rest: &mut &[u8], most: usize) -> Option<usize> {
    usize::try_from(take::<u32>(rest)?).ok().filter(|count| *count <= most)
}

fn take<'a, T: Deserialize<'a>>(rest: &mut &'a [u8]) -> Option<T> {
    let (value, after) = postcard::take_from_bytes(rest).ok()?;
    *rest = after;
    Some(value)
}

//! Reads: what the state says of keys and accounts, in bounded pages.
//!
//! Everything is as of the view. Block times are not here: they are in the headers.

use chain::Hash;
use chain::execute::{Account, Order, Range, View};
use chain::store::StoreError;
use chain::tx::PublicKey;
use serde::de::DeserializeOwned;

use crate::state::{
    DUE_ROW, Head, Reward, Version, VersionKind, account_row, credited, damaged, decode, head_row,
    key_of_head_row, version_row,
};

/// Most entries in a page, whatever is asked for.
pub const MAX_PAGE_ENTRIES: usize = 1_000;

/// A page ends with the entry that brings the bytes of its values to this, so that answers stay
/// bounded: at most one value more.
pub const PAGE_VALUE_BYTES: usize = 1024 * 1024;

/// Most heads a scan's page looks at, deleted keys included, so that its work stays bounded.
pub const MAX_SCANNED_HEADS: usize = 4_096;

/// Heads read at once by a scan.
const SCAN_CHUNK: usize = 256;
const _: () = assert!(MAX_SCANNED_HEADS.is_multiple_of(SCAN_CHUNK));

/// A version of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Vec<u8>,
    /// Its number, from 1.
    pub version: u64,
    /// Height of its block.
    pub height: u32,
    /// Its transaction.
    pub txid: Hash,
    /// Who signed that.
    pub writer: PublicKey,
    /// A value or a tombstone.
    pub kind: VersionKind,
    /// Empty for a tombstone.
    pub value: Vec<u8>,
}

/// Some versions of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryPage {
    /// In the order asked for.
    pub entries: Vec<Entry>,
    /// What to ask for as `after` to go on; `None` = this was the last page.
    pub next: Option<u64>,
}

/// Whether a scan reads values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Read the latest version of every key.
    Read,
    /// Only say which keys there are.
    Skip,
}

/// A key that a scan found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The key.
    pub key: Vec<u8>,
    /// What is true of it.
    pub head: Head,
    /// Its latest version, if values were asked for.
    pub entry: Option<Entry>,
}

/// Some keys with a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanPage {
    /// Ascending by key. Can be empty although `next` is not, after many deleted keys.
    pub found: Vec<Found>,
    /// What to ask for as `after` to go on; `None` = this was the last page.
    pub next: Option<Vec<u8>>,
}

/// Where a page of a scan starts and ends.
#[derive(Clone, Copy, Debug)]
pub struct Scan<'a> {
    /// What the keys start with; empty = every key.
    pub prefix: &'a [u8],
    /// Only keys above this one; the `next` of the page before.
    pub after: Option<&'a [u8]>,
    /// At most so many keys; taken as 1 to [`MAX_PAGE_ENTRIES`].
    pub limit: usize,
    /// Whether to read values.
    pub values: Values,
}

/// Reads the state.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    view: &'a dyn View,
}

impl<'a> Query<'a> {
    /// Reads this view.
    pub fn new(view: &'a dyn View) -> Query<'a> {
        Query { view }
    }

    /// An account as the next block finds it; one that never received or sent anything is all zero.
    ///
    /// # Errors
    /// When the store fails or is damaged; so for every method here.
    pub fn account(&self, key: &PublicKey) -> Result<Account, StoreError> {
        let account: Account = self.row(&account_row(key))?.unwrap_or_default();
        let due: Option<Reward> = self.row(DUE_ROW)?;
        let due = due.filter(|due| due.payee == *key).map_or(0, |due| due.amount);
        Ok(credited(account, due))
    }

    /// What is true of a key now; `None` = it was never written.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn head(&self, key: &[u8]) -> Result<Option<Head>, StoreError> {
        self.row(&head_row(key))
    }

    /// The latest version of a key, a tombstone if it is deleted; `None` = it was never written.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn latest(&self, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        self.head(key)?.map(|head| self.entry(key, head.version)).transpose()
    }

    /// A version of a key by its number; `None` = there is no such version.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn at_version(&self, key: &[u8], version: u64) -> Result<Option<Entry>, StoreError> {
        match self.head(key)? {
            Some(head) if (1..=head.version).contains(&version) => {
                self.entry(key, version).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The [history](crate::history) of a key up to the version before this one, which is there.
    ///
    /// # Errors
    /// When the store fails or is damaged, or there is no such version.
    pub(crate) fn history_before(&self, key: &[u8], version: u64) -> Result<[u8; 32], StoreError> {
        let row = version_row(key, version);
        let bytes = self.view.get(&row)?.ok_or_else(|| damaged(&row, "is missing"))?;
        Ok(decode::<Version>(&row, &bytes)?.before)
    }

    /// The version of a key that was the latest after the block at `height`, maybe a tombstone;
    /// `None` = it was not yet written.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn at_height(&self, key: &[u8], height: u32) -> Result<Option<Entry>, StoreError> {
        let Some(head) = self.head(key)? else {
            return Ok(None);
        };
        // Versions are in the order of heights, and the newest is what is mostly asked for.
        let mut best = None;
        let (mut low, mut high, mut probe) = (1, head.version, head.version);
        while low <= high {
            let entry = self.entry(key, probe)?;
            if entry.height <= height {
                best = Some(entry);
                let Some(above) = probe.checked_add(1) else { break };
                low = above;
            } else {
                high = probe - 1;
            }
            probe = low.midpoint(high);
        }
        Ok(best)
    }

    /// A page of a key's versions, tombstones included: those above `after`, or below it when
    /// descending; from the first or the last without it. At most `limit`, taken as 1 to
    /// [`MAX_PAGE_ENTRIES`].
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn history(
        &self,
        key: &[u8],
        after: Option<u64>,
        order: Order,
        limit: usize,
    ) -> Result<HistoryPage, StoreError> {
        let limit = limit.clamp(1, MAX_PAGE_ENTRIES);
        let latest = self.head(key)?.map_or(0, |head| head.version);
        let following = |version: u64| match order {
            Order::Ascending => version.checked_add(1).filter(|next| *next <= latest),
            Order::Descending => {
                version.min(latest.saturating_add(1)).checked_sub(1).filter(|next| *next > 0)
            }
        };
        let start = match order {
            Order::Ascending => 0,
            Order::Descending => u64::MAX,
        };
        let mut page = HistoryPage::default();
        let mut value_bytes = 0;
        let mut version = following(after.unwrap_or(start));
        while let Some(number) = version {
            if page.entries.len() == limit || value_bytes >= PAGE_VALUE_BYTES {
                page.next = page.entries.last().map(|entry| entry.version);
                break;
            }
            let entry = self.entry(key, number)?;
            value_bytes += entry.value.len();
            page.entries.push(entry);
            version = following(number);
        }
        Ok(page)
    }

    /// A page of the keys that have a live value.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StoreError> {
        let limit = scan.limit.clamp(1, MAX_PAGE_ENTRIES);
        let start = head_row(scan.prefix);
        let to = end_of_prefix(&start);
        let mut from = match scan.after {
            Some(after) => start.max(following_row(&head_row(after))),
            None => start,
        };
        let mut page = ScanPage::default();
        let mut value_bytes = 0;
        let mut last = None;
        for _ in 0..MAX_SCANNED_HEADS / SCAN_CHUNK {
            let range = Range { from: &from, to: &to, order: Order::Ascending, limit: SCAN_CHUNK };
            let rows = self.view.range(range)?;
            let more = rows.len() == SCAN_CHUNK;
            for (row, bytes) in rows {
                if page.found.len() == limit || value_bytes >= PAGE_VALUE_BYTES {
                    page.next = last;
                    return Ok(page);
                }
                let head: Head = decode(&row, &bytes)?;
                let key = key_of_head_row(&row).to_vec();
                last = Some(key.clone());
                from = following_row(&row);
                if !head.deleted {
                    let found = self.found(key, head, scan.values)?;
                    value_bytes += found.entry.as_ref().map_or(0, |entry| entry.value.len());
                    page.found.push(found);
                }
            }
            if !more {
                return Ok(page);
            }
        }
        page.next = last;
        Ok(page)
    }

    fn found(&self, key: Vec<u8>, head: Head, values: Values) -> Result<Found, StoreError> {
        let entry = match values {
            Values::Read => Some(self.entry(&key, head.version)?),
            Values::Skip => None,
        };
        Ok(Found { key, head, entry })
    }

    fn row<T: DeserializeOwned>(&self, row: &[u8]) -> Result<Option<T>, StoreError> {
        self.view.get(row)?.map(|bytes| decode(row, &bytes)).transpose()
    }

    /// A version that the key's head says is there.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub(crate) fn entry(&self, key: &[u8], version: u64) -> Result<Entry, StoreError> {
        let row = version_row(key, version);
        let bytes = self.view.get(&row)?.ok_or_else(|| damaged(&row, "is missing"))?;
        let Version { height, txid, writer, kind, before: _, value } = decode(&row, &bytes)?;
        let (key, value) = (key.to_vec(), value.to_vec());
        Ok(Entry { key, version, height, txid, writer, kind, value })
    }
}

/// The first row key above `row`.
fn following_row(row: &[u8]) -> Vec<u8> {
    [row, &[0]].concat()
}

/// The first row key above all that start with `prefix`.
///
/// # Panics
/// When no byte of the prefix is below 255; those of rows start with a letter.
fn end_of_prefix(prefix: &[u8]) -> Vec<u8> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX).expect("rows start with a letter");
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    end
}

#[cfg(test)]
mod tests;

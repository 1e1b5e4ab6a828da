//! Rows: how accounts, keys, versions and rewards lie in the chain's ordered map.
//!
//! | Row key | Row |
//! |---|---|
//! | `a` ‖ public key (32) | [`Account`], without the reward that is due; one of zeros has no row |
//! | `d` | `Reward` that is due: the next block credits it, and readers count it in already |
//! | `k` ‖ key | [`Head`] |
//! | `m` ‖ height (4, big-endian) | `Reward` that block earned and nobody can spend yet |
//! | `v` ‖ length (1) ‖ key ‖ version (8, big-endian) | `Version`; never changed once written |
//!
//! Big-endian numbers make the order of rows that of numbers; the length keeps the versions of
//! one key together. Rows are postcard. They hold no block time, because a miner may roll it:
//! readers take it from the header at the row's height.

use std::fmt::Write;
use std::path::PathBuf;

use chain::Hash;
use chain::execute::Account;
use chain::params::KeyPolicy;
use chain::store::StoreError;
use chain::tx::PublicKey;
use serde::{Deserialize, Serialize};

/// What is true of a key now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The first writer, or whom it handed the key over to.
    pub owner: PublicKey,
    /// Who may write; set by the first put for good.
    pub policy: KeyPolicy,
    /// Number of the latest version, at least 1. Versions are numbered without gaps.
    pub version: u64,
    /// Whether the latest version is a tombstone.
    pub deleted: bool,
    /// The [history](crate::history) up to the latest version.
    pub history: [u8; 32],
}

/// Bytes that are not the head of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no head of a key in canonical form")]
pub struct HeadError;

impl Head {
    /// Its row.
    ///
    /// # Consensus
    /// The state root commits to these bytes.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a row that somebody else shows.
    ///
    /// # Errors
    /// When the bytes are none, or not those that [`Head::encode`] gives.
    pub fn decode(row: &[u8]) -> Result<Head, HeadError> {
        let (head, rest) = postcard::take_from_bytes::<Head>(row).map_err(|_| HeadError)?;
        // Also refuses numbers in more bytes than they need.
        if rest.is_empty() && head.encode() == row { Ok(head) } else { Err(HeadError) }
    }
}

/// What kind of version it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VersionKind {
    /// A value.
    Put,
    /// A tombstone.
    Delete,
}

/// A version of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Version<'a> {
    /// Height of its block.
    pub(crate) height: u32,
    /// Its transaction.
    pub(crate) txid: Hash,
    /// Who signed that.
    pub(crate) writer: PublicKey,
    pub(crate) kind: VersionKind,
    /// The [history](crate::history) up to the version before: what a proof of this one needs.
    pub(crate) before: [u8; 32],
    /// Empty for a tombstone.
    #[serde(borrow, with = "serde_bytes")]
    pub(crate) value: &'a [u8],
}

/// Row key of the reward that is due.
pub(crate) const DUE_ROW: &[u8] = b"d";

/// A block's reward until it is credited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reward {
    /// Who receives it.
    pub(crate) payee: PublicKey,
    /// Subsidy and fees, in the smallest unit.
    pub(crate) amount: u64,
}

/// An account that received a reward.
pub(crate) fn credited(account: Account, amount: u64) -> Account {
    // Saturates only where a network creates more than 2^64 units; the rest is lost.
    Account { balance: account.balance.saturating_add(amount), ..account }
}

/// Whether this is the row key of an account or a head.
pub(crate) fn is_committed(row: &[u8]) -> bool {
    matches!(row.first(), Some(b'a' | b'k'))
}

/// Row key of an account.
pub(crate) fn account_row(key: &PublicKey) -> Vec<u8> {
    [b"a", &key.0[..]].concat()
}

/// Row key of a key's head, or the common start of those of all keys with this prefix.
pub fn head_row(key: &[u8]) -> Vec<u8> {
    [b"k", key].concat()
}

/// The key whose head is in this row.
pub(crate) fn key_of_head_row(row: &[u8]) -> &[u8] {
    row.strip_prefix(b"k").expect("the caller read the row from the range of heads")
}

/// Row key of a maturing reward.
pub(crate) fn reward_row(height: u32) -> Vec<u8> {
    [b"m", &height.to_be_bytes()[..]].concat()
}

/// Row key of a version.
///
/// # Panics
/// When the key is longer than any key with a head.
pub(crate) fn version_row(key: &[u8], version: u64) -> Vec<u8> {
    let len = u8::try_from(key.len()).expect("a key with versions has at most 255 bytes");
    [b"v", &[len][..], key, &version.to_be_bytes()].concat()
}

/// Most rows have no more bytes.
const ROW_BYTES: usize = 256;

/// A row's bytes.
pub(crate) fn encode(row: &impl Serialize) -> Vec<u8> {
    // On the stack first: a vector would be checked for room at every byte.
    match postcard::to_slice(row, &mut [0; ROW_BYTES]) {
        Ok(bytes) => bytes.to_vec(),
        Err(_) => postcard::to_stdvec(row).expect("encoding to memory cannot fail"),
    }
}

/// Reads a row.
///
/// # Errors
/// When the bytes are not such a row: the index is damaged.
pub(crate) fn decode<'a, T: Deserialize<'a>>(key: &[u8], row: &'a [u8]) -> Result<T, StoreError> {
    match postcard::take_from_bytes(row) {
        Ok((value, [])) => Ok(value),
        _ => Err(damaged(key, "is malformed")),
    }
}

/// The fault of a row that is not what the others say it must be.
pub(crate) fn damaged(key: &[u8], what: &str) -> StoreError {
    let what = format!("row {} {what}", hex(key));
    StoreError::Inconsistent { path: PathBuf::from("state"), what }
}

/// A row's key, as people are told of it.
pub(crate) fn hex(key: &[u8]) -> String {
    key.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_a_key_lie_together_in_the_order_of_their_numbers() {
        let rows = [
            version_row(b"a", 1),
            version_row(b"a", 255),
            version_row(b"a", 256),
            version_row(b"b", 1),
            version_row(b"aa", 1),
            version_row(&[0xff; 255], u64::MAX),
        ];
        assert!(rows.is_sorted());
        assert!(reward_row(255) < reward_row(256));
    }

    #[test]
    fn a_head_has_one_form() {
        let head = Head {
            owner: PublicKey([1; 32]),
            policy: KeyPolicy::Open,
            version: 300,
            deleted: false,
            history: [2; 32],
        };
        let row = head.encode();
        assert_eq!(row, [&[1; 32][..], &[1, 0xac, 2, 0], &[2; 32]].concat());
        assert_eq!(Head::decode(&row), Ok(head));
        let longer = [&[1; 32][..], &[1, 0xac, 0x82, 0, 0], &[2; 32]].concat();
        let not_a_bool = [&[1; 32][..], &[1, 0xac, 2, 2], &[2; 32]].concat();
        let no_policy = [&[1; 32][..], &[2, 0xac, 2, 0], &[2; 32]].concat();
        let more = [&row[..], &[0]].concat();
        for bad in [&longer, &not_a_bool, &no_policy, &more, &row[..row.len() - 1].to_vec()] {
            assert_eq!(Head::decode(bad), Err(HeadError), "{bad:02x?}");
        }
        let read_loosely: Head = decode(b"k", &longer).unwrap();
        assert_eq!(read_loosely, head, "so the form is what refuses it");
    }

    #[test]
    fn a_row_with_bytes_too_many_or_too_few_is_damaged() {
        let row = encode(&Reward { payee: PublicKey([1; 32]), amount: 300 });
        let key = reward_row(9);
        assert_eq!(decode::<Reward>(&key, &row).unwrap().amount, 300);
        for bad in [[&row[..], &[0]].concat(), row[..row.len() - 1].to_vec()] {
            let error = decode::<Reward>(&key, &bad).unwrap_err();
            assert!(error.to_string().contains("row 6d00000009 is malformed"), "{error}");
        }
    }
}

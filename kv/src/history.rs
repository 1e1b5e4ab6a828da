//! The history of a key as one hash: a chain of links, a version each. The head of a key carries
//! the hash of its latest version, so whoever knows the head can tell whether versions shown to
//! him are the key's, all of them, in order.

use chain::Hash;
use chain::tx::PublicKey;
use sha2::{Digest, Sha256};

use crate::state::VersionKind;

/// What the hash of each version begins with.
const DOMAIN: &[u8] = b"graven version 1";

/// The history of a key that was never written.
pub const START: [u8; 32] = [0; 32];

/// What the history says of one version of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
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
    /// SHA-256 of its value, which is empty for a tombstone.
    pub value_hash: [u8; 32],
}

/// The history of a key up to a version, given that up to the version before.
///
/// # Consensus
/// SHA-256 of `"graven version 1" ‖ previous ‖ version (8) ‖ height (4) ‖ txid ‖ writer ‖ kind (1)
/// ‖ value hash`; numbers are big-endian; the kind is 0 for a put, 1 for a deletion.
pub fn link(previous: &[u8; 32], record: &Record) -> [u8; 32] {
    let Record { version, height, txid, writer, kind, value_hash } = record;
    let kind = match kind {
        VersionKind::Put => 0,
        VersionKind::Delete => 1,
    };
    let hash = Sha256::new()
        .chain_update(DOMAIN)
        .chain_update(previous)
        .chain_update(version.to_be_bytes())
        .chain_update(height.to_be_bytes())
        .chain_update(txid.0)
        .chain_update(writer.0)
        .chain_update([kind])
        .chain_update(value_hash);
    hash.finalize().into()
}

/// What a [`Record`] says of a value.
pub fn value_hash(value: &[u8]) -> [u8; 32] {
    Sha256::digest(value).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn record(version: u64, kind: VersionKind, value: &[u8]) -> Record {
        Record {
            version,
            height: 1000,
            txid: Hash([0x11; 32]),
            writer: PublicKey([0x22; 32]),
            kind,
            value_hash: value_hash(value),
        }
    }

    /// The vectors of docs/consensus.md.
    #[test]
    fn a_history_has_the_hashes_that_are_published() {
        let first = link(&START, &record(1, VersionKind::Put, b"red"));
        let second = link(&first, &record(2, VersionKind::Delete, b""));
        assert_eq!(hex(&first), "135be85fcbf351b6e78b52cd2b91d8d4b53a1b5bd25041c754b2c84f9c725f10");
        assert_eq!(
            hex(&second),
            "bfca0280df2b250abcb9cb8ad82523132cd0f2ebfaf78e62d2511bdfbfa76b70"
        );
    }

    #[test]
    fn every_word_of_a_record_is_in_its_hash() {
        let record = record(7, VersionKind::Put, b"red");
        let others = [
            Record { version: 8, ..record },
            Record { height: 1001, ..record },
            Record { txid: Hash([0x12; 32]), ..record },
            Record { writer: PublicKey([0x23; 32]), ..record },
            Record { kind: VersionKind::Delete, ..record },
            Record { value_hash: value_hash(b"blue"), ..record },
        ];
        let hash = link(&START, &record);
        for other in others {
            assert_ne!(link(&START, &other), hash, "{other:?}");
        }
        assert_ne!(link(&[1; 32], &record), hash);
    }
}

//! Proofs: what shows somebody who holds block headers alone what the state after a block says of
//! one key: its latest versions, all of them, or that it was never written.
//!
//! A proof leads from the header down: merkle root, coinbase, state root, the row of the key, its
//! history, the versions. Nothing in it is believed, and there is no bit in it that could be
//! another one. What it cannot show is that the block is on the network's chain, and how many
//! blocks came after it: that is for whoever keeps the headers ([`chain::light`]). Bytes: see
//! docs/format.md.
//!
//! ```
//! use chain::light::LightChain;
//! use chain::params::Network;
//! use kv::proof::{Finding, Proof};
//!
//! /// Says what an untrusted node's proof shows of `key`, if it does.
//! fn check(chain: &LightChain, key: &[u8], bytes: &[u8]) -> Result<Finding, String> {
//!     let proof = Proof::decode(bytes).map_err(|error| error.to_string())?;
//!     // The header must come from the verifier's own chain, at the height the proof names.
//!     let header = chain.header(proof.coinbase.height).ok_or("the block is not known yet")?;
//!     let proven = proof.verify(key, header).map_err(|error| error.to_string())?;
//!     Ok(proven.finding)
//! }
//!
//! let chain = LightChain::new(Network::dev());
//! assert!(check(&chain, b"color", b"no proof").is_err());
//! ```

mod form;
mod prove;

use chain::block::{Coinbase, MAX_TAG_BYTES};
use chain::commitment::{Step, Witness, WitnessError};
use chain::header::Header;
use chain::params::{KeyPolicy, MAX_BLOCK_BYTES};
use chain::store::ChainPoint;
use chain::tx::PublicKey;
use chain::{Hash, sha256d_pair};
use serde::{Deserialize, Serialize};

use crate::history::{self, Record};
use crate::query::Entry;
use crate::state::{Head, VersionKind, head_row};

pub use form::{MAX_PROOF_BYTES, MalformedProof};
pub use prove::{Anchor, Extent, NoProof, prove};

/// Most versions in a proof.
pub const MAX_PROVEN_VERSIONS: usize = 10_000;

/// No value of any network is longer, in bytes.
const MAX_VALUE_BYTES: usize = MAX_BLOCK_BYTES as usize;

/// What a node sends to show what is true of a key after a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The key, at most 255 bytes.
    #[serde(serialize_with = "serde_bytes::serialize", deserialize_with = "form::bytes::<255, _>")]
    pub key: Vec<u8>,
    /// Hash of the block.
    pub block: Hash,
    /// What in the block's coinbase does not follow from the rest.
    pub coinbase: CoinbaseParts,
    /// From the coinbase, the leftmost leaf, to the merkle root: what is on the right.
    #[serde(deserialize_with = "form::list::<32, _, _>")]
    pub branch: Vec<Hash>,
    /// From the state root down to the key's row, or to where it would be.
    #[serde(deserialize_with = "form::list::<256, _, _>")]
    pub steps: Vec<Step>,
    /// The row at which the way ends, if it is another one: its path, the SHA-256 of its value.
    pub other: Option<([u8; 32], [u8; 32])>,
    /// What is claimed.
    pub claim: Claim,
}

/// A coinbase without its state root, which is computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoinbaseParts {
    /// Height of the block.
    pub height: u32,
    /// What miners rolled.
    pub extranonce: u64,
    /// Free bytes.
    #[serde(
        serialize_with = "serde_bytes::serialize",
        deserialize_with = "form::bytes::<MAX_TAG_BYTES, _>"
    )]
    pub tag: Vec<u8>,
    /// Subsidy and fees, in the smallest unit.
    pub value: u64,
    /// Who receives them.
    pub payee: PublicKey,
}

/// What a proof claims of its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Claim {
    /// It was never written.
    Absent,
    /// These are its latest versions.
    Written {
        /// The first writer, or whom it handed the key over to.
        owner: PublicKey,
        /// Who may write.
        policy: KeyPolicy,
        /// The versions that are not shown; `None` when all are.
        before: Option<Before>,
        /// At least one, the latest last.
        #[serde(deserialize_with = "form::list::<MAX_PROVEN_VERSIONS, _, _>")]
        versions: Vec<Written>,
    },
}

/// Versions that came before those that are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// How many there are; at least 1.
    pub count: u64,
    /// The history up to the last of them.
    pub history: [u8; 32],
}

/// A version as it is shown; its number follows from its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Height of its block.
    pub height: u32,
    /// Its transaction.
    pub txid: Hash,
    /// Who signed that.
    pub writer: PublicKey,
    /// A value or a tombstone.
    pub kind: VersionKind,
    /// Empty for a tombstone.
    #[serde(
        serialize_with = "serde_bytes::serialize",
        deserialize_with = "form::bytes::<MAX_VALUE_BYTES, _>"
    )]
    pub value: Vec<u8>,
}

/// What a proof has shown, given that its block is on the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The key.
    pub key: Vec<u8>,
    /// The block after which it is true.
    pub block: ChainPoint,
    /// That block's time, in seconds since the Unix epoch.
    pub time: u32,
    /// What is true.
    pub finding: Finding,
}

/// What is true of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It was never written.
    Absent,
    /// It was.
    Written {
        /// The first writer, or whom it handed the key over to.
        owner: PublicKey,
        /// Who may write.
        policy: KeyPolicy,
        /// Whether these are all versions there ever were.
        is_complete: bool,
        /// Its latest versions, the latest last; never empty. It may be a tombstone.
        versions: Vec<Entry>,
    },
}

/// Why a proof shows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refuted {
    /// It is for another key.
    #[error("the proof is for another key")]
    OtherKey,
    /// It is for another block.
    #[error("the proof is for block {got}, this is block {expected}")]
    OtherBlock {
        /// In the proof.
        got: Hash,
        /// The header's hash.
        expected: Hash,
    },
    /// It claims that there are versions, and shows none.
    #[error("the proof shows no version")]
    NoVersions,
    /// It says that none or more versions came before than can be.
    #[error("the proof numbers its versions wrongly")]
    Numbers,
    /// A tombstone has a value.
    #[error("the proof shows a deletion with a value")]
    Tombstone,
    /// The way through the state is none.
    #[error(transparent)]
    Witness(#[from] WitnessError),
    /// The block commits to something else.
    #[error("the block does not commit to what the proof shows")]
    NotCommitted,
}

impl Proof {
    /// Checks that the block with this header commits to what the proof claims of `key`. That the
    /// block is on the chain, at the height that comes back, is for the caller to know.
    ///
    /// # Errors
    /// When the proof does not show it.
    pub fn verify(&self, key: &[u8], header: &Header) -> Result<Proven, Refuted> {
        if self.key != key {
            return Err(Refuted::OtherKey);
        }
        let expected = header.hash();
        if self.block != expected {
            return Err(Refuted::OtherBlock { got: self.block, expected });
        }
        let (row, witness) = (head_row(key), self.witness());
        let (state_root, finding) = match &self.claim {
            Claim::Absent => (witness.root_without(&row)?, Finding::Absent),
            Claim::Written { owner, policy, before, versions } => {
                let (head, versions) = self.head(*owner, *policy, *before, versions)?;
                let (owner, policy, is_complete) = (*owner, *policy, before.is_none());
                let finding = Finding::Written { owner, policy, is_complete, versions };
                (witness.root_with(&row, &head.encode())?, finding)
            }
        };
        let coinbase = self.coinbase(state_root);
        let merkle_root =
            self.branch.iter().fold(coinbase, |left, right| sha256d_pair(&left, right));
        if merkle_root != header.merkle_root {
            return Err(Refuted::NotCommitted);
        }
        let block = ChainPoint { height: self.coinbase.height, hash: self.block };
        Ok(Proven { key: key.to_vec(), block, time: header.time, finding })
    }

    fn witness(&self) -> Witness {
        Witness { steps: self.steps.clone(), other: self.other }
    }

    /// The row that the key must have, and the versions with their numbers.
    fn head(
        &self,
        owner: PublicKey,
        policy: KeyPolicy,
        before: Option<Before>,
        versions: &[Written],
    ) -> Result<(Head, Vec<Entry>), Refuted> {
        let last = versions.last().ok_or(Refuted::NoVersions)?;
        let (mut version, mut history) = match before {
            None => (0, history::START),
            Some(Before { count: 0, .. }) => return Err(Refuted::Numbers),
            Some(Before { count, history }) => (count, history),
        };
        let mut entries = Vec::with_capacity(versions.len());
        for Written { height, txid, writer, kind, value } in versions {
            version = u64::checked_add(version, 1).ok_or(Refuted::Numbers)?;
            if *kind == VersionKind::Delete && !value.is_empty() {
                return Err(Refuted::Tombstone);
            }
            let (height, txid, writer, kind) = (*height, *txid, *writer, *kind);
            let value_hash = history::value_hash(value);
            let record = Record { version, height, txid, writer, kind, value_hash };
            history = history::link(&history, &record);
            let (key, value) = (self.key.clone(), value.clone());
            entries.push(Entry { key, version, height, txid, writer, kind, value });
        }
        let deleted = last.kind == VersionKind::Delete;
        Ok((Head { owner, policy, version, deleted, history }, entries))
    }

    /// Id of the coinbase that commits to this state.
    fn coinbase(&self, state_root: [u8; 32]) -> Hash {
        let CoinbaseParts { height, extranonce, ref tag, value, payee } = self.coinbase;
        Coinbase { height, extranonce, tag: tag.clone(), value, payee, state_root }.txid()
    }
}

#[cfg(test)]
mod tests;

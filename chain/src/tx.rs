//! Transactions: signed, ordered per signer, carrying operations the chain does not interpret.
//!
//! The bytes are postcard: `version, signer, sequence, expires_at, fee, operations, signature`.
//! They are self-delimiting, canonical (what decodes re-encodes to the same bytes) and end with
//! the 64 signature bytes, so the signed message is a prefix of the encoding.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use bech32::{Bech32m, Hrp};
pub use ed25519_zebra::SigningKey;
use ed25519_zebra::VerificationKeyBytes;
use miner::{Hash, sha256d};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// The only transaction version there is.
pub const TRANSACTION_VERSION: u8 = 1;

/// Bytes of an Ed25519 signature at the end of every encoding.
pub const SIGNATURE_BYTES: usize = 64;

/// Fewest bytes a transaction can have: version, key, three one-byte integers, an operation
/// count and the signature. Caps the count read from a block before anything is allocated.
pub const MIN_TRANSACTION_BYTES: usize = 1 + 32 + 3 + 1 + SIGNATURE_BYTES;

/// Domain separation of transaction signatures.
const SIGNING_CONTEXT: &[u8] = b"graven transaction 1";

const ADDRESS_PREFIX: Hrp = Hrp::parse_unchecked("grvn");

/// An Ed25519 public key: the name of an account. Shown as a bech32m address, `grvn1..`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct PublicKey(pub [u8; 32]);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = bech32::encode::<Bech32m>(ADDRESS_PREFIX, &self.0)
            .expect("32 bytes are within bech32m's length limit");
        f.write_str(&text)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a graven address (grvn1.. with its checksum): {0}")]
pub struct AddressError(String);

impl FromStr for PublicKey {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<PublicKey, AddressError> {
        let checked = bech32::primitives::decode::CheckedHrpstring::new::<Bech32m>(text)
            .map_err(|error| AddressError(error.to_string()))?;
        if checked.hrp() != ADDRESS_PREFIX {
            return Err(AddressError(format!("prefix {}", checked.hrp())));
        }
        let bytes: Vec<u8> = checked.byte_iter().collect();
        let key: [u8; 32] =
            bytes.try_into().map_err(|_| AddressError("not 32 bytes".to_string()))?;
        Ok(PublicKey(key))
    }
}

impl From<&SigningKey> for PublicKey {
    fn from(key: &SigningKey) -> PublicKey {
        PublicKey(VerificationKeyBytes::from(key).into())
    }
}

/// An Ed25519 signature, as its two 32-byte halves R and S.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    r: [u8; 32],
    s: [u8; 32],
}

impl Signature {
    /// The 64 bytes R ‖ S.
    pub fn to_bytes(self) -> [u8; SIGNATURE_BYTES] {
        let mut out = [0; SIGNATURE_BYTES];
        out[..32].copy_from_slice(&self.r);
        out[32..].copy_from_slice(&self.s);
        out
    }

    fn from_bytes(bytes: [u8; SIGNATURE_BYTES]) -> Signature {
        let (mut r, mut s) = ([0; 32], [0; 32]);
        r.copy_from_slice(&bytes[..32]);
        s.copy_from_slice(&bytes[32..]);
        Signature { r, s }
    }
}

/// One operation's bytes; what they mean is the state machine's business.
pub type OperationBytes = ByteBuf;

/// What a signer signs: every field but the signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsigned {
    /// [`TRANSACTION_VERSION`].
    pub version: u8,
    /// Whose account pays and whose sequence this takes.
    pub signer: PublicKey,
    /// Number of earlier transactions of the signer in the chain.
    pub sequence: u64,
    /// Last height whose block may include it; 0 = never expires.
    pub expires_at: u32,
    /// Coins (in the smallest unit) for the miner.
    pub fee: u64,
    /// Applied together or not at all.
    pub operations: Vec<OperationBytes>,
}

impl Unsigned {
    /// Signs for the network with this genesis hash.
    pub fn sign(self, key: &SigningKey, genesis: &Hash) -> Transaction {
        let prefix = postcard::to_stdvec(&self).expect("encoding to memory cannot fail");
        let signature = key.sign(&signing_message(genesis, &prefix));
        let signature = Signature::from_bytes(signature.to_bytes());
        Transaction::assemble(Fields { unsigned: self, signature })
    }

    /// Bytes the signed transaction will have.
    pub fn signed_len(&self) -> usize {
        postcard::experimental::serialized_size(self).expect("sizes always compute")
            + SIGNATURE_BYTES
    }
}

/// A transaction's fields, as encoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Fields {
    unsigned: Unsigned,
    signature: Signature,
}

/// A decoded transaction with its exact bytes and id. Not yet checked against any rule.
#[derive(Clone, PartialEq, Eq)]
pub struct Transaction {
    fields: Fields,
    bytes: Vec<u8>,
    txid: Hash,
}

/// Why bytes are not a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Cut short or malformed.
    #[error("transaction bytes are cut short or malformed")]
    Malformed,
    /// Decodes, but would be encoded otherwise.
    #[error("transaction bytes are not in their canonical form")]
    NotCanonical,
    /// Bytes follow the transaction.
    #[error("{0} bytes follow the transaction")]
    Trailing(usize),
}

impl Transaction {
    fn assemble(fields: Fields) -> Transaction {
        let bytes = postcard::to_stdvec(&fields).expect("encoding to memory cannot fail");
        let txid = sha256d(&bytes);
        Transaction { fields, bytes, txid }
    }

    /// Reads exactly one transaction.
    ///
    /// # Errors
    /// When bytes are missing, left over, malformed or not canonical.
    pub fn decode(bytes: &[u8]) -> Result<Transaction, DecodeError> {
        let (transaction, rest) = Transaction::take(bytes)?;
        if rest.is_empty() { Ok(transaction) } else { Err(DecodeError::Trailing(rest.len())) }
    }

    /// Reads one transaction from the front and returns what follows it.
    ///
    /// # Errors
    /// When bytes are missing, malformed or not canonical.
    pub fn take(bytes: &[u8]) -> Result<(Transaction, &[u8]), DecodeError> {
        let (fields, rest) =
            postcard::take_from_bytes::<Fields>(bytes).map_err(|_| DecodeError::Malformed)?;
        let transaction = Transaction::assemble(fields);
        let used = bytes.len() - rest.len();
        if transaction.bytes != bytes[..used] {
            return Err(DecodeError::NotCanonical);
        }
        Ok((transaction, rest))
    }

    /// The encoding that is hashed, sent and stored.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Double SHA-256 of [`Transaction::bytes`].
    pub fn txid(&self) -> Hash {
        self.txid
    }

    /// The signature over [`Transaction::signing_message`].
    pub fn signature(&self) -> Signature {
        self.fields.signature
    }

    /// What the signature signs: a context string, the genesis hash, all other fields.
    pub fn signing_message(&self, genesis: &Hash) -> Vec<u8> {
        signing_message(genesis, &self.bytes[..self.bytes.len() - SIGNATURE_BYTES])
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("txid", &self.txid)
            .field("unsigned", &self.fields.unsigned)
            .finish_non_exhaustive()
    }
}

impl Deref for Transaction {
    type Target = Unsigned;

    fn deref(&self) -> &Unsigned {
        &self.fields.unsigned
    }
}

fn signing_message(genesis: &Hash, prefix: &[u8]) -> Vec<u8> {
    [SIGNING_CONTEXT, &genesis.0, prefix].concat()
}

/// A transaction that passed every rule that needs nothing but the network's parameters
/// ([`crate::rules::isolation`]); only those rules make one. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedTransaction(pub(crate) Arc<Transaction>);

impl Deref for CheckedTransaction {
    type Target = Transaction;

    fn deref(&self) -> &Transaction {
        &self.0
    }
}

#[cfg(test)]
mod tests;

//! Operations: what a transaction asks for, and their bytes.
//!
//! The bytes are postcard and canonical: what decodes re-encodes to the same bytes. Keys and
//! values are borrowed from the transaction that carries them.

use chain::params::{KeyPolicy, Limits};
use chain::tx::{OperationBytes, PublicKey};
use serde::{Deserialize, Serialize};

/// Longest key, in bytes; the shortest has one. Rows store a key's length in one byte.
pub const MAX_KEY_BYTES: usize = 255;
const _: () = assert!(MAX_KEY_BYTES == u8::MAX as usize);

/// What must hold of a key for a write to be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expect {
    /// Nothing.
    Any,
    /// The key has no live value: it was never written, or deleted last.
    Absent,
    /// The latest version, a tombstone or not, has this number; 0 = the key was never written.
    Version(u64),
}

/// One operation. Those of a transaction are applied together or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation<'a> {
    /// Writes the key's next version. The first put makes the signer the owner.
    Put {
        /// 1 to [`MAX_KEY_BYTES`] bytes.
        #[serde(borrow, with = "serde_bytes")]
        key: &'a [u8],
        /// At most the network's `limits.value_bytes`.
        #[serde(borrow, with = "serde_bytes")]
        value: &'a [u8],
        /// Condition on the key's state.
        expect: Expect,
        /// Who may write the key after its first put; `None` = the network's default at the
        /// first put, whatever it is later.
        policy: Option<KeyPolicy>,
    },
    /// Ends the key's live value with a tombstone version. Its history and its owner stay.
    Delete {
        /// 1 to [`MAX_KEY_BYTES`] bytes.
        #[serde(borrow, with = "serde_bytes")]
        key: &'a [u8],
        /// Condition on the key's state.
        expect: Expect,
    },
    /// Makes somebody else the owner of a key, deleted or not. Makes no version.
    HandOver {
        /// 1 to [`MAX_KEY_BYTES`] bytes.
        #[serde(borrow, with = "serde_bytes")]
        key: &'a [u8],
        /// The new owner.
        to: PublicKey,
    },
    /// Moves coins from the signer's account.
    Pay {
        /// Who receives them.
        to: PublicKey,
        /// In the smallest unit.
        amount: u64,
    },
}

/// Why bytes are not an operation that a transaction may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// Cut short or malformed.
    #[error("operation bytes are cut short or malformed")]
    Malformed,
    /// Decodes, but would be encoded otherwise, or is followed by more bytes.
    #[error("operation bytes are not in their canonical form")]
    NotCanonical,
    /// The key has no bytes.
    #[error("the key is empty: a key has 1 to {MAX_KEY_BYTES} bytes")]
    KeyEmpty,
    /// The key has more than [`MAX_KEY_BYTES`] bytes.
    #[error("the key has {got} bytes, at most {MAX_KEY_BYTES} are allowed")]
    KeyTooLong {
        /// Its length, in bytes.
        got: usize,
    },
    /// The value exceeds the network's limit.
    #[error("the value has {got} bytes, this network allows at most {limit}")]
    ValueTooLong {
        /// Its length, in bytes.
        got: usize,
        /// The network's `limits.value_bytes`.
        limit: u32,
    },
}

impl<'a> Operation<'a> {
    /// The bytes a transaction carries.
    pub fn encode(&self) -> OperationBytes {
        let bytes = postcard::to_stdvec(self).expect("encoding to memory cannot fail");
        OperationBytes::from(bytes)
    }

    /// Reads exactly one operation. Lengths are [`Operation::check`]'s business.
    ///
    /// # Errors
    /// When bytes are missing, left over, malformed or not canonical.
    pub fn decode(bytes: &'a [u8]) -> Result<Operation<'a>, OperationError> {
        let operation = Operation::decode_again(bytes)?;
        if operation.encode() != bytes {
            return Err(OperationError::NotCanonical);
        }
        Ok(operation)
    }

    /// Reads an operation that [`Operation::decode`] has read before, such as one of a checked
    /// transaction: that it is canonical costs as much as the rest, and is not asked again.
    ///
    /// # Errors
    /// When bytes are missing or malformed.
    pub fn decode_again(bytes: &'a [u8]) -> Result<Operation<'a>, OperationError> {
        postcard::from_bytes(bytes).map_err(|_| OperationError::Malformed)
    }

    /// Checks the lengths of key and value.
    ///
    /// # Consensus
    /// A key has 1 to [`MAX_KEY_BYTES`] bytes, a value at most `limits.value_bytes`.
    ///
    /// # Errors
    /// The broken rule.
    pub fn check(&self, limits: &Limits) -> Result<(), OperationError> {
        if let Some(key) = self.key() {
            check_key(key)?;
        }
        match self {
            Operation::Put { value, .. } => check_value(value, limits.value_bytes),
            _ => Ok(()),
        }
    }

    /// The key it is about; payments have none.
    pub fn key(&self) -> Option<&'a [u8]> {
        match *self {
            Operation::Put { key, .. }
            | Operation::Delete { key, .. }
            | Operation::HandOver { key, .. } => Some(key),
            Operation::Pay { .. } => None,
        }
    }
}

fn check_key(key: &[u8]) -> Result<(), OperationError> {
    match key.len() {
        0 => Err(OperationError::KeyEmpty),
        1..=MAX_KEY_BYTES => Ok(()),
        got => Err(OperationError::KeyTooLong { got }),
    }
}

fn check_value(value: &[u8], limit: u32) -> Result<(), OperationError> {
    match u32::try_from(value.len()) {
        Ok(bytes) if bytes <= limit => Ok(()),
        _ => Err(OperationError::ValueTooLong { got: value.len(), limit }),
    }
}

#[cfg(test)]
mod tests;

//! A proof's bytes: one form for each proof, and no list longer than it may be.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use super::Proof;

/// What the bytes begin with.
const VERSION: u8 = 1;

/// No proof is longer, in bytes.
pub const MAX_PROOF_BYTES: usize = 16 * 1024 * 1024;

/// Why bytes are no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedProof {
    /// They are too many.
    #[error("a proof has at most {MAX_PROOF_BYTES} bytes, this one {0}")]
    TooLong(usize),
    /// Of a form that is not known.
    #[error("this is no proof of version {VERSION}")]
    Version,
    /// They do not decode.
    #[error("the proof does not decode")]
    Malformed,
    /// Others mean the same.
    #[error("the proof is not in its one canonical form")]
    NotCanonical,
}

impl Proof {
    /// The bytes: postcard after a byte for the version.
    pub fn encode(&self) -> Vec<u8> {
        let proof = postcard::to_stdvec(self).expect("encoding to memory cannot fail");
        [&[VERSION][..], &proof].concat()
    }

    /// Reads exactly one proof.
    ///
    /// # Errors
    /// When the bytes are none, or not those that [`Proof::encode`] gives.
    pub fn decode(bytes: &[u8]) -> Result<Proof, MalformedProof> {
        if bytes.len() > MAX_PROOF_BYTES {
            return Err(MalformedProof::TooLong(bytes.len()));
        }
        let (version, rest) = bytes.split_first().ok_or(MalformedProof::Version)?;
        if *version != VERSION {
            return Err(MalformedProof::Version);
        }
        let (proof, rest) =
            postcard::take_from_bytes::<Proof>(rest).map_err(|_| MalformedProof::Malformed)?;
        // Also refuses numbers in more bytes than they need.
        if rest.is_empty() && proof.encode() == bytes {
            Ok(proof)
        } else {
            Err(MalformedProof::NotCanonical)
        }
    }
}

/// Bytes, at most `MOST`.
pub(super) fn bytes<'de, const MOST: usize, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<u8>, D::Error> {
    // Borrowed: a length that lies sets nothing aside.
    let bytes: &[u8] = serde_bytes::deserialize(deserializer)?;
    if bytes.len() > MOST {
        return Err(D::Error::custom("too many bytes"));
    }
    Ok(bytes.to_vec())
}

/// A list of at most `MOST`.
pub(super) fn list<'de, const MOST: usize, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_seq(AtMost::<MOST, T>(PhantomData))
}

struct AtMost<const MOST: usize, T>(PhantomData<T>);

impl<'de, const MOST: usize, T: Deserialize<'de>> Visitor<'de> for AtMost<MOST, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MOST}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        if items.size_hint().is_some_and(|count| count > MOST) {
            return Err(A::Error::custom("too many items"));
        }
        // What is there decides how much is set aside, not what the length says.
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            if list.len() == MOST {
                return Err(A::Error::custom("too many items"));
            }
            list.push(item);
        }
        Ok(list)
    }
}

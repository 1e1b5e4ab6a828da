//! A proof as a file: JSON around the proof's bytes (docs/format.md, "Proofs").
//!
//! What stands beside the proof is there for people and programs to find their way. None of it is
//! believed: it must be what the proof itself says, or be checked like it.

use chain::Hash;
use chain::header::{HEADER_BYTES, Header};
use chain::params::Network;
use data_encoding::{BASE64, HEXLOWER};
use kv::proof::{MAX_PROOF_BYTES, MalformedProof, Proof};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::reply::{one_line, put_bytes};

const FORMAT: &str = "graven proof 1";

/// Most headers in a file.
pub const MAX_HEADERS: usize = 100_000;

/// No file is longer, in bytes: base64 takes four for three, hex two for one, and the rest is
/// short.
pub const MAX_FILE_BYTES: usize =
    MAX_PROOF_BYTES.div_ceil(3) * 4 + MAX_HEADERS * (2 * HEADER_BYTES + 8) + 16 * 1024;

/// A proof, and what was said with it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Form")]
pub struct ProofFile {
    /// The network's name.
    pub network: String,
    /// Its genesis hash.
    pub genesis: Hash,
    /// The key that it is said to be for.
    pub key: Vec<u8>,
    /// Headers, ascending; the proof's block is among them, if there are any.
    pub headers: Vec<Header>,
    /// The proof.
    pub proof: Proof,
}

/// Why bytes are no such file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedFile {
    /// More than any proof has.
    #[error("the file has more than {MAX_FILE_BYTES} bytes")]
    TooLong,
    /// No JSON, or fields that are missing, of another type, or not known.
    #[error("the file is not the JSON of a proof: {0}")]
    Json(String),
    /// Another format.
    #[error("\"format\" is not {FORMAT:?}")]
    Format,
    /// A field that is not what it should be.
    #[error("{0:?} is malformed")]
    Field(&'static str),
    /// The proof itself.
    #[error(transparent)]
    Proof(#[from] MalformedProof),
}

impl ProofFile {
    /// A proof as a node gives it, with headers.
    pub fn new(network: &Network, proof: Proof, headers: Vec<Header>) -> ProofFile {
        let (network, genesis) = (network.name.clone(), network.genesis_hash());
        ProofFile { network, genesis, key: proof.key.clone(), headers, proof }
    }

    /// The file's content.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("format".to_string(), FORMAT.into());
        object.insert("network".to_string(), self.network.as_str().into());
        object.insert("genesis".to_string(), self.genesis.to_string().into());
        put_bytes(&mut object, "key", &self.key);
        let headers = self.headers.iter().map(|header| HEXLOWER.encode(&header.encode()));
        object.insert("headers".to_string(), headers.collect::<Vec<String>>().into());
        object.insert("proof".to_string(), BASE64.encode(&self.proof.encode()).into());
        object.into()
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(bytes: &[u8]) -> Result<ProofFile, MalformedFile> {
        if bytes.len() > MAX_FILE_BYTES {
            return Err(MalformedFile::TooLong);
        }
        let not_json = |error: serde_json::Error| MalformedFile::Json(one_line(&error.to_string()));
        let Named { format } = serde_json::from_slice(bytes).map_err(not_json)?;
        if format != FORMAT {
            return Err(MalformedFile::Format);
        }
        serde_json::from_slice::<Form>(bytes).map_err(not_json)?.try_into()
    }
}

/// What a file of any format says of itself.
#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    format: String,
}

/// A file's fields. It is read without anything that is larger in memory than in the file: whoever
/// wrote it is not trusted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    format: String,
    network: String,
    genesis: String,
    key: Option<String>,
    key_base64: Option<String>,
    #[serde(default)]
    headers: Vec<HexHeader>,
    proof: String,
}

impl TryFrom<Form> for ProofFile {
    type Error = MalformedFile;

    fn try_from(form: Form) -> Result<ProofFile, MalformedFile> {
        if form.format != FORMAT {
            return Err(MalformedFile::Format);
        }
        let genesis = form.genesis.parse().map_err(|_| MalformedFile::Field("genesis"))?;
        let base64 = |text: &str, field| {
            BASE64.decode(text.as_bytes()).map_err(|_| MalformedFile::Field(field))
        };
        let key = match (form.key, form.key_base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(text)) => {
                let key = base64(&text, "key_base64")?;
                // There is one way to write each key.
                if str::from_utf8(&key).is_ok() {
                    return Err(MalformedFile::Field("key_base64"));
                }
                key
            }
            (None, None) | (Some(_), Some(_)) => return Err(MalformedFile::Field("key")),
        };
        if form.headers.len() > MAX_HEADERS {
            return Err(MalformedFile::Field("headers"));
        }
        let headers = form.headers.into_iter().map(|HexHeader(header)| header).collect();
        let proof = Proof::decode(&base64(&form.proof, "proof")?)?;
        Ok(ProofFile { network: form.network, genesis, key, headers, proof })
    }
}

/// A header in hex, half as large as its text.
pub(super) struct HexHeader(pub(super) Header);

impl<'de> Deserialize<'de> for HexHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<HexHeader, D::Error> {
        let hex = String::deserialize(deserializer)?;
        let bytes = HEXLOWER.decode(hex.as_bytes()).ok();
        let bytes: Option<[u8; HEADER_BYTES]> = bytes.and_then(|bytes| bytes.try_into().ok());
        let malformed = || D::Error::custom("a header is not 160 hex digits");
        Ok(HexHeader(Header::decode(&bytes.ok_or_else(malformed)?)))
    }
}

#[cfg(test)]
mod tests;

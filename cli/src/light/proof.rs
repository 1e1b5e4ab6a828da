//! A proof as a file: JSON around the proof's bytes (docs/format.md, "Proofs").
//!
//! What stands beside the proof is there for people and programs to find their way. None of it is
//! believed: it must be what the proof itself says, or be checked like it.

use chain::Hash;
use chain::header::{HEADER_BYTES, Header};
use chain::params::Network;
use data_encoding::{BASE64, HEXLOWER};
use kv::proof::{MAX_PROOF_BYTES, MalformedProof, Proof};
use serde_json::{Map, Value};

use crate::reply::{get_bytes, put_bytes};

const FORMAT: &str = "graven proof 1";

/// Most headers in a file.
pub const MAX_HEADERS: usize = 100_000;

/// No file is longer, in bytes: base64 takes four for three, hex two for one, and the rest is
/// short.
pub const MAX_FILE_BYTES: usize =
    MAX_PROOF_BYTES.div_ceil(3) * 4 + MAX_HEADERS * (2 * HEADER_BYTES + 8) + 16 * 1024;

/// A proof, and what was said with it.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// No JSON.
    #[error("the file is no JSON: {0}")]
    Json(String),
    /// Another format.
    #[error("\"format\" is not {FORMAT:?}")]
    Format,
    /// Something that is not there, not what it should be, or not known.
    #[error("{0:?} is missing, malformed or unknown")]
    Field(String),
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
        let value = serde_json::from_slice(bytes);
        ProofFile::from_json(&value.map_err(|error| MalformedFile::Json(error.to_string()))?)
    }

    /// Reads a file's content.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_json(value: &Value) -> Result<ProofFile, MalformedFile> {
        let field = |name: &str| MalformedFile::Field(name.to_string());
        if value["format"] != FORMAT {
            return Err(MalformedFile::Format);
        }
        let known = ["format", "network", "genesis", "key", "key_base64", "headers", "proof"];
        let names = value.as_object().into_iter().flat_map(Map::keys);
        if let Some(unknown) = names.into_iter().find(|name| !known.contains(&name.as_str())) {
            return Err(field(unknown));
        }
        let text = |name: &str| value[name].as_str().ok_or_else(|| field(name));
        let genesis = text("genesis")?.parse().map_err(|_| field("genesis"))?;
        let key = get_bytes(value, "key").ok_or_else(|| field("key"))?;
        let headers = match value.get("headers") {
            None => Vec::new(),
            Some(list) => read_headers(list).ok_or_else(|| field("headers"))?,
        };
        let proof = BASE64.decode(text("proof")?.as_bytes()).map_err(|_| field("proof"))?;
        let (network, proof) = (text("network")?.to_string(), Proof::decode(&proof)?);
        Ok(ProofFile { network, genesis, key, headers, proof })
    }
}

/// Headers in hex; `None` when the list is none, or longer than it may be.
fn read_headers(list: &Value) -> Option<Vec<Header>> {
    let list = list.as_array().filter(|list| list.len() <= MAX_HEADERS)?;
    list.iter().map(read_header).collect()
}

/// A header in hex.
pub fn read_header(hex: &Value) -> Option<Header> {
    let bytes = HEXLOWER.decode(hex.as_str()?.as_bytes()).ok()?;
    Some(Header::decode(&bytes.try_into().ok()?))
}

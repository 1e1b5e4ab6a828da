//! Answers from the store: what reader threads do.

pub mod raw;

use chain::Hash;
use chain::block::Block;
use chain::execute::Order;
use chain::params::Network;
use chain::store::{Archive, ChainPoint, SqliteArchive, StoreError};
use data_encoding::HEXLOWER;
use kv::proof::{self, Extent};
use kv::query::{HistoryPage, Scan, ScanPage};
use kv::{Effect, Entry, Outcome, Query, VersionKind};
use serde_json::{Map, Value, json};

use crate::light::proof::ProofFile;
use crate::reply::{Code, Failure, put_bytes};
use crate::request::{At, BlockName, HeadersFrom, Read};
use raw::Found;

/// An answer.
#[derive(Debug)]
pub enum Answer {
    /// What lines are answered with.
    Json(Value),
    /// What the Redis protocol is answered from.
    Raw(Found),
}

impl Answer {
    /// The answer to anything but a [`Read::Raw`].
    ///
    /// # Panics
    /// When it is another one: a reader answers what it was asked.
    pub fn into_json(self) -> Value {
        match self {
            Answer::Json(value) => value,
            Answer::Raw(_) => panic!("only the Redis protocol asks raw questions"),
        }
    }

    /// The answer to a [`Read::Raw`].
    ///
    /// # Panics
    /// When it is another one.
    pub fn into_raw(self) -> Found {
        match self {
            Answer::Raw(found) => found,
            Answer::Json(_) => panic!("the Redis protocol asks raw questions only"),
        }
    }
}

/// An answer, or what the client is told instead, and the tip of the snapshot it was read from, if
/// the store could say so.
pub type Answered = (Option<ChainPoint>, Result<Answer, Failure>);

/// Answers a question on one snapshot of the store.
pub fn answer(archive: &SqliteArchive, network: &Network, read: &Read) -> Answered {
    let mut seen = None;
    let answer = archive.snapshot(|archive| {
        let tip = archive.tip()?;
        seen = Some(tip);
        let query = Query::new(archive);
        if let Read::Raw(read) = read {
            return Ok(raw::answer(&query, read)?.map(Answer::Raw));
        }
        let reader = Reader { archive, network, tip: tip.height, query };
        Ok(reader.answer(read)?.map(Answer::Json))
    });
    (seen, answer.unwrap_or_else(|error| Err(store_failure(&error))))
}

/// The failure that a client sees when the store fails.
pub fn store_failure(error: &StoreError) -> Failure {
    tracing::error!(target: "node", %error, "a read failed");
    Failure::new(Code::Internal, error)
}

/// What an outcome says, as fields of a reply.
pub fn put_outcome(object: &mut Map<String, Value>, outcome: &[u8]) {
    match Outcome::decode(outcome) {
        Ok(Outcome::Applied(effects)) => {
            let versions = effects.iter().map(|effect| match effect {
                Effect::Version(version) => Some(*version),
                Effect::None => None,
            });
            let versions: Vec<Option<u64>> = versions.collect();
            match versions[..] {
                [None] => {}
                [Some(version)] => drop(object.insert("version".to_string(), version.into())),
                _ => drop(object.insert("versions".to_string(), versions.into())),
            }
        }
        Ok(Outcome::Failed { operation, reason }) => {
            object.insert("failed_operation".to_string(), operation.into());
            object.insert("reason".to_string(), reason.code().into());
            object.insert("message".to_string(), reason.to_string().into());
        }
        Err(error) => {
            object.insert("message".to_string(), error.to_string().into());
        }
    }
}

/// Whether an outcome's operations were applied.
pub fn is_applied(outcome: &[u8]) -> bool {
    matches!(Outcome::decode(outcome), Ok(Outcome::Applied(_)))
}

struct Reader<'a> {
    archive: &'a SqliteArchive,
    network: &'a Network,
    tip: u32,
    query: Query<'a>,
}

type Shown = Result<Result<Value, Failure>, StoreError>;

impl Reader<'_> {
    fn answer(&self, read: &Read) -> Shown {
        match read {
            Read::Retrieve { key, at } => self.retrieve(key, *at),
            Read::RetrieveAll { key, limit, after, order } => {
                self.retrieve_all(key, *limit, *after, *order)
            }
            Read::Prove { key, extent } => self.prove(key, *extent),
            Read::Scan { prefix, after, limit, values } => {
                let scan = Scan { prefix, after: after.as_deref(), limit: *limit, values: *values };
                self.query.scan(scan)?.render(self)
            }
            Read::Block(name) => self.block(*name),
            Read::Headers { from, limit } => self.headers(from, *limit),
            Read::Inclusion(txid) => self.inclusion(txid),
            Read::Raw(_) => unreachable!("answered without JSON"),
        }
    }

    fn retrieve(&self, key: &[u8], at: At) -> Shown {
        let entry = match at {
            At::Latest => self.query.latest(key)?,
            At::Version(version) => self.query.at_version(key, version)?,
            At::Height(height) => self.query.at_height(key, height)?,
        };
        let shown = String::from_utf8_lossy(key);
        match entry {
            Some(entry) if entry.kind == VersionKind::Put => {
                let mut object = Map::new();
                put_bytes(&mut object, "key", key);
                self.put_entry(&mut object, &entry)?;
                Ok(Ok(object.into()))
            }
            Some(entry) => {
                let version = entry.version;
                let what = format!("key {shown:?} was deleted in version {version}");
                Ok(Err(Failure::new(Code::NotFound, what)))
            }
            None => {
                let what = match at {
                    At::Latest => format!("key {shown:?} was never written"),
                    At::Version(version) => format!("key {shown:?} has no version {version}"),
                    At::Height(height) => format!("key {shown:?} had no value at height {height}"),
                };
                Ok(Err(Failure::new(Code::NotFound, what)))
            }
        }
    }

    fn retrieve_all(&self, key: &[u8], limit: usize, after: Option<u64>, order: Order) -> Shown {
        let Some(head) = self.query.head(key)? else {
            let shown = String::from_utf8_lossy(key);
            let what = format!("key {shown:?} was never written");
            return Ok(Err(Failure::new(Code::NotFound, what)));
        };
        let HistoryPage { entries, next } = self.query.history(key, after, order, limit)?;
        let mut versions = Vec::with_capacity(entries.len());
        for entry in &entries {
            let mut object = Map::new();
            self.put_entry(&mut object, entry)?;
            versions.push(Value::Object(object));
        }
        let mut object = Map::new();
        put_bytes(&mut object, "key", key);
        object.insert("owner".to_string(), head.owner.to_string().into());
        object.insert("policy".to_string(), json!(head.policy));
        object.insert("latest".to_string(), head.version.into());
        object.insert("versions".to_string(), versions.into());
        object.insert("next".to_string(), next.into());
        Ok(Ok(object.into()))
    }

    fn prove(&self, key: &[u8], extent: Extent) -> Shown {
        let proof = match proof::prove(self.archive, self.network, key, extent)? {
            Ok(proof) => proof,
            Err(error) => return Ok(Err(Failure::new(Code::Refused, error))),
        };
        let headers = self.archive.main_headers(proof.coinbase.height, 1)?;
        Ok(Ok(ProofFile::new(self.network, proof, headers).to_json()))
    }

    fn put_entry(&self, object: &mut Map<String, Value>, entry: &Entry) -> Result<(), StoreError> {
        match entry.kind {
            VersionKind::Put => put_bytes(object, "value", &entry.value),
            VersionKind::Delete => {
                object.insert("deleted".to_string(), true.into());
            }
        }
        let more = json!({
            "version": entry.version,
            "height": entry.height,
            "time": self.time_at(entry.height)?,
            "txid": entry.txid.to_string(),
            "writer": entry.writer.to_string(),
            "confirmations": self.confirmations(entry.height),
        });
        extend(object, more);
        Ok(())
    }

    fn block(&self, name: BlockName) -> Shown {
        let hash = match name {
            BlockName::Hash(hash) => Some(hash),
            BlockName::Height(height) => self.archive.main_hash(height)?,
        };
        let genesis = self.network.genesis();
        let block = match hash {
            Some(hash) if hash == genesis.header.hash() => Some(genesis),
            Some(hash) => self
                .archive
                .block_bytes(&hash)?
                .map(|bytes| Block::decode(&bytes).expect("the log's checksums vouch for blocks")),
            None => None,
        };
        let Some(block) = block else {
            let what = match name {
                BlockName::Hash(hash) => format!("no block {hash} is stored here"),
                BlockName::Height(height) => {
                    format!("no block of height {height}; the tip has {}", self.tip)
                }
            };
            return Ok(Err(Failure::new(Code::NotFound, what)));
        };
        let hash = block.header.hash();
        let on_main = self.archive.main_hash(block.coinbase.height)? == Some(hash);
        let txids: Vec<String> =
            block.transactions.iter().map(|transaction| transaction.txid().to_string()).collect();
        Ok(Ok(json!({
            "hash": hash.to_string(),
            "height": block.coinbase.height,
            "main_chain": on_main,
            "confirmations": if on_main { self.confirmations(block.coinbase.height) } else { 0 },
            "version": format!("{:08x}", block.header.version),
            "previous": block.header.prev.to_string(),
            "merkle_root": block.header.merkle_root.to_string(),
            "time": block.header.time,
            "bits": block.header.bits.to_string(),
            "nonce": block.header.nonce,
            "bytes": block.encode().len(),
            "payee": block.coinbase.payee.to_string(),
            "reward": block.coinbase.value,
            "transactions": txids,
        })))
    }

    fn headers(&self, from: &HeadersFrom, limit: usize) -> Shown {
        let from = match from {
            HeadersFrom::Height(height) => *height,
            HeadersFrom::After(hashes) => {
                let known =
                    hashes.iter().find_map(|hash| self.archive.main_height(hash).transpose());
                known.transpose()?.map_or(1, |height| height.saturating_add(1))
            }
        };
        let headers = self.archive.main_headers(from, limit)?;
        let hex: Vec<String> =
            headers.iter().map(|header| HEXLOWER.encode(&header.encode())).collect();
        let tip = self.archive.tip()?;
        let tip = json!({ "height": tip.height, "hash": tip.hash.to_string() });
        Ok(Ok(json!({ "from": from, "headers": hex, "tip": tip })))
    }

    fn inclusion(&self, txid: &Hash) -> Shown {
        let Some(inclusion) = self.archive.inclusion(txid)? else {
            let what = format!("no transaction {txid} in the chain");
            return Ok(Err(Failure::new(Code::NotFound, what)));
        };
        let mut object = Map::new();
        let applied = is_applied(&inclusion.outcome);
        let more = json!({
            "txid": txid.to_string(),
            "status": if applied { "confirmed" } else { "failed" },
            "height": inclusion.height,
            "position": inclusion.position,
            "confirmations": self.confirmations(inclusion.height),
            "time": self.time_at(inclusion.height)?,
        });
        extend(&mut object, more);
        put_outcome(&mut object, &inclusion.outcome);
        Ok(Ok(object.into()))
    }

    fn time_at(&self, height: u32) -> Result<u32, StoreError> {
        let headers = self.archive.main_headers(height, 1)?;
        Ok(headers.first().map_or(0, |header| header.time))
    }

    fn confirmations(&self, height: u32) -> u32 {
        (self.tip + 1).saturating_sub(height)
    }
}

/// Pages that become replies.
trait Render {
    fn render(self, reader: &Reader<'_>) -> Shown;
}

impl Render for ScanPage {
    fn render(self, reader: &Reader<'_>) -> Shown {
        let mut keys = Vec::with_capacity(self.found.len());
        for found in &self.found {
            let mut object = Map::new();
            put_bytes(&mut object, "key", &found.key);
            object.insert("owner".to_string(), found.head.owner.to_string().into());
            object.insert("policy".to_string(), json!(found.head.policy));
            match &found.entry {
                Some(entry) => reader.put_entry(&mut object, entry)?,
                None => {
                    object.insert("version".to_string(), found.head.version.into());
                }
            }
            keys.push(Value::Object(object));
        }
        let mut object = Map::new();
        object.insert("keys".to_string(), keys.into());
        match &self.next {
            Some(next) => put_bytes(&mut object, "next", next),
            None => {
                object.insert("next".to_string(), Value::Null);
            }
        }
        Ok(Ok(object.into()))
    }
}

fn extend(object: &mut Map<String, Value>, more: Value) {
    if let Value::Object(more) = more {
        object.extend(more);
    }
}

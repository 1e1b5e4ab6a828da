//! Answers from the store: what reader threads do.

mod block;
pub mod raw;

use std::cell::Cell;

use chain::Hash;
use chain::execute::Order;
use chain::params::Network;
use chain::store::{Archive, ChainPoint, SqliteArchive, StoreError};
use data_encoding::HEXLOWER;
use kv::proof::{self, Anchor, Extent, NoProof};
use kv::query::{HistoryPage, Scan, ScanPage};
use kv::{Effect, Entry, Operation, Outcome, Query, VersionKind};
use serde_json::{Map, Value, json};

use crate::light::proof::ProofFile;
use crate::reply::{Code, Failure, put_bytes};
use crate::request::{At, HeadersFrom, Read};
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

/// What became of a question.
#[derive(Debug)]
pub struct Answered {
    /// The tip of the snapshot it was read from, if the store could say so.
    pub tip: Option<ChainPoint>,
    /// The answer, or what the client is told instead.
    pub answer: Result<Answer, Failure>,
    /// A block whose body is damaged, which the ledger should look at.
    pub unreadable: Option<Hash>,
}

/// Answers a question on one snapshot of the store. `anchor` is what the last proof left.
pub fn answer(
    archive: &SqliteArchive,
    network: &Network,
    anchor: &mut Option<Anchor>,
    read: &Read,
) -> Answered {
    let (mut seen, unreadable) = (None, Cell::new(None));
    let answer = archive.snapshot(|archive| {
        let tip = archive.tip()?;
        seen = Some(tip);
        let query = Query::new(archive);
        if let Read::Raw(read) = read {
            return Ok(raw::answer(&query, read)?.map(Answer::Raw));
        }
        let unreadable = &unreadable;
        if let Read::Prove { key, extent } = read {
            let shown = prove(archive, network, anchor, unreadable, (key, *extent))?;
            return Ok(shown.map(Answer::Json));
        }
        let reader = Reader { archive, network, tip: tip.height, query, unreadable };
        Ok(reader.answer(read)?.map(Answer::Json))
    });
    let answer = answer.unwrap_or_else(|error| Err(store_failure(&error)));
    Answered { tip: seen, answer, unreadable: unreadable.take() }
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

/// The key that an encoded operation is about.
pub fn key_of(operation: &[u8]) -> Option<&[u8]> {
    Operation::decode_again(operation).ok()?.key()
}

/// What is known of a version; `time` is that of its block, if that is known.
pub fn put_entry(object: &mut Map<String, Value>, entry: &Entry, time: Option<u32>) {
    match entry.kind {
        VersionKind::Put => put_bytes(object, "value", &entry.value),
        VersionKind::Delete => {
            object.insert("deleted".to_string(), true.into());
        }
    }
    object.insert("version".to_string(), entry.version.into());
    object.insert("height".to_string(), entry.height.into());
    object.extend(time.map(|time| ("time".to_string(), time.into())));
    object.insert("txid".to_string(), entry.txid.to_string().into());
    object.insert("writer".to_string(), entry.writer.to_string().into());
}

/// Whether an outcome's operations were applied.
pub fn is_applied(outcome: &[u8]) -> bool {
    matches!(Outcome::decode(outcome), Ok(Outcome::Applied(_)))
}

fn prove(
    archive: &SqliteArchive,
    network: &Network,
    anchor: &mut Option<Anchor>,
    unreadable: &Cell<Option<Hash>>,
    (key, extent): (&[u8], Extent),
) -> Shown {
    let proof = match proof::prove(archive, network, anchor, key, extent)? {
        Ok(proof) => proof,
        Err(error @ NoProof::NoBody { block }) => {
            unreadable.set(Some(block));
            return Ok(Err(Failure::new(Code::Missing, error)));
        }
        Err(error) => return Ok(Err(Failure::new(Code::Refused, error))),
    };
    let headers = archive.main_headers(proof.coinbase.height, 1)?;
    Ok(Ok(ProofFile::new(network, proof, headers).to_json()))
}

struct Reader<'a> {
    archive: &'a SqliteArchive,
    network: &'a Network,
    tip: u32,
    query: Query<'a>,
    unreadable: &'a Cell<Option<Hash>>,
}

type Shown = Result<Result<Value, Failure>, StoreError>;

impl Reader<'_> {
    fn answer(&self, read: &Read) -> Shown {
        match read {
            Read::Retrieve { key, at } => self.retrieve(key, *at),
            Read::RetrieveAll { key, limit, after, order } => {
                self.retrieve_all(key, *limit, *after, *order)
            }
            Read::Scan { prefix, after, limit, values } => {
                let scan = Scan { prefix, after: after.as_deref(), limit: *limit, values: *values };
                self.query.scan(scan)?.render(self)
            }
            Read::Block(name) => self.block(*name),
            Read::Headers { from, limit } => self.headers(from, *limit),
            Read::Inclusion(txid) => self.inclusion(txid),
            Read::Prove { .. } | Read::Raw(_) => unreachable!("answered before"),
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

    fn put_entry(&self, object: &mut Map<String, Value>, entry: &Entry) -> Result<(), StoreError> {
        put_entry(object, entry, Some(self.time_at(entry.height)?));
        let confirmations = self.confirmations(entry.height);
        object.insert("confirmations".to_string(), confirmations.into());
        Ok(())
    }

    fn headers(&self, from: &HeadersFrom, limit: usize) -> Shown {
        let from = match from {
            HeadersFrom::Height(height) => *height,
            HeadersFrom::After(hashes) => self.archive.height_after(hashes)?,
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

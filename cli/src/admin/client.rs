//! One client of the admin port: its unread bytes, its rights and what it watches.

use chain::Hash;
use chain::ledger::{ConnectedBlock, RequestId, TipChange};
use chain::mempool::DropReason;
use chain::params::Network;
use chain::tx::Transaction;
use kv::{Effect, Operation, Outcome};
use net::{ClientId, Millis, ServiceOutput};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::redis::Session;
use crate::reads::put_outcome;
use crate::reply::{Code, Failure, put_bytes};

/// Prefixes one client may watch.
const MAX_WATCHES: usize = 64;

/// Transactions whose keys are remembered for a watcher until they are confirmed or gone.
const MAX_FOLLOWED: usize = 10_000;

/// Unread bytes at which reading from a client stops, beyond one whole line.
const READ_AHEAD_BYTES: usize = 64 * 1024;

/// Bytes of answers that wait to be written at which a client's next line waits too.
pub(super) const UNSENT_BYTES: usize = 256 * 1024;

/// Longest line: the largest transaction in hex, and some words around it.
pub(super) fn max_line(network: &Network) -> usize {
    2 * network.limits.transaction_bytes as usize + 4096
}

/// A client.
pub(super) struct Client {
    pub(super) authorised: bool,
    /// Whether it was authorised from the start.
    pub(super) trusted: bool,
    address: SocketAddr,
    /// There once it speaks the Redis protocol.
    pub(super) redis: Option<Box<Session>>,
    /// Whether an answer is still to come: the next line waits for it.
    pub(super) busy: bool,
    /// What another thread was asked for its open request; not set by the data commands of the
    /// Redis protocol, which has many at a time.
    pub(super) question: Option<RequestId>,
    /// Whether it sends no more.
    pub(super) ended: bool,
    /// Whether its last line came without an end.
    cut_off: bool,
    pub(super) active_at: Millis,
    /// Bytes of answers since all was written.
    pub(super) unsent: usize,
    unread: Vec<u8>,
    /// Bytes of `unread` that are done with.
    at: usize,
    /// Bytes after `at` known to have no line end.
    searched: usize,
    paused: bool,
    /// Most bytes of a line, and of a request of the Redis protocol.
    pub(super) max_line: usize,
    watches: Vec<Watch>,
    followed: BTreeMap<Hash, Followed>,
}

struct Watch {
    prefix: Vec<u8>,
    confirmations: Option<u32>,
}

/// What a watcher was told of a transaction.
struct Followed {
    keys: Vec<Vec<u8>>,
    height: Option<u32>,
    /// Confirmations up to which events were sent.
    told: u32,
}

impl Client {
    pub(super) fn new(
        now: Millis,
        authorised: bool,
        max_line: usize,
        address: SocketAddr,
    ) -> Client {
        Client {
            authorised,
            trusted: authorised,
            address,
            redis: None,
            busy: false,
            question: None,
            ended: false,
            cut_off: false,
            active_at: now,
            unsent: 0,
            unread: Vec::new(),
            at: 0,
            searched: 0,
            paused: false,
            max_line,
            watches: Vec::new(),
            followed: BTreeMap::new(),
        }
    }

    pub(super) fn received(&mut self, now: Millis, bytes: &[u8]) {
        self.active_at = now;
        match &mut self.redis {
            _ if self.ended => {}
            Some(session) => session.parser.feed(bytes),
            None => {
                self.unread.drain(..std::mem::take(&mut self.at));
                self.unread.extend(bytes);
            }
        }
    }

    /// Notes that nothing more comes. A last line may lack its end.
    pub(super) fn end(&mut self) {
        if !self.ended && self.rest().last().is_some_and(|last| *last != b'\n') {
            self.unread.push(b'\n');
            self.cut_off = true;
        }
        self.ended = true;
    }

    /// Whether the line just taken came without an end.
    pub(super) fn is_cut_off(&self) -> bool {
        self.cut_off && self.rest().is_empty()
    }

    /// What was not served yet.
    fn rest(&self) -> &[u8] {
        &self.unread[self.at..]
    }

    /// Forgets what was sent after the current line.
    pub(super) fn discard(&mut self) {
        self.unread = Vec::new();
        (self.at, self.searched) = (0, 0);
    }

    /// Whether what comes next is a request of the Redis protocol.
    pub(super) fn turns_to_redis(&self) -> bool {
        !self.busy && !self.is_full() && self.rest().first() == Some(&b'*')
    }

    /// Speaks the Redis protocol from now on.
    pub(super) fn turn_to_redis(&mut self, now: Millis) {
        let session = Session::new(now, self.address, self.rest());
        self.discard();
        self.unwatch(); // there would be no form for its events
        self.redis = Some(Box::new(session));
    }

    /// The next line to serve, without its end; `None` while there is none or one is served.
    pub(super) fn next_line(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        if self.busy || self.is_full() {
            return Ok(None);
        }
        let rest = self.rest();
        if rest.is_empty() {
            self.discard(); // an idle client holds no memory
            return Ok(None);
        }
        let end = memchr::memchr(b'\n', &rest[self.searched..]);
        let length = end.map_or(rest.len(), |end| self.searched + end);
        if length > self.max_line {
            let what = format!("a line has at most {} bytes", self.max_line);
            return Err(Failure::new(Code::TooLong, what));
        }
        if end.is_none() {
            self.searched = length;
            return Ok(None);
        }
        let line = &rest[..length];
        let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
        self.at += length + 1;
        self.searched = 0;
        Ok(Some(line))
    }

    /// Whether it must read before it is served on.
    pub(super) fn is_full(&self) -> bool {
        self.unsent > UNSENT_BYTES
    }

    /// Whether reading from the client must stop or may go on, if that has changed.
    pub(super) fn flow(&mut self, client: ClientId) -> Option<ServiceOutput> {
        let waiting = self.redis.as_ref().map_or(0, |session| session.parser.waiting());
        let full = self.rest().len() + waiting > self.max_line + READ_AHEAD_BYTES;
        if full == self.paused {
            return None;
        }
        self.paused = full;
        Some(if full { ServiceOutput::Pause { client } } else { ServiceOutput::Resume { client } })
    }

    /// Since when it is idle; `None` while it waits for something.
    pub(super) fn idle_at(&self) -> Option<Millis> {
        let session = self.redis.as_ref();
        let awaits = session.is_some_and(|it| it.is_subscribed() || !it.is_at_rest());
        (!self.busy && !awaits && self.watches.is_empty()).then_some(self.active_at)
    }

    pub(super) fn watches(&self) -> bool {
        !self.watches.is_empty()
    }

    pub(super) fn watch(
        &mut self,
        prefix: Vec<u8>,
        confirmations: Option<u32>,
    ) -> Result<usize, Failure> {
        if self.watches.len() == MAX_WATCHES {
            let what = format!("a connection has at most {MAX_WATCHES} watches");
            return Err(Failure::new(Code::Refused, what));
        }
        self.watches.push(Watch { prefix, confirmations });
        Ok(self.watches.len())
    }

    pub(super) fn unwatch(&mut self) {
        self.watches.clear();
        self.followed.clear();
    }

    /// A transaction waits for a block.
    pub(super) fn pooled_events(&mut self, transaction: &Transaction) -> Vec<Value> {
        let keys = self.watched_keys(transaction);
        let events = keys.iter().map(|key| event("pending", key, &transaction.txid())).collect();
        self.follow(transaction.txid(), keys, None);
        events
    }

    /// A transaction left the pool other than by a block.
    pub(super) fn dropped_events(&mut self, txid: &Hash, reason: DropReason) -> Vec<Value> {
        let Some(followed) = self.followed.remove(txid) else { return Vec::new() };
        followed.keys.iter().map(|key| event(reason.code(), key, txid)).collect()
    }

    /// The chain moved.
    pub(super) fn tip_events(&mut self, change: &TipChange) -> Vec<Value> {
        let mut events = Vec::new();
        for reverted in &change.reverted {
            for transaction in reverted.transactions() {
                let keys = self.watched_keys(transaction);
                for key in &keys {
                    let mut event = event("reorganised", key, &transaction.txid());
                    event["height"] = reverted.height.into();
                    events.push(event);
                }
                self.follow(transaction.txid(), keys, None);
            }
        }
        for connected in &change.connected {
            self.connected_events(connected, &mut events);
        }
        self.confirmed_events(change.tip.height, &mut events);
        events
    }

    fn connected_events(&mut self, connected: &ConnectedBlock, events: &mut Vec<Value>) {
        let ConnectedBlock { block, height, outcomes } = connected;
        for (transaction, outcome) in block.transactions().iter().zip(outcomes) {
            let keys = self.watched_keys(transaction);
            if keys.is_empty() {
                continue;
            }
            let decoded = Outcome::decode(outcome);
            let applied = matches!(decoded, Ok(Outcome::Applied(_)));
            for (position, operation) in transaction.operations.iter().enumerate() {
                let Ok(operation) = Operation::decode_again(operation) else { continue };
                let Some(key) = operation.key().filter(|key| self.is_watched(key)) else {
                    continue;
                };
                let name = if applied { "included" } else { "failed" };
                let mut event = event(name, key, &transaction.txid());
                event["height"] = (*height).into();
                event["operation"] = operation_name(&operation).into();
                match &decoded {
                    Ok(Outcome::Applied(effects)) => {
                        if let Some(Effect::Version(version)) = effects.get(position) {
                            event["version"] = (*version).into();
                        }
                    }
                    _ => put_outcome(event.as_object_mut().expect("made as one"), outcome),
                }
                events.push(event);
            }
            if applied {
                self.follow(transaction.txid(), keys, Some(*height));
            } else {
                self.followed.remove(&transaction.txid()); // it will never be confirmed
            }
        }
    }

    /// Says which transactions have reached a watch's confirmations, and forgets those that
    /// have reached them all.
    fn confirmed_events(&mut self, tip: u32, events: &mut Vec<Value>) {
        let most = self.watches.iter().filter_map(|watch| watch.confirmations).max().unwrap_or(1);
        let watches = &self.watches;
        self.followed.retain(|txid, followed| {
            let Some(height) = followed.height else { return true };
            let confirmations = (tip + 1).saturating_sub(height);
            for key in &followed.keys {
                // Several blocks can come at once.
                let reached = watches.iter().any(|watch| {
                    let due = followed.told + 1..=confirmations;
                    key.starts_with(&watch.prefix)
                        && watch.confirmations.is_some_and(|count| due.contains(&count))
                });
                if reached {
                    let mut event = event("confirmed", key, txid);
                    event["height"] = height.into();
                    event["confirmations"] = confirmations.into();
                    events.push(event);
                }
            }
            followed.told = confirmations;
            confirmations < most
        });
    }

    fn follow(&mut self, txid: Hash, keys: Vec<Vec<u8>>, height: Option<u32>) {
        if keys.is_empty() {
            return;
        }
        self.followed.insert(txid, Followed { keys, height, told: 0 });
        if self.followed.len() > MAX_FOLLOWED {
            self.followed.pop_first();
        }
    }

    fn watched_keys(&self, transaction: &Transaction) -> Vec<Vec<u8>> {
        let mut keys: Vec<Vec<u8>> = transaction
            .operations
            .iter()
            .filter_map(|bytes| Operation::decode_again(bytes).ok()?.key())
            .filter(|key| self.is_watched(key))
            .map(<[u8]>::to_vec)
            .collect();
        keys.sort();
        keys.dedup();
        keys
    }

    fn is_watched(&self, key: &[u8]) -> bool {
        self.watches.iter().any(|watch| key.starts_with(&watch.prefix))
    }
}

fn event(name: &str, key: &[u8], txid: &Hash) -> Value {
    let mut object = Map::new();
    object.insert("event".to_string(), name.into());
    put_bytes(&mut object, "key", key);
    object.insert("txid".to_string(), json!(txid.to_string()));
    object.into()
}

fn operation_name(operation: &Operation<'_>) -> &'static str {
    match operation {
        Operation::Put { .. } => "put",
        Operation::Delete { .. } => "delete",
        Operation::HandOver { .. } => "hand-over",
        Operation::Pay { .. } => "pay",
    }
}

#[cfg(test)]
mod tests;

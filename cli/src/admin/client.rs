//! One client of the admin port: its unread bytes, its rights and what it watches.

use chain::Hash;
use chain::ledger::{ConnectedBlock, RevertedBlock, TipChange};
use chain::mempool::DropReason;
use chain::params::Network;
use chain::tx::Transaction;
use kv::{Effect, Operation, Outcome};
use net::{ClientId, Millis, ServiceOutput};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

use crate::reads::put_outcome;
use crate::reply::{Code, Failure, put_bytes};

/// Prefixes one client may watch.
const MAX_WATCHES: usize = 64;

/// Transactions whose keys are remembered for a watcher until they are confirmed or gone.
const MAX_FOLLOWED: usize = 10_000;

/// Unread bytes at which reading from a client stops, beyond one whole line.
const READ_AHEAD_BYTES: usize = 64 * 1024;

/// Bytes of answers that wait to be written at which a client's next line waits too.
const UNSENT_BYTES: usize = 1024 * 1024;

/// Longest line: the largest transaction in hex, and some words around it.
pub(super) fn max_line(network: &Network) -> usize {
    2 * network.limits.transaction_bytes as usize + 4096
}

/// A client.
pub(super) struct Client {
    pub(super) authorised: bool,
    /// Whether an answer is still to come: the next line waits for it.
    pub(super) busy: bool,
    /// Whether it sends no more.
    pub(super) ended: bool,
    /// Whether its last line came without an end.
    cut_off: bool,
    pub(super) active_at: Millis,
    /// Bytes of answers since all was written.
    pub(super) unsent: usize,
    unread: Vec<u8>,
    /// Bytes of `unread` known to have no line end.
    searched: usize,
    paused: bool,
    max_line: usize,
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
    pub(super) fn new(now: Millis, authorised: bool, max_line: usize) -> Client {
        Client {
            authorised,
            busy: false,
            ended: false,
            cut_off: false,
            active_at: now,
            unsent: 0,
            unread: Vec::new(),
            searched: 0,
            paused: false,
            max_line,
            watches: Vec::new(),
            followed: BTreeMap::new(),
        }
    }

    pub(super) fn received(&mut self, now: Millis, bytes: &[u8]) {
        self.active_at = now;
        if !self.ended {
            self.unread.extend(bytes);
        }
    }

    /// Notes that nothing more comes. A last line may lack its end.
    pub(super) fn end(&mut self) {
        if !self.ended && !self.unread.is_empty() && self.unread.last() != Some(&b'\n') {
            self.unread.push(b'\n');
            self.cut_off = true;
        }
        self.ended = true;
    }

    /// Whether the line just taken came without an end.
    pub(super) fn is_cut_off(&self) -> bool {
        self.cut_off && self.unread.is_empty()
    }

    /// Forgets what was sent after the current line.
    pub(super) fn discard(&mut self) {
        self.unread.clear();
        self.searched = 0;
    }

    /// The next line to serve, without its end; `None` while there is none or one is served.
    pub(super) fn next_line(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        if self.busy || self.is_full() {
            return Ok(None);
        }
        if self.unread.first() == Some(&b'*') {
            let what = "the Redis protocol is not spoken here yet; send lines, HELP lists them";
            return Err(Failure::new(Code::NoProto, what));
        }
        let end = self.unread[self.searched..].iter().position(|&byte| byte == b'\n');
        let length = end.map_or(self.unread.len(), |end| self.searched + end);
        if length > self.max_line {
            let what = format!("a line has at most {} bytes", self.max_line);
            return Err(Failure::new(Code::TooLong, what));
        }
        if end.is_none() {
            self.searched = length;
            return Ok(None);
        }
        let rest = self.unread.split_off(length + 1);
        let mut line = std::mem::replace(&mut self.unread, rest);
        self.searched = 0;
        line.truncate(length);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(Some(line))
    }

    /// Whether it must read before it is served on.
    pub(super) fn is_full(&self) -> bool {
        self.unsent > UNSENT_BYTES
    }

    /// Whether reading from the client must stop or may go on, if that has changed.
    pub(super) fn flow(&mut self, client: ClientId) -> Option<ServiceOutput> {
        let full = self.unread.len() > self.max_line + READ_AHEAD_BYTES;
        if full == self.paused {
            return None;
        }
        self.paused = full;
        Some(if full { ServiceOutput::Pause { client } } else { ServiceOutput::Resume { client } })
    }

    /// Since when it is idle; `None` while it waits for something.
    pub(super) fn idle_at(&self) -> Option<Millis> {
        (!self.busy && self.watches.is_empty()).then_some(self.active_at)
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
        for RevertedBlock { block, height } in &change.reverted {
            for transaction in block.transactions() {
                let keys = self.watched_keys(transaction);
                for key in &keys {
                    let mut event = event("reorganised", key, &transaction.txid());
                    event["height"] = (*height).into();
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
                let Ok(operation) = Operation::decode(operation) else { continue };
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
            .filter_map(|bytes| Operation::decode(bytes).ok()?.key())
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
mod tests {
    use super::*;

    fn client() -> Client {
        Client::new(Millis(0), true, 20)
    }

    fn lines(client: &mut Client) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| client.next_line().unwrap()).collect()
    }

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let mut whole = client();
        whole.received(Millis(0), b"one\r\ntwo\n\nlast");
        let mut cut = client();
        let mut got = Vec::new();
        for byte in b"one\r\ntwo\n\nlast" {
            cut.received(Millis(0), &[*byte]);
            got.extend(lines(&mut cut));
        }
        assert_eq!(lines(&mut whole), got);
        assert_eq!(got, [&b"one"[..], b"two", b""]);
        whole.end();
        assert_eq!(lines(&mut whole), [b"last"]);
    }

    #[test]
    fn a_busy_client_waits_and_a_long_line_is_refused() {
        let mut client = client();
        client.received(Millis(0), b"one\ntwo\n");
        assert!(client.next_line().unwrap().is_some());
        client.busy = true;
        assert!(client.next_line().unwrap().is_none());
        client.busy = false;
        assert!(client.next_line().unwrap().is_some());
        client.received(Millis(0), &[b'x'; 21]);
        assert_eq!(client.next_line().unwrap_err().code, Code::TooLong);
    }

    #[test]
    fn the_first_byte_of_the_redis_protocol_is_told_apart() {
        let mut client = client();
        client.received(Millis(0), b"*1\r\n$4\r\nPING\r\n");
        assert_eq!(client.next_line().unwrap_err().code, Code::NoProto);
    }

    #[test]
    fn reading_pauses_at_the_bound_and_goes_on_below() {
        let mut client = client();
        client.busy = true;
        let id = ClientId(1);
        client.received(Millis(0), &vec![b'\n'; 20 + READ_AHEAD_BYTES]);
        assert_eq!(client.flow(id), None);
        client.received(Millis(0), b"\n");
        assert_eq!(client.flow(id), Some(ServiceOutput::Pause { client: id }));
        assert_eq!(client.flow(id), None);
        client.busy = false;
        lines(&mut client);
        assert_eq!(client.flow(id), Some(ServiceOutput::Resume { client: id }));
    }
}

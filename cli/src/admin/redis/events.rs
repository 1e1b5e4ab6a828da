//! What the chain's news mean for connections that wait, watch or are subscribed.

use chain::Hash;
use chain::ledger::TipChange;
use chain::mempool::DropReason;
use chain::tx::Transaction;
use kv::Operation;
use net::{ClientId, Millis};

use super::super::client::Client;
use super::super::{Admin, ReadJob};
use super::Started;
use super::reads::deadline;
use super::session::{Class, LastWrite, Session, Shape, Step, Waiting, WriteState};
use crate::command::MAX_BLOCKS;
use crate::reads::raw::RawRead;
use crate::reads::{is_applied, key_of};
use crate::reply::{Code, Failure};
use crate::request::Read;
use crate::resp::glob::{self, MAX_PATTERN_BYTES};
use crate::resp::parser::number;
use crate::resp::reply::Reply;

/// Channels and patterns of one connection.
const MAX_SUBSCRIPTIONS: usize = 1024;

/// Bytes of the patterns of one connection: each is held against every event, and that takes up to
/// as many steps as the product of its length and the channel's.
const MAX_PATTERNS_BYTES: usize = 4096;

/// Bytes that wait for a connection at which it is sent no more events, but disconnected.
const MAX_EVENT_BYTES: usize = 16 * 1024 * 1024;

/// What the channels of keys start with, as in Redis.
const KEYSPACE: &[u8] = b"__keyspace@0__:";
/// What those of events start with.
const KEYEVENT: &[u8] = b"__keyevent@0__:";

/// Something that happened to a key.
struct KeyEvent {
    name: &'static str,
    key: Vec<u8>,
}

impl Admin {
    /// The chain has moved.
    pub(in super::super) fn redis_tip_changed(&mut self, change: &TipChange) {
        self.redis.latest.tip_changed(change);
        self.follow_writes(change);
        self.follow_watched(change);
        for request in std::mem::take(&mut self.redis.early) {
            self.read_again(request);
        }
        let has_sessions = self.clients.values().any(|client| client.redis.is_some());
        if has_sessions {
            if self.has_subscribers() {
                self.publish(&events_of(change));
            }
            self.go_on_waiting(change.tip.height);
            self.ask_for_all_news();
        }
    }

    /// A transaction waits for a block.
    pub(in super::super) fn redis_pooled(&mut self, transaction: &Transaction) {
        if self.has_subscribers() {
            let keys = transaction.operations.iter().filter_map(|bytes| key_of(bytes));
            let event = |key: &[u8]| KeyEvent { name: "pending", key: key.to_vec() };
            self.publish(&keys.map(event).collect::<Vec<_>>());
        }
    }

    /// A transaction left the pool other than by a block.
    pub(in super::super) fn redis_dropped(&mut self, txid: &Hash, reason: DropReason) {
        self.set_state(txid, WriteState::Dropped(reason));
        self.go_on_waiting(self.status.height());
    }

    /// Notes what becomes of the connections' own writes.
    fn follow_writes(&mut self, change: &TipChange) {
        if self.redis.writers.is_empty() {
            return;
        }
        for reverted in &change.reverted {
            for transaction in reverted.transactions() {
                self.set_state(&transaction.txid(), WriteState::Pending);
            }
        }
        for connected in &change.connected {
            let transactions = connected.block.transactions();
            for (transaction, outcome) in transactions.iter().zip(&connected.outcomes) {
                let (height, applied) = (connected.height, is_applied(outcome));
                self.set_state(&transaction.txid(), WriteState::Included { height, applied });
            }
        }
    }

    /// Notes which watched versions are undone: others may get their numbers.
    fn follow_watched(&mut self, change: &TipChange) {
        if change.reverted.is_empty() {
            return;
        }
        for client in self.clients.values_mut() {
            let Some(session) = client.redis.as_mut() else { continue };
            if session.watched.is_empty() {
                continue;
            }
            for reverted in &change.reverted {
                for transaction in reverted.transactions() {
                    let operations = transaction.operations.iter();
                    session.have_changed(operations.filter_map(|bytes| key_of(bytes)));
                }
            }
        }
    }

    fn set_state(&mut self, txid: &Hash, state: WriteState) {
        let Some(id) = self.redis.writers.get(txid) else { return };
        let client = self.clients.get_mut(id);
        let Some(session) = client.and_then(|client| client.redis.as_mut()) else { return };
        if !matches!(state, WriteState::Pending) {
            let keys = session.own.gone(txid);
            if !matches!(state, WriteState::Included { applied: true, .. }) {
                session.have_changed(keys.iter().map(Vec::as_slice));
            }
        }
        match &mut session.last_write {
            // Blocks that hold it may still be undone.
            Some(last) if last.txid == *txid => last.state = state,
            _ => {
                self.redis.writers.remove(txid);
            }
        }
    }

    /// Answers those whose last write is settled with this tip.
    fn go_on_waiting(&mut self, tip: u32) {
        let mut settled = Vec::new();
        for (id, client) in &self.clients {
            let Some(session) = &client.redis else { continue };
            if let Some(Waiting::Confirmations { count, .. }) = &session.waiting {
                settled.extend(verdict(session, *count, tip).map(|reply| (*id, reply)));
            }
        }
        for (id, reply) in settled {
            self.end_wait(id, &reply);
        }
        let sessions = self.clients.iter().filter(|(_, client)| client.redis.is_some());
        for id in sessions.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.mine_for(id, tip);
        }
    }

    /// Looks for new versions again, for all who wait for some.
    fn ask_for_all_news(&mut self) {
        let waits = |client: &Client| {
            let waiting = client.redis.as_ref().and_then(|session| session.waiting.as_ref());
            matches!(waiting, Some(Waiting::News { .. }))
        };
        let clients = self.clients.iter().filter(|(_, client)| waits(client));
        for id in clients.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.ask_for_news(id);
        }
    }

    /// Ends the waits whose time is over.
    pub(in super::super) fn redis_overdue(&mut self, now: Millis) {
        let mut overdue = Vec::new();
        for (id, client) in &self.clients {
            let Some(session) = &client.redis else { continue };
            let Some(waiting) = session.waiting.as_ref().filter(|wait| wait.until() <= now) else {
                continue;
            };
            let reply = match waiting {
                Waiting::News { .. } => Reply::NullArray,
                Waiting::Confirmations { .. } => {
                    Reply::Integer(confirmations(session, self.status.height()).into())
                }
            };
            overdue.push((*id, reply));
        }
        for (id, reply) in overdue {
            self.end_wait(id, &reply);
        }
    }

    fn end_wait(&mut self, id: ClientId, reply: &Reply) {
        let client = self.clients.get_mut(&id).expect("it was just found");
        client.busy = false;
        client.active_at = self.now;
        let session = self.session(id);
        session.waiting = None;
        session.reply(reply);
        self.serve_redis(id);
    }

    /// Looks for new versions again, for a connection that waits for some.
    pub(super) fn ask_for_news(&mut self, id: ClientId) {
        let request = self.ask_redis(id);
        let session = self.session(id);
        let Some(Waiting::News { keys, limit, until }) = session.waiting.take() else {
            return self.forget(request);
        };
        let read = RawRead::News { keys: keys.clone(), limit };
        let step = Step::Read(Shape::News { limit, until: Some(until) });
        let job = ReadJob { request, read: Read::Raw(read) };
        if (self.joints.reads)(job).is_err() {
            // Busy readers: the next block is soon enough.
            self.forget(request);
            self.session(id).waiting = Some(Waiting::News { keys, limit, until });
            return;
        }
        self.session(id).begin(Class::Alone, request, step);
        self.clients.get_mut(&id).expect("it was just found").busy = false;
    }

    /// `WAIT count timeout`.
    pub(super) fn wait_command(&mut self, id: ClientId, words: &[Vec<u8>]) -> Started {
        let count = number(&words[1])
            .and_then(|count| u32::try_from(count).ok())
            .filter(|count| *count <= MAX_BLOCKS)
            .ok_or_else(|| {
                Reply::error(format_args!("confirmations are from 0 to {MAX_BLOCKS}"))
            })?;
        let until = deadline(self.now, &words[2])?;
        let tip = self.status.height();
        let session = self.session(id);
        if session.last_write.is_none() {
            return Ok(Some(Reply::Integer(0)));
        }
        if let Some(reply) = verdict(session, count, tip) {
            return Ok(Some(reply));
        }
        session.waiting = Some(Waiting::Confirmations { count, until });
        self.clients.get_mut(&id).expect("it is being served").busy = true;
        self.mine_for(id, tip);
        Ok(None)
    }

    /// On networks mined on demand: asks for the blocks that a wait needs.
    fn mine_for(&mut self, id: ClientId, tip: u32) {
        let authorised = self.clients[&id].authorised;
        let session = self.session(id);
        let Some(Waiting::Confirmations { count, .. }) = session.waiting else { return };
        let Some(LastWrite { state: WriteState::Included { height, .. }, .. }) = session.last_write
        else {
            return;
        };
        let target = height.saturating_add(count.saturating_sub(1));
        if authorised && target > tip {
            self.want_height(target).ok(); // a busy ledger makes blocks anyway
        }
    }

    fn has_subscribers(&self) -> bool {
        let session = |id| self.clients.get(id)?.redis.as_ref();
        self.listening.iter().filter_map(session).any(|session| session.is_subscribed())
    }

    /// Tells those who have asked for it what happened.
    fn publish(&mut self, events: &[KeyEvent]) {
        let (mut told, mut late) = (Vec::new(), Vec::new());
        for id in &self.listening {
            let Some(client) = self.clients.get_mut(id) else { continue };
            let Some(session) = &mut client.redis else { continue };
            if !session.is_subscribed() || session.closing {
                continue;
            }
            for KeyEvent { name, key } in events {
                tell(session, &[KEYSPACE, key].concat(), name.as_bytes());
                tell(session, &[KEYEVENT, name.as_bytes()].concat(), key);
                if client.unsent + session.out.len() > MAX_EVENT_BYTES {
                    session.closing = true;
                    late.push(*id);
                    break;
                }
            }
            told.push(*id);
        }
        told.into_iter().for_each(|id| self.flush_redis(id));
        late.into_iter().for_each(|id| self.close(id));
    }

    pub(super) fn subscription_command(
        &mut self,
        id: ClientId,
        name: &[u8],
        words: &[Vec<u8>],
    ) -> Started {
        if words.iter().any(|word| word.len() > MAX_PATTERN_BYTES) {
            let what = format_args!("a channel has at most {MAX_PATTERN_BYTES} bytes");
            return Err(Reply::error(what));
        }
        self.listening.insert(id); // and stays there, whatever it takes back
        let session = self.session(id);
        let kind = name.to_ascii_lowercase();
        let confirm = |session: &mut Session, channel: Reply| {
            let count = Reply::count(session.channels.len() + session.patterns.len());
            session.reply(&Reply::Push(vec![Reply::Bulk(kind.clone()), channel, count]));
        };
        let mut list: Vec<Vec<u8>> = words[1..].to_vec();
        let (adds, of_patterns) = (!name.contains(&b'N'), name.starts_with(b"P"));
        if !adds && list.is_empty() {
            let all = if of_patterns { &session.patterns } else { &session.channels };
            list = all.iter().cloned().collect();
            if list.is_empty() {
                confirm(session, Reply::Null);
            }
        }
        for channel in list {
            if adds && session.channels.len() + session.patterns.len() == MAX_SUBSCRIPTIONS {
                let what = format_args!("a connection has at most {MAX_SUBSCRIPTIONS} channels");
                return Err(Reply::error(what));
            }
            let bytes: usize = session.patterns.iter().map(Vec::len).sum();
            if adds && of_patterns && bytes + channel.len() > MAX_PATTERNS_BYTES {
                let what = "the patterns of a connection have at most";
                return Err(Reply::error(format_args!("{what} {MAX_PATTERNS_BYTES} bytes")));
            }
            let all = if of_patterns { &mut session.patterns } else { &mut session.channels };
            if adds {
                all.insert(channel.clone());
            } else {
                all.remove(&channel);
            }
            confirm(session, Reply::Bulk(channel));
        }
        Ok(None)
    }
}

/// Sends a message of a channel to a connection, if it has asked for it.
fn tell(session: &mut Session, channel: &[u8], message: &[u8]) {
    let bulk = |bytes: &[u8]| Reply::Bulk(bytes.to_vec());
    let (mut out, version) = (std::mem::take(&mut session.out), session.version);
    if session.channels.contains(channel) {
        let list = vec![Reply::text("message"), bulk(channel), bulk(message)];
        Reply::Push(list).write(version, &mut out);
    }
    for pattern in session.patterns.iter().filter(|pattern| glob::matches(pattern, channel)) {
        let list = vec![Reply::text("pmessage"), bulk(pattern), bulk(channel), bulk(message)];
        Reply::Push(list).write(version, &mut out);
    }
    session.out = out;
}

/// What happened to keys with a change of the tip.
fn events_of(change: &TipChange) -> Vec<KeyEvent> {
    let mut events = Vec::new();
    for reverted in &change.reverted {
        let transactions = reverted.transactions();
        let operations = transactions.iter().flat_map(|transaction| &transaction.operations);
        let keys = operations.filter_map(|bytes| key_of(bytes));
        events.extend(keys.map(|key| KeyEvent { name: "reorganised", key: key.to_vec() }));
    }
    for connected in &change.connected {
        let transactions = connected.block.transactions();
        for (transaction, outcome) in transactions.iter().zip(&connected.outcomes) {
            let applied = is_applied(outcome);
            for bytes in &transaction.operations {
                let Ok(operation) = Operation::decode_again(bytes) else { continue };
                let name = match operation {
                    _ if !applied => "failed",
                    Operation::Put { .. } => "set",
                    Operation::Delete { .. } => "del",
                    Operation::HandOver { .. } | Operation::Pay { .. } => "hand-over",
                };
                events.extend(operation.key().map(|key| KeyEvent { name, key: key.to_vec() }));
            }
        }
    }
    events
}

/// Blocks that hold a connection's last write or come after it.
fn confirmations(session: &Session, tip: u32) -> u32 {
    match session.last_write.map(|last| last.state) {
        Some(WriteState::Included { height, applied: true }) => (tip + 1).saturating_sub(height),
        _ => 0,
    }
}

/// How a `WAIT` ends with this tip, if it does.
fn verdict(session: &Session, count: u32, tip: u32) -> Option<Reply> {
    let LastWrite { txid, state } = session.last_write?;
    let failure = match state {
        WriteState::Included { applied: false, height } => {
            let what = format!("transaction {txid} was not applied at height {height}; see TX");
            Failure::new(Code::Failed, what)
        }
        WriteState::Dropped(reason) => {
            Failure::new(Code::Dropped, format!("transaction {txid} was {reason}"))
        }
        _ => {
            let reached = confirmations(session, tip);
            return (reached >= count).then(|| Reply::Integer(reached.into()));
        }
    };
    Some(Reply::from(&failure))
}

//! Connections that speak the Redis protocol. Their replies come in the order of the requests;
//! reads and plain writes of one connection are worked on at the same time, all else one by one.
//!
//! What the commands do is told in docs/commands/redis.md.

mod connection;
mod cursors;
mod events;
mod info;
mod own;
mod reads;
mod session;
mod values;

use std::collections::BTreeMap;

use chain::Hash;
use chain::ledger::{Answer, RequestId};
use net::{ClientId, Millis};
use serde_json::Value;

use super::client::UNSENT_BYTES;
use super::{Admin, Asked};
use crate::command;
use crate::reply::{Code, Failure};
use crate::resp::latest::{CACHE_BYTES, Latest};
use crate::resp::parser::Limits;
use crate::resp::reply::{self, Reply, Version};
use crate::resp::{data, table};
use cursors::Cursors;
pub(super) use session::Session;
use session::{Class, Queued, Waiting};

/// Most commands between `MULTI` and `EXEC`.
const MAX_QUEUED: usize = 1024;

/// What all connections share.
#[derive(Debug)]
pub(super) struct Redis {
    latest: Latest,
    cursors: Cursors,
    /// Whose transactions wait for a block, or are the newest of a connection.
    writers: BTreeMap<Hash, ClientId>,
    /// Questions whose readers have seen a block that the port was not told of yet.
    early: Vec<RequestId>,
}

impl Redis {
    pub(super) fn new(tip: chain::store::ChainPoint) -> Redis {
        let latest = Latest::new(tip, CACHE_BYTES);
        let (cursors, writers, early) = Default::default();
        Redis { latest, cursors, writers, early }
    }
}

/// A reply now, or none yet; an error also breaks a `MULTI`.
type Started = Result<Option<Reply>, Reply>;

impl Admin {
    /// Serves a connection until it has no request or must wait.
    pub(super) fn serve_redis(&mut self, id: ClientId) {
        while let Some(client) = self.clients.get_mut(&id) {
            let limits = match client.authorised {
                true => Limits::authenticated(client.max_line),
                false => Limits::UNAUTHENTICATED,
            };
            let (busy, unsent) = (client.busy, client.unsent);
            let Some(session) = &mut client.redis else { return };
            if busy || session.closing || unsent + session.reply_bytes() > UNSENT_BYTES {
                break;
            }
            let next = match session.held.take() {
                Some(words) => Ok(Some(words)),
                None => session.parser.next(&limits),
            };
            match next {
                Ok(Some(words)) => {
                    if let Some(words) = self.redis_request(id, words) {
                        self.session(id).held = Some(words);
                        break;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    session.reply(&Reply::error(format_args!("Protocol error: {error}")));
                    session.closing = true;
                }
            }
        }
        self.flush_redis(id);
    }

    /// Gives the replies to the reactor, and ends a connection that is done.
    fn flush_redis(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let (busy, ended) = (client.busy, client.ended);
        let Some(session) = &mut client.redis else { return };
        let at_rest = session.is_at_rest() && session.held.is_none() && !busy;
        let is_full = client.unsent + session.out.len() > UNSENT_BYTES;
        let done = session.closing || (ended && !is_full && !session.is_subscribed());
        if !session.out.is_empty() {
            let bytes = std::mem::take(&mut session.out);
            self.send(id, bytes);
        }
        if at_rest && done {
            self.close(id);
        }
    }

    /// The session of a client that has one.
    fn session(&mut self, id: ClientId) -> &mut Session {
        let client = self.clients.get_mut(&id).expect("it is being served");
        client.redis.as_mut().expect("it speaks the Redis protocol")
    }

    /// Starts a request, or gives it back when it must wait for those before it.
    fn redis_request(&mut self, id: ClientId, words: Vec<Vec<u8>>) -> Option<Vec<Vec<u8>>> {
        let name = words[0].to_ascii_uppercase();
        let session = self.session(id);
        let class = match session.multi {
            Some(_) => Class::Alone,
            None => class(&name, words.len()),
        };
        let values = if name == b"MGET" { words.len() - 1 } else { 1 };
        if !session.may_start(class, values) {
            return Some(words);
        }
        if class == Class::Read && name == b"GET" && self.get_at_once(id, &words) {
            return None;
        }
        match self.redis_command(id, class, &name, &words) {
            Ok(None) => {}
            Ok(Some(reply)) => self.session(id).reply(&reply),
            Err(reply) => {
                let session = self.session(id);
                if let Some(multi) = &mut session.multi {
                    multi.broken = true;
                }
                session.reply(&reply);
            }
        }
        None
    }

    /// Answers a `GET` of a value in memory: no copy but the one into the reply.
    fn get_at_once(&mut self, id: ClientId, words: &[Vec<u8>]) -> bool {
        let [_, key] = words else { return false };
        let client = self.clients.get_mut(&id).expect("it is being served");
        let session = client.redis.as_mut().expect("it speaks the Redis protocol");
        let in_resp2_mode = session.version == Version::Two && session.is_subscribed();
        if in_resp2_mode || !session.is_at_rest() {
            return false;
        }
        let value = session.own.value(key).or_else(|| self.redis.latest.get(key));
        match value {
            None => return false,
            Some(None) => reply::null(&mut session.out, session.version),
            Some(Some(value)) => reply::bulk(&mut session.out, value),
        }
        true
    }

    fn redis_command(
        &mut self,
        id: ClientId,
        class: Class,
        name: &[u8],
        words: &[Vec<u8>],
    ) -> Started {
        let Some(command) = table::find(name) else {
            return self.own_verb(id, name, words);
        };
        if !command.takes(words.len()) {
            return Err(table::wrong_number(command.name));
        }
        let client = &self.clients[&id];
        let session = client.redis.as_ref().expect("it speaks the Redis protocol");
        if session.version == Version::Two && session.is_subscribed() && !may_interrupt(name) {
            return Err(Reply::error(format_args!(
                "Can't execute '{}': only (P)SUBSCRIBE / (P)UNSUBSCRIBE / PING / QUIT / RESET \
                 are allowed in this context",
                command.name.to_ascii_lowercase()
            )));
        }
        if command.kind == "write" && !client.authorised {
            return Err(no_auth(command.name));
        }
        let is_queueing = session.multi.is_some();
        let size: usize = words.iter().map(Vec::len).sum();
        if is_queueing && !matches!(name, b"EXEC" | b"DISCARD" | b"RESET" | b"QUIT") {
            let queued = self.queued(name, words)?;
            return self.enqueue(id, queued, size).map(Some);
        }
        if let Some(parsed) = data::parse(name, words[1..].to_vec()) {
            return self.start_data(id, class, parsed?);
        }
        match name {
            b"MULTI" | b"EXEC" | b"DISCARD" | b"WATCH" | b"UNWATCH" => {
                self.transaction_command(id, name, words)
            }
            b"SCAN" | b"KEYS" | b"DBSIZE" | b"XLEN" | b"XRANGE" | b"XREVRANGE" | b"XREAD" => {
                self.read_command(id, name, words)
            }
            b"SUBSCRIBE" | b"PSUBSCRIBE" | b"UNSUBSCRIBE" | b"PUNSUBSCRIBE" => {
                self.subscription_command(id, name, words)
            }
            b"WAIT" => self.wait_command(id, words),
            b"INFO" => Ok(Some(self.info(words))),
            _ => self.connection_command(id, name, words),
        }
    }

    /// What a command becomes after `MULTI`.
    fn queued(&self, name: &[u8], words: &[Vec<u8>]) -> Result<Queued, Reply> {
        match name {
            b"PING" => return Ok(Queued::Reply(connection::pong(words))),
            b"ECHO" => return Ok(Queued::Reply(Reply::Bulk(words[1].clone()))),
            b"TIME" => return Ok(Queued::Reply(connection::time(self.now))),
            b"MULTI" => return Err(Reply::error("MULTI calls can not be nested")),
            b"WATCH" => return Err(Reply::error("WATCH inside MULTI is not allowed")),
            b"UNWATCH" => return Ok(Queued::Reply(Reply::OK)),
            _ => {}
        }
        match data::parse(name, words[1..].to_vec()) {
            Some(parsed) => parsed.map(Queued::Data),
            None => {
                let name = name.escape_ascii();
                Err(Reply::error(format_args!("{name} cannot be queued: only values can")))
            }
        }
    }

    fn enqueue(&mut self, id: ClientId, queued: Queued, size: usize) -> Result<Reply, Reply> {
        let max_bytes = self.clients[&id].max_line;
        let multi = self.session(id).multi.as_mut().expect("it is queueing");
        multi.bytes += size;
        if multi.queue.len() == MAX_QUEUED || multi.bytes > max_bytes {
            return Err(Reply::error("too much is queued for one transaction"));
        }
        multi.queue.push(queued);
        Ok(Reply::Simple("QUEUED"))
    }

    /// The commands of the line port, as arrays of the same words. The answer is its JSON.
    fn own_verb(&mut self, id: ClientId, name: &[u8], words: &[Vec<u8>]) -> Started {
        if matches!(name, b"POST" | b"HOST:") {
            // A web page must not be able to write through the browser of who runs a node.
            let session = self.session(id);
            session.parser.discard();
            session.closing = true;
            let failure = Failure::new(Code::NoProto, "this is no web server");
            return Err(Reply::from(&failure));
        }
        let is_ours = std::str::from_utf8(name).is_ok_and(|name| command::find(name).is_some());
        if !is_ours {
            return Err(table::refusal(name, words));
        }
        if self.session(id).multi.is_some() {
            return Err(Reply::error("only commands about values can be queued"));
        }
        let list = words.iter().map(|word| match std::str::from_utf8(word) {
            Ok(text) => text.to_string(),
            Err(_) => crate::words::encode(word),
        });
        let started = command::parse_words(list.collect())
            .and_then(|(command, request)| self.request(id, command, request));
        match started {
            Ok(()) => Ok(None),
            Err(failure) => {
                self.clients.get_mut(&id).expect("it is being served").busy = false;
                self.lives.forget(id);
                Err(Reply::from(&failure))
            }
        }
    }

    /// What the line port would answer with, as a reply.
    pub(super) fn reply_json(&mut self, id: ClientId, answer: &Result<Value, Failure>) {
        let reply = match answer {
            Ok(json) => Reply::text(json.to_string()),
            Err(failure) => Reply::from(failure),
        };
        self.session(id).reply(&reply);
    }

    /// Names a question of a connection.
    fn ask_redis(&mut self, id: ClientId) -> RequestId {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.asked.insert(request, Asked::Redis(id));
        request
    }

    /// Replies to a request that other threads have worked on, and goes on.
    fn settle_redis(&mut self, id: ClientId, request: RequestId, reply: &Reply) {
        self.clients.get_mut(&id).expect("it is being served").active_at = self.now;
        self.session(id).settle(request, reply);
        self.serve_redis(id);
    }

    /// The ledger has answered a write.
    pub(super) fn redis_wrote(&mut self, id: ClientId, request: RequestId, answer: Answer) {
        self.asked.remove(&request);
        let reply = match answer {
            Answer::Accepted { txid } => self.accepted(id, request, txid),
            Answer::Refused(refusal) => Reply::from(&super::answers::refused(&refusal)),
            Answer::Invalid(error) => Reply::from(&Failure::new(Code::Refused, error)),
            _ => Reply::from(&super::answers::locked()),
        };
        self.settle_redis(id, request, &reply);
    }

    /// Something failed on its way.
    pub(super) fn redis_failed(&mut self, id: ClientId, request: RequestId, failure: &Failure) {
        self.asked.remove(&request);
        self.settle_redis(id, request, &Reply::from(failure));
    }

    /// Takes note of the tip that a reader has answered at.
    pub(super) fn redis_read_at(&mut self, tip: chain::store::ChainPoint) {
        self.redis.latest.read_at(tip);
    }

    /// Forgets a connection that is gone, whose questions are forgotten already.
    pub(super) fn forget_redis(&mut self, session: &Session) {
        self.redis.early.retain(|request| self.asked.contains_key(request));
        for txid in session.own.transactions() {
            self.redis.writers.remove(txid);
        }
        if let Some(last) = session.last_write {
            self.redis.writers.remove(&last.txid);
        }
    }

    /// When the next connection has waited for long enough.
    pub(super) fn redis_wake_at(&self) -> Option<Millis> {
        let sessions = self.clients.values().filter_map(|client| client.redis.as_ref());
        sessions.filter_map(|session| session.waiting.as_ref().map(Waiting::until)).min()
    }
}

/// What may be worked on together with others of its class.
fn class(name: &[u8], words: usize) -> Class {
    match name {
        b"GET" | b"MGET" | b"EXISTS" | b"STRLEN" | b"GETRANGE" | b"TYPE" | b"TTL" => Class::Read,
        b"SET" if words == 3 => Class::Write,
        b"MSET" => Class::Write,
        _ => Class::Alone,
    }
}

/// Whether it is served in RESP2 while events may come in between.
fn may_interrupt(name: &[u8]) -> bool {
    name.ends_with(b"SUBSCRIBE") || matches!(name, b"PING" | b"QUIT" | b"RESET")
}

fn no_auth(name: &str) -> Reply {
    let what = format!("{name} needs AUTH with the node's admin.cookie");
    Reply::from(&Failure::new(Code::NoAuth, what))
}

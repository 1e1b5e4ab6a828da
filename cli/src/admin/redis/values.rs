//! Values read and written, and `MULTI`, `WATCH`, `EXEC`.

use std::collections::BTreeMap;

use chain::ledger::{self, Draft, RequestId};
use kv::query::Values;
use kv::{Expect, Operation};
use net::ClientId;

use super::super::{Admin, ReadJob};
use super::Started;
use super::own::Own;
use super::session::{Class, LastWrite, Multi, Queued, Step, WriteState};
use crate::reads::raw::{Current, RawRead, too_long};
use crate::reply::Failure;
use crate::request::Read;
use crate::resp::data::{Data, Known, Write, check_count, check_key};
use crate::resp::reply::Reply;
use crate::resp::{MAX_KEYS, MAX_VALUE_BYTES};

/// Values by key; `None` = it has no live value.
type Found = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// What a connection sees: what it has queued itself, what it wrote, what the chain has.
struct Seen<'a> {
    queued: &'a Found,
    own: &'a Own,
    found: &'a Found,
}

impl Known for Seen<'_> {
    fn value(&self, key: &[u8]) -> Option<&[u8]> {
        let queued = self.queued.get(key).map(Option::as_deref);
        let found = || self.found.get(key).and_then(Option::as_deref);
        queued.or_else(|| self.own.value(key)).unwrap_or_else(found)
    }
}

/// What a step must know of the latest versions of keys.
fn question(step: &Step) -> Option<RawRead> {
    Some(RawRead::Latest(match step {
        Step::Look(data) => {
            data.must_know().into_iter().map(|key| (key.to_vec(), data.values())).collect()
        }
        Step::Watch(keys) => keys.iter().map(|key| (key.clone(), Values::Skip)).collect(),
        Step::Exec { keys, .. } => keys.clone(),
        _ => return None,
    }))
}

impl Admin {
    /// Starts a command about values.
    pub(super) fn start_data(&mut self, id: ClientId, class: Class, data: Data) -> Started {
        let keys: Vec<Vec<u8>> = data.must_know().into_iter().map(<[u8]>::to_vec).collect();
        let (mut found, mut bytes) = (Found::new(), 0);
        let mut is_known = true;
        for key in &keys {
            if self.session(id).own.value(key).is_some() {
                continue;
            }
            match self.redis.latest.get(key) {
                Some(value) => {
                    let value = value.map(|value| match data.values() {
                        Values::Read => value,
                        Values::Skip => &[][..],
                    });
                    bytes += value.map_or(0, <[u8]>::len);
                    if bytes > MAX_VALUE_BYTES {
                        return Err(Reply::from(&too_long()));
                    }
                    found.insert(key.clone(), value.map(<[u8]>::to_vec));
                }
                None => {
                    is_known = false;
                    break;
                }
            }
        }
        if is_known {
            return self.decide(id, class, None, data, &found);
        }
        // All of them from one snapshot.
        self.look(id, class, Step::Look(data))
    }

    /// Asks a reader what a step must know.
    fn look(&mut self, id: ClientId, class: Class, step: Step) -> Started {
        let read = question(&step).expect("it is one that waits for the latest versions of keys");
        self.read_redis(id, class, read, step)
    }

    /// Whether what is read for a request is put together with what this port knows of the chain,
    /// so that both must be of the same tip.
    pub(super) fn needs_the_tip(&mut self, id: ClientId, request: RequestId) -> bool {
        let session = self.session(id);
        let has_written = session.last_write.is_some();
        match session.step(request) {
            Some(Step::Look(_)) => has_written,
            Some(Step::Watch(_) | Step::Exec { .. }) => true,
            _ => false,
        }
    }

    /// Asks a reader once more.
    pub(super) fn read_again(&mut self, request: RequestId) {
        let Some(id) = self.asked.get(&request).map(|asked| asked.client()) else { return };
        let Some(read) = self.session(id).step(request).and_then(|step| question(step)) else {
            return;
        };
        let job = ReadJob { request, read: Read::Raw(read) };
        if let Err(failure) = (self.joints.reads)(job) {
            self.not_found(id, request, &failure);
        }
    }

    /// Asks a reader.
    pub(super) fn read_redis(
        &mut self,
        id: ClientId,
        class: Class,
        read: RawRead,
        step: Step,
    ) -> Started {
        let request = self.ask_redis(id);
        let job = ReadJob { request, read: Read::Raw(read) };
        if let Err(failure) = (self.joints.reads)(job) {
            self.forget(request);
            return Err(Reply::from(&failure));
        }
        self.session(id).begin(class, request, step);
        Ok(None)
    }

    /// Decides on a command when its values are known. `before` names the request if it is under
    /// way already.
    fn decide(
        &mut self,
        id: ClientId,
        class: Class,
        before: Option<RequestId>,
        data: Data,
        found: &Found,
    ) -> Started {
        let mut writes = Vec::new();
        let own = &self.session(id).own;
        let seen = Seen { queued: &Found::new(), own, found };
        if data.value_bytes(&seen) > MAX_VALUE_BYTES {
            return Err(Reply::from(&too_long()));
        }
        let reply = data.decide(&seen, &mut writes);
        self.write(id, class, before, reply, writes)
    }

    /// Hands writes to the ledger; without any the reply is due at once.
    fn write(
        &mut self,
        id: ClientId,
        class: Class,
        before: Option<RequestId>,
        reply: Reply,
        writes: Vec<Write>,
    ) -> Started {
        if writes.is_empty() {
            return Ok(Some(reply));
        }
        let operations = writes.iter().map(|Write { key, value, expect }| match value {
            Some(value) => Operation::Put { key, value, expect: *expect, policy: None }.encode(),
            None => Operation::Delete { key, expect: *expect }.encode(),
        });
        let draft = Draft { operations: operations.collect(), fee: None, expires_at: 0 };
        let request = self.ask_redis(id);
        let told = self.tell_ledger(request, ledger::Input::Write { request, draft });
        told.map_err(|failure| Reply::from(&failure))?;
        let step = Step::Write { reply, writes };
        match before {
            Some(before) => self.session(id).go_on(before, request, step),
            None => self.session(id).begin(class, request, step),
        }
        Ok(None)
    }

    /// The ledger has taken a write: what to say now.
    pub(super) fn accepted(
        &mut self,
        id: ClientId,
        request: RequestId,
        txid: chain::Hash,
    ) -> Reply {
        let session = self.session(id);
        let Some(step) = session.step(request) else { return Reply::OK };
        let Step::Write { reply, writes } = std::mem::replace(step, Step::Done(Vec::new())) else {
            return Reply::OK;
        };
        let before = session.last_write.replace(LastWrite { txid, state: WriteState::Pending });
        let mut forgotten = Vec::new();
        for (txid, keys) in session.own.accepted(txid, writes) {
            session.have_changed(keys.iter().map(Vec::as_slice)); // they are not followed any more
            forgotten.push(txid);
        }
        // Its own place in the list of writers ends with the last of what it is there for.
        let is_own = |txid| session.own.transactions().any(|own| *own == txid);
        forgotten.extend(before.map(|last| last.txid).filter(|txid| !is_own(*txid)));
        for txid in forgotten {
            self.redis.writers.remove(&txid);
        }
        self.redis.writers.insert(txid, id);
        reply
    }

    /// A reader has found the latest versions of keys.
    pub(super) fn found_latest(
        &mut self,
        id: ClientId,
        request: RequestId,
        tip: chain::store::ChainPoint,
        list: Vec<Current>,
    ) -> Started {
        let Some(step) = self.session(id).step(request) else { return Ok(None) };
        match std::mem::replace(step, Step::Done(Vec::new())) {
            Step::Look(data) => {
                let mut found = Found::new();
                for (key, current) in data.must_know().into_iter().zip(list) {
                    if current.value.is_some() || !current.is_live {
                        self.redis.latest.keep(tip, key, current.value.as_deref());
                    }
                    found.insert(key.to_vec(), current.live());
                }
                self.decide(id, Class::Alone, Some(request), data, &found)
            }
            Step::Watch(keys) => {
                let session = self.session(id);
                for (key, current) in keys.into_iter().zip(list) {
                    let version = current.version + session.own.versions(&key);
                    session.watched.entry(key).or_insert(Some(version));
                }
                Ok(Some(Reply::OK))
            }
            Step::Exec { queue, keys } => self.execute(id, Some(request), queue, keys, list),
            _ => Ok(Some(Reply::error("the answer belongs to no question"))),
        }
    }

    pub(super) fn transaction_command(
        &mut self,
        id: ClientId,
        name: &[u8],
        words: &[Vec<u8>],
    ) -> Started {
        let session = self.session(id);
        match (name, session.multi.take()) {
            (b"MULTI", _) => {
                session.multi = Some(Multi::default());
                Ok(Some(Reply::OK))
            }
            (b"UNWATCH", _) => {
                session.watched.clear();
                Ok(Some(Reply::OK))
            }
            (b"WATCH", _) => {
                let keys = &words[1..];
                keys.iter().try_for_each(|key| check_key(key))?;
                check_count(keys.len() + session.watched.len())?;
                self.look(id, Class::Alone, Step::Watch(keys.to_vec()))
            }
            (b"DISCARD", Some(_)) => {
                session.end_transaction();
                Ok(Some(Reply::OK))
            }
            (b"EXEC", Some(multi)) => self.exec(id, multi),
            (name, _) => {
                let name = name.escape_ascii();
                Err(Reply::error(format_args!("{name} without MULTI")))
            }
        }
    }

    fn exec(&mut self, id: ClientId, multi: Multi) -> Started {
        let session = self.session(id);
        if multi.broken {
            session.end_transaction();
            let what = "EXECABORT Transaction discarded because of previous errors.";
            return Err(Reply::Error(what.to_string()));
        }
        let watched = session.watched.keys().map(|key| (key.clone(), Values::Skip));
        let mut keys: BTreeMap<Vec<u8>, Values> = watched.collect();
        for queued in &multi.queue {
            let Queued::Data(data) = queued else { continue };
            for key in data.must_know() {
                let values = keys.entry(key.to_vec()).or_insert(Values::Skip);
                if data.values() == Values::Read {
                    *values = Values::Read;
                }
            }
        }
        let keys: Vec<(Vec<u8>, Values)> = keys.into_iter().collect();
        if keys.is_empty() {
            return self.execute(id, None, multi.queue, keys, Vec::new());
        }
        if keys.len() > 2 * MAX_KEYS {
            session.end_transaction();
            return Err(Reply::error("too many keys are queued for one transaction"));
        }
        let started = self.look(id, Class::Alone, Step::Exec { queue: multi.queue, keys });
        if started.is_err() {
            self.session(id).end_transaction();
        }
        started
    }

    /// Runs what was queued. The writes are one transaction of the chain.
    fn execute(
        &mut self,
        id: ClientId,
        before: Option<RequestId>,
        queue: Vec<Queued>,
        keys: Vec<(Vec<u8>, Values)>,
        list: Vec<Current>,
    ) -> Started {
        let session = self.session(id);
        let mut watched = std::mem::take(&mut session.watched);
        session.end_transaction();
        let mut found = Found::new();
        for ((key, _), current) in keys.into_iter().zip(list) {
            let version = current.version + session.own.versions(&key);
            if watched.get(&key).is_some_and(|expected| *expected != Some(version)) {
                return Ok(Some(Reply::NullArray));
            }
            found.insert(key, current.live());
        }
        let (mut writes, mut queued, mut replies) = (Vec::new(), Found::new(), Vec::new());
        let mut bytes = 0;
        for command in queue {
            match command {
                Queued::Reply(reply) => replies.push(reply),
                Queued::Data(data) => {
                    let first = writes.len();
                    let seen = Seen { queued: &queued, own: &session.own, found: &found };
                    bytes += data.value_bytes(&seen);
                    if bytes > MAX_VALUE_BYTES {
                        return Err(Reply::from(&too_long()));
                    }
                    replies.push(data.decide(&seen, &mut writes));
                    for Write { key, value, expect } in &mut writes[first..] {
                        // Only the first write of a key meets the version that was watched.
                        if let Some(version) = watched.remove(key).flatten() {
                            *expect = Expect::Version(version);
                        }
                        queued.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        self.write(id, Class::Alone, before, Reply::Array(replies), writes)
    }

    /// Replies with what came of a step, if anything did.
    pub(super) fn stepped(&mut self, id: ClientId, request: RequestId, started: Started) {
        match started {
            Ok(None) => {}
            Ok(Some(reply)) | Err(reply) => self.settle_redis(id, request, &reply),
        }
    }

    /// A reader could not answer.
    pub(super) fn not_found(&mut self, id: ClientId, request: RequestId, failure: &Failure) {
        let step = self.session(id).step(request);
        if matches!(step, Some(Step::Exec { .. })) {
            self.session(id).end_transaction();
        }
        self.redis_failed(id, request, failure);
    }
}

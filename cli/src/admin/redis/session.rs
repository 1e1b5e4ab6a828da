//! One connection that speaks the Redis protocol: what it has asked for and was not yet told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use chain::Hash;
use chain::ledger::RequestId;
use chain::mempool::DropReason;
use kv::query::Values;
use net::Millis;

use super::own::Own;
use crate::resp::data::{Data, Write};
use crate::resp::parser::Parser;
use crate::resp::reply::{Reply, Version};

/// Requests of one connection that other threads may work on at a time, those that read several
/// values counted once for each. One alone may read more.
const MAX_IN_FLIGHT: usize = 64;

/// The connection.
#[derive(Debug)]
pub(in super::super) struct Session {
    pub(in super::super) parser: Parser,
    pub(super) version: Version,
    pub(super) address: SocketAddr,
    pub(super) opened_at: Millis,
    /// What the client calls itself: `CLIENT SETNAME`, `SETINFO`.
    pub(super) name: Vec<u8>,
    pub(super) library: [Vec<u8>; 2],
    /// Replies that are not yet given to the reactor.
    pub(super) out: Vec<u8>,
    /// Requests in their order, from the first that other threads work on.
    slots: VecDeque<Slot>,
    /// What kind those are.
    in_flight: Class,
    /// A request that waits for them.
    pub(super) held: Option<Vec<Vec<u8>>>,
    /// Whether nothing more is served and the connection ends with the last reply.
    pub(super) closing: bool,
    pub(super) multi: Option<Multi>,
    /// Watched keys with the version that `EXEC` must find; `None` = the key has changed.
    pub(super) watched: BTreeMap<Vec<u8>, Option<u64>>,
    pub(super) own: Own,
    pub(super) last_write: Option<LastWrite>,
    pub(super) waiting: Option<Waiting>,
    pub(super) channels: BTreeSet<Vec<u8>>,
    pub(super) patterns: BTreeSet<Vec<u8>>,
}

/// Requests of the same class may be worked on at the same time; others wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Only reads values.
    Read,
    /// Writes without having to know anything.
    Write,
    /// Everything else.
    Alone,
}

/// A place in the order of replies.
#[derive(Debug)]
struct Slot {
    request: Option<RequestId>,
    step: Step,
}

impl Slot {
    /// How many values it reads, at least 1.
    fn values(&self) -> usize {
        match &self.step {
            Step::Look(Data::MGet(keys)) => keys.len(),
            _ => 1,
        }
    }
}

/// What a request waits for.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing but those before it.
    Done(Vec<u8>),
    /// The values it must know.
    Look(Data),
    /// Those of `EXEC`, and of the keys that are watched.
    Exec {
        /// The queued commands.
        queue: Vec<Queued>,
        /// The keys that they must know or are watched.
        keys: Vec<(Vec<u8>, Values)>,
    },
    /// The versions of keys to watch.
    Watch(Vec<Vec<u8>>),
    /// The ledger's word.
    Write {
        /// What to say then.
        reply: Reply,
        /// What was written.
        writes: Vec<Write>,
    },
    /// Something else from the store.
    Read(Shape),
}

/// How the answer of a read becomes a reply.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// A page of keys and a cursor.
    Scan,
    /// Keys.
    Keys,
    /// A number of keys.
    Count,
    /// The number of versions of a key.
    Length,
    /// Versions of a key.
    Versions,
    /// New versions of keys.
    News {
        /// At most so many of a key.
        limit: usize,
        /// Wait for some until then, if there are none.
        until: Option<Millis>,
    },
}

/// What is queued after `MULTI`.
#[derive(Debug, Default)]
pub(super) struct Multi {
    pub(super) queue: Vec<Queued>,
    /// Bytes of the words that were queued.
    pub(super) bytes: usize,
    /// Whether a command was refused, so that nothing will be executed.
    pub(super) broken: bool,
}

/// A queued command.
#[derive(Debug)]
pub(super) enum Queued {
    /// About values.
    Data(Data),
    /// The reply is known already.
    Reply(Reply),
}

/// The newest transaction of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastWrite {
    pub(super) txid: Hash,
    pub(super) state: WriteState,
}

/// Where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum WriteState {
    Pending,
    Included { height: u32, applied: bool },
    Dropped(DropReason),
}

/// What the connection waits for before its next request is served.
#[derive(Debug)]
pub(super) enum Waiting {
    /// So many confirmations of its last write.
    Confirmations { count: u32, until: Millis },
    /// A version of one of these keys after the one that is known.
    News { keys: Vec<(Vec<u8>, Option<u64>)>, limit: usize, until: Millis },
}

impl Waiting {
    pub(super) fn until(&self) -> Millis {
        match self {
            Waiting::Confirmations { until, .. } | Waiting::News { until, .. } => *until,
        }
    }
}

impl Session {
    pub(in super::super) fn new(now: Millis, address: SocketAddr, unread: &[u8]) -> Session {
        let mut parser = Parser::default();
        parser.feed(unread);
        Session {
            parser,
            version: Version::Two,
            address,
            opened_at: now,
            name: Vec::new(),
            library: Default::default(),
            out: Vec::new(),
            slots: VecDeque::new(),
            in_flight: Class::Alone,
            held: None,
            closing: false,
            multi: None,
            watched: BTreeMap::new(),
            own: Own::default(),
            last_write: None,
            waiting: None,
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
        }
    }

    /// Whether a request of this class that reads so many values may be started now.
    pub(super) fn may_start(&self, class: Class, values: usize) -> bool {
        let alike = class != Class::Alone && class == self.in_flight;
        let under_way: usize = self.slots.iter().map(Slot::values).sum();
        self.slots.is_empty() || (alike && under_way + values <= MAX_IN_FLIGHT)
    }

    /// Bytes of replies that are not yet given to the reactor.
    pub(super) fn reply_bytes(&self) -> usize {
        let done = self.slots.iter().map(|slot| match &slot.step {
            Step::Done(bytes) => bytes.len(),
            _ => 0,
        });
        self.out.len() + done.sum::<usize>()
    }

    /// Whether no other thread works on anything of it.
    pub(in super::super) fn is_at_rest(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether it was promised events.
    pub(in super::super) fn is_subscribed(&self) -> bool {
        !self.channels.is_empty() || !self.patterns.is_empty()
    }

    /// Notes that another thread works on a request.
    pub(super) fn begin(&mut self, class: Class, request: RequestId, step: Step) {
        self.in_flight = class;
        self.slots.push_back(Slot { request: Some(request), step });
    }

    /// What a request was waiting for.
    pub(super) fn step(&mut self, request: RequestId) -> Option<&mut Step> {
        self.slots.iter_mut().find(|slot| slot.request == Some(request)).map(|slot| &mut slot.step)
    }

    /// Goes on with a request: another thread works on it again, by another name.
    pub(super) fn go_on(&mut self, before: RequestId, now: RequestId, step: Step) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.request == Some(before)) {
            *slot = Slot { request: Some(now), step };
        }
    }

    /// Replies to a request that another thread has worked on, when its turn comes.
    pub(super) fn settle(&mut self, request: RequestId, reply: &Reply) {
        let bytes = reply.encode(self.version);
        if let Some(step) = self.step(request) {
            *step = Step::Done(bytes);
        }
        self.pass_on();
    }

    /// Takes a request back that needs no reply yet.
    pub(super) fn withdraw(&mut self, request: RequestId) {
        self.slots.retain(|slot| slot.request != Some(request));
        self.pass_on();
    }

    /// Replies to the newest request.
    pub(super) fn reply(&mut self, reply: &Reply) {
        if self.slots.is_empty() {
            reply.write(self.version, &mut self.out);
        } else {
            let step = Step::Done(reply.encode(self.version));
            self.slots.push_back(Slot { request: None, step });
        }
    }

    fn pass_on(&mut self) {
        while let Some(Slot { step: Step::Done(bytes), .. }) = self.slots.front() {
            self.out.extend_from_slice(bytes);
            self.slots.pop_front();
        }
    }

    /// Notes that these keys are not what they were when they were watched, even if their versions
    /// will have the same numbers.
    pub(super) fn have_changed<'a>(&mut self, keys: impl IntoIterator<Item = &'a [u8]>) {
        for key in keys {
            if let Some(expected) = self.watched.get_mut(key) {
                *expected = None;
            }
        }
    }

    /// Forgets `MULTI` and `WATCH`.
    pub(super) fn end_transaction(&mut self) {
        self.multi = None;
        self.watched.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session::new(Millis(0), ([127, 0, 0, 1], 1).into(), b"")
    }

    fn get(key: &[u8]) -> Step {
        Step::Look(Data::Get(key.to_vec()))
    }

    #[test]
    fn replies_leave_in_the_order_of_requests() {
        let mut session = session();
        session.begin(Class::Read, RequestId(1), get(b"a"));
        session.begin(Class::Read, RequestId(2), get(b"b"));
        session.reply(&Reply::Integer(3)); // was in memory
        session.settle(RequestId(2), &Reply::Integer(2));
        assert_eq!(session.out, b"");
        session.settle(RequestId(1), &Reply::Integer(1));
        assert_eq!(session.out, b":1\r\n:2\r\n:3\r\n");
        assert!(session.is_at_rest());
    }

    #[test]
    fn only_what_is_alike_is_worked_on_together() {
        let mut session = session();
        let classes = [Class::Read, Class::Write, Class::Alone];
        assert!(classes.iter().all(|class| session.may_start(*class, 1)));
        session.begin(Class::Write, RequestId(1), get(b"a"));
        assert!(session.may_start(Class::Write, 1));
        assert!(!session.may_start(Class::Read, 1) && !session.may_start(Class::Alone, 1));
        for request in 2..=MAX_IN_FLIGHT as u64 {
            session.begin(Class::Write, RequestId(request), get(b"a"));
        }
        assert!(!session.may_start(Class::Write, 1));
        session.settle(RequestId(1), &Reply::OK);
        assert!(session.may_start(Class::Write, 1) && !session.may_start(Class::Write, 2));
    }
}

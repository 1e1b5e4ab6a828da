//! The commands that read and write values: what they must know, and what they do with it.

use kv::Expect;
use kv::query::Values;

use super::MAX_KEYS;
use super::parser::number;
use super::reply::Reply;

/// Longest key, in bytes.
const MAX_KEY_BYTES: usize = kv::operation::MAX_KEY_BYTES;

/// A key and its value.
type Pair = (Vec<u8>, Vec<u8>);

/// A command about values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// `GET`.
    Get(Vec<u8>),
    /// `MGET`.
    MGet(Vec<Vec<u8>>),
    /// `EXISTS`; a key named twice counts twice.
    Exists(Vec<Vec<u8>>),
    /// `TYPE`.
    Type(Vec<u8>),
    /// `TTL` and its like: nothing here expires.
    Ttl(Vec<u8>),
    /// `STRLEN`.
    StrLen(Vec<u8>),
    /// `GETRANGE`: offsets from the start, or from the end when negative.
    GetRange(Vec<u8>, i64, i64),
    /// `SET`, `GETSET`.
    Set {
        /// The key.
        key: Vec<u8>,
        /// Its new value.
        value: Vec<u8>,
        /// Whether the key must be there or not.
        when: When,
        /// Whether to answer with the value before.
        get: bool,
    },
    /// `SETNX`.
    SetNx(Vec<u8>, Vec<u8>),
    /// `MSET`.
    MSet(Vec<Pair>),
    /// `MSETNX`.
    MSetNx(Vec<Pair>),
    /// `DEL`.
    Del(Vec<Vec<u8>>),
    /// `GETDEL`.
    GetDel(Vec<u8>),
}

/// The condition of a `SET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// None.
    Always,
    /// `NX`: the key has no live value.
    Absent,
    /// `XX`: it has one.
    Present,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The key.
    pub key: Vec<u8>,
    /// `None` = a tombstone.
    pub value: Option<Vec<u8>>,
    /// What the chain must find.
    pub expect: Expect,
}

/// The values that a command must know.
pub trait Known {
    /// The live value of a key; any bytes when only its being there was asked for.
    fn value(&self, key: &[u8]) -> Option<&[u8]>;
}

/// What the words of a request mean, or the error to answer with.
type Parsed = Result<Data, Reply>;

/// Whether words are a command about values; `name` is in upper case.
pub fn parse(name: &[u8], words: Vec<Vec<u8>>) -> Option<Parsed> {
    let parse: fn(Words) -> Parsed = match name {
        b"GET" => |mut words| Ok(Data::Get(words.key()?)),
        b"MGET" => |words| Ok(Data::MGet(words.keys()?)),
        b"EXISTS" => |words| Ok(Data::Exists(words.keys()?)),
        b"TYPE" => |mut words| Ok(Data::Type(words.key()?)),
        b"TTL" | b"PTTL" | b"EXPIRETIME" | b"PEXPIRETIME" => {
            |mut words| Ok(Data::Ttl(words.key()?))
        }
        b"STRLEN" => |mut words| Ok(Data::StrLen(words.key()?)),
        b"GETRANGE" | b"SUBSTR" => {
            |mut words| Ok(Data::GetRange(words.key()?, words.number()?, words.number()?))
        }
        b"SET" => set,
        b"GETSET" => |mut words| {
            let (key, value) = (words.key()?, words.next()?);
            Ok(Data::Set { key, value, when: When::Always, get: true })
        },
        b"SETNX" => |mut words| Ok(Data::SetNx(words.key()?, words.next()?)),
        b"MSET" => |words| Ok(Data::MSet(words.pairs()?)),
        b"MSETNX" => |words| Ok(Data::MSetNx(words.pairs()?)),
        b"DEL" | b"UNLINK" => |words| Ok(Data::Del(words.keys()?)),
        b"GETDEL" => |mut words| Ok(Data::GetDel(words.key()?)),
        _ => return None,
    };
    Some(parse(Words(words.into_iter())))
}

fn set(mut words: Words) -> Parsed {
    let (key, value) = (words.key()?, words.next()?);
    let (mut when, mut get) = (When::Always, false);
    for word in words.0 {
        match (word.to_ascii_uppercase().as_slice(), when) {
            (b"NX", When::Always) => when = When::Absent,
            (b"XX", When::Always) => when = When::Present,
            (b"GET", _) => get = true,
            (b"EX" | b"PX" | b"EXAT" | b"PXAT", _) => {
                return Err(Reply::error("values do not expire here: SET takes no expiry"));
            }
            (b"KEEPTTL", _) => {}
            _ => return Err(Reply::error("syntax error")),
        }
    }
    Ok(Data::Set { key, value, when, get })
}

/// The words after a command's name. That there are enough was checked by the table.
struct Words(std::vec::IntoIter<Vec<u8>>);

impl Words {
    fn next(&mut self) -> Result<Vec<u8>, Reply> {
        self.0.next().ok_or_else(|| Reply::error("syntax error"))
    }

    fn key(&mut self) -> Result<Vec<u8>, Reply> {
        let key = self.next()?;
        check_key(&key)?;
        Ok(key)
    }

    fn number(&mut self) -> Result<i64, Reply> {
        let word = self.next()?;
        number(&word).ok_or_else(|| Reply::error("value is not an integer or out of range"))
    }

    fn keys(self) -> Result<Vec<Vec<u8>>, Reply> {
        check_count(self.0.len())?;
        self.0.map(|key| check_key(&key).map(|()| key)).collect()
    }

    fn pairs(mut self) -> Result<Vec<Pair>, Reply> {
        if !self.0.len().is_multiple_of(2) {
            return Err(Reply::error("wrong number of arguments for 'mset' command"));
        }
        check_count(self.0.len() / 2)?;
        let mut pairs = Vec::with_capacity(self.0.len() / 2);
        while self.0.len() > 0 {
            pairs.push((self.key()?, self.next()?));
        }
        Ok(pairs)
    }
}

/// Checks the number of keys of one command.
///
/// # Errors
/// The reply when there are too many.
pub fn check_count(count: usize) -> Result<(), Reply> {
    match count {
        0..=MAX_KEYS => Ok(()),
        _ => Err(Reply::error(format_args!("a command names at most {MAX_KEYS} keys here"))),
    }
}

/// Checks a key's length.
///
/// # Errors
/// The reply when it is none.
pub fn check_key(key: &[u8]) -> Result<(), Reply> {
    match key.len() {
        1..=MAX_KEY_BYTES => Ok(()),
        got => {
            let what = format_args!("a key has 1 to {MAX_KEY_BYTES} bytes, this one {got}");
            Err(Reply::error(what))
        }
    }
}

impl Data {
    /// The keys whose values it must know; none for a write without a condition.
    pub fn must_know(&self) -> Vec<&[u8]> {
        match self {
            Data::Get(key)
            | Data::Type(key)
            | Data::Ttl(key)
            | Data::StrLen(key)
            | Data::GetRange(key, ..)
            | Data::SetNx(key, _)
            | Data::GetDel(key) => vec![key],
            Data::MGet(keys) | Data::Exists(keys) | Data::Del(keys) => {
                keys.iter().map(Vec::as_slice).collect()
            }
            Data::Set { when: When::Always, get: false, .. } | Data::MSet(_) => Vec::new(),
            Data::Set { key, .. } => vec![key],
            Data::MSetNx(pairs) => pairs.iter().map(|(key, _)| key.as_slice()).collect(),
        }
    }

    /// Whether it must know them, or only which of the keys have one.
    pub fn values(&self) -> Values {
        match self {
            Data::Get(_)
            | Data::MGet(_)
            | Data::StrLen(_)
            | Data::GetRange(..)
            | Data::Set { get: true, .. }
            | Data::GetDel(_) => Values::Read,
            Data::Exists(_)
            | Data::Type(_)
            | Data::Ttl(_)
            | Data::Set { get: false, .. }
            | Data::SetNx(..)
            | Data::MSet(_)
            | Data::MSetNx(_)
            | Data::Del(_) => Values::Skip,
        }
    }

    /// Whether it may write.
    pub fn writes(&self) -> bool {
        match self {
            Data::Get(_)
            | Data::MGet(_)
            | Data::Exists(_)
            | Data::Type(_)
            | Data::Ttl(_)
            | Data::StrLen(_)
            | Data::GetRange(..) => false,
            Data::Set { .. }
            | Data::SetNx(..)
            | Data::MSet(_)
            | Data::MSetNx(_)
            | Data::Del(_)
            | Data::GetDel(_) => true,
        }
    }

    /// Bytes of values that the reply has.
    pub fn value_bytes(&self, known: &dyn Known) -> usize {
        let length = |key: &[u8]| known.value(key).map_or(0, <[u8]>::len);
        match self {
            Data::Get(key) | Data::GetDel(key) | Data::Set { key, get: true, .. } => length(key),
            Data::GetRange(key, start, end) => {
                range(known.value(key).unwrap_or_default(), *start, *end).len()
            }
            Data::MGet(keys) => keys.iter().map(|key| length(key)).sum(),
            _ => 0,
        }
    }

    /// Decides on what is known: the reply, once `writes` are accepted.
    pub fn decide(self, known: &dyn Known, writes: &mut Vec<Write>) -> Reply {
        let is_there = |key: &[u8]| known.value(key).is_some();
        let copy = |key: &[u8]| Reply::value(known.value(key).map(<[u8]>::to_vec));
        match self {
            Data::Get(key) => copy(&key),
            Data::MGet(keys) => Reply::Array(keys.iter().map(|key| copy(key)).collect()),
            Data::Exists(keys) => Reply::count(keys.iter().filter(|key| is_there(key)).count()),
            Data::Type(key) => Reply::Simple(if is_there(&key) { "string" } else { "none" }),
            Data::Ttl(key) => Reply::Integer(if is_there(&key) { -1 } else { -2 }),
            Data::StrLen(key) => Reply::count(known.value(&key).map_or(0, <[u8]>::len)),
            Data::GetRange(key, start, end) => {
                Reply::Bulk(range(known.value(&key).unwrap_or_default(), start, end).to_vec())
            }
            Data::Set { key, value, when, get } => {
                let before = if get { Some(copy(&key)) } else { None };
                let holds = match when {
                    When::Always => true,
                    When::Absent => !is_there(&key),
                    When::Present => is_there(&key),
                };
                if holds {
                    let absent = when == When::Absent;
                    let expect = if absent { Expect::Absent } else { Expect::Any };
                    writes.push(Write { key, value: Some(value), expect });
                }
                before.unwrap_or(if holds { Reply::OK } else { Reply::Null })
            }
            Data::SetNx(key, value) => set_all_absent(vec![(key, value)], known, writes),
            Data::MSetNx(pairs) => set_all_absent(pairs, known, writes),
            Data::MSet(pairs) => {
                writes.extend(pairs.into_iter().map(|(key, value)| Write {
                    key,
                    value: Some(value),
                    expect: Expect::Any,
                }));
                Reply::OK
            }
            Data::Del(mut keys) => {
                keys.sort();
                keys.dedup(); // a key is deleted once
                keys.retain(|key| is_there(key));
                let count = keys.len();
                writes.extend(keys.into_iter().map(tombstone));
                Reply::count(count)
            }
            Data::GetDel(key) => {
                let before = copy(&key);
                writes.extend(is_there(&key).then(|| tombstone(key)));
                before
            }
        }
    }
}

fn tombstone(key: Vec<u8>) -> Write {
    Write { key, value: None, expect: Expect::Any }
}

fn set_all_absent(pairs: Vec<Pair>, known: &dyn Known, writes: &mut Vec<Write>) -> Reply {
    if pairs.iter().any(|(key, _)| known.value(key).is_some()) {
        return Reply::Integer(0);
    }
    for (key, value) in pairs {
        // A key named twice is absent for its first value only.
        let again = writes.iter().any(|write: &Write| write.key == key);
        let expect = if again { Expect::Any } else { Expect::Absent };
        writes.push(Write { key, value: Some(value), expect });
    }
    Reply::Integer(1)
}

/// The bytes from `start` to `end`, both included, as `GETRANGE` counts.
fn range(value: &[u8], start: i64, end: i64) -> &[u8] {
    if start < 0 && end < 0 && start > end {
        return &[]; // as in Redis, though both may mean the first byte
    }
    let length = i64::try_from(value.len()).unwrap_or(i64::MAX);
    let from_start =
        |offset: i64| if offset < 0 { (length + offset.max(-length)).max(0) } else { offset };
    let (start, end) = (from_start(start), from_start(end).min(length - 1));
    if end < 0 || start > end || (start >= length) {
        return &[];
    }
    let index = |offset: i64| usize::try_from(offset).expect("from 0 to the length");
    &value[index(start)..=index(end)]
}

#[cfg(test)]
mod tests;

//! Keys by pages, and the versions of a key as a stream.

use chain::execute::Order;
use chain::ledger::RequestId;
use chain::store::ChainPoint;
use kv::query::MAX_PAGE_ENTRIES;
use kv::{Entry, VersionKind};
use net::{ClientId, Millis};

use super::super::Admin;
use super::Started;
use super::session::{Class, Shape, Step, Waiting};
use crate::reads::raw::{Found, News, RawRead};
use crate::reply::Failure;
use crate::resp::data::check_key;
use crate::resp::glob::MAX_PATTERN_BYTES;
use crate::resp::parser::number;
use crate::resp::reply::Reply;

/// Keys that `SCAN` looks at when nothing is said, as in Redis.
const SCAN_COUNT: usize = 10;

/// Keys that one `XREAD` may name.
const MAX_STREAMS: usize = 64;

/// What is waited for when nothing else is said: longer than any connection lasts.
const FOREVER_MS: u64 = 1 << 50;

impl Admin {
    pub(super) fn read_command(&mut self, id: ClientId, name: &[u8], words: &[Vec<u8>]) -> Started {
        let (read, shape) = match name {
            b"SCAN" => self.scan(&words[1..])?,
            b"KEYS" => (RawRead::Keys(pattern(&words[1])?), Shape::Keys),
            b"DBSIZE" => (RawRead::Count, Shape::Count),
            b"XLEN" => {
                check_key(&words[1])?;
                let keys = vec![(words[1].clone(), None)];
                (RawRead::News { keys, limit: 1 }, Shape::Length)
            }
            b"XREAD" => self.xread(&words[1..])?,
            _ => (range(name, &words[1..])?, Shape::Versions),
        };
        if matches!(read, RawRead::Page { limit: 0, .. }) {
            return Ok(Some(scan_reply(0, Vec::new())));
        }
        self.read_redis(id, Class::Alone, read, Step::Read(shape))
    }

    fn scan(&self, words: &[Vec<u8>]) -> Result<(RawRead, Shape), Reply> {
        let cursor = number(&words[0]).and_then(|cursor| u64::try_from(cursor).ok());
        let cursor = cursor.ok_or_else(|| Reply::error("invalid cursor"))?;
        let after = match cursor {
            0 => None,
            cursor => {
                let key = self.redis.cursors.key(cursor).map(<[u8]>::to_vec);
                let what = "the cursor is not remembered any more: start again at 0";
                Some(key.ok_or_else(|| Reply::error(what))?)
            }
        };
        let (mut wanted, mut limit) = (b"*".to_vec(), SCAN_COUNT);
        let mut has_strings = true;
        for option in words[1..].chunks(2) {
            let [name, value] = option else { return Err(Reply::error("syntax error")) };
            match name.to_ascii_uppercase().as_slice() {
                b"MATCH" => wanted = pattern(value)?,
                b"COUNT" => limit = count(value)?.clamp(1, MAX_PAGE_ENTRIES),
                b"TYPE" => has_strings = value.eq_ignore_ascii_case(b"string"),
                _ => return Err(Reply::error("syntax error")),
            }
        }
        let limit = if has_strings { limit } else { 0 };
        Ok((RawRead::Page { pattern: wanted, after, limit }, Shape::Scan))
    }

    fn xread(&self, words: &[Vec<u8>]) -> Result<(RawRead, Shape), Reply> {
        let syntax = || Reply::error("syntax error");
        let (mut limit, mut until) = (MAX_PAGE_ENTRIES, None);
        let mut rest = words;
        loop {
            let (name, after) = rest.split_first().ok_or_else(syntax)?;
            match name.to_ascii_uppercase().as_slice() {
                b"STREAMS" => {
                    rest = after;
                    break;
                }
                option @ (b"COUNT" | b"BLOCK") => {
                    let (value, after) = after.split_first().ok_or_else(syntax)?;
                    if option == b"COUNT" {
                        limit = count(value)?.clamp(1, MAX_PAGE_ENTRIES);
                    } else {
                        until = Some(deadline(self.now, value)?);
                    }
                    rest = after;
                }
                _ => return Err(syntax()),
            }
        }
        if rest.is_empty() || !rest.len().is_multiple_of(2) {
            let what = "Unbalanced 'xread' list of streams: for each stream key an ID or '$' \
                        must be specified.";
            return Err(Reply::error(what));
        }
        let (keys, ids) = rest.split_at(rest.len() / 2);
        if keys.len() > MAX_STREAMS {
            let what = format_args!("XREAD names at most {MAX_STREAMS} keys here");
            return Err(Reply::error(what));
        }
        let mut list = Vec::with_capacity(keys.len());
        for (key, entry) in keys.iter().zip(ids) {
            check_key(key)?;
            let after = if entry == b"$" { None } else { Some(entry_id(entry)?) };
            list.push((key.clone(), after));
        }
        Ok((RawRead::News { keys: list, limit }, Shape::News { limit, until }))
    }

    /// A reader has answered.
    pub(in super::super) fn redis_read(
        &mut self,
        id: ClientId,
        request: RequestId,
        tip: Option<ChainPoint>,
        answer: Result<Found, Failure>,
    ) {
        let found = match answer {
            Ok(found) => found,
            Err(failure) => return self.not_found(id, request, &failure),
        };
        let tip = tip.expect("who has answered has seen a tip");
        if !self.redis.latest.is_at(tip) && self.needs_the_tip(id, request) {
            return match self.redis.latest.is_before(tip) {
                true => self.read_again(request),
                false => self.redis.early.push(request), // the port will be told of it soon
            };
        }
        self.forget(request);
        if let Found::Latest(list) = found {
            let started = self.found_latest(id, request, tip, list);
            return self.stepped(id, request, started);
        }
        let Some(Step::Read(shape)) = self.session(id).step(request) else { return };
        let shape = shape.clone();
        if let Some(reply) = self.shaped(id, found, &shape) {
            return self.settle_redis(id, request, &reply);
        }
        self.session(id).withdraw(request);
        if self.redis.latest.is_before(tip) {
            self.ask_for_news(id); // what it waits for may have come meanwhile
        }
    }

    /// What was found, as a reply; none when there is more to wait for.
    fn shaped(&mut self, id: ClientId, found: Found, shape: &Shape) -> Option<Reply> {
        Some(match (found, shape) {
            (Found::Keys(keys, next), Shape::Scan) => {
                let cursor = next.map_or(0, |next| self.redis.cursors.after(next));
                scan_reply(cursor, keys)
            }
            (Found::Keys(keys, _), _) => bulks(keys),
            (Found::Count(count), _) => Reply::count(count),
            (Found::Versions(entries), _) => stream(entries),
            (Found::News(news), Shape::Length) => {
                let versions = news.first().map_or(0, |news| news.after);
                Reply::Integer(i64::try_from(versions).unwrap_or(i64::MAX))
            }
            (Found::News(news), Shape::News { limit, until }) => {
                let is_empty = news.iter().all(|news| news.entries.is_empty());
                if let Some(until) = until.filter(|until| is_empty && *until > self.now) {
                    let keys = news.into_iter().map(|news| (news.key, Some(news.after))).collect();
                    let waiting = Waiting::News { keys, limit: *limit, until };
                    self.session(id).waiting = Some(waiting);
                    self.clients.get_mut(&id).expect("it is being served").busy = true;
                    return None;
                }
                news_reply(news)
            }
            (Found::Latest(_) | Found::News(_), _) => unreachable!("answered where it was asked"),
        })
    }
}

fn bulks(list: Vec<Vec<u8>>) -> Reply {
    Reply::Array(list.into_iter().map(Reply::Bulk).collect())
}

fn scan_reply(cursor: u64, keys: Vec<Vec<u8>>) -> Reply {
    Reply::Array(vec![Reply::text(cursor.to_string()), bulks(keys)])
}

fn news_reply(news: Vec<News>) -> Reply {
    let news: Vec<(Reply, Reply)> = news
        .into_iter()
        .filter(|news| !news.entries.is_empty())
        .map(|news| (Reply::Bulk(news.key), stream(news.entries)))
        .collect();
    if news.is_empty() { Reply::NullArray } else { Reply::Streams(news) }
}

/// Versions of a key as entries of a stream.
fn stream(entries: Vec<Entry>) -> Reply {
    let entry = |entry: Entry| {
        let kind = match entry.kind {
            VersionKind::Put => "put",
            VersionKind::Delete => "delete",
        };
        let fields = [
            Reply::text("value"),
            Reply::Bulk(entry.value),
            Reply::text("kind"),
            Reply::text(kind),
            Reply::text("height"),
            Reply::text(entry.height.to_string()),
            Reply::text("txid"),
            Reply::text(entry.txid.to_string()),
            Reply::text("writer"),
            Reply::text(entry.writer.to_string()),
        ];
        let id = Reply::text(format!("{}-0", entry.version));
        Reply::Array(vec![id, Reply::Array(fields.into())])
    };
    Reply::Array(entries.into_iter().map(entry).collect())
}

/// `XRANGE key from to [COUNT n]`, `XREVRANGE key to from [COUNT n]`.
fn range(name: &[u8], words: &[Vec<u8>]) -> Result<RawRead, Reply> {
    check_key(&words[0])?;
    let is_backwards = name == b"XREVRANGE";
    let (from, to) = if is_backwards { (&words[2], &words[1]) } else { (&words[1], &words[2]) };
    let order = if is_backwards { Order::Descending } else { Order::Ascending };
    let limit = match &words[3..] {
        [] => None,
        [name, value] if name.eq_ignore_ascii_case(b"COUNT") => Some(count(value)?),
        _ => return Err(Reply::error("syntax error")),
    };
    if limit == Some(0) {
        return Err(Reply::error("COUNT is at least 1"));
    }
    let from = match from.as_slice() {
        b"-" => 0,
        b"+" => u64::MAX,
        [b'(', id @ ..] => entry_id(id)?.saturating_add(1),
        // What comes after N-0 and is no other version.
        id if entry_sequence(id)? > 0 => entry_id(id)?.saturating_add(1),
        id => entry_id(id)?,
    };
    let to = match to.as_slice() {
        b"-" => 0,
        b"+" => u64::MAX,
        [b'(', id @ ..] if entry_sequence(id)? == 0 => entry_id(id)?.saturating_sub(1),
        [b'(', id @ ..] => entry_id(id)?,
        id => entry_id(id)?,
    };
    Ok(RawRead::Versions { key: words[0].clone(), range: (from, to), order, limit })
}

/// The version of an id, `N` or `N-M`.
fn entry_id(id: &[u8]) -> Result<u64, Reply> {
    entry_sequence(id)?;
    let version = id.split(|byte| *byte == b'-').next().unwrap_or_default();
    unsigned(version).ok_or_else(invalid_id)
}

/// What follows the version in an id; 0 when nothing does.
fn entry_sequence(id: &[u8]) -> Result<u64, Reply> {
    match id.iter().position(|byte| *byte == b'-') {
        None => unsigned(id).map(|_| 0),
        Some(at) => unsigned(&id[..at]).and(unsigned(&id[at + 1..])),
    }
    .ok_or_else(invalid_id)
}

fn invalid_id() -> Reply {
    Reply::error("Invalid stream ID specified as stream command argument")
}

fn unsigned(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

fn pattern(word: &[u8]) -> Result<Vec<u8>, Reply> {
    if word.len() > MAX_PATTERN_BYTES {
        let what = format_args!("a pattern has at most {MAX_PATTERN_BYTES} bytes");
        return Err(Reply::error(what));
    }
    Ok(word.to_vec())
}

fn count(word: &[u8]) -> Result<usize, Reply> {
    number(word)
        .and_then(|count| usize::try_from(count).ok())
        .ok_or_else(|| Reply::error("value is not an integer or out of range"))
}

/// When so many milliseconds are over; 0 = never.
pub(super) fn deadline(now: Millis, word: &[u8]) -> Result<Millis, Reply> {
    let ms = number(word).and_then(|ms| u64::try_from(ms).ok());
    let ms = ms.ok_or_else(|| Reply::error("timeout is not an integer or out of range"))?;
    Ok(now + if ms == 0 { FOREVER_MS } else { ms.min(FOREVER_MS) })
}

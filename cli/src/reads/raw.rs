//! Answers from the store without JSON in between, for the Redis protocol.

use chain::execute::Order;
use chain::store::StoreError;
use kv::query::{MAX_PAGE_ENTRIES, Scan, Values};
use kv::{Entry, Query};

use crate::reply::{Code, Failure};
use crate::resp::{MAX_VALUE_BYTES, glob};

/// Most live keys that are looked through to answer `KEYS` or `DBSIZE`.
const MAX_WALK_KEYS: usize = 100_000;

/// Pages of a walk: as many deleted keys as it looks at.
const MAX_WALK_PAGES: usize = 2 * MAX_WALK_KEYS / MAX_PAGE_ENTRIES;

/// Most keys that `KEYS` answers with.
const MAX_KEYS_FOUND: usize = 10_000;

/// A question.
#[derive(Clone, Debug)]
pub enum RawRead {
    /// The latest versions of keys, some with their values.
    Latest(Vec<(Vec<u8>, Values)>),
    /// Some live keys that match a pattern.
    Page {
        /// The pattern.
        pattern: Vec<u8>,
        /// The key to go on from.
        after: Option<Vec<u8>>,
        /// Live keys to look at.
        limit: usize,
    },
    /// All live keys that match a pattern.
    Keys(Vec<u8>),
    /// How many live keys there are.
    Count,
    /// Versions of a key.
    Versions {
        /// The key.
        key: Vec<u8>,
        /// The first and the last number.
        range: (u64, u64),
        /// Oldest or newest first.
        order: Order,
        /// At most so many; `None` = all, or a failure when they are too many.
        limit: Option<usize>,
    },
    /// New versions of keys.
    News {
        /// The keys, with the last version that is known; `None` = the latest there is.
        keys: Vec<(Vec<u8>, Option<u64>)>,
        /// At most so many of each.
        limit: usize,
    },
}

/// What was found.
#[derive(Debug)]
pub enum Found {
    /// In the order asked for.
    Latest(Vec<Current>),
    /// Keys, and the one to go on from.
    Keys(Vec<Vec<u8>>, Option<Vec<u8>>),
    /// A number of keys.
    Count(usize),
    /// Versions of one key.
    Versions(Vec<Entry>),
    /// New versions, key by key.
    News(Vec<News>),
}

/// A key as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    /// The number of its latest version; 0 = it was never written.
    pub version: u64,
    /// Whether it has a live value.
    pub is_live: bool,
    /// That, if it was asked for.
    pub value: Option<Vec<u8>>,
}

impl Current {
    /// Its live value, no bytes if that was not asked for.
    pub fn live(self) -> Option<Vec<u8>> {
        self.is_live.then(|| self.value.unwrap_or_default())
    }
}

/// New versions of a key.
#[derive(Debug)]
pub struct News {
    /// The key.
    pub key: Vec<u8>,
    /// The last version that was known.
    pub after: u64,
    /// The versions after that one.
    pub entries: Vec<Entry>,
}

/// Answers on a snapshot.
///
/// # Errors
/// What the client is told, or what is wrong with the store.
pub(super) fn answer(
    query: &Query<'_>,
    read: &RawRead,
) -> Result<Result<Found, Failure>, StoreError> {
    Ok(match read {
        RawRead::Latest(keys) => latest(query, keys)?,
        RawRead::Page { pattern, after, limit } => {
            Ok(page(query, pattern, after.as_deref(), *limit)?)
        }
        RawRead::Keys(pattern) => {
            let mut keys = Vec::new();
            let walked = walk(query, pattern, |key| {
                keys.push(key);
                keys.len() <= MAX_KEYS_FOUND
            });
            walked?.map(|()| Found::Keys(keys, None))
        }
        RawRead::Count => {
            let mut count = 0;
            let walked = walk(query, b"*", |_| {
                count += 1;
                true
            });
            walked?.map(|()| Found::Count(count))
        }
        RawRead::Versions { key, range, order, limit } => {
            versions(query, key, *range, *order, *limit)?
        }
        RawRead::News { keys, limit } => news(query, keys, *limit)?,
    })
}

type Answer = Result<Result<Found, Failure>, StoreError>;

fn too_much(what: impl std::fmt::Display) -> Failure {
    Failure::new(Code::Refused, what)
}

/// What the client is told whose values are above [`MAX_VALUE_BYTES`].
pub fn too_long() -> Failure {
    too_much("the values are too long for one answer; name fewer keys")
}

fn latest(query: &Query<'_>, keys: &[(Vec<u8>, Values)]) -> Answer {
    let mut list = Vec::with_capacity(keys.len());
    let mut bytes = 0;
    for (key, values) in keys {
        let Some(head) = query.head(key)? else {
            list.push(Current { version: 0, is_live: false, value: None });
            continue;
        };
        let is_live = !head.deleted;
        let mut current = Current { version: head.version, is_live, value: None };
        if *values == Values::Read && is_live {
            current.value = query.latest(key)?.map(|entry| entry.value);
        }
        bytes += current.value.as_ref().map_or(0, Vec::len);
        if bytes > MAX_VALUE_BYTES {
            return Ok(Err(too_long()));
        }
        list.push(current);
    }
    Ok(Ok(Found::Latest(list)))
}

fn page(
    query: &Query<'_>,
    pattern: &[u8],
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Found, StoreError> {
    let prefix = glob::literal_prefix(pattern);
    let page = query.scan(Scan { prefix: &prefix, after, limit, values: Values::Skip })?;
    let keys = page.found.into_iter().map(|found| found.key);
    Ok(Found::Keys(keys.filter(|key| glob::matches(pattern, key)).collect(), page.next))
}

/// Gives all that matches to `take`, which may have enough, if there is not too much to look at.
fn walk(
    query: &Query<'_>,
    pattern: &[u8],
    mut take: impl FnMut(Vec<u8>) -> bool,
) -> Result<Result<(), Failure>, StoreError> {
    let prefix = glob::literal_prefix(pattern);
    let (mut seen, mut after) = (0, None::<Vec<u8>>);
    for _ in 0..MAX_WALK_PAGES {
        let after_key = after.as_deref();
        let (limit, values) = (MAX_PAGE_ENTRIES, Values::Skip);
        let page = query.scan(Scan { prefix: &prefix, after: after_key, limit, values })?;
        seen += page.found.len();
        let keys = page.found.into_iter().map(|found| found.key);
        let mut keys = keys.filter(|key| glob::matches(pattern, key));
        if seen > MAX_WALK_KEYS || !keys.all(&mut take) {
            break;
        }
        match page.next {
            None => return Ok(Ok(())),
            next => after = next,
        }
    }
    Ok(Err(too_much("there are too many keys to look through at once; use SCAN")))
}

fn versions(
    query: &Query<'_>,
    key: &[u8],
    (from, to): (u64, u64),
    order: Order,
    limit: Option<usize>,
) -> Answer {
    let after = match order {
        Order::Ascending => from.checked_sub(1),
        Order::Descending => to.checked_add(1),
    };
    let page = query.history(key, after, order, limit.unwrap_or(MAX_PAGE_ENTRIES))?;
    let total = page.entries.len();
    let is_within = |entry: &Entry| (from..=to).contains(&entry.version);
    let entries: Vec<Entry> = page.entries.into_iter().filter(is_within).collect();
    if limit.is_none() && page.next.is_some() && entries.len() == total {
        return Ok(Err(too_much("the range has too many versions for one answer; use COUNT")));
    }
    Ok(Ok(Found::Versions(entries)))
}

fn news(query: &Query<'_>, keys: &[(Vec<u8>, Option<u64>)], limit: usize) -> Answer {
    let (mut list, mut bytes) = (Vec::with_capacity(keys.len()), 0);
    for (key, known) in keys {
        let (after, entries) = match known {
            None => (query.head(key)?.map_or(0, |head| head.version), Vec::new()),
            Some(after) => {
                let page = query.history(key, Some(*after), Order::Ascending, limit)?;
                (*after, page.entries)
            }
        };
        bytes += entries.iter().map(|entry| entry.value.len()).sum::<usize>();
        if bytes > MAX_VALUE_BYTES {
            return Ok(Err(too_much("the versions are too long for one answer; use COUNT")));
        }
        list.push(News { key: key.clone(), after, entries });
    }
    Ok(Ok(Found::News(list)))
}

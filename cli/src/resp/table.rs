//! The commands of the Redis protocol: those that are answered, and those that are refused with a
//! reason.

use super::reply::Reply;

/// A command.
#[derive(Debug)]
pub struct Command {
    /// Its name, upper case.
    pub name: &'static str,
    /// Words, its name included; at least so many when negative.
    pub arity: i64,
    /// What it is: `write`, `readonly`, `pubsub`, or something else.
    pub kind: &'static str,
    /// Where its keys are: the first word, the last one (negative from the end) and the step.
    pub keys: (i64, i64, i64),
    /// What it does, in a few words.
    pub about: &'static str,
}

const NONE: (i64, i64, i64) = (0, 0, 0);
const ONE: (i64, i64, i64) = (1, 1, 1);
const ALL: (i64, i64, i64) = (1, -1, 1);
const PAIRS: (i64, i64, i64) = (1, -1, 2);

const fn command(
    name: &'static str,
    arity: i64,
    kind: &'static str,
    keys: (i64, i64, i64),
    about: &'static str,
) -> Command {
    Command { name, arity, kind, keys, about }
}

/// Every command that is answered, by name.
pub const COMMANDS: &[Command] = &[
    command("AUTH", -2, "connection", NONE, "Shows the right to write"),
    command("CLIENT", -2, "connection", NONE, "Names the connection, shows connections"),
    command("CLUSTER", -2, "connection", NONE, "Says that there is no cluster"),
    command("COMMAND", -1, "connection", NONE, "Lists the commands"),
    command("CONFIG", -2, "admin", NONE, "Shows settings that clients ask for"),
    command("DBSIZE", 1, "readonly", NONE, "Counts the live keys"),
    command("DEL", -2, "write", ALL, "Deletes keys in one transaction"),
    command("DISCARD", 1, "transaction", NONE, "Forgets the queued commands"),
    command("ECHO", 2, "connection", NONE, "Answers with its word"),
    command("EXEC", 1, "transaction", NONE, "Writes what is queued in one transaction"),
    command("EXISTS", -2, "readonly", ALL, "Counts those keys that have a value"),
    command("EXPIRETIME", 2, "readonly", ONE, "Says that a key does not expire"),
    command("GET", 2, "readonly", ONE, "The latest value of a key"),
    command("GETDEL", 2, "write", ONE, "The latest value of a key, which is deleted"),
    command("GETRANGE", 4, "readonly", ONE, "A part of the latest value of a key"),
    command("GETSET", 3, "write", ONE, "Writes a value, answers with the one before"),
    command("HELLO", -1, "connection", NONE, "Chooses the protocol"),
    command("INFO", -1, "connection", NONE, "What the node is doing"),
    command("KEYS", 2, "readonly", NONE, "The live keys that match a pattern"),
    command("MGET", -2, "readonly", ALL, "The latest values of keys"),
    command("MSET", -3, "write", PAIRS, "Writes values in one transaction"),
    command("MSETNX", -3, "write", PAIRS, "Writes values if none of the keys has one"),
    command("MULTI", 1, "transaction", NONE, "Queues commands until EXEC"),
    command("PEXPIRETIME", 2, "readonly", ONE, "Says that a key does not expire"),
    command("PING", -1, "connection", NONE, "Answers PONG"),
    command("PSUBSCRIBE", -2, "pubsub", NONE, "Events of channels that match patterns"),
    command("PTTL", 2, "readonly", ONE, "Says that a key does not expire"),
    command("PUNSUBSCRIBE", -1, "pubsub", NONE, "No more events of patterns"),
    command("QUIT", -1, "connection", NONE, "Ends the connection"),
    command("RESET", 1, "connection", NONE, "Makes the connection as good as new"),
    command("SCAN", -2, "readonly", NONE, "The live keys, by pages"),
    command("SELECT", 2, "connection", NONE, "Takes 0, the only database"),
    command("SET", -3, "write", ONE, "Writes a value"),
    command("SETNX", 3, "write", ONE, "Writes a value if the key has none"),
    command("STRLEN", 2, "readonly", ONE, "The length of the latest value of a key"),
    command("SUBSCRIBE", -2, "pubsub", NONE, "Events of channels"),
    command("SUBSTR", 4, "readonly", ONE, "GETRANGE"),
    command("TIME", 1, "connection", NONE, "The node's clock"),
    command("TTL", 2, "readonly", ONE, "Says that a key does not expire"),
    command("TYPE", 2, "readonly", ONE, "string, or none"),
    command("UNLINK", -2, "write", ALL, "DEL"),
    command("UNSUBSCRIBE", -1, "pubsub", NONE, "No more events of channels"),
    command("UNWATCH", 1, "transaction", NONE, "Forgets the watched keys"),
    command("WAIT", 3, "connection", NONE, "Waits for confirmations of the last write"),
    command("WATCH", -2, "transaction", ALL, "EXEC fails when one of these keys changes"),
    command("XLEN", 2, "readonly", ONE, "The number of versions of a key"),
    command("XRANGE", -4, "readonly", ONE, "Versions of a key, oldest first"),
    command("XREAD", -4, "readonly", NONE, "New versions of keys"),
    command("XREVRANGE", -4, "readonly", ONE, "Versions of a key, newest first"),
];

/// Commands that clients know and this node does not offer, names between blanks, and why.
const REFUSED: &[(&str, &str)] = &[
    (
        "INCR INCRBY INCRBYFLOAT DECR DECRBY APPEND SETRANGE SETBIT",
        "a value is written as a whole here: read it, and SET it under WATCH, MULTI and EXEC",
    ),
    (
        "BITCOUNT BITFIELD BITFIELD_RO BITOP BITPOS BLMOVE BLMPOP BLPOP BRPOP BRPOPLPUSH BZMPOP \
         BZPOPMAX BZPOPMIN GEOADD GEODIST GEOHASH GEOPOS GEORADIUS GEORADIUSBYMEMBER \
         GEORADIUSBYMEMBER_RO GEORADIUS_RO GEOSEARCH GEOSEARCHSTORE GETBIT HDEL HEXISTS HGET \
         HGETALL HINCRBY HINCRBYFLOAT HKEYS HLEN HMGET HMSET HRANDFIELD HSCAN HSET HSETNX HSTRLEN \
         HVALS LINDEX LINSERT LLEN LMOVE LMPOP LPOP LPOS LPUSH LPUSHX LRANGE LREM LSET LTRIM \
         PFADD PFCOUNT PFDEBUG PFMERGE PFSELFTEST RPOP RPOPLPUSH RPUSH RPUSHX SADD SCARD SDIFF \
         SDIFFSTORE SINTER SINTERCARD SINTERSTORE SISMEMBER SMEMBERS SMISMEMBER SMOVE SPOP \
         SRANDMEMBER SREM SSCAN SUNION SUNIONSTORE ZADD ZCARD ZCOUNT ZDIFF ZDIFFSTORE ZINCRBY \
         ZINTER ZINTERCARD ZINTERSTORE ZLEXCOUNT ZMPOP ZMSCORE ZPOPMAX ZPOPMIN ZRANDMEMBER ZRANGE \
         ZRANGEBYLEX ZRANGEBYSCORE ZRANGESTORE ZRANK ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK \
         ZREMRANGEBYSCORE ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE ZUNION \
         ZUNIONSTORE",
        "values are plain strings here: there are no lists, hashes, sets or bit fields",
    ),
    (
        "XADD XDEL XTRIM XGROUP XREADGROUP XACK XCLAIM XINFO XSETID XPENDING XAUTOCLAIM",
        "a stream is the history of a key here, which only SET and DEL add to",
    ),
    ("EXPIRE PEXPIRE EXPIREAT PEXPIREAT PERSIST SETEX PSETEX GETEX", "values do not expire here"),
    (
        "FLUSHALL FLUSHDB SWAPDB MOVE RENAME RENAMENX COPY RESTORE RESTORE-ASKING",
        "history cannot be unwritten here: write and delete keys one by one",
    ),
    (
        "EVAL EVALSHA EVAL_RO SCRIPT FUNCTION FCALL FCALL_RO EVALSHA_RO",
        "there are no scripts here; MULTI and EXEC write several keys at once",
    ),
    (
        "PUBLISH SPUBLISH SSUBSCRIBE SUNSUBSCRIBE PUBSUB MONITOR",
        "channels tell of keys here: SUBSCRIBE __keyspace@0__:KEY, and SET the key",
    ),
    (
        "REPLICAOF SLAVEOF PSYNC SYNC FAILOVER ROLE SENTINEL MIGRATE WAITAOF ASKING READONLY \
         READWRITE REPLCONF",
        "nodes are equal here and follow the chain with the most work",
    ),
    (
        "SAVE BGSAVE BGREWRITEAOF LASTSAVE DEBUG MEMORY SLOWLOG LATENCY ACL MODULE OBJECT DUMP \
         RANDOMKEY SORT TOUCH SORT_RO LCS LOLWUT",
        "this is no Redis server; INFO and STATUS tell what the node is doing",
    ),
];

/// The command of this name, which is in upper case.
pub fn find(name: &[u8]) -> Option<&'static Command> {
    let at = COMMANDS.binary_search_by(|command| command.name.as_bytes().cmp(name));
    at.ok().map(|at| &COMMANDS[at])
}

/// The reply to a command that is not answered; `name` is in upper case.
pub fn refusal(name: &[u8], words: &[Vec<u8>]) -> Reply {
    let is_it = |one: &str| one.as_bytes() == name;
    let why = REFUSED.iter().find(|(names, _)| names.split(' ').any(is_it));
    let shown = |word: &[u8]| word[..word.len().min(64)].escape_ascii().to_string();
    if let Some((_, why)) = why {
        return Reply::error(format_args!("{} is not offered: {why}", shown(name)));
    }
    let mut text = format!("unknown command '{}', with args beginning with:", shown(&words[0]));
    for word in words[1..].iter().take(4) {
        text += &format!(" '{}'", shown(word));
    }
    Reply::error(text)
}

/// The reply to a command with too few or too many words.
pub fn wrong_number(name: &str) -> Reply {
    let name = name.to_ascii_lowercase();
    Reply::error(format_args!("wrong number of arguments for '{name}' command"))
}

impl Command {
    /// Whether it may have so many words, its name included.
    pub fn takes(&self, words: usize) -> bool {
        let words = i64::try_from(words).unwrap_or(i64::MAX);
        if self.arity < 0 { words >= -self.arity } else { words == self.arity }
    }

    /// The words that are keys.
    pub fn keys_of<'a>(&self, words: &'a [Vec<u8>]) -> Vec<&'a [u8]> {
        let (first, last, step) = self.keys;
        let length = i64::try_from(words.len()).unwrap_or(i64::MAX);
        let last = if last < 0 { length + last } else { last };
        let places = (first..=last).filter(|place| step > 0 && (place - first) % step == 0);
        places
            .filter_map(|place| words.get(usize::try_from(place).ok()?))
            .map(Vec::as_slice)
            .collect()
    }

    /// Its row of `COMMAND`.
    pub fn row(&self) -> Reply {
        let (first, last, step) = self.keys;
        let number = Reply::Integer;
        Reply::Array(vec![
            Reply::text(self.name.to_ascii_lowercase()),
            number(self.arity),
            Reply::Array(vec![Reply::Simple(self.kind)]),
            number(first),
            number(last),
            number(step),
            Reply::Array(vec![]),
            Reply::Array(vec![]),
            Reply::Array(vec![]),
            Reply::Array(vec![]),
        ])
    }

    /// Its entry of `COMMAND DOCS`.
    pub fn docs(&self) -> (Reply, Reply) {
        let group = match self.kind {
            "write" | "readonly" => "generic",
            "transaction" => "transactions",
            "admin" => "server",
            kind => kind,
        };
        let fields = [("summary", self.about), ("since", "1.0.0"), ("group", group)];
        let fields = fields.map(|(name, text)| (Reply::text(name), Reply::text(text))).to_vec();
        (Reply::text(self.name.to_ascii_lowercase()), Reply::Map(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_refused_only_when_not_answered() {
        assert!(COMMANDS.is_sorted_by(|a, b| a.name < b.name));
        for name in REFUSED.iter().flat_map(|(names, _)| names.split(' ')) {
            assert!(!name.is_empty());
            assert!(find(name.as_bytes()).is_none(), "{name}");
            assert!(crate::command::find(name).is_none(), "{name}");
        }
    }

    #[test]
    fn refusals_say_why() {
        let words = |line: &str| -> Vec<Vec<u8>> {
            line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
        };
        for (line, text) in [
            ("INCR a", "ERR INCR is not offered: a value is written as a whole here: read it, and"),
            ("foo a b", "ERR unknown command 'foo', with args beginning with: 'a' 'b'"),
        ] {
            let words = words(line);
            let Reply::Error(error) = refusal(&words[0].to_ascii_uppercase(), &words) else {
                panic!("{line}")
            };
            assert!(error.starts_with(text), "{error}");
        }
    }

    #[test]
    fn keys_are_found_among_the_words() {
        for (line, keys) in [
            ("GET a", vec!["a"]),
            ("MSET a 1 b 2", vec!["a", "b"]),
            ("DEL a b c", vec!["a", "b", "c"]),
            ("PING", vec![]),
        ] {
            let words: Vec<Vec<u8>> =
                line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            let found = find(&words[0]).unwrap().keys_of(&words);
            assert_eq!(found, keys.iter().map(|key| key.as_bytes()).collect::<Vec<_>>(), "{line}");
        }
    }
}

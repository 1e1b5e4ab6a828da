//! The library of Rust, `redis`, against real nodes.

use redis::streams::{StreamRangeReply, StreamReadOptions, StreamReadReply};
use redis::{Commands, Connection, Value};
use tests::node::{Node, PATIENCE};

use crate::{start, start_strict};

/// A connection in RESP2 or RESP3.
pub(super) fn connect(node: &Node, protocol: &str, password: &str) -> Connection {
    let address = node.admin;
    let url = format!("redis://:{password}@{address}/?protocol={protocol}");
    let connection = redis::Client::open(url).unwrap().get_connection().unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    connection
}

/// Waits until what was written is in a block.
pub(super) fn confirm(connection: &mut Connection) {
    let reached: i64 = redis::cmd("WAIT").arg(1).arg(60_000).query(connection).unwrap();
    assert!(reached >= 1);
}

#[test]
fn values_are_written_and_read_in_both_protocols() {
    let temp = tempfile::tempdir().unwrap();
    let (node, cookie) = start_strict(&temp);
    for protocol in ["resp2", "resp3"] {
        let mut one = connect(&node, protocol, &cookie);
        let mut other = connect(&node, protocol, &cookie);
        let key = |name: &str| format!("{protocol}-{name}");
        let bytes = b"\x00\xff\r\n$5".to_vec();
        let () = one.set(key("a"), &bytes).unwrap();
        // The writer sees its own write at once.
        assert_eq!(one.get::<_, Vec<u8>>(key("a")).unwrap(), bytes);
        confirm(&mut one);
        assert_eq!(other.get::<_, Vec<u8>>(key("a")).unwrap(), bytes);
        let () = one.mset(&[(key("b"), "1"), (key("c"), "2")]).unwrap();
        assert!(!one.set_nx::<_, _, bool>(key("b"), "other").unwrap());
        confirm(&mut one);
        let (b, c, d): (String, String, Option<String>) =
            other.mget(&[key("b"), key("c"), key("d")]).unwrap();
        assert_eq!((b.as_str(), c.as_str(), d), ("1", "2", None));
        assert_eq!(other.exists::<_, i64>(&[key("b"), key("d")]).unwrap(), 1);
        assert_eq!(other.strlen::<_, i64>(key("a")).unwrap(), 6);
        assert_eq!(other.getrange::<_, Vec<u8>>(key("a"), -2, -1).unwrap(), b"$5");
        assert_eq!(one.del::<_, i64>(&[key("b"), key("d")]).unwrap(), 1);
        confirm(&mut one);
        assert_eq!(other.get::<_, Option<String>>(key("b")).unwrap(), None);
        assert_eq!(redis::cmd("DBSIZE").query::<i64>(&mut other).unwrap() % 2, 0);
        // 16 at a time, in order.
        let mut pipe = redis::pipe();
        for number in 0..100 {
            pipe.set(key(&format!("n{number}")), number).ignore();
        }
        for number in 0..100 {
            pipe.get(key(&format!("n{number}")));
        }
        let list: Vec<i64> = pipe.query(&mut one).unwrap();
        assert_eq!(list, (0..100).collect::<Vec<_>>());
        confirm(&mut one);
        let () =
            one.del((0..100).map(|number| key(&format!("n{number}"))).collect::<Vec<_>>()).unwrap();
        let error = one.incr::<_, _, i64>(key("c"), 1).unwrap_err();
        assert!(error.to_string().contains("INCRBY is not offered"), "{error}");
    }
}

#[test]
fn who_knows_of_a_block_is_shown_no_older_value() {
    let temp = tempfile::tempdir().unwrap();
    let node = start(&temp);
    let (mut writer, mut reader) = (connect(&node, "resp3", ""), connect(&node, "resp2", ""));
    let mut lines = node.client();
    for number in 0..30 {
        // In memory from now on.
        let _: Option<i64> = reader.get("k").unwrap();
        let _: Option<i64> = reader.get("k").unwrap();
        let () = writer.set("k", number).unwrap();
        let shown = number.to_string();
        match number % 3 {
            0 => confirm(&mut writer),
            1 => drop(lines.ask(&format!("PUT other {number} WAIT 1")).unwrap()),
            _ => while lines.ask("RETRIEVE k").unwrap()["value"] != shown.as_str() {},
        }
        assert_eq!(reader.get::<_, i64>("k").unwrap(), number);
    }
    let () = writer.del("k").unwrap();
    confirm(&mut writer);
    assert_eq!(reader.get::<_, Option<i64>>("k").unwrap(), None);
}

#[test]
fn a_transaction_is_one_of_the_chain_and_watches_versions() {
    let temp = tempfile::tempdir().unwrap();
    let node = start(&temp);
    let (mut one, mut other) = (connect(&node, "resp3", ""), connect(&node, "resp2", ""));
    let () = one.set("from", 10).unwrap();
    let () = one.set("to", 0).unwrap();
    // Its own pending writes count as versions that are watched.
    let moved: (i64, i64) = redis::transaction(&mut one, &["from", "to"], |one, pipe| {
        let (from, to): (i64, i64) = one.mget(&["from", "to"]).unwrap();
        pipe.set("from", from - 3).ignore().set("to", to + 3).ignore();
        pipe.get("from").get("to").query(one)
    })
    .unwrap();
    assert_eq!(moved, (7, 3));
    confirm(&mut one);
    let history = |key: &str| -> Vec<Value> { node_history(&node, key) };
    assert_eq!((history("from").len(), history("to").len()), (2, 2));
    let txids = |key: &str| node.ask(&format!("RETRIEVE {key}")).unwrap()["txid"].clone();
    assert_eq!(txids("from"), txids("to"), "one transaction");
    // Somebody else is faster.
    let () = redis::cmd("WATCH").arg("from").query(&mut one).unwrap();
    let () = other.set("from", 100).unwrap();
    confirm(&mut other);
    let nothing: Option<(String,)> = redis::pipe().atomic().set("from", 1).query(&mut one).unwrap();
    assert_eq!(nothing, None);
    assert_eq!(other.get::<_, i64>("from").unwrap(), 100);
    // A refused command breaks the transaction; what was watched is forgotten.
    let () = redis::cmd("MULTI").query(&mut one).unwrap();
    assert!(redis::cmd("INCR").arg("from").query::<()>(&mut one).is_err());
    let error = redis::cmd("EXEC").query::<()>(&mut one).unwrap_err();
    assert!(error.to_string().contains("previous errors"), "{error}");
}

fn node_history(node: &Node, key: &str) -> Vec<Value> {
    let mut connection = connect(node, "resp2", "");
    redis::cmd("XRANGE").arg(key).arg("-").arg("+").query(&mut connection).unwrap()
}

#[test]
fn a_lost_race_in_the_chain_is_told_by_wait() {
    let temp = tempfile::tempdir().unwrap();
    let node = start(&temp);
    let (mut one, mut other) = (connect(&node, "resp3", ""), connect(&node, "resp3", ""));
    // Both are accepted before either is in a block, or the second is not set at all.
    let first: Value = redis::cmd("SET").arg("k").arg(1).arg("NX").query(&mut one).unwrap();
    let second: Value = redis::cmd("SET").arg("k").arg(2).arg("NX").query(&mut other).unwrap();
    assert_eq!(first, Value::Okay);
    confirm(&mut one);
    if second == Value::Okay {
        let wait = redis::cmd("WAIT").arg(1).arg(60_000).query::<i64>(&mut other);
        assert_eq!(wait.unwrap_err().code(), Some("FAILED"));
    }
    assert_eq!(other.get::<_, i64>("k").unwrap(), 1);
}

#[test]
fn a_scan_finds_every_key_once() {
    let temp = tempfile::tempdir().unwrap();
    let node = start(&temp);
    let mut connection = connect(&node, "resp3", "");
    let keys: Vec<String> = (0..250).map(|number| format!("scan:{number:03}")).collect();
    let pairs: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "x")).collect();
    let () = connection.mset(&pairs).unwrap();
    let () = connection.set("other", "x").unwrap();
    confirm(&mut connection);
    let all: Vec<String> = connection.scan().unwrap().map(Result::unwrap).collect();
    assert_eq!(all.len(), 251);
    let found: Vec<String> =
        connection.scan_match("scan:1?[02468]").unwrap().map(Result::unwrap).collect();
    assert_eq!(found.len(), 50);
    assert!(found.iter().all(|key| keys.contains(key)));
    let listed: Vec<String> = connection.keys("scan:*").unwrap();
    assert_eq!(listed, keys);
    assert_eq!(redis::cmd("DBSIZE").query::<i64>(&mut connection).unwrap(), 251);
}

#[test]
fn subscribers_hear_of_keys_as_of_keyspace_notifications() {
    let temp = tempfile::tempdir().unwrap();
    let node = start(&temp);
    let mut listener = connect(&node, "resp2", "");
    let mut events = listener.as_pubsub();
    events.set_read_timeout(Some(PATIENCE)).unwrap();
    events.subscribe("__keyspace@0__:a").unwrap();
    events.psubscribe("__keyevent@0__:[sd]e*").unwrap();
    let mut writer = connect(&node, "resp3", "");
    let () = writer.set("a", 1).unwrap();
    confirm(&mut writer);
    let () = writer.set("b", 1).unwrap();
    let () = writer.del("a").unwrap();
    let mut heard = Vec::new();
    while heard.last().is_none_or(|last| last != "__keyevent@0__:del a") {
        let message = events.get_message().unwrap();
        let text: String = message.get_payload().unwrap();
        heard.push(format!("{} {text}", message.get_channel_name()));
    }
    let of = |start: &str| -> Vec<&str> {
        heard.iter().filter_map(|line| line.strip_prefix(start)).collect()
    };
    assert_eq!(of("__keyspace@0__:a "), ["pending", "set", "pending", "del"], "{heard:?}");
    assert_eq!(of("__keyevent@0__:set "), ["a", "b"]);
    assert_eq!(of("__keyevent@0__:del "), ["a"]);
}

#[test]
fn the_history_of_a_key_is_a_stream() {
    let temp = tempfile::tempdir().unwrap();
    let node = start(&temp);
    let mut writer = connect(&node, "resp2", "");
    for value in ["one", "two", "three"] {
        let () = writer.set("k", value).unwrap();
    }
    let () = writer.del("k").unwrap();
    confirm(&mut writer);
    for protocol in ["resp2", "resp3"] {
        let mut reader = connect(&node, protocol, "");
        assert_eq!(reader.xlen::<_, i64>("k").unwrap(), 4);
        let all: StreamRangeReply = reader.xrange_all("k").unwrap();
        let ids: Vec<&str> = all.ids.iter().map(|entry| entry.id.as_str()).collect();
        assert_eq!(ids, ["1-0", "2-0", "3-0", "4-0"]);
        assert_eq!(all.ids[1].get::<String>("value").unwrap(), "two");
        assert_eq!(all.ids[3].get::<String>("kind").unwrap(), "delete");
        assert!(all.ids[0].get::<u32>("height").unwrap() >= 1);
        let some: StreamRangeReply = reader.xrange("k", "2", "(4").unwrap();
        let ids: Vec<&str> = some.ids.iter().map(|entry| entry.id.as_str()).collect();
        assert_eq!(ids, ["2-0", "3-0"]);
        let back: StreamRangeReply = reader.xrevrange_count("k", "+", "-", 2).unwrap();
        assert_eq!(back.ids[1].id, "3-0");
        // Waits until somebody writes.
        let known: StreamReadReply = reader.xread(&["k"], &["3"]).unwrap();
        assert_eq!(known.keys[0].ids.len(), 1);
        let block = redis::cmd("XREAD")
            .arg("BLOCK")
            .arg(60_000)
            .arg("STREAMS")
            .arg("news")
            .arg("$")
            .get_packed_command();
        reader.send_packed_command(&block).unwrap();
        let () = writer.set("news", protocol).unwrap();
        // Whether it was faster than the question or not, a second write is news.
        confirm(&mut writer);
        let () = writer.set("news", protocol).unwrap();
        let reply: StreamReadReply =
            redis::from_redis_value(reader.recv_response().unwrap()).unwrap();
        assert_eq!(reply.keys[0].ids[0].get::<String>("value").unwrap(), protocol);
        confirm(&mut writer);
        let options = StreamReadOptions::default().count(1);
        let one: StreamReadReply = reader.xread_options(&["k"], &["0"], &options).unwrap();
        assert_eq!(one.keys[0].ids.len(), 1);
    }
}

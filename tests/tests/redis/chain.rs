//! What the chain does after a reply: somebody else's block comes first, or a block is undone.

use redis::{Commands, Connection, RedisError, RedisResult, Value};
use serde_json::json;
use tests::node::{Node, PATIENCE, Setup, wait_until};

use super::library::{confirm, connect};
use crate::PROGRAM;

/// Nodes that do not know each other; `threads` says which of them mine.
fn apart<const N: usize>(temp: &tempfile::TempDir, threads: [usize; N]) -> [Node; N] {
    let mut number = 0;
    threads.map(|threads| {
        number += 1;
        let setup = Setup::new(PROGRAM, temp.path().join(format!("node{number}")));
        Setup { threads, ..setup }.start()
    })
}

fn join(one: &Node, other: &Node) {
    one.ask(&format!("ADDPEER {}", other.peers)).unwrap();
}

/// The answer to a request that was sent without waiting for it.
fn answer(connection: &mut Connection) -> RedisResult<Value> {
    connection.recv_response().and_then(Value::extract_error)
}

fn is_not_applied(error: &RedisError) -> bool {
    error.code() == Some("FAILED") && error.to_string().contains("was not applied at height")
}

#[test]
fn an_exec_whose_watch_fails_only_in_the_block_writes_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let [mine, theirs] = apart(&temp, [0, 1]);
    let mut one = connect(&mine, "resp3", "");
    let () = redis::cmd("WATCH").arg("n").query(&mut one).unwrap();
    let mut pipe = redis::pipe();
    let exec: Option<(String, String)> =
        pipe.atomic().set("n", "mine").set("m", "mine").query(&mut one).unwrap();
    assert!(exec.is_some(), "nobody was faster so far");
    // Another account's write is in a block before the transaction is.
    theirs.ask("PUT n theirs WAIT 1").unwrap();
    join(&mine, &theirs);
    let wait = redis::cmd("WAIT").arg(1).arg(60_000).query::<i64>(&mut one);
    assert!(is_not_applied(&wait.unwrap_err()));
    let values: (Option<String>, Option<String>) = one.mget(&["n", "m"]).unwrap();
    assert_eq!(values, (Some("theirs".to_string()), None));
    assert_eq!(one.xlen::<_, i64>("n").unwrap(), 1);
    let block = mine.ask("BLOCK 2").unwrap();
    let txid = block["transactions"][0].as_str().unwrap();
    let told = mine.ask(&format!("TX {txid}")).unwrap();
    assert_eq!((&told["status"], &told["failed_operation"]), (&json!("failed"), &json!(0)));
    assert_eq!(told["reason"], "version-mismatch");
    // The connection goes on from what is there.
    let seen: (String,) = redis::transaction(&mut one, &["n"], |one, pipe| {
        let seen: String = one.get("n").unwrap();
        pipe.set("n", format!("{seen}, then mine")).ignore().get("n").query(one)
    })
    .unwrap();
    assert_eq!(seen.0, "theirs, then mine");
    confirm(&mut one);
}

#[test]
fn a_reorganisation_is_told_to_all_who_wait_read_or_listen() {
    let temp = tempfile::tempdir().unwrap();
    let [here, miner, there] = apart(&temp, [0, 1, 1]);
    join(&here, &miner);
    let mut listener = connect(&here, "resp2", "");
    let mut events = listener.as_pubsub();
    events.set_read_timeout(Some(PATIENCE)).unwrap();
    events.subscribe(&["__keyspace@0__:both", "__keyspace@0__:own"]).unwrap();
    // Both are confirmed on the chain that will lose.
    let [mut first, mut second] = ["resp2", "resp3"].map(|version| connect(&here, version, ""));
    let won: Value = redis::cmd("SET").arg("both").arg("here").arg("NX").query(&mut first).unwrap();
    assert_eq!(won, Value::Okay);
    confirm(&mut first);
    let () = second.set("own", "here").unwrap();
    confirm(&mut second);
    assert_eq!(second.get::<_, String>("both").unwrap(), "here");
    // Two wait for more blocks, which nobody mines.
    let height = here.status()["height"].as_i64().unwrap();
    drop(miner);
    let deep = redis::cmd("WAIT").arg(height + 2).arg(60_000).get_packed_command();
    for connection in [&mut first, &mut second] {
        connection.send_packed_command(&deep).unwrap();
    }
    // The longer chain has one of the keys already.
    there.ask("PUT both there WAIT 1").unwrap();
    there.ask("MINE 10").unwrap();
    join(&here, &there);
    assert!(is_not_applied(&answer(&mut first).unwrap_err()));
    wait_until("the other write in a block", || there.ask("RETRIEVE own").is_ok());
    there.ask(&format!("MINE {}", height + 2)).unwrap();
    let reached = answer(&mut second).unwrap();
    assert!(matches!(reached, Value::Int(count) if count >= height + 2), "{reached:?}");
    let values: (String, String) = first.mget(&["both", "own"]).unwrap();
    assert_eq!(values, ("there".to_string(), "here".to_string()));
    assert_eq!(first.xlen::<_, i64>("both").unwrap(), 1, "of the losing chain nothing is left");
    let mut heard = Vec::new();
    let is_over = |heard: &[(String, String)]| {
        let ends = [("both", "failed"), ("own", "set")];
        let back = heard.iter().position(|(_, event)| event == "reorganised");
        ends.iter().all(|(key, event)| {
            let after = back.map_or(&[][..], |at| &heard[at..]);
            after.iter().any(|(k, e)| k == key && e == event)
        })
    };
    while !is_over(&heard) {
        let message = events.get_message().unwrap();
        let key = message.get_channel_name().trim_start_matches("__keyspace@0__:").to_string();
        heard.push((key, message.get_payload::<String>().unwrap()));
    }
    let of = |wanted: &str| -> Vec<&str> {
        heard.iter().filter(|(key, _)| key == wanted).map(|(_, event)| event.as_str()).collect()
    };
    assert_eq!(of("both"), ["pending", "set", "reorganised", "set", "failed"], "{heard:?}");
    assert_eq!(of("own"), ["pending", "set", "reorganised", "set"], "{heard:?}");
}

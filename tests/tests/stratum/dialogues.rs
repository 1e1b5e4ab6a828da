//! The dialogues of the miners people run, message for message as their code has them, each of
//! which mines a block that pays the right account.

use serde_json::{Value, json};
use tests::node::{Node, wait_until};

use super::rig::{Free, Job, Rig, own_address, start};

/// Waits for a block with this payee at this height.
fn assert_block(node: &Node, height: u64, payee: &str) {
    wait_until("the block", || node.status()["height"].as_u64() >= Some(height));
    let block = node.ask(&format!("BLOCK {height}")).unwrap();
    assert_eq!(block["payee"], payee, "{block}");
}

/// An address that is not the node's.
fn other_address() -> String {
    tests::chains::account(7).to_string()
}

fn submit(id: u64, user: &str, job: &Job, free: Free, nonce: u32) -> Value {
    let [a, b, c, d] = free.extranonce2;
    let extranonce2 = format!("{a:02x}{b:02x}{c:02x}{d:02x}");
    let (time, nonce) = (format!("{:08x}", free.time), format!("{nonce:08x}"));
    json!({"params": [user, job.id, extranonce2, time, nonce], "id": id, "method": "mining.submit"})
}

/// pooler's minerd: reads lines until the answer to its login, whose id it does not look at;
/// every submission has the id 4; it wants a `result` key in every answer.
#[test]
fn minerd() {
    let temp = tempfile::tempdir().unwrap();
    let node = start(temp.path());
    let user = other_address();
    let mut rig = Rig::connect(&node);
    rig.send("{\"id\": 1, \"method\": \"mining.subscribe\", \"params\": [\"cpuminer/2.5.1\"]}\n");
    let reply = rig.reply();
    assert_eq!(reply["id"], 1);
    rig.subscribed(&reply);
    rig.send(&format!(
        "{{\"id\": 2, \"method\": \"mining.authorize\", \"params\": [\"{user}\", \"\"]}}\n"
    ));
    let reply = rig.reply();
    assert_eq!((&reply["id"], &reply["result"]), (&json!(2), &json!(true)));
    let mut job = rig.next_job();
    assert!(job.clean, "the first job starts at once");
    for height in 1..=3u8 {
        let free = Free { extranonce2: [height, 0, 0, 0], time: job.time, rolled: 0 };
        let (nonce, _) = rig.search(&job, free, true);
        let reply = rig.ask(&submit(4, &user, &job, free, nonce));
        assert_eq!((&reply["result"], &reply["error"]), (&json!(true), &Value::Null));
        assert_block(&node, height.into(), &user);
        job = rig.next_job();
        assert!(job.clean, "what was mined on the old tip is worth nothing");
    }
    let balance = node.ask(&format!("BALANCE {user}")).unwrap();
    assert_eq!(balance["balance"].as_u64(), Some(3 * 50 * 100_000_000), "{balance}");
}

/// cpuminer-opt: subscribes with a second parameter, asks for extranonce changes after its login,
/// reads job ids as hex numbers and sends shares of an earlier job of the same tip.
#[test]
fn cpuminer_opt() {
    let temp = tempfile::tempdir().unwrap();
    let node = start(temp.path());
    let user = format!("{}.rig1", other_address());
    let mut rig = Rig::connect(&node);
    let agent = "cpuminer-opt-24.5-x86_64L";
    let reply =
        rig.ask(&json!({"id": 1, "method": "mining.subscribe", "params": [agent, "00000000"]}));
    rig.subscribed(&reply);
    rig.send(&format!(
        "{}\n",
        json!({"id": 2, "method": "mining.authorize", "params": [user, "x"]})
    ));
    rig.send("{\"id\": 3, \"method\": \"mining.extranonce.subscribe\", \"params\": []}\n");
    assert_eq!(rig.reply()["id"], 2);
    let reply = rig.reply();
    assert_eq!((&reply["id"], &reply["result"]), (&json!(3), &json!(true)));
    let job = rig.job();
    // Another difficulty brings another job; what is found of the first still counts.
    rig.ask(&json!({"id": 9, "method": "mining.suggest_difficulty", "params": [0.0000001]}));
    let second = rig.next_job();
    assert!(!second.clean && second.id != job.id);
    let free = Free { extranonce2: [1, 0, 0, 0], time: job.time, rolled: 0 };
    let (nonce, _) = rig.search(&job, free, true);
    let reply = rig.ask(&submit(4, &user, &job, free, nonce));
    assert_eq!(reply["result"], true, "{reply}");
    assert_block(&node, 1, &other_address());
}

/// cgminer: configures version rolling first and hangs up if that fails; rolls the time by up to
/// a minute; answers what it is asked with lines without a method; its user is no address.
#[test]
fn cgminer() {
    let temp = tempfile::tempdir().unwrap();
    let node = start(temp.path());
    let mut rig = Rig::connect(&node);
    let options = json!({"version-rolling.mask": "ffffffff"});
    let reply = rig.ask(
        &json!({"id": 0, "method": "mining.configure", "params": [["version-rolling"], options]}),
    );
    assert_eq!(reply["error"], Value::Null);
    assert_eq!(reply["result"]["version-rolling"], true);
    assert_eq!(reply["result"]["version-rolling.mask"], "1fffe000");
    let reply =
        rig.ask(&json!({"id": 1, "method": "mining.subscribe", "params": ["cgminer/4.13"]}));
    rig.subscribed(&reply);
    rig.send("{\"id\": 7, \"result\": \"cgminer/4.13\", \"error\": null}\n");
    let reply =
        rig.ask(&json!({"id": 2, "method": "mining.authorize", "params": ["worker", "pass"]}));
    assert_eq!(reply["result"], true);
    let job = rig.next_job();
    assert_eq!(job.version & 0x1fff_e000, 0, "bits that are rolled are clear");
    let free = Free { extranonce2: [0, 0, 0, 1], time: job.time + 60, rolled: 0x0123_4000 };
    let (nonce, _) = rig.search(&job, free, true);
    let mut line = submit(5, "worker", &job, free, nonce);
    line["params"].as_array_mut().unwrap().push(json!("01234000"));
    let reply = rig.ask(&line);
    assert_eq!(reply["result"], true, "{reply}");
    assert_block(&node, 1, &own_address(&node));
}

/// ESP-Miner: every line says `jsonrpc`, all of its greeting comes at once, and the version bits
/// are those that differ from the job's version.
#[test]
fn esp_miner() {
    let temp = tempfile::tempdir().unwrap();
    let node = start(temp.path());
    let user = format!("{}.bitaxe", other_address());
    let mut rig = Rig::connect(&node);
    let request = |id: u64, method: &str, params: Value| {
        format!("{}\n", json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
    };
    let options = json!([["version-rolling"], {"version-rolling.mask": "ffffffff"}]);
    let greeting = [
        request(1, "mining.configure", options),
        request(2, "mining.subscribe", json!(["bitaxe/BM1368/v2.9.0"])),
        request(3, "mining.authorize", json!([user, "x"])),
        request(4, "mining.suggest_difficulty", json!([1000])),
        request(5, "mining.extranonce.subscribe", json!([])),
    ];
    rig.send(&greeting.concat());
    let replies: Vec<Value> = (0..5).map(|_| rig.reply()).collect();
    let ids: Vec<u64> = replies.iter().map(|reply| reply["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5], "in order");
    rig.subscribed(&replies[1]);
    assert!(replies[2..].iter().all(|reply| reply["result"] == true), "{replies:?}");
    let job = rig.job();
    assert!(rig.difficulty < 1.0, "blocks here are easier than the difficulty it wants");
    let free = Free { extranonce2: [0xff; 4], time: job.time, rolled: 0x1fff_e000 };
    let (nonce, _) = rig.search(&job, free, true);
    let mut params = submit(6, &user, &job, free, nonce)["params"].clone();
    params.as_array_mut().unwrap().push(json!(format!("{:08x}", free.rolled)));
    rig.send(&request(6, "mining.submit", params));
    let reply = rig.reply();
    assert_eq!((&reply["id"], &reply["result"]), (&json!(6), &json!(true)), "{reply}");
    assert_block(&node, 1, &other_address());
}

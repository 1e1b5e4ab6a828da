//! What miners do wrong: each thing has its code, is counted, and disturbs nobody.

use serde_json::{Value, json};
use tests::node::{Node, Setup, run, wait_until};

use super::rig::{Free, PROGRAM, Rig, start};

fn params(user: &str, job: &str, free: Free, nonce: u32) -> Vec<String> {
    let extranonce2 = free.extranonce2.map(|byte| format!("{byte:02x}")).concat();
    [user, job, &extranonce2, &format!("{:08x}", free.time), &format!("{nonce:08x}")]
        .map(str::to_string)
        .to_vec()
}

fn submit(rig: &mut Rig, params: &[String]) -> Value {
    rig.ask(&json!({"id": 4, "method": "mining.submit", "params": params}))
}

fn account(node: &Node, user: &str) -> Value {
    let miners = node.ask("MINERS").unwrap();
    let found = miners.as_array().unwrap().iter().find(|miner| miner["user"] == user).cloned();
    found.unwrap_or_else(|| panic!("no {user} in {miners}"))
}

#[test]
fn every_kind_of_share_is_counted_for_its_worker() {
    let temp = tempfile::tempdir().unwrap();
    let node = start(temp.path());
    let mut rig = Rig::connect(&node);
    let job = rig.log_in("worker");
    let free = Free { extranonce2: [1, 2, 3, 4], time: job.time, rolled: 0 };
    let low = rig.search_low(&job, free);
    let reply = submit(&mut rig, &params("worker", &job.id, free, low));
    assert_eq!(reply["error"][0], 23, "{reply}");
    let mut wrong = params("worker", &job.id, free, low);
    wrong[2] = "010203".to_string();
    assert_eq!(submit(&mut rig, &wrong)["error"][0], 20);
    let (nonce, hash) = rig.search(&job, free, true);
    let block = params("worker", &job.id, free, nonce);
    rig.send(&format!("{}\n", json!({"id": 5, "method": "mining.submit", "params": block})));
    rig.send(&format!("{}\n", json!({"id": 6, "method": "mining.submit", "params": block})));
    let (first, second) = (rig.reply(), rig.reply());
    assert_eq!((&first["id"], &first["result"]), (&json!(5), &json!(true)));
    // The new tip may have come before the second line.
    let code = second["error"][0].as_u64().unwrap();
    assert!(matches!(code, 21 | 22), "{second}");
    wait_until("the block", || node.status()["tip"] == hash.to_string());
    let next = rig.next_job();
    assert!(next.clean);
    let stale = params("worker", &job.id, free, nonce);
    assert_eq!(submit(&mut rig, &stale)["error"][0], 21);
    let counted = account(&node, "worker");
    let count = |name: &str| counted[name].as_u64().unwrap();
    assert_eq!((count("accepted"), count("low"), count("invalid")), (1, 1, 1), "{counted}");
    assert_eq!(count("duplicate") + count("stale"), 2, "{counted}");
    assert_eq!((count("blocks"), count("connections")), (1, 1), "{counted}");
    let status = node.status();
    assert_eq!(status["stratum"]["accepted"], 1, "{status}");
    assert_eq!(status["stratum"]["miners"], 1, "{status}");
    rig.hang_up();
    wait_until("the connection's end", || account(&node, "worker")["connections"] == 0);
    assert_eq!(node.status()["stratum"]["miners"], 0);
}

#[test]
fn users_are_addresses_or_names_but_not_spoilt_addresses() {
    let temp = tempfile::tempdir().unwrap();
    let node = start(temp.path());
    let mut rig = Rig::connect(&node);
    rig.ask(&json!({"id": 1, "method": "mining.subscribe", "params": []}));
    let mut spoilt = tests::chains::account(3).to_string();
    spoilt.replace_range(10..11, if &spoilt[10..11] == "q" { "p" } else { "q" });
    let mut authorize = |user: &str| {
        rig.ask(&json!({"id": 2, "method": "mining.authorize", "params": [user, "x"]}))
    };
    assert_eq!(authorize(&spoilt)["error"][0], 24);
    let reply = authorize(&format!("{spoilt}.rig"));
    assert!(reply["error"][1].as_str().unwrap().contains("no address"), "{reply}");
    assert_eq!(authorize(&tests::chains::account(3).to_string())["result"], true);
    assert_eq!(authorize(&format!("{}.two", tests::chains::account(3)))["result"], true);
    let reply = authorize("the node's own");
    assert_eq!(reply["error"][0], 24, "one connection has one coinbase: {reply}");
}

#[test]
fn lines_without_sense_are_answered_and_then_the_end() {
    let temp = tempfile::tempdir().unwrap();
    let node = start(temp.path());
    let mut good = Rig::connect(&node);
    good.log_in("good");
    let mut bad = Rig::connect(&node);
    for _ in 0..10 {
        bad.send("{\"id\": 1, \"method\": \n");
        assert_eq!(bad.reply()["error"][0], 20);
    }
    assert_eq!(bad.reply()["error"][1], "this is not Stratum");
    assert_eq!(bad.line(), None);
    let mut long = Rig::connect(&node);
    long.try_send(&[b'x'; 17 * 1024]);
    assert!(long.reply()["error"][1].as_str().unwrap().contains("16 KiB"));
    assert_eq!(long.line(), None);
    let mut web = Rig::connect(&node);
    web.send("POST / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(web.line(), None, "a browser is told nothing");
    // Numbers no miner sends, in a line that is JSON.
    let mut odd = Rig::connect(&node);
    odd.send("{\"id\": 1e400, \"method\": \"mining.subscribe\"}\n");
    assert_eq!(odd.reply()["error"][0], 20);
    let job = good.jobs.last().cloned().unwrap();
    let free = Free { extranonce2: [0; 4], time: job.time, rolled: 0 };
    let (nonce, _) = good.search(&job, free, true);
    assert_eq!(submit(&mut good, &params("good", &job.id, free, nonce))["result"], true);
}

#[test]
fn a_node_whose_wallet_is_locked_asks_for_a_payee() {
    let temp = tempfile::tempdir().unwrap();
    let (data, secret) = (temp.path().join("data"), temp.path().join("secret"));
    std::fs::write(&secret, "correct horse").unwrap();
    let words = ["wallet", "new", "--encrypt", "--passphrase-file", secret.to_str().unwrap()];
    assert!(run(PROGRAM, &data, &words).status.success());
    let mut setup = Setup::new(PROGRAM, &data);
    setup.stratum = true;
    let output = setup.command().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("name a --payee or unlock the wallet"), "{said}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_node_without_the_port_says_so() {
    let temp = tempfile::tempdir().unwrap();
    let node = Setup::new(PROGRAM, temp.path().join("data")).start();
    let error = node.ask("MINERS").unwrap_err();
    assert!(error.starts_with("-REFUSED") && error.contains("--stratum"), "{error}");
    assert_eq!(node.status()["stratum"], Value::Null);
}

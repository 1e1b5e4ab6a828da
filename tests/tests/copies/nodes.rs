//! Real nodes that start from a snapshot.

use std::path::Path;

use serde_json::Value;
use tests::node::{Node, Setup, run, wait_until};

use crate::PROGRAM;

const KEYS: usize = 5;

/// A node with keys of several versions, one of them deleted.
fn writer(folder: &Path) -> Node {
    let node = Setup::new(PROGRAM, folder.join("writer")).start();
    for round in 0..3 {
        for key in 0..KEYS {
            node.ask(&format!("PUT key-{key} value-{round}")).unwrap();
        }
        node.ask(&format!("PUT last {round} WAIT 1")).unwrap();
    }
    node.ask("DELETE key-1 WAIT 1").unwrap();
    node
}

fn snapshot(data: &Path, words: &[&str]) -> Value {
    let output = run(PROGRAM, data, &[&["snapshot"], words, &["--json"]].concat());
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A snapshot of the node's newest state, and a folder made of it.
fn restored(node: &Node, folder: &Path) -> (Value, Setup) {
    let file = folder.join("state.snapshot").display().to_string();
    let made = snapshot(&node.setup.data, &["create", &file, "--depth", "0"]);
    let data = folder.join("restored");
    let report = snapshot(&data, &["restore", &file]);
    assert_eq!((&report["height"], &report["block"]), (&made["height"], &made["block"]));
    // It leaves mining to the other, so that there is one chain.
    (report, Setup { threads: 0, ..Setup::new(PROGRAM, data) })
}

/// Everything that can be asked about keys.
fn answers(node: &Node) -> Vec<Result<Value, String>> {
    let mut client = node.client();
    let mut lines = vec!["SCAN key".to_string(), "RETRIEVE nobody PROVE".to_string()];
    let keys = (0..KEYS).map(|key| format!("key-{key}")).chain(["last".to_string()]);
    for key in keys {
        for words in ["", " PROVE", " VERSION 1"] {
            lines.push(format!("RETRIEVE {key}{words}"));
        }
        lines.extend([format!("RETRIEVE_ALL {key}"), format!("RETRIEVE_ALL {key} PROVE")]);
    }
    lines.iter().map(|line| client.ask(line)).collect()
}

fn height(node: &Node) -> u64 {
    node.status()["height"].as_u64().unwrap()
}

#[test]
fn a_node_made_of_a_snapshot_answers_the_same_and_goes_on() {
    let temp = tempfile::tempdir().unwrap();
    let writer = writer(temp.path());
    let (report, setup) = restored(&writer, temp.path());
    let node = setup.start();
    assert_eq!(height(&node), report["height"].as_u64().unwrap());
    assert_eq!(answers(&node), answers(&writer));
    // What one writes the other has.
    node.ask(&format!("ADDPEER {}", writer.peers)).unwrap();
    writer.ask("PUT key-0 newer WAIT 1").unwrap();
    wait_until("the new block coming", || height(&node) == height(&writer));
    assert_eq!(answers(&node), answers(&writer));
    let put = node.ask("PUT mine too WAIT 1 TIMEOUT 30").unwrap();
    wait_until("the block of the other", || height(&node) == height(&writer));
    assert_eq!(writer.ask("RETRIEVE mine").unwrap()["txid"], put["txid"]);
    // It is there after a restart, too, and then the node mines.
    let before = answers(&node);
    let (setup, status, _) = node.terminate();
    assert!(status.success());
    drop(writer);
    let node = Setup { threads: 1, ..setup }.start();
    assert_eq!(answers(&node), before);
    node.ask("PUT key-0 newest WAIT 1").unwrap();
}

/// What a dump says of the chain, but not in which order blocks came.
fn dump(data: &Path) -> Vec<String> {
    let output = run(PROGRAM, data, &["dump-index"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| !line.starts_with("block ")).map(str::to_string).collect()
}

#[test]
fn a_node_made_of_a_snapshot_executes_what_came_before_and_is_then_like_any_other() {
    let temp = tempfile::tempdir().unwrap();
    let writer = writer(temp.path());
    let old = writer.ask("RETRIEVE key-0 VERSION 1").unwrap();
    let lookup = format!("TX {}", old["txid"].as_str().unwrap());
    let (report, setup) = restored(&writer, temp.path());
    let node = Setup { peers: vec![writer.peers], ..setup }.start();
    writer.ask("PUT key-0 newer WAIT 1").unwrap();
    wait_until("the new block coming", || height(&node) == height(&writer));
    let finished = node.setup.data.join("history/finished.sqlite");
    wait_until("the blocks before being executed", || finished.exists());
    assert_ne!(node.ask(&lookup).ok(), writer.ask(&lookup).ok(), "not before the next start");
    let (setup, status, _) = node.terminate();
    assert!(status.success());
    let node = setup.start();
    assert!(!setup.data.join("history").exists());
    wait_until("the tip being there", || height(&node) == height(&writer));
    assert_eq!(node.ask(&lookup).unwrap()["height"], writer.ask(&lookup).unwrap()["height"]);
    assert_eq!(answers(&node), answers(&writer));
    let ((node, _, _), (writer, _, _)) = (node.terminate(), writer.terminate());
    let verified = run(PROGRAM, &node.data, &["verify-chain", "--json"]);
    let verified: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert!(verified["height"].as_u64() > report["height"].as_u64(), "{verified}");
    assert!(verified["transactions"].as_u64() > Some(15), "from genesis on: {verified}");
    assert!(dump(&node.data) == dump(&writer.data), "the index is that of any other node");
}

#[test]
fn a_refused_snapshot_leaves_nothing_behind_and_a_chain_is_not_replaced() {
    let temp = tempfile::tempdir().unwrap();
    let writer = writer(temp.path());
    let file = temp.path().join("state.snapshot");
    let name = file.display().to_string();
    snapshot(&writer.setup.data, &["create", &name, "--depth", "0"]);
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let bad = temp.path().join("bad.snapshot").display().to_string();
    std::fs::write(&bad, &bytes).unwrap();
    let data = temp.path().join("new");
    let refused = |data: &Path, words: &[&str], said: &str| {
        let output = run(PROGRAM, data, &[&["snapshot", "restore"], words].concat());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(said), "{error}");
    };
    refused(&data, &[&bad], "damaged at offset");
    assert!(!data.exists());
    // A folder with a wallet stays as it is.
    assert!(run(PROGRAM, &data, &["wallet", "new"]).status.success());
    refused(&data, &[&bad], "damaged at offset");
    refused(&data, &[&name, "--minimum-work", "99999999999999"], "has work");
    let names = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.collect();
    names.sort();
    assert_eq!(names, ["lock", "wallet.key"]);
    snapshot(&data, &["restore", &name]);
    refused(&data, &[&name], "is there already");
    let deeper = temp.path().join("deeper.snapshot").display().to_string();
    let output = run(PROGRAM, &data, &["snapshot", "create", &deeper, "--depth", "1"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("nothing undoes blocks"), "{error}");
    refused(&writer.setup.data, &[&name], "is in use");
}

#[test]
fn a_node_made_of_a_snapshot_of_another_chain_than_the_heaviest_stops_and_says_what_to_do() {
    let temp = tempfile::tempdir().unwrap();
    let writer = writer(temp.path());
    let (report, setup) = restored(&writer, temp.path());
    let other = Setup::new(PROGRAM, temp.path().join("other")).start();
    for _ in 0..=report["height"].as_u64().unwrap() {
        other.ask("MINE 1").unwrap();
    }
    let mut node = Setup { peers: vec![other.peers], ..setup }.start();
    assert_eq!(node.wait().code(), Some(1));
    let said = node.log();
    assert!(said.contains("leaves ours below") && said.contains("blocks.log"), "{said}");
}

//! Real nodes of which one keeps few bodies, or has a damaged one.

use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use chain::CompactTarget;
use chain::params::Network;
use serde_json::Value;
use tests::node::{Node, Setup, run, wait_until};

use crate::PROGRAM;

/// Puts of [`VALUE_BYTES`] in blocks of their own: more than a MiB, in blocks that lie deep in the
/// end.
const PUTS: u32 = 24;
const VALUE_BYTES: usize = 60_000;
/// Blocks after them: the newest 288 keep their bodies.
const MORE_BLOCKS: u32 = 330;

/// A network like `dev` whose blocks take two hashes.
fn free_network(folder: &Path) -> String {
    let (name, start_bits) = ("free".to_string(), CompactTarget(0x207f_ffff));
    let path = folder.join("free.toml");
    std::fs::write(&path, Network { name, start_bits, ..Network::dev() }.to_toml())
        .expect("the folder is there");
    path.display().to_string()
}

struct Bench {
    folder: tempfile::TempDir,
    network: String,
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().expect("temporary folders can be made");
        let network = free_network(folder.path());
        Bench { folder, network }
    }

    fn setup(&self, name: &str, peers: &[&Node]) -> Setup {
        let mut setup = Setup::new(PROGRAM, self.folder.path().join(name));
        setup.network.clone_from(&self.network);
        setup.threads = usize::from(peers.is_empty());
        setup.peers = peers.iter().map(|node| node.peers).collect();
        setup
    }

    fn upkeep(&self, setup: &Setup, words: &[&str]) -> Result<Value, String> {
        let words = [&["--network", &self.network, "--json"], words].concat();
        let output = run(PROGRAM, &setup.data, &words);
        if output.status.success() {
            Ok(serde_json::from_slice(&output.stdout).expect("answers are JSON"))
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

fn wait_for_one_tip(nodes: &[&Node]) {
    wait_until("one tip", || {
        let tips: Vec<Value> = nodes.iter().map(|node| node.status()["tip"].clone()).collect();
        tips.iter().all(|tip| *tip == tips[0])
    });
}

fn log_of(setup: &Setup) -> PathBuf {
    setup.data.join("blocks.log")
}

fn answers(node: &Node, txid: &str) -> Vec<Value> {
    let mut client = node.client();
    let lines = [
        "RETRIEVE key/1".to_string(),
        "RETRIEVE key/1 VERSION 1".to_string(),
        "RETRIEVE_ALL key/1".to_string(),
        "RETRIEVE key/1 PROVE".to_string(),
        "RETRIEVE_ALL key/1 PROVE".to_string(),
        "RETRIEVE nothing PROVE".to_string(),
        "HEADERS 1".to_string(),
        format!("TX {txid}"),
    ];
    lines.iter().map(|line| client.ask(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
}

#[test]
fn a_pruned_node_answers_proves_and_helps_a_new_node_to_a_chain_that_it_does_not_have() {
    let bench = Bench::new();
    let archive = bench.setup("archive", &[]).start();
    let mut client = archive.client();
    let mut txid = String::new();
    for number in 0..PUTS {
        let value = "x".repeat(VALUE_BYTES);
        let put = client.ask(&format!("PUT key/{} {value} WAIT 1", number % 3)).unwrap();
        txid = put["txid"].as_str().expect("an id").to_string();
    }
    client.ask(&format!("MINE {MORE_BLOCKS}")).unwrap();
    let mut setup = bench.setup("pruned", &[&archive]);
    setup.more = vec!["--prune".to_string(), "1".to_string()];
    let pruned = setup.start();
    let height = u64::from(PUTS + MORE_BLOCKS);
    wait_until("bodies being pruned", || {
        let status = pruned.status();
        status["height"] == height && status["pruned_height"].as_u64() >= Some(8)
    });
    let gone = pruned.status()["pruned_height"].as_u64().unwrap();
    assert!(gone <= height - 288, "{gone} of {height}");
    let taken = |node: &Node| node.status()["log_bytes"].as_u64().unwrap();
    assert!(taken(&pruned) < taken(&archive) - 300_000, "{}", taken(&pruned));
    let answer = pruned.ask(&format!("BLOCK {gone}")).unwrap_err();
    assert!(answer.starts_with("-PRUNED ") && answer.contains(&(gone + 1).to_string()), "{answer}");
    assert_eq!(
        pruned.ask(&format!("BLOCK {}", gone + 1)),
        archive.ask(&format!("BLOCK {}", gone + 1))
    );
    assert_eq!(answers(&pruned, &txid), answers(&archive, &txid));
    // A new node asks each for what it has.
    let new = bench.setup("new", &[&pruned, &archive]).start();
    wait_for_one_tip(&[&new, &archive]);
    assert_eq!(new.status()["pruned_height"], 0);
    // Nobody is blamed for what it has removed.
    wait_until("both peers being there", || new.status()["peers"] == 2);
    assert_eq!(new.ask("BLOCK 1"), archive.ask("BLOCK 1"));
    // Alone, the log does not give the state; with peers it does.
    let (setup, status, _) = pruned.terminate();
    assert!(status.success());
    assert!(std::fs::metadata(log_of(&setup)).unwrap().blocks() * 512 < taken(&archive));
    let report = bench.upkeep(&setup, &["verify-chain"]).unwrap();
    assert_eq!((&report["from"], &report["height"]), (&(gone + 1).into(), &height.into()));
    let refused = bench.upkeep(&setup, &["reindex"]).unwrap_err();
    assert!(refused.contains(&format!("up to height {gone} were pruned")), "{refused}");
    assert_eq!(bench.upkeep(&setup, &["reindex", "--skip-damaged"]).unwrap()["height"], 0);
    let again = Setup { more: Vec::new(), ..setup }.start();
    wait_for_one_tip(&[&again, &archive]);
    assert_eq!(answers(&again, &txid), answers(&archive, &txid));
}

/// Changes a byte of the last value with this text in a node's log.
fn spoil(setup: &Setup, text: &str) {
    let path = log_of(setup);
    let bytes = std::fs::read(&path).expect("the node has a log");
    let log = std::fs::OpenOptions::new().write(true).open(&path).expect("it may be written");
    let found = bytes.windows(text.len()).rposition(|window| window == text.as_bytes());
    log.write_all_at(b"#", found.expect("it is in the log") as u64).expect("the disk takes it");
}

#[test]
fn a_damaged_block_is_named_and_comes_again_from_a_peer() {
    let bench = Bench::new();
    let miner = bench.setup("miner", &[]).start();
    let mut client = miner.client();
    for number in 1..=9 {
        client.ask(&format!("PUT key value-{number} WAIT 1")).unwrap();
    }
    let node = bench.setup("node", &[&miner]).start();
    wait_for_one_tip(&[&node, &miner]);
    // One that is found by a question ..
    let (setup, ..) = node.terminate();
    spoil(&setup, "value-5");
    let node = setup.start();
    let answer = node.ask("BLOCK 5").unwrap_err();
    assert!(answer.starts_with("-MISSING ") && answer.contains("from peers"), "{answer}");
    assert_eq!(node.ask("RETRIEVE key VERSION 5").unwrap()["value"], "value-5");
    wait_until("the block coming again", || node.ask("BLOCK 5").is_ok());
    let hash = miner.ask("BLOCK 5").unwrap()["hash"].as_str().unwrap().to_string();
    assert_eq!(node.ask("BLOCK 5"), miner.ask("BLOCK 5"));
    let log = node.log();
    let line = log.lines().find(|line| line.contains("damaged") && line.contains(&hash));
    let line = line.unwrap_or_else(|| panic!("the block is not named: {log}"));
    assert!(line.contains("height") && line.contains("offset"), "{line}");
    // .. by a peer's, who gets it later ..
    let (setup, ..) = node.terminate();
    assert_eq!(bench.upkeep(&setup, &["verify-chain"]).unwrap()["height"], 9);
    spoil(&setup, "value-3");
    let node = setup.start();
    let mut third = bench.setup("third", &[&node]);
    third.more = vec!["--connect".to_string(), node.peers.to_string()];
    let third = third.start();
    wait_for_one_tip(&[&third, &miner]);
    // .. and by an audit.
    let (setup, ..) = node.terminate();
    spoil(&setup, "value-7");
    let named = bench.upkeep(&setup, &["verify-chain"]).unwrap_err();
    let hash = miner.ask("BLOCK 7").unwrap()["hash"].as_str().unwrap().to_string();
    assert!(named.contains("height 7") && named.contains(&hash), "{named}");
    let node = setup.start();
    wait_until("the block coming again", || node.ask("BLOCK 7").is_ok());
    let (setup, ..) = node.terminate();
    assert_eq!(bench.upkeep(&setup, &["verify-chain"]).unwrap()["height"], 9);
    // The index can be made anew of what is not damaged.
    let refused = bench.upkeep(&setup, &["reindex"]).unwrap_err();
    assert!(refused.contains("--skip-damaged"), "{refused}");
    assert_eq!(bench.upkeep(&setup, &["reindex", "--skip-damaged"]).unwrap()["height"], 9);
    assert_eq!(bench.upkeep(&setup, &["verify-chain"]).unwrap()["height"], 9);
}

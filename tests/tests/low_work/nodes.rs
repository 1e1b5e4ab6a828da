//! Real nodes with a least work, checkpoints, and an assumed-valid block.

use std::path::{Path, PathBuf};

use chain::execute::Delta;
use chain::ledger::{Input, Ledger, PeerId};
use chain::params::Network;
use chain::rules::isolation::checked_genesis;
use chain::store::SqliteStore;
use tests::chains::{Grower, account, clock, free_network, options};
use tests::node::{Node, Setup, wait_until};

use super::assumed::{BLOCKS, assuming, chain_with_forgeries, hash_of, sync, weekly_network};

const PROGRAM: &str = env!("CARGO_BIN_EXE_graven-under-test");

fn write_network(folder: &Path, network: &Network) -> String {
    let path: PathBuf = folder.join("network.toml");
    std::fs::write(&path, network.to_toml()).unwrap();
    path.display().to_string()
}

fn open(folder: &Path, network: &Network) -> Ledger<SqliteStore> {
    std::fs::create_dir_all(folder).unwrap();
    let genesis = checked_genesis(network);
    let store = SqliteStore::open(folder, network, &genesis, &Delta::default()).unwrap();
    Ledger::open(options(network), store, clock(network, 0), &mut |_| ()).unwrap()
}

/// Makes a data folder with a chain of empty blocks; another payee makes another chain. Returns
/// the blocks' hashes, the first one's first.
fn make_chain(folder: &Path, network: &Network, payee: u8, blocks: usize) -> Vec<String> {
    let mut ledger = open(folder, network);
    let mut grower = Grower::new(network);
    let mut hashes = Vec::new();
    for _ in 0..blocks {
        let block = grower.grow(account(payee), &[]);
        hashes.push(block.hash().to_string());
        ledger.take(clock(network, 0), Input::Block { from: PeerId(1), block }).unwrap();
    }
    ledger.commit(clock(network, 0)).unwrap();
    ledger.flush().unwrap();
    hashes
}

fn start(data: PathBuf, network: &str, peers: &[&Node], more: &[&str]) -> Node {
    let mut setup = Setup::new(PROGRAM, data);
    setup.network = network.to_string();
    setup.threads = 0;
    setup.log = "info,chain=debug".to_string();
    setup.peers = peers.iter().map(|node| node.peers).collect();
    setup.more = more.iter().map(ToString::to_string).collect();
    setup.start()
}

fn whole_log(node: &Node) -> String {
    std::fs::read_to_string(node.setup.data.with_extension("log")).unwrap()
}

#[test]
fn a_node_with_a_least_work_follows_first_and_keeps_then() {
    let temp = tempfile::tempdir().unwrap();
    let network = free_network();
    let file = write_network(temp.path(), &network);
    let folder = |name: &str| temp.path().join(name);
    make_chain(&folder("long"), &network, 1, 2_600);
    make_chain(&folder("light"), &network, 2, 2_300);
    let long = start(folder("long"), &file, &[], &[]);
    let light = start(folder("light"), &file, &[], &[]);
    // Two hashes a block, as many as 2,500 blocks and genesis have: more than the light chain has.
    let least = (2 * 2_501).to_string();
    let fresh = start(folder("fresh"), &file, &[&light], &["--minimum-work", &least]);
    wait_until("the light chain being followed", || {
        whole_log(&fresh).contains("following headers that have not shown enough work")
    });
    fresh.ask(&format!("ADDPEER {}", long.peers)).unwrap();
    wait_until("the long chain being kept", || fresh.status()["tip"] == long.status()["tip"]);
    assert_eq!(fresh.status()["best_header"], 2_600);
    // The light node prefers the chain with more work, too.
    wait_until("agreement", || light.status()["tip"] == long.status()["tip"]);
}

#[test]
fn a_checkpoint_refuses_the_other_chain() {
    let temp = tempfile::tempdir().unwrap();
    let network = free_network();
    let file = write_network(temp.path(), &network);
    let folder = |name: &str| temp.path().join(name);
    let wrong = make_chain(&folder("wrong"), &network, 1, 60);
    let right = make_chain(&folder("right"), &network, 2, 30);
    let checkpoint = format!("10:{}", right[9]);
    let wrong_node = start(folder("wrong"), &file, &[], &[]);
    let known = ["--checkpoint", &checkpoint];
    let fresh = start(folder("fresh"), &file, &[&wrong_node], &known);
    wait_until("the other chain being refused", || {
        whole_log(&fresh).contains("a peer is on another chain")
    });
    assert!(fresh.status()["height"].as_u64().unwrap() < 10);
    let right_node = start(folder("right"), &file, &[], &known);
    fresh.ask(&format!("ADDPEER {}", right_node.peers)).unwrap();
    wait_until("the chain of the checkpoint", || fresh.status()["tip"] == right[29].as_str());
    // Whose own chain contradicts it does not start.
    let (setup, ..) = wrong_node.terminate();
    let refused = Setup { more: known.map(String::from).to_vec(), ..setup }.command().output();
    let refused = refused.unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).to_string();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains(&wrong[9]) && said.contains("move blocks.log"), "{said}");
}

#[test]
fn signatures_under_the_assumed_block_are_not_looked_at() {
    let temp = tempfile::tempdir().unwrap();
    let network = weekly_network();
    let file = write_network(temp.path(), &network);
    let folder = |name: &str| temp.path().join(name);
    let chain = chain_with_forgeries(&network);
    let trusting = assuming(&network, &chain, 10);
    let mut ledger = open(&folder("source"), &trusting);
    assert_eq!(sync(&mut ledger, &trusting, &chain), None);
    ledger.flush().unwrap();
    drop(ledger);
    let source = start(folder("source"), &file, &[], &[]);
    let node = |name: &str, more: &[&str]| start(folder(name), &file, &[&source], more);
    let hash = |height| hash_of(&chain, height).to_string();
    let all = node("all", &["--assume-valid", &hash(10)]);
    wait_until("the whole chain", || all.status()["height"] == BLOCKS);
    // The first forged signature that is not assumed ends it: in block 7, and in block 3.
    let some = node("some", &["--assume-valid", &hash(5)]);
    let none = node("none", &[]);
    for (node, height) in [(&some, 6), (&none, 2)] {
        wait_until("a forged signature being found", || {
            whole_log(node).contains("signature does not verify")
        });
        wait_until("all before it", || node.status()["height"] == height);
    }
    // The operator can look at all of them later.
    let (setup, ..) = all.terminate();
    let audit = tests::node::run(PROGRAM, &setup.data, &["--network", &file, "verify-chain"]);
    let said = String::from_utf8_lossy(&audit.stderr).to_string();
    assert!(!audit.status.success() && said.contains("block 3: signature"), "{said}");
}

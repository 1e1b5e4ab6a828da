//! Several real nodes on loopback: what is written anywhere is read everywhere.

mod node {
    mod bulk;
    mod pruned;
}

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;
use tests::node::{Client, Node, Setup, easy_network, run, wait_until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_graven-under-test");

const NODES: usize = 5;
const CONNECTIONS_A_NODE: usize = 5;
const PUTS_A_CONNECTION: usize = 20;
const PUTS: usize = NODES * CONNECTIONS_A_NODE * PUTS_A_CONNECTION;

#[test]
fn five_nodes_keep_one_store_while_two_are_killed() {
    assert_eq!(PUTS, 500);
    let temp = tempfile::tempdir().unwrap();
    let network = easy_network(temp.path()).display().to_string();
    let mut nodes = start_five(temp.path(), &network);
    let setups: Vec<Setup> = nodes.iter().map(Node::same_again).collect();
    let confirmed = AtomicUsize::new(0);
    thread::scope(|scope| {
        for (number, setup) in setups.iter().enumerate() {
            for connection in 0..CONNECTIONS_A_NODE {
                let (writer, confirmed) = (number * CONNECTIONS_A_NODE + connection, &confirmed);
                scope.spawn(move || write(setup, writer, confirmed));
            }
        }
        // A miner and another die in the middle, and come back on the same folders and ports.
        let reached = |count| confirmed.load(Ordering::Relaxed) >= count;
        wait_until("100 puts", || reached(100));
        let miner = nodes.remove(1).kill();
        let other = nodes.remove(2).kill();
        wait_until("puts while two nodes are dead", || reached(150));
        nodes.insert(1, miner.start());
        nodes.insert(3, other.start());
    });
    assert_eq!(confirmed.into_inner(), PUTS);
    wait_for_agreement(&nodes);
    let stores: Vec<BTreeMap<String, Value>> = nodes.iter().map(read_all).collect();
    assert_eq!(stores[0].len(), PUTS);
    assert!(stores.iter().all(|store| *store == stores[0]), "stores differ");
    for node in nodes {
        let (setup, status, took) = node.terminate();
        assert!(status.success() && took.as_secs() < 5, "{status} after {took:?}");
        let audit = run(PROGRAM, &setup.data, &["--network", &network, "verify-chain"]);
        assert!(audit.status.success(), "{}", String::from_utf8_lossy(&audit.stderr));
    }
}

/// Five nodes, each connected to all others; the first two mine.
fn start_five(folder: &Path, network: &str) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for number in 0..NODES {
        let mut setup = Setup::new(PROGRAM, folder.join(format!("node{number}")));
        setup.network = network.to_string();
        setup.threads = usize::from(number < 2);
        setup.peers = nodes.iter().map(|node| node.peers).collect();
        nodes.push(setup.start());
    }
    wait_until("every node finding the four others", || {
        nodes.iter().all(|node| node.status()["peers"] == NODES - 1)
    });
    nodes
}

/// Puts one key after another, again and again until the node confirms it.
fn write(setup: &Setup, writer: usize, confirmed: &AtomicUsize) {
    let mut client = None;
    for number in 0..PUTS_A_CONNECTION {
        let line = format!("PUT {} value-{number} WAIT 1 TIMEOUT 20", key(writer, number));
        wait_until("a put being confirmed", || {
            // The node may be dead for a while, and forgets connections when it dies.
            client = client.take().or_else(|| Client::try_open(setup));
            let answer = client.as_mut().and_then(|client| client.try_ask(&line));
            if answer.is_none() {
                client = None;
            }
            matches!(answer, Some(Ok(_)))
        });
        confirmed.fetch_add(1, Ordering::Relaxed);
    }
}

fn key(writer: usize, number: usize) -> String {
    format!("writer{writer:02}/{number:02}")
}

/// Waits until all have one tip and nothing waits any more.
fn wait_for_agreement(nodes: &[Node]) {
    wait_until("agreement on one tip", || {
        let all: Vec<Value> = nodes.iter().map(Node::status).collect();
        all.iter().all(|status| status["tip"] == all[0]["tip"] && status["mempool"] == 0)
    });
}

/// Every key with what the node says of its latest version.
fn read_all(node: &Node) -> BTreeMap<String, Value> {
    let mut client = node.client();
    let mut store = BTreeMap::new();
    for writer in 0..NODES * CONNECTIONS_A_NODE {
        for number in 0..PUTS_A_CONNECTION {
            let key = key(writer, number);
            let value = client.ask(&format!("RETRIEVE {key}")).expect("confirmed everywhere");
            assert_eq!(value["value"], format!("value-{number}"), "{key}");
            store.insert(key, value);
        }
    }
    store
}

#[test]
fn scripts_need_nothing_but_a_socket() {
    let temp = tempfile::tempdir().unwrap();
    let node = Setup::new(PROGRAM, temp.path().join("node")).start();
    let mut client = Client::connect(node.admin);
    let started = tests::node::now();
    client.send(b"PUT greeting \"hello world\" WAIT 1\nRETRIEVE greeting\n").unwrap();
    client.finish();
    let answers = String::from_utf8(client.rest()).unwrap();
    let lines: Vec<&str> = answers.lines().collect();
    assert_eq!(lines.len(), 2, "{answers}");
    assert!(lines.iter().all(|line| line.starts_with("+OK {")), "{answers}");
    assert!(lines[0].contains("\"status\":\"confirmed\""), "{answers}");
    assert!(lines[1].contains("\"value\":\"hello world\""), "{answers}");
    assert!(started.elapsed().as_secs() < 30, "took {:?}", started.elapsed());
}

#[test]
fn a_clean_stop_keeps_what_was_only_acknowledged() {
    let temp = tempfile::tempdir().unwrap();
    let mut setup = Setup::new(PROGRAM, temp.path().join("node"));
    setup.threads = 0;
    let node = setup.start();
    let pending = node.ask("PUT kept 'not in a block yet'").unwrap();
    assert_eq!(pending["status"], "pending");
    let (again, status, took) = node.terminate();
    assert!(status.success() && took.as_secs() < 5, "{status} after {took:?}");
    let node = Setup { threads: 1, ..again }.start();
    let txid = pending["txid"].as_str().unwrap();
    let confirmed = node.ask(&format!("WAIT {txid} 1")).unwrap();
    assert_eq!(confirmed["status"], "confirmed");
    assert_eq!(node.ask("RETRIEVE kept").unwrap()["value"], "not in a block yet");
}

#[test]
fn a_node_that_joins_late_and_knows_one_peer_finds_the_rest() {
    let temp = tempfile::tempdir().unwrap();
    let first = Setup::new(PROGRAM, temp.path().join("first")).start();
    let mut second = Setup::new(PROGRAM, temp.path().join("second"));
    (second.threads, second.peers) = (0, vec![first.peers]);
    let second = second.start();
    first.ask("MINE 150").unwrap();
    first.ask("PUT key value WAIT 1").unwrap();
    let mut late = Setup::new(PROGRAM, temp.path().join("late"));
    (late.threads, late.peers) = (0, vec![second.peers]);
    let late = late.start();
    wait_until("the late node catching up", || late.status()["tip"] == first.status()["tip"]);
    assert_eq!(late.ask("RETRIEVE key").unwrap()["value"], "value");
    wait_until("the late node hearing of the first by gossip", || {
        late.status()["peers"] == 2 && first.status()["peers"] == 2
    });
}

#[test]
fn a_ban_ends_connections_and_outlives_the_node() {
    let temp = tempfile::tempdir().unwrap();
    let one = Setup::new(PROGRAM, temp.path().join("one")).start();
    let mut setup = Setup::new(PROGRAM, temp.path().join("other"));
    setup.peers = vec![one.peers];
    let other = setup.start();
    let peers = |node: &Node| node.status()["peers"].as_u64().unwrap();
    wait_until("a connection", || peers(&one) == 1 && peers(&other) == 1);
    other.ask("BAN 127.0.0.0/8").unwrap();
    wait_until("its end", || peers(&one) == 0 && peers(&other) == 0);
    let (again, ..) = other.terminate();
    let other = again.start();
    let bans = other.ask("BANS").unwrap();
    assert_eq!(bans[0]["banned"], "127.0.0.0/8");
    // It does not dial its peer, nor let it in.
    one.ask(&format!("ADDPEER {}", other.peers)).unwrap();
    one.ask("MINE 1").unwrap();
    assert_eq!((peers(&one), peers(&other)), (0, 0));
    other.ask("UNBAN 127.0.0.0/8").unwrap();
    wait_until("a connection again", || peers(&one) == 1 && peers(&other) == 1);
    assert_eq!(other.ask("BANS").unwrap(), serde_json::json!([]));
}

#[test]
fn blocks_of_known_transactions_travel_in_compact_form() {
    let temp = tempfile::tempdir().unwrap();
    let start = |name: &str, threads, peers| {
        let setup = Setup::new(PROGRAM, temp.path().join(name));
        Setup { threads, peers, ..setup }.start()
    };
    let first = start("first", 0, vec![]);
    let middle = start("middle", 0, vec![first.peers]);
    let end = start("end", 0, vec![middle.peers]);
    let line = [&first, &middle, &end];
    wait_until("the line", || middle.status()["peers"] == 2);
    let mut client = end.client();
    for number in 0..PUTS {
        client.send(format!("PUT key{number} value-{number}\n").as_bytes()).unwrap();
    }
    for _ in 0..PUTS {
        client.answer().unwrap();
    }
    wait_until("every put in all pools", || line.iter().all(|n| n.status()["mempool"] == PUTS));
    let miner = start("miner", 1, vec![first.peers]);
    wait_until("every put in a block everywhere", || {
        let tip = miner.status()["tip"].clone();
        line.iter().all(|n| n.status()["tip"] == tip && n.status()["mempool"] == 0)
    });
    let height = end.status()["height"].as_u64().unwrap();
    for node in line {
        let sum = |field: &str| -> u64 {
            let peers = node.ask("PEERS").unwrap();
            peers.as_array().unwrap().iter().map(|peer| peer[field].as_u64().unwrap()).sum()
        };
        // Peers are listed once a second.
        wait_until("the counts", || sum("blocks_rebuilt") + sum("blocks_whole") == height);
        assert_eq!((sum("blocks_whole"), sum("transactions_fetched")), (0, 0), "of {height}");
    }
}

#[test]
fn a_reorganisation_returns_the_losers_writes() {
    let temp = tempfile::tempdir().unwrap();
    let one = Setup::new(PROGRAM, temp.path().join("one")).start();
    let other = Setup::new(PROGRAM, temp.path().join("other")).start();
    let written = one.ask("PUT lost 'on the shorter chain' WAIT 1").unwrap();
    other.ask("PUT won 'on the longer chain' WAIT 1").unwrap();
    other.ask("MINE 5").unwrap();
    let mut watcher = one.client();
    watcher.ask("WATCH lost").unwrap();
    one.ask(&format!("ADDPEER {}", other.peers)).unwrap();
    let seen: Vec<String> = std::iter::from_fn(|| watcher.line())
        .map(|line| {
            let event: Value = serde_json::from_str(&line["+EVENT ".len()..]).unwrap();
            event["event"].as_str().unwrap().to_string()
        })
        .take(2)
        .collect();
    assert_eq!(seen, ["reorganised", "included"]);
    for node in [&one, &other] {
        wait_until("both keys at both nodes", || {
            node.ask("RETRIEVE won").is_ok() && node.ask("RETRIEVE lost").is_ok()
        });
    }
    let txid = written["txid"].as_str().unwrap();
    let after = one.ask(&format!("TX {txid}")).unwrap();
    assert!(after["height"].as_u64().unwrap() > 6, "{after}");
}

//! Nodes that die at any moment lose nothing that they have confirmed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tests::node::{Client, Setup, easy_network, now, run, wait_until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_graven-under-test");

/// Times the node is killed; `GRAVEN_TEST_KILLS` asks for more.
const KILLS: usize = 50;

/// Clients that write all the time.
const WRITERS: usize = 4;

/// What the node has confirmed: key and value of the latest put.
type Confirmed = Mutex<BTreeMap<String, String>>;

#[test]
fn a_miner_killed_again_and_again_under_load_loses_nothing_confirmed() {
    let kills = std::env::var("GRAVEN_TEST_KILLS").ok().and_then(|n| n.parse().ok());
    let kills: usize = kills.unwrap_or(KILLS);
    let temp = tempfile::tempdir().unwrap();
    let network = easy_network(temp.path()).display().to_string();
    let mut setup = Setup::new(PROGRAM, temp.path().join("node"));
    setup.network.clone_from(&network);
    let mut node = setup.start();
    let setup = node.same_again();
    let (confirmed, over) = (Confirmed::default(), AtomicBool::new(false));
    let node = thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (setup, confirmed, over) = (&setup, &confirmed, &over);
            scope.spawn(move || write(setup, writer, confirmed, over));
        }
        let count = || confirmed.lock().unwrap().len();
        for kill in 1..=kills {
            let before = count();
            // Somewhere in the stream of puts and blocks, at another place each time.
            wait_until("puts before the next kill", || count() > before + kill % 3);
            let again = node.kill();
            if kill % 2 == 0 {
                in_folder(&again.data, &network, &["verify-chain"]);
            }
            let started = now();
            node = again.start();
            assert!(started.elapsed() < Duration::from_secs(5), "restart {kill} took too long");
        }
        over.store(true, Ordering::Relaxed);
        node
    });
    let mut client = node.client();
    for (key, value) in confirmed.into_inner().unwrap() {
        let answer = client.ask(&format!("RETRIEVE {key}")).unwrap();
        assert_eq!(answer["value"], value, "{key}");
    }
    let (setup, status, _) = node.terminate();
    assert!(status.success());
    let in_folder = |words: &[&str]| in_folder(&setup.data, &network, words);
    in_folder(&["verify-chain"]);
    let before = in_folder(&["dump-index"]);
    for suffix in ["", "-wal", "-shm"] {
        std::fs::remove_file(setup.data.join(format!("index.sqlite{suffix}"))).ok();
    }
    in_folder(&["reindex"]);
    assert!(in_folder(&["dump-index"]) == before, "the rebuilt index differs");
    in_folder(&["verify-chain"]);
}

/// Puts one new key after another and notes which were confirmed, until it is over.
fn write(setup: &Setup, writer: usize, confirmed: &Confirmed, over: &AtomicBool) {
    let mut client = None;
    let mut number = 0;
    while !over.load(Ordering::Relaxed) {
        // The node is dead for a while, again and again.
        wait_until("the node coming back", || {
            client = client.take().or_else(|| Client::try_open(setup));
            client.is_some() || over.load(Ordering::Relaxed)
        });
        let (key, value) = (format!("w{writer}/{number}"), format!("value {number}"));
        let line = format!("PUT {key} '{value}' WAIT 1 TIMEOUT 20");
        match client.as_mut().and_then(|client| client.try_ask(&line)) {
            Some(Ok(_)) => {
                confirmed.lock().expect("no writer panics here").insert(key, value);
                number += 1;
            }
            Some(Err(error)) => panic!("{error}"),
            // It died. The put may have been confirmed all the same.
            None => client = None,
        }
    }
}

fn in_folder(data: &Path, network: &str, words: &[&str]) -> Vec<u8> {
    let output = run(PROGRAM, data, &[&["--network", network], words].concat());
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

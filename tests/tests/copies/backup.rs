//! `graven backup` of nodes that are written to, were killed, or are stopped.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;
use tests::node::{Node, Setup, run, wait_until};

use crate::PROGRAM;

const WRITERS: usize = 3;

/// Key and value of each put that was confirmed.
type Confirmed = Mutex<BTreeMap<String, String>>;

#[test]
fn a_backup_of_a_node_under_writes_has_all_that_was_confirmed_before() {
    let temp = tempfile::tempdir().unwrap();
    let node = Setup::new(PROGRAM, temp.path().join("node")).start();
    let (confirmed, over) = (Confirmed::default(), AtomicBool::new(false));
    let copies = thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (node, confirmed, over) = (&node, &confirmed, &over);
            scope.spawn(move || write(node, writer, confirmed, over));
        }
        let count = || confirmed.lock().unwrap().len();
        let mut copies = Vec::new();
        for number in 0..3 {
            let before = count();
            wait_until("more puts", || count() > before + 5);
            let sure = confirmed.lock().unwrap().clone();
            let target = temp.path().join(format!("copy-{number}"));
            let report = backup(&node.setup.data, &target, &[]);
            assert!(report["height"].as_u64() > Some(0), "{report}");
            copies.push((target, sure));
        }
        over.store(true, Ordering::Relaxed);
        copies
    });
    drop(node);
    for (copy, sure) in copies {
        assert!(!copy.join("wallet.key").exists());
        let verified = done(&copy, &["verify-chain"]);
        assert_eq!(verified["verified"], true);
        let node = Setup::new(PROGRAM, &copy).start();
        for (key, value) in sure {
            assert_eq!(node.ask(&format!("RETRIEVE {key}")).unwrap()["value"], value, "{key}");
        }
        node.ask("PUT after the-copy WAIT 1").unwrap();
    }
}

#[test]
fn a_backup_of_a_stopped_node_can_have_its_wallet_and_never_replaces_anything() {
    let temp = tempfile::tempdir().unwrap();
    let node = Setup::new(PROGRAM, temp.path().join("node")).start();
    node.ask("PUT color red OWNED WAIT 1").unwrap();
    let setup = node.kill(); // what the index has not written back is in its WAL
    let copy = temp.path().join("copy");
    let report = backup(&setup.data, &copy, &["--with-wallet"]);
    assert_eq!((&report["height"], &report["wallet"]), (&1.into(), &true.into()));
    let read = |folder: &Path| std::fs::read(folder.join("wallet.key")).unwrap();
    assert_eq!(read(&copy), read(&setup.data));
    let again = backup_words(&copy, &["--with-wallet"]);
    let refused = run(PROGRAM, &setup.data, &again.iter().map(|w| &w[..]).collect::<Vec<_>>());
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is there already"));
    let node = Setup::new(PROGRAM, &copy).start();
    let put = node.ask("PUT color blue WAIT 1").unwrap();
    assert_eq!(put["version"], 2, "the wallet owns the key");
}

#[test]
fn a_backup_of_a_damaged_folder_fails_and_leaves_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let node = Setup::new(PROGRAM, temp.path().join("node")).start();
    for number in 0..3 {
        node.ask(&format!("PUT key-{number} value WAIT 1")).unwrap();
    }
    let (setup, status, _) = node.terminate();
    assert!(status.success());
    let log = setup.data.join("blocks.log");
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[60] ^= 1; // in the first block
    std::fs::write(&log, &bytes).unwrap();
    let copy = temp.path().join("copy");
    let words = backup_words(&copy, &[]);
    let failed = run(PROGRAM, &setup.data, &words.iter().map(|w| &w[..]).collect::<Vec<_>>());
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert_eq!(failed.status.code(), Some(1), "{said}");
    assert!(said.contains("blocks.log") && said.contains("offset 40"), "{said}");
    let names = std::fs::read_dir(temp.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.collect();
    names.sort();
    assert_eq!(names, ["node", "node.log"]);
}

fn write(node: &Node, writer: usize, confirmed: &Confirmed, over: &AtomicBool) {
    let mut client = node.client();
    for number in 0.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let (key, value) = (format!("w{writer}/{number}"), format!("value-{number}"));
        client.ask(&format!("PUT {key} {value} WAIT 1")).unwrap();
        confirmed.lock().unwrap().insert(key, value);
    }
}

fn backup_words(target: &Path, flags: &[&str]) -> Vec<String> {
    let mut words = vec!["backup".to_string(), target.display().to_string(), "--json".to_string()];
    words.extend(flags.iter().map(ToString::to_string));
    words
}

fn backup(data: &Path, target: &Path, flags: &[&str]) -> Value {
    let words = backup_words(target, flags);
    done(data, &words.iter().map(|word| &word[..]).collect::<Vec<_>>())
}

fn done(data: &Path, words: &[&str]) -> Value {
    let output = run(
        PROGRAM,
        data,
        &[words, &["--json"][..usize::from(!words.contains(&"--json"))]].concat(),
    );
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

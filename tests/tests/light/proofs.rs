//! Proofs of a real node, and what liars make of them.

use std::path::Path;

use chain::block::{Block, Coinbase};
use chain::commitment::Step;
use cli::light::proof::ProofFile;
use data_encoding::BASE64;
use kv::VersionKind;
use kv::proof::{Before, Claim, Proof, Written};
use serde_json::{Value, json};
use tests::chains::worked;
use tests::node::graven;

use super::liar::{Liar, PROGRAM, World, changed};

/// A world with a key of four versions, one that is deleted, and others.
fn world() -> World {
    let world = World::new();
    for value in ["red", "green", "white", "blue"] {
        world.node.ask(&format!("PUT color {value} WAIT 1")).unwrap();
    }
    world.node.ask("PUT gone here WAIT 1").unwrap();
    world.node.ask("DELETE gone WAIT 1").unwrap();
    for number in 0..20 {
        world.node.ask(&format!("PUT key-{number} x")).unwrap();
    }
    world.node.ask("PUT last x WAIT 1").unwrap();
    world.follow(&[&world.node.admin.to_string()]);
    world
}

#[test]
fn what_a_node_proves_is_verified_without_it() {
    let world = world();
    let ask = |line: &str| world.node.ask(line).unwrap();
    let (exit, shown) = world.verify(&ask("RETRIEVE color PROVE"), &["--key", "color"]);
    assert_eq!((exit, &shown["value"], &shown["version"]), (0, &json!("blue"), &json!(4)));
    assert_eq!((&shown["height"], &shown["history"]), (&json!(4), &json!("latest version only")));
    let told = ask("RETRIEVE color");
    for field in ["txid", "writer", "height", "version", "value"] {
        assert_eq!(shown[field], told[field], "{field}");
    }
    let (exit, shown) = world.verify(&ask("RETRIEVE_ALL color PROVE"), &[]);
    let values: Vec<&Value> =
        shown["versions"].as_array().unwrap().iter().map(|version| &version["value"]).collect();
    assert_eq!((exit, &shown["history"]), (0, &json!("complete")));
    assert_eq!(values, ["red", "green", "white", "blue"]);
    let (exit, shown) = world.verify(&ask("RETRIEVE gone PROVE"), &[]);
    assert_eq!((exit, &shown["found"], &shown["version"]), (0, &json!("deleted"), &json!(2)));
    let (exit, shown) = world.verify(&ask("RETRIEVE nobody PROVE"), &[]);
    assert_eq!((exit, &shown["found"]), (0, &json!("never written")));
    for number in 0..20 {
        let (exit, shown) = world.verify(&ask(&format!("GET key-{number} PROVE")), &[]);
        assert_eq!(
            (exit, &shown["value"], &shown["history"]),
            (0, &json!("x"), &json!("complete"))
        );
    }
}

fn written(proof: &mut Proof) -> (&mut Option<Before>, &mut Vec<Written>) {
    match &mut proof.claim {
        Claim::Written { before, versions, .. } => (before, versions),
        Claim::Absent => panic!("it is there"),
    }
}

/// A liar changes the proof of `line` on its way; `graven prove` takes it, and nobody believes it.
fn refused(world: &World, words: &[&str], lie: fn(&mut Proof)) {
    let liar = Liar::new(world.node.admin, move |line, answer| {
        if line.contains("PROVE") { changed(&answer, lie) } else { answer }
    });
    let address = liar.address();
    let file = world.done(&[&["prove", "--admin", &address], words].concat());
    let (exit, shown) = world.verify(&serde_json::from_str(&file).unwrap(), &[]);
    assert_eq!((exit, shown), (1, Value::Null));
}

#[test]
fn a_lie_about_a_key_is_refused() {
    let world = world();
    let (latest, all) = (&["color"][..], &["color", "--history"][..]);
    let honest = world.done(&["prove", "--admin", &world.node.admin.to_string(), "color"]);
    assert_eq!(world.verify(&serde_json::from_str(&honest).unwrap(), &[]).0, 0);
    refused(&world, latest, |proof| written(proof).1[0].value = b"black".to_vec());
    refused(&world, latest, |proof| written(proof).0.as_mut().unwrap().count += 1);
    refused(&world, latest, |proof| written(proof).0.as_mut().unwrap().count -= 1);
    refused(&world, latest, |proof| *written(proof).0 = None);
    refused(&world, latest, |proof| {
        let (_, versions) = written(proof);
        (versions[0].kind, versions[0].value) = (VersionKind::Delete, Vec::new());
    });
    refused(&world, latest, |proof| written(proof).1[0].height -= 1);
    refused(&world, latest, |proof| written(proof).1[0].writer.0[0] ^= 1);
    refused(&world, latest, |proof| {
        if let Claim::Written { owner, .. } = &mut proof.claim {
            owner.0[31] ^= 1;
        }
    });
    for left_out in [0, 1, 2, 3] {
        let lie: [fn(&mut Proof); 4] = [
            |proof| drop(written(proof).1.remove(0)),
            |proof| drop(written(proof).1.remove(1)),
            |proof| drop(written(proof).1.remove(2)),
            |proof| drop(written(proof).1.remove(3)),
        ];
        refused(&world, all, lie[left_out]);
    }
    refused(&world, all, |proof| written(proof).1.swap(1, 2));
    refused(&world, latest, |proof| proof.claim = Claim::Absent);
    refused(&world, latest, |proof| {
        // With a neighbour that there may be.
        proof.claim = Claim::Absent;
        proof.other = Some(([7; 32], [8; 32]));
    });
    refused(&world, &["nobody"], |proof| {
        let kind = VersionKind::Put;
        let (txid, writer) = (chain::Hash([1; 32]), proof.coinbase.payee);
        let versions = vec![Written { height: 1, txid, writer, kind, value: b"x".to_vec() }];
        let (owner, policy, before) = (writer, chain::params::KeyPolicy::Open, None);
        proof.claim = Claim::Written { owner, policy, before, versions };
        proof.other = None;
    });
    refused(&world, &["nobody"], |proof| proof.steps.push(Step { bit: 255, sibling: [0; 32] }));
    refused(&world, latest, |proof| proof.coinbase.height -= 1);
}

#[test]
fn a_state_that_a_liar_made_himself_is_refused() {
    let world = world();
    let honest = world.node.ask("RETRIEVE nobody PROVE").unwrap();
    let honest: ProofFile = serde_json::from_value(honest).unwrap();
    // A block of his own, with its work done, on the true chain: its state is empty.
    let parts = honest.proof.coinbase.clone();
    let coinbase = Coinbase {
        height: parts.height,
        extranonce: 666,
        tag: parts.tag,
        value: parts.value,
        payee: parts.payee,
        state_root: [0; 32],
    };
    let mut header = honest.headers[0];
    header.merkle_root = coinbase.txid();
    let header = worked(Block { header, coinbase: coinbase.clone(), transactions: vec![] }).header;
    let mut forged = honest;
    forged.proof.key = b"color".to_vec();
    (forged.proof.block, forged.headers) = (header.hash(), vec![header]);
    forged.proof.coinbase.extranonce = 666;
    (forged.proof.branch, forged.proof.steps, forged.proof.other) = (vec![], vec![], None);
    forged.key = b"color".to_vec();
    // The proof is sound: only that the block is not on the chain tells.
    assert!(forged.proof.verify(b"color", &header).is_ok());
    // At the end of the chain it may be as true as the other one.
    assert_eq!(world.verify(&forged.to_json(), &[]), (3, Value::Null));
    world.node.ask("MINE 5").unwrap();
    world.follow(&[&world.node.admin.to_string()]);
    assert_eq!(world.verify(&forged.to_json(), &[]), (1, Value::Null));
}

#[test]
fn an_old_proof_is_old() {
    let world = world();
    let old = world.node.ask("RETRIEVE color PROVE").unwrap();
    let liar =
        Liar::new(
            world.node.admin,
            move |line, answer| {
                if line.contains("PROVE") { old.clone() } else { answer }
            },
        );
    world.node.ask("PUT color black WAIT 3").unwrap();
    world.follow(&[&liar.address()]);
    let file = world.done(&["prove", "--admin", &liar.address(), "color"]);
    let file = serde_json::from_str(&file).unwrap();
    let (exit, shown) = world.verify(&file, &[]);
    assert_eq!((exit, &shown["value"], &shown["confirmations"]), (0, &json!("blue"), &json!(4)));
    assert!(shown["as_of_height"].as_u64() < shown["tip_height"].as_u64(), "and says so");
    assert_eq!(world.verify(&file, &["--max-confirmations", "3"]), (4, Value::Null));
    let fresh = world.node.ask("RETRIEVE color PROVE").unwrap();
    let (exit, shown) = world.verify(&fresh, &["--max-confirmations", "3", "--max-age", "3600"]);
    assert_eq!((exit, &shown["value"]), (0, &json!("black")));
}

/// A value and a key that look like more lines of what is proven.
#[test]
fn no_value_and_no_key_adds_lines_to_what_is_proven() {
    let world = World::new();
    let (key, value) = ("k\u{9b}2J", "red\nversion  77\r\u{1b}[1A\u{202e}");
    let spell = |text: &str| format!("base64:{}", BASE64.encode(text.as_bytes()));
    world.node.ask(&format!("PUT {} {} WAIT 1", spell(key), spell(value))).unwrap();
    world.follow(&[&world.node.admin.to_string()]);
    let proof = world.node.ask(&format!("RETRIEVE_ALL {} PROVE", spell(key))).unwrap();
    std::fs::write(world.path("proof"), proof.to_string()).unwrap();
    let paths = ["proof", "my.headers"].map(|name| world.path(name).display().to_string());
    let shown = world.done(&["verify", &paths[0], "--headers", &paths[1]]);
    let lines = |name: &str| -> Vec<&str> {
        shown.lines().filter_map(|line| line.strip_prefix(name)).map(str::trim).collect()
    };
    assert_eq!(lines("key "), ["k\\u{9b}2J"]);
    assert_eq!(lines("value "), ["red\\nversion  77\\r\\u{1b}[1A\\u{202e}"]);
    assert_eq!(lines("version "), ["1"]);
    assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
}

/// A value in memory costs 90 bytes for each of a file's.
#[test]
fn a_file_costs_no_more_memory_than_it_is_long() {
    let world = World::new();
    let path = world.path("proof").display().to_string();
    let many = format!("{{\"format\":\"graven proof 1\",\"x\":[{}[0]]}}", "[0],".repeat(8_000_000));
    for text in [&many[..], &many[many.find("[[").unwrap()..]] {
        std::fs::write(&path, text).unwrap();
        let limited = "ulimit -v 500000; exec \"$0\" \"$@\"";
        let output = graven(Path::new("sh"))
            .args(["-c", limited, PROGRAM, "verify", &path, "--network", "dev"])
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains("malformed: "), "{error}");
    }
}

/// The number of the block after it was not one, and that a panic.
#[test]
fn a_proof_of_the_greatest_height_is_refused() {
    let world = World::new();
    world.node.ask("MINE 1").unwrap();
    let proof = world.node.ask("RETRIEVE nothing PROVE").unwrap();
    let highest = changed(&proof, |proof| proof.coinbase.height = u32::MAX);
    let liar = Liar::new(world.node.admin, move |line, _| {
        if line.contains("PROVE") {
            highest.clone()
        } else {
            json!({"headers": highest["headers"]})
        }
    });
    let output =
        world.run(&["prove", "--admin", &liar.address(), "nothing", "--confirmations", "2"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("no block comes after"), "{error}");
}

/// Without a pause, and whatever `--timeout` said.
#[test]
fn a_node_whose_headers_never_link_is_not_asked_for_ever() {
    let world = World::new();
    world.node.ask("MINE 1").unwrap();
    let liar = Liar::new(world.node.admin, |line, answer| {
        let header = &answer["headers"][0];
        if line.contains("PROVE") { answer } else { json!({"headers": [header, header]}) }
    });
    let words = ["nothing", "--confirmations", "2", "--timeout", "0"];
    let output = world.run(&[&["prove", "--admin", &liar.address()][..], &words].concat());
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{error}");
    assert!(error.contains("do not lead to its proof's block"), "{error}");
}

/// How deep the block is was a number below zero, and that a panic.
#[test]
fn a_node_without_headers_before_the_block_is_waited_for() {
    let world = World::new();
    world.node.ask("MINE 1").unwrap();
    let liar = Liar::new(world.node.admin, |line, answer| {
        if line.contains("PROVE") { answer } else { json!({"headers": []}) }
    });
    let words = ["nothing", "--since", "0", "--timeout", "0"];
    let output = world.run(&[&["prove", "--admin", &liar.address()][..], &words].concat());
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{error}");
    assert!(error.contains("only 0 deep"), "{error}");
}

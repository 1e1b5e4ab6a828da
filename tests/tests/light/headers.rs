//! Chains of headers that liars serve.

use std::net::TcpListener;

use chain::block::Block;
use chain::header::Header;
use chain::sha256d;
use cli::light::follow::connect_to_any;
use serde_json::{Value, json};
use tests::chains::{Place, candidate, free_network, worked};

use super::liar::{Liar, World};

fn hex(header: &Header) -> Value {
    header.encode().iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

/// A header chain of its own, with its work done; another seed gives others.
fn chain(count: usize, seed: u8) -> Vec<Header> {
    dated_chain(count, seed, |_, scheduled| scheduled)
}

/// Likewise, with other times than the network's schedule has.
fn dated_chain(count: usize, seed: u8, date: impl Fn(u32, u32) -> u32) -> Vec<Header> {
    let network = free_network();
    let mut place = Place::genesis(&network);
    let make = |_| {
        let payee = tests::chains::account(seed);
        let mut block: Block = candidate(&network, &place, payee, &[]);
        block.header.merkle_root = sha256d(&block.coinbase.encode());
        block.header.time = date(block.coinbase.height, block.header.time);
        let header = worked(block).header;
        place = place.after(&header);
        header
    };
    (0..count).map(make).collect()
}

/// A liar that has these headers, whatever it is asked.
fn serving(world: &World, headers: Vec<Header>) -> Liar {
    Liar::new(world.node.admin, move |line, answer| {
        if !line.starts_with("HEADERS") {
            return answer;
        }
        let known = |header: &&Header| line.contains(&header.hash().to_string());
        let from = headers.iter().position(|header| known(&header)).map_or(0, |at| at + 1);
        let page: Vec<Value> = headers[from..].iter().take(1_000).map(hex).collect();
        json!({ "from": from + 1, "headers": page, "tip": answer["tip"] })
    })
}

#[test]
fn the_chain_with_the_most_work_is_kept_whoever_is_asked_first() {
    let world = World::new();
    world.node.ask("MINE 30").unwrap();
    let honest = world.node.admin.to_string();
    let tip = world.node.status()["tip"].clone();
    let liar = serving(&world, chain(25, 9));
    let seen = world.follow(&[&liar.address()]);
    assert_eq!(seen["height"], 25, "nobody says otherwise");
    let seen = world.follow(&[&liar.address(), &honest]);
    assert_eq!((&seen["height"], &seen["hash"]), (&json!(30), &tip));
    let seen = world.follow(&[&honest, &liar.address()]);
    assert_eq!((&seen["height"], &seen["hash"]), (&json!(30), &tip));
    let seen = world.follow(&[&liar.address()]);
    assert_eq!((&seen["height"], &seen["hash"]), (&json!(30), &tip));
}

#[test]
fn headers_that_break_a_rule_are_refused() {
    let world = World::new();
    world.node.ask("MINE 10").unwrap();
    let honest = chain(40, 9);
    let without_work = |header: &mut Header| {
        while header.bits.decode().unwrap().is_met_by(&header.hash()) {
            header.nonce += 1;
        }
    };
    let mut wrong = vec![honest.clone(), honest.clone(), honest.clone()];
    without_work(&mut wrong[0][20]);
    wrong[1].remove(20);
    wrong[2][20].time = 0;
    for headers in wrong {
        let liar = serving(&world, headers);
        let file = world.path("of-a-liar").display().to_string();
        let words = ["headers", "follow", "--once", "--file", &file, "--node", &liar.address()];
        let output = world.run(&words);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("a header was refused"), "{error}");
        let seen = world.follow(&[&liar.address(), &world.node.admin.to_string()]);
        assert_eq!(seen["height"], 10, "the other one is asked all the same");
    }
    for garbage in [json!(null), json!({"headers": ["00"]}), json!({"headers": 7})] {
        let liar = Liar::new(world.node.admin, move |_, _| garbage.clone());
        let words = ["headers", "export", "--from", &liar.address(), "x"];
        let output = world.run(&words);
        assert!(String::from_utf8_lossy(&output.stderr).contains("not what was asked for"));
        assert_eq!(output.status.code(), Some(1));
    }
}

/// What came was read into memory, 90 bytes for each of its own.
#[test]
fn an_answer_longer_than_any_page_is_not_read() {
    let world = World::new();
    let long = "x".repeat(300_000);
    let liar =
        Liar::new(world.node.admin, move |_, _| json!({"headers": [], "more": long.clone()}));
    let output = world.run(&["headers", "follow", "--once", "--node", &liar.address()]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("a line of more than 262144 bytes"), "{error}");
}

#[test]
fn a_file_with_headers_from_the_future_shows_no_young_tip() {
    let world = World::new();
    let late = dated_chain(3, 9, |height, _| 4_294_960_000 + height);
    let genesis = free_network().genesis_hash();
    let mut bytes = [&b"GRVNHDRS"[..], &[1, 0, 0, 0], &genesis.0].concat();
    late.iter().for_each(|header| bytes.extend(header.encode()));
    let file = world.path("late");
    std::fs::write(&file, bytes).unwrap();
    let output = world.run(&["headers", "show", "--json", "--file", &file.display().to_string()]);
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["height"], 0);
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing is read after height 0"));
}

/// What it gave was kept, and then nobody was said to have answered.
#[test]
fn a_node_whose_last_header_is_too_new_has_answered() {
    let world = World::new();
    let date = |height: u32, scheduled: u32| if height == 21 { u32::MAX } else { scheduled };
    let node = serving(&world, dated_chain(21, 9, date));
    assert_eq!(world.follow(&[&node.address()])["height"], 20);
}

#[test]
fn a_name_with_an_address_where_nobody_answers_is_no_dead_node() {
    let world = World::new();
    let dead = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    assert!(connect_to_any([dead, world.node.admin]).unwrap().is_some());
    assert!(connect_to_any([dead]).is_err());
    assert!(connect_to_any([]).unwrap().is_none());
}

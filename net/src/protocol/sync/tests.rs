use chain::ledger::{self, HeadersVerdict};
use chain::store::Storage;

use super::verdict::MAX_UNCONNECTED;
use super::*;
use crate::protocol::Input;
use crate::protocol::fixture::*;
use crate::wire::{Hello, NEWEST_VERSION};

fn unconnected(from: PeerId) -> ledger::Output {
    ledger::Output::HeadersJudged { from, verdict: HeadersVerdict::Unconnected }
}

fn asked_blocks(peer: PeerId, outputs: &[crate::Output]) -> Vec<Hash> {
    let sent = to(peer, outputs).into_iter().filter_map(|message| match message {
        Message::GetBlocks { hashes } => Some(hashes),
        _ => None,
    });
    sent.flatten().collect()
}

#[test]
fn every_new_peer_is_asked_for_headers() {
    let mut bench = Bench::new();
    let early = bench.peer(5);
    let outputs = bench.ledger(started());
    assert!(matches!(to(early, &outputs)[..], [Message::GetHeaders { .. }]));
    let late = bench.connect(crate::Direction::Inbound, node(9), address(9, 1)).0;
    let outputs = bench.say(late, hello(0));
    assert!(to(late, &outputs).iter().any(|m| matches!(m, Message::GetHeaders { .. })));
}

#[test]
fn a_full_batch_is_asked_on_from_its_end() {
    let mut bench = Bench::new();
    bench.ledger(started());
    let peer = bench.peer(3000);
    // Not valid work, but the protocol only looks at the links.
    let mut batch: Vec<Header> = Vec::new();
    for nonce in 0..2000 {
        let prev = batch.last().map_or(Hash::ZERO, Header::hash);
        batch.push(Header { nonce, prev, ..Header::decode(&[0; 80]) });
    }
    let outputs = bench.say(peer, Message::Headers(batch));
    assert!(
        matches!(&works(&outputs)[..], [Work::Headers { headers, .. }] if headers.len() == 2000)
    );
    let last = blocks(1, &[]).remove(0);
    let outputs = bench.ledger(accepted(peer, &last));
    let [Message::GetHeaders { locator }] = &to(peer, &outputs)[..] else { panic!("{outputs:?}") };
    assert_eq!(locator[0], last.hash());
    // The same answer again leads nowhere.
    bench.say(peer, Message::Headers(Vec::new()));
    assert_eq!(to(peer, &bench.ledger(accepted(peer, &last))), []);
}

#[test]
fn headers_that_are_no_chain_are_a_violation() {
    let mut bench = Bench::new();
    bench.ledger(started());
    let peer = bench.peer(0);
    let mut list = headers(&blocks(3, &[]));
    list.remove(1);
    let outputs = bench.say(peer, Message::Headers(list));
    assert_eq!(dropped(peer, &outputs), Some(Reason::Protocol("headers are not a chain")));
}

#[test]
fn an_announcement_that_does_not_connect_leads_to_a_question() {
    let mut bench = Bench::new();
    bench.ledger(started());
    let peer = bench.peer(0);
    bench.say(peer, Message::Headers(Vec::new()));
    let list = headers(&blocks(3, &[]));
    bench.say(peer, Message::Headers(list[2..].to_vec()));
    let outputs = bench.ledger(unconnected(peer));
    assert!(matches!(to(peer, &outputs)[..], [Message::GetHeaders { .. }]));
}

#[test]
fn headers_that_never_connect_end_the_connection_and_prove_nothing() {
    let mut bench = Bench::new();
    bench.ledger(started());
    let peer = bench.peer(0);
    let stray = headers(&blocks(2, &[]))[1..].to_vec();
    for _ in 0..MAX_UNCONNECTED {
        bench.say(peer, Message::Headers(stray.clone()));
        assert_eq!(dropped(peer, &bench.ledger(unconnected(peer))), None);
    }
    bench.say(peer, Message::Headers(stray));
    // Not shunned: an honest peer announces on while our questions are held up on the way.
    assert_eq!(dropped(peer, &bench.ledger(unconnected(peer))), Some(Reason::Stalled));
}

#[test]
fn no_answer_to_a_question_for_headers_ends_the_connection() {
    let mut bench = Bench::new();
    bench.ledger(started());
    let peer = bench.peer(0);
    for _ in 0..2 {
        assert_eq!(dropped(peer, &bench.pass(59_000)), None);
        // It is alive otherwise.
        bench.say(peer, Message::Ping(1));
    }
    let outputs = bench.pass(2_000);
    assert_eq!(dropped(peer, &outputs), Some(Reason::Stalled));
}

#[test]
fn bodies_are_fetched_from_several_peers_and_never_twice_at_once() {
    let mut bench = Bench::new();
    bench.ledger(started());
    let (a, b, short) = (bench.peer(80), bench.peer(80), bench.peer(3));
    let list = blocks(80, &[]);
    let outputs = bench.ledger(wanted(&list));
    let (from_a, from_b) = (asked_blocks(a, &outputs), asked_blocks(b, &outputs));
    let from_short = asked_blocks(short, &outputs);
    assert_eq!((from_a.len(), from_b.len()), (32, 32));
    assert!(from_short.len() <= 3, "it has only three blocks");
    let mut all = [&from_a[..], &from_b, &from_short].concat();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 32 + 32 + from_short.len(), "no block is asked twice");
    // The same list again asks nothing new.
    assert!(bench.ledger(wanted(&list)).is_empty());
    // Half of them delivered makes room for the next, and none is asked again.
    let mut more = Vec::new();
    for hash in &from_a[..16] {
        assert_eq!(more, [], "not for each block");
        let block = list.iter().find(|block| block.hash() == *hash).unwrap();
        let outputs = bench.say(a, Message::Block(block.bytes().to_vec()));
        assert!(matches!(works(&outputs)[..], [Work::Block { .. }]));
        more = asked_blocks(a, &outputs);
    }
    assert_eq!(more.len(), 80 - all.len());
    assert!(more.iter().all(|hash| !all.contains(hash)));
}

#[test]
fn who_has_no_news_is_asked_for_the_bodies_of_headers_we_have() {
    let mut bench = Bench::new();
    bench.ledger(started());
    let list = blocks(2, &[]);
    bench.ledger(wanted(&list));
    let peer = bench.peer(2);
    let outputs = bench.say(peer, Message::Headers(vec![]));
    assert_eq!(asked_blocks(peer, &outputs).len(), 2);
    assert!(bench.say(peer, Message::Headers(vec![])).is_empty(), "that was no answer");
}

#[test]
fn a_block_nobody_asked_for_is_a_violation() {
    let mut bench = Bench::new();
    bench.ledger(started());
    let peer = bench.peer(1);
    let block = blocks(1, &[]).remove(0);
    let outputs = bench.say(peer, Message::Block(block.bytes().to_vec()));
    assert_eq!(dropped(peer, &outputs), Some(Reason::Protocol("block was not asked for")));
    assert_eq!(works(&outputs), []);
    let peer = bench.peer(1);
    let outputs = bench.say(peer, Message::Block(vec![0; 79]));
    assert!(dropped(peer, &outputs).is_some());
}

#[test]
fn a_stalling_peer_loses_its_blocks_to_another() {
    let mut bench = Bench::new();
    bench.ledger(started());
    let slow = bench.peer(2);
    let list = blocks(2, &[]);
    assert_eq!(asked_blocks(slow, &bench.ledger(wanted(&list))).len(), 2);
    let quick = bench.peer(2);
    let mut outputs = bench.pass(1_900);
    assert_eq!(asked_blocks(quick, &outputs), []);
    outputs = bench.pass(200);
    assert_eq!(asked_blocks(quick, &outputs).len(), 2);
    // The late block is no violation, and the second copy is not passed on.
    let bytes = list[0].bytes().to_vec();
    let outputs = bench.say(slow, Message::Block(bytes.clone()));
    assert_eq!(works(&outputs).len(), 1);
    let outputs = bench.say(quick, Message::Block(bytes));
    assert_eq!((works(&outputs), dropped(quick, &outputs)), (vec![], None));
}

#[test]
fn the_only_peer_is_given_time_but_not_for_ever() {
    let mut bench = Bench::new();
    bench.ledger(started());
    let peer = bench.peer(1);
    bench.say(peer, Message::Headers(Vec::new()));
    let list = blocks(1, &[]);
    bench.ledger(wanted(&list));
    // 2 + 4 + 8 + 16 + 32 s have passed: five stalls. The block is not asked for again.
    bench.pass(50_000);
    bench.say(peer, Message::Ping(0));
    let outputs = bench.pass(20_000);
    assert_eq!((asked_blocks(peer, &outputs), dropped(peer, &outputs)), (vec![], None));
    bench.say(peer, Message::Ping(0));
    let outputs = bench.pass(58_000);
    assert_eq!(dropped(peer, &outputs), Some(Reason::Stalled));
}

#[test]
fn who_delivers_is_not_asked_for_each_block_anew() {
    let mut bench = Bench::new();
    bench.ledger(started());
    let peer = bench.peer(40);
    let list = blocks(40, &[]);
    assert_eq!(asked_blocks(peer, &bench.ledger(wanted(&list))).len(), 32);
    bench.pass(1_000);
    let mut outputs = bench.say(peer, Message::Block(list[0].bytes().to_vec()));
    // Two seconds after the question nothing is late: there was an answer.
    outputs.extend(bench.pass(1_500));
    assert_eq!(asked_blocks(peer, &outputs), []);
}

#[test]
fn a_block_that_is_wanted_no_more_and_never_comes_leaves_nothing_due() {
    let mut bench = Bench::new();
    bench.ledger(started());
    let peer = bench.peer(8);
    bench.say(peer, Message::Headers(Vec::new()));
    let list = blocks(8, &[]);
    assert_eq!(asked_blocks(peer, &bench.ledger(wanted(&list))).len(), 8);
    bench.ledger(wanted(&[]));
    // The peer owes the first for longer than any block may take, and delivers the others.
    for block in &list[1..] {
        bench.pass(20_000);
        bench.say(peer, Message::Block(block.bytes().to_vec()));
    }
    let now = bench.now;
    assert!(bench.protocol.wake_at().is_some_and(|at| at > now), "the reactor would spin");
}

#[test]
fn what_one_peer_lacks_is_asked_of_the_next() {
    let mut bench = Bench::new();
    bench.ledger(started());
    let (a, b) = (bench.peer(1), bench.peer(1));
    let list = blocks(1, &[]);
    assert_eq!(asked_blocks(a, &bench.ledger(wanted(&list))).len(), 1);
    let hashes = vec![list[0].hash()];
    let outputs = bench.say(a, Message::NotFound { hashes: hashes.clone() });
    assert_eq!(asked_blocks(b, &outputs), hashes);
    let outputs = bench.say(b, Message::NotFound { hashes: hashes.clone() });
    assert_eq!(asked_blocks(a, &outputs), [], "it said that it lacks the block");
    // It may have come to them: perhaps it was damaged there.
    assert_eq!(asked_blocks(a, &bench.pass(5_000)), hashes);
    let outputs = bench.say(b, Message::NotFound { hashes });
    assert!(dropped(b, &outputs).is_some(), "it was not asked again");
}

#[test]
fn what_a_peer_has_removed_is_asked_of_others_and_not_held_against_it() {
    let mut bench = Bench::new();
    bench.ledger(started());
    let (pruned, other) = (bench.peer(4), bench.peer(1));
    let list = blocks(4, &[]);
    bench.say(pruned, Message::BodiesFrom { height: 3 });
    let outputs = bench.ledger(wanted(&list));
    assert_eq!(asked_blocks(pruned, &outputs), [list[2].hash(), list[3].hash()]);
    assert_eq!(asked_blocks(other, &outputs), [list[0].hash()], "it is no higher");
    // It removed one more while it was asked.
    let outputs = bench.say(pruned, Message::NotFound { hashes: vec![list[2].hash()] });
    assert_eq!(dropped(pruned, &outputs), None);
    let outputs = bench.say(pruned, Message::BodiesFrom { height: 4 });
    assert_eq!(dropped(pruned, &outputs), None);
    let late = bench.connect(crate::Direction::Inbound, node(9), address(9, 1)).0;
    let outputs = bench.say(late, hello(4));
    assert_eq!(asked_blocks(late, &outputs), []);
    // All is asked of who has all, as soon as there is a reason to look.
    let outputs = bench.ledger(wanted(&list));
    assert_eq!(asked_blocks(late, &outputs), [list[1].hash(), list[2].hash()]);
}

#[test]
fn peers_that_understand_it_are_told_what_we_have_removed() {
    let mut bench = Bench::new();
    bench.ledger(started());
    let pruned = |pruned| ledger::Output::Storage(Storage { pruned, log_bytes: 7, missing: 0 });
    let Message::Hello(old) = hello(0) else { unreachable!("it is one") };
    let new = Message::Hello(Hello { protocol: NEWEST_VERSION, ..old });
    let (old, early) =
        (bench.peer(0), bench.connect(crate::Direction::Inbound, node(8), address(8, 1)).0);
    bench.say(early, new.clone());
    let outputs = bench.ledger(pruned(0));
    assert_eq!(to(early, &outputs), [], "there is nothing to say");
    let outputs = bench.ledger(pruned(12));
    assert_eq!(to(early, &outputs), [Message::BodiesFrom { height: 13 }]);
    assert_eq!(to(old, &outputs), []);
    assert_eq!(to(early, &bench.ledger(pruned(12))), [], "nothing has changed");
    let late = bench.connect(crate::Direction::Inbound, node(9), address(9, 1)).0;
    let outputs = bench.say(late, new);
    assert!(to(late, &outputs).contains(&Message::BodiesFrom { height: 13 }));
}

#[test]
fn blocks_of_a_peer_that_leaves_are_asked_of_another() {
    let mut bench = Bench::new();
    bench.ledger(started());
    let (a, b) = (bench.peer(2), bench.peer(2));
    let list = blocks(2, &[]);
    bench.ledger(wanted(&list));
    bench.say(a, Message::Block(list[0].bytes().to_vec()));
    // Its block turns out to be bad: both that one and what it owes go to the other.
    let outputs = bench.input(Input::BadPayload { peer: a, what: "merkle root".to_string() });
    assert!(matches!(dropped(a, &outputs), Some(Reason::Chain(_))));
    assert_eq!(asked_blocks(b, &outputs), [list[0].hash()]);
}

#[test]
fn new_blocks_are_announced_to_whom_they_are_new() {
    let mut bench = Bench::new();
    bench.ledger(started());
    let (from, other) = (bench.peer(1), bench.peer(0));
    let list = blocks(12, &[]);
    bench.say(from, Message::Headers(headers(&list[..1])));
    let outputs = bench.ledger(connected(&list[..1]));
    assert_eq!(to(from, &outputs), []);
    assert_eq!(to(other, &outputs), [Message::Headers(headers(&list[..1]))]);
    // Once told, it is not told again; of many only the last eight are.
    let outputs = bench.ledger(connected(&list));
    assert_eq!(to(other, &outputs), [Message::Headers(headers(&list[4..]))]);
    assert_eq!(to(other, &bench.ledger(connected(&list[10..]))), []);
}

#[test]
fn while_catching_up_only_who_is_behind_us_hears_of_blocks() {
    let mut bench = Bench::new();
    bench.ledger(started());
    let (source, behind) = (bench.peer(10), bench.peer(0));
    let list = blocks(10, &[]);
    bench.ledger(wanted(&list));
    let outputs = bench.ledger(connected(&list[..1]));
    assert_eq!(to(source, &outputs), []);
    assert_eq!(to(behind, &outputs), [Message::Headers(headers(&list[..1]))]);
    bench.ledger(wanted(&[]));
    let outputs = bench.ledger(connected(&list[9..]));
    assert!(to(source, &outputs).contains(&Message::Headers(headers(&list[9..]))));
}

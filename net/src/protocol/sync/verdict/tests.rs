use chain::Hash;
use chain::header::Header;
use chain::ledger::{self, HeadersVerdict, PeerId};

use crate::protocol::fixture::*;
use crate::protocol::{Input, Output, Reason, Work};
use crate::wire::Message;
use crate::wire::message::MAX_HEADERS;

fn judged(from: PeerId, verdict: HeadersVerdict) -> ledger::Output {
    ledger::Output::HeadersJudged { from, verdict }
}

/// Linked headers after another. Their work is not valid, but the protocol only looks at the links.
fn batch(prev: Hash, count: usize) -> Vec<Header> {
    let mut list: Vec<Header> = Vec::new();
    for _ in 0..count {
        let prev = list.last().map_or(prev, Header::hash);
        list.push(Header { prev, ..Header::decode(&[0; 80]) });
    }
    list
}

/// The newest hash of the one question that the peer is asked, if it is asked.
fn asked_after(peer: PeerId, outputs: &[Output]) -> Option<Hash> {
    match &to(peer, outputs)[..] {
        [] => None,
        [Message::GetHeaders { locator }] => Some(locator[0]),
        other => panic!("{other:?}"),
    }
}

fn started_bench() -> (Bench, PeerId) {
    let mut bench = Bench::new();
    bench.ledger(started());
    let peer = bench.peer(5_000);
    (bench, peer)
}

#[test]
fn a_chain_without_enough_work_is_asked_on_and_then_once_more() {
    let (mut bench, peer) = started_bench();
    let list = batch(Hash::ZERO, MAX_HEADERS);
    let last = list[MAX_HEADERS - 1].hash();
    bench.say(peer, Message::Headers(list));
    let low = |next| judged(peer, HeadersVerdict::LowWork { next });
    assert_eq!(asked_after(peer, &bench.ledger(low(Some(last)))), Some(last));
    // The last batch is not full, but heavy enough: all of it is asked for again, unconditionally.
    bench.say(peer, Message::Headers(batch(last, 10)));
    let after = network().genesis_hash();
    let outputs = bench.ledger(judged(peer, HeadersVerdict::Again { after }));
    assert_eq!(asked_after(peer, &outputs), Some(after));
    // A chain that ends without enough work is left alone.
    bench.say(peer, Message::Headers(batch(after, 10)));
    let end = Hash([7; 32]);
    assert_eq!(asked_after(peer, &bench.ledger(low(Some(end)))), None);
    bench.say(peer, Message::Headers(batch(after, MAX_HEADERS)));
    assert_eq!(asked_after(peer, &bench.ledger(low(None))), None);
}

#[test]
fn news_in_between_do_not_make_it_begin_anew() {
    let (mut bench, peer) = started_bench();
    let list = batch(Hash::ZERO, MAX_HEADERS);
    let last = list[MAX_HEADERS - 1].hash();
    bench.say(peer, Message::Headers(list.clone()));
    bench.ledger(judged(peer, HeadersVerdict::LowWork { next: Some(last) }));
    // News that do not connect are answered by a question for what comes next, however often.
    for _ in 0..20 {
        bench.say(peer, Message::Headers(batch(Hash([9; 32]), 1)));
        let outputs = bench.ledger(judged(peer, HeadersVerdict::Unconnected));
        assert_eq!(dropped(peer, &outputs), None);
        assert_eq!(asked_after(peer, &outputs), Some(last));
    }
    // So an answer can come twice; the second leads to no third question.
    bench.say(peer, Message::Headers(list));
    let outputs = bench.ledger(judged(peer, HeadersVerdict::Unconnected));
    assert_eq!(asked_after(peer, &outputs), None);
    // Once something of it is kept, questions are the usual ones.
    bench.say(peer, Message::Headers(batch(Hash::ZERO, 1)));
    bench.ledger(accepted(peer, &blocks(1, &[])[0]));
    bench.say(peer, Message::Headers(batch(Hash([9; 32]), 1)));
    let outputs = bench.ledger(judged(peer, HeadersVerdict::Unconnected));
    assert_eq!(asked_after(peer, &outputs), Some(network().genesis_hash()));
}

#[test]
fn who_is_on_another_chain_is_dropped_without_blame() {
    let (mut bench, peer) = started_bench();
    bench.say(peer, Message::Headers(batch(Hash::ZERO, 3)));
    let outputs = bench.ledger(judged(peer, HeadersVerdict::OtherChain));
    let reason = dropped(peer, &outputs).expect("it is of no use");
    assert_eq!(reason, Reason::OtherChain);
    assert!(!reason.is_violation());
}

#[test]
fn the_ledger_hears_last_that_a_peer_is_gone() {
    let (mut bench, peer) = started_bench();
    let mut outputs = bench.say(peer, Message::Headers(batch(Hash::ZERO, 3)));
    outputs.extend(bench.input(Input::Disconnected { peer, reason: Reason::Closed }));
    let work = |output: Output| match output {
        Output::Work(work) => Some(work),
        _ => None,
    };
    let works: Vec<Work> = outputs.into_iter().filter_map(work).collect();
    assert!(
        matches!(&works[..], [Work::Headers { .. }, Work::Gone { peer: gone }] if *gone == peer),
        "{works:?}"
    );
    assert!(bench.say(peer, Message::Headers(batch(Hash::ZERO, 3))).is_empty());
}

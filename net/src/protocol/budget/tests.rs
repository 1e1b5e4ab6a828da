use chain::Hash;
use chain::header::Header;

use super::*;
use crate::protocol::fixture::*;
use crate::protocol::{Input, Output, Reason, Served};

const RATE: Rate = Rate::per_second(100, 10);

#[test]
fn what_is_spent_comes_back_with_time_and_no_more_than_fits() {
    let mut budget = Budget::new(RATE, 1000, Millis(0));
    assert_eq!(budget.available(Millis(0)), 100, "no more than fits");
    assert_eq!(budget.spend(60, Millis(0)), None);
    assert_eq!(budget.available(Millis(99)), 40);
    assert_eq!(budget.available(Millis(100)), 41, "ten a second");
    assert_eq!(budget.available(Millis(1_000_000)), 100);
}

#[test]
fn every_millisecond_counts_however_often_one_looks() {
    let mut budget = Budget::new(RATE, 0, Millis(0));
    (0..=1000).for_each(|ms| assert!(budget.available(Millis(ms)) <= 10));
    assert_eq!(budget.available(Millis(1000)), 10);
}

#[test]
fn a_debt_lasts_until_it_is_paid_and_is_bounded() {
    let mut budget = Budget::new(RATE, 100, Millis(0));
    assert_eq!(budget.spend(120, Millis(0)), Some(Millis(2100)), "20 tokens, and one to spend");
    assert_eq!(budget.available(Millis(2100)), 1);
    let until = budget.spend(u64::MAX, Millis(2100)).unwrap();
    assert_eq!(until, Millis(2100 + 10_100), "never more than a full bucket");
    assert_eq!(budget.spend(0, until), None);
}

#[test]
fn a_token_can_take_seconds() {
    let mut budget = Budget::new(Rate::one_in(1000, 10_000), 0, Millis(0));
    assert_eq!(budget.empty_until(), Some(Millis(10_000)));
    assert_eq!((budget.available(Millis(9_999)), budget.available(Millis(10_000))), (0, 1));
}

#[test]
fn time_that_goes_back_gives_nothing() {
    let mut budget = Budget::new(RATE, 0, Millis(5000));
    assert_eq!(budget.available(Millis(1000)), 0);
    assert_eq!(budget.available(Millis(5100)), 1);
}

/// Until when the outputs let a peer rest.
fn rest(peer: PeerId, outputs: &[Output]) -> Option<Millis> {
    outputs.iter().find_map(|output| match output {
        Output::Rest { peer: whom, until } if *whom == peer => Some(*until),
        _ => None,
    })
}

#[test]
fn a_peer_that_asks_too_much_is_not_read_for_a_while() {
    let mut bench = Bench::new();
    let (peer, other) = (bench.peer(0), bench.peer(0));
    let ask = Message::GetHeaders { locator: vec![Hash::ZERO] };
    let first =
        (1..1000).find_map(|count| Some((count, rest(peer, &bench.say(peer, ask.clone()))?)));
    let (count, until) = first.expect("nobody may ask without end");
    assert_eq!(count, 50, "what it has at first");
    assert!(until > bench.now && until < bench.now + 10);
    // What was read already still counts, up to a debt of a second.
    let last = (0..1000).filter_map(|_| rest(peer, &bench.say(peer, ask.clone()))).last();
    assert_eq!(last, Some(bench.now + 1001));
    assert_eq!(rest(other, &bench.say(other, ask.clone())), None);
    bench.pass(1001);
    assert_eq!(rest(peer, &bench.say(peer, Message::Pong(1))), None);
    assert_eq!(dropped(peer, &bench.say(peer, ask)), None);
}

#[test]
fn nobody_rests_for_relaying_thousands_of_transactions_a_second() {
    let mut bench = Bench::new();
    bench.ledger(started());
    let peer = bench.peer(0);
    for batch in 0..50_u32 {
        let id = |number: u32| chain::sha256d(&(1000 * batch + number).to_le_bytes());
        let txids: Vec<Hash> = (0..1000).map(id).collect();
        let announced = Message::AnnounceTransactions { txids: txids.clone() };
        assert_eq!(rest(peer, &bench.say(peer, announced)), None);
        assert_eq!(rest(peer, &bench.say(peer, Message::GetTransactions { txids })), None);
        bench.pass(100); // ten thousand a second, each announced and asked for
    }
}

#[test]
fn nobody_rests_for_catching_up() {
    let mut bench = Bench::new();
    let peer = bench.peer(0);
    let block = || Some(vec![0; 300]);
    for batch in 0..1000_u32 {
        let id = |number: u32| chain::sha256d(&(16 * batch + number).to_le_bytes());
        let hashes: Vec<Hash> = (0..16).map(id).collect();
        let ask = Message::GetBlocks { hashes: hashes.clone() };
        assert_eq!(rest(peer, &bench.say(peer, ask)), None, "after {batch} questions");
        for hash in hashes {
            bench.input(Input::Served { peer, served: Served::Block { hash, bytes: block() } });
        }
        bench.pass(2); // 8000 blocks a second
    }
}

#[test]
fn headers_cost_only_who_was_not_asked_for_them() {
    let mut bench = Bench::new();
    bench.ledger(started());
    let peer = bench.peer(0); // it is asked for headers at once
    let header = |nonce| Header { nonce, ..Header::decode(&[0; 80]) };
    let mut batch = vec![header(0)];
    (1..2000).for_each(|nonce| {
        let prev = batch.last().map(Header::hash).expect("there is one");
        batch.push(Header { prev, ..header(nonce) });
    });
    let before = bench.protocol.budgets.0[&peer];
    bench.say(peer, Message::Headers(batch.clone()));
    assert_eq!(bench.protocol.budgets.0[&peer].parts, before.parts);
    bench.say(peer, Message::Headers(batch));
    assert_eq!(bench.protocol.budgets.0[&peer].parts, before.parts - parts(20_010));
}

#[test]
fn of_unasked_headers_no_more_than_a_batch_waits_for_the_ledger() {
    let mut bench = Bench::new();
    bench.ledger(started());
    let peer = bench.peer(0);
    let header = |nonce| Header { nonce, ..Header::decode(&[0; 80]) };
    let mut chain = vec![header(0)];
    (1..2000).for_each(|nonce| {
        let prev = chain.last().map(Header::hash).expect("there is one");
        chain.push(Header { prev, ..header(nonce) });
    });
    assert_eq!(works(&bench.say(peer, Message::Headers(chain.clone()))).len(), 1);
    assert_eq!(works(&bench.say(peer, Message::Headers(chain.clone()))), []);
    assert_eq!(works(&bench.say(peer, Message::Headers(chain[..1].to_vec()))).len(), 1);
    assert_eq!(dropped(peer, &bench.say(peer, Message::Headers(chain))), None, "and no fault");
}

#[test]
fn pings_of_a_peer_that_does_not_read_are_not_answered() {
    let mut bench = Bench::new();
    let peer = bench.peer(0);
    bench.input(Input::Backlogged { peer });
    assert_eq!(to(peer, &bench.say(peer, Message::Ping(1))), []);
    bench.input(Input::Drained { peer });
    assert_eq!(to(peer, &bench.say(peer, Message::Ping(2))), [Message::Pong(2)]);
}

#[test]
fn who_is_discouraged_does_not_get_as_far_as_a_handshake() {
    let mut bench = Bench::new();
    let (peer, _) = bench.connect(crate::Direction::Inbound, node(1), address(1, 1));
    assert!(bench.protocol.may_knock(address(1, 2).ip(), bench.now));
    let outputs = bench.input(Input::BadPayload { peer, what: "nonsense".to_string() });
    assert!(matches!(dropped(peer, &outputs), Some(Reason::Chain(_))));
    assert!(!bench.protocol.may_knock(address(1, 2).ip(), bench.now));
    assert!(bench.protocol.may_knock(address(2, 2).ip(), bench.now));
}

#[test]
fn answers_about_new_blocks_are_made_little_by_little() {
    let mut bench = Bench::new();
    bench.ledger(started());
    let peer = bench.peer(0);
    let chain = blocks(1, &transactions(4000)); // 0.6 MB of transactions
    bench.ledger(connected(&chain));
    bench.input(Input::Backlogged { peer });
    let indexes: Vec<u16> = (0..4000).collect();
    for _ in 0..4 {
        let hash = chain[0].hash();
        bench.say(peer, Message::GetBlockTransactions { hash, indexes: indexes.clone() });
    }
    let answers = |outputs: &[Output]| {
        let sent = to(peer, outputs);
        sent.iter().filter(|one| matches!(one, Message::BlockTransactions { .. })).count()
    };
    assert_eq!(answers(&bench.input(Input::Drained { peer })), 2, "a MiB is enough");
    let is_due = bench.protocol.wake_at().is_some_and(|at| at <= bench.now);
    assert!(is_due, "the others follow if it reads");
    assert_eq!(answers(&bench.input(Input::Tick)), 2);
}

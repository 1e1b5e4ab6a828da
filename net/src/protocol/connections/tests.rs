use chain::ledger;

use crate::protocol::fixture::*;
use crate::protocol::*;
use crate::wire::{CompactBlock, NodeId};

/// An address of a group of its own.
fn elsewhere(number: u8) -> SocketAddr {
    SocketAddr::from(([100, number, 0, 1], 7400))
}

fn book_of(list: impl IntoIterator<Item = SocketAddr>) -> AddressBook {
    let mut book = AddressBook::default();
    list.into_iter().for_each(|address| {
        book.heard(address, address.ip(), START.0 / 1000, START);
    });
    book
}

fn dials(outputs: &[Output]) -> Vec<SocketAddr> {
    let dials = outputs.iter().filter_map(|output| match output {
        Output::Connect(address) => Some(*address),
        _ => None,
    });
    dials.collect()
}

/// An inbound peer that has said hello.
fn knock(bench: &mut Bench, number: u8, address: SocketAddr) -> (PeerId, Vec<Output>) {
    let (peer, outputs) = bench.connect(Direction::Inbound, node(number), address);
    bench.say(peer, hello(0));
    (peer, outputs)
}

#[test]
fn inbound_slots_are_limited() {
    let mut bench = Bench::with(Config { inbound_slots: 4, ..Config::new(node(0)) });
    for number in 1..=4 {
        knock(&mut bench, number, elsewhere(number));
    }
    let (fifth, outputs) = knock(&mut bench, 5, elsewhere(5));
    assert_eq!(dropped(fifth, &outputs), Some(Reason::Full), "all others are protected");
    let (out, outputs) = bench.connect(Direction::Outbound, node(10), elsewhere(10));
    assert_eq!(dropped(out, &outputs), None);
}

#[test]
fn who_brought_something_stays_when_a_slot_is_needed() {
    let mut bench = Bench::with(Config { inbound_slots: 4, ..Config::new(node(0)) });
    bench.ledger(started());
    let peers: Vec<PeerId> = (1..=4)
        .map(|number| {
            bench.now = bench.now + 10;
            knock(&mut bench, number, address(number, 1)).0
        })
        .collect();
    // The youngest has brought a block, and the one before it a transaction.
    let (blocks, transaction) = (blocks(1, &[]), transactions(1).remove(0));
    bench.say(peers[3], Message::Headers(headers(&blocks)));
    bench.ledger(accepted(peers[3], &blocks[0]));
    bench.ledger(wanted(&blocks));
    bench.say(peers[3], Message::CompactBlock(CompactBlock::of(&blocks[0], 0)));
    bench.ledger(connected(&blocks));
    let from = Some(peers[2]);
    bench.ledger(ledger::Output::Pooled { transaction, from, reverted: false });
    let (fifth, outputs) = knock(&mut bench, 5, elsewhere(5));
    assert_eq!(dropped(fifth, &outputs), None);
    assert_eq!(dropped(peers[1], &outputs), Some(Reason::Evicted));
    let list = bench.peers();
    let of = |peer| list.iter().find(|info| info.id == peer).unwrap();
    assert_eq!(of(peers[3]).last_block, Some(bench.now));
    assert_eq!(of(peers[2]).last_transaction, Some(bench.now));
    assert_eq!((of(peers[0]).last_block, of(peers[0]).last_transaction), (None, None));
    assert_eq!(of(fifth).group.to_string(), "100.5.0.0/16");
}

#[test]
fn a_feeler_asks_nothing_and_makes_an_address_tried() {
    let config = Config { outbound_slots: 1, ..Config::new(node(0)) };
    let mut bench = Bench::with_book(config, book_of((1..=2).map(elsewhere)));
    let slot = dials(&bench.input(Input::Tick))[0];
    let (peer, _) = bench.connect(Direction::Outbound, node(1), slot);
    let outputs = bench.say(peer, hello(0));
    let nonce = to(peer, &outputs).into_iter().find_map(|message| match message {
        Message::Ping(nonce) => Some(nonce),
        _ => None,
    });
    bench.say(peer, Message::Pong(nonce.unwrap()));
    let feeler = dials(&bench.pass(120_000))[0];
    assert!(feeler != slot && !bench.protocol.book().is_tried(&feeler));
    let (tried, outputs) = bench.connect(Direction::Outbound, node(2), feeler);
    assert_eq!(to(tried, &outputs), [], "not even hello");
    assert_eq!(dropped(tried, &outputs), Some(Reason::Tried));
    assert!(bench.protocol.book().is_tried(&feeler));
}

#[test]
fn the_best_chosen_peers_are_dialled_first_after_a_start() {
    let fixed = elsewhere(1);
    let config = Config { peers: vec![fixed], ..Config::new(node(0)) };
    let mut bench = Bench::with_book(config.clone(), book_of((2..=6).map(elsewhere)));
    bench.ledger(started());
    let mut peers = Vec::new();
    for number in 1..=6 {
        bench.now = bench.now + 10;
        let (peer, _) = bench.connect(Direction::Outbound, node(number), elsewhere(number));
        bench.say(peer, hello(0));
        peers.push(peer);
    }
    let blocks = blocks(1, &[]);
    bench.say(peers[4], Message::Headers(headers(&blocks)));
    bench.ledger(accepted(peers[4], &blocks[0]));
    bench.ledger(wanted(&blocks));
    bench.say(peers[4], Message::CompactBlock(CompactBlock::of(&blocks[0], 0)));
    bench.ledger(connected(&blocks));
    let book = AddressBook::decode(&bench.protocol.save_book()).unwrap();
    let config = Config { outbound_slots: 2, ..config };
    let mut again = Bench::with_book(config, book);
    let first = dials(&again.input(Input::Tick));
    assert_eq!(first, [fixed, elsewhere(5), elsewhere(2)], "a block, then the longest time");
    assert!(!again.protocol.save_book().is_empty());
    let kept = AddressBook::decode(&again.protocol.save_book()).unwrap();
    assert_eq!(kept.anchors(), [elsewhere(5), elsewhere(2)], "until there are better ones");
}

fn ban(subnet: &str, until: Millis) -> Ban {
    Ban { subnet: subnet.parse().unwrap(), until }
}

#[test]
fn bans_hit_at_once_and_end() {
    let fixed = address(9, 7400);
    let config = Config { peers: vec![fixed], ..Config::new(node(0)) };
    let mut bench = Bench::with_book(config, book_of([elsewhere(1)]));
    let both = dials(&bench.input(Input::Tick));
    assert_eq!(both, [fixed, elsewhere(1)]);
    let (hit, _) = bench.connect(Direction::Outbound, node(9), fixed);
    bench.say(hit, hello(0));
    let (near, _) = knock(&mut bench, 2, address(200, 1));
    let end = bench.now + 50_000;
    let outputs = bench.input(Input::Bans(vec![ban("203.0.113.0/25", end)]));
    assert_eq!(dropped(hit, &outputs), Some(Reason::Banned));
    assert_eq!(dropped(near, &outputs), None);
    assert!(!bench.protocol.may_knock(fixed.ip(), bench.now));
    assert!(bench.protocol.may_knock(address(200, 1).ip(), bench.now));
    // Neither is it let in, nor dialled, nor told of.
    let (again, outputs) = bench.connect(Direction::Inbound, node(9), address(9, 5));
    assert_eq!(dropped(again, &outputs), Some(Reason::Banned));
    let rumour = KnownAddress { ip: fixed.ip(), port: 1, last_seen_s: START.0 / 1000 };
    bench.say(near, Message::Addresses(vec![rumour]));
    assert!(!bench.protocol.book().contains(&rumour.socket()));
    assert_eq!(dials(&bench.pass(49_000)), []);
    assert_eq!(dials(&bench.pass(9_000)), [fixed], "the ban has ended");
    let outputs = bench.input(Input::Bans(Vec::new()));
    assert_eq!(dropped(near, &outputs), None);
}

#[test]
fn with_chosen_peers_there_are_no_others() {
    let fixed = address(1, 7400);
    let config = Config {
        peers: vec![fixed],
        exclusive: true,
        listen_port: Some(7400),
        ..Config::new(node(0))
    };
    let mut bench = Bench::with_book(config, book_of((2..=9).map(elsewhere)));
    assert_eq!(dials(&bench.input(Input::Tick)), [fixed]);
    let (chosen, outputs) = bench.connect(Direction::Outbound, node(1), fixed);
    let [Message::Hello(said)] = &to(chosen, &outputs)[..] else { panic!("{outputs:?}") };
    assert_eq!(said.listen_port, None, "it does not want to be told of");
    let outputs = bench.say(chosen, hello(0));
    assert!(!to(chosen, &outputs).contains(&Message::GetAddresses));
    let rumour = KnownAddress { ip: elsewhere(50).ip(), port: 1, last_seen_s: START.0 / 1000 };
    bench.say(chosen, Message::Addresses(vec![rumour]));
    assert!(!bench.protocol.book().contains(&rumour.socket()));
    let (stranger, outputs) = knock(&mut bench, 5, elsewhere(5));
    assert_eq!(dropped(stranger, &outputs), Some(Reason::Stranger));
    assert!(!bench.protocol.may_knock(elsewhere(5).ip(), bench.now));
    assert!(bench.protocol.may_knock(fixed.ip(), bench.now), "the chosen peer may come to us");
    assert_eq!(dials(&bench.pass(50_000)), [], "neither slots nor feelers");
}

#[test]
fn a_full_node_is_asked_ever_more_seldom() {
    let mut bench = Bench::with_book(Config::new(node(0)), book_of([elsewhere(1)]));
    let mut count = dials(&bench.input(Input::Tick)).len();
    for _ in 0..600 {
        if count > 0 && bench.protocol.peers.iter().next().is_none() {
            let (peer, _) = bench.connect(Direction::Outbound, NodeId([1; 32]), elsewhere(1));
            // It lets us in and sends us away, because all of its slots are taken.
            let outputs = bench.input(Input::Disconnected { peer, reason: Reason::Closed });
            assert_eq!(dials(&outputs), []);
        }
        loop {
            let more = dials(&bench.pass(1000)).len();
            count += more;
            if more > 0 || bench.now > START + 1_800_000 {
                break;
            }
        }
    }
    assert!((5..=20).contains(&count), "{count} times in half an hour");
}

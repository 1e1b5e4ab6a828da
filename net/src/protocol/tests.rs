use super::fixture::*;
use super::*;
use crate::wire::message::MAX_ADDRESSES;
use crate::wire::noise::PacketError;
use crate::wire::{NEWEST_VERSION, WireError};

fn addresses(list: &[SocketAddr]) -> Vec<KnownAddress> {
    let known = |address: &SocketAddr| KnownAddress {
        ip: address.ip(),
        port: address.port(),
        last_seen_s: START.0 / 1000,
    };
    list.iter().map(known).collect()
}

fn dials(outputs: &[Output]) -> Vec<SocketAddr> {
    let dials = outputs.iter().filter_map(|output| match output {
        Output::Connect(address) => Some(*address),
        _ => None,
    });
    dials.collect()
}

#[test]
fn both_say_hello_first() {
    let mut bench = Bench::new();
    let (peer, outputs) = bench.connect(Direction::Outbound, node(1), address(1, 7400));
    let [Message::Hello(hello)] = &to(peer, &outputs)[..] else { panic!("{outputs:?}") };
    assert_eq!((hello.protocol, hello.listen_port), (NEWEST_VERSION, Some(7400)));
    let outputs = bench.say(peer, Message::Ping(1));
    assert_eq!(dropped(peer, &outputs), Some(Reason::Protocol("message before hello")));
}

#[test]
fn a_second_hello_is_a_violation() {
    let mut bench = Bench::new();
    let peer = bench.peer(0);
    assert_eq!(dropped(peer, &bench.say(peer, hello(0))), Some(Reason::Protocol("second hello")));
}

#[test]
fn long_agents_are_cut_at_a_character() {
    let agent = "ä".repeat(40);
    let mut bench = Bench::with(Config { agent, ..Config::new(node(0)) });
    let (peer, outputs) = bench.connect(Direction::Inbound, node(1), address(1, 1));
    let [Message::Hello(hello)] = &to(peer, &outputs)[..] else { panic!("{outputs:?}") };
    assert_eq!(hello.agent, "ä".repeat(32));
}

#[test]
fn a_silent_connection_ends_after_ten_seconds() {
    let mut bench = Bench::new();
    let (peer, _) = bench.connect(Direction::Inbound, node(1), address(1, 1));
    assert_eq!(dropped(peer, &bench.pass(9_900)), None);
    assert_eq!(dropped(peer, &bench.pass(200)), Some(Reason::HelloTimeout));
}

#[test]
fn we_do_not_talk_to_ourselves() {
    let mut bench = Bench::with(Config { peers: vec![address(1, 7400)], ..Config::new(node(0)) });
    assert_eq!(dials(&bench.input(Input::Tick)), [address(1, 7400)]);
    let (peer, outputs) = bench.connect(Direction::Outbound, node(0), address(1, 7400));
    assert_eq!(dropped(peer, &outputs), Some(Reason::Myself));
    assert_eq!(dials(&bench.pass(600_000)), [], "and do not try it again");
}

#[test]
fn a_second_connection_to_a_node_is_refused_and_the_first_is_probed() {
    let mut bench = Bench::new();
    let (first, _) = bench.connect(Direction::Inbound, node(1), address(1, 1));
    let outputs = bench.say(first, hello(0));
    bench.say(first, Message::Pong(ping(first, &outputs)));
    let (second, outputs) = bench.connect(Direction::Inbound, node(1), address(1, 2));
    assert_eq!(dropped(second, &outputs), Some(Reason::Duplicate));
    ping(first, &outputs);
    // If the first is dead, its place is free a minute later.
    assert_eq!(dropped(first, &bench.pass(59_000)), None);
    assert_eq!(dropped(first, &bench.pass(2_000)), Some(Reason::PingTimeout));
}

/// The number of the ping among the outputs.
fn ping(peer: PeerId, outputs: &[Output]) -> u64 {
    let nonce = to(peer, outputs).into_iter().find_map(|message| match message {
        Message::Ping(nonce) => Some(nonce),
        _ => None,
    });
    nonce.expect("a ping")
}

#[test]
fn nodes_that_dial_each_other_at_once_keep_the_same_connection() {
    for (own, other) in [(1, 2), (2, 1)] {
        for first_is_ours in [true, false] {
            let mut bench = Bench::with(Config::new(node(own)));
            let ways = match first_is_ours {
                true => [Direction::Outbound, Direction::Inbound],
                false => [Direction::Inbound, Direction::Outbound],
            };
            let (first, mut outputs) = bench.connect(ways[0], node(other), address(1, 1));
            let (second, more) = bench.connect(ways[1], node(other), address(1, 2));
            outputs.extend(more);
            // The connection that the node with the smaller id opened stays.
            let ours_stays = own < other;
            let first_stays = first_is_ours == ours_stays;
            let (kept, lost) = if first_stays { (first, second) } else { (second, first) };
            assert_eq!(dropped(kept, &outputs), None);
            assert_eq!(dropped(lost, &outputs), Some(Reason::Duplicate));
        }
    }
}

#[test]
fn pings_are_answered_and_measured() {
    let mut bench = Bench::new();
    let (peer, _) = bench.connect(Direction::Inbound, node(1), address(1, 1));
    let outputs = bench.say(peer, hello(0));
    let nonce = ping(peer, &outputs);
    bench.pass(30);
    bench.say(peer, Message::Pong(nonce ^ 1));
    assert_eq!(bench.protocol.pings.round_trip_ms(peer), None);
    bench.say(peer, Message::Pong(nonce));
    assert_eq!(bench.protocol.pings.round_trip_ms(peer), Some(30));
    assert_eq!(to(peer, &bench.say(peer, Message::Ping(77))), [Message::Pong(77)]);
    assert_eq!(to(peer, &bench.pass(121_000)).len(), 1, "a ping every two minutes");
}

#[test]
fn a_dead_peer_is_noticed() {
    let mut bench = Bench::new();
    let peer = bench.peer(0);
    assert_eq!(dropped(peer, &bench.pass(59_000)), None);
    assert_eq!(dropped(peer, &bench.pass(2_000)), Some(Reason::PingTimeout));
}

#[test]
fn who_broke_a_rule_is_avoided_for_a_day() {
    let mut bench = Bench::new();
    let (peer, _) = bench.connect(Direction::Inbound, node(1), address(1, 1));
    bench.input(Input::BadPayload { peer, what: "nonsense".to_string() });
    let (again, outputs) = bench.connect(Direction::Inbound, node(2), address(1, 2));
    assert_eq!(dropped(again, &outputs), Some(Reason::Discouraged));
    bench.input(Input::Message { peer, message: Message::Ping(1) });
    bench.now = bench.now + 24 * 3600 * 1000;
    let (later, outputs) = bench.connect(Direction::Inbound, node(2), address(1, 2));
    assert_eq!(dropped(later, &outputs), None);
}

#[test]
fn a_garbled_line_proves_nothing_against_the_peer() {
    let garbled = || Reason::Wire(WireError::Packet(PacketError));
    let fixed = address(1, 7400);
    let mut bench = Bench::with(Config { peers: vec![fixed], ..Config::new(node(0)) });
    assert_eq!(dials(&bench.input(Input::Tick)), [fixed]);
    let (peer, _) = bench.connect(Direction::Outbound, node(1), fixed);
    bench.say(peer, hello(0));
    bench.input(Input::Disconnected { peer, reason: garbled() });
    assert_eq!(dials(&bench.pass(2_000)), [fixed], "it is dialled again soon");
    let (peer, _) = bench.connect(Direction::Inbound, node(2), address(2, 1));
    bench.say(peer, hello(0));
    bench.input(Input::Disconnected { peer, reason: garbled() });
    let (again, outputs) = bench.connect(Direction::Inbound, node(2), address(2, 2));
    assert_eq!(dropped(again, &outputs), None);
}

#[test]
fn other_programs_on_this_machine_do_not_suffer() {
    let mut bench = Bench::new();
    let here = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let (peer, _) = bench.connect(Direction::Inbound, node(1), here(1));
    bench.input(Input::BadPayload { peer, what: "nonsense".to_string() });
    let (other, outputs) = bench.connect(Direction::Inbound, node(2), here(2));
    assert_eq!(dropped(other, &outputs), None);
}

#[test]
fn addresses_are_asked_for_once_and_given_once() {
    let mut bench = Bench::new();
    let (out, _) = bench.connect(Direction::Outbound, node(1), address(1, 7400));
    let outputs = bench.say(out, hello(0));
    assert!(to(out, &outputs).contains(&Message::GetAddresses));
    let inbound = bench.peer(0);
    let outputs = bench.say(inbound, Message::GetAddresses);
    let expected =
        [KnownAddress { last_seen_s: START.0 / 1000, ..addresses(&[address(1, 7400)])[0] }];
    assert_eq!(to(inbound, &outputs), [Message::Addresses(expected.to_vec())]);
    assert_eq!(to(inbound, &bench.say(inbound, Message::GetAddresses)), []);
}

#[test]
fn fresh_addresses_travel_on_and_floods_do_not() {
    let mut bench = Bench::with(Config { outbound_slots: 0, ..Config::new(node(0)) });
    let (from, other) = (bench.peer(0), bench.peer(0));
    let fresh = addresses(&[address(200, 7400)]);
    let outputs = bench.say(from, Message::Addresses(fresh.clone()));
    assert_eq!(to(other, &outputs), [Message::Addresses(fresh.clone())]);
    assert_eq!(to(from, &outputs), []);
    assert_eq!(to(other, &bench.say(from, Message::Addresses(fresh))), [], "no news any more");
    let flood: Vec<SocketAddr> =
        (0..1000_u32).map(|n| SocketAddr::from(((0x0b00_0000 + n).to_be_bytes(), 1))).collect();
    let before = bench.protocol.book.len();
    bench.say(from, Message::Addresses(addresses(&flood)));
    let flood: Vec<SocketAddr> =
        (0..1000_u32).map(|n| SocketAddr::from(((0x0c00_0000 + n).to_be_bytes(), 1))).collect();
    bench.say(from, Message::Addresses(addresses(&flood)));
    assert!(bench.protocol.book.len() - before < MAX_ADDRESSES, "the bucket is empty");
}

#[test]
fn an_inbound_peer_is_known_by_the_port_it_listens_at() {
    let mut bench = Bench::new();
    let (peer, _) = bench.connect(Direction::Inbound, node(1), address(1, 50_000));
    let Message::Hello(hello) = hello(0) else { panic!("it is one") };
    bench.say(peer, Message::Hello(Hello { listen_port: Some(7400), ..hello }));
    assert!(bench.protocol.book().contains(&address(1, 7400)));
    assert!(!bench.protocol.book().contains(&address(1, 50_000)));
}

#[test]
fn peers_of_the_book_are_dialled_and_lost_ones_redialled() {
    let mut book = AddressBook::default();
    book.heard(address(1, 7400), address(1, 1).ip(), START.0 / 1000, START);
    let mut bench = Bench::with_book(Config::new(node(0)), book);
    assert_eq!(dials(&bench.input(Input::Tick)), [address(1, 7400)]);
    let (peer, _) = bench.connect(Direction::Outbound, node(1), address(1, 7400));
    bench.say(peer, hello(0));
    bench.input(Input::Disconnected { peer, reason: Reason::Closed });
    assert_eq!(dials(&bench.pass(3_000)), [address(1, 7400)]);
    let reason = Reason::Io("refused".to_string());
    bench.input(Input::ConnectFailed { address: address(1, 7400), reason });
    assert_eq!(dials(&bench.pass(1_000)), [], "the second failure waits longer");
    assert_eq!(dials(&bench.pass(3_000)), [address(1, 7400)]);
}

#[test]
fn requests_are_passed_on_little_by_little() {
    let mut bench = Bench::new();
    let peer = bench.peer(0);
    let hashes: Vec<chain::Hash> = (0..5).map(|number| chain::Hash([number; 32])).collect();
    let outputs = bench.say(peer, Message::GetBlocks { hashes: hashes.clone() });
    let serve = |at: usize| Work::ServeBlock { to: peer, hash: hashes[at] };
    assert_eq!(works(&outputs), [serve(0), serve(1)]);
    let served = Served::Block { hash: hashes[0], bytes: Some(vec![1; 90]) };
    let outputs = bench.input(Input::Served { peer, served });
    assert_eq!(to(peer, &outputs), [Message::Block(vec![1; 90])]);
    assert_eq!(works(&outputs), [serve(2)]);
    bench.input(Input::Backlogged { peer });
    let served = Served::Block { hash: hashes[1], bytes: None };
    let outputs = bench.input(Input::Served { peer, served });
    assert_eq!(to(peer, &outputs), [Message::NotFound { hashes: vec![hashes[1]] }]);
    assert_eq!(works(&outputs), [], "nothing more is fetched while it does not read");
    let outputs = bench.input(Input::Drained { peer });
    assert_eq!(works(&outputs), [serve(3)]);
}

#[test]
fn one_answer_of_headers_at_a_time() {
    let mut bench = Bench::new();
    let peer = bench.peer(0);
    let ask = |number| Message::GetHeaders { locator: vec![chain::Hash([number; 32])] };
    assert_eq!(works(&bench.say(peer, ask(1))).len(), 1);
    assert_eq!(works(&bench.say(peer, ask(2))), []);
    assert_eq!(works(&bench.say(peer, ask(3))), []);
    let served = Served::Headers(Vec::new());
    let outputs = bench.input(Input::Served { peer, served });
    assert_eq!(to(peer, &outputs), [Message::Headers(Vec::new())]);
    let locator = vec![chain::Hash([3; 32])];
    assert_eq!(works(&outputs), [Work::ServeHeaders { to: peer, locator }]);
}

#[test]
fn the_list_of_peers_comes_at_most_once_a_second() {
    let mut bench = Bench::new();
    let mut lists = 0;
    for number in 1..=10 {
        let (peer, address) = (PeerId(number.into()), address(number, 1));
        let direction = Direction::Inbound;
        let input = Input::Connected { peer, address, direction, node_id: node(number) };
        bench.protocol.handle(bench.now, input);
        lists += count_lists(&mut bench.protocol, 1);
    }
    assert_eq!(lists, 1);
    bench.protocol.handle(bench.now + 1000, Input::Tick);
    assert_eq!(count_lists(&mut bench.protocol, 10), 1);
    bench.protocol.handle(bench.now + 5000, Input::Tick);
    assert_eq!(count_lists(&mut bench.protocol, 10), 0, "nothing has changed");
}

fn count_lists(protocol: &mut Protocol, peers: usize) -> usize {
    let lists = std::iter::from_fn(|| protocol.poll()).filter(|output| match output {
        Output::Peers(list) => {
            assert_eq!(list.len(), peers);
            true
        }
        _ => false,
    });
    lists.count()
}

#[test]
fn equal_seeds_give_equal_outputs() {
    let run = || {
        let mut bench = Bench::new();
        let peers: Vec<PeerId> = (0..5).map(|_| bench.peer(3)).collect();
        let mut trace = bench.ledger(started());
        trace.extend(bench.say(peers[0], Message::Addresses(addresses(&[address(7, 1)]))));
        trace.extend(bench.pass(200_000));
        format!("{trace:?}")
    };
    assert_eq!(run(), run());
}

use chain::ledger;
use chain::mempool::{DropReason, Refusal};

use super::*;
use crate::Output;
use crate::protocol::fixture::*;
use crate::protocol::port::Input;

fn pooled(transaction: &CheckedTransaction, from: Option<PeerId>) -> ledger::Output {
    ledger::Output::Pooled { transaction: transaction.clone(), from, reverted: false }
}

fn ids(list: &[CheckedTransaction]) -> Vec<Hash> {
    list.iter().map(|transaction| transaction.txid()).collect()
}

fn announce(list: &[CheckedTransaction]) -> Message {
    Message::AnnounceTransactions { txids: ids(list) }
}

fn get(list: &[CheckedTransaction]) -> Message {
    Message::GetTransactions { txids: ids(list) }
}

fn deliver(list: &[CheckedTransaction]) -> Message {
    Message::Transactions(list.iter().map(|transaction| transaction.bytes().to_vec()).collect())
}

/// A node at genesis with so many peers.
fn bench(peers: usize) -> (Bench, Vec<PeerId>) {
    let mut bench = Bench::new();
    bench.ledger(started());
    let peers = (0..peers).map(|_| bench.peer(0)).collect();
    (bench, peers)
}

fn announced(peer: PeerId, outputs: &[Output]) -> Vec<Message> {
    let mut list = to(peer, outputs);
    list.retain(|message| matches!(message, Message::AnnounceTransactions { .. }));
    list
}

#[test]
fn pooled_transactions_are_announced_together_but_not_to_who_had_them() {
    let (mut bench, peers) = bench(2);
    let list = transactions(3);
    bench.say(peers[0], announce(&list[..1]));
    bench.say(peers[0], deliver(&list[..1]));
    for transaction in &list {
        assert_eq!(announced(peers[1], &bench.ledger(pooled(transaction, None))), []);
    }
    let outputs = bench.pass(1_000);
    assert_eq!(announced(peers[0], &outputs), [announce(&list[1..])]);
    assert_eq!(announced(peers[1], &outputs), [announce(&list)]);
}

#[test]
fn delays_have_their_mean_and_are_one_for_all_who_connected_to_us() {
    let timing = Timing::default();
    let list = transactions(300);
    let (mut bench, inbound) = bench(2);
    let (outbound, _) = bench.connect(Direction::Outbound, node(9), address(9, 1));
    bench.say(outbound, hello(0));
    let peers = [inbound[0], inbound[1], outbound];
    for peer in peers {
        bench.say(peer, Message::Headers(Vec::new()));
    }
    let mut sums = [0; 3];
    for transaction in &list {
        let mut outputs = bench.ledger(pooled(transaction, None));
        let pooled_at = bench.now;
        let mut waiting: Vec<usize> = (0..3).collect();
        for _ in 0..=2 * timing.announce_inbound_ms {
            waiting.retain(|at| {
                let is_told = !announced(peers[*at], &outputs).is_empty();
                sums[*at] += if is_told { bench.now - pooled_at } else { 0 };
                !is_told
            });
            outputs = bench.pass(1);
        }
        assert!(waiting.is_empty(), "twice the mean is the longest");
        // Alive, all the time.
        for peer in peers {
            bench.say(peer, Message::Ping(0));
        }
    }
    let [first, second, outbound] = sums.map(|sum| sum / list.len() as u64);
    assert_eq!(first, second);
    let near = |got: u64, mean: u64| (mean * 8 / 10..=mean * 12 / 10).contains(&got);
    assert!(near(first, timing.announce_inbound_ms), "{first} ms");
    assert!(near(outbound, timing.announce_outbound_ms), "{outbound} ms");
}

#[test]
fn a_new_peer_hears_of_the_whole_pool_in_order() {
    let (mut bench, _) = bench(0);
    let list = transactions(1500);
    for transaction in &list {
        bench.ledger(pooled(transaction, None));
    }
    bench.ledger(ledger::Output::Dropped { txid: list[0].txid(), reason: DropReason::Expired });
    let (peer, _) = bench.connect(crate::Direction::Inbound, node(1), address(1, 1));
    let mut outputs = bench.say(peer, hello(0));
    outputs.extend(bench.pass(0));
    assert_eq!(announced(peer, &outputs), [announce(&list[1..1001]), announce(&list[1001..])]);
}

#[test]
fn what_is_announced_is_fetched_once_and_passed_on() {
    let (mut bench, peers) = bench(2);
    let list = transactions(2);
    assert_eq!(to(peers[0], &bench.say(peers[0], announce(&list))), [get(&list)]);
    assert_eq!(to(peers[1], &bench.say(peers[1], announce(&list))), []);
    let outputs = bench.say(peers[0], deliver(&list));
    assert!(matches!(&works(&outputs)[..], [Work::Transactions { list, .. }] if list.len() == 2));
    // Not judged yet: another announcement fetches nothing; neither when it is in the pool.
    assert_eq!(to(peers[1], &bench.say(peers[1], announce(&list))), []);
    bench.ledger(pooled(&list[0], Some(peers[0])));
    let refusal = Refusal::Known;
    let txid = list[1].txid();
    bench.ledger(ledger::Output::Refused { from: peers[0], txid, refusal });
    assert_eq!(to(peers[1], &bench.say(peers[1], announce(&list))), []);
    // After the next block a refused one may fit.
    bench.ledger(connected(&blocks(1, &[])));
    assert_eq!(to(peers[1], &bench.say(peers[1], announce(&list))), [get(&list[1..])]);
}

#[test]
fn an_undelivered_transaction_is_asked_of_the_next_peer() {
    let (mut bench, peers) = bench(3);
    let list = transactions(1);
    for peer in &peers {
        bench.say(*peer, announce(&list));
    }
    assert_eq!(to(peers[1], &bench.pass(4_900)), []);
    assert_eq!(to(peers[1], &bench.pass(200)), [get(&list)]);
    // The second leaves: the third is asked at once.
    let reason = Reason::Closed;
    let outputs = bench.input(Input::Disconnected { peer: peers[1], reason });
    assert_eq!(to(peers[2], &outputs), [get(&list)]);
    // The first delivers after all.
    let outputs = bench.say(peers[0], deliver(&list));
    assert_eq!((works(&outputs).len(), dropped(peers[0], &outputs)), (1, None));
    let outputs = bench.say(peers[2], deliver(&list));
    assert_eq!((works(&outputs).len(), dropped(peers[2], &outputs)), (0, None));
}

#[test]
fn a_transaction_nobody_asked_for_is_a_violation() {
    let (mut bench, peers) = bench(1);
    let outputs = bench.say(peers[0], deliver(&transactions(1)));
    let reason = Reason::Protocol("transaction was not asked for");
    assert_eq!(dropped(peers[0], &outputs), Some(reason));
}

#[test]
fn bytes_that_are_no_transaction_are_a_violation() {
    let (mut bench, peers) = bench(1);
    let outputs = bench.say(peers[0], Message::Transactions(vec![vec![1, 2, 3]]));
    assert!(dropped(peers[0], &outputs).is_some_and(|reason| reason.is_violation()));
}

#[test]
fn at_most_a_hundred_are_asked_of_one_peer_at_a_time() {
    let (mut bench, peers) = bench(1);
    let list = transactions(150);
    assert_eq!(to(peers[0], &bench.say(peers[0], announce(&list))), [get(&list[..100])]);
    let outputs = bench.say(peers[0], deliver(&list[..10]));
    assert_eq!(to(peers[0], &outputs), [get(&list[100..110])]);
}

#[test]
fn announcements_beyond_the_queue_are_ignored() {
    let (mut bench, peers) = bench(1);
    for batch in 0..7_u32 {
        let id = |number: u32| {
            let mut hash = [0; 32];
            hash[..4].copy_from_slice(&(batch * 1000 + number).to_le_bytes());
            Hash(hash)
        };
        let txids = (0..1000).map(id).collect();
        bench.say(peers[0], Message::AnnounceTransactions { txids });
    }
    let holder_queue = bench.protocol.relay.fetches.queued(peers[0]);
    assert!((4900..=5000).contains(&holder_queue), "{holder_queue}");
}

#[test]
fn nothing_is_fetched_while_catching_up() {
    let (mut bench, peers) = bench(1);
    let chain = blocks(5, &[]);
    bench.ledger(wanted(&chain));
    let list = transactions(1);
    assert_eq!(to(peers[0], &bench.say(peers[0], announce(&list))), []);
    assert!(to(peers[0], &bench.ledger(connected(&chain))).contains(&get(&list)));
}

#[test]
fn the_pool_is_served_in_full_messages_while_the_peer_reads() {
    let (mut bench, peers) = bench(1);
    let list = transactions(3);
    list.iter().for_each(|transaction| {
        bench.ledger(pooled(transaction, None));
    });
    assert_eq!(to(peers[0], &bench.say(peers[0], get(&list))), [deliver(&list)]);
    bench.input(Input::Backlogged { peer: peers[0] });
    assert_eq!(to(peers[0], &bench.say(peers[0], get(&list[..2]))), []);
    bench.ledger(ledger::Output::Dropped { txid: list[0].txid(), reason: DropReason::Expired });
    let outputs = bench.input(Input::Drained { peer: peers[0] });
    assert_eq!(to(peers[0], &outputs), [deliver(&list[1..2])]);
}

#[test]
fn a_transaction_in_a_block_is_neither_served_nor_fetched() {
    let (mut bench, peers) = bench(1);
    let list = transactions(1);
    bench.ledger(pooled(&list[0], None));
    bench.ledger(connected(&blocks(1, &list)));
    bench.input(Input::Tick);
    assert_eq!(to(peers[0], &bench.say(peers[0], get(&list))), []);
    assert_eq!(to(peers[0], &bench.say(peers[0], announce(&list))), []);
}

#[test]
fn a_large_block_leaves_the_pool_a_step_a_tick() {
    let (mut bench, peers) = bench(1);
    let list = transactions(300);
    list.iter().for_each(|transaction| {
        bench.ledger(pooled(transaction, None));
    });
    bench.ledger(connected(&blocks(1, &list)));
    bench.say(peers[0], Message::Ping(1));
    for left in [300, 172, 44, 0] {
        assert_eq!(bench.protocol.relay.transactions().count(), left);
        assert_eq!(bench.protocol.relay.wake_at() == Some(Millis(0)), left > 0);
        bench.input(Input::Tick);
    }
}

#[test]
fn a_peer_that_asks_without_end_and_does_not_read_is_dropped() {
    let (mut bench, peers) = bench(2);
    for peer in &peers {
        bench.input(Input::Backlogged { peer: *peer });
    }
    let many = Message::GetTransactions { txids: vec![Hash::ZERO; 1000] };
    assert_eq!(dropped(peers[0], &bench.say(peers[0], many.clone())), None);
    assert_eq!(dropped(peers[0], &bench.say(peers[0], many.clone())), None);
    assert!(dropped(peers[0], &bench.say(peers[0], many)).is_some());
    let many = Message::GetBlocks { hashes: vec![Hash::ZERO; 16] };
    for _ in 0..4 {
        assert_eq!(dropped(peers[1], &bench.say(peers[1], many.clone())), None);
    }
    assert!(dropped(peers[1], &bench.say(peers[1], many)).is_some());
}

fn asked(peer: PeerId, outputs: &[Output]) -> usize {
    let lists = to(peer, outputs).into_iter().filter_map(|message| match message {
        Message::GetTransactions { txids } => Some(txids.len()),
        _ => None,
    });
    lists.sum()
}

#[test]
fn a_peer_whose_transactions_are_refused_is_asked_ever_more_slowly() {
    let (mut bench, peers) = bench(1);
    let list = transactions(900);
    let mut in_flight = asked(peers[0], &bench.say(peers[0], announce(&list)));
    let mut refused = 0;
    while in_flight > 0 {
        let part = list[refused..refused + in_flight].to_vec();
        refused += in_flight;
        in_flight = asked(peers[0], &bench.say(peers[0], deliver(&part)));
        for transaction in &part {
            let refusal = Refusal::Full;
            let (from, txid) = (peers[0], transaction.txid());
            let outputs = bench.ledger(ledger::Output::Refused { from, txid, refusal });
            in_flight += asked(peers[0], &outputs);
        }
    }
    assert!((200..=300).contains(&refused), "{refused} are enough");
    let outputs = bench.pass(30_000);
    assert!(asked(peers[0], &outputs) > 0, "time heals");
}

#[test]
fn a_peer_is_not_asked_for_more_than_can_be_judged() {
    let (mut bench, peers) = bench(1);
    let list = transactions(900);
    let mut in_flight = asked(peers[0], &bench.say(peers[0], announce(&list)));
    let mut delivered = 0;
    while in_flight > 0 {
        let part = list[delivered..delivered + in_flight].to_vec();
        delivered += in_flight;
        in_flight = asked(peers[0], &bench.say(peers[0], deliver(&part)));
    }
    assert_eq!(delivered, 400);
    assert_eq!(asked(peers[0], &bench.ledger(pooled(&list[0], Some(peers[0])))), 1);
}

#[test]
fn a_large_pool_is_announced_as_far_as_the_peer_reads() {
    let (mut bench, _) = bench(0);
    let list = transactions(2500);
    list.iter().for_each(|transaction| {
        bench.ledger(pooled(transaction, None));
    });
    let (peer, _) = bench.connect(crate::Direction::Inbound, node(9), address(9, 1));
    let outputs = bench.say(peer, hello(0));
    assert_eq!(announced(peer, &outputs), [announce(&list[..1000])]);
    bench.input(Input::Backlogged { peer });
    assert_eq!(announced(peer, &bench.pass(10_000)), [], "and nothing stays due");
    bench.input(Input::Drained { peer });
    let outputs = bench.pass(1);
    let heard: usize = announced(peer, &outputs)
        .into_iter()
        .map(|message| match message {
            Message::AnnounceTransactions { txids } => txids.len(),
            _ => 0,
        })
        .sum();
    assert!((500..=1500).contains(&heard), "{heard} after it has read");
}

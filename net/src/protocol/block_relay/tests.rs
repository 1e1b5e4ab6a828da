use chain::ledger::{self, HeadersVerdict};
use chain::tx::CheckedTransaction;

use super::*;
use crate::protocol::fixture::*;
use crate::protocol::port::{Input, Output};

mod network;

fn pooled(transaction: &CheckedTransaction) -> ledger::Output {
    ledger::Output::Pooled { transaction: transaction.clone(), from: None, reverted: false }
}

/// A node at genesis with so many peers and these transactions in its pool.
fn bench(peers: usize, pool: &[CheckedTransaction]) -> (Bench, Vec<PeerId>) {
    let mut bench = Bench::new();
    bench.ledger(started());
    let peers: Vec<PeerId> = (0..peers).map(|_| bench.peer(0)).collect();
    peers.iter().for_each(|peer| {
        bench.say(*peer, Message::Headers(Vec::new()));
    });
    pool.iter().for_each(|transaction| {
        bench.ledger(pooled(transaction));
    });
    bench.pass(1_000);
    (bench, peers)
}

/// The peer announces the block, and the ledger wants it.
fn announce(bench: &mut Bench, peer: PeerId, block: &CheckedBlock) -> Vec<Output> {
    let outputs = bench.say(peer, Message::AnnounceBlock(*block.header()));
    assert_eq!(works(&outputs), [Work::Announced { from: peer, header: *block.header() }]);
    let mut outputs = bench.ledger(accepted(peer, block));
    outputs.extend(bench.ledger(wanted(std::slice::from_ref(block))));
    outputs
}

fn compact(block: &CheckedBlock) -> Message {
    Message::CompactBlock(CompactBlock::of(block, 5))
}

fn ask(block: &CheckedBlock) -> Message {
    Message::GetCompactBlock { hash: block.hash() }
}

fn ask_for(block: &CheckedBlock, indexes: &[u16]) -> Message {
    Message::GetBlockTransactions { hash: block.hash(), indexes: indexes.to_vec() }
}

fn parts(block: &CheckedBlock, indexes: &[usize]) -> Message {
    let bytes = |at: &usize| block.transactions()[*at].bytes().to_vec();
    Message::BlockTransactions { hash: block.hash(), list: indexes.iter().map(bytes).collect() }
}

/// What the verify stage makes of a rebuilt block among the outputs.
fn judge(outputs: &[Output]) -> Option<CheckedBlock> {
    works(outputs).into_iter().find_map(|work| match work {
        Work::Rebuilt { assembly, .. } => Some(verifier().judge_assembly(*assembly).unwrap()),
        _ => None,
    })
}

fn is_compact(message: &Message) -> bool {
    matches!(message, Message::CompactBlock(_))
}

#[test]
fn a_block_of_known_transactions_is_rebuilt_and_passed_on_before_it_is_executed() {
    let list = transactions(20);
    let block = blocks(1, &list).remove(0);
    let (mut bench, peers) = bench(3, &list);
    let (from, early, late) = (peers[0], peers[1], peers[2]);
    let outputs = announce(&mut bench, from, &block);
    assert_eq!(to(from, &outputs), [ask(&block)]);
    // It is announced at once, and who asks waits.
    assert_eq!(to(early, &outputs), [Message::AnnounceBlock(*block.header())]);
    assert_eq!(to(early, &bench.say(early, ask(&block))), []);
    let outputs = bench.say(from, compact(&block));
    assert_eq!(to(from, &outputs), [], "nothing is missing");
    let rebuilt = judge(&outputs).unwrap();
    assert_eq!(rebuilt.bytes(), block.bytes());
    let outputs = bench.input(Input::Rebuilt { peer: from, block: rebuilt });
    assert!(is_compact(&to(early, &outputs)[0]));
    assert_eq!(to(late, &outputs), []);
    assert!(is_compact(&to(late, &bench.say(late, ask(&block)))[0]));
    // Executed, it is vouched for; the body goes to nobody unasked.
    let outputs = bench.ledger(connected(std::slice::from_ref(&block)));
    for peer in peers {
        assert_eq!(to(peer, &outputs), [Message::Headers(headers(std::slice::from_ref(&block)))]);
    }
}

#[test]
fn what_is_missing_is_fetched_and_nothing_else() {
    let list = transactions(20);
    let block = blocks(1, &list).remove(0);
    let (mut bench, peers) = bench(2, &[&list[..3], &list[5..19]].concat());
    announce(&mut bench, peers[0], &block);
    let outputs = bench.say(peers[0], compact(&block));
    assert_eq!(to(peers[0], &outputs), [ask_for(&block, &[3, 4, 19])]);
    let outputs = bench.say(peers[0], parts(&block, &[3, 4, 19]));
    assert_eq!(judge(&outputs).unwrap().bytes(), block.bytes());
    assert_eq!(bench.protocol.blocks.counts(peers[0]), (0, 3));
    bench.input(Input::Rebuilt { peer: peers[0], block: block.clone() });
    assert_eq!(bench.protocol.blocks.counts(peers[0]), (1, 3));
    // Served in turn, but not beyond the last.
    let outputs = bench.say(peers[1], ask_for(&block, &[0, 19]));
    assert_eq!(to(peers[1], &outputs), [parts(&block, &[0, 19])]);
    let outputs = bench.say(peers[1], ask_for(&block, &[0, 20]));
    assert!(dropped(peers[1], &outputs).is_some_and(|reason| reason.is_violation()));
}

#[test]
fn transactions_of_a_rival_block_count_as_known() {
    let list = transactions(20);
    let (block, mut rival) = (blocks(1, &list).remove(0), blocks(1, &list[..19]).remove(0));
    if rival.hash() == block.hash() {
        rival = blocks(1, &list[..18]).remove(0);
    }
    let (mut bench, peers) = bench(1, &list);
    bench.ledger(connected(std::slice::from_ref(&block)));
    announce(&mut bench, peers[0], &rival);
    assert_eq!(judge(&bench.say(peers[0], compact(&rival))).unwrap().bytes(), rival.bytes());
}

/// The first answer took both questions off what the peer owed, and the second shunned it.
#[test]
fn who_was_asked_for_both_forms_of_a_block_may_lack_it_twice() {
    let block = blocks(1, &transactions(3)).remove(0);
    let (mut bench, peers) = bench(1, &[]);
    let (peer, hashes) = (peers[0], vec![block.hash()]);
    announce(&mut bench, peer, &block);
    bench.pass(2_000);
    bench.say(peer, Message::Headers(headers(std::slice::from_ref(&block))));
    let outputs = bench.ledger(accepted(peer, &block));
    assert_eq!(to(peer, &outputs), [Message::GetBlocks { hashes: hashes.clone() }]);
    for lacking in [true, true, false] {
        let outputs = bench.say(peer, Message::NotFound { hashes: hashes.clone() });
        assert_eq!(dropped(peer, &outputs).is_none(), lacking, "asked twice, not three times");
    }
}

#[test]
fn who_does_not_answer_is_not_blamed_and_the_next_is_asked() {
    let block = blocks(1, &transactions(3)).remove(0);
    let (mut bench, peers) = bench(3, &[]);
    announce(&mut bench, peers[0], &block);
    for peer in &peers[1..] {
        bench.say(*peer, Message::AnnounceBlock(*block.header()));
    }
    let outputs = bench.pass(2_000);
    assert_eq!(to(peers[1], &outputs), [ask(&block)]);
    // The form of somebody else does not count now.
    assert_eq!(to(peers[2], &bench.say(peers[2], compact(&block))), []);
    bench.say(peers[1], compact(&block));
    // It sends the form, but not what is missing: three transactions, 10 ms for each.
    assert_eq!(to(peers[2], &bench.pass(2_029)), []);
    let outputs = bench.pass(1);
    assert_eq!(to(peers[2], &outputs), [ask(&block)]);
    let hashes = vec![block.hash()];
    let outputs = bench.say(peers[2], Message::NotFound { hashes: hashes.clone() });
    assert!(peers.iter().all(|peer| dropped(*peer, &outputs).is_none()));
    // Only who vouches for the block is asked for it whole.
    assert_eq!(to(peers[0], &outputs), []);
    bench.say(peers[0], Message::Headers(headers(std::slice::from_ref(&block))));
    let outputs = bench.ledger(accepted(peers[0], &block));
    assert_eq!(to(peers[0], &outputs), [Message::GetBlocks { hashes }]);
    // A late answer is no fault; one that was never asked for is.
    let outputs = bench.say(peers[1], parts(&block, &[0, 1, 2]));
    assert_eq!((works(&outputs), dropped(peers[1], &outputs)), (vec![], None));
    let outputs = bench.say(peers[1], parts(&block, &[0, 1, 2]));
    assert!(dropped(peers[1], &outputs).is_some());
}

#[test]
fn a_peer_that_leaves_is_replaced() {
    let block = blocks(1, &[]).remove(0);
    let (mut bench, peers) = bench(2, &[]);
    announce(&mut bench, peers[0], &block);
    bench.say(peers[1], Message::AnnounceBlock(*block.header()));
    let outputs = bench.input(Input::Disconnected { peer: peers[0], reason: Reason::Closed });
    assert_eq!(to(peers[1], &outputs), [ask(&block)]);
}

#[test]
fn a_collision_leads_to_the_whole_block_and_nobody_is_blamed() {
    let list = transactions(3);
    let block = blocks(1, &list).remove(0);
    let (mut bench, peers) = bench(1, &list);
    announce(&mut bench, peers[0], &block);
    let outputs = bench.say(peers[0], compact(&block));
    assert!(judge(&outputs).is_some());
    bench.input(Input::NotRebuilt { hash: block.hash() });
    bench.say(peers[0], Message::Headers(headers(std::slice::from_ref(&block))));
    let outputs = bench.ledger(accepted(peers[0], &block));
    assert_eq!(to(peers[0], &outputs), [Message::GetBlocks { hashes: vec![block.hash()] }]);
    // Two equal ids in one compact form cannot even be tried.
    let (mut bench, peers) = self::bench(1, &list);
    announce(&mut bench, peers[0], &block);
    let mut doubled = CompactBlock::of(&block, 5);
    doubled.ids[0] = doubled.ids[1];
    let outputs = bench.say(peers[0], Message::CompactBlock(doubled));
    assert_eq!((works(&outputs), dropped(peers[0], &outputs)), (vec![], None));
}

#[test]
fn answers_that_contradict_the_compact_form_are_violations() {
    let block = blocks(1, &transactions(4)).remove(0);
    for indexes in [&[0, 1, 2][..], &[0, 1, 2, 3, 3], &[0, 1, 3, 2], &[0, 0, 0, 0]] {
        let (mut bench, peers) = bench(2, &[]);
        announce(&mut bench, peers[0], &block);
        bench.say(peers[1], Message::AnnounceBlock(*block.header()));
        bench.say(peers[0], compact(&block));
        let outputs = bench.say(peers[0], parts(&block, indexes));
        assert!(dropped(peers[0], &outputs).is_some_and(|reason| reason.is_violation()));
        assert_eq!(works(&outputs), []);
        assert_eq!(to(peers[1], &outputs), [ask(&block)], "the next one is asked");
    }
}

#[test]
fn a_compact_block_out_of_the_blue_waits_for_the_verdict_on_its_header() {
    let list = transactions(5);
    let block = blocks(1, &list).remove(0);
    let (mut bench, peers) = bench(2, &list);
    let outputs = bench.say(peers[0], compact(&block));
    assert_eq!(works(&outputs), [Work::Announced { from: peers[0], header: *block.header() }]);
    assert_eq!(to(peers[1], &outputs), [], "nothing is said before the verdict");
    bench.ledger(accepted(peers[0], &block));
    let outputs = bench.ledger(wanted(std::slice::from_ref(&block)));
    assert_eq!(judge(&outputs).unwrap().bytes(), block.bytes());
    assert_eq!(to(peers[1], &outputs), [Message::AnnounceBlock(*block.header())]);
    assert_eq!(to(peers[0], &outputs), []);
}

#[test]
fn a_header_that_is_not_accepted_leads_to_nothing() {
    let block = blocks(1, &[]).remove(0);
    let low_work = HeadersVerdict::LowWork { next: None };
    let others = [HeadersVerdict::Invalid, HeadersVerdict::TooNew, HeadersVerdict::TooMany];
    for verdict in others.into_iter().chain([low_work]) {
        let (mut bench, peers) = bench(2, &[]);
        bench.say(peers[0], compact(&block));
        let outputs = bench.ledger(ledger::Output::HeadersJudged { from: peers[0], verdict });
        assert!(outputs.is_empty());
        // The place is free for the next one.
        let outputs = bench.say(peers[0], compact(&block));
        assert_eq!(works(&outputs).len(), 1);
        bench.ledger(accepted(peers[0], &block));
        assert!(judge(&bench.ledger(wanted(std::slice::from_ref(&block)))).is_some());
    }
    let (mut bench, peers) = bench(2, &[]);
    bench.say(peers[0], Message::AnnounceBlock(*block.header()));
    let verdict = HeadersVerdict::Unconnected;
    let outputs = bench.ledger(ledger::Output::HeadersJudged { from: peers[0], verdict });
    assert!(matches!(to(peers[0], &outputs)[..], [Message::GetHeaders { .. }]));
}

#[test]
fn a_block_that_is_not_wanted_is_not_fetched_and_others_go_whole() {
    let list = blocks(6, &[]);
    let (mut bench, peers) = bench(2, &[]);
    bench.say(peers[0], Message::AnnounceBlock(*list[0].header()));
    bench.ledger(accepted(peers[0], &list[0]));
    assert!(bench.ledger(wanted(&[])).is_empty());
    // Far behind, blocks are fetched whole, of who vouches for them.
    bench.say(peers[0], Message::AnnounceBlock(*list[5].header()));
    bench.ledger(accepted(peers[0], &list[5]));
    let outputs = bench.ledger(wanted(&list));
    assert_eq!((to(peers[0], &outputs), to(peers[1], &outputs)), (vec![], vec![]));
}

#[test]
fn only_children_of_executed_blocks_are_announced_before_they_are_here() {
    let list = blocks(2, &[]);
    let (mut bench, peers) = bench(2, &[]);
    bench.say(peers[0], Message::AnnounceBlock(*list[0].header()));
    bench.ledger(accepted(peers[0], &list[0]));
    bench.ledger(wanted(&list[..1]));
    bench.say(peers[0], Message::AnnounceBlock(*list[1].header()));
    bench.ledger(accepted(peers[0], &list[1]));
    let outputs = bench.ledger(wanted(&list));
    assert_eq!(to(peers[0], &outputs), [ask(&list[1])]);
    assert_eq!(to(peers[1], &outputs), []);
}

#[test]
fn our_own_block_goes_to_everybody_who_reads() {
    let list = transactions(5);
    let block = blocks(1, &list).remove(0);
    let (mut bench, peers) = bench(2, &list);
    bench.input(Input::Backlogged { peer: peers[1] });
    let outputs = bench.ledger(connected(std::slice::from_ref(&block)));
    assert!(is_compact(&to(peers[0], &outputs)[0]));
    assert_eq!(to(peers[1], &outputs)[0], Message::AnnounceBlock(*block.header()));
    // Questions of who does not read wait.
    assert_eq!(to(peers[1], &bench.say(peers[1], ask(&block))), []);
    assert!(is_compact(&to(peers[1], &bench.input(Input::Drained { peer: peers[1] }))[0]));
}

#[test]
fn compact_forms_are_given_to_depth_five_and_transactions_to_depth_ten() {
    let list = blocks(15, &transactions(1));
    let (mut bench, peers) = bench(1, &[]);
    bench.ledger(connected(&list));
    for (block, depth) in list.iter().rev().zip(0..) {
        let outputs = bench.say(peers[0], ask(block));
        assert_eq!(is_compact(&to(peers[0], &outputs)[0]), depth <= 5, "{depth}");
        let outputs = bench.say(peers[0], ask_for(block, &[]));
        let found = matches!(to(peers[0], &outputs)[..], [Message::BlockTransactions { .. }]);
        assert_eq!(found, depth <= 10, "{depth}");
    }
}

#[test]
fn questions_that_pile_up_are_answered_with_no() {
    let (mut bench, peers) = bench(1, &[]);
    bench.input(Input::Backlogged { peer: peers[0] });
    let mut answers = Vec::new();
    for number in 0..20_u8 {
        let hash = Hash([number; 32]);
        answers.extend(to(peers[0], &bench.say(peers[0], Message::GetCompactBlock { hash })));
    }
    assert_eq!(answers.len(), 12);
    assert_eq!(answers[0], Message::NotFound { hashes: vec![Hash([0; 32])] });
}

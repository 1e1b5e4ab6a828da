//! Single cases, each by its name: bugs that were found, and what random histories seldom meet.

use chain::mempool::{DropReason, PoolLimits};
use kv::Operation;
use tests::chains::{account, free_network, paid_network, signing_key, unsigned};
use tests::model::GENESIS;

use super::maker::{BlockPlan, Flaw, TxPlan, write};
use super::world::World;

fn plan(payee: u8) -> BlockPlan {
    BlockPlan { payee, jitter_s: 0, transactions: Vec::new(), reuses: false }
}

/// The ledger stopped on the last valid block of a path that it could not walk to its end, if
/// that had as much work as the tip before.
#[test]
fn an_invalid_block_does_not_win_a_tie_for_its_parent() {
    let mut world = World::new(&free_network(), PoolLimits::default());
    let first = world.make(GENESIS, &plan(0), None);
    let rival = world.make(GENESIS, &plan(1), None);
    let bad = world.make(rival, &plan(1), Some(Flaw::WrongSequence));
    for id in [first, rival, bad] {
        world.send_body(id);
    }
    assert_eq!(world.chain.tip, first);
}

/// Ties went to the block whose own body came first, even if its parent's came later than the
/// whole chain of its rival; so a failed reorganisation moved the tip to an equal.
#[test]
fn a_late_parent_does_not_make_its_child_the_first_of_equals() {
    let mut world = World::new(&free_network(), PoolLimits::default());
    let parent = world.make(GENESIS, &plan(0), None);
    let child = world.make(parent, &plan(0), None);
    let rival_parent = world.make(GENESIS, &plan(1), None);
    let rival = world.make(rival_parent, &plan(1), None);
    let bad = world.make(GENESIS, &plan(2), Some(Flaw::StateRoot));
    let middle = world.make(bad, &plan(2), None);
    let end = world.make(middle, &plan(2), None);
    world.send_headers(&[parent, child]);
    for id in [child, rival_parent, rival, parent] {
        world.send_body(id);
    }
    world.send_headers(&[bad, middle, end]);
    for id in [end, middle, bad] {
        world.send_body(id);
    }
    assert_eq!(world.chain.tip, rival);
}

/// Only signers of moved blocks were looked at, not those who were paid by them.
#[test]
fn who_lived_on_a_reverted_reward_no_longer_waits() {
    let network = paid_network();
    let mut world = World::new(&network, PoolLimits::default());
    let mut poor = GENESIS;
    let mut rich = GENESIS;
    for _ in 0..5 {
        rich = world.make(rich, &plan(1), None);
        world.send_body(rich);
    }
    let tx = TxPlan { signer: 1, operations: vec![write()], tip: 0, expires_in: None };
    let transaction = unsigned(&signing_key(1), 0, &[write()]);
    let transaction = world.sign(&tx, transaction);
    let txid = transaction.txid();
    world.send_transaction(transaction, false);
    assert_eq!(world.pool.waiting().count(), 1);
    for _ in 0..6 {
        poor = world.make(poor, &plan(2), None);
        world.send_body(poor);
    }
    assert_eq!(world.pool.waiting().count(), 0);
    assert_eq!(world.ledger.pool().dropped(&txid), Some(DropReason::CannotPayFees));
}

/// The same for one who was paid by another's transaction.
#[test]
fn who_lived_on_a_reverted_payment_no_longer_waits() {
    let network = paid_network();
    let mut world = World::new(&network, PoolLimits::default());
    let mut base = GENESIS;
    for _ in 0..5 {
        base = world.make(base, &plan(1), None);
        world.send_body(base);
    }
    let operations = vec![Operation::Pay { to: account(2), amount: 500 }];
    let pay = TxPlan { signer: 1, operations, tip: 0, expires_in: None };
    let paying = BlockPlan { transactions: vec![pay], ..plan(1) };
    let paid = world.make(base, &paying, None);
    world.send_body(paid);
    let tx = TxPlan { signer: 2, operations: vec![write()], tip: 0, expires_in: None };
    let transaction = world.sign(&tx, unsigned(&signing_key(2), 0, &[write()]));
    world.send_transaction(transaction, false);
    for _ in 0..2 {
        base = world.make(base, &plan(1), None);
        world.send_body(base);
    }
    assert_eq!(world.pool.of(account(2)).count(), 0);
}

/// Bodies were asked for only when a whole batch of headers was good.
#[test]
fn headers_before_a_refused_one_are_asked_for() {
    let mut world = World::new(&free_network(), PoolLimits::default());
    let good = world.make(GENESIS, &plan(0), None);
    let bad = world.make(good, &plan(0), Some(Flaw::Time));
    world.send_headers(&[good, bad]);
    assert_eq!(world.chain.wanted(&world.truth).len(), 1);
}

/// The pool takes only so many sequences ahead, so the order in which they come back counts.
#[test]
fn a_reverted_run_comes_back_although_it_is_longer_than_the_gap_allowed() {
    let limits = PoolLimits { gap: 2, ..PoolLimits::default() };
    let mut world = World::new(&free_network(), limits);
    let tx = TxPlan { signer: 1, operations: vec![write()], tip: 0, expires_in: None };
    let mut tip = GENESIS;
    for transactions in [vec![tx.clone(), tx.clone()], vec![tx.clone()], vec![tx]] {
        tip = world.make(tip, &BlockPlan { transactions, ..plan(0) }, None);
        world.send_body(tip);
    }
    let mut rival = GENESIS;
    for _ in 0..4 {
        rival = world.make(rival, &plan(2), None);
        world.send_body(rival);
    }
    assert_eq!(world.pool.of(account(1)).count(), 4);
}

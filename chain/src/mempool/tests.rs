use super::*;
use ed25519_zebra::SigningKey;
use serde_bytes::ByteBuf;
use std::sync::Arc;

use crate::tx::{TRANSACTION_VERSION, Unsigned};

fn tx(signer: u8, sequence: u64, fee: u64, size: usize) -> CheckedTransaction {
    expiring(signer, sequence, fee, size, 0)
}

fn expiring(signer: u8, sequence: u64, fee: u64, size: usize, at: u32) -> CheckedTransaction {
    let key = SigningKey::from([signer; 32]);
    let unsigned = Unsigned {
        version: TRANSACTION_VERSION,
        signer: PublicKey::from(&key),
        sequence,
        expires_at: at,
        fee,
        operations: vec![ByteBuf::from(vec![0; size])],
    };
    CheckedTransaction(Arc::new(unsigned.sign(&key, &Hash::ZERO)))
}

fn rich(sequence: u64) -> Account {
    Account { balance: u64::MAX, sequence }
}

fn pool() -> Mempool {
    Mempool::new(PoolLimits { bytes: 10_000, per_account: 5, gap: 2, remembered: 4 })
}

fn add(pool: &mut Mempool, tx: &CheckedTransaction) -> Result<Vec<Dropped>, Refusal> {
    pool.add(&Network::dev(), tx.clone(), rich(0), 1)
}

fn selected(pool: &Mempool) -> Vec<Hash> {
    pool.select(usize::MAX).iter().map(|tx| tx.txid()).collect()
}

#[test]
fn selection_is_by_fee_rate_within_each_accounts_order() {
    let mut pool = pool();
    let (cheap_first, dear_second) = (tx(1, 0, 1, 10), tx(1, 1, 9_000, 10));
    let middle = tx(2, 0, 100, 10);
    for tx in [&dear_second, &cheap_first, &middle] {
        add(&mut pool, tx).unwrap();
    }
    assert_eq!(selected(&pool), [middle.txid(), cheap_first.txid(), dear_second.txid()]);
    let room = middle.bytes().len() + cheap_first.bytes().len();
    assert_eq!(pool.select(room).len(), 2);
}

#[test]
fn gaps_are_held_bounded_and_close() {
    let mut pool = pool();
    add(&mut pool, &tx(1, 2, 1, 10)).unwrap();
    assert!(selected(&pool).is_empty());
    assert_eq!(add(&mut pool, &tx(1, 3, 1, 10)), Err(Refusal::TooFarAhead { got: 3, next: 0 }));
    add(&mut pool, &tx(1, 0, 1, 10)).unwrap();
    assert_eq!(pool.next_sequence(&tx(1, 0, 1, 10).signer, rich(0)), 1);
    add(&mut pool, &tx(1, 1, 1, 10)).unwrap();
    assert_eq!(selected(&pool).len(), 3);
    assert_eq!(pool.next_sequence(&tx(1, 0, 1, 10).signer, rich(0)), 3);
}

#[test]
fn a_higher_fee_replaces_the_same_sequence_and_an_equal_one_does_not() {
    let mut pool = pool();
    let (old, same, better) = (tx(1, 0, 10, 10), tx(1, 0, 10, 11), tx(1, 0, 11, 10));
    add(&mut pool, &old).unwrap();
    assert_eq!(add(&mut pool, &old), Err(Refusal::Known));
    let refusal = Refusal::Underpriced { replaced: old.txid(), least: 11 };
    assert_eq!(add(&mut pool, &same), Err(refusal));
    let reason = DropReason::Replaced(better.txid());
    assert_eq!(add(&mut pool, &better), Ok(vec![(old.txid(), reason)]));
    assert_eq!(pool.dropped(&old.txid()), Some(reason));
    assert_eq!((pool.len(), selected(&pool)), (1, vec![better.txid()]));
}

#[test]
fn one_account_cannot_fill_the_pool() {
    let mut pool = pool();
    for sequence in 0..5 {
        add(&mut pool, &tx(1, sequence, 1, 10)).unwrap();
    }
    assert_eq!(add(&mut pool, &tx(1, 5, 1, 10)), Err(Refusal::AccountFull { limit: 5 }));
    add(&mut pool, &tx(2, 0, 1, 10)).unwrap();
}

#[test]
fn a_full_pool_evicts_the_worst_ends_for_better_payers_only() {
    let mut pool = pool();
    let (first, second) = (tx(1, 0, 50, 3000), tx(1, 1, 10, 3000));
    let other = tx(2, 0, 100, 3000);
    for tx in [&first, &second, &other] {
        add(&mut pool, tx).unwrap();
    }
    assert_eq!(add(&mut pool, &tx(3, 0, 5, 3000)), Err(Refusal::Full));
    let better = tx(3, 0, 500, 3000);
    assert_eq!(
        add(&mut pool, &better),
        Ok(vec![(second.txid(), DropReason::Evicted)]),
        "the end of the queue goes, not the one before it"
    );
    assert!(pool.bytes() <= 10_000);
    assert_eq!(selected(&pool).len(), 3);
}

#[test]
fn a_moved_account_drops_what_is_used_up_or_unpayable() {
    let mut pool = pool();
    let list: Vec<_> = (0..4).map(|sequence| tx(1, sequence, 10, 10)).collect();
    for tx in &list {
        add(&mut pool, tx).unwrap();
    }
    pool.included(&list[0].txid());
    let gone = pool.update_account(&list[0].signer, Account { balance: 15, sequence: 2 });
    assert_eq!(
        gone,
        [(list[1].txid(), DropReason::Superseded), (list[3].txid(), DropReason::CannotPayFees)]
    );
    assert_eq!(selected(&pool), [list[2].txid()]);
}

#[test]
fn fees_beyond_the_balance_are_refused() {
    let mut pool = pool();
    let account = Account { balance: 15, sequence: 0 };
    pool.add(&Network::dev(), tx(1, 0, 10, 10), account, 1).unwrap();
    let refusal = Refusal::CannotPayFees { fees: 20, balance: 15 };
    assert_eq!(pool.add(&Network::dev(), tx(1, 1, 10, 10), account, 1), Err(refusal));
}

#[test]
fn expiry_is_by_height_and_remembered_within_bounds() {
    let mut pool = pool();
    let refusal = Refusal::Expired { expires_at: 4, next_height: 5 };
    let late = expiring(1, 0, 1, 10, 4);
    assert_eq!(pool.add(&Network::dev(), late, rich(0), 5), Err(refusal));
    let list: Vec<_> = (1..=5).map(|signer| expiring(signer, 0, 1, 10, 7)).collect();
    for tx in &list {
        add(&mut pool, tx).unwrap();
    }
    assert!(pool.expire(7).is_empty(), "height 7 may still include them");
    assert_eq!(pool.expire(8).len(), 5);
    assert!(pool.is_empty() && pool.bytes() == 0);
    let remembered = list.iter().filter(|tx| pool.dropped(&tx.txid()).is_some()).count();
    assert_eq!(remembered, 4);
}

#[test]
fn a_large_payer_pushes_out_as_many_small_ones_as_it_needs() {
    let mut pool = pool();
    for signer in 1..=2 {
        for sequence in 0..5 {
            add(&mut pool, &tx(signer, sequence, 1, 800)).unwrap();
        }
    }
    let large = tx(3, 0, 1_000_000, 5000);
    let gone = add(&mut pool, &large).unwrap();
    assert!(gone.len() >= 4 && pool.bytes() <= 10_000, "{gone:?}");
    // What is left can still be mined: ends went, not beginnings.
    assert_eq!(selected(&pool).len(), pool.len());
}

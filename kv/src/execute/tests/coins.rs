//! Sequences, fees, payments and rewards.

use chain::execute::{Account, ExecuteError, StateMachine, TransactionFault};
use chain::params::{KeyPolicy, Network, Subsidy};

use super::{ALICE, BOB, MINER, account, delete, failed, head, outcomes, owned, put, wrote};
use crate::state::{DUE_ROW, account_row, reward_row};
use crate::testing::{Chain, Tx, account_of, network};
use crate::{Effect, Expect, KeyValue, Operation, Outcome, Reason};

#[test]
fn a_failed_operation_undoes_its_transactions_operations_and_nothing_else() {
    let mut chain = owned();
    chain.block(ALICE, &[]);
    let operations = [
        put(b"k", b"v", Expect::Any),
        Operation::Pay { to: account_of(BOB), amount: 1 },
        delete(b"other", Expect::Any),
    ];
    let paying = Tx { fee: 5, ..Tx::of(ALICE, 0, &operations) };
    let delta = chain.block(MINER, &[paying, Tx::of(BOB, 0, &operations[..1])]);
    let undone = Outcome::Failed { operation: 2, reason: Reason::NotFound };
    assert_eq!(outcomes(&delta), [undone, wrote(1)]);
    assert_eq!(account(&chain, ALICE), Account { balance: 15, sequence: 1 });
    assert_eq!(account(&chain, BOB), Account { balance: 0, sequence: 1 });
    assert_eq!(account(&chain, MINER), Account { balance: 20 + 5, sequence: 0 });
    assert_eq!(head(&chain, b"k").unwrap().owner, account_of(BOB));
}

#[test]
fn a_reward_matures_after_so_many_blocks_on_top() {
    let mut chain = Chain::new(network(KeyPolicy::Open, 2));
    chain.block(ALICE, &[]);
    chain.block(MINER, &[]);
    let spend = Tx { fee: 20, ..Tx::of(ALICE, 0, &[put(b"k", b"v", Expect::Any)]) };
    let early = spend.checked(&chain.network);
    let error = KeyValue.execute(&chain.view, chain.context(BOB), &[early]).unwrap_err();
    let fault = TransactionFault::CannotPayFee { fee: 20, balance: 0 };
    assert!(
        matches!(&error, ExecuteError::Invalid { position: 0, fault: got } if *got == fault),
        "{error}"
    );
    assert!(chain.view.0.contains_key(&reward_row(1)));
    chain.block(MINER, &[]);
    assert!(!chain.view.0.contains_key(&reward_row(1)));
    assert_eq!(account(&chain, ALICE), Account { balance: 20, sequence: 0 });
    chain.block(MINER, &[spend]);
    assert_eq!(account(&chain, ALICE), Account { balance: 0, sequence: 1 });
}

/// Else miners for different payees could not search one template.
#[test]
fn what_is_committed_to_does_not_depend_on_who_is_paid() {
    for maturity in [0, 1, 3] {
        let mut chain = Chain::new(network(KeyPolicy::Open, maturity));
        for sequence in 0..5 {
            let write = Tx::of(ALICE, sequence, &[put(b"k", b"v", Expect::Any)]);
            let transactions = [write.checked(&chain.network)];
            let changes = [ALICE, BOB, MINER].map(|payee| {
                let context = chain.context(payee);
                let mut delta = KeyValue.execute(&chain.view, context, &transactions).unwrap();
                delta.rows.retain(|row| KeyValue.commits_to(&row.key));
                delta.rows
            });
            assert_eq!(changes[0], changes[1]);
            assert_eq!(changes[0], changes[2]);
            assert!(changes[0].len() >= 2, "a head and an account at least");
            chain.block(MINER, &[write]);
        }
    }
}

#[test]
fn a_transaction_lives_up_to_the_height_it_names() {
    let mut chain = owned();
    chain.block(MINER, &[]);
    let until = |expires_at, sequence| Tx {
        expires_at,
        ..Tx::of(ALICE, sequence, &[put(b"k", b"v", Expect::Any)])
    };
    let candidates = [until(1, 0), until(2, 0), until(3, 1)].map(|tx| tx.checked(&chain.network));
    let filled = KeyValue.fill(&chain.view, chain.context(MINER), &candidates).unwrap();
    assert_eq!(filled.chosen, [1, 2]);
}

#[test]
fn paying_oneself_changes_nothing_and_nobody_pays_what_he_has_not() {
    let mut chain = owned();
    chain.block(ALICE, &[]);
    let pay = |signer, amount| Operation::Pay { to: account_of(signer), amount };
    let delta = chain.block(
        MINER,
        &[Tx::of(ALICE, 0, &[pay(ALICE, 20)]), Tx::of(ALICE, 1, &[pay(BOB, 15), pay(BOB, 6)])],
    );
    let reason = Reason::InsufficientFunds { balance: 5, amount: 6 };
    let paid = Outcome::Applied(vec![Effect::None]);
    assert_eq!(outcomes(&delta), [paid, Outcome::Failed { operation: 1, reason }]);
    assert_eq!(account(&chain, ALICE), Account { balance: 20, sequence: 2 });
}

#[test]
fn balances_end_at_their_type_and_never_wrap() {
    let subsidy = Subsidy { initial: u64::MAX, halving_blocks: 0, maturity_blocks: 0 };
    let mut chain = Chain::new(Network { subsidy, ..network(KeyPolicy::Open, 0) });
    chain.block(ALICE, &[]);
    chain.block(BOB, &[]);
    let pay = Tx::of(ALICE, 0, &[Operation::Pay { to: account_of(BOB), amount: 1 }]);
    let delta = chain.block(ALICE, &[pay]);
    let reason = Reason::BalanceOverflow { balance: u64::MAX, amount: 1 };
    assert_eq!(outcomes(&delta), [failed(reason)]);
    assert_eq!(account(&chain, ALICE), Account { balance: u64::MAX, sequence: 1 });
}

#[test]
fn what_is_nothing_has_no_row() {
    let subsidy = Subsidy { initial: 0, halving_blocks: 0, maturity_blocks: 1 };
    let mut chain = Chain::new(Network { subsidy, ..network(KeyPolicy::Open, 0) });
    let nothing = Operation::Pay { to: account_of(BOB), amount: 0 };
    chain.block(MINER, &[Tx::of(ALICE, 0, &[nothing])]);
    chain.block(MINER, &[]);
    assert_eq!(chain.view.0.into_keys().collect::<Vec<_>>(), [account_row(&account_of(ALICE))]);
}

#[test]
fn a_row_that_ends_as_it_began_is_no_change() {
    let mut chain = owned();
    let pay = |to, amount| Operation::Pay { to: account_of(to), amount };
    chain.block(ALICE, &[]);
    let delta = chain.block(
        MINER,
        &[Tx::of(ALICE, 0, &[pay(BOB, 7)]), Tx::of(BOB, 0, &[pay(ALICE, 7), pay(9, 0)])],
    );
    let changed: Vec<_> = delta.rows.iter().map(|row| row.key.clone()).collect();
    let mut expected = [ALICE, BOB].map(|signer| account_row(&account_of(signer))).to_vec();
    expected.sort();
    expected.push(DUE_ROW.to_vec());
    assert_eq!(changed, expected, "account 9 was touched, but has nothing before and after");
}

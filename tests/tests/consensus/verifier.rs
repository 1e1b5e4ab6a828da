//! The verifier over many transactions: which one is refused, and what it remembers.

use std::sync::Arc;

use chain::rules::RuleError;
use chain::tx::Transaction;
use tests::chains::{account, candidate, mined};

use super::maker::write;
use super::rules::{SIGNER, Scene};

/// More than two batches of signatures.
const MANY: usize = 150;

fn many(scene: &Scene) -> Vec<Vec<u8>> {
    let transactions = (0..MANY as u64).map(|sequence| {
        let mut transaction = scene.transaction(&[write()]);
        transaction.sequence = sequence;
        transaction.fee += 10;
        scene.signed(transaction).bytes().to_vec()
    });
    transactions.collect()
}

fn with_spoilt_signature(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let half = bytes.len() - 32;
    bytes[half] ^= 1;
    bytes
}

#[test]
fn one_bad_signature_among_many_refuses_that_one_alone() {
    for bad in [0, 1, 63, 64, 127, MANY - 1] {
        let mut scene = Scene::new();
        let mut list = many(&scene);
        list[bad] = with_spoilt_signature(&list[bad]);
        let results = scene.grower.verifier.transactions(&list);
        for (at, (result, bytes)) in results.iter().zip(&list).enumerate() {
            match result {
                Ok(transaction) => assert_eq!(transaction.bytes(), bytes),
                Err(error) => assert_eq!((at, error), (bad, &RuleError::Signature)),
            }
        }
        assert!(results[bad].is_err());
    }
}

#[test]
fn refusals_of_several_kinds_keep_to_their_places() {
    let mut scene = Scene::new();
    let mut list = many(&scene);
    list[3] = with_spoilt_signature(&list[3]);
    list[70].pop();
    let cheap = chain::tx::Unsigned { fee: 0, ..scene.transaction(&[write()]) };
    list[71] = scene.signed(cheap).bytes().to_vec();
    let results = scene.grower.verifier.transactions(&list);
    let wrong: Vec<usize> = (0..MANY).filter(|&at| results[at].is_err()).collect();
    assert_eq!(wrong, [3, 70, 71]);
    assert_eq!(results[3], Err(RuleError::Signature));
    assert!(matches!(results[70], Err(RuleError::TransactionMalformed(_))));
    assert!(matches!(results[71], Err(RuleError::FeeTooLow { got: 0, .. })));
}

/// The bytes of a block that carries these transactions, whatever they are.
fn block_of(scene: &Scene, list: &[&[u8]]) -> Vec<u8> {
    let grower = &scene.grower;
    let mut block = candidate(&grower.network, &grower.place, account(SIGNER), &[]);
    for bytes in list {
        let transaction = Transaction::decode(bytes).unwrap();
        block.coinbase.value += transaction.fee;
        block.transactions.push(Arc::new(transaction));
    }
    mined(block).encode()
}

#[test]
fn what_was_verified_alone_is_good_in_a_block_and_nothing_else_is() {
    let mut scene = Scene::new();
    let list = many(&scene);
    let (first, second) = (&list[0], &list[1]);
    let spoilt = with_spoilt_signature(second);
    let results = scene.grower.verifier.transactions(&[first.clone(), spoilt.clone()]);
    assert!(results[0].is_ok() && results[1].is_err());
    for (carried, expected) in [
        (vec![&first[..]], Ok(1)),
        (vec![&first[..], second], Ok(2)),
        (vec![&first[..], &spoilt], Err(RuleError::Signature)),
        (vec![&with_spoilt_signature(first)[..]], Err(RuleError::Signature)),
    ] {
        let block = scene.grower.verifier.block(block_of(&scene, &carried));
        assert_eq!(block.map(|block| block.transactions().len()), expected);
    }
}

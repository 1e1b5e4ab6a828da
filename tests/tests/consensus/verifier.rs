//! The verifier over many transactions: which one is refused, and what it remembers.

use std::sync::Arc;

use chain::block::{Assembly, Block, Part};
use chain::params::Network;
use chain::rules::RuleError;
use chain::tx::{CheckedTransaction, Transaction};
use tests::chains::{account, candidate, mined, signing_key, verifier};

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

/// The parts of a block's bytes, of which the first so many are known.
fn assembly_of(bytes: &[u8], known: &[CheckedTransaction]) -> Assembly {
    let block = Block::decode(bytes).unwrap();
    let fetched = block.transactions[known.len()..].iter();
    let parts = known.iter().cloned().map(Part::Known);
    Assembly {
        header: block.header,
        coinbase: block.coinbase.encode(),
        parts: parts.chain(fetched.map(|item| Part::Fetched(item.bytes().to_vec()))).collect(),
    }
}

#[test]
fn a_block_put_together_is_checked_where_it_was_not_yet() {
    let mut scene = Scene::new();
    let mut list = many(&scene);
    list.truncate(4);
    let known: Vec<CheckedTransaction> =
        scene.grower.verifier.transactions(&list).into_iter().map(Result::unwrap).collect();
    // Another verifier, which remembers nothing.
    let fresh = Scene::new().grower.verifier;
    let whole = block_of(&scene, &list.iter().map(Vec::as_slice).collect::<Vec<_>>());
    for count in 0..=4 {
        let block = fresh.judge_assembly(assembly_of(&whole, &known[..count])).unwrap();
        assert_eq!(block.bytes(), whole);
    }
    let judge = |assembly| fresh.judge_assembly(assembly).unwrap_err();
    // The header commits to a bad signature, but not to what somebody put in by mistake.
    let spoilt = with_spoilt_signature(&list[3]);
    let bytes = block_of(&scene, &[&list[0], &list[1], &list[2], &spoilt]);
    let fault = judge(assembly_of(&bytes, &known[..2]));
    let hash = Block::decode(&bytes).unwrap().header.hash();
    assert_eq!((fault.error, fault.condemned), (RuleError::Signature, Some(hash)));
    let mut mixed_up = assembly_of(&whole, &known);
    mixed_up.parts.swap(1, 2);
    let fault = judge(mixed_up);
    assert!(matches!(fault.error, RuleError::MerkleRoot { .. }) && fault.condemned.is_none());
    let mut doubled = assembly_of(&whole, &known);
    doubled.parts[1] = doubled.parts[0].clone();
    assert!(judge(doubled).condemned.is_none());
    for spoil in [vec![1, 2, 3], list[3][1..].to_vec(), [&list[3][..], &[0]].concat()] {
        let mut assembly = assembly_of(&whole, &known);
        assembly.parts[3] = Part::Fetched(spoil);
        let fault = judge(assembly);
        assert!(matches!(fault.error, RuleError::TransactionMalformed(_)), "{fault:?}");
        assert_eq!(fault.condemned, None);
    }
    let mut assembly = assembly_of(&whole, &known);
    assembly.coinbase.push(0);
    assert!(matches!(judge(assembly).error, RuleError::BlockMalformed(_)));
}

/// What another network's rules let pass, these refuse; taken for known, they do not look at it.
#[test]
fn what_is_known_is_not_verified_again() {
    let mut scene = Scene::new();
    let elsewhere = Network { target_interval_s: 61, ..scene.grower.network.clone() };
    let key = signing_key(SIGNER);
    let mut foreign = scene.transaction(&[write()]);
    foreign.fee += 10;
    let bytes = foreign.sign(&key, &elsewhere.genesis_hash()).bytes().to_vec();
    let list = verifier(&elsewhere).transactions(std::slice::from_ref(&bytes));
    let known: Vec<CheckedTransaction> = list.into_iter().map(Result::unwrap).collect();
    let whole = block_of(&scene, &[&bytes]);
    let judged = &mut scene.grower.verifier;
    assert!(judged.judge_assembly(assembly_of(&whole, &known)).is_ok());
    let fault = judged.judge_assembly(assembly_of(&whole, &[])).unwrap_err();
    assert_eq!(fault.error, RuleError::Signature);
}

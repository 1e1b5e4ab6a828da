//! What the ledger keeps of transactions that clients handed in.

use std::fs;

use chain::ledger::{Answer, Input, Output, RequestId};
use tempfile::TempDir;
use tests::chains::{Given, Grower, account, clock, free_network, signing_key, unsigned};

use crate::{PENDING_LOG, give, open};

fn delete() -> kv::Operation<'static> {
    kv::Operation::Delete { key: b"k", expect: kv::Expect::Any }
}

/// Whose client it was is forgotten once a transaction is in a block, so all are kept again.
#[test]
fn a_submission_whose_block_was_reverted_survives_a_clean_stop() {
    let (network, folder) = (free_network(), TempDir::new().unwrap());
    let mut grower = Grower::new(&network);
    let genesis = grower.place.clone();
    let stranger = signing_key(7);
    let waiting = grower.sign(&stranger, unsigned(&stranger, 0, &[delete()]));
    let mut ledger = open(folder.path(), &network).unwrap();
    let submission =
        Input::Submission { request: RequestId(1), transactions: vec![waiting.clone()] };
    ledger.handle(clock(&network, 1000), submission).unwrap();
    let taken = |output: &Output| {
        matches!(output, Output::Answer { answer: Answer::Submitted { refusal: None, .. }, .. })
    };
    assert!(std::iter::from_fn(|| ledger.poll()).any(|output| taken(&output)));
    let block = grower.grow(account(1), std::slice::from_ref(&waiting));
    grower.place = genesis;
    let heavier = [grower.grow(account(2), &[]), grower.grow(account(2), &[])];
    give(&mut ledger, &network, &[Given::Block(block)]);
    assert!(ledger.pool().get(&waiting.txid()).is_none(), "it is in a block");
    give(&mut ledger, &network, &heavier.map(Given::Block));
    assert!(ledger.pool().get(&waiting.txid()).is_some(), "it waits again");
    ledger.flush().unwrap();
    drop(ledger);
    let ledger = open(folder.path(), &network).unwrap();
    assert_eq!(ledger.pool().get(&waiting.txid()), Some(&waiting));
}

/// The log was never written anew, because those that had expired counted as waiting.
#[test]
fn what_expires_does_not_make_the_pending_log_grow_for_ever() {
    let (network, folder) = (free_network(), TempDir::new().unwrap());
    let mut grower = Grower::new(&network);
    let mut ledger = open(folder.path(), &network).unwrap();
    let mut longest = 0;
    for round in 0..60u32 {
        // Nobody can include them: their accounts' first transactions are not there.
        let transactions: Vec<_> = (0..200)
            .map(|number| {
                let key = signing_key(number);
                let late = unsigned(&key, 1, &[delete()]);
                let expires_at = grower.place.facts.height + 1;
                grower.sign(&key, chain::tx::Unsigned { expires_at, ..late })
            })
            .collect();
        let submission = Input::Submission { request: RequestId(u64::from(round)), transactions };
        ledger.handle(clock(&network, 1000), submission).unwrap();
        let block = grower.grow(account(1), &[]);
        give(&mut ledger, &network, &[Given::Block(block)]);
        longest = longest.max(fs::metadata(folder.path().join(PENDING_LOG)).unwrap().len());
    }
    let left = fs::metadata(folder.path().join(PENDING_LOG)).unwrap().len();
    assert!(left < longest, "it was written anew: {left} of {longest} bytes are left");
}

//! Bugs of the ledger that were found, each by its name.

use chain::Hash;
use chain::block::CheckedBlock;
use chain::ledger::{HeadersVerdict, Input, Ledger, LedgerOptions, Output, PeerId, RequestId};
use chain::mempool::{DropReason, PoolLimits};
use chain::rules::RuleError;
use chain::rules::isolation::check_headers;
use chain::store::MemoryStore;
use chain::tx::Unsigned;
use tests::chains::{
    Grower, account, clock, free_network, memory_ledger, mined, options, signing_key, unsigned,
};

use super::maker::write;

const PEER: PeerId = PeerId(1);

fn say(ledger: &mut Ledger<MemoryStore>, input: Input) -> Vec<Output> {
    let now = clock(&free_network(), 100);
    ledger.handle(now, input).unwrap();
    std::iter::from_fn(|| ledger.poll()).collect()
}

/// Nodes stayed on different chains of equal work until somebody wrote something.
#[test]
fn a_tie_is_mined_out_although_nothing_waits() {
    let network = free_network();
    let miner = LedgerOptions { payee: Some(account(0)), ..options(&network) };
    let mut ledger = memory_ledger(miner);
    let (mut one, mut other) = (Grower::new(&network), Grower::new(&network));
    let block = one.grow(account(1), &[]);
    let said = say(&mut ledger, Input::Block { from: PEER, block });
    assert!(
        !said.iter().any(|output| matches!(output, Output::Template(Some(_)))),
        "nothing waits"
    );
    let rival = *other.grow(account(2), &[]).header();
    let headers = check_headers(&network, &[rival]).unwrap();
    let said = say(&mut ledger, Input::Headers { from: PEER, headers });
    assert!(said.iter().any(|output| matches!(output, Output::Template(Some(_)))), "{said:?}");
    let block = one.grow(account(1), &[]);
    let said = say(&mut ledger, Input::Block { from: PEER, block });
    assert!(
        said.iter().any(|output| matches!(output, Output::Template(None))),
        "decided: {said:?}"
    );
}

/// Whoever waited for a write whose sequence another one took on the better chain was told
/// nothing, and what was told of the pool came before the change of the tip it followed from.
#[test]
fn a_write_superseded_by_a_reorganisation_is_told_after_it() {
    let network = free_network();
    let mut ledger = memory_ledger(options(&network));
    let (mut one, mut other) = (Grower::new(&network), Grower::new(&network));
    let key = signing_key(1);
    let loser = one.sign(&key, unsigned(&key, 0, &[write()]));
    let winner = other.sign(&key, unsigned(&key, 0, &[write(), write()]));
    let block = one.grow(account(1), std::slice::from_ref(&loser));
    say(&mut ledger, Input::Block { from: PEER, block });
    let block = other.grow(account(2), &[winner]);
    say(&mut ledger, Input::Block { from: PEER, block });
    let block = other.grow(account(2), &[]);
    let said = say(&mut ledger, Input::Block { from: PEER, block });
    let at = |found: &dyn Fn(&Output) -> bool| said.iter().position(found);
    let moved = at(&|output| matches!(output, Output::TipChanged(_))).unwrap();
    let dropped = at(&|output| {
        matches!(output, Output::Dropped { txid, reason: DropReason::Superseded }
            if *txid == loser.txid())
    });
    assert!(dropped.unwrap() > moved);
    assert_eq!(ledger.pool().dropped(&loser.txid()), Some(DropReason::Superseded));
}

/// It was said to be dropped before it was said to be in the pool, and peers were told of it for
/// ever.
#[test]
fn a_transaction_that_a_later_one_of_its_submission_pushes_out_ends_as_dropped() {
    let network = free_network();
    let mut grower = Grower::new(&network);
    let mut signed = |signer, fee| {
        let key = signing_key(signer);
        grower.sign(&key, Unsigned { fee, ..unsigned(&key, 0, &[write()]) })
    };
    let (poor, rich) = (signed(1, 1), signed(2, 1_000));
    let bytes = poor.bytes().len().max(rich.bytes().len());
    let pool = PoolLimits { bytes, ..PoolLimits::default() };
    let mut ledger = memory_ledger(LedgerOptions { pool, ..options(&network) });
    for payee in [1, 2, 0] {
        let block = grower.grow(account(payee), &[]);
        say(&mut ledger, Input::Block { from: PEER, block });
    }
    let transactions = vec![poor.clone(), rich.clone()];
    let said = say(&mut ledger, Input::Submission { request: RequestId(1), transactions });
    let about: Vec<(&str, Hash)> = said
        .iter()
        .filter_map(|output| match output {
            Output::Pooled { transaction, .. } => Some(("pooled", transaction.txid())),
            Output::Dropped { txid, .. } => Some(("dropped", *txid)),
            _ => None,
        })
        .collect();
    let (poor, rich) = (poor.txid(), rich.txid());
    assert_eq!(about, [("pooled", poor), ("dropped", poor), ("pooled", rich)]);
}

/// What is passed on before it is executed is not held against who passed it on.
#[test]
fn an_invalid_block_that_was_only_relayed_blames_nobody() {
    let network = free_network();
    let mut ledger = memory_ledger(options(&network));
    let mut grower = Grower::new(&network);
    let good = grower.grow(account(1), &[]);
    say(&mut ledger, Input::Relayed { block: good.clone() });
    assert_eq!(ledger.standing().tip.hash, good.hash(), "a good one is taken");
    let mut bad = grower.next(account(1), &[]);
    bad.coinbase.value += 1;
    let bad = grower.verifier.block(mined(bad).encode()).unwrap();
    let header = |block: &CheckedBlock| check_headers(&network, &[*block.header()]).unwrap()[0];
    let verdict = |said: &[Output]| {
        said.iter().find_map(|output| match output {
            Output::HeadersJudged { verdict, .. } => Some(Ok(verdict.clone())),
            Output::PeerFault { error, .. } => Some(Err(error.clone())),
            _ => None,
        })
    };
    let announce = |block| Input::Announced { from: PEER, header: header(block) };
    let said = say(&mut ledger, announce(&bad));
    assert!(matches!(verdict(&said), Some(Ok(HeadersVerdict::Accepted { new: 1, .. }))));
    assert_eq!(verdict(&say(&mut ledger, Input::Relayed { block: bad.clone() })), None);
    assert_eq!(ledger.standing().tip.hash, good.hash());
    // Another peer may not know yet. Who vouches for it, or builds on it, must.
    let said = say(&mut ledger, announce(&bad));
    assert_eq!(verdict(&said), Some(Ok(HeadersVerdict::Invalid)));
    let headers = vec![header(&bad)];
    let error = RuleError::InvalidAncestor { hash: bad.hash() };
    let said = say(&mut ledger, Input::Headers { from: PEER, headers });
    assert_eq!(verdict(&said), Some(Err(error)));
    grower.place = grower.place.after(bad.header());
    let child = grower.next(account(1), &[]);
    let child = grower.verifier.block(mined(child).encode()).unwrap();
    let error = RuleError::InvalidAncestor { hash: child.hash() };
    assert_eq!(verdict(&say(&mut ledger, announce(&child))), Some(Err(error)));
}

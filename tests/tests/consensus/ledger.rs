//! Bugs of the ledger that were found, each by its name.

use chain::ledger::{Input, Ledger, LedgerOptions, Output, PeerId};
use chain::mempool::DropReason;
use chain::rules::isolation::check_headers;
use chain::store::MemoryStore;
use tests::chains::{
    Grower, account, clock, free_network, memory_ledger, options, signing_key, unsigned,
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

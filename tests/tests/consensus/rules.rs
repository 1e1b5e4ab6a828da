//! Every rule is refused by its own name, leaves the node as it was, and a good block follows.

mod blocks;
mod transactions;

use std::sync::Arc;

use chain::block::{Block, BlockDecodeError, CheckedBlock};
use chain::ledger::{HeadersVerdict, Input, Ledger, Output, PeerId, Time};
use chain::params::{Limits, Network};
use chain::rules::RuleError;
use chain::rules::isolation::check_headers;
use chain::store::{Archive, MemoryStore};
use chain::tx::{CheckedTransaction, MIN_TRANSACTION_BYTES, Transaction, Unsigned};
use kv::Operation;
use tests::chains::{
    Grower, account, clock, least_fee, memory_ledger, mined, options, paid_network, signing_key,
    unsigned,
};

use super::maker::write;
use blocks::BLOCKS;
use transactions::TRANSACTIONS;

/// Signs everything here; it has coins.
pub(super) const SIGNER: u8 = 1;

/// The only peer. It is never dropped here, so it may err again.
const PEER: PeerId = PeerId(1);

/// Limits that are easily passed.
const LIMITS: Limits =
    Limits { value_bytes: 100, transaction_bytes: 1_400, block_bytes: 4_000, operations: 3 };

/// A node with a short chain.
pub(super) struct Scene {
    pub(super) grower: Grower,
    ledger: Ledger<MemoryStore>,
    now: Time,
}

impl Scene {
    pub(super) fn new() -> Scene {
        let network = Network { limits: LIMITS, ..paid_network() };
        let ledger = memory_ledger(options(&network));
        let now = clock(&network, 100);
        let mut scene = Scene { grower: Grower::new(&network), ledger, now };
        for _ in 0..12 {
            scene.grow(&[]);
        }
        scene
    }

    /// The next block, valid but unmined.
    fn block(&mut self) -> Block {
        self.grower.next(account(SIGNER), &[])
    }

    fn grow(&mut self, transactions: &[CheckedTransaction]) {
        let block = self.grower.grow(account(SIGNER), transactions);
        let outputs = self.send(block);
        assert!(outputs.iter().any(|output| matches!(output, Output::TipChanged(_))));
        assert_eq!(self.ledger.store().tip().unwrap().hash, self.grower.place.hash);
    }

    fn send(&mut self, block: CheckedBlock) -> Vec<Output> {
        self.ledger.handle(self.now, Input::Block { from: PEER, block }).unwrap();
        std::iter::from_fn(|| self.ledger.poll()).collect()
    }

    /// What the node says of a block's bytes: the rule that refuses them.
    fn judge(&mut self, bytes: Vec<u8>) -> Option<RuleError> {
        let block = match self.grower.verifier.block(bytes) {
            Ok(block) => block,
            Err(error) => return Some(error),
        };
        self.send(block).into_iter().find_map(|output| match output {
            Output::PeerFault { error, .. } => Some(error),
            _ => None,
        })
    }

    /// A transaction with the right sequence and the least fee.
    pub(super) fn transaction(&self, operations: &[Operation<'_>]) -> Unsigned {
        let mut transaction = unsigned(&signing_key(SIGNER), 0, operations);
        transaction.fee = least_fee(&self.grower.network, &transaction);
        transaction
    }

    pub(super) fn signed(&self, transaction: Unsigned) -> Transaction {
        transaction.sign(&signing_key(SIGNER), &self.grower.network.genesis_hash())
    }

    /// The next block with one transaction, whatever that is.
    fn carrying(&mut self, transaction: Transaction) -> Vec<u8> {
        let mut block = self.block();
        block.coinbase.value = block.coinbase.value.saturating_add(transaction.fee);
        block.transactions.push(Arc::new(transaction));
        mined(block).encode()
    }
}

/// A rule, bytes that break it, and how that must be refused.
struct Row<Spoilt> {
    name: &'static str,
    spoil: fn(&mut Scene) -> Spoilt,
    refused: fn(&RuleError) -> bool,
}

macro_rules! row {
    ($name:literal, $spoil:expr, $pattern:pat $(if $guard:expr)?) => {
        Row { name: $name, spoil: $spoil, refused: |error| matches!(error, $pattern $(if $guard)?) }
    };
}
use row;

fn put<'a>(key: &'a [u8], value: &'a [u8]) -> Operation<'a> {
    Operation::Put { key, value, expect: kv::Expect::Any, policy: None }
}

/// Offers bytes that must be refused; then the node is as it was and takes a good block.
fn refuse(
    scene: &mut Scene,
    name: &str,
    refused: fn(&RuleError) -> bool,
    judge: impl FnOnce(&mut Scene) -> Option<RuleError>,
) {
    let tip = scene.ledger.store().tip().unwrap();
    let stored = |store: &MemoryStore| (store.state().clone(), store.pages().clone());
    let before = stored(scene.ledger.store());
    let error = judge(scene).unwrap_or_else(|| panic!("{name}: not refused"));
    assert!(refused(&error), "{name}: refused as {error:?}");
    assert_eq!(scene.ledger.store().tip().unwrap(), tip, "{name}");
    assert_eq!(stored(scene.ledger.store()), before, "{name}");
    let good = scene.signed(scene.transaction(&[write()])).bytes().to_vec();
    let good = scene.grower.verifier.transactions(&[good]).remove(0).unwrap();
    scene.grow(&[good]);
}

#[test]
fn every_block_rule_is_refused_by_name() {
    for row in BLOCKS {
        let mut scene = Scene::new();
        let block = (row.spoil)(&mut scene);
        refuse(&mut scene, row.name, row.refused, |scene| scene.judge(block.encode()));
    }
}

#[test]
fn every_transaction_rule_is_refused_by_name_alone_and_in_a_block() {
    for row in TRANSACTIONS {
        let mut scene = Scene::new();
        let transaction = (row.spoil)(&mut scene);
        let bytes = transaction.bytes().to_vec();
        refuse(&mut scene, row.name, row.refused, |scene| {
            scene.grower.verifier.transactions(&[bytes]).remove(0).err()
        });
        let mut scene = Scene::new();
        refuse(&mut scene, row.name, row.refused, |scene| {
            let bytes = scene.carrying(transaction);
            scene.judge(bytes)
        });
    }
}

#[test]
fn bytes_cut_short_or_left_over_are_refused() {
    let mut scene = Scene::new();
    let bytes = scene.signed(scene.transaction(&[write()])).bytes().to_vec();
    let longer = [&bytes[..], &[0]].concat();
    for spoilt in [bytes[..bytes.len() - 1].to_vec(), longer, Vec::new()] {
        let error = scene.grower.verifier.transactions(&[spoilt]).remove(0).unwrap_err();
        assert!(matches!(error, RuleError::TransactionMalformed(_)), "{error:?}");
    }
    let bytes = mined(scene.block()).encode();
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(scene.judge(longer), Some(RuleError::BlockMalformed(BlockDecodeError::Trailing(1))));
    for length in [0, 79, 80, bytes.len() - 1] {
        let error = scene.judge(bytes[..length].to_vec());
        assert!(matches!(error, Some(RuleError::BlockMalformed(_))), "{error:?}");
    }
    assert_eq!(scene.judge(bytes), None, "the whole block is good");
}

#[test]
fn a_block_from_the_future_is_no_fault_and_welcome_later() {
    let mut scene = Scene::new();
    let limit_s = scene.grower.network.future_limit_s;
    let mut block = scene.block();
    let latest = u32::try_from(scene.now.seconds()).unwrap() + limit_s;
    block.header.time = latest + 1;
    let bytes = mined(block).encode();
    let block = scene.grower.verifier.block(bytes).unwrap();
    let outputs = scene.send(block.clone());
    assert!(outputs.iter().all(|output| !matches!(output, Output::PeerFault { .. })));
    let verdict = |output: &Output| match output {
        Output::HeadersJudged { verdict, .. } => Some(verdict.clone()),
        _ => None,
    };
    assert_eq!(outputs.iter().find_map(verdict), Some(HeadersVerdict::TooNew));
    scene.now = scene.now.plus_ms(1_000);
    scene.send(block.clone());
    assert_eq!(scene.ledger.store().tip().unwrap().hash, block.hash());
}

#[test]
fn headers_that_do_not_follow_each_other_are_refused() {
    let mut scene = Scene::new();
    let [first, second] = [(); 2].map(|()| mined(scene.block()).header);
    let error = check_headers(&scene.grower.network, &[first, second]).unwrap_err();
    let (got, expected) = (second.prev, first.hash());
    assert_eq!(error, RuleError::NotLinked { got, expected });
}

#[test]
fn a_child_of_an_invalid_block_is_refused() {
    let mut scene = Scene::new();
    let mut bad = scene.block();
    bad.coinbase.value += 1;
    let bad = mined(bad);
    let good_place = scene.grower.place.clone();
    assert!(scene.judge(bad.encode()).is_some());
    scene.grower.place = good_place.after(&bad.header);
    let child = mined(scene.block());
    let error = scene.judge(child.encode());
    assert_eq!(error, Some(RuleError::InvalidAncestor { hash: child.header.hash() }));
    scene.grower.place = good_place;
    scene.grow(&[]);
}

#[test]
fn no_transaction_and_no_coinbase_can_have_the_64_bytes_of_a_merkle_node() {
    const { assert!(MIN_TRANSACTION_BYTES > 64) };
    let mut coinbase = Scene::new().block().coinbase;
    coinbase.tag.clear();
    assert!(coinbase.encode().len() > 64);
}

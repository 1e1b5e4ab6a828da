//! Whose signatures are taken for good: at the ledger and the verifier.

use std::sync::Arc;

use chain::Hash;
use chain::commitment::commit;
use chain::execute::{BlockContext, StateMachine};
use chain::header::{HEADER_BYTES, Header};
use chain::ledger::{AssumedBlocks, Input, Ledger, Output, PeerId};
use chain::params::Network;
use chain::rules::RuleError;
use chain::rules::isolation::check_headers;
use chain::store::{Archive, Store};
use chain::tx::Transaction;
use kv::history::{Record, START, link, value_hash};
use kv::{Expect, Head, KeyValue, Operation, VersionKind};
use tests::chains::{
    Grower, Place, account, candidate, clock, empty_store, free_network, memory_ledger, mined,
    options, signing_key, unsigned, verifier,
};

const PEER: PeerId = PeerId(1);

/// Height of the chain.
pub(super) const BLOCKS: u32 = 12;
/// Blocks with a signature that is none.
pub(super) const FORGED: [u32; 2] = [3, 7];

/// A block takes a week, so two of them are two weeks of work.
pub(super) fn weekly_network() -> Network {
    let name = "weekly".to_string();
    Network { name, target_interval_s: 7 * 24 * 3600, ..free_network() }
}

/// The network, if the chain's block at this height is assumed to be valid.
pub(super) fn assuming(network: &Network, chain: &[Vec<u8>], height: u32) -> Network {
    let mut network = network.clone();
    network.landmarks.assume_valid = Some(hash_of(chain, height));
    network
}

pub(super) fn hash_of(chain: &[Vec<u8>], height: u32) -> Hash {
    header_of(&chain[height as usize - 1]).hash()
}

fn header_of(block: &[u8]) -> Header {
    Header::decode(block.first_chunk::<HEADER_BYTES>().unwrap())
}

/// A write that says it is of a signer, signed by another one.
fn write(network: &Network, signer: u8, signed_by: u8) -> Transaction {
    let key = [signer];
    let put = Operation::Put { key: &key, value: b"value", expect: Expect::Any, policy: None };
    let unsigned = unsigned(&signing_key(signer), 0, &[put]);
    unsigned.sign(&signing_key(signed_by), &network.genesis_hash())
}

/// A chain with one write in each block, as bytes. What a forged write does is what the honest one
/// does, but for its id, which is in the history of its key.
pub(super) fn chain_with_forgeries(network: &Network) -> Vec<Vec<u8>> {
    let (mut place, mut store) = (Place::genesis(network), empty_store(network));
    let mut honest_chain = Grower::new(network);
    let mut blocks = Vec::new();
    for height in 1..=BLOCKS {
        let signer = u8::try_from(height).unwrap();
        let signed_by = if FORGED.contains(&height) { 99 } else { signer };
        let honest = write(network, signer, signer).bytes().to_vec();
        let honest = honest_chain.verifier.transactions(&[honest]).remove(0).unwrap();
        let transaction = write(network, signer, signed_by);
        let context = BlockContext { network, height, payee: account(0) };
        let mut delta = KeyValue.execute(&store, context, std::slice::from_ref(&honest)).unwrap();
        for row in &mut delta.rows {
            if row.key.starts_with(b"k") {
                let head = Head::decode(row.after.as_ref().unwrap()).unwrap();
                let record = Record {
                    version: 1,
                    height,
                    txid: transaction.txid(),
                    writer: head.owner,
                    kind: VersionKind::Put,
                    value_hash: value_hash(b"value"),
                };
                row.after = Some(Head { history: link(&START, &record), ..head }.encode());
            }
        }
        let delta = commit(&KeyValue, &store, delta).unwrap();
        store.connect(&honest_chain.grow(account(0), &[honest]), height, &delta).unwrap();
        let mut block = candidate(network, &place, account(0), &[]);
        block.coinbase.state_root = delta.state_root;
        block.transactions.push(Arc::new(transaction));
        let block = mined(block);
        place = place.after(&block.header);
        blocks.push(block.encode());
    }
    blocks
}

/// Gives a ledger the headers of a chain, then its blocks in order, as long as they verify;
/// returns the rule that one broke.
pub(super) fn sync<S: Store>(
    ledger: &mut Ledger<S>,
    network: &Network,
    chain: &[Vec<u8>],
) -> Option<RuleError> {
    let now = clock(network, BLOCKS);
    let headers: Vec<Header> = chain.iter().map(|block| header_of(block)).collect();
    let headers = check_headers(network, &headers).unwrap();
    ledger.handle(now, Input::Headers { from: PEER, headers }).unwrap();
    let mut assumed = AssumedBlocks::default();
    for block in chain {
        while let Some(output) = ledger.poll() {
            if let Output::Assumed(blocks) = output {
                assumed = blocks;
            }
        }
        let token = assumed.get(&header_of(block).hash());
        match verifier(network).blocks(vec![(block.clone(), token)]).remove(0) {
            Ok(block) => ledger.handle(now, Input::Block { from: PEER, block }).unwrap(),
            Err(fault) => return Some(fault.error),
        }
    }
    None
}

#[test]
fn signatures_are_assumed_up_to_the_named_block_and_no_further() {
    let network = weekly_network();
    let chain = chain_with_forgeries(&network);
    // The block that is assumed, and how far the chain is taken then. Of block 11 there is too
    // little on top.
    for (assumed, height) in [(None, 2), (Some(2), 2), (Some(5), 6), (Some(10), 12), (Some(11), 2)]
    {
        let network = match assumed {
            Some(height) => assuming(&network, &chain, height),
            None => network.clone(),
        };
        let mut ledger = memory_ledger(options(&network));
        let broken = sync(&mut ledger, &network, &chain);
        assert_eq!(ledger.standing().tip.height, height, "{assumed:?}");
        assert_eq!(broken, (height < BLOCKS).then_some(RuleError::Signature), "{assumed:?}");
    }
}

#[test]
fn what_is_assumed_of_one_block_says_nothing_of_another() {
    let network = weekly_network();
    let chain = chain_with_forgeries(&network);
    let assuming = assuming(&network, &chain, 10);
    let mut ledger = memory_ledger(options(&assuming));
    let headers: Vec<Header> = chain.iter().map(|block| header_of(block)).collect();
    let headers = check_headers(&network, &headers).unwrap();
    let now = clock(&network, BLOCKS);
    ledger.handle(now, Input::Headers { from: PEER, headers }).unwrap();
    let said = std::iter::from_fn(|| ledger.poll()).find_map(|output| match output {
        Output::Assumed(blocks) => Some(blocks),
        _ => None,
    });
    let assumed = said.expect("block 10 is deep enough");
    assert_eq!(assumed.get(&hash_of(&chain, 11)), None);
    let other = assumed.get(&hash_of(&chain, 4));
    let verifier = verifier(&network);
    let judge = |bytes: &[u8], token| {
        let judged = verifier.blocks(vec![(bytes.to_vec(), token)]).remove(0);
        judged.map(|_| ()).map_err(|fault| fault.error)
    };
    let forged = &chain[FORGED[0] as usize - 1];
    assert_eq!(judge(forged, other), Err(RuleError::Signature));
    let own = assumed.get(&hash_of(&chain, FORGED[0]));
    assert_eq!(judge(forged, own), Ok(()));
    // Every other rule holds: the body must be that of the header, and its transactions in form.
    let mut other_body = chain[3].clone();
    other_body[..HEADER_BYTES].copy_from_slice(&forged[..HEADER_BYTES]);
    assert!(matches!(judge(&other_body, own), Err(RuleError::MerkleRoot { .. })));
    let mut no_work = forged.clone();
    no_work[HEADER_BYTES - 4..HEADER_BYTES].fill(0xee);
    while check_headers(&network, &[header_of(&no_work)]).is_ok() {
        no_work[HEADER_BYTES - 1] -= 1;
    }
    assert!(matches!(judge(&no_work, own), Err(RuleError::NotEnoughWork { .. })));
}

#[test]
fn a_forged_write_does_not_come_back_to_the_pool() {
    let network = weekly_network();
    let chain = chain_with_forgeries(&network);
    let assuming = assuming(&network, &chain, 5);
    let mut ledger = memory_ledger(options(&assuming));
    // Blocks 1 to 6 are taken: 3 on trust, 6 by its signature.
    sync(&mut ledger, &assuming, &chain);
    let txids: Vec<String> = (1..=6)
        .map(|signer| {
            write(&network, signer, if FORGED.contains(&signer.into()) { 99 } else { signer })
        })
        .map(|write| write.txid().to_string())
        .collect();
    while ledger.poll().is_some() {}
    let mut rival = Grower::new(&network);
    let blocks: Vec<_> = (0..=BLOCKS).map(|_| rival.grow(account(1), &[])).collect();
    let now = clock(&network, BLOCKS + 2);
    let headers: Vec<Header> = blocks.iter().map(|block| *block.header()).collect();
    let headers = check_headers(&network, &headers).unwrap();
    ledger.handle(now, Input::Headers { from: PEER, headers }).unwrap();
    for block in blocks {
        ledger.handle(now, Input::Block { from: PEER, block }).unwrap();
    }
    assert_eq!(ledger.standing().tip.height, BLOCKS + 1);
    let back: Vec<String> = std::iter::from_fn(|| ledger.poll())
        .filter_map(|output| match output {
            Output::Pooled { transaction, reverted: true, .. } => Some(transaction.txid()),
            _ => None,
        })
        .map(|txid| txid.to_string())
        .collect();
    let signed = |at: &usize| !FORGED.contains(&u32::try_from(*at + 1).unwrap());
    let expected: Vec<String> = (0..6).filter(signed).map(|at| txids[at].clone()).collect();
    let sorted = |mut list: Vec<String>| {
        list.sort();
        list
    };
    assert_eq!(sorted(back), sorted(expected));
    assert_eq!(ledger.store().main_height(&hash_of(&chain, 1)).unwrap(), None);
}

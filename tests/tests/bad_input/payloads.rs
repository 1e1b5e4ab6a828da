//! Peers that keep to the protocol and deliver what breaks a rule of the chain.

use std::sync::Arc;

use chain::block::{Block, Coinbase};
use chain::commitment::EMPTY;
use chain::header::{Header, VERSION_FIXED};
use chain::params::Network;
use chain::rules::merkle;
use chain::tx::{PublicKey, SigningKey, TRANSACTION_VERSION, Transaction, Unsigned};
use chain::{Hash, sha256d};
use kv::{Expect, Operation};
use net::Message;

use super::rogue::Rogue;
use super::support::{assert_well_among_peers, free_network, start_talkative, wait_for_log};

/// Lets a peer misbehave; asserts that it is disconnected for this reason, and nobody else.
fn assert_dropped(why: &str, misbehave: impl FnOnce(&mut Rogue, &Network)) {
    let temp = tempfile::tempdir().expect("there is room for a test");
    let (network, file) = free_network(temp.path());
    let mut node = start_talkative(temp.path(), &file.display().to_string());
    let mut rogue = Rogue::connect(&node, &network);
    misbehave(&mut rogue, &network);
    rogue.assert_closed();
    wait_for_log(&node, &format!("broke a rule of the chain: {why}"));
    assert_well_among_peers(&mut node);
}

/// The first block after genesis, but for its merkle root and its nonce.
fn candidate(network: &Network) -> Block {
    let coinbase = Coinbase {
        height: 1,
        extranonce: 0,
        tag: b"rogue".to_vec(),
        value: network.subsidy.at(1),
        payee: PublicKey([7; 32]),
        state_root: EMPTY,
    };
    let header = Header {
        version: VERSION_FIXED,
        prev: network.genesis_hash(),
        merkle_root: Hash::ZERO,
        time: network.genesis_time + 1,
        bits: network.start_bits,
        nonce: 0,
    };
    Block { header, coinbase, transactions: Vec::new() }
}

/// Sets the merkle root.
fn rooted(mut block: Block) -> Block {
    block.header.merkle_root = merkle::root(&block.txids()).expect("transactions differ");
    block
}

/// Rolls the nonce until the header meets its target, or until it does not.
fn rolled(mut block: Block, meets: bool) -> Block {
    let target = block.header.bits.decode().expect("the network's bits");
    while target.is_met_by(&block.header.hash()) != meets {
        block.header.nonce += 1;
    }
    block
}

/// Announces a block and delivers it when asked.
fn deliver(rogue: &mut Rogue, block: &Block) {
    rogue.send(&Message::Headers(vec![block.header]));
    rogue.wait_until_asked_for(block.header.hash());
    rogue.send(&Message::Block(block.encode()));
}

/// A transaction whose signature holds on another network only.
fn forged() -> Transaction {
    let key = SigningKey::from([7; 32]);
    let operation =
        Operation::Put { key: b"forged", value: b"", expect: Expect::Any, policy: None };
    let unsigned = Unsigned {
        version: TRANSACTION_VERSION,
        signer: PublicKey::from(&key),
        sequence: 0,
        expires_at: 0,
        fee: 0,
        operations: vec![operation.encode()],
    };
    unsigned.sign(&key, &Network::main().genesis_hash())
}

#[test]
fn headers_without_work() {
    assert_dropped("header hash", |rogue, network| {
        let lazy = rolled(rooted(candidate(network)), false);
        rogue.send(&Message::Headers(vec![lazy.header]));
    });
}

#[test]
fn headers_with_another_target_than_the_rules_ask_for() {
    assert_dropped("header bits", |rogue, network| {
        let mut block = rooted(candidate(network));
        block.header.bits = Network::dev().start_bits;
        rogue.send(&Message::Headers(vec![rolled(block, true).header]));
    });
}

#[test]
fn headers_from_before_their_parent() {
    assert_dropped("header time", |rogue, network| {
        let mut block = rooted(candidate(network));
        block.header.time = network.genesis_time;
        rogue.send(&Message::Headers(vec![rolled(block, true).header]));
    });
}

#[test]
fn a_block_whose_merkle_root_is_not_that_of_its_transactions() {
    assert_dropped("merkle root", |rogue, network| {
        deliver(rogue, &rolled(candidate(network), true));
    });
}

#[test]
fn a_block_whose_bytes_do_not_decode() {
    assert_dropped("2 bytes follow the block", |rogue, network| {
        let block = rolled(rooted(candidate(network)), true);
        rogue.send(&Message::Headers(vec![block.header]));
        rogue.wait_until_asked_for(block.header.hash());
        rogue.send(&Message::Block([&block.encode()[..], &[0; 2]].concat()));
    });
}

#[test]
fn a_block_that_pays_its_miner_too_much() {
    assert_dropped("coinbase pays", |rogue, network| {
        let mut block = candidate(network);
        block.coinbase.value += 1;
        deliver(rogue, &rolled(rooted(block), true));
    });
}

#[test]
fn a_block_with_a_transaction_whose_signature_does_not_verify() {
    assert_dropped("signature does not verify", |rogue, network| {
        let mut block = candidate(network);
        block.transactions.push(Arc::new(forged()));
        deliver(rogue, &rolled(rooted(block), true));
    });
}

#[test]
fn a_block_that_commits_to_another_state() {
    assert_dropped("coinbase commits to another state root", |rogue, network| {
        let mut block = candidate(network);
        block.coinbase.state_root = [7; 32];
        deliver(rogue, &rolled(rooted(block), true));
    });
}

/// Announces a transaction and delivers it when it is asked for.
fn deliver_transaction(rogue: &mut Rogue, bytes: Vec<u8>) {
    let txid = sha256d(&bytes);
    rogue.send(&Message::AnnounceTransactions { txids: vec![txid] });
    rogue.wait_for("being asked for the transaction", |message| match message {
        Message::GetTransactions { txids } => txids.contains(&txid).then_some(()),
        _ => None,
    });
    rogue.send(&Message::Transactions(vec![bytes]));
}

#[test]
fn a_transaction_whose_signature_does_not_verify() {
    assert_dropped("signature does not verify", |rogue, _| {
        deliver_transaction(rogue, forged().bytes().to_vec());
    });
}

#[test]
fn a_transaction_that_is_not_one() {
    assert_dropped("transaction bytes are cut short or malformed", |rogue, _| {
        deliver_transaction(rogue, vec![0xff; 200]);
    });
}

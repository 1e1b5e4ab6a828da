//! Ways to break each rule of headers, coinbases and whole blocks.

use std::sync::Arc;

use chain::CompactTarget;
use chain::block::Block;
use chain::execute::TransactionFault;
use chain::rules::RuleError;
use chain::tx::Unsigned;
use tests::chains::{mined, worked};

use super::super::maker::write;
use super::{Row, put, row};

/// Rules of headers, coinbases and whole blocks.
pub(super) const BLOCKS: &[Row<Block>] = &[
    row!(
        "header version",
        |scene| {
            let mut block = scene.block();
            block.header.version |= 1;
            mined(block)
        },
        RuleError::HeaderVersion { got: 0x2000_0001 }
    ),
    row!(
        "target easier than the start",
        |scene| {
            let mut block = scene.block();
            block.header.bits = CompactTarget(0x2100_ffff);
            mined(block)
        },
        RuleError::BadTarget { got: CompactTarget(0x2100_ffff) }
    ),
    row!(
        "target that does not decode",
        |scene| {
            let mut block = mined(scene.block());
            block.header.bits = CompactTarget(0x2080_0000);
            block
        },
        RuleError::BadTarget { got: CompactTarget(0x2080_0000) }
    ),
    row!(
        "too little work",
        |scene| {
            let mut block = mined(scene.block());
            let target = block.header.bits.decode().unwrap();
            while target.is_met_by(&block.header.hash()) {
                block.header.nonce += 1;
            }
            block
        },
        RuleError::NotEnoughWork { .. }
    ),
    row!(
        "harder target than required",
        |scene| {
            let mut block = scene.block();
            block.header.bits = CompactTarget(0x2000_ffff);
            mined(block)
        },
        RuleError::WrongTarget { got: CompactTarget(0x2000_ffff), .. }
    ),
    row!("time at the median", |scene| {
        let mut block = scene.block();
        block.header.time = scene.grower.place.facts.median_time();
        mined(block)
    }, RuleError::TimeTooOld { got, median } if got == median),
    row!(
        "merkle root",
        |scene| {
            let mut block = mined(scene.block());
            block.header.merkle_root.0[0] ^= 1;
            worked(block)
        },
        RuleError::MerkleRoot { .. }
    ),
    row!(
        "merkle tree with equal neighbours",
        |scene| {
            let mut block = mined(scene.block());
            let twice = Arc::new(scene.signed(scene.transaction(&[write()])));
            block.transactions = vec![Arc::clone(&twice), twice];
            worked(block)
        },
        RuleError::MerkleMutated
    ),
    row!(
        "coinbase height",
        |scene| {
            let mut block = scene.block();
            block.coinbase.height += 1;
            mined(block)
        },
        RuleError::CoinbaseHeight { got: 14, expected: 13 }
    ),
    row!(
        "coinbase of too much",
        |scene| {
            let mut block = scene.block();
            block.coinbase.value += 1;
            mined(block)
        },
        RuleError::CoinbaseValue { got: 1_501, expected: 1_500 }
    ),
    row!(
        "coinbase of too little",
        |scene| {
            let mut block = scene.block();
            block.coinbase.value -= 1;
            mined(block)
        },
        RuleError::CoinbaseValue { got: 1_499, expected: 1_500 }
    ),
    row!(
        "state root",
        |scene| {
            let mut block = scene.block();
            block.coinbase.state_root[31] = 1;
            mined(block)
        },
        RuleError::StateRoot
    ),
    row!(
        "block too large",
        |scene| {
            let mut block = scene.block();
            for sequence in 0..4 {
                let value = [0; 100];
                let mut transaction = scene.transaction(&[put(b"a", &value); 3]);
                transaction.operations[0] = vec![0; 900].into();
                transaction.sequence = sequence;
                block.transactions.push(Arc::new(scene.signed(transaction)));
            }
            mined(block)
        },
        RuleError::BlockTooLarge { got: 4_001.., limit: 4_000 }
    ),
    row!(
        "fees beyond 64 bits",
        |scene| {
            let transaction = Unsigned { fee: u64::MAX, ..scene.transaction(&[write()]) };
            let mut block = scene.block();
            block.transactions.push(Arc::new(scene.signed(transaction)));
            mined(block)
        },
        RuleError::FeesOverflow
    ),
    row!(
        "sequence",
        |scene| {
            let transaction = Unsigned { sequence: 1, ..scene.transaction(&[write()]) };
            let transaction = scene.signed(transaction);
            Block::decode(&scene.carrying(transaction)).unwrap()
        },
        RuleError::Transaction {
            position: 0,
            fault: TransactionFault::WrongSequence { got: 1, expected: 0 },
        }
    ),
    row!(
        "fee above the balance",
        |scene| {
            let transaction = Unsigned { fee: 1 << 40, ..scene.transaction(&[write()]) };
            let transaction = scene.signed(transaction);
            Block::decode(&scene.carrying(transaction)).unwrap()
        },
        RuleError::Transaction { position: 0, fault: TransactionFault::CannotPayFee { .. } }
    ),
    row!(
        "expired",
        |scene| {
            let transaction = Unsigned { expires_at: 12, ..scene.transaction(&[write()]) };
            let transaction = scene.signed(transaction);
            Block::decode(&scene.carrying(transaction)).unwrap()
        },
        RuleError::Transaction {
            position: 0,
            fault: TransactionFault::Expired { expires_at: 12, height: 13 },
        }
    ),
];

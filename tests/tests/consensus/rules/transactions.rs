//! Ways to break each rule of transactions.

use chain::params::Network;
use chain::rules::RuleError;
use chain::tx::{Transaction, Unsigned};
use tests::chains::signing_key;

use super::super::maker::write;
use super::{Row, SIGNER, put, row};

/// Rules of transactions, alone and in a block.
pub(super) const TRANSACTIONS: &[Row<Transaction>] = &[
    row!(
        "version",
        |scene| { scene.signed(Unsigned { version: 2, ..scene.transaction(&[write()]) }) },
        RuleError::TransactionVersion { got: 2 }
    ),
    row!(
        "too large",
        |scene| {
            let mut transaction = scene.transaction(&[write()]);
            transaction.operations[0] = vec![0; 1_400].into();
            transaction.fee = 1 << 20;
            scene.signed(transaction)
        },
        RuleError::TransactionTooLarge { limit: 1_400, .. }
    ),
    row!(
        "no operation",
        |scene| scene.signed(scene.transaction(&[])),
        RuleError::OperationCount { got: 0, limit: 3 }
    ),
    row!(
        "too many operations",
        |scene| scene.signed(scene.transaction(&[write(); 4])),
        RuleError::OperationCount { got: 4, limit: 3 }
    ),
    row!("fee", |scene| {
        let mut transaction = scene.transaction(&[write()]);
        transaction.fee -= 1;
        scene.signed(transaction)
    }, RuleError::FeeTooLow { got, least } if *got + 1 == *least),
    row!("malformed operation", |scene| {
        let mut transaction = scene.transaction(&[write()]);
        transaction.operations[0] = vec![0xff].into();
        scene.signed(transaction)
    }, RuleError::Operation(what) if what.contains("malformed")),
    row!("operation with a byte more", |scene| {
        let mut transaction = scene.transaction(&[write()]);
        transaction.operations[0].push(0);
        transaction.fee += 1;
        scene.signed(transaction)
    }, RuleError::Operation(what) if what.contains("canonical")),
    row!("empty key", |scene| scene.signed(scene.transaction(&[put(b"", b"v")])),
        RuleError::Operation(what) if what.contains("key is empty")),
    row!("key too long", |scene| scene.signed(scene.transaction(&[put(&[b'k'; 256], b"v")])),
        RuleError::Operation(what) if what.contains("256 bytes")),
    row!("value too long", |scene| scene.signed(scene.transaction(&[put(b"k", &[0; 101])])),
        RuleError::Operation(what) if what.contains("101 bytes")),
    row!(
        "another signer's signature",
        |scene| {
            let genesis = scene.grower.network.genesis_hash();
            scene.transaction(&[write()]).sign(&signing_key(2), &genesis)
        },
        RuleError::Signature
    ),
    row!(
        "another network's signature",
        |scene| {
            let genesis = Network::dev().genesis_hash();
            scene.transaction(&[write()]).sign(&signing_key(SIGNER), &genesis)
        },
        RuleError::Signature
    ),
    row!(
        "spoilt signature",
        |scene| {
            let mut bytes = scene.signed(scene.transaction(&[write()])).bytes().to_vec();
            *bytes.last_mut().unwrap() ^= 1;
            Transaction::decode(&bytes).unwrap()
        },
        RuleError::Signature
    ),
];

//! What the crate's tests share: a state in a map, signers, transactions.

use std::collections::BTreeMap;

use chain::execute::{BlockContext, Delta, Order, Range, Row, StateMachine, View};
use chain::params::{KeyPolicy, Network, Subsidy};
use chain::rules::isolation::check_transaction;
use chain::store::StoreError;
use chain::tx::{CheckedTransaction, PublicKey, TRANSACTION_VERSION, Unsigned};
use ed25519_zebra::SigningKey;

use crate::{KeyValue, Operation};

/// A state in an ordered map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MapView(pub(crate) BTreeMap<Vec<u8>, Vec<u8>>);

impl MapView {
    /// Applies a delta, after checking its promises against the rows.
    pub(crate) fn apply(&mut self, delta: &Delta) {
        assert!(delta.rows.is_sorted_by(|a, b| a.key < b.key), "ascending, each key once");
        for row in &delta.rows {
            assert_ne!(row.before, row.after, "a row that did not change");
            let before = self.write(&row.key, row.after.clone());
            assert_eq!(before, row.before, "what the row was before");
        }
    }

    /// Takes a delta back.
    pub(crate) fn undo(&mut self, delta: &Delta) {
        for row in &delta.rows {
            self.write(&row.key, row.before.clone());
        }
    }

    fn write(&mut self, key: &[u8], value: Option<Vec<u8>>) -> Option<Vec<u8>> {
        match value {
            Some(value) => self.0.insert(key.to_vec(), value),
            None => self.0.remove(key),
        }
    }
}

impl View for MapView {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.get(key).cloned())
    }

    fn range(&self, range: Range<'_>) -> Result<Vec<Row>, StoreError> {
        if range.from >= range.to {
            return Ok(Vec::new());
        }
        let rows = self.0.range(range.from.to_vec()..range.to.to_vec());
        let rows = rows.map(|(key, value)| (key.clone(), value.clone()));
        Ok(match range.order {
            Order::Ascending => rows.take(range.limit).collect(),
            Order::Descending => rows.rev().take(range.limit).collect(),
        })
    }
}

/// Network `dev` with few coins, so that balances matter.
pub(crate) fn network(default_policy: KeyPolicy, maturity_blocks: u32) -> Network {
    let subsidy = Subsidy { initial: 20, halving_blocks: 6, maturity_blocks };
    Network { default_policy, subsidy, ..Network::dev() }
}

/// One of a few signers.
pub(crate) fn signing_key(signer: u8) -> SigningKey {
    SigningKey::from([signer + 1; 32])
}

/// The account of one of a few signers.
pub(crate) fn account_of(signer: u8) -> PublicKey {
    PublicKey::from(&signing_key(signer))
}

/// A transaction to be signed. Start from [`Tx::of`].
#[derive(Clone, Debug)]
pub(crate) struct Tx<'a> {
    pub(crate) signer: u8,
    pub(crate) sequence: u64,
    pub(crate) expires_at: u32,
    pub(crate) fee: u64,
    pub(crate) operations: Vec<Operation<'a>>,
}

impl<'a> Tx<'a> {
    /// A free transaction that never expires.
    pub(crate) fn of(signer: u8, sequence: u64, operations: &[Operation<'a>]) -> Tx<'a> {
        Tx { signer, sequence, expires_at: 0, fee: 0, operations: operations.to_vec() }
    }

    /// Signs and checks it.
    pub(crate) fn checked(&self, network: &Network) -> CheckedTransaction {
        let genesis = network.genesis_hash();
        let key = signing_key(self.signer);
        let transaction = Unsigned {
            version: TRANSACTION_VERSION,
            signer: PublicKey::from(&key),
            sequence: self.sequence,
            expires_at: self.expires_at,
            fee: self.fee,
            operations: self.operations.iter().map(Operation::encode).collect(),
        }
        .sign(&key, &genesis);
        check_transaction(network, &genesis, &KeyValue, transaction).unwrap()
    }
}

/// A chain of blocks on a map.
pub(crate) struct Chain {
    pub(crate) network: Network,
    pub(crate) view: MapView,
    pub(crate) height: u32,
}

impl Chain {
    pub(crate) fn new(network: Network) -> Chain {
        Chain { network, view: MapView::default(), height: 0 }
    }

    /// What the next block may know.
    pub(crate) fn context(&self, payee: u8) -> BlockContext<'_> {
        let payee = account_of(payee);
        BlockContext { network: &self.network, height: self.height + 1, payee }
    }

    /// Executes and applies a block that must be valid.
    pub(crate) fn block(&mut self, payee: u8, transactions: &[Tx<'_>]) -> Delta {
        let transactions: Vec<_> =
            transactions.iter().map(|transaction| transaction.checked(&self.network)).collect();
        let delta = KeyValue.execute(&self.view, self.context(payee), &transactions).unwrap();
        self.view.apply(&delta);
        self.height += 1;
        delta
    }
}

//! A second execution: blocks folded from genesis, on one chain or another.

use std::collections::BTreeMap;

use chain::Hash;
use chain::block::CheckedBlock;
use chain::commitment::{Root, revert};
use chain::execute::{BlockContext, Delta, ExecuteError, execute};
use chain::params::Network;
use chain::store::{Archive, MemoryStore, Store};
use chain::tx::{CheckedTransaction, PublicKey};
use kv::KeyValue;

use crate::chains::empty_store;

/// What a block on the tip of a store does, with the state it commits to.
///
/// # Errors
/// When a transaction cannot stand at its place.
pub fn executed<A: Archive>(
    network: &Network,
    store: &A,
    payee: PublicKey,
    transactions: &[CheckedTransaction],
) -> Result<Delta, ExecuteError> {
    let height = store.tip()?.height + 1;
    execute(&KeyValue, store, BlockContext { network, height, payee }, transactions)
}

/// Blocks, and the state after any of them.
pub struct Replay {
    network: Network,
    store: MemoryStore,
    known: BTreeMap<Hash, (u32, CheckedBlock)>,
}

impl Replay {
    /// Genesis alone.
    pub fn new(network: &Network) -> Replay {
        let store = empty_store(network);
        Replay { network: network.clone(), store, known: BTreeMap::new() }
    }

    /// Notes a block.
    pub fn learn(&mut self, height: u32, block: &CheckedBlock) {
        self.known.entry(block.hash()).or_insert_with(|| (height, block.clone()));
    }

    /// The store of one who knows nothing but the chain up to `tip`.
    ///
    /// # Errors
    /// When a block of the chain is unknown or invalid.
    pub fn at(&mut self, tip: Hash) -> Result<&MemoryStore, String> {
        let genesis = self.network.genesis_hash();
        let mut to_connect = Vec::new();
        let mut fork = tip;
        while fork != genesis && self.height_of(&fork).is_none() {
            let (height, block) = self.known.get(&fork).ok_or("a tip that nobody connected")?;
            to_connect.push((*height, block.clone()));
            fork = block.header().prev;
        }
        loop {
            let end = self.store.tip().map_err(|error| error.to_string())?;
            if end.hash == fork {
                break;
            }
            let (_, block) = &self.known[&end.hash];
            let txids: Vec<Hash> = block.transactions().iter().map(|tx| tx.txid()).collect();
            let pages = revert(&KeyValue, &self.store, end.height);
            let pages = pages.map_err(|error| error.to_string())?;
            self.store.disconnect(&end.hash, &txids, &pages).map_err(|error| error.to_string())?;
        }
        for (height, block) in to_connect.into_iter().rev() {
            let payee = block.coinbase().payee;
            let delta = executed(&self.network, &self.store, payee, block.transactions())
                .map_err(|error| format!("block {} of the main chain: {error}", block.hash()))?;
            if delta.state_root != block.coinbase().state_root {
                return Err(format!("block {} has another state root", block.hash()));
            }
            self.store.connect(&block, height, &delta).map_err(|error| error.to_string())?;
        }
        Ok(&self.store)
    }

    /// What a block on `parent` commits to; that of the empty state if it cannot be executed,
    /// which is as wrong as any other.
    pub fn root_on(
        &mut self,
        parent: Hash,
        payee: PublicKey,
        transactions: &[CheckedTransaction],
    ) -> Root {
        let network = self.network.clone();
        let Ok(store) = self.at(parent) else {
            return Root::default();
        };
        executed(&network, store, payee, transactions)
            .map_or(Root::default(), |delta| delta.state_root)
    }

    /// Another one that has executed nothing yet.
    pub fn afresh(&self) -> Replay {
        Replay { known: self.known.clone(), ..Replay::new(&self.network) }
    }

    fn height_of(&self, hash: &Hash) -> Option<u32> {
        self.store.main_height(hash).expect("memory does not fail")
    }
}

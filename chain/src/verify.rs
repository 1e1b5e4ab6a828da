//! The verify stage: bytes from outside become checked transactions and blocks, on all cores.
//!
//! Signatures are verified in batches. A transaction that was verified on its own is not
//! verified again in its block: its id commits to every byte of it, the signature included. Those
//! of a block that the ledger says is assumed to be valid are not verified either.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ed25519_zebra::{Signature, VerificationKeyBytes, batch};
use miner::{Hash, sha256d};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rayon::prelude::*;

use crate::block::{Assembly, CheckedBlock};
use crate::execute::StateMachine;
use crate::ledger::AssumedValid;
use crate::params::Network;
use crate::rules::isolation::{BlockFault, OpenBlock};
use crate::rules::{RuleError, isolation};
use crate::tx::{CheckedTransaction, Transaction};

/// Transactions whose ids are remembered as verified.
const REMEMBERED: usize = 200_000;

/// Signatures in one batch: large enough to gain, small enough to spread over cores.
const BATCH: usize = 256;

/// Checks what needs no state. Shared by threads only for reading; remembering needs `&mut`.
pub struct Verifier {
    network: Network,
    genesis: Hash,
    machine: Arc<dyn StateMachine>,
    seed: [u8; 32],
    batches: AtomicU64,
    remembered: BTreeSet<Hash>,
    order: VecDeque<Hash>,
}

impl Verifier {
    /// A verifier for a network. `seed` must be unpredictable: it draws the coefficients that
    /// keep forged signatures from cancelling out within a batch.
    pub fn new(network: Network, machine: Arc<dyn StateMachine>, seed: [u8; 32]) -> Verifier {
        Verifier {
            genesis: network.genesis_hash(),
            network,
            machine,
            seed,
            batches: AtomicU64::new(0),
            remembered: BTreeSet::new(),
            order: VecDeque::new(),
        }
    }

    /// Checks transactions that arrived on their own; results in the same order.
    pub fn transactions(&mut self, list: &[Vec<u8>]) -> Vec<Result<CheckedTransaction, RuleError>> {
        let decoded: Vec<Result<Arc<Transaction>, RuleError>> = list
            .par_iter()
            .map(|bytes| {
                if bytes.len() > self.network.limits.transaction_bytes as usize {
                    let limit = self.network.limits.transaction_bytes;
                    return Err(RuleError::TransactionTooLarge { got: bytes.len(), limit });
                }
                Ok(Arc::new(Transaction::decode(bytes)?))
            })
            .collect();
        let good: Vec<Arc<Transaction>> = decoded.iter().flatten().cloned().collect();
        let mut checks = self.check(&good).into_iter();
        let results: Vec<_> = decoded
            .into_iter()
            .map(|item| item.and_then(|_| checks.next().expect("one check a decoded item")))
            .collect();
        for transaction in results.iter().flatten() {
            self.remember(transaction.txid());
        }
        results
    }

    /// Checks a block.
    ///
    /// # Errors
    /// The first broken rule.
    pub fn block(&self, bytes: Vec<u8>) -> Result<CheckedBlock, RuleError> {
        self.judge_block(bytes).map_err(|fault| fault.error)
    }

    /// Checks a block, and says of an invalid one whether its header is thereby condemned.
    ///
    /// # Errors
    /// The first broken rule.
    pub fn judge_block(&self, bytes: Vec<u8>) -> Result<CheckedBlock, BlockFault> {
        let open = isolation::open_block(&self.network, bytes)?;
        let checks = self.check(open.transactions());
        open.close(checks)
    }

    /// Checks blocks, on all cores; results in the same order. Signatures of neighbours share
    /// batches, so that small blocks gain as well. Those of a block that is assumed to be valid are
    /// not looked at; whatever else is wrong with it is found.
    pub fn blocks(
        &self,
        list: Vec<(Vec<u8>, Option<AssumedValid>)>,
    ) -> Vec<Result<CheckedBlock, BlockFault>> {
        let open_one = |(bytes, assumed): (Vec<u8>, Option<AssumedValid>)| {
            let block = isolation::open_block(&self.network, bytes)?;
            let is_assumed = assumed.is_some_and(|assumed| assumed.is_about(&block.hash()));
            Ok((block, is_assumed))
        };
        let open: Vec<Result<(OpenBlock, bool), BlockFault>> =
            list.into_par_iter().map(open_one).collect();
        let signed = open.iter().flatten().filter(|(_, is_assumed)| !is_assumed);
        let transactions: Vec<Arc<Transaction>> =
            signed.flat_map(|(block, _)| block.transactions()).cloned().collect();
        let mut checks = self.check(&transactions).into_iter();
        open.into_iter()
            .map(|open| {
                let (block, is_assumed) = open?;
                let own: Vec<_> = if is_assumed {
                    self.check_forms(block.transactions())
                } else {
                    checks.by_ref().take(block.transactions().len()).collect()
                };
                block.close(own)
            })
            .collect()
    }

    /// Checks a block that was put together here, and says of an invalid one whether its header
    /// is thereby condemned. Only transactions that were fetched for it are checked.
    ///
    /// # Errors
    /// The first broken rule; [`RuleError::MerkleRoot`] and [`RuleError::MerkleMutated`] mean that
    /// it was put together wrongly.
    pub fn judge_assembly(&self, assembly: Assembly) -> Result<CheckedBlock, BlockFault> {
        isolation::check_assembly_with(&self.network, assembly, |transactions| {
            self.check(&transactions).into_iter().collect()
        })
    }

    /// Checks all but the signatures.
    fn check_forms(&self, list: &[Arc<Transaction>]) -> Vec<Result<CheckedTransaction, RuleError>> {
        let check = |item: &Arc<Transaction>| {
            isolation::check_form(&self.network, &*self.machine, item)
                .map(|()| CheckedTransaction(Arc::clone(item)))
        };
        list.par_iter().map(check).collect()
    }

    fn check(&self, list: &[Arc<Transaction>]) -> Vec<Result<CheckedTransaction, RuleError>> {
        list.par_chunks(BATCH).flat_map_iter(|chunk| self.check_chunk(chunk)).collect()
    }

    fn check_chunk(
        &self,
        chunk: &[Arc<Transaction>],
    ) -> Vec<Result<CheckedTransaction, RuleError>> {
        let mut results: Vec<Result<(), RuleError>> = chunk
            .iter()
            .map(|item| isolation::check_form(&self.network, &*self.machine, item))
            .collect();
        let new: Vec<usize> = (0..chunk.len())
            .filter(|&at| results[at].is_ok() && !self.remembered.contains(&chunk[at].txid()))
            .collect();
        let mut together = batch::Verifier::new();
        let mut items = Vec::with_capacity(new.len());
        for &at in &new {
            let item = self.signature_item(&chunk[at]);
            together.queue(item.clone());
            items.push((at, item));
        }
        if together.verify(self.batch_rng()).is_err() {
            // Some signature is wrong; single and batch verification agree (ZIP 215).
            for (at, item) in items {
                results[at] = item.verify_single().map_err(|_| RuleError::Signature);
            }
        }
        results
            .into_iter()
            .zip(chunk)
            .map(|(result, item)| result.map(|()| CheckedTransaction(Arc::clone(item))))
            .collect()
    }

    fn signature_item(&self, transaction: &Transaction) -> batch::Item {
        let key = VerificationKeyBytes::from(transaction.signer.0);
        let signature = Signature::from_bytes(&transaction.signature().to_bytes());
        batch::Item::from((key, signature, &transaction.signing_message(&self.genesis)))
    }

    fn batch_rng(&self) -> StdRng {
        let number = self.batches.fetch_add(1, Ordering::Relaxed);
        StdRng::from_seed(sha256d(&[&self.seed[..], &number.to_le_bytes()].concat()).0)
    }

    fn remember(&mut self, txid: Hash) {
        if self.remembered.insert(txid) {
            self.order.push_back(txid);
            if self.order.len() > REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.remembered.remove(&oldest);
            }
        }
    }
}

//! The checks that need no history, made once for all nodes.
//!
//! Whether bytes pass the isolation rules depends on the bytes alone, so the answer for equal
//! bytes is remembered and shared. Everything with history (header rules, execution, fork
//! choice, pool) is done by each node for itself.

use std::collections::BTreeMap;

use chain::block::{Assembly, CheckedBlock};
use chain::header::{HEADER_BYTES, Header};
use chain::params::Network;
use chain::rules::RuleError;
use chain::rules::isolation::{BlockFault, CheckedHeader, check_headers};
use chain::tx::CheckedTransaction;
use chain::verify::Verifier;
use chain::{Hash, sha256d};

use crate::chains::verifier;

/// Block bytes that were checked, and the verdict.
type Judged = (Vec<u8>, Result<CheckedBlock, BlockFault>);

/// What was checked, with the verdicts.
pub(super) struct Verified {
    network: Network,
    verifier: Verifier,
    headers: BTreeMap<Hash, Result<CheckedHeader, RuleError>>,
    transactions: BTreeMap<Hash, Result<CheckedTransaction, RuleError>>,
    /// By the header's hash: different bodies can claim the same header.
    blocks: BTreeMap<Hash, Vec<Judged>>,
}

impl Verified {
    pub(super) fn new(network: &Network) -> Verified {
        Verified {
            network: network.clone(),
            verifier: verifier(network),
            headers: BTreeMap::new(),
            transactions: BTreeMap::new(),
            blocks: BTreeMap::new(),
        }
    }

    /// As [`check_headers`]; that they are linked, the protocol has checked.
    pub(super) fn headers(&mut self, list: &[Header]) -> Result<Vec<CheckedHeader>, RuleError> {
        let Verified { network, headers, .. } = self;
        let check = |header: &Header| {
            let verdict = headers.entry(header.hash()).or_insert_with(|| {
                check_headers(network, &[*header]).map(|mut checked| checked.remove(0))
            });
            verdict.clone()
        };
        list.iter().map(check).collect()
    }

    /// As [`Verifier::transactions`], of one.
    pub(super) fn transaction(&mut self, bytes: Vec<u8>) -> Result<CheckedTransaction, RuleError> {
        let id = sha256d(&bytes);
        let Verified { transactions, verifier, .. } = self;
        let check = || verifier.transactions(&[bytes]).remove(0);
        transactions.entry(id).or_insert_with(check).clone()
    }

    /// As [`Verifier::judge_assembly`]. Each node's is its own: they differ in what was fetched.
    /// What comes of them is equal mostly, and then kept once.
    pub(super) fn assembly(&mut self, assembly: Assembly) -> Result<CheckedBlock, BlockFault> {
        let block = self.verifier.judge_assembly(assembly)?;
        let judged = self.blocks.entry(block.hash()).or_default();
        if let Some((_, Ok(known))) = judged.iter().find(|(known, _)| known == block.bytes()) {
            return Ok(known.clone());
        }
        judged.push((block.bytes().to_vec(), Ok(block.clone())));
        Ok(block)
    }

    /// As [`Verifier::judge_block`].
    pub(super) fn block(&mut self, bytes: Vec<u8>) -> Result<CheckedBlock, BlockFault> {
        let Some(head) = bytes.first_chunk::<HEADER_BYTES>() else {
            return self.verifier.judge_block(bytes);
        };
        let judged = self.blocks.entry(Header::decode(head).hash()).or_default();
        if let Some((_, verdict)) = judged.iter().find(|(known, _)| *known == bytes) {
            return verdict.clone();
        }
        let verdict = self.verifier.judge_block(bytes.clone());
        judged.push((bytes, verdict.clone()));
        verdict
    }
}

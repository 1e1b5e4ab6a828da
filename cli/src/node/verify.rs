//! The verify stage: what needs no history is checked here, on all cores.

use chain::block::Assembly;
use chain::ledger::{AssumedValid, Input, PeerId, RequestId, Source};
use chain::params::Network;
use chain::rules::RuleError;
use chain::rules::isolation::{self, BlockFault};
use chain::tx::CheckedTransaction;
use chain::verify::Verifier;
use crossbeam::channel::{Receiver, Sender};
use net::Work;

use super::NodeError;
use super::crew::StopHandle;
use super::joints::Outward;
use crate::admin::Event;
use crate::reply::{Code, Failure};

/// Tasks that verify takes at once, so that signatures come in batches.
const VERIFY_BATCH: usize = 128;

/// Something to verify.
pub(super) enum VerifyTask {
    /// From a peer: headers, a block, transactions.
    Peer(Work),
    /// Transactions that a client has signed.
    Client {
        /// Whose request.
        request: RequestId,
        /// At least one.
        transactions: Vec<Vec<u8>>,
    },
}

impl VerifyTask {
    /// A peer's work back.
    pub(super) fn into_work(self) -> Option<Work> {
        match self {
            VerifyTask::Peer(work) => Some(work),
            VerifyTask::Client { .. } => None,
        }
    }
}

/// Where transactions of a batch came from, and how many.
#[derive(Clone, Copy)]
enum Origin {
    Peer(PeerId, usize),
    Client(RequestId, usize),
}

/// What is verified together: transactions or blocks, which do not pass each other.
#[derive(Default)]
struct Batch {
    origins: Vec<Origin>,
    loose: Vec<Vec<u8>>,
    senders: Vec<PeerId>,
    blocks: Vec<(Vec<u8>, Option<AssumedValid>)>,
}

/// Decodes, checks isolation rules and signatures.
pub(super) struct VerifyStage {
    pub(super) verifier: Verifier,
    pub(super) network: Network,
    pub(super) work: Receiver<VerifyTask>,
    pub(super) inputs: Sender<Input>,
    pub(super) stop: StopHandle,
}

impl VerifyStage {
    pub(super) fn run(mut self, out: &Outward) -> Result<(), NodeError> {
        while let Ok(first) = self.work.recv()
            && !self.stop.is_stopping()
        {
            let more: Vec<VerifyTask> = self.work.try_iter().take(VERIFY_BATCH - 1).collect();
            let mut batch = Batch::default();
            for task in std::iter::once(first).chain(more) {
                match task {
                    VerifyTask::Peer(Work::Transactions { from, list }) => {
                        self.blocks(&mut batch, out);
                        batch.origins.push(Origin::Peer(from, list.len()));
                        batch.loose.extend(list);
                    }
                    VerifyTask::Client { request, transactions } => {
                        self.blocks(&mut batch, out);
                        batch.origins.push(Origin::Client(request, transactions.len()));
                        batch.loose.extend(transactions);
                    }
                    VerifyTask::Peer(Work::Block { from, bytes, assumed }) => {
                        self.transactions(&mut batch, out);
                        batch.senders.push(from);
                        batch.blocks.push((bytes, assumed));
                    }
                    VerifyTask::Peer(work) => {
                        self.transactions(&mut batch, out);
                        self.blocks(&mut batch, out);
                        self.ordered(work, out);
                    }
                }
            }
            self.transactions(&mut batch, out);
            self.blocks(&mut batch, out);
        }
        Ok(())
    }

    /// Verifies the transactions that have been collected.
    fn transactions(&mut self, batch: &mut Batch, out: &Outward) {
        let results = self.verifier.transactions(&std::mem::take(&mut batch.loose));
        let mut results = results.into_iter();
        for origin in batch.origins.drain(..) {
            match origin {
                Origin::Peer(from, count) => {
                    results.by_ref().take(count).for_each(|result| self.relayed(from, result, out));
                }
                Origin::Client(request, count) => {
                    self.submitted(request, results.by_ref().take(count), out);
                }
            }
        }
    }

    /// Verifies the blocks that have been collected: small ones leave cores idle one by one.
    fn blocks(&self, batch: &mut Batch, out: &Outward) {
        let results = self.verifier.blocks(std::mem::take(&mut batch.blocks));
        for (from, result) in batch.senders.drain(..).zip(results) {
            match result {
                Ok(block) => self.to_ledger(Input::Block { from, block }),
                Err(BlockFault { error, condemned: Some(hash) }) => {
                    self.to_ledger(Input::InvalidBlock { from, hash, error });
                }
                Err(BlockFault { error, condemned: None }) => bad_payload(from, &error, out),
            }
        }
    }

    fn relayed(&self, from: PeerId, result: Result<CheckedTransaction, RuleError>, out: &Outward) {
        match result {
            Ok(transaction) => {
                self.to_ledger(Input::Transaction { source: Source::Peer(from), transaction });
            }
            Err(error) => bad_payload(from, &error, out),
        }
    }

    /// Passes a client's transactions on if all keep the rules; else none of them.
    fn submitted(
        &self,
        request: RequestId,
        results: impl Iterator<Item = Result<CheckedTransaction, RuleError>>,
        out: &Outward,
    ) {
        let mut transactions = Vec::new();
        let mut fault = None;
        for (place, result) in (1..).zip(results) {
            match result {
                Ok(transaction) => transactions.push(transaction),
                Err(error) => fault = fault.or(Some((place, error))),
            }
        }
        match fault {
            None => self.to_ledger(Input::Submission { request, transactions }),
            Some((place, error)) => {
                let failure = match place {
                    1 if transactions.is_empty() => Failure::new(Code::Refused, error),
                    _ => Failure::new(
                        Code::Refused,
                        format!("{error} (transaction {place} of the line; none was taken)"),
                    ),
                };
                out.admin(Event::Refused { request, failure });
            }
        }
    }

    fn ordered(&self, work: Work, out: &Outward) {
        match work {
            Work::Headers { from, headers } => {
                match isolation::check_headers(&self.network, &headers) {
                    Ok(headers) => self.to_ledger(Input::Headers { from, headers }),
                    Err(error) => bad_payload(from, &error, out),
                }
            }
            Work::Announced { from, header } => {
                match isolation::check_headers(&self.network, &[header]) {
                    Ok(list) => list
                        .into_iter()
                        .for_each(|header| self.to_ledger(Input::Announced { from, header })),
                    Err(error) => bad_payload(from, &error, out),
                }
            }
            Work::Rebuilt { from, assembly } => self.rebuilt(from, *assembly, out),
            Work::Gone { peer } => self.to_ledger(Input::PeerGone { peer }),
            Work::Transactions { .. }
            | Work::Block { .. }
            | Work::ServeHeaders { .. }
            | Work::ServeBlock { .. } => {
                unreachable!("some is batched, and what is served goes to the readers")
            }
        }
    }

    /// A block put together here: peers that wait for it get it before the ledger executes it.
    fn rebuilt(&self, from: PeerId, assembly: Assembly, out: &Outward) {
        let hash = assembly.header.hash();
        match self.verifier.judge_assembly(assembly) {
            Ok(block) => {
                out.protocol(net::Input::Rebuilt { peer: from, block: block.clone() });
                self.to_ledger(Input::Relayed { block });
            }
            Err(BlockFault { error, condemned: Some(hash) }) => {
                self.to_ledger(Input::InvalidBlock { from, hash, error });
            }
            Err(BlockFault { error, condemned: None }) => match error {
                RuleError::MerkleRoot { .. } | RuleError::MerkleMutated => {
                    out.protocol(net::Input::NotRebuilt { hash });
                }
                error => bad_payload(from, &error, out),
            },
        }
    }

    /// A ledger that has ended needs to know nothing.
    fn to_ledger(&self, input: Input) {
        self.inputs.send(input).ok();
    }
}

fn bad_payload(peer: PeerId, error: &RuleError, out: &Outward) {
    out.protocol(net::Input::BadPayload { peer, what: error.to_string() });
}

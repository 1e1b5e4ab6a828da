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
    /// A transaction that a client has signed.
    Client {
        /// Whose request.
        request: RequestId,
        /// The transaction.
        bytes: Vec<u8>,
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

/// Where a transaction of a batch came from.
#[derive(Clone, Copy)]
enum Origin {
    Peer(PeerId),
    Client(RequestId),
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
                        batch.origins.extend(list.iter().map(|_| Origin::Peer(from)));
                        batch.loose.extend(list);
                    }
                    VerifyTask::Client { request, bytes } => {
                        self.blocks(&mut batch, out);
                        batch.origins.push(Origin::Client(request));
                        batch.loose.push(bytes);
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
        for (origin, result) in batch.origins.drain(..).zip(results) {
            self.pass_on(origin, result, out);
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

    fn pass_on(
        &self,
        origin: Origin,
        result: Result<CheckedTransaction, RuleError>,
        out: &Outward,
    ) {
        match (origin, result) {
            (Origin::Peer(peer), Ok(transaction)) => {
                self.to_ledger(Input::Transaction { source: Source::Peer(peer), transaction });
            }
            (Origin::Client(request), Ok(transaction)) => {
                self.to_ledger(Input::Transaction { source: Source::Client(request), transaction });
            }
            (Origin::Peer(peer), Err(error)) => bad_payload(peer, &error, out),
            (Origin::Client(request), Err(error)) => {
                let failure = Failure::new(Code::Refused, error);
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

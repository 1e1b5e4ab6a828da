//! Clients: they write through nodes, some with keys of their own through several nodes at once.

use std::collections::BTreeMap;

use chain::Hash;
use chain::ledger::{Answer, Draft, Input, RequestId, Source};
use chain::store::Archive;
use chain::tx::{CheckedTransaction, OperationBytes, SigningKey};
use kv::{Expect, Operation};
use rand::RngExt;
use rand::rngs::StdRng;

use super::events::Event;
use super::network::{exponential, whole};
use super::{MINUTE_MS, Simulation};
use crate::chains::{signing_key, unsigned};

/// Between two writes, on average.
const WRITE_MS: f64 = 20_000.0;
/// Clients that sign for themselves.
const SIGNERS: u8 = 4;
/// Different keys that are written.
const KEYS: u32 = 40;
/// Longest value, in bytes.
const VALUE_BYTES: usize = 300;

/// A client with a key of its own.
struct Signer {
    key: SigningKey,
    next_sequence: u64,
    /// Signed and not known to be in the chain, oldest first.
    waiting: Vec<CheckedTransaction>,
}

/// A write that a node has acknowledged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acknowledged {
    pub(super) node: usize,
    pub(super) txid: Hash,
}

/// All clients.
pub(super) struct Clients {
    signers: Vec<Signer>,
    next_request: u64,
    /// Writes that nodes sign, while their answer is out.
    asked: BTreeMap<RequestId, usize>,
    pub(super) acknowledged: Vec<Acknowledged>,
}

impl Clients {
    pub(super) fn new() -> Clients {
        let signer = |number| Signer {
            key: signing_key(200 + number),
            next_sequence: 0,
            waiting: Vec::new(),
        };
        Clients {
            signers: (0..SIGNERS).map(signer).collect(),
            next_request: 0,
            asked: BTreeMap::new(),
            acknowledged: Vec::new(),
        }
    }

    fn request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    /// Whether some client still waits for its transactions.
    pub(super) fn are_waiting(&self) -> bool {
        self.signers.iter().any(|signer| !signer.waiting.is_empty())
    }
}

/// One or two operations.
fn operations(draw: &mut StdRng) -> Vec<OperationBytes> {
    let count = draw.random_range(1..=2);
    let operation = |_| {
        let key = format!("key-{}", draw.random_range(0..KEYS));
        let value = vec![draw.random(); draw.random_range(1..VALUE_BYTES)];
        let expect = match draw.random_range(0..10) {
            0..6 => Expect::Any,
            6 => Expect::Absent,
            _ => Expect::Version(draw.random_range(0..4)),
        };
        let key = key.as_bytes();
        match draw.random_range(0..10) {
            0 => Operation::Delete { key, expect }.encode(),
            _ => Operation::Put { key, value: &value, expect, policy: None }.encode(),
        }
    };
    (0..count).map(operation).collect()
}

impl Simulation {
    /// A node that a client can reach.
    fn any_open_node(&mut self) -> Option<usize> {
        let open = |node: &usize| {
            let site = &self.nodes[*node];
            site.live.is_some() && !site.byzantine && site.paused_until <= self.now
        };
        let nodes: Vec<usize> = (0..self.nodes.len()).filter(open).collect();
        let draw = &mut self.draws.clients;
        (!nodes.is_empty()).then(|| nodes[draw.random_range(0..nodes.len())])
    }

    /// A client writes something.
    pub(super) fn write(&mut self) {
        if self.running.over {
            return;
        }
        let wait = whole(exponential(&mut self.draws.clients, WRITE_MS)).max(1);
        self.queue.push(self.now + wait, Event::Write);
        let operations = operations(&mut self.draws.clients);
        if self.draws.clients.random_bool(0.5) {
            self.write_signed(operations);
        } else if let Some(node) = self.any_open_node() {
            let request = self.clients.request();
            self.clients.asked.insert(request, node);
            self.counts.add("writes through a node's key");
            let draft = Draft { operations, fee: None, expires_at: 0 };
            self.feed(node, Input::Write { request, draft });
        }
    }

    fn write_signed(&mut self, operations: Vec<OperationBytes>) {
        let genesis = self.network.genesis_hash();
        let at = self.draws.clients.random_range(0..self.clients.signers.len());
        let signer = &mut self.clients.signers[at];
        let mut transaction = unsigned(&signer.key, signer.next_sequence, &[]);
        transaction.operations = operations;
        signer.next_sequence += 1;
        let bytes = transaction.sign(&signer.key, &genesis).bytes().to_vec();
        let checked = self.verified.transaction(bytes).expect("clients sign what is valid");
        self.clients.signers[at].waiting.push(checked.clone());
        self.counts.add("writes of signing clients");
        for _ in 0..self.draws.clients.random_range(1..=3) {
            self.submit(checked.clone());
        }
    }

    /// Hands a transaction to some node.
    fn submit(&mut self, transaction: CheckedTransaction) {
        let Some(node) = self.any_open_node() else { return };
        let source = Source::Client(self.clients.request());
        self.feed(node, Input::Transaction { source, transaction });
    }

    /// Clients hand in again what some node's chain does not have.
    pub(super) fn retry(&mut self) {
        self.queue.push(self.now + MINUTE_MS, Event::Retry);
        let Some(node) = self.any_open_node() else { return };
        let store = self.nodes[node].live.as_ref().expect("it is open").ledger.store();
        let lacks = |transaction: &CheckedTransaction| {
            store.inclusion(&transaction.txid()).expect("memory does not fail").is_none()
        };
        let mut again = Vec::new();
        for signer in &mut self.clients.signers {
            // Not before all have agreed: a reorganisation can take it away again.
            if self.running.over {
                signer.waiting.retain(lacks);
            }
            again.extend(signer.waiting.iter().filter(|waiting| lacks(waiting)).cloned());
        }
        self.counts.more("writes handed in again", again.len() as u64);
        again.into_iter().for_each(|transaction| self.submit(transaction));
    }

    /// A node answers.
    pub(super) fn answered(&mut self, node: usize, request: RequestId, answer: &Answer) {
        let asked = self.clients.asked.remove(&request);
        match answer {
            Answer::Accepted { txid } if asked.is_some() => {
                self.clients.acknowledged.push(Acknowledged { node, txid: *txid });
            }
            Answer::Accepted { .. } => self.counts.add("handed-in writes accepted"),
            Answer::Refused(_) => self.counts.add("handed-in writes refused"),
            _ => self.fail(format!("node {node} answers {answer:?}")),
        }
    }
}

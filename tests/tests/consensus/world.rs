//! A ledger in memory and the models it is compared with after every input.

use std::sync::Arc;

use chain::Hash;
use chain::execute::{Account, StateMachine};
use chain::ledger::{
    Answer, Draft, Input, Ledger, Mined, Output, PeerId, RequestId, Source, Time, TipChange,
};
use chain::mempool::PoolLimits;
use chain::params::Network;
use chain::rules::isolation::check_headers;
use chain::store::{Archive, MemoryStore};
use chain::template::Template;
use chain::tx::{CheckedTransaction, PublicKey};
use chain::verify::Verifier;
use kv::KeyValue;
use tests::chains::{account, clock, memory_ledger, options, signing_key, solve, verifier};
use tests::model::{BlockId, ChainModel, PoolModel, Truth};

/// The signer whose key the ledger under test has; it is also the payee of what it mines.
pub(super) const OWN_SIGNER: u8 = 0;

/// The ledger under test and what it should be.
pub(super) struct World {
    pub(super) network: Network,
    pub(super) limits: PoolLimits,
    pub(super) verifier: Verifier,
    pub(super) truth: Truth,
    pub(super) chain: ChainModel,
    pub(super) pool: PoolModel,
    pub(super) ledger: Ledger<MemoryStore>,
    /// Every transaction that was signed, in that order.
    pub(super) signed: Vec<CheckedTransaction>,
    /// The main chain as one knows it who only hears of changes.
    follower: Vec<Hash>,
    /// The bodies the ledger asked for last.
    wanted: Vec<Hash>,
    template: Option<Arc<Template>>,
    /// Transactions and bytes in the pool, as the ledger said last.
    pub(super) pool_size: (usize, usize),
    /// Numbers peers and requests: nobody sends twice, so a fault names one message.
    senders: u64,
}

impl World {
    pub(super) fn new(network: &Network, limits: PoolLimits) -> World {
        let key = signing_key(OWN_SIGNER);
        let payee = PublicKey::from(&key);
        let ledger = memory_ledger(chain::ledger::LedgerOptions {
            key: Some(key),
            payee: Some(payee),
            pool: limits,
            ..options(network)
        });
        let mut world = World {
            network: network.clone(),
            limits,
            verifier: verifier(network),
            truth: Truth::new(network),
            chain: ChainModel::new(),
            pool: PoolModel::new(network, limits),
            ledger,
            signed: Vec::new(),
            follower: vec![network.genesis_hash()],
            wanted: Vec::new(),
            template: None,
            pool_size: (0, 0),
            senders: 0,
        };
        let outputs = world.outputs();
        world.observe(outputs, &[]);
        world
    }

    /// A peer sends the headers of linked blocks.
    pub(super) fn send_headers(&mut self, ids: &[BlockId]) {
        let headers: Vec<_> = ids.iter().map(|&id| *self.truth.get(id).block.header()).collect();
        let headers = check_headers(&self.network, &headers).expect("linked, with work");
        let from = self.peer();
        let faulty = self.chain.headers(&self.truth, from, ids);
        let outputs = self.drive(Input::Headers { from, headers });
        self.observe(outputs, &faulty);
    }

    /// A peer sends a block.
    pub(super) fn send_body(&mut self, id: BlockId) {
        let (from, block) = (self.peer(), self.truth.get(id).block.clone());
        let faulty = self.chain.body(&self.truth, Some(from), id);
        let outputs = self.drive(Input::Block { from, block });
        self.observe(outputs, &faulty);
    }

    /// A peer or a client sends a transaction.
    pub(super) fn send_transaction(&mut self, transaction: CheckedTransaction, by_client: bool) {
        let account = self.account(&transaction.signer);
        let expected = self.pool.refusal(&transaction, account, self.next_height());
        let (txid, size) = (transaction.txid(), transaction.bytes().len());
        let sender = self.peer();
        let source =
            if by_client { Source::Client(RequestId(sender.0)) } else { Source::Peer(sender) };
        let outputs = self.drive(Input::Transaction { source, transaction });
        let refusal = outputs.iter().find_map(|output| match output {
            Output::Refused { refusal, .. } => Some(Some(refusal.clone())),
            Output::Answer { answer: Answer::Refused(refusal), .. } => Some(Some(refusal.clone())),
            Output::Pooled { transaction, .. } if transaction.txid() == txid => Some(None),
            _ => None,
        });
        let refusal = refusal.expect("every transaction is taken or refused");
        if expected.is_some() || refusal.is_none() {
            assert_eq!(refusal, expected, "the pool's judgement");
        } else {
            self.check_full(refusal.as_ref(), size);
        }
        self.observe(outputs, &[]);
    }

    /// A client asks the node to sign and take in a transaction.
    pub(super) fn write(&mut self, draft: Draft) {
        let request = RequestId(self.peer().0);
        let outputs = self.drive(Input::Write { request, draft });
        let answers = outputs.iter().filter(|output| {
            matches!(output, Output::Answer { request: answered, .. } if *answered == request)
        });
        assert_eq!(answers.count(), 1, "one answer a request");
        self.observe(outputs, &[]);
    }

    /// The node mines a block on its tip, of what its pool holds.
    pub(super) fn mine(&mut self) {
        let height = self.next_height();
        let outputs = self.drive(Input::MineTo { height });
        self.observe(outputs, &[]);
        let template = self.template.take().expect("asked for a block, there is a template");
        // Paid to the template's own payee, whose block is not executed again, and to another.
        let payee = if height.is_multiple_of(2) { template.payee() } else { account(1) };
        let job = template.job_for(payee);
        let mined = Mined { template, payee, solution: solve(&job) };
        let outputs = self.drive(Input::Mined(mined));
        let change = tip_change(&outputs).expect("a block on the tip is the new tip");
        let block = change.connected.last().expect("the tip moved up").block.clone();
        assert_eq!(block.header().prev, job.prev);
        let id = self.truth.add(block);
        assert!(self.truth.get(id).fault.is_none(), "the node mines valid blocks");
        assert!(self.chain.body(&self.truth, None, id).is_empty());
        self.observe(outputs, &[]);
    }

    /// The account of a signer as of the tip.
    pub(super) fn account(&self, signer: &PublicKey) -> Account {
        KeyValue.account(self.ledger.store(), signer).expect("memory does not fail")
    }

    /// Height of the block after the tip.
    pub(super) fn next_height(&self) -> u32 {
        self.ledger.store().tip().expect("memory does not fail").height + 1
    }

    fn now(&self) -> Time {
        clock(&self.network, self.next_height())
    }

    fn peer(&mut self) -> PeerId {
        self.senders += 1;
        PeerId(self.senders)
    }

    fn drive(&mut self, input: Input) -> Vec<Output> {
        self.ledger.handle(self.now(), input).expect("memory does not fail");
        self.outputs()
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.ledger.poll()).collect()
    }

    /// Follows what the ledger said, then compares everything.
    fn observe(&mut self, outputs: Vec<Output>, faulty: &[PeerId]) {
        let before = self.follower.clone();
        if let Some(change) = tip_change(&outputs) {
            self.follow(&change);
        }
        self.follow_pool(&outputs);
        let mut blamed = Vec::new();
        for output in outputs {
            match output {
                Output::PeerFault { from, .. } => blamed.push(from),
                Output::Template(template) => self.template = template,
                Output::PoolSize { count, bytes } => self.pool_size = (count, bytes),
                Output::Wanted(points) => {
                    self.wanted = points.iter().map(|point| point.hash).collect();
                }
                _ => {}
            }
        }
        assert_eq!(blamed, faulty, "exactly those who sent something invalid are at fault");
        assert_eq!(self.wanted, self.chain.wanted(&self.truth), "the missing bodies");
        self.check_chain();
        let moved = before != self.follower;
        self.check_state(moved);
        self.check_pool(moved);
    }

    fn follow(&mut self, change: &TipChange) {
        for reverted in &change.reverted {
            assert_eq!(self.follower.pop(), Some(reverted.hash), "the tip goes first");
            assert_eq!(self.follower.len(), reverted.height as usize);
        }
        for connected in &change.connected {
            let prev = connected.block.header().prev;
            assert_eq!(self.follower.last(), Some(&prev), "blocks follow each other");
            assert_eq!(self.follower.len(), connected.height as usize);
            assert_eq!(connected.outcomes.len(), connected.block.transactions().len());
            self.follower.push(connected.block.hash());
        }
        let id = self.truth.id(&change.tip.hash).unwrap_or(self.chain.tip);
        assert_eq!(self.follower.last(), Some(&change.tip.hash));
        assert_eq!(change.header.hash(), change.tip.hash);
        assert_eq!(change.work, self.truth.get(id).work);
        assert_eq!(change.locator.last(), self.follower.first(), "genesis ends every locator");
    }

    /// The tip is the model's, and the follower, the store and the model have one chain.
    fn check_chain(&self) {
        let store = self.ledger.store();
        let expected: Vec<Hash> = self
            .truth
            .chain(self.chain.tip)
            .iter()
            .map(|&id| self.truth.get(id).block.hash())
            .collect();
        let tip = store.tip().expect("memory does not fail");
        assert_eq!(Some(&tip.hash), expected.last(), "the best block is the tip");
        assert_eq!(self.follower, expected, "who follows the changes has the chain");
        let headers = store.main_headers(0, usize::MAX).expect("memory does not fail");
        let stored: Vec<Hash> = headers.iter().map(chain::header::Header::hash).collect();
        assert_eq!(stored, expected, "the store has the chain");
    }

    /// The state and the outcomes are those of a store that was given this chain alone.
    fn check_state(&self, tip_moved: bool) {
        let fresh = self.truth.get(self.chain.tip).store.as_ref().expect("the tip is valid");
        let store = self.ledger.store();
        assert_eq!(store.state(), fresh.state(), "the state is the fold of the chain");
        assert_eq!(store.pages(), fresh.pages(), "the pages are those of the rows");
        if !tip_moved {
            return;
        }
        for id in 0..self.truth.count() {
            for transaction in self.truth.get(id).block.transactions() {
                let txid = transaction.txid();
                let found = store.inclusion(&txid).expect("memory does not fail");
                let expected = fresh.inclusion(&txid).expect("memory does not fail");
                assert_eq!(found, expected, "place and outcome of {txid}");
            }
        }
    }
}

/// How the main chain changed, if it did; the ledger says so at most once an input.
pub(super) fn tip_change(outputs: &[Output]) -> Option<Arc<TipChange>> {
    let mut changes = outputs.iter().filter_map(|output| match output {
        Output::TipChanged(change) => Some(Arc::clone(change)),
        _ => None,
    });
    let first = changes.next();
    assert!(changes.next().is_none(), "one change an input");
    first
}

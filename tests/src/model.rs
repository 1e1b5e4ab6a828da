//! What a ledger should do, said naively: everything is computed from scratch over lists.
//!
//! [`Truth`] knows every block that was made and whether its chain is valid; [`ChainModel`]
//! knows which of them a ledger was given, and so what its tip must be; [`PoolModel`] knows what
//! waits, and so what its pool must take or refuse.

use std::collections::{BTreeMap, BTreeSet};

use chain::block::CheckedBlock;
use chain::execute::Account;
use chain::ledger::PeerId;
use chain::mempool::{PoolLimits, Refusal};
use chain::params::Network;
use chain::rules::difficulty::required_bits;
use chain::rules::isolation::checked_genesis;
use chain::store::{MemoryStore, Store};
use chain::tx::{CheckedTransaction, PublicKey};
use chain::{Hash, Work};

use crate::chains::{Place, empty_store};
use crate::replay::executed;

/// A made block, in the order of making; parents come before children, genesis first.
pub type BlockId = usize;

/// Genesis.
pub const GENESIS: BlockId = 0;

/// What is wrong with a block itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its header breaks a rule, given its parent's chain.
    Header,
    /// Its coinbase does not fit its height or its fees.
    Body,
    /// It cannot be executed on its parent's state.
    Execution,
}

/// A block that somebody made, and the truth about it.
pub struct Made {
    /// The block.
    pub block: CheckedBlock,
    /// The block before it; genesis is its own.
    pub parent: BlockId,
    /// The end of its chain.
    pub place: Place,
    /// Work of its chain.
    pub work: Work,
    /// What is wrong with it, its ancestors aside.
    pub fault: Option<Fault>,
    /// A store that was given its chain alone, from genesis; `None` if that is not valid.
    pub store: Option<MemoryStore>,
}

/// Every block that was made.
pub struct Truth {
    network: Network,
    made: Vec<Made>,
    ids: BTreeMap<Hash, BlockId>,
}

impl Truth {
    /// Genesis alone.
    pub fn new(network: &Network) -> Truth {
        let block = checked_genesis(network);
        let work = work_of(&block);
        let ids = BTreeMap::from([(block.hash(), GENESIS)]);
        let (place, store) = (Place::genesis(network), Some(empty_store(network)));
        let genesis = Made { block, parent: GENESIS, place, work, fault: None, store };
        Truth { network: network.clone(), made: vec![genesis], ids }
    }

    /// Blocks made, genesis included.
    pub fn count(&self) -> usize {
        self.made.len()
    }

    /// A block.
    pub fn get(&self, id: BlockId) -> &Made {
        &self.made[id]
    }

    /// A block by its hash.
    pub fn id(&self, hash: &Hash) -> Option<BlockId> {
        self.ids.get(hash).copied()
    }

    /// Notes a block and finds out whether it is valid.
    ///
    /// # Panics
    /// When its parent was not made.
    pub fn add(&mut self, block: CheckedBlock) -> BlockId {
        let parent = self.ids[&block.header().prev];
        let above = &self.made[parent];
        let place = above.place.after(block.header());
        let work = above.work + work_of(&block);
        let mut fault = self.alone(above, &block);
        let mut store = None;
        if let (None, Some(before)) = (fault, &above.store) {
            store = self.connected(before, &block, place.facts.height);
            fault = store.is_none().then_some(Fault::Execution);
        }
        let id = self.made.len();
        self.ids.insert(block.hash(), id);
        self.made.push(Made { block, parent, place, work, fault, store });
        id
    }

    /// The chain that ends in a block, genesis first.
    pub fn chain(&self, end: BlockId) -> Vec<BlockId> {
        let mut chain = vec![end];
        while let Some(&last) = chain.last()
            && last != GENESIS
        {
            chain.push(self.made[last].parent);
        }
        chain.reverse();
        chain
    }

    /// The faults that need no state.
    fn alone(&self, above: &Made, block: &CheckedBlock) -> Option<Fault> {
        let (facts, header, coinbase) = (&above.place.facts, block.header(), block.coinbase());
        let bits = required_bits(&self.network, facts.height, facts.time);
        if header.time <= facts.median_time() || header.bits != bits {
            return Some(Fault::Header);
        }
        let fees: u64 = block.transactions().iter().map(|transaction| transaction.fee).sum();
        let height = facts.height + 1;
        let value = self.network.subsidy.at(height) + fees;
        (coinbase.height != height || coinbase.value != value).then_some(Fault::Body)
    }

    /// The store before with one more block; `None` if that cannot be executed.
    fn connected(
        &self,
        before: &MemoryStore,
        block: &CheckedBlock,
        height: u32,
    ) -> Option<MemoryStore> {
        let coinbase = block.coinbase();
        let transactions = block.transactions();
        let delta = executed(&self.network, before, coinbase.payee, transactions).ok()?;
        let mut store = before.clone();
        store.connect(block, height, &delta).expect("memory does not fail");
        (coinbase.state_root == delta.state_root).then_some(store)
    }
}

fn work_of(block: &CheckedBlock) -> Work {
    block.header().bits.decode().expect("checked blocks have a target").work()
}

/// What a ledger knows of a block. Numbers are those of the arrivals.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    header: Option<usize>,
    body: Option<usize>,
    refused: bool,
    sender: Option<PeerId>,
}

/// What became of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    New,
    Known,
    Unconnected,
    Refused,
}

/// Which blocks a ledger was given, and so what its tip must be.
pub struct ChainModel {
    known: Vec<Known>,
    arrivals: usize,
    /// The block that must be the tip.
    pub tip: BlockId,
}

impl ChainModel {
    /// A ledger that knows genesis.
    pub fn new() -> ChainModel {
        let genesis = Known { header: Some(0), body: Some(0), ..Known::default() };
        ChainModel { known: vec![genesis], arrivals: 1, tip: GENESIS }
    }

    /// A peer sends linked headers. Returns the peers at fault.
    pub fn headers(&mut self, truth: &Truth, from: PeerId, ids: &[BlockId]) -> Vec<PeerId> {
        for &id in ids {
            match self.header(truth, id) {
                Fate::New | Fate::Known => {}
                Fate::Unconnected => return Vec::new(),
                Fate::Refused => return vec![from],
            }
        }
        Vec::new()
    }

    /// A block comes, from a peer or from a miner of the node. Returns the peers at fault.
    pub fn body(&mut self, truth: &Truth, from: Option<PeerId>, id: BlockId) -> Vec<PeerId> {
        match self.header(truth, id) {
            Fate::New | Fate::Known => {}
            Fate::Unconnected => return Vec::new(),
            Fate::Refused => return from.into_iter().collect(),
        }
        self.known[id].sender = from;
        if self.known[id].body.is_some() {
            return Vec::new();
        }
        if truth.get(id).fault == Some(Fault::Body) {
            self.refuse(truth, id);
            return from.into_iter().collect();
        }
        self.known[id].body = Some(self.arrival());
        self.move_tip(truth)
    }

    /// The bodies a ledger must ask for: those missing on every header chain that has the most
    /// work, lowest first, and of equal height in the order of their headers.
    pub fn wanted(&self, truth: &Truth) -> Vec<Hash> {
        let valid = || {
            let headers = (0..self.known.len()).filter(|&id| !self.known[id].refused);
            headers.filter_map(|id| self.known[id].header.map(|at| (id, at)))
        };
        let most = valid().map(|(id, _)| truth.get(id).work).max();
        let mut missing = BTreeSet::new();
        for (leaf, _) in valid().filter(|&(id, _)| Some(truth.get(id).work) == most) {
            for (height, id) in truth.chain(leaf).into_iter().enumerate() {
                if id != GENESIS && self.known[id].body.is_none() {
                    missing.insert((height, self.known[id].header, id));
                }
            }
        }
        missing.into_iter().map(|(.., id)| truth.get(id).block.hash()).collect()
    }

    fn header(&mut self, truth: &Truth, id: BlockId) -> Fate {
        self.known.resize(truth.count(), Known::default());
        let parent = self.known[truth.get(id).parent];
        if self.known[id].header.is_some() {
            return if self.known[id].refused { Fate::Refused } else { Fate::Known };
        }
        if parent.header.is_none() {
            return Fate::Unconnected;
        }
        if parent.refused || truth.get(id).fault == Some(Fault::Header) {
            return Fate::Refused;
        }
        self.known[id].header = Some(self.arrival());
        Fate::New
    }

    /// The best complete block is the tip, unless executing its chain fails; then the next best.
    fn move_tip(&mut self, truth: &Truth) -> Vec<PeerId> {
        let mut faulty = Vec::new();
        loop {
            let best = self.best_complete(truth);
            let chain = truth.chain(best);
            let Some(&bad) = chain.iter().find(|&&id| truth.get(id).fault.is_some()) else {
                self.tip = best;
                return faulty;
            };
            self.refuse(truth, bad);
            faulty.extend(self.known[bad].sender);
        }
    }

    /// Most work among those whose chain is here and not refused; then the first complete one;
    /// then the one whose own body came first.
    fn best_complete(&self, truth: &Truth) -> BlockId {
        let mut completed: Vec<Option<usize>> = vec![Some(0); self.known.len()];
        for id in 1..self.known.len() {
            let above = completed[truth.get(id).parent];
            let known = &self.known[id];
            completed[id] = above.zip(known.body).map(|(above, own)| above.max(own));
            if known.refused {
                completed[id] = None;
            }
        }
        let rank = |id: BlockId| {
            let first = std::cmp::Reverse((completed[id]?, self.known[id].body?));
            Some((truth.get(id).work, first))
        };
        let complete = (0..self.known.len()).filter(|&id| completed[id].is_some());
        complete.max_by_key(|&id| rank(id)).expect("genesis is complete")
    }

    /// Refuses a block and everything that is known to descend from it.
    fn refuse(&mut self, truth: &Truth, bad: BlockId) {
        self.known[bad].refused = true;
        for id in bad + 1..self.known.len() {
            self.known[id].refused |= self.known[truth.get(id).parent].refused;
        }
    }

    fn arrival(&mut self) -> usize {
        self.arrivals += 1;
        self.arrivals
    }
}

impl Default for ChainModel {
    fn default() -> ChainModel {
        ChainModel::new()
    }
}

/// What waits for a block.
pub struct PoolModel {
    network: Network,
    limits: PoolLimits,
    waiting: BTreeMap<Hash, CheckedTransaction>,
}

impl PoolModel {
    /// Nothing waits.
    pub fn new(network: &Network, limits: PoolLimits) -> PoolModel {
        PoolModel { network: network.clone(), limits, waiting: BTreeMap::new() }
    }

    /// Everything that waits.
    pub fn waiting(&self) -> impl Iterator<Item = &CheckedTransaction> {
        self.waiting.values()
    }

    /// What waits under an id.
    pub fn get(&self, txid: &Hash) -> Option<&CheckedTransaction> {
        self.waiting.get(txid)
    }

    /// Notes that a transaction waits.
    pub fn insert(&mut self, transaction: CheckedTransaction) {
        self.waiting.insert(transaction.txid(), transaction);
    }

    /// Notes that a transaction waits no more.
    pub fn remove(&mut self, txid: &Hash) -> Option<CheckedTransaction> {
        self.waiting.remove(txid)
    }

    /// Bytes of all that waits.
    pub fn bytes(&self) -> usize {
        self.waiting().map(|transaction| transaction.bytes().len()).sum()
    }

    /// What waits of one signer.
    pub fn of(&self, signer: PublicKey) -> impl Iterator<Item = &CheckedTransaction> {
        self.waiting().filter(move |transaction| transaction.signer == signer)
    }

    /// Fees of all that waits of one signer.
    pub fn fees_of(&self, signer: PublicKey) -> u64 {
        self.of(signer).map(|transaction| transaction.fee).sum()
    }

    /// The first sequence of an account that does not wait.
    pub fn first_missing(&self, signer: PublicKey, account: Account) -> u64 {
        let taken: BTreeSet<u64> =
            self.of(signer).map(|transaction| transaction.sequence).collect();
        (account.sequence..).find(|sequence| !taken.contains(sequence)).expect("few wait")
    }

    /// Why the pool must refuse a transaction, room in bytes aside.
    pub fn refusal(
        &self,
        tx: &CheckedTransaction,
        account: Account,
        next_height: u32,
    ) -> Option<Refusal> {
        let (got, expires_at, limit) = (tx.sequence, tx.expires_at, self.limits.per_account);
        if self.waiting.contains_key(&tx.txid()) {
            return Some(Refusal::Known);
        }
        if (1..next_height).contains(&expires_at) {
            return Some(Refusal::Expired { expires_at, next_height });
        }
        if got < account.sequence {
            return Some(Refusal::Stale { got, next: account.sequence });
        }
        let next = self.first_missing(tx.signer, account);
        if got > next && got - next > self.limits.gap {
            return Some(Refusal::TooFarAhead { got, next });
        }
        let rival = self.of(tx.signer).find(|other| other.sequence == got);
        if let Some(rival) = rival {
            let least = rival.fee + self.network.min_fee(tx.bytes().len()).max(1);
            if tx.fee < least {
                return Some(Refusal::Underpriced { replaced: rival.txid(), least });
            }
        } else if self.of(tx.signer).count() >= limit {
            return Some(Refusal::AccountFull { limit });
        }
        let fees = self.fees_of(tx.signer) - rival.map_or(0, |rival| rival.fee) + tx.fee;
        let balance = account.balance;
        (fees > balance).then_some(Refusal::CannotPayFees { fees, balance })
    }
}

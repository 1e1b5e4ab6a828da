//! What goes into the ledger and what comes out of it.

use std::sync::Arc;

use miner::{Hash, Solution, Work};

use super::AssumedBlocks;
use crate::block::CheckedBlock;
use crate::header::Header;
use crate::mempool::{DropReason, Refusal};
use crate::rules::RuleError;
use crate::rules::isolation::CheckedHeader;
use crate::store::{ChainPoint, Storage};
use crate::template::Template;
use crate::tx::{CheckedTransaction, OperationBytes, PublicKey};

/// Seconds since the Unix epoch, with milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
}

impl Time {
    /// Whole seconds since the Unix epoch.
    pub fn seconds(self) -> u64 {
        self.unix_ms / 1000
    }

    /// So much later.
    pub fn plus_ms(self, ms: u64) -> Time {
        Time { unix_ms: self.unix_ms + ms }
    }
}

/// A connected peer, named by the network layer. Never used twice in a process's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

/// A question the driver waits to be answered. Unique among those open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Where a transaction came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A peer relayed it.
    Peer(PeerId),
    /// A client of this node handed it in; the answer goes to this request.
    Client(RequestId),
}

/// What a client wants written, before it has a sequence and a signature.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Applied together or not at all.
    pub operations: Vec<OperationBytes>,
    /// `None` = the least fee the network takes.
    pub fee: Option<u64>,
    /// Last height it may be included at; 0 = never expires.
    pub expires_at: u32,
}

/// What the ledger is told. Everything from outside has passed the isolation rules.
#[derive(Debug)]
pub enum Input {
    /// A peer sent headers, ascending and linked.
    Headers {
        /// Who sent them.
        from: PeerId,
        /// At least one, linked, ascending.
        headers: Vec<CheckedHeader>,
    },
    /// A peer said that there is a new block, before it could know whether the block executes.
    Announced {
        /// Who said so.
        from: PeerId,
        /// The block's header.
        header: CheckedHeader,
    },
    /// A peer is gone: nothing more comes of it.
    PeerGone {
        /// Who.
        peer: PeerId,
    },
    /// A peer sent a block.
    Block {
        /// Who sent it.
        from: PeerId,
        /// The block.
        block: CheckedBlock,
    },
    /// A peer sent a block before it could know whether the block executes. Its header is known.
    /// What is wrong with it in its place is not held against the peer.
    Relayed {
        /// The block.
        block: CheckedBlock,
    },
    /// A peer sent a block that breaks a rule to which its hash commits.
    InvalidBlock {
        /// Who sent it.
        from: PeerId,
        /// Its hash.
        hash: Hash,
        /// The broken rule.
        error: RuleError,
    },
    /// A signed transaction.
    Transaction {
        /// Where from.
        source: Source,
        /// The transaction.
        transaction: CheckedTransaction,
    },
    /// Signed transactions that a client hands in together. They are taken in order, up to the
    /// first that is refused.
    Submission {
        /// Who asked.
        request: RequestId,
        /// At least one.
        transactions: Vec<CheckedTransaction>,
    },
    /// Sign this with the node's key and take it in.
    Write {
        /// Who asked.
        request: RequestId,
        /// What to sign.
        draft: Draft,
    },
    /// Where does this transaction stand?
    Lookup {
        /// Who asked.
        request: RequestId,
        /// The transaction.
        txid: Hash,
    },
    /// What can this account spend, and what comes next?
    Account {
        /// Who asked.
        request: RequestId,
        /// The account; `None` = the node's own.
        key: Option<PublicKey>,
    },
    /// On networks mined on demand: mine at least up to this height.
    MineTo {
        /// Target height.
        height: u32,
    },
    /// A miner has solved a template of ours.
    Mined(Mined),
    /// A body could not be read: look at it.
    Unreadable {
        /// Of which block.
        hash: Hash,
    },
    /// Time has passed.
    Tick,
}

/// A solved template.
#[derive(Clone, Debug)]
pub struct Mined {
    /// What was mined.
    pub template: Arc<Template>,
    /// Who is paid: the payee of the job that was searched.
    pub payee: PublicKey,
    /// What was found.
    pub solution: Solution,
}

/// What the ledger says.
#[derive(Clone, Debug)]
pub enum Output {
    /// What became of a peer's headers.
    HeadersJudged {
        /// Who sent them.
        from: PeerId,
        /// The verdict.
        verdict: HeadersVerdict,
    },
    /// Bodies missing on the best header chain or damaged, lowest height first, at most
    /// [`crate::ledger::WANTED_WINDOW`] of those not executed. Replaces the list before.
    Wanted(Vec<ChainPoint>),
    /// Which of the bodies wanted next need no look at their signatures. Replaces the set before.
    Assumed(AssumedBlocks),
    /// A peer broke a rule and must be dropped.
    PeerFault {
        /// Who.
        from: PeerId,
        /// Which rule.
        error: RuleError,
    },
    /// The main chain changed (or the ledger has just started: nothing reverted or connected).
    TipChanged(Arc<TipChange>),
    /// A transaction is now in the pool.
    Pooled {
        /// The transaction.
        transaction: CheckedTransaction,
        /// Who relayed it, if a peer did.
        from: Option<PeerId>,
        /// Whether it was in a block that was reverted.
        reverted: bool,
    },
    /// A peer's transaction was not taken into the pool. No fault of the peer.
    Refused {
        /// Who relayed it.
        from: PeerId,
        /// Which transaction.
        txid: Hash,
        /// Why not.
        refusal: Refusal,
    },
    /// How much the pool holds now.
    PoolSize {
        /// Transactions.
        count: usize,
        /// Their bytes.
        bytes: usize,
    },
    /// What is stored of the chain.
    Storage(Storage),
    /// A transaction left the pool other than by a block, or does not come back to it from a
    /// reverted one.
    Dropped {
        /// Which one.
        txid: Hash,
        /// Why.
        reason: DropReason,
    },
    /// Mine this from now on; `None` = nothing.
    Template(Option<Arc<Template>>),
    /// An answer to a request.
    Answer {
        /// Whose request.
        request: RequestId,
        /// The answer.
        answer: Answer,
    },
}

/// The verdict on a batch of headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadersVerdict {
    /// All are known or new and valid.
    Accepted {
        /// How many were new.
        new: usize,
        /// The last of them.
        last: ChainPoint,
        /// Work of the chain that ends in it.
        work: Work,
    },
    /// The first one's parent is unknown: ask with a locator.
    Unconnected,
    /// Valid, but too far ahead of our clock; not punished.
    TooNew,
    /// Valid, but we keep no more headers off the best chain; not punished.
    TooMany,
    /// Their chain has not shown enough work, so they are not kept; not punished.
    LowWork {
        /// The last header that was followed of the peer's chain: if there are more after it, ask
        /// for those. `None` = nothing of it is followed.
        next: Option<Hash>,
    },
    /// Their chain has shown enough work: ask for it once more, to keep it.
    Again {
        /// For the headers after this one.
        after: Hash,
    },
    /// One is not the block that a checkpoint names. The peer is of no use, but not punished.
    OtherChain,
    /// Announced before it was executed, and its block is known to be invalid; not punished.
    Invalid,
}

/// An answer to a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The transaction is in the pool.
    Accepted {
        /// Its id.
        txid: Hash,
    },
    /// Of a submission these are in the pool: all, or those before the first that was refused.
    Submitted {
        /// Their ids, in order.
        txids: Vec<Hash>,
        /// Why no more.
        refusal: Option<Refusal>,
    },
    /// The transaction was not taken.
    Refused(Refusal),
    /// The draft breaks a rule.
    Invalid(RuleError),
    /// The node has no key to sign with.
    NoKey,
    /// Where a transaction stands outside the chain (the index knows those inside).
    Status(PoolStatus),
    /// An account.
    Account {
        /// Whose.
        key: PublicKey,
        /// In the smallest unit, as of the tip.
        balance: u64,
        /// Next sequence, counting pooled transactions.
        next_sequence: u64,
        /// Transactions of it in the pool.
        pooled: usize,
    },
}

/// Where a transaction stands outside the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolStatus {
    /// Waiting for a block.
    Pending,
    /// Left the pool for good.
    Dropped(DropReason),
    /// Never seen, or forgotten.
    Unknown,
}

/// A block that became part of the main chain.
#[derive(Clone, Debug)]
pub struct ConnectedBlock {
    /// The block.
    pub block: CheckedBlock,
    /// Its height.
    pub height: u32,
    /// Its transactions' outcomes, in order.
    pub outcomes: Vec<Vec<u8>>,
}

/// A block that left the main chain.
#[derive(Clone, Debug)]
pub struct RevertedBlock {
    /// Its hash.
    pub hash: Hash,
    /// The height it had.
    pub height: u32,
    /// The block; `None` = its body was damaged, so nobody knows what was in it. Each of its
    /// transactions is [`Output::Dropped`] then.
    pub block: Option<CheckedBlock>,
}

impl RevertedBlock {
    /// Its transactions, none if its body was damaged.
    pub fn transactions(&self) -> &[CheckedTransaction] {
        self.block.as_ref().map_or(&[], CheckedBlock::transactions)
    }
}

/// How the main chain changed, and where it stands now.
#[derive(Clone, Debug)]
pub struct TipChange {
    /// Blocks taken off, highest first.
    pub reverted: Vec<RevertedBlock>,
    /// Blocks put on, lowest first.
    pub connected: Vec<ConnectedBlock>,
    /// The new tip.
    pub tip: ChainPoint,
    /// The tip's header.
    pub header: Header,
    /// Work of the main chain.
    pub work: Work,
    /// Height of the best header chain: above the tip while bodies are missing.
    pub best_header: ChainPoint,
    /// Hashes that let a peer find where our best header chain leaves its own: the newest ten,
    /// then ever wider steps, genesis last.
    pub locator: Vec<Hash>,
}

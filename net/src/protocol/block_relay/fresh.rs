//! What the relay of blocks remembers of a peer and of a block.

use std::collections::VecDeque;

use chain::Hash;
use chain::header::Header;
use chain::ledger::PeerId;

use super::Around;
use super::rebuild::Partial;
use crate::protocol::config::Timing;
use crate::protocol::port::Millis;
use crate::protocol::recent::RecentSet;
use crate::wire::CompactBlock;

/// Peers remembered as having announced one block.
const MAX_HOLDERS: usize = 8;
/// Peers asked for the compact form of one block before it is fetched whole.
const MAX_TRIES: u32 = 3;
/// Added to the patience with who was asked for transactions, for each of them, when somebody else
/// vouches for the block, in milliseconds: they would come at a megabit a second.
const VOUCHED_TRANSACTION_MS: u64 = 2;
/// Blocks remembered as told of, by a peer or to it.
const MAX_TOLD: usize = 64;
/// Blocks asked of one peer that it may still answer.
const MAX_ASKED: usize = 16;

/// What a peer can be asked of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owed {
    /// Its compact form.
    Compact,
    /// Transactions that are missing.
    Transactions,
}

/// What is remembered of a peer.
#[derive(Debug)]
pub(super) struct Mate {
    /// Announced by the peer or to it.
    pub(super) told: RecentSet<Hash>,
    /// Sent by it before the ledger knew the header.
    pub(super) held: Option<CompactBlock>,
    /// Asked of it and not answered, oldest first.
    asked: VecDeque<(Owed, Hash)>,
    /// Blocks rebuilt of what it sent.
    pub(super) rebuilt: u64,
    /// Transactions fetched from it for them.
    pub(super) fetched: u64,
}

/// How far the fetching of a block has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// Accepted, but the ledger has not yet said that it wants the body.
    New,
    Asked(PeerId),
    Rebuilding(PeerId, Box<Partial>),
    /// Given to the verify stage.
    Handed(PeerId),
    /// Left to the download of whole blocks.
    GivenUp,
}

impl Stage {
    /// Whom it waits for.
    pub(super) fn peer(&self) -> Option<PeerId> {
        match self {
            Stage::Asked(peer) | Stage::Rebuilding(peer, _) | Stage::Handed(peer) => Some(*peer),
            Stage::New | Stage::GivenUp => None,
        }
    }
}

/// A block whose header is good and whose body is missing.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) header: Header,
    pub(super) height: u32,
    /// Peers that announced it and were not asked yet, in order.
    pub(super) holders: VecDeque<PeerId>,
    /// Those of them that have executed it, in order: they are asked first.
    pub(super) vouchers: VecDeque<PeerId>,
    pub(super) stage: Stage,
    pub(super) tries: u32,
    /// When the stage has taken too long.
    pub(super) until: Option<Millis>,
}

impl Mate {
    pub(super) fn new() -> Mate {
        Mate {
            told: RecentSet::new(MAX_TOLD),
            held: None,
            asked: VecDeque::new(),
            rebuilt: 0,
            fetched: 0,
        }
    }

    /// Notes that the peer is asked for something of a block.
    pub(super) fn owes(&mut self, what: Owed, hash: Hash) {
        self.asked.push_back((what, hash));
        if self.asked.len() > MAX_ASKED {
            self.asked.pop_front();
        }
    }

    /// Takes an answer off what the peer owes; `false` when it does not owe this.
    pub(super) fn answers(&mut self, what: Owed, hash: &Hash) -> bool {
        let found = self.asked.iter().position(|asked| *asked == (what, *hash));
        found.is_some_and(|at| self.asked.remove(at).is_some())
    }
}

impl Fresh {
    /// A block of which nothing is known but its header.
    pub(super) fn new(header: Header) -> Fresh {
        Fresh {
            header,
            height: 0,
            holders: VecDeque::new(),
            vouchers: VecDeque::new(),
            stage: Stage::New,
            tries: 0,
            until: None,
        }
    }

    /// Remembers that a peer announced it.
    pub(super) fn add_holder(&mut self, peer: PeerId) {
        let is_news = !self.holders.contains(&peer) && !self.vouchers.contains(&peer);
        if is_news && self.stage.peer() != Some(peer) && self.holders.len() < MAX_HOLDERS {
            self.holders.push_back(peer);
        }
    }

    /// A peer has the block for sure. Whoever was asked and says nothing has less time from now on:
    /// perhaps it never will.
    pub(super) fn add_voucher(&mut self, peer: PeerId, now: Millis, timing: &Timing) {
        if self.stage.peer() == Some(peer) || self.vouchers.contains(&peer) {
            return;
        }
        self.holders.retain(|holder| *holder != peer);
        if self.vouchers.len() < MAX_HOLDERS {
            self.vouchers.push_back(peer);
        }
        let patience_ms = match &self.stage {
            Stage::Asked(_) => timing.vouched_ms,
            Stage::Rebuilding(_, partial) => {
                timing.vouched_ms + VOUCHED_TRANSACTION_MS * partial.missing().len() as u64
            }
            Stage::New | Stage::Handed(_) | Stage::GivenUp => return,
        };
        let until = now + patience_ms;
        self.until = self.until.map(|before| before.min(until));
    }

    /// Forgets a peer that is gone or has been asked.
    pub(super) fn strike_out(&mut self, peer: PeerId) {
        self.holders.retain(|holder| *holder != peer);
        self.vouchers.retain(|voucher| *voucher != peer);
    }

    /// The next peer to ask, while there is any sense in it.
    pub(super) fn next_holder(&mut self) -> Option<PeerId> {
        if self.tries >= MAX_TRIES {
            return None;
        }
        self.tries += 1;
        self.vouchers.pop_front().or_else(|| self.holders.pop_front())
    }

    /// Whether this peer was asked for the compact form, and nobody since.
    pub(super) fn is_asked_of(&self, peer: PeerId) -> bool {
        matches!(self.stage, Stage::Asked(asked) if asked == peer)
    }

    /// The block is with the verify stage.
    pub(super) fn hand(&mut self, peer: PeerId, around: &Around<'_>) {
        self.stage = Stage::Handed(peer);
        self.until = Some(around.now + around.timing.rebuilt_ms);
    }
}

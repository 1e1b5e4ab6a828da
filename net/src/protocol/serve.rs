//! What peers have asked of us and not yet got.
//!
//! Little is fetched ahead: two blocks at a time, one answer of headers, and nothing while the
//! peer's output buffer is full. So a peer that asks much and reads little costs little memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chain::Hash;
use chain::ledger::PeerId;

use super::outbox::Outbox;
use super::port::{Millis, Reason, Work};
use crate::wire::Message;
use crate::wire::compact::SHORT_ID_BYTES;
use crate::wire::message::{MAX_TRANSACTIONS, TRANSACTIONS_FULL_BYTES};

/// Blocks a peer may have asked for and not yet got: four times what it should.
const MAX_BLOCKS_OWED: usize = 64;
/// Transactions a peer may have asked for and not yet got.
const MAX_TRANSACTIONS_OWED: usize = 2000;
/// Blocks fetched for one peer at a time.
const BLOCKS_AHEAD: usize = 2;
/// Questions about new blocks that a peer may have open. The oldest is answered with no if there
/// are more.
const MAX_ASKS: usize = 8;

/// A question about a new block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Its compact form.
    Compact(Hash),
    /// Some of its transactions.
    Transactions {
        /// Which block.
        hash: Hash,
        /// Their places, ascending.
        indexes: Vec<u16>,
    },
}

impl Ask {
    pub(crate) fn hash(&self) -> Hash {
        match self {
            Ask::Compact(hash) | Ask::Transactions { hash, .. } => *hash,
        }
    }
}

/// What to say to an [`Ask`].
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// This.
    Send(Message),
    /// Nothing yet: the block is on its way.
    Later,
}

#[derive(Debug, Default)]
struct Customer {
    blocks: VecDeque<Hash>,
    blocks_ahead: usize,
    locator: Option<Vec<Hash>>,
    headers_ahead: bool,
    txids: VecDeque<Hash>,
    asks: VecDeque<Ask>,
    /// Some of these can be answered, once it has read what was sent.
    more_answers: bool,
    backlogged: bool,
}

/// Every ready peer's requests.
#[derive(Debug, Default)]
pub(crate) struct Serving {
    customers: BTreeMap<PeerId, Customer>,
    /// Those of them that wait for transactions or answers.
    waiting: BTreeSet<PeerId>,
}

impl Serving {
    pub(crate) fn ready(&mut self, peer: PeerId) {
        self.customers.insert(peer, Customer::default());
    }

    pub(crate) fn removed(&mut self, peer: PeerId) {
        self.customers.remove(&peer);
        self.waiting.remove(&peer);
    }

    pub(crate) fn set_backlogged(&mut self, peer: PeerId, out: &mut Outbox) {
        self.with(peer, out, |customer| customer.backlogged = true);
    }

    pub(crate) fn drained(&mut self, peer: PeerId, out: &mut Outbox) {
        self.with(peer, out, |customer| customer.backlogged = false);
    }

    /// Only the newest request for headers counts.
    pub(crate) fn headers_asked(&mut self, peer: PeerId, locator: Vec<Hash>, out: &mut Outbox) {
        self.with(peer, out, |customer| customer.locator = Some(locator));
    }

    pub(crate) fn headers_served(&mut self, peer: PeerId, out: &mut Outbox) {
        self.with(peer, out, |customer| customer.headers_ahead = false);
    }

    pub(crate) fn blocks_asked(
        &mut self,
        peer: PeerId,
        hashes: Vec<Hash>,
        out: &mut Outbox,
    ) -> Result<(), Reason> {
        let Some(customer) = self.customers.get(&peer) else { return Ok(()) };
        if customer.blocks.len() + hashes.len() > MAX_BLOCKS_OWED {
            return Err(Reason::Protocol("asks for more blocks than it reads"));
        }
        self.with(peer, out, |customer| customer.blocks.extend(hashes));
        Ok(())
    }

    /// Answers a request for a block with what was found.
    pub(crate) fn block_served(
        &mut self,
        peer: PeerId,
        hash: Hash,
        bytes: Option<Vec<u8>>,
        out: &mut Outbox,
    ) {
        if !self.customers.contains_key(&peer) {
            return;
        }
        let answer = match bytes {
            Some(bytes) => Message::Block(bytes),
            None => Message::NotFound { hashes: vec![hash] },
        };
        out.send(peer, answer);
        self.with(peer, out, |customer| {
            customer.blocks_ahead = customer.blocks_ahead.saturating_sub(1);
        });
    }

    pub(crate) fn transactions_asked(
        &mut self,
        peer: PeerId,
        txids: Vec<Hash>,
    ) -> Result<(), Reason> {
        let Some(customer) = self.customers.get_mut(&peer) else { return Ok(()) };
        if customer.txids.len() + txids.len() > MAX_TRANSACTIONS_OWED {
            return Err(Reason::Protocol("asks for more transactions than it reads"));
        }
        customer.txids.extend(txids);
        self.waiting.insert(peer);
        Ok(())
    }

    /// A peer asks about a new block.
    pub(crate) fn asked(&mut self, peer: PeerId, ask: Ask, out: &mut Outbox) {
        let Some(customer) = self.customers.get_mut(&peer) else { return };
        customer.asks.push_back(ask);
        self.waiting.insert(peer);
        if customer.asks.len() > MAX_ASKS
            && let Some(oldest) = customer.asks.pop_front()
        {
            out.send(peer, Message::NotFound { hashes: vec![oldest.hash()] });
        }
    }

    /// Whether a peer takes what it is sent.
    pub(crate) fn reads(&self, peer: PeerId) -> bool {
        self.customers.get(&peer).is_some_and(|customer| !customer.backlogged)
    }

    /// Answers the questions about new blocks that can be answered, and sends each peer at most one
    /// full message of the transactions it asked for. Of answers, too, there are no more than that
    /// at a time: eight of them could be eight blocks.
    pub(crate) fn tick<'a>(
        &mut self,
        find: impl Fn(&Hash) -> Option<&'a [u8]>,
        answer: impl Fn(&Ask) -> Answer,
        out: &mut Outbox,
    ) {
        self.waiting.retain(|peer| {
            let Some(customer) = self.customers.get_mut(peer) else { return false };
            if !customer.backlogged {
                customer.answer(*peer, &answer, out);
                customer.send_transactions(*peer, &find, out);
            }
            !customer.asks.is_empty() || !customer.txids.is_empty()
        });
    }

    /// At once, while somebody can be sent more.
    pub(crate) fn wake_at(&self, now: Millis) -> Option<Millis> {
        let mut waiting = self.waiting.iter().filter_map(|peer| self.customers.get(peer));
        waiting.any(Customer::is_due).then_some(now)
    }

    /// The same after a look at everybody.
    #[cfg(test)]
    pub(crate) fn due_at(&self, now: Millis) -> Option<Millis> {
        self.customers.values().any(Customer::is_due).then_some(now)
    }

    /// Changes a peer's requests, then fetches what may be fetched.
    fn with(&mut self, peer: PeerId, out: &mut Outbox, change: impl FnOnce(&mut Customer)) {
        let Some(customer) = self.customers.get_mut(&peer) else { return };
        change(customer);
        if customer.backlogged {
            return;
        }
        if !customer.headers_ahead
            && let Some(locator) = customer.locator.take()
        {
            customer.headers_ahead = true;
            out.work(Work::ServeHeaders { to: peer, locator });
        }
        while customer.blocks_ahead < BLOCKS_AHEAD
            && let Some(hash) = customer.blocks.pop_front()
        {
            customer.blocks_ahead += 1;
            out.work(Work::ServeBlock { to: peer, hash });
        }
    }
}

impl Customer {
    /// Whether it can be sent more.
    fn is_due(&self) -> bool {
        !self.backlogged && (self.more_answers || !self.txids.is_empty())
    }

    fn answer(&mut self, peer: PeerId, answer: impl Fn(&Ask) -> Answer, out: &mut Outbox) {
        let mut answered = 0;
        self.more_answers = false;
        self.asks.retain(|ask| {
            if answered >= TRANSACTIONS_FULL_BYTES {
                self.more_answers = true;
                return true;
            }
            match answer(ask) {
                Answer::Send(message) => {
                    answered += answer_bytes(&message);
                    out.send(peer, message);
                    false
                }
                Answer::Later => true,
            }
        });
    }

    fn send_transactions<'a>(
        &mut self,
        peer: PeerId,
        find: impl Fn(&Hash) -> Option<&'a [u8]>,
        out: &mut Outbox,
    ) {
        let (mut list, mut bytes) = (Vec::new(), 0);
        while bytes < TRANSACTIONS_FULL_BYTES && list.len() < MAX_TRANSACTIONS {
            let Some(txid) = self.txids.pop_front() else { break };
            if let Some(found) = find(&txid) {
                bytes += found.len();
                list.push(found.to_vec());
            }
        }
        if !list.is_empty() {
            out.send(peer, Message::Transactions(list));
        }
    }
}

/// Roughly how long an answer about a new block is.
fn answer_bytes(message: &Message) -> usize {
    match message {
        Message::BlockTransactions { list, .. } => list.iter().map(Vec::len).sum(),
        Message::CompactBlock(block) => block.coinbase.len() + SHORT_ID_BYTES * block.ids.len(),
        _ => 0,
    }
}

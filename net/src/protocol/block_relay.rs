//! New blocks: announced before they are here, fetched once in compact form, passed on before they
//! are executed.
//!
//! A header that the ledger accepts and wants the body of is announced at once to everybody who
//! has not announced it. The compact form is asked of who announced the block first; who does not
//! have it yet answers as soon as it has. So a block spreads as fast as if everybody pushed it to
//! everybody, and yet each node gets it once. Only who made a block sends its compact form
//! unasked, because nobody else can have it.
//!
//! What fails here, for whatever reason, is left to the download of whole blocks (`sync`). An
//! announcement is no claim that the block executes: only `headers` is.

mod fresh;
mod rebuild;
mod shelf;

use std::collections::BTreeMap;

use chain::Hash;
use chain::block::CheckedBlock;
use chain::header::Header;
use chain::ledger::{PeerId, TipChange};
use rand::RngExt;
use rand::rngs::StdRng;

use super::config::Timing;
use super::outbox::Outbox;
use super::port::{Millis, Reason, Work};
use super::recent::RecentSet;
use super::relay::Relay;
use super::serve::{Answer, Ask};
use super::sync::{News, Sync};
use crate::wire::{CompactBlock, Message};
use fresh::{Fresh, Mate, Owed, Stage};
use rebuild::{Partial, Wrong};
use shelf::Shelf;

/// New blocks looked after at a time; more are fetched whole.
const MAX_FRESH: usize = 4;
/// Added to the time for an answer by each transaction asked for, in milliseconds.
const TRANSACTION_MS: u64 = 10;
/// Executed blocks whose children may be announced.
const MAX_EXECUTED: usize = 16;

/// What the relay of blocks works with.
pub(crate) struct Around<'a> {
    pub(crate) now: Millis,
    pub(crate) timing: &'a Timing,
    pub(crate) sync: &'a mut Sync,
    pub(crate) pool: &'a Relay,
    pub(crate) out: &'a mut Outbox,
    pub(crate) rng: &'a mut StdRng,
}

/// The relay of new blocks.
#[derive(Debug)]
pub(crate) struct BlockRelay {
    mates: BTreeMap<PeerId, Mate>,
    fresh: BTreeMap<Hash, Fresh>,
    shelf: Shelf,
    executed: RecentSet<Hash>,
}

impl BlockRelay {
    pub(crate) fn new() -> BlockRelay {
        BlockRelay {
            mates: BTreeMap::new(),
            fresh: BTreeMap::new(),
            shelf: Shelf::default(),
            executed: RecentSet::new(MAX_EXECUTED),
        }
    }

    pub(crate) fn ready(&mut self, peer: PeerId) {
        self.mates.insert(peer, Mate::new());
    }

    pub(crate) fn removed(&mut self, peer: PeerId, around: &mut Around<'_>) {
        self.mates.remove(&peer);
        let mut orphaned = Vec::new();
        for (hash, fresh) in &mut self.fresh {
            fresh.strike_out(peer);
            if fresh.stage.peer() == Some(peer) {
                orphaned.push(*hash);
            }
        }
        orphaned.iter().for_each(|hash| self.ask_next(hash, around));
    }

    /// Blocks rebuilt of what a peer sent, and transactions fetched from it for them.
    pub(crate) fn counts(&self, peer: PeerId) -> (u64, u64) {
        self.mates.get(&peer).map_or((0, 0), |mate| (mate.rebuilt, mate.fetched))
    }

    /// A peer has a new block, or soon will; perhaps it sends the compact form along.
    pub(crate) fn announced(
        &mut self,
        peer: PeerId,
        header: Header,
        compact: Option<CompactBlock>,
        around: &mut Around<'_>,
    ) {
        let hash = header.hash();
        let Some(mate) = self.mates.get_mut(&peer) else { return };
        mate.told.insert(hash);
        if compact.is_some() {
            mate.answers(Owed::Compact, &hash);
        }
        if self.shelf.contains(&hash) {
            return;
        }
        if let Some(fresh) = self.fresh.get_mut(&hash) {
            fresh.add_holder(peer);
            if let Some(compact) = compact {
                self.rebuild(peer, compact, around);
            }
            return;
        }
        if mate.held.is_none() {
            mate.held = compact;
        }
        if !around.sync.announced(peer, header, around.out) {
            mate.held = None;
        }
    }

    /// The ledger has judged headers that the peer sent as news.
    pub(crate) fn judged(&mut self, peer: PeerId, news: News, around: &mut Around<'_>) {
        for header in news.headers {
            match news.accepted {
                Some(is_new) => self.accepted(peer, header, is_new, around),
                None => self.let_go(&header.hash()),
            }
            let fresh = self.fresh.get_mut(&header.hash());
            if let Some(fresh) = fresh.filter(|_| news.accepted.is_some() && news.vouched) {
                fresh.add_voucher(peer, around.now, around.timing);
            }
        }
    }

    fn accepted(&mut self, peer: PeerId, header: Header, is_new: bool, around: &mut Around<'_>) {
        let hash = header.hash();
        let is_wanted = around.sync.downloads().wanted_height_of(&hash).is_some();
        let is_known = self.fresh.contains_key(&hash);
        if !is_known && (is_new || is_wanted) && self.fresh.len() < MAX_FRESH {
            self.fresh.insert(hash, Fresh::new(header));
            around.sync.hold(hash);
        }
        match self.fresh.get_mut(&hash) {
            Some(fresh) => fresh.add_holder(peer),
            None => self.let_go(&hash),
        }
        if is_wanted {
            self.begin(&hash, around);
        }
    }

    /// The ledger has said anew which bodies it lacks.
    pub(crate) fn wanted(&mut self, around: &mut Around<'_>) {
        let hashes: Vec<Hash> = self.fresh.keys().copied().collect();
        for hash in hashes {
            if around.sync.downloads().wanted_height_of(&hash).is_some() {
                self.begin(&hash, around);
            } else {
                self.fresh.remove(&hash);
                self.let_go(&hash);
                around.sync.release(&hash, around.now, around.out);
            }
        }
    }

    /// Forgets compact forms that were held for a header.
    fn let_go(&mut self, hash: &Hash) {
        for mate in self.mates.values_mut() {
            mate.held.take_if(|held| held.header.hash() == *hash);
        }
    }

    /// Announces a block whose body is wanted, and fetches it, if that has not begun.
    fn begin(&mut self, hash: &Hash, around: &mut Around<'_>) {
        let Some(fresh) = self.fresh.get_mut(hash) else { return };
        if !matches!(fresh.stage, Stage::New) {
            return;
        }
        fresh.height = around.sync.downloads().wanted_height_of(hash).unwrap_or(0);
        let header = fresh.header;
        if around.sync.is_far_behind() || around.sync.downloads().is_coming(hash) {
            return self.give_up(hash, around);
        }
        // Who announces a child vouches for its parent.
        if self.executed.contains(&header.prev) {
            self.announce(&header, around.out);
        }
        let held = self.mates.iter_mut().find_map(|(peer, mate)| {
            let held = mate.held.take_if(|held| held.header.hash() == *hash)?;
            Some((*peer, held))
        });
        match held {
            Some((peer, compact)) => self.rebuild(peer, compact, around),
            None => self.ask_next(hash, around),
        }
        self.let_go(hash);
    }

    fn announce(&mut self, header: &Header, out: &mut Outbox) {
        let hash = header.hash();
        for (peer, mate) in &mut self.mates {
            if mate.told.insert(hash) {
                out.send(*peer, Message::AnnounceBlock(*header));
            }
        }
    }

    /// Asks the next peer that announced the block, or nobody any more.
    fn ask_next(&mut self, hash: &Hash, around: &mut Around<'_>) {
        let Some(fresh) = self.fresh.get_mut(hash) else { return };
        let next = fresh.next_holder();
        let Some((peer, mate)) = next.and_then(|peer| Some((peer, self.mates.get_mut(&peer)?)))
        else {
            return self.give_up(hash, around);
        };
        fresh.stage = Stage::Asked(peer);
        fresh.until = Some(around.now + around.timing.compact_ms);
        mate.owes(Owed::Compact, *hash);
        around.out.send(peer, Message::GetCompactBlock { hash: *hash });
    }

    /// Leaves the block to the download of whole blocks.
    fn give_up(&mut self, hash: &Hash, around: &mut Around<'_>) {
        if let Some(fresh) = self.fresh.get_mut(hash) {
            (fresh.stage, fresh.until) = (Stage::GivenUp, None);
        }
        self.let_go(hash);
        around.sync.release(hash, around.now, around.out);
    }

    /// Puts a block together, or asks for what is missing. Once somebody is asked for the compact
    /// form, that of nobody else counts: it could be nonsense, to hold the block up.
    fn rebuild(&mut self, peer: PeerId, compact: CompactBlock, around: &mut Around<'_>) {
        let hash = compact.header.hash();
        let Some(fresh) = self.fresh.get_mut(&hash) else { return };
        if !matches!(fresh.stage, Stage::New) && !fresh.is_asked_of(peer) {
            return;
        }
        fresh.strike_out(peer);
        let at_hand = around.pool.transactions().chain(self.shelf.at_or_above(fresh.height));
        let Ok(partial) = Partial::new(compact, at_hand) else {
            return self.give_up(&hash, around);
        };
        let indexes = partial.missing();
        if indexes.is_empty() {
            let whole = partial.complete(Vec::new());
            let assembly = whole.expect("nothing is missing, so nothing can be wrong");
            fresh.hand(peer, around);
            around.out.work(Work::Rebuilt { from: peer, assembly: Box::new(assembly) });
            return;
        }
        let Some(mate) = self.mates.get_mut(&peer) else { return };
        mate.owes(Owed::Transactions, hash);
        fresh.stage = Stage::Rebuilding(peer, Box::new(partial));
        let patience_ms = around.timing.compact_ms + TRANSACTION_MS * indexes.len() as u64;
        fresh.until = Some(around.now + patience_ms);
        around.out.send(peer, Message::GetBlockTransactions { hash, indexes });
    }

    /// A peer sends transactions of a block.
    pub(crate) fn delivered(
        &mut self,
        peer: PeerId,
        hash: &Hash,
        list: Vec<Vec<u8>>,
        around: &mut Around<'_>,
    ) -> Result<(), Reason> {
        let Some(mate) = self.mates.get_mut(&peer) else { return Ok(()) };
        if !mate.answers(Owed::Transactions, hash) {
            return Err(Reason::Protocol("block transactions were not asked for"));
        }
        let Some(fresh) = self.fresh.get_mut(hash) else { return Ok(()) };
        if !matches!(fresh.stage, Stage::Rebuilding(from, _) if from == peer) {
            return Ok(());
        }
        mate.fetched += list.len() as u64;
        let stage = std::mem::replace(&mut fresh.stage, Stage::Handed(peer));
        let Stage::Rebuilding(_, partial) = stage else { unreachable!("matched above") };
        let assembly = partial.complete(list).map_err(|wrong| match wrong {
            Wrong::Count => Reason::Protocol("not as many block transactions as asked for"),
            Wrong::Transaction => Reason::Protocol("not the block transactions asked for"),
        })?;
        fresh.hand(peer, around);
        around.out.work(Work::Rebuilt { from: peer, assembly: Box::new(assembly) });
        Ok(())
    }

    /// A peer does not have a block in compact form, or its transactions, any more. Says whether
    /// it was asked.
    pub(crate) fn not_found(&mut self, peer: PeerId, hash: &Hash, around: &mut Around<'_>) -> bool {
        let asked = self.mates.get_mut(&peer).is_some_and(|mate| {
            mate.answers(Owed::Transactions, hash) || mate.answers(Owed::Compact, hash)
        });
        let waits = |fresh: &Fresh| match fresh.stage {
            Stage::Asked(from) | Stage::Rebuilding(from, _) => from == peer,
            Stage::New | Stage::Handed(_) | Stage::GivenUp => false,
        };
        if asked && self.fresh.get(hash).is_some_and(waits) {
            self.ask_next(hash, around);
        }
        asked
    }

    /// A rebuilt block has passed every rule but those of its place: whoever waits for it gets it.
    pub(crate) fn checked(&mut self, peer: PeerId, block: CheckedBlock, rng: &mut StdRng) {
        if let Some(mate) = self.mates.get_mut(&peer) {
            mate.rebuilt += 1;
        }
        self.shelf.insert(block, rng.random());
    }

    /// The transactions put together are not those of the header: short ids have collided.
    pub(crate) fn not_rebuilt(&mut self, hash: &Hash, around: &mut Around<'_>) {
        if self.fresh.contains_key(hash) {
            self.give_up(hash, around);
        }
    }

    /// Takes the ledger's new tip. A block that no peer knows of is our own, and is sent in compact
    /// form to these peers and announced to the others.
    pub(crate) fn tip_changed(
        &mut self,
        change: &TipChange,
        near: &[PeerId],
        around: &mut Around<'_>,
    ) {
        self.executed.insert(change.tip.hash);
        self.shelf.set_tip_height(change.tip.height);
        for connected in &change.connected {
            self.executed.insert(connected.block.hash());
            self.shelf.insert(connected.block.clone(), around.rng.random());
        }
        let (false, [only]) = (self.mates.is_empty(), &change.connected[..]) else { return };
        let (hash, header) = (only.block.hash(), *only.block.header());
        let told = self.mates.values().any(|mate| mate.told.contains(&hash));
        if told || around.sync.is_known(&hash) || around.sync.is_far_behind() {
            return;
        }
        let Some(compact) = self.shelf.compact(&hash) else { return };
        for (peer, mate) in &mut self.mates {
            mate.told.insert(hash);
            let message = match near.contains(peer) {
                true => compact.clone(),
                false => Message::AnnounceBlock(header),
            };
            around.out.send(*peer, message);
        }
    }

    /// Refuses questions that no honest peer asks.
    pub(crate) fn check_question(&self, ask: &Ask) -> Result<(), Reason> {
        match ask {
            Ask::Transactions { hash, indexes } if self.shelf.lacks(hash, indexes) => {
                Err(Reason::Protocol("asks for transactions beyond a block's last"))
            }
            _ => Ok(()),
        }
    }

    /// What to say to a peer's question now.
    pub(crate) fn answer(&self, ask: &Ask) -> Answer {
        let (hash, found) = match ask {
            Ask::Compact(hash) => (hash, self.shelf.compact(hash)),
            Ask::Transactions { hash, indexes } => (hash, self.shelf.transactions(hash, indexes)),
        };
        let comes =
            || self.fresh.get(hash).is_some_and(|fresh| !matches!(fresh.stage, Stage::GivenUp));
        match found {
            Some(message) => Answer::Send(message),
            None if comes() => Answer::Later,
            None => Answer::Send(Message::NotFound { hashes: vec![*hash] }),
        }
    }

    /// Turns to others for what takes too long.
    pub(crate) fn tick(&mut self, around: &mut Around<'_>) {
        let late = |fresh: &Fresh| fresh.until.is_some_and(|until| around.now >= until);
        let late: Vec<Hash> =
            self.fresh.iter().filter(|(_, fresh)| late(fresh)).map(|(hash, _)| *hash).collect();
        for hash in late {
            match self.fresh[&hash].stage {
                Stage::Handed(_) => self.give_up(&hash, around),
                _ => self.ask_next(&hash, around),
            }
        }
    }

    pub(crate) fn wake_at(&self) -> Option<Millis> {
        self.fresh.values().filter_map(|fresh| fresh.until).min()
    }
}

#[cfg(test)]
mod tests;

//! Headers and blocks: learn what peers have, fetch what is wanted, announce what is new.
//!
//! Headers first: every new peer is asked for the headers after our locator, and on from the last
//! of each full batch. The ledger judges them and says which bodies it wants; those are fetched
//! from all peers that have them (`download`). Executed blocks are announced by their headers; a
//! body is sent only to who asked for it. Blocks that `block_relay` fetches are held back here.

mod download;
mod overdue;
mod verdict;

use std::collections::{BTreeMap, VecDeque};

use chain::Hash;
use chain::header::{HEADER_BYTES, Header};
use chain::ledger::{AssumedBlocks, PeerId, TipChange};
use chain::store::ChainPoint;

use super::alarm::Alarm;
use super::config::Timing;
use super::outbox::Outbox;
use super::port::{Millis, Reason, Work};
use super::recent::RecentSet;
use crate::wire::Message;
use crate::wire::message::{MAX_HEADERS, MAX_LOCATOR};
use download::{Downloads, Spans};

/// Headers in one announcement. A peer that lacks more asks.
const MAX_ANNOUNCED: usize = 8;
/// Headers remembered as known to a peer.
const MAX_KNOWN: usize = 256;
/// Batches of one peer that may wait for the ledger's verdict, and headers in them. Those beyond
/// are not looked at; the peer is asked again later.
const MAX_UNJUDGED: usize = 8;
const MAX_UNJUDGED_HEADERS: usize = MAX_HEADERS + MAX_ANNOUNCED;
/// Headers in one message of which a new block is fetched in compact form.
const MAX_NEWS: usize = 2;
/// Blocks we may lack and still take part in the relay of transactions.
const CLOSE_BLOCKS: u32 = 2;

/// Our side, as the ledger last told.
#[derive(Debug)]
struct View {
    tip: ChainPoint,
    best_height: u32,
    locator: Vec<Hash>,
}

#[derive(Debug)]
struct Source {
    /// Greatest height it is known to have.
    height: u32,
    /// It has removed the bodies below this height.
    bodies_from: u32,
    /// Headers it is known to have.
    known: RecentSet<Hash>,
    /// It owes us an answer, until then.
    answer_by: Option<Millis>,
    /// Under judgement.
    unjudged: VecDeque<Batch>,
    /// Something of it was not looked at: ask again when the verdicts are in.
    ask_again: bool,
    /// The header we last asked on from.
    continued: Option<Hash>,
    /// The last header of its chain that the ledger follows without keeping it.
    followed: Option<Hash>,
    unconnected: u32,
    /// Whole blocks it delivered.
    delivered: u64,
}

/// Headers that wait for the ledger's verdict.
#[derive(Debug)]
struct Batch {
    /// How many. After [`MAX_HEADERS`] there are more.
    count: usize,
    /// The peer has the blocks in its main chain.
    vouched: bool,
    /// The headers, if they are so few that they are news.
    news: Vec<Header>,
}

/// What became of a peer's news.
#[derive(Debug)]
pub(crate) struct News {
    /// The headers.
    pub(crate) headers: Vec<Header>,
    /// Whether they were accepted, and if so, whether any of them was new.
    pub(crate) accepted: Option<bool>,
    /// Whether the peer has executed their blocks, and so can give them at once.
    pub(crate) vouched: bool,
}

/// What is known of everybody's chains.
#[derive(Debug)]
pub(crate) struct Sync {
    view: Option<View>,
    sources: BTreeMap<PeerId, Source>,
    downloads: Downloads,
    /// For answers.
    alarm: Alarm,
    headers_ms: u64,
    /// Blocks whose signatures need no look.
    assumed: AssumedBlocks,
}

impl Sync {
    pub(crate) fn new(timing: &Timing) -> Sync {
        Sync {
            view: None,
            sources: BTreeMap::new(),
            downloads: Downloads::new(timing),
            alarm: Alarm::default(),
            headers_ms: timing.headers_ms,
            assumed: AssumedBlocks::default(),
        }
    }

    /// Height of our tip.
    pub(crate) fn tip_height(&self) -> u32 {
        self.view.as_ref().map_or(0, |view| view.tip.height)
    }

    /// Greatest height a peer is known to have.
    pub(crate) fn peer_height(&self, peer: PeerId) -> u32 {
        self.sources.get(&peer).map_or(0, |source| source.height)
    }

    /// Whether so many blocks are missing that transactions mean nothing yet.
    pub(crate) fn is_far_behind(&self) -> bool {
        let Some(view) = &self.view else { return true };
        let best = self.downloads.wanted_height().unwrap_or(0).max(view.best_height);
        best > view.tip.height.saturating_add(CLOSE_BLOCKS)
    }

    pub(crate) fn ready(&mut self, peer: PeerId, height: u32, now: Millis, out: &mut Outbox) {
        let source = Source {
            height,
            bodies_from: 0,
            known: RecentSet::new(MAX_KNOWN),
            answer_by: None,
            unjudged: VecDeque::new(),
            ask_again: false,
            continued: None,
            followed: None,
            unconnected: 0,
            delivered: 0,
        };
        self.sources.insert(peer, source);
        self.downloads.ready(peer);
        self.ask_headers(peer, None, now, out);
    }

    pub(crate) fn removed(&mut self, peer: PeerId, now: Millis, out: &mut Outbox) {
        if self.sources.remove(&peer).is_some() {
            out.work(Work::Gone { peer });
        }
        self.downloads.removed(peer);
        self.assign(now, out);
    }

    /// Asks for headers after `from`, or else after what is known of the peer's chain and our best
    /// one. One question at a time.
    fn ask_headers(&mut self, peer: PeerId, from: Option<Hash>, now: Millis, out: &mut Outbox) {
        let (Some(view), Some(source)) = (&self.view, self.sources.get_mut(&peer)) else {
            return;
        };
        if source.answer_by.is_none() {
            source.answer_by = Some(now + self.headers_ms);
            self.alarm.set(source.answer_by);
            let from = from.or(source.followed);
            source.continued = from.or(source.continued);
            let mut locator: Vec<Hash> =
                from.into_iter().chain(view.locator.iter().copied()).collect();
            locator.truncate(MAX_LOCATOR);
            out.send(peer, Message::GetHeaders { locator });
        }
    }

    /// Whether the peer owes us headers.
    pub(crate) fn is_asked(&self, peer: PeerId) -> bool {
        self.sources.get(&peer).is_some_and(|source| source.answer_by.is_some())
    }

    /// Takes headers, asked for or announced.
    pub(crate) fn headers(
        &mut self,
        peer: PeerId,
        headers: Vec<Header>,
        now: Millis,
        out: &mut Outbox,
    ) -> Result<(), Reason> {
        let Some(source) = self.sources.get_mut(&peer) else { return Ok(()) };
        let was_asked = source.answer_by.take().is_some();
        if headers.is_empty() {
            if was_asked {
                self.assign(now, out); // bodies may be missing of headers that we have
            }
            return Ok(());
        }
        let hashes: Vec<Hash> = headers.iter().map(Header::hash).collect();
        let linked = hashes.iter().zip(&headers[1..]).all(|(hash, next)| next.prev == *hash);
        if !linked {
            return Err(Reason::Protocol("headers are not a chain"));
        }
        for hash in &hashes[hashes.len().saturating_sub(MAX_KNOWN)..] {
            source.known.insert(*hash);
        }
        self.downloads.has_news(peer);
        let count = headers.len();
        let waiting: usize = source.unjudged.iter().map(|batch| batch.count).sum();
        if source.unjudged.len() >= MAX_UNJUDGED || waiting + count > MAX_UNJUDGED_HEADERS {
            source.ask_again = true;
            return Ok(());
        }
        let news = if count <= MAX_NEWS { headers.clone() } else { Vec::new() };
        source.unjudged.push_back(Batch { count, vouched: true, news });
        out.work(Work::Headers { from: peer, headers });
        Ok(())
    }

    /// Takes the header of a block that the peer has or soon will. Says whether it is judged.
    pub(crate) fn announced(&mut self, peer: PeerId, header: Header, out: &mut Outbox) -> bool {
        let Some(source) = self.sources.get_mut(&peer) else { return false };
        if source.unjudged.len() >= MAX_UNJUDGED {
            source.ask_again = true;
            return false;
        }
        source.unjudged.push_back(Batch { count: 1, vouched: false, news: vec![header] });
        out.work(Work::Announced { from: peer, header });
        true
    }

    /// Takes the ledger's new list of missing bodies.
    pub(crate) fn wanted(&mut self, list: Vec<ChainPoint>, now: Millis, out: &mut Outbox) {
        self.downloads.set_wanted(list);
        self.assign(now, out);
    }

    /// Takes the ledger's word on signatures.
    pub(crate) fn assumed(&mut self, blocks: AssumedBlocks) {
        self.assumed = blocks;
    }

    /// Takes a block; only one that was asked for is passed on.
    pub(crate) fn block(
        &mut self,
        peer: PeerId,
        bytes: Vec<u8>,
        now: Millis,
        out: &mut Outbox,
    ) -> Result<(), Reason> {
        let head = bytes.first_chunk::<HEADER_BYTES>();
        let head = head.ok_or(Reason::Protocol("block is shorter than a header"))?;
        let hash = Header::decode(head).hash();
        let is_first = self.downloads.delivered(peer, hash, now)?;
        if let Some(source) = self.sources.get_mut(&peer) {
            source.known.insert(hash);
            source.delivered += u64::from(is_first);
        }
        if is_first {
            let assumed = self.assumed.get(&hash);
            out.work(Work::Block { from: peer, bytes, assumed });
        }
        if self.downloads.has_half_delivered(peer) {
            self.assign(now, out);
        }
        Ok(())
    }

    /// A peer says which bodies it has: others must be asked for those below.
    pub(crate) fn bodies_from(&mut self, peer: PeerId, height: u32, now: Millis, out: &mut Outbox) {
        if let Some(source) = self.sources.get_mut(&peer) {
            source.bodies_from = height;
            self.assign(now, out);
        }
    }

    /// Whole blocks that the peer delivered.
    pub(crate) fn delivered(&self, peer: PeerId) -> u64 {
        self.sources.get(&peer).map_or(0, |source| source.delivered)
    }

    /// What is fetched as whole blocks.
    pub(crate) fn downloads(&self) -> &Downloads {
        &self.downloads
    }

    /// Whether a peer is known to have a block in its main chain.
    pub(crate) fn is_known(&self, hash: &Hash) -> bool {
        self.sources.values().any(|source| source.known.contains(hash))
    }

    /// Does not fetch a block until it is released.
    pub(crate) fn hold(&mut self, hash: Hash) {
        self.downloads.hold(hash);
    }

    /// Fetches a block again, if it is still wanted.
    pub(crate) fn release(&mut self, hash: &Hash, now: Millis, out: &mut Outbox) {
        self.downloads.release(hash);
        self.assign(now, out);
    }

    pub(crate) fn not_found(
        &mut self,
        peer: PeerId,
        hashes: &[Hash],
        now: Millis,
        out: &mut Outbox,
    ) -> Result<(), Reason> {
        self.downloads.not_found(peer, hashes, now)?;
        self.assign(now, out);
        Ok(())
    }

    /// Takes the ledger's new tip and announces it.
    pub(crate) fn tip_changed(&mut self, change: &TipChange, now: Millis, out: &mut Outbox) {
        let view = View {
            tip: change.tip,
            best_height: change.best_header.height,
            locator: change.locator.clone(),
        };
        if self.view.replace(view).is_none() {
            let peers: Vec<PeerId> = self.sources.keys().copied().collect();
            peers.into_iter().for_each(|peer| self.ask_headers(peer, None, now, out));
        }
        if !change.connected.is_empty() {
            let newest = change.connected.len().saturating_sub(MAX_ANNOUNCED);
            let headers: Vec<Header> =
                change.connected[newest..].iter().map(|block| *block.block.header()).collect();
            self.announce(&headers, change.tip.height, out);
        }
    }

    /// Sends each peer those of the headers that come after the last one it has. While we catch
    /// up, who is as high as we are has them all.
    fn announce(&mut self, headers: &[Header], height: u32, out: &mut Outbox) {
        let hashes: Vec<Hash> = headers.iter().map(Header::hash).collect();
        let catching_up = self.is_far_behind();
        for (peer, source) in &mut self.sources {
            if catching_up && source.height >= height {
                continue;
            }
            let last_known = hashes.iter().rposition(|hash| source.known.contains(hash));
            let first = last_known.map_or(0, |at| at + 1);
            if first < headers.len() {
                out.send(*peer, Message::Headers(headers[first..].to_vec()));
                hashes[first..].iter().for_each(|hash| {
                    source.known.insert(*hash);
                });
            }
        }
    }

    /// Notes headers that were sent to a peer as an answer.
    pub(crate) fn told(&mut self, peer: PeerId, headers: &[Header]) {
        let Some(source) = self.sources.get_mut(&peer) else { return };
        for header in &headers[headers.len().saturating_sub(MAX_ANNOUNCED)..] {
            source.known.insert(header.hash());
        }
    }

    fn assign(&mut self, now: Millis, out: &mut Outbox) {
        if self.downloads.wanted_height().is_some() {
            self.downloads.assign(now, &spans(&self.sources), out);
        }
    }
}

/// Heights of the blocks whose bodies each peer has.
fn spans(sources: &BTreeMap<PeerId, Source>) -> Spans {
    sources.iter().map(|(peer, source)| (*peer, source.bodies_from..=source.height)).collect()
}

#[cfg(test)]
mod tests;

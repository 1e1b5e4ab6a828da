//! Headers from peers: what has enough work goes into the tree, the rest is only followed.

use std::collections::BTreeMap;

use miner::{Work, sha256d};
use ruint::aliases::U256;

use super::{HeadersVerdict, Ledger, Output, PeerId, Time};
use crate::presync::{ChainEnd, Followed, Limits, Next, Presync};
use crate::rules::RuleError;
use crate::rules::isolation::CheckedHeader;
use crate::store::{Store, StoreError};
use crate::tree::{Added, NodeId, work_of};

/// Headers kept off the best header chain; more are not taken in before a restart, but of chains
/// that have shown their work.
const MAX_SIDE_HEADERS: usize = 200_000;

/// A chain may have so much less work than ours, in blocks as hard as our tip, and its headers are
/// kept all the same: such forks happen. The number is Bitcoin Core's.
const SLACK_BLOCKS: u64 = 144;

/// Chains of peers that have not shown enough work, one a peer.
pub(super) struct Presyncs {
    peers: BTreeMap<PeerId, Presync>,
    secret: [u8; 32],
    begun: u64,
}

impl Presyncs {
    pub(super) fn new(secret: [u8; 32]) -> Presyncs {
        Presyncs { peers: BTreeMap::new(), secret, begun: 0 }
    }

    fn salt(&mut self) -> [u8; 32] {
        self.begun += 1;
        sha256d(&[&self.secret[..], &self.begun.to_le_bytes()].concat()).0
    }
}

/// What is to be done with a batch of headers.
enum Sifted {
    /// Their place is in the tree.
    Enough,
    /// They were followed.
    Followed(Followed),
    /// They are left alone.
    Nothing(HeadersVerdict),
}

impl<S: Store> Ledger<S> {
    /// Takes headers of a chain that the peer says it has executed.
    pub(super) fn headers(
        &mut self,
        now: Time,
        from: PeerId,
        headers: &[CheckedHeader],
    ) -> Result<(), StoreError> {
        if headers.is_empty() {
            return Ok(());
        }
        let known = self.tree.count();
        match self.sift(now, from, headers) {
            Sifted::Enough => {
                let room = if self.beats_best(headers) { usize::MAX } else { MAX_SIDE_HEADERS };
                let added = self.add_headers(now, headers, room);
                if matches!(added, Ok(HeadersVerdict::Accepted { .. })) {
                    self.presyncs.peers.remove(&from);
                }
                self.say_of_headers(from, added);
                self.follow_tree(known, headers)
            }
            Sifted::Followed(Followed { released, next }) => {
                let added = self.add_headers(now, &released, usize::MAX);
                let verdict = added.and_then(|added| self.verdict_of(from, next, added));
                self.say_of_headers(from, verdict);
                self.follow_tree(known, &released)
            }
            Sifted::Nothing(verdict) => {
                self.judge(from, verdict);
                Ok(())
            }
        }
    }

    /// Takes the header of a block that the peer may not have executed yet. The block alone may
    /// be known to be invalid; an invalid ancestor the peer must have noticed.
    pub(super) fn announced(
        &mut self,
        now: Time,
        from: PeerId,
        header: CheckedHeader,
    ) -> Result<(), StoreError> {
        let own_fault = |id: &NodeId| {
            let parent = self.tree.parent(*id);
            self.tree.is_invalid(*id) && parent.is_some_and(|parent| !self.tree.is_invalid(parent))
        };
        if self.tree.find(&header.hash()).as_ref().is_some_and(own_fault) {
            self.judge(from, HeadersVerdict::Invalid);
            return Ok(());
        }
        self.headers(now, from, &[header])
    }

    /// Forgets what was followed of a peer that is gone.
    pub(super) fn peer_gone(&mut self, peer: PeerId) {
        self.presyncs.peers.remove(&peer);
    }

    /// Bytes held for chains of peers that have not shown enough work.
    pub fn presync_bytes(&self) -> usize {
        self.presyncs.peers.values().map(Presync::bytes).sum()
    }

    /// The least work of a chain whose headers are kept.
    pub(super) fn least_work(&self) -> Work {
        let tip = self.tree.tip();
        let block = work_of(self.tree.header(tip)).to_uint();
        let slack = Work::from_uint(block.saturating_mul(U256::from(SLACK_BLOCKS)));
        self.network.landmarks.minimum_work.max(self.tree.work(tip) - slack)
    }

    /// Tells what has its place in the tree from what must show its work first.
    fn sift(&mut self, now: Time, from: PeerId, headers: &[CheckedHeader]) -> Sifted {
        let (first, last) = (&headers[0], &headers[headers.len() - 1]);
        if let Some(presync) = self.presyncs.peers.get_mut(&from) {
            if presync.end() == first.header().prev {
                return Sifted::Followed(presync.follow(&self.network, now.seconds(), headers));
            }
            if presync.end() == last.hash() {
                // Questions can cross announcements; then an answer comes twice.
                return Sifted::Nothing(HeadersVerdict::Unconnected);
            }
        }
        let is_new = |header: &CheckedHeader| self.tree.find(&header.hash()).is_none();
        let Some(from_new) = headers.iter().position(is_new) else { return Sifted::Enough };
        let new = &headers[from_new..];
        let Some(parent) = self.tree.find(&new[0].header().prev) else {
            return Sifted::Nothing(HeadersVerdict::Unconnected);
        };
        let least = self.least_work();
        if self.tree.is_invalid(parent) || self.work_with(parent, new) >= least {
            return Sifted::Enough;
        }
        if headers.len() <= Limits::STANDARD.period as usize {
            let next = self.presyncs.peers.get(&from).map(Presync::end);
            return Sifted::Nothing(HeadersVerdict::LowWork { next });
        }
        let start = ChainEnd::of(&self.tree, parent);
        tracing::debug!(target: "chain", peer = from.0, height = start.facts.height,
            "following headers that have not shown enough work");
        let mut presync = Presync::new(Limits::STANDARD, start, least, self.presyncs.salt());
        let followed = presync.follow(&self.network, now.seconds(), new);
        self.presyncs.peers.insert(from, presync);
        Sifted::Followed(followed)
    }

    /// What to say of headers that were followed. `added` is what to say of those released.
    fn verdict_of(
        &mut self,
        from: PeerId,
        next: Next,
        added: HeadersVerdict,
    ) -> Result<HeadersVerdict, RuleError> {
        let presync = self.presyncs.peers.get(&from).expect("its headers were just followed");
        let verdict = match next {
            Next::More => return Ok(HeadersVerdict::LowWork { next: Some(presync.end()) }),
            Next::Again => return Ok(HeadersVerdict::Again { after: presync.start() }),
            // More may follow once it is time.
            Next::Broken(error @ RuleError::TimeTooNew { .. }) => return Err(error),
            Next::Broken(error) => Err(error),
            Next::Enough => Ok(added),
            // Perhaps its chain has changed in between: its next announcement begins anew.
            Next::Differs | Next::TooLong => Ok(HeadersVerdict::LowWork { next: None }),
        };
        tracing::debug!(target: "chain", peer = from.0, ?verdict, "headers are not followed on");
        self.presyncs.peers.remove(&from);
        verdict
    }

    fn say_of_headers(&mut self, from: PeerId, verdict: Result<HeadersVerdict, RuleError>) {
        match verdict {
            Ok(verdict) => self.judge(from, verdict),
            Err(error) => self.refuse(from, error),
        }
    }

    /// Says that something of a peer breaks a rule, or one of those that are not its fault.
    pub(super) fn refuse(&mut self, from: PeerId, error: RuleError) {
        match error {
            RuleError::TimeTooNew { .. } => self.judge(from, HeadersVerdict::TooNew),
            RuleError::Checkpoint { .. } => {
                tracing::warn!(target: "chain", peer = from.0, %error,
                    "a peer is on another chain");
                self.judge(from, HeadersVerdict::OtherChain);
            }
            error => self.outbox.push_back(Output::PeerFault { from, error }),
        }
    }

    /// Follows new headers with bodies that are there already.
    fn follow_tree(&mut self, known: usize, headers: &[CheckedHeader]) -> Result<(), StoreError> {
        // Also when one was refused: those before it are in the tree.
        if self.tree.count() > known {
            if self.attach_loose(headers) {
                self.activate(None)?;
            }
            self.wanted_changed = true;
            if self.tree.is_tied() {
                self.look_for_work();
            }
        }
        Ok(())
    }

    /// Whether these headers make a chain with more work than the best known.
    fn beats_best(&self, headers: &[CheckedHeader]) -> bool {
        let parent = self.tree.find(&headers[0].header().prev);
        let best = self.tree.work(self.tree.best_header());
        parent.is_some_and(|parent| self.work_with(parent, headers) > best)
    }

    /// Work of a known chain with these headers on top.
    fn work_with(&self, parent: NodeId, headers: &[CheckedHeader]) -> Work {
        let works = headers.iter().map(|header| work_of(header.header()));
        works.fold(self.tree.work(parent), |sum, work| sum + work)
    }

    /// Adds headers, as long as there is room off the best header chain.
    fn add_headers(
        &mut self,
        now: Time,
        headers: &[CheckedHeader],
        room: usize,
    ) -> Result<HeadersVerdict, RuleError> {
        let (mut new, mut last) = (0, self.tree.best_header());
        for header in headers {
            let admitted = self.tree.admit(&self.network, now.seconds(), header)?;
            let Some(added) = admitted else {
                return Ok(HeadersVerdict::Unconnected);
            };
            new += usize::from(matches!(added, Added::New(_)));
            last = added.id();
            if self.tree.side_headers() > room {
                return Ok(HeadersVerdict::TooMany);
            }
        }
        let (last, work) = (self.tree.point(last), self.tree.work(last));
        Ok(HeadersVerdict::Accepted { new, last, work })
    }

    pub(super) fn judge(&mut self, from: PeerId, verdict: HeadersVerdict) {
        self.outbox.push_back(Output::HeadersJudged { from, verdict });
    }
}

//! Follows a header chain without keeping it, until it has shown enough work.
//!
//! A header costs its maker little where the target is easy, and everybody who keeps it memory. So
//! a chain that may turn out to be worth nothing is downloaded twice. The first time only its end
//! is kept, the sum of its work, and one secret bit of every 256th header. Once there is enough
//! work, it is downloaded again: each of those bits must come out the same, and a header is
//! released only when 24 bits after it have. To have one header released that was not in the first
//! download takes 2^24 attempts on average, each of which costs a first download with enough work.
//!
//! Promises: every header is checked by the rules that need ancestors; what is held is bounded,
//! see [`Limits`]. Leaves out: proof of work, which [`CheckedHeader`] stands for, and whom to ask.
//!
//! The idea and the division of labour are those of Bitcoin Core, `src/headerssync.h`.

use std::collections::VecDeque;

use miner::{Hash, Work, sha256d};

use crate::params::Network;
use crate::rules::RuleError;
use crate::rules::context::{self, ParentFacts};
use crate::rules::isolation::CheckedHeader;
use crate::tree::{HeaderTree, NodeId, work_of};

/// How much is remembered.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Headers for each bit that is remembered; at least 1.
    pub period: u32,
    /// Headers that are held in the second download: those after a header vouch for it.
    pub held: usize,
    /// Bits that are remembered at most, a multiple of 64.
    pub bits: usize,
}

impl Limits {
    /// 256 headers a bit and 24 bits of look-ahead: up to 0.7 MB of headers. 2^22 bits, 0.5 MiB:
    /// a chain of 2^30 headers. The rules of time allow six headers a second at most, for six of
    /// them move the median: that is 0.1 MB a year since the network's beginning.
    pub const STANDARD: Limits = Limits { period: 256, held: 24 * 256, bits: 1 << 22 };
}

/// The end of a header chain.
#[derive(Clone, Debug)]
pub struct ChainEnd {
    /// The last header's hash.
    pub hash: Hash,
    /// What the next header's rules need to know.
    pub facts: ParentFacts,
    /// Work of the whole chain.
    pub work: Work,
}

impl ChainEnd {
    /// The end of the chain that leads to a known header.
    pub(crate) fn of(tree: &HeaderTree, id: NodeId) -> ChainEnd {
        let (hash, facts, work) = (tree.point(id).hash, tree.parent_facts(id), tree.work(id));
        ChainEnd { hash, facts, work }
    }

    /// Moves on to the next header, which must link here.
    ///
    /// # Errors
    /// The first broken rule; then nothing has changed.
    fn advance(
        &mut self,
        network: &Network,
        now_s: u64,
        header: &CheckedHeader,
    ) -> Result<(), RuleError> {
        context::check_header(network, header.header(), &self.facts)?;
        context::time_is_not_too_new(network, header.header(), now_s)?;
        network.landmarks.check(self.facts.height + 1, &header.hash())?;
        self.work = self.work + work_of(header.header());
        self.facts.advance(header.header());
        self.hash = header.hash();
        Ok(())
    }
}

/// What became of a batch of headers.
#[derive(Debug)]
pub struct Followed {
    /// These have shown that they are worth keeping: ascending, linked, after those released
    /// before.
    pub released: Vec<CheckedHeader>,
    /// How it goes on.
    pub next: Next,
}

/// How it goes on after a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// With the headers after [`Presync::end`].
    More,
    /// There is enough work: with the headers after the start, once more.
    Again,
    /// The chain has shown its work, and all of it is released.
    Enough,
    /// A header breaks a rule. If it is only too new, more may follow after [`Presync::end`].
    Broken(RuleError),
    /// The second download is not the first: it is over.
    Differs,
    /// It is longer than any honest chain: it is over.
    TooLong,
}

/// One peer's chain, on its way to enough work.
#[derive(Debug)]
pub struct Presync {
    limits: Limits,
    start: ChainEnd,
    end: ChainEnd,
    enough: Work,
    salt: [u8; 32],
    bits: Vec<u64>,
    count: usize,
    second: Option<Second>,
}

/// The second download.
#[derive(Debug)]
struct Second {
    /// Bits that have come out the same.
    matched: usize,
    held: VecDeque<CheckedHeader>,
}

impl Presync {
    /// Follows what comes after `start`, until the whole has `enough` work. `salt` is secret, and
    /// another one each time.
    pub fn new(limits: Limits, start: ChainEnd, enough: Work, salt: [u8; 32]) -> Presync {
        let (end, bits) = (start.clone(), Vec::new());
        Presync { limits, start, end, enough, salt, bits, count: 0, second: None }
    }

    /// The last header followed.
    pub fn end(&self) -> Hash {
        self.end.hash
    }

    /// Where the chain leaves those that are known.
    pub fn start(&self) -> Hash {
        self.start.hash
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let held = self.second.as_ref().map_or(0, |second| second.held.capacity());
        size_of::<Presync>()
            + self.bits.capacity() * size_of::<u64>()
            + held * size_of::<CheckedHeader>()
    }

    /// Takes headers that are linked to each other, the first of them to [`Presync::end`].
    pub fn follow(&mut self, network: &Network, now_s: u64, headers: &[CheckedHeader]) -> Followed {
        let mut released = Vec::new();
        for (at, header) in headers.iter().enumerate() {
            if let Err(error) = self.end.advance(network, now_s, header) {
                return Followed { released, next: Next::Broken(error) };
            }
            if let Some(over) = self.bit_of(header).and_then(|bit| self.compare(bit)) {
                return Followed { released, next: over };
            }
            if self.end.work >= self.enough {
                return self.reached(released, &headers[at..]);
            }
            self.hold(header, &mut released);
        }
        Followed { released, next: Next::More }
    }

    /// There is enough work at the first of `rest`.
    fn reached(&mut self, mut released: Vec<CheckedHeader>, rest: &[CheckedHeader]) -> Followed {
        let Some(second) = &mut self.second else {
            self.end = self.start.clone();
            let held = VecDeque::with_capacity(self.limits.held + 1);
            self.second = Some(Second { matched: 0, held });
            return Followed { released, next: Next::Again };
        };
        released.extend(second.held.drain(..));
        released.extend_from_slice(rest);
        Followed { released, next: Next::Enough }
    }

    /// Notes or compares a bit; says if that is the end.
    fn compare(&mut self, bit: bool) -> Option<Next> {
        let Some(second) = &mut self.second else {
            if self.count == self.limits.bits {
                return Some(Next::TooLong);
            }
            if self.count.is_multiple_of(64) {
                self.bits.push(0);
            }
            self.bits[self.count / 64] |= u64::from(bit) << (self.count % 64);
            self.count += 1;
            return None;
        };
        let at = second.matched;
        second.matched += 1;
        let same = at < self.count && (self.bits[at / 64] >> (at % 64) & 1 == 1) == bit;
        (!same).then_some(Next::Differs)
    }

    /// In the second download, keeps a header until enough of them follow it.
    fn hold(&mut self, header: &CheckedHeader, released: &mut Vec<CheckedHeader>) {
        let Some(second) = &mut self.second else { return };
        second.held.push_back(*header);
        if second.held.len() > self.limits.held {
            released.extend(second.held.pop_front());
        }
    }

    /// The bit to remember of the header that was just reached, if it is one of those. Which ones
    /// are is as secret as the bits.
    fn bit_of(&self, header: &CheckedHeader) -> Option<bool> {
        let [a, b, c, d, ..] = self.salt;
        let phase = u32::from_le_bytes([a, b, c, d]) % self.limits.period;
        let is_marked = self.end.facts.height % self.limits.period == phase;
        is_marked.then(|| sha256d(&[self.salt, header.hash().0].concat()).0[0] & 1 == 1)
    }
}

#[cfg(test)]
mod tests;

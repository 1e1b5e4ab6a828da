//! The chain of headers, as somebody keeps it who runs no node and trusts none.
//!
//! Promises: every header is checked by all rules for headers and against the landmarks; the best
//! chain is that with the most work; headers of chains with less work than the best are not kept,
//! so whoever serves them can fill no memory with less work than the whole chain has. Leaves out:
//! blocks, and with them whether the miners kept the other rules.

use miner::{Hash, Work};
use ruint::aliases::U256;

use crate::header::Header;
use crate::params::Network;
use crate::presync::{ChainEnd, Followed, Limits, Next, Presync};
use crate::rules::RuleError;
use crate::rules::isolation::{self, CheckedHeader};
use crate::store::ChainPoint;
use crate::tree::{HeaderTree, NodeId, work_of};

/// The headers that are known, checked, and which of them are the best chain.
#[derive(Clone, Debug)]
pub struct LightChain {
    network: Network,
    tree: HeaderTree,
}

/// One of those who are asked for headers, while it has more to say. Whatever it says, that ends:
/// each page must go on from the one before, or have more work than the best chain.
#[derive(Debug)]
pub struct Source {
    salt: [u8; 32],
    /// Whether it has begun to show a chain: nobody begins twice.
    has_begun: bool,
    /// The chain it has begun to show, until that has enough work.
    presync: Option<Box<Presync>>,
    /// The last header it gave of those that were known already.
    after: Option<ChainPoint>,
}

impl Source {
    /// Somebody new. `salt` is secret, and another one each time.
    pub fn new(salt: [u8; 32]) -> Source {
        Source { salt, has_begun: false, presync: None, after: None }
    }
}

/// Whether a source has more to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    /// It is to be asked for what comes after [`LightChain::locator`].
    Ask,
    /// It has shown all it has, or nothing that is better than what is known.
    No,
}

impl LightChain {
    /// The chain of genesis alone.
    pub fn new(network: Network) -> LightChain {
        let tree = HeaderTree::new(&network.genesis().header);
        LightChain { network, tree }
    }

    /// The network whose chain it is.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The end of the best chain.
    pub fn tip(&self) -> ChainPoint {
        self.tree.point(self.tree.best_header())
    }

    /// Work of the best chain.
    pub fn work(&self) -> Work {
        self.tree.work(self.tree.best_header())
    }

    /// Whether the best chain has the work that the network's chain is known to have.
    pub fn has_enough_work(&self) -> bool {
        self.work() >= self.network.landmarks.minimum_work
    }

    /// The best chain's header at a height.
    pub fn header(&self, height: u32) -> Option<&Header> {
        self.tree.best_at(height).map(|id| self.tree.header(id))
    }

    /// Hash of the best chain's header at a height.
    pub fn hash(&self, height: u32) -> Option<Hash> {
        self.tree.best_at(height).map(|id| self.tree.point(id).hash)
    }

    /// Height up to which the chain that ends in a known header is the best one; 0 for others.
    pub fn common_height(&self, end: &Hash) -> u32 {
        let ancestors = std::iter::successors(self.tree.find(end), |id| self.tree.parent(*id));
        let on_best = |id: &NodeId| self.tree.best_at(self.tree.point(*id).height) == Some(*id);
        let fork = ancestors.into_iter().find(on_best);
        fork.map_or(0, |id| self.tree.point(id).height)
    }

    /// Takes headers that follow the best chain's last one, from where they were kept. They are
    /// checked as if they were new. Returns how many were taken, and what is wrong with the first
    /// that was not.
    pub fn restore(&mut self, now_s: u64, headers: &[Header]) -> (usize, Option<RuleError>) {
        // All at once is quicker, one by one says which.
        let together = isolation::check_headers(&self.network, headers);
        for (at, header) in headers.iter().enumerate() {
            let checked = match &together {
                Ok(checked) => Ok(checked[at]),
                Err(_) => {
                    isolation::check_headers(&self.network, &[*header]).map(|checked| checked[0])
                }
            };
            if let Err(error) = checked.and_then(|header| self.restore_one(now_s, &header)) {
                return (at, Some(error));
            }
        }
        (headers.len(), None)
    }

    fn restore_one(&mut self, now_s: u64, header: &CheckedHeader) -> Result<(), RuleError> {
        let (got, expected) = (header.header().prev, self.tip().hash);
        if got != expected {
            return Err(RuleError::NotLinked { got, expected });
        }
        self.tree.admit(&self.network, now_s, header).map(|_| ())
    }

    /// What to tell a source of what is known, newest first, so that it gives what comes after.
    pub fn locator(&self, source: &Source) -> Vec<Hash> {
        match (&source.presync, &source.after) {
            (Some(presync), _) => vec![presync.end()],
            (None, Some(after)) => vec![after.hash],
            (None, None) => self.tree.locator(),
        }
    }

    /// Takes a page of headers from a source, linked and ascending. `is_full` says that more may
    /// follow.
    ///
    /// # Errors
    /// What is wrong with the first header that is refused. [`RuleError::TimeTooNew`] and
    /// [`RuleError::Checkpoint`] are not the source's fault; else it lies.
    pub fn take(
        &mut self,
        source: &mut Source,
        now_s: u64,
        headers: &[Header],
        is_full: bool,
    ) -> Result<More, RuleError> {
        let checked = isolation::check_headers(&self.network, headers)?;
        let Some(last) = checked.last() else { return Ok(More::No) };
        if let Some(mut presync) = source.presync.take() {
            if presync.end() != headers[0].prev {
                return Ok(More::No);
            }
            let followed = presync.follow(&self.network, now_s, &checked);
            return self.followed(source, presync, now_s, is_full, followed);
        }
        let is_new = |header: &CheckedHeader| self.tree.find(&header.hash()).is_none();
        let Some(from_new) = checked.iter().position(is_new) else {
            let point = self.tree.find(&last.hash()).map(|id| self.tree.point(id));
            let is_further = point.is_some_and(|point| {
                is_full && source.after.is_none_or(|after| after.height < point.height)
            });
            source.after = point.filter(|_| is_further);
            return Ok(if is_further { More::Ask } else { More::No });
        };
        source.after = None;
        let new = &checked[from_new..];
        let Some(parent) = self.tree.find(&new[0].header().prev) else { return Ok(More::No) };
        let work = new.iter().fold(self.tree.work(parent), |sum, new| sum + work_of(new.header()));
        if work >= self.enough() {
            self.admit(now_s, new)?;
            return Ok(if is_full { More::Ask } else { More::No });
        }
        if !is_full || source.has_begun {
            return Ok(More::No);
        }
        source.has_begun = true;
        let start = ChainEnd::of(&self.tree, parent);
        let mut presync =
            Box::new(Presync::new(Limits::STANDARD, start, self.enough(), source.salt));
        let followed = presync.follow(&self.network, now_s, new);
        self.followed(source, presync, now_s, is_full, followed)
    }

    /// The least work of a chain whose headers are kept: more than the best has, and what the
    /// network's chain is known to have.
    fn enough(&self) -> Work {
        let more = Work::from_uint(self.work().to_uint().saturating_add(U256::ONE));
        more.max(self.network.landmarks.minimum_work)
    }

    fn followed(
        &mut self,
        source: &mut Source,
        presync: Box<Presync>,
        now_s: u64,
        is_full: bool,
        followed: Followed,
    ) -> Result<More, RuleError> {
        self.admit(now_s, &followed.released)?;
        match followed.next {
            Next::Again => {
                source.presync = Some(presync);
                Ok(More::Ask)
            }
            Next::More if is_full => {
                source.presync = Some(presync);
                Ok(More::Ask)
            }
            Next::Enough if is_full => Ok(More::Ask),
            Next::More | Next::Enough | Next::Differs | Next::TooLong => Ok(More::No),
            Next::Broken(error) => Err(error),
        }
    }

    fn admit(&mut self, now_s: u64, headers: &[CheckedHeader]) -> Result<(), RuleError> {
        for header in headers {
            self.tree.admit(&self.network, now_s, header)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

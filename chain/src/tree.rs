//! Every known header, and fork choice: most work, first seen on ties.
//!
//! The tree decides which blocks the main chain should consist of; the ledger moves the state
//! there. A node is *complete* when its body and those of all its ancestors are stored. Only
//! complete, valid nodes can become the tip.

mod admit;
mod bodies;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use miner::{Hash, Work};

use crate::header::Header;
use crate::params::MEDIAN_TIME_SPAN;
use crate::rules::context::ParentFacts;
use crate::store::ChainPoint;

/// Index of a node; nodes are never removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(usize);

/// Position in the order of arrival of bodies.
type Arrival = u64;

/// Best last: most work, then completed first, then arrived first. A node is completed by the
/// arrival of its own body or of an ancestor's, so this order is that of the log of bodies.
type Rank = (Work, Reverse<(Arrival, Arrival)>);

#[derive(Clone, Debug)]
struct Node {
    header: Header,
    hash: Hash,
    height: u32,
    parent: Option<NodeId>,
    children: Vec<NodeId>,
    work: Work,
    body: Option<Arrival>,
    /// Arrival of the last body of its chain, once all are there.
    completed: Option<Arrival>,
    invalid: bool,
}

impl Node {
    /// `None` while it is not complete.
    fn rank(&self) -> Option<Rank> {
        Some((self.work, Reverse((self.completed?, self.body?))))
    }
}

/// Rivals of the best header chain that are remembered.
const MAX_RIVALS: usize = 64;

/// The way from one tip to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path {
    /// To take off, highest first.
    pub revert: Vec<NodeId>,
    /// To put on, lowest first.
    pub connect: Vec<NodeId>,
}

/// The tree of headers.
#[derive(Clone, Debug)]
pub struct HeaderTree {
    nodes: Vec<Node>,
    by_hash: BTreeMap<Hash, NodeId>,
    /// Complete and valid nodes, worst first.
    candidates: BTreeSet<(Rank, NodeId)>,
    /// The best header chain by height, genesis first.
    best: Vec<NodeId>,
    /// Other valid headers with as much work as the best, at most [`MAX_RIVALS`].
    rivals: Vec<NodeId>,
    tip: NodeId,
    arrivals: Arrival,
}

/// What adding a header found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is new.
    New(NodeId),
    /// It was there.
    Known(NodeId),
}

impl Added {
    /// The header's node.
    pub fn id(self) -> NodeId {
        match self {
            Added::New(id) | Added::Known(id) => id,
        }
    }
}

impl HeaderTree {
    /// A tree of genesis alone, which is the tip.
    pub fn new(genesis: &Header) -> HeaderTree {
        let root = NodeId(0);
        let work = work_of(genesis);
        let node = Node {
            header: *genesis,
            hash: genesis.hash(),
            height: 0,
            parent: None,
            children: Vec::new(),
            work,
            body: Some(0),
            completed: Some(0),
            invalid: false,
        };
        HeaderTree {
            by_hash: BTreeMap::from([(node.hash, root)]),
            nodes: vec![node],
            candidates: BTreeSet::from([((work, Reverse((0, 0))), root)]),
            best: vec![root],
            rivals: Vec::new(),
            tip: root,
            arrivals: 1,
        }
    }

    /// Known headers, genesis included.
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// The node of a header.
    pub fn find(&self, hash: &Hash) -> Option<NodeId> {
        self.by_hash.get(hash).copied()
    }

    /// Adds a header whose rules were checked. `None` when its parent is unknown.
    pub fn add(&mut self, header: &Header, hash: Hash) -> Option<Added> {
        if let Some(id) = self.find(&hash) {
            return Some(Added::Known(id));
        }
        let parent = self.find(&header.prev)?;
        let id = NodeId(self.nodes.len());
        let above = &mut self.nodes[parent.0];
        above.children.push(id);
        let node = Node {
            header: *header,
            hash,
            height: above.height + 1,
            parent: Some(parent),
            children: Vec::new(),
            work: above.work + work_of(header),
            body: None,
            completed: None,
            invalid: above.invalid,
        };
        let (valid, work) = (!node.invalid, node.work);
        let best_work = self.nodes[self.best_header().0].work;
        self.nodes.push(node);
        self.by_hash.insert(hash, id);
        if valid && work > best_work {
            self.set_best(id);
            self.rivals.clear();
        } else if valid && work == best_work && self.rivals.len() < MAX_RIVALS {
            self.rivals.push(id);
        }
        Some(Added::New(id))
    }

    /// Notes that a node's body is stored, which may complete it and its descendants.
    pub fn body_arrived(&mut self, id: NodeId) {
        if self.nodes[id.0].body.is_some() {
            return;
        }
        let arrival = self.arrivals;
        self.nodes[id.0].body = Some(arrival);
        self.arrivals += 1;
        let mut waiting = vec![id];
        while let Some(id) = waiting.pop() {
            let node = &self.nodes[id.0];
            let parent = node.parent.expect("genesis has a body from the start");
            if node.body.is_none() || self.nodes[parent.0].completed.is_none() {
                continue;
            }
            waiting.extend(&node.children);
            let node = &mut self.nodes[id.0];
            node.completed = Some(arrival);
            if !node.invalid {
                self.candidates.extend(node.rank().map(|rank| (rank, id)));
            }
        }
    }

    /// Whether a node's body and those of all its ancestors are stored.
    pub fn is_complete(&self, id: NodeId) -> bool {
        self.nodes[id.0].completed.is_some()
    }

    /// Whether a node's body is stored.
    pub fn has_body(&self, id: NodeId) -> bool {
        self.nodes[id.0].body.is_some()
    }

    /// Marks a node and its descendants invalid; siblings are not touched.
    pub fn mark_invalid(&mut self, id: NodeId) {
        let mut waiting = vec![id];
        while let Some(id) = waiting.pop() {
            let node = &mut self.nodes[id.0];
            node.invalid = true;
            waiting.extend(&node.children);
            if let Some(rank) = node.rank() {
                self.candidates.remove(&(rank, id));
            }
        }
        if self.nodes[self.best_header().0].invalid {
            // max_by_key gives the last of equals; the first seen must win.
            let best = (0..self.nodes.len())
                .filter(|&at| !self.nodes[at].invalid)
                .max_by_key(|&at| (self.nodes[at].work, Reverse(at)))
                .expect("genesis is valid");
            self.set_best(NodeId(best));
        }
        let best = self.best_header();
        let ties = |at: &NodeId| {
            let node = &self.nodes[at.0];
            *at != best && !node.invalid && node.work == self.nodes[best.0].work
        };
        self.rivals = (0..self.nodes.len()).map(NodeId).filter(ties).take(MAX_RIVALS).collect();
    }

    /// Whether two chains have the most work, and the tip is the end of one of them. Every node
    /// stays on the one it saw first, until one more block decides.
    pub fn is_tied(&self) -> bool {
        !self.rivals.is_empty()
            && self.nodes[self.tip.0].work == self.nodes[self.best_header().0].work
    }

    /// Whether a node or one of its ancestors is invalid.
    pub fn is_invalid(&self, id: NodeId) -> bool {
        self.nodes[id.0].invalid
    }

    /// The way to a better tip; `None` while the tip is the best.
    pub fn better_path(&self) -> Option<Path> {
        // Not only when its work is greater: a path that ended at an invalid block can have left
        // the tip on an equal that came later.
        let &(_, target) = self.candidates.last()?;
        (target != self.tip).then(|| self.path(self.tip, target))
    }

    /// Moves the tip one step: to the parent of the tip, or to a child.
    ///
    /// # Panics
    /// When `id` is neither.
    pub fn set_tip(&mut self, id: NodeId) {
        let reverts = self.nodes[self.tip.0].parent == Some(id);
        assert!(reverts || self.nodes[id.0].parent == Some(self.tip), "the tip moves by one");
        self.tip = id;
    }

    /// Puts the tip on any complete node, when a store is opened.
    pub fn restore_tip(&mut self, id: NodeId) {
        assert!(self.nodes[id.0].completed.is_some(), "the store's tip has all its bodies");
        self.tip = id;
    }

    /// The tip.
    pub fn tip(&self) -> NodeId {
        self.tip
    }

    /// The end of the best header chain.
    pub fn best_header(&self) -> NodeId {
        *self.best.last().expect("genesis is in it")
    }

    /// The best header chain's node at a height.
    pub fn best_at(&self, height: u32) -> Option<NodeId> {
        self.best.get(height as usize).copied()
    }

    /// All nodes at a height.
    pub fn at_height(&self, height: u32) -> Vec<NodeId> {
        let all = (0..self.nodes.len()).map(NodeId);
        all.filter(|id| self.nodes[id.0].height == height).collect()
    }

    /// A node's parent; `None` for genesis.
    pub fn parent(&self, id: NodeId) -> Option<NodeId> {
        self.nodes[id.0].parent
    }

    /// A node's header.
    pub fn header(&self, id: NodeId) -> &Header {
        &self.nodes[id.0].header
    }

    /// A node's height and hash.
    pub fn point(&self, id: NodeId) -> ChainPoint {
        let node = &self.nodes[id.0];
        ChainPoint { height: node.height, hash: node.hash }
    }

    /// Work of the chain that ends in a node.
    pub fn work(&self, id: NodeId) -> Work {
        self.nodes[id.0].work
    }

    /// What the header rules need to know of a parent.
    pub fn parent_facts(&self, id: NodeId) -> ParentFacts {
        let chain = std::iter::successors(Some(id), |&id| self.nodes[id.0].parent);
        let times = chain.take(MEDIAN_TIME_SPAN).map(|id| self.nodes[id.0].header.time).collect();
        let node = &self.nodes[id.0];
        ParentFacts { height: node.height, time: node.header.time, times }
    }

    /// Blocks of the best header chain whose bodies are missing, lowest first, within a window
    /// of `window` blocks from the first of them; and those of chains with equal work, in case
    /// somebody withholds the bodies of the best.
    pub fn missing(&self, window: usize) -> Vec<ChainPoint> {
        let mut fork = self.tip;
        while self.best.get(self.nodes[fork.0].height as usize) != Some(&fork) {
            fork = self.nodes[fork.0].parent.expect("genesis is on the best header chain");
        }
        let ahead = &self.best[self.nodes[fork.0].height as usize + 1..];
        let mut wanted: BTreeSet<(u32, NodeId)> = ahead
            .iter()
            .skip_while(|&&id| self.has_body(id))
            .take(window)
            .filter(|&&id| !self.has_body(id))
            .map(|&id| (self.nodes[id.0].height, id))
            .collect();
        for rival in &self.rivals {
            let chain = std::iter::successors(Some(*rival), |&id| self.nodes[id.0].parent);
            let incomplete = chain.take(window).take_while(|&id| !self.is_complete(id));
            let lacking = incomplete.filter(|&id| !self.has_body(id));
            wanted.extend(lacking.map(|id| (self.nodes[id.0].height, id)));
        }
        wanted.into_iter().take(window).map(|(_, id)| self.point(id)).collect()
    }

    /// Hashes of the best header chain: the newest ten, then doubling steps, genesis last.
    pub fn locator(&self) -> Vec<Hash> {
        let mut locator = Vec::new();
        let mut at = self.best.len() - 1;
        let mut step = 1;
        while at > 0 {
            locator.push(self.nodes[self.best[at].0].hash);
            if locator.len() >= 10 {
                step *= 2;
            }
            at = at.saturating_sub(step);
        }
        locator.push(self.nodes[0].hash);
        locator
    }

    /// Headers that are not on the best header chain.
    pub fn side_headers(&self) -> usize {
        self.nodes.len() - self.best.len()
    }

    fn path(&self, from: NodeId, to: NodeId) -> Path {
        let mut path = Path::default();
        let (mut left, mut right) = (from, to);
        while left != right {
            let (old, new) = (&self.nodes[left.0], &self.nodes[right.0]);
            if old.height >= new.height {
                path.revert.push(left);
                left = old.parent.expect("genesis is common to all");
            } else {
                path.connect.push(right);
                right = new.parent.expect("genesis is common to all");
            }
        }
        path.connect.reverse();
        path
    }

    fn set_best(&mut self, id: NodeId) {
        let height = self.nodes[id.0].height as usize;
        self.best.truncate(height + 1);
        self.best.resize(height + 1, id);
        let mut at = id;
        while self.best[self.nodes[at.0].height as usize] != at || at == id {
            self.best[self.nodes[at.0].height as usize] = at;
            match self.nodes[at.0].parent {
                Some(parent) => at = parent,
                None => break,
            }
        }
    }
}

/// Work of a header that passed the rules.
pub(crate) fn work_of(header: &Header) -> Work {
    header.bits.decode().expect("headers in the tree passed the rules").work()
}

#[cfg(test)]
mod tests;

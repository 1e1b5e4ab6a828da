//! Plumtree, as "Epidemic Broadcast Trees" (Leitão, Pereira, Rodrigues, SRDS 2007) has it, to be
//! compared with: payloads are pushed along the links of a tree (eager), and announced on all
//! others (lazy).
//!
//! A payload that comes a second time takes its link out of the tree (PRUNE). One that was
//! announced and does not come is asked for, which takes the link into the tree (GRAFT). A link
//! that announced a payload that has passed far fewer nodes replaces the one it came by. All nodes
//! share one tree, whoever sends.
//!
//! Announcements that gather within [`GATHER_US`] travel together.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Load;
use super::say::{Id, Say, Wish};

/// Announcements wait so long for others, in microseconds: as long as the node's wait on average.
const GATHER_US: u64 = 100_000;
/// From the first announcement of a payload to the question for it, in microseconds. The paper
/// leaves it to the overlay's diameter and the delay that one can bear. This is about the time in
/// which a payload crosses the tree here: less asks for what is on its way.
const FIRST_SMALL_US: u64 = 1_000_000;
/// The same for blocks, as the node waits for a block.
const FIRST_BLOCK_US: u64 = 2_000_000;
/// From one question to the next: about a round trip, as in the paper; a block takes longer.
const NEXT_SMALL_US: u64 = 250_000;
const NEXT_BLOCK_US: u64 = 1_000_000;
/// A link that was so many nodes shorter replaces the one that brought the payload. From the
/// paper's experiments.
const NEARER: u8 = 7;

/// Something to be done later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// A payload that was announced may have to be asked for.
    Missing(Id),
    /// What has gathered is announced.
    Gathered,
}

/// One node's part of the tree.
#[derive(Debug)]
pub(super) struct Plumtree {
    eager: BTreeSet<usize>,
    lazy: BTreeSet<usize>,
    /// Payloads that are here or on their way, and how many nodes they had passed.
    received: BTreeMap<Id, u8>,
    /// Those that are here.
    held: BTreeSet<Id>,
    /// Who announced what is not here, in order.
    missing: BTreeMap<Id, VecDeque<(usize, u8)>>,
    gathered: BTreeMap<usize, Vec<(Id, u8)>>,
    /// What was asked for, and of whom: that comes a second time if what came first is no use.
    asked: BTreeSet<(Id, usize)>,
    /// Asked for while it was on its way here: to whom it goes then.
    owed: BTreeMap<Id, BTreeSet<usize>>,
    first_us: u64,
    next_us: u64,
}

impl Plumtree {
    /// At first every link is in the tree.
    pub(super) fn new(peers: &BTreeSet<usize>, load: Load) -> Plumtree {
        let (first_us, next_us) = match load {
            Load::Block { .. } => (FIRST_BLOCK_US, NEXT_BLOCK_US),
            Load::Transactions { .. } => (FIRST_SMALL_US, NEXT_SMALL_US),
        };
        Plumtree {
            eager: peers.clone(),
            lazy: BTreeSet::new(),
            received: BTreeMap::new(),
            held: BTreeSet::new(),
            missing: BTreeMap::new(),
            gathered: BTreeMap::new(),
            asked: BTreeSet::new(),
            owed: BTreeMap::new(),
            first_us,
            next_us,
        }
    }

    fn take_up(&mut self, peer: usize) {
        self.lazy.remove(&peer);
        self.eager.insert(peer);
    }

    fn leave_out(&mut self, peer: usize) {
        self.eager.remove(&peer);
        self.lazy.insert(peer);
    }

    /// A payload has come in, for the first time or again.
    pub(super) fn payload(&mut self, from: usize, id: Id, round: u8, is_new: bool) -> Vec<Wish> {
        let was_asked = self.asked.remove(&(id, from)) && !self.held.contains(&id);
        if !is_new && !was_asked {
            self.leave_out(from);
            return vec![Wish::Say(from, Say::Prune)];
        }
        self.take_up(from);
        self.received.insert(id, round);
        let mut wishes = Vec::new();
        for (peer, its_round) in self.missing.get(&id).cloned().unwrap_or_default() {
            if peer != from && its_round < round && round - its_round >= NEARER {
                self.take_up(peer);
                self.leave_out(from);
                wishes.push(Wish::Say(peer, Say::Graft(None)));
                wishes.push(Wish::Say(from, Say::Prune));
                break;
            }
        }
        wishes
    }

    /// A payload is here and goes on.
    pub(super) fn has(&mut self, id: Id, from: Option<usize>, round: u8) -> Vec<Wish> {
        self.received.entry(id).or_insert(round);
        self.held.insert(id);
        self.missing.remove(&id);
        let owed = self.owed.remove(&id).unwrap_or_default();
        let others = self.eager.union(&owed).filter(|peer| Some(**peer) != from);
        let mut wishes: Vec<Wish> =
            others.map(|peer| Wish::Say(*peer, Say::Payload(id, round))).collect();
        if self.gathered.is_empty() && !self.lazy.is_empty() {
            wishes.push(Wish::Wake(GATHER_US, Timer::Gathered));
        }
        for peer in self.lazy.iter().filter(|peer| Some(**peer) != from && !owed.contains(peer)) {
            self.gathered.entry(*peer).or_default().push((id, round));
        }
        wishes
    }

    /// A peer speaks of payloads.
    pub(super) fn heard(&mut self, from: usize, say: Say) -> Vec<Wish> {
        match say {
            Say::Have(list) => {
                let mut wishes = Vec::new();
                for (id, round) in list {
                    if self.held.contains(&id) {
                        continue;
                    }
                    let announced = self.missing.entry(id).or_default();
                    if announced.is_empty() {
                        wishes.push(Wish::Wake(self.first_us, Timer::Missing(id)));
                    }
                    announced.push_back((from, round));
                }
                wishes
            }
            Say::Graft(id) => {
                self.take_up(from);
                match id {
                    Some(id) if self.held.contains(&id) => {
                        let round = self.received[&id].saturating_add(1);
                        vec![Wish::Say(from, Say::Payload(id, round))]
                    }
                    Some(id) => {
                        self.owed.entry(id).or_default().insert(from);
                        Vec::new()
                    }
                    None => Vec::new(),
                }
            }
            Say::Prune => {
                self.leave_out(from);
                Vec::new()
            }
            Say::Payload(..) | Say::Fetch(_) | Say::Rest(_) => Vec::new(),
        }
    }

    /// Something is due.
    pub(super) fn due(&mut self, timer: Timer) -> Vec<Wish> {
        match timer {
            Timer::Gathered => {
                let gathered = std::mem::take(&mut self.gathered).into_iter();
                gathered.map(|(peer, list)| Wish::Say(peer, Say::Have(list))).collect()
            }
            Timer::Missing(id) => {
                let Some((peer, _)) = self.missing.get_mut(&id).and_then(VecDeque::pop_front)
                else {
                    return Vec::new();
                };
                self.take_up(peer);
                self.asked.insert((id, peer));
                let ask = Wish::Say(peer, Say::Graft(Some(id)));
                vec![ask, Wish::Wake(self.next_us, Timer::Missing(id))]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: Load = Load::Transactions { count: 1, bytes: 250, every_ms: 1 };

    fn tree() -> Plumtree {
        Plumtree::new(&BTreeSet::from([1, 2, 3]), LOAD)
    }

    #[test]
    fn what_comes_twice_takes_its_link_out_of_the_tree() {
        let mut tree = tree();
        assert_eq!(tree.payload(1, 0, 1, true), []);
        let pushed = [2, 3].map(|peer| Wish::Say(peer, Say::Payload(0, 2)));
        assert_eq!(tree.has(0, Some(1), 2), pushed);
        assert_eq!(tree.payload(2, 0, 4, false), [Wish::Say(2, Say::Prune)]);
        assert_eq!(tree.heard(3, Say::Prune), []);
        assert_eq!(tree.payload(1, 1, 1, true), []);
        // Nobody is left to push to; the others are told.
        assert_eq!(tree.has(1, Some(1), 2), [Wish::Wake(GATHER_US, Timer::Gathered)]);
        let told = [2, 3].map(|peer| Wish::Say(peer, Say::Have(vec![(1, 2)])));
        assert_eq!(tree.due(Timer::Gathered), told);
    }

    #[test]
    fn what_is_announced_and_does_not_come_is_asked_of_one_after_the_other() {
        let mut tree = tree();
        (1..=3).for_each(|peer| tree.leave_out(peer));
        let wake = Wish::Wake(FIRST_SMALL_US, Timer::Missing(5));
        assert_eq!(tree.heard(2, Say::Have(vec![(5, 3)])), [wake]);
        assert_eq!(tree.heard(3, Say::Have(vec![(5, 3)])), []);
        let again = || Wish::Wake(NEXT_SMALL_US, Timer::Missing(5));
        let ask = |peer| Wish::Say(peer, Say::Graft(Some(5)));
        assert_eq!(tree.due(Timer::Missing(5)), [ask(2), again()]);
        assert_eq!(tree.due(Timer::Missing(5)), [ask(3), again()]);
        assert_eq!(tree.due(Timer::Missing(5)), []);
        assert_eq!(tree.eager, BTreeSet::from([2, 3]));
        // Who is asked before it has it, gives it then.
        assert_eq!(tree.heard(1, Say::Graft(Some(5))), []);
        assert_eq!(tree.payload(2, 5, 4, true), []);
        let pushed = [1, 3].map(|peer| Wish::Say(peer, Say::Payload(5, 5)));
        assert_eq!(tree.has(5, Some(2), 5), pushed);
    }

    #[test]
    fn a_much_shorter_way_replaces_a_longer_one() {
        let mut tree = tree();
        tree.leave_out(3);
        tree.heard(3, Say::Have(vec![(0, 2)]));
        let swap = [Wish::Say(3, Say::Graft(None)), Wish::Say(1, Say::Prune)];
        assert_eq!(tree.payload(1, 0, 9, true), swap);
        assert_eq!((tree.eager, tree.lazy), (BTreeSet::from([2, 3]), BTreeSet::from([1])));
    }
}

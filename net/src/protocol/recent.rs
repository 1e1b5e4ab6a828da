//! A set that forgets its oldest members.

use std::collections::{BTreeSet, VecDeque};

/// At most `capacity` values; one more pushes out the one inserted first.
#[derive(Debug)]
pub(crate) struct RecentSet<T> {
    members: BTreeSet<T>,
    order: VecDeque<T>,
    capacity: usize,
}

impl<T: Copy + Ord> RecentSet<T> {
    pub(crate) fn new(capacity: usize) -> RecentSet<T> {
        RecentSet { members: BTreeSet::new(), order: VecDeque::new(), capacity }
    }

    pub(crate) fn contains(&self, value: &T) -> bool {
        self.members.contains(value)
    }

    /// Whether the value is new.
    pub(crate) fn insert(&mut self, value: T) -> bool {
        if !self.members.insert(value) {
            return false;
        }
        self.order.push_back(value);
        if self.order.len() > self.capacity {
            let oldest = self.order.pop_front().expect("more than capacity, so not empty");
            self.members.remove(&oldest);
        }
        true
    }

    pub(crate) fn clear(&mut self) {
        self.members.clear();
        self.order.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut set = RecentSet::new(2);
        assert!(set.insert(1) && set.insert(2) && !set.insert(1) && set.insert(3));
        assert_eq!((set.contains(&1), set.contains(&2), set.contains(&3)), (false, true, true));
        set.clear();
        assert!(!set.contains(&3) && set.insert(1));
    }
}

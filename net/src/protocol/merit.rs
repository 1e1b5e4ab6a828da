//! What peers have been good for: who brought a block of the main chain, or a transaction for the
//! pool, before anybody else did.

use std::collections::{BTreeMap, VecDeque};

use chain::Hash;
use chain::header::{HEADER_BYTES, Header};
use chain::ledger::PeerId;

use super::port::{Millis, Work};

/// Blocks remembered on their way to the main chain: twice the window of downloads.
const MAX_HANDED: usize = 2048;

/// When a peer was last of use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Merit {
    pub(crate) last_block: Option<Millis>,
    pub(crate) last_transaction: Option<Millis>,
}

/// The merits of every connected peer.
#[derive(Debug, Default)]
pub(crate) struct Merits {
    peers: BTreeMap<PeerId, Merit>,
    /// Who brought blocks that are not in the main chain yet.
    handed: BTreeMap<Hash, PeerId>,
    /// These, and some that have left, by age.
    order: VecDeque<Hash>,
}

impl Merits {
    pub(crate) fn connected(&mut self, peer: PeerId) {
        self.peers.insert(peer, Merit::default());
    }

    pub(crate) fn removed(&mut self, peer: PeerId) {
        self.peers.remove(&peer);
    }

    pub(crate) fn of(&self, peer: PeerId) -> Merit {
        self.peers.get(&peer).copied().unwrap_or_default()
    }

    /// Notes work for the stages behind: a block in it is one nobody brought before.
    pub(crate) fn handed(&mut self, work: &Work) {
        let (from, hash) = match work {
            Work::Block { from, bytes, .. } => {
                let Some(head) = bytes.first_chunk::<HEADER_BYTES>() else { return };
                (from, Header::decode(head).hash())
            }
            Work::Rebuilt { from, assembly } => (from, assembly.header.hash()),
            _ => return,
        };
        if self.handed.insert(hash, *from).is_none() {
            self.order.push_back(hash);
        }
        if self.order.len() > MAX_HANDED
            && let Some(oldest) = self.order.pop_front()
        {
            self.handed.remove(&oldest);
        }
    }

    /// A block is part of the main chain now; returns whether that is a merit of a peer.
    pub(crate) fn block_connected(&mut self, hash: &Hash, now: Millis) -> bool {
        let from = self.handed.remove(hash);
        from.is_some_and(|from| self.note(from, |merit| merit.last_block = Some(now)))
    }

    /// A transaction of a peer is in the pool now.
    pub(crate) fn transaction_pooled(&mut self, from: PeerId, now: Millis) -> bool {
        self.note(from, |merit| merit.last_transaction = Some(now))
    }

    fn note(&mut self, peer: PeerId, change: impl FnOnce(&mut Merit)) -> bool {
        self.peers.get_mut(&peer).map(change).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(number: u32) -> (Work, Hash) {
        let header = Header { nonce: number, ..Header::decode(&[0; 80]) };
        let bytes = header.encode().to_vec();
        let work = Work::Block { from: PeerId(1), bytes, assumed: None };
        (work, header.hash())
    }

    #[test]
    fn a_block_counts_once_and_only_when_it_is_part_of_the_chain() {
        let mut merits = Merits::default();
        merits.connected(PeerId(1));
        let (work, hash) = block(7);
        merits.handed(&work);
        assert_eq!(merits.of(PeerId(1)), Merit::default());
        assert!(merits.block_connected(&hash, Millis(5)));
        assert_eq!(merits.of(PeerId(1)).last_block, Some(Millis(5)));
        assert!(!merits.block_connected(&hash, Millis(9)), "it is known by now");
        merits.handed(&work);
        merits.removed(PeerId(1));
        assert!(!merits.block_connected(&hash, Millis(9)), "who brought it has left");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut merits = Merits::default();
        merits.connected(PeerId(1));
        for number in 0..5000 {
            merits.handed(&block(number).0);
        }
        assert_eq!((merits.handed.len(), merits.order.len()), (MAX_HANDED, MAX_HANDED));
        assert!(merits.block_connected(&block(4999).1, Millis(1)));
        assert!(!merits.block_connected(&block(0).1, Millis(1)));
    }
}

//! The protocol's dealings with the relay of new blocks.

use chain::Hash;
use chain::header::Header;
use chain::ledger::{PeerId, TipChange};

use super::Protocol;
use super::block_relay::{Around, BlockRelay};
use super::port::Reason;
use super::serve::Ask;
use crate::wire::CompactBlock;

/// Peers that are sent the compact form of our own block unasked. The rest hear of it from them
/// sooner than the form would come from us, and would get it twice.
const MAX_PUSHED: usize = 3;

impl Protocol {
    /// A peer tells of a new block, or sends its compact form.
    pub(super) fn block_announced(
        &mut self,
        id: PeerId,
        header: Header,
        compact: Option<CompactBlock>,
    ) {
        self.with_blocks(|blocks, around| blocks.announced(id, header, compact, around));
    }

    /// Lets the relay of blocks work with the rest.
    pub(super) fn with_blocks<R>(
        &mut self,
        work: impl FnOnce(&mut BlockRelay, &mut Around<'_>) -> R,
    ) -> R {
        let mut around = Around {
            now: self.now,
            timing: &self.config.timing,
            sync: &mut self.sync,
            pool: &self.relay,
            out: &mut self.out,
            rng: &mut self.rng,
        };
        work(&mut self.blocks, &mut around)
    }

    pub(super) fn asked(&mut self, id: PeerId, ask: Ask) -> Result<(), Reason> {
        self.blocks.check_question(&ask)?;
        self.serving.asked(id, ask, &mut self.out);
        Ok(())
    }

    /// A peer lacks blocks, in the form in which it was asked for them.
    pub(super) fn not_found(&mut self, id: PeerId, mut hashes: Vec<Hash>) -> Result<(), Reason> {
        // Who was asked for both forms of a block answers twice.
        self.with_blocks(|blocks, around| {
            hashes.retain(|hash| !blocks.not_found(id, hash, around));
        });
        self.sync.not_found(id, &hashes, self.now, &mut self.out)
    }

    /// Keeps new blocks at hand, and sends one that is our own to those who are near.
    pub(super) fn keep_new_blocks(&mut self, change: &TipChange) {
        let near = self.near_peers();
        self.with_blocks(|blocks, around| blocks.tip_changed(change, &near, around));
    }

    /// The peers with the shortest round trips, of those that read what they are sent.
    fn near_peers(&self) -> Vec<PeerId> {
        let reading =
            self.peers.iter().map(|(peer, _)| peer).filter(|peer| self.serving.reads(*peer));
        let mut near: Vec<(u64, PeerId)> =
            reading.map(|peer| (self.pings.shortest_ms(peer).unwrap_or(u64::MAX), peer)).collect();
        near.sort_unstable();
        near.truncate(MAX_PUSHED);
        near.into_iter().map(|(_, peer)| peer).collect()
    }
}

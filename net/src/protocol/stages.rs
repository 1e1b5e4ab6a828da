//! What the stages behind the reactor say.

use chain::ledger::PeerId;

use super::Protocol;
use super::port::{Reason, Served};
use crate::wire::Message;

/// The version of the protocol that brought [`Message::BodiesFrom`].
const BODIES_VERSION: u16 = 3;

impl Protocol {
    pub(super) fn ledger(&mut self, output: chain::ledger::Output) {
        use chain::ledger::Output as Ledger;
        let (now, out) = (self.now, &mut self.out);
        match output {
            Ledger::HeadersJudged { from, verdict } => {
                self.list_peers.changed = true;
                match self.sync.judged(from, &verdict, now, out) {
                    Ok(Some(news)) => {
                        self.with_blocks(|blocks, around| blocks.judged(from, news, around));
                    }
                    Ok(None) => {}
                    Err(reason) => self.drop_peer(from, reason),
                }
            }
            Ledger::Wanted(list) => {
                self.sync.wanted(list, now, out);
                self.with_blocks(|blocks, around| blocks.wanted(around));
            }
            Ledger::Assumed(blocks) => self.sync.assumed(blocks),
            Ledger::PeerFault { from, error } => {
                self.drop_peer(from, Reason::Chain(error.to_string()));
            }
            Ledger::TipChanged(change) => {
                for block in &change.connected {
                    let news = self.merits.block_connected(&block.block.hash(), now);
                    self.list_peers.changed |= news;
                }
                self.relay.tip_changed(&change);
                self.keep_new_blocks(&change);
                self.sync.tip_changed(&change, self.now, &mut self.out);
            }
            Ledger::Pooled { transaction, from, reverted } => {
                if reverted {
                    self.relay.take_out_all();
                }
                if let Some(from) = from.filter(|_| !reverted) {
                    self.list_peers.changed |= self.merits.transaction_pooled(from, now);
                }
                self.relay.pooled(transaction, now, &self.config.timing, &mut self.rng);
            }
            Ledger::Refused { from, txid, .. } => self.relay.refused(txid, from, now),
            Ledger::Dropped { txid, .. } => self.relay.dropped(&txid),
            Ledger::Storage(storage) => self.pruned_to(storage.pruned),
            Ledger::PoolSize { .. } | Ledger::Template(_) | Ledger::Answer { .. } => {}
        }
    }

    /// Tells everybody which bodies are gone now.
    fn pruned_to(&mut self, height: u32) {
        if std::mem::replace(&mut self.pruned, height) != height {
            let peers: Vec<PeerId> = self.peers.iter().map(|(peer, _)| peer).collect();
            peers.into_iter().for_each(|peer| self.say_bodies(peer));
        }
    }

    /// Tells a peer which bodies are gone, if any are and it understands.
    pub(super) fn say_bodies(&mut self, peer: PeerId) {
        let hello = self.peers.get(peer).and_then(|peer| peer.hello.as_ref());
        let understands = hello.is_some_and(|hello| hello.protocol >= BODIES_VERSION);
        if self.pruned > 0 && understands {
            self.out.send(peer, Message::BodiesFrom { height: self.pruned + 1 });
        }
    }

    pub(super) fn served(&mut self, peer: PeerId, served: Served) {
        let out = &mut self.out;
        match served {
            Served::Headers(headers) => {
                if self.peers.get(peer).is_some() {
                    self.sync.told(peer, &headers);
                    out.send(peer, Message::Headers(headers));
                    self.serving.headers_served(peer, out);
                }
            }
            Served::Block { hash, bytes } => self.serving.block_served(peer, hash, bytes, out),
        }
    }
}

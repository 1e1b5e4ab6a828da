//! Who is connected.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use chain::ledger::PeerId;

use super::group::Group;
use super::merit::Merit;
use super::port::{Direction, Millis, PeerInfo, PeerState};
use crate::wire::{Hello, NodeId};

/// A connection whose Noise handshake is done.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) node_id: NodeId,
    pub(crate) direction: Direction,
    pub(crate) connected_at: Millis,
    /// `None` until it has said hello.
    pub(crate) hello: Option<Hello>,
}

impl Peer {
    /// Where others can reach it, as far as we know.
    pub(crate) fn listens_at(&self) -> Option<SocketAddr> {
        match self.direction {
            Direction::Outbound => Some(self.address),
            Direction::Inbound => {
                let port = self.hello.as_ref()?.listen_port?;
                Some(SocketAddr::new(self.address.ip(), port))
            }
        }
    }
}

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    map: BTreeMap<PeerId, Peer>,
}

impl Peers {
    pub(crate) fn insert(&mut self, id: PeerId, peer: Peer) {
        self.map.insert(id, peer);
    }

    pub(crate) fn remove(&mut self, id: PeerId) -> Option<Peer> {
        self.map.remove(&id)
    }

    pub(crate) fn get(&self, id: PeerId) -> Option<&Peer> {
        self.map.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        self.map.get_mut(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.map.iter().map(|(id, peer)| (*id, peer))
    }

    pub(crate) fn by_node(&self, node_id: &NodeId) -> Option<PeerId> {
        self.iter().find(|(_, peer)| peer.node_id == *node_id).map(|(id, _)| id)
    }

    pub(crate) fn inbound_count(&self) -> usize {
        self.map.values().filter(|peer| peer.direction == Direction::Inbound).count()
    }

    /// The list for people; what other parts know of a peer they say.
    pub(crate) fn list(&self, told: impl Fn(PeerId) -> Told) -> Vec<PeerInfo> {
        let info = |(id, peer): (PeerId, &Peer)| {
            let Told { height, ping_ms, merit, blocks_whole, rebuilt } = told(id);
            PeerInfo {
                id,
                address: peer.address,
                node_id: peer.node_id,
                direction: peer.direction,
                group: Group::of(peer.address.ip()),
                agent: peer.hello.as_ref().map(|hello| hello.agent.clone()).unwrap_or_default(),
                height,
                ping_ms,
                connected_at: peer.connected_at,
                last_block: merit.last_block,
                last_transaction: merit.last_transaction,
                blocks_whole,
                blocks_rebuilt: rebuilt.0,
                transactions_fetched: rebuilt.1,
                state: if peer.hello.is_some() { PeerState::Ready } else { PeerState::Greeting },
            }
        };
        self.iter().map(info).collect()
    }
}

/// What is known of a peer elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    pub(crate) height: u32,
    pub(crate) ping_ms: Option<u64>,
    pub(crate) merit: Merit,
    pub(crate) blocks_whole: u64,
    /// Blocks rebuilt of what it sent, and transactions it had to deliver for them.
    pub(crate) rebuilt: (u64, u64),
}

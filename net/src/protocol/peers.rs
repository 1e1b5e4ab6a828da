//! Who is connected.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use chain::ledger::PeerId;

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

    /// The list for people; `facts` adds what is kept elsewhere.
    pub(crate) fn list(&self, facts: impl Fn(PeerId, &mut PeerInfo)) -> Vec<PeerInfo> {
        let plain = |(id, peer): (PeerId, &Peer)| PeerInfo {
            id,
            address: peer.address,
            node_id: peer.node_id,
            direction: peer.direction,
            agent: peer.hello.as_ref().map(|hello| hello.agent.clone()).unwrap_or_default(),
            height: 0,
            ping_ms: None,
            connected_at: peer.connected_at,
            state: if peer.hello.is_some() { PeerState::Ready } else { PeerState::Greeting },
            blocks_whole: 0,
            blocks_rebuilt: 0,
            transactions_fetched: 0,
        };
        let mut list: Vec<PeerInfo> = self.iter().map(plain).collect();
        list.iter_mut().for_each(|info| facts(info.id, info));
        list
    }
}

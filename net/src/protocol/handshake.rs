//! Who may stay: the checks on a new connection and on its hello.

use chain::ledger::PeerId;

use super::alarm::Alarm;
use super::config::Config;
use super::peers::{Peer, Peers};
use super::port::{Direction, Millis, Reason};
use crate::wire::message::MAX_AGENT_BYTES;
use crate::wire::{Hello, Message, NEWEST_VERSION, NodeId, PROTOCOL_VERSION};

/// What to do with a new connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Keep it.
    Keep,
    /// Keep it and drop the older one to the same node.
    Replace(PeerId),
    /// Keep it if another inbound one can be dropped for it.
    MakeRoom,
    /// Drop it. The older connection to the same node, if that is the reason, may be dead:
    /// it is worth a ping.
    Refuse(Reason, Option<PeerId>),
}

/// What is known of a new connection's address.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    /// The operator has banned it.
    pub(crate) banned: bool,
    /// Only chosen peers may connect, and it is none of them.
    pub(crate) stranger: bool,
    /// A peer there broke a rule not long ago.
    pub(crate) discouraged: bool,
    /// We only wanted to know whether somebody is there.
    pub(crate) feeler: bool,
}

/// Decides about a new connection.
pub(crate) fn admit(config: &Config, peers: &Peers, new: &Peer, standing: Standing) -> Admission {
    let inbound = new.direction == Direction::Inbound;
    let plain = match standing {
        _ if new.node_id == config.node_id => Some(Reason::Myself),
        Standing { banned: true, .. } => Some(Reason::Banned),
        Standing { feeler: true, .. } => Some(Reason::Tried),
        Standing { stranger: true, .. } if inbound => Some(Reason::Stranger),
        Standing { discouraged: true, .. } if inbound => Some(Reason::Discouraged),
        _ => None,
    };
    if let Some(reason) = plain {
        return Admission::Refuse(reason, None);
    }
    if let Some(older) = peers.by_node(&new.node_id) {
        let same_way = peers.get(older).is_some_and(|peer| peer.direction == new.direction);
        return if !same_way && new_one_wins(&config.node_id, new) {
            Admission::Replace(older)
        } else {
            Admission::Refuse(Reason::Duplicate, Some(older))
        };
    }
    if inbound && peers.inbound_count() >= config.inbound_slots {
        return Admission::MakeRoom;
    }
    Admission::Keep
}

/// Two nodes that dial each other at once must drop the same one of the two connections: the one
/// that the node with the greater id opened.
fn new_one_wins(own: &NodeId, new: &Peer) -> bool {
    match new.direction {
        Direction::Outbound => *own < new.node_id,
        Direction::Inbound => new.node_id < *own,
    }
}

/// Our own hello.
pub(crate) fn hello(config: &Config, height: u32) -> Message {
    let mut agent = config.agent.clone();
    while agent.len() > MAX_AGENT_BYTES {
        agent.pop();
    }
    Message::Hello(Hello {
        protocol: NEWEST_VERSION,
        agent,
        height,
        listen_port: config.listen_port.filter(|_| !config.exclusive),
    })
}

/// Takes a peer's hello.
pub(crate) fn greet(peer: &mut Peer, hello: Hello) -> Result<(), Reason> {
    if hello.protocol < PROTOCOL_VERSION {
        return Err(Reason::Protocol("hello names an older version than the handshake"));
    }
    if peer.hello.replace(hello).is_some() {
        return Err(Reason::Protocol("second hello"));
    }
    Ok(())
}

/// Connections whose hello is overdue. Has the alarm set for the others.
pub(crate) fn overdue(
    peers: &Peers,
    now: Millis,
    hello_ms: u64,
    alarm: &mut Alarm,
) -> Vec<(PeerId, Reason)> {
    if !alarm.is_due(now) {
        return Vec::new();
    }
    let (late, others): (Vec<_>, Vec<_>) =
        missing(peers, hello_ms).partition(|(_, until)| now >= *until);
    alarm.reset(others.into_iter().map(|(_, until)| until).min());
    late.into_iter().map(|(id, _)| (id, Reason::HelloTimeout)).collect()
}

/// Connections without a hello, and how long they may be that.
pub(crate) fn missing(peers: &Peers, hello_ms: u64) -> impl Iterator<Item = (PeerId, Millis)> {
    let silent = peers.iter().filter(|(_, peer)| peer.hello.is_none());
    silent.map(move |(id, peer)| (id, peer.connected_at + hello_ms))
}

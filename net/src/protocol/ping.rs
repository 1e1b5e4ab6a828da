//! Pings: is the peer still there, and how far away is it?

use std::collections::BTreeMap;

use chain::ledger::PeerId;
use rand::RngExt;
use rand::rngs::StdRng;

use super::alarm::Alarm;
use super::config::Timing;
use super::outbox::Outbox;
use super::port::{Millis, Reason};
use crate::wire::Message;

#[derive(Debug)]
struct Pulse {
    next_at: Millis,
    open: Option<Open>,
    last_heard: Millis,
    round_trip_ms: Option<u64>,
    shortest_ms: Option<u64>,
}

/// A ping that is not answered yet.
#[derive(Debug)]
struct Open {
    nonce: u64,
    sent_at: Millis,
}

/// The pulse of every peer that has said hello.
#[derive(Debug, Default)]
pub(crate) struct Pings {
    peers: BTreeMap<PeerId, Pulse>,
    alarm: Alarm,
}

impl Pings {
    /// Starts with a ping at once, to learn the distance.
    pub(crate) fn ready(&mut self, peer: PeerId, now: Millis) {
        let pulse = Pulse {
            next_at: now,
            open: None,
            last_heard: now,
            round_trip_ms: None,
            shortest_ms: None,
        };
        self.peers.insert(peer, pulse);
        self.alarm.set(now);
    }

    pub(crate) fn removed(&mut self, peer: PeerId) {
        self.peers.remove(&peer);
    }

    /// Asks for a sign of life now.
    pub(crate) fn probe(&mut self, peer: PeerId, now: Millis) {
        if let Some(pulse) = self.peers.get_mut(&peer) {
            pulse.next_at = now;
            self.alarm.set(now);
        }
    }

    pub(crate) fn heard(&mut self, peer: PeerId, now: Millis) {
        if let Some(pulse) = self.peers.get_mut(&peer) {
            pulse.last_heard = now;
        }
    }

    /// Takes an answer; one that belongs to no ping means nothing.
    pub(crate) fn pong(&mut self, peer: PeerId, nonce: u64, now: Millis) {
        let Some(pulse) = self.peers.get_mut(&peer) else { return };
        if let Some(open) = pulse.open.take_if(|open| open.nonce == nonce) {
            let took_ms = now - open.sent_at;
            pulse.round_trip_ms = Some(took_ms);
            pulse.shortest_ms = Some(pulse.shortest_ms.map_or(took_ms, |ms| ms.min(took_ms)));
            self.alarm.set(pulse.next_at);
        }
    }

    pub(crate) fn round_trip_ms(&self, peer: PeerId) -> Option<u64> {
        self.peers.get(&peer).and_then(|pulse| pulse.round_trip_ms)
    }

    /// The shortest round trip of all, which no later load on the line can lengthen.
    pub(crate) fn shortest_ms(&self, peer: PeerId) -> Option<u64> {
        self.peers.get(&peer).and_then(|pulse| pulse.shortest_ms)
    }

    /// Sends the pings that are due; returns the peers that are gone.
    pub(crate) fn tick(
        &mut self,
        now: Millis,
        timing: &Timing,
        rng: &mut StdRng,
        out: &mut Outbox,
    ) -> Vec<(PeerId, Reason)> {
        let mut gone = Vec::new();
        if !self.alarm.is_due(now) {
            return gone;
        }
        for (peer, pulse) in &mut self.peers {
            if now < pulse.due_at(timing) {
                continue;
            }
            if pulse.open.take().is_some() {
                gone.push((*peer, Reason::PingTimeout));
                continue;
            }
            let nonce = rng.random();
            out.send(*peer, Message::Ping(nonce));
            pulse.open = Some(Open { nonce, sent_at: now });
            pulse.next_at = now + timing.ping_interval_ms;
        }
        self.alarm.reset(self.due_at(timing));
        gone
    }

    pub(crate) fn due_at(&self, timing: &Timing) -> Option<Millis> {
        self.peers.values().map(|pulse| pulse.due_at(timing)).min()
    }

    pub(crate) fn wake_at(&self) -> Option<Millis> {
        self.alarm.wake_at()
    }
}

impl Pulse {
    /// When to send the next ping, or when the last one is in vain. A pong may wait behind blocks
    /// on a slow line, so anything heard puts that off.
    fn due_at(&self, timing: &Timing) -> Millis {
        match &self.open {
            Some(open) => open.sent_at.max(self.last_heard) + timing.pong_ms,
            None => self.next_at,
        }
    }
}

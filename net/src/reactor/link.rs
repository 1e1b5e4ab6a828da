//! One connection to a peer, from its first byte to its last.

use std::net::SocketAddr;

use chain::ledger::PeerId;

use super::connection::{ReadResult, Socket};
use crate::protocol::{Direction, Millis, Reason};
use crate::wire::{Session, SessionEvent};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Connecting,
    Handshake,
    Established(PeerId),
}

pub(super) struct Link {
    pub(super) socket: Socket,
    pub(super) session: Session,
    pub(super) address: SocketAddr,
    pub(super) direction: Direction,
    pub(super) stage: Stage,
    /// By when the handshake must be done.
    pub(super) handshake_by: Millis,
    pub(super) backlogged: bool,
    /// Memory that waits for the other side, as last looked at, in bytes.
    pub(super) held_bytes: usize,
    /// Since when that has been much.
    pub(super) holds_since: Option<Millis>,
}

impl Link {
    /// Reads until something has happened or there is no more.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<Option<SessionEvent>, Reason> {
        if self.stage == Stage::Connecting {
            match self.socket.opened() {
                None => return Ok(None),
                Some(Err(error)) => return Err(Reason::Io(error.to_string())),
                Some(Ok(())) => self.stage = Stage::Handshake,
            }
        }
        loop {
            if let Some(event) = self.session.next_event()? {
                return Ok(Some(event));
            }
            match self.socket.read(buffer) {
                ReadResult::Bytes(count) => self.session.receive(&buffer[..count]),
                ReadResult::WouldBlock => return Ok(None),
                ReadResult::Ended => return Err(Reason::Closed),
                ReadResult::Failed(error) => return Err(Reason::Io(error.to_string())),
            }
        }
    }

    /// When it has taken too long: to shake hands, or to read what waits for it.
    pub(super) fn deadline(&self, stall_ms: u64) -> Option<Millis> {
        match self.stage {
            Stage::Established(_) => self.socket.stalled_since().map(|since| since + stall_ms),
            Stage::Connecting | Stage::Handshake => Some(self.handshake_by),
        }
    }

    pub(super) fn log_end(&self, reason: &Reason) {
        let (address, direction) = (self.address, self.direction);
        match self.stage {
            Stage::Established(peer) => {
                let peer = peer.0;
                tracing::info!(target: "net", peer, %address, ?direction, %reason, "disconnected");
            }
            // Somebody wanted this connection, and the other end is no node of our network.
            _ if direction == Direction::Outbound && matches!(reason, Reason::Wire(_)) => {
                tracing::warn!(target: "net", %address, ?direction, %reason, "no connection");
            }
            _ => tracing::debug!(target: "net", %address, ?direction, %reason, "no connection"),
        }
    }
}

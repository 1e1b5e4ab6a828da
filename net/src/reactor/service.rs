//! Line servers that share the reactor's thread.

use std::net::SocketAddr;

use crate::protocol::Millis;

/// A client of a service. Never used twice in a process's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// A server of bytes: the reactor has the sockets, the service the sense. It must never block.
///
/// After every call the reactor takes outputs by [`Service::poll`] until there are none.
pub trait Service: Send {
    /// A client has connected.
    fn opened(&mut self, now: Millis, client: ClientId, address: SocketAddr);

    /// A client sent these bytes; where they are cut means nothing.
    fn received(&mut self, now: Millis, client: ClientId, bytes: &[u8]);

    /// A client will send no more, but may still read (`nc -N`). The connection lasts until the
    /// service answers with [`ServiceOutput::Close`].
    fn ended(&mut self, now: Millis, client: ClientId);

    /// The connection is gone, whoever ended it. Called once for each one opened.
    fn closed(&mut self, now: Millis, client: ClientId);

    /// All that was sent to a client is written. A service that answers more than is read can
    /// wait for this before it serves on.
    fn drained(&mut self, _now: Millis, _client: ClientId) {}

    /// Called on every wake and timer: take what other threads have sent.
    fn woken(&mut self, now: Millis);

    /// The next thing the service wants done.
    fn poll(&mut self) -> Option<ServiceOutput>;

    /// When to be woken at the latest; `None` = when something happens.
    fn wake_at(&self) -> Option<Millis>;
}

/// What a service wants done. Clients that are gone are ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceOutput {
    /// Send bytes.
    Send {
        /// To whom.
        client: ClientId,
        /// What.
        bytes: Vec<u8>,
    },
    /// Send what is left, then end the connection. Nothing more is read.
    Close {
        /// Whose.
        client: ClientId,
    },
    /// Read nothing more from the client until [`ServiceOutput::Resume`].
    Pause {
        /// From whom.
        client: ClientId,
    },
    /// Read again.
    Resume {
        /// From whom.
        client: ClientId,
    },
}

/// Bounds of one service.
#[derive(Clone, Debug)]
pub struct ServiceLimits {
    /// Clients at a time.
    pub max_clients: usize,
    /// Sent to one more, which is then disconnected.
    pub refusal: Vec<u8>,
    /// Reading from a client pauses while more than this waits to be sent to it, in bytes.
    pub pause_output_bytes: usize,
    /// A client with more than this waiting is disconnected, in bytes.
    pub max_output_bytes: usize,
    /// A client that takes nothing of what waits for it for so long is disconnected.
    pub stall_ms: u64,
}

impl Default for ServiceLimits {
    /// 256 clients, 256 KiB until reading pauses, 32 MiB at most, one minute.
    fn default() -> ServiceLimits {
        ServiceLimits {
            max_clients: 256,
            refusal: b"-BUSY too many clients\r\n".to_vec(),
            pause_output_bytes: 256 * 1024,
            max_output_bytes: 32 * 1024 * 1024,
            stall_ms: 60_000,
        }
    }
}

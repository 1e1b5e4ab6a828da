//! What a node decides for itself about its peers.

use std::net::SocketAddr;

use super::ban::Ban;
use crate::wire::NodeId;

/// Settings of a [`Protocol`](crate::Protocol).
#[derive(Clone, Debug)]
pub struct Config {
    /// Our own id, to notice connections to ourselves.
    pub node_id: NodeId,
    /// What we call ourselves, cut to 64 bytes.
    pub agent: String,
    /// Port peers can reach us at; `None` = we do not want to be found.
    pub listen_port: Option<u16>,
    /// Connections we open by ourselves.
    pub outbound_slots: usize,
    /// Connections we accept.
    pub inbound_slots: usize,
    /// Addresses to stay connected to whatever happens, beyond the slots.
    pub peers: Vec<SocketAddr>,
    /// Whether [`Config::peers`] are the only ones: nobody else is dialled or let in, and
    /// addresses are neither asked for nor told nor believed.
    pub exclusive: bool,
    /// The operator's bans at the start.
    pub bans: Vec<Ban>,
    /// Periods and time limits.
    pub timing: Timing,
}

impl Config {
    /// The usual settings: 8 slots out, 64 in, no fixed peers, not to be found.
    pub fn new(node_id: NodeId) -> Config {
        Config {
            node_id,
            agent: format!("graven/{}", env!("CARGO_PKG_VERSION")),
            listen_port: None,
            outbound_slots: 8,
            inbound_slots: 64,
            peers: Vec::new(),
            exclusive: false,
            bans: Vec::new(),
            timing: Timing::default(),
        }
    }
}

/// Periods and time limits, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From the handshake to the peer's hello.
    pub hello_ms: u64,
    /// Between pings.
    pub ping_interval_ms: u64,
    /// Silence after a ping that ends the connection.
    pub pong_ms: u64,
    /// For an answer to a request for headers.
    pub headers_ms: u64,
    /// Without any block from a peer that owes some, the first time; doubles each time.
    pub block_stall_ms: u64,
    /// The longest of these.
    pub block_stall_max_ms: u64,
    /// Until the compact form of a new block is asked of another peer. For what is missing of it
    /// the time is longer, by the number of transactions.
    pub compact_ms: u64,
    /// The same from the moment on at which somebody else has executed the block.
    pub vouched_ms: u64,
    /// Until a rebuilt block that the ledger does not take is fetched whole.
    pub rebuilt_ms: u64,
    /// Until an undelivered transaction is asked of another peer.
    pub transaction_retry_ms: u64,
    /// Transactions are announced together, on average this long after the first, to a peer we
    /// connected to.
    pub announce_outbound_ms: u64,
    /// The same for all peers that connected to us, at one time for all of them.
    pub announce_inbound_ms: u64,
    /// Until a failed address is tried again, the first time; doubles each time.
    pub backoff_first_ms: u64,
    /// The longest of these.
    pub backoff_max_ms: u64,
    /// The longest for [`Config::peers`], so that one that comes back is found soon.
    pub fixed_backoff_max_ms: u64,
    /// Between feelers. Bitcoin Core's two minutes: 720 addresses a day, a book in a week.
    pub feeler_ms: u64,
    /// How long the address of a peer that broke a rule is avoided.
    pub discourage_ms: u64,
    /// Least time between two [`Output::SaveBook`](crate::Output::SaveBook).
    pub save_book_ms: u64,
    /// Least time between two [`Output::Peers`](crate::Output::Peers).
    pub list_peers_ms: u64,
}

const SECOND_MS: u64 = 1000;
const MINUTE_MS: u64 = 60 * SECOND_MS;

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            hello_ms: 10 * SECOND_MS,
            ping_interval_ms: 2 * MINUTE_MS,
            pong_ms: MINUTE_MS,
            headers_ms: 2 * MINUTE_MS,
            block_stall_ms: 2 * SECOND_MS,
            block_stall_max_ms: 64 * SECOND_MS,
            compact_ms: 2 * SECOND_MS,
            // A slow line with many peers can be a second late; who says nothing for longer is
            // perhaps an adversary, and each hop of those costs as much.
            vouched_ms: SECOND_MS,
            rebuilt_ms: MINUTE_MS,
            transaction_retry_ms: 5 * SECOND_MS,
            // A tenth of Bitcoin's 2 s and 5 s, and less: blocks come here after a minute at most,
            // and a transaction must cross the network many times sooner.
            announce_outbound_ms: 100,
            announce_inbound_ms: 200,
            backoff_first_ms: SECOND_MS,
            backoff_max_ms: 5 * MINUTE_MS,
            fixed_backoff_max_ms: 8 * SECOND_MS,
            feeler_ms: 2 * MINUTE_MS,
            discourage_ms: 24 * 60 * MINUTE_MS,
            save_book_ms: MINUTE_MS,
            list_peers_ms: SECOND_MS,
        }
    }
}

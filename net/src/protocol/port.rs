//! What goes into the protocol and what comes out of it.

use std::net::SocketAddr;
use std::ops::{Add, Sub};
use std::sync::Arc;

use chain::Hash;
use chain::block::{Assembly, CheckedBlock};
use chain::header::Header;
use chain::ledger::{AssumedValid, PeerId};

use super::ban::Ban;
use super::group::Group;
use crate::wire::{Message, NodeId, WireError};

/// A moment: milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Add<u64> for Millis {
    type Output = Millis;

    fn add(self, ms: u64) -> Millis {
        Millis(self.0.saturating_add(ms))
    }
}

impl Sub for Millis {
    type Output = u64;

    /// Milliseconds between two moments, 0 if they are the other way round.
    fn sub(self, earlier: Millis) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// The peer did.
    Inbound,
    /// We did.
    Outbound,
}

/// What the protocol is told.
#[derive(Debug)]
pub enum Input {
    /// A connection's Noise handshake is done.
    Connected {
        /// Its name from now on.
        peer: PeerId,
        /// The other end's socket address.
        address: SocketAddr,
        /// Who opened it.
        direction: Direction,
        /// The peer's proven static key.
        node_id: NodeId,
    },
    /// A connection asked for by [`Output::Connect`] did not come about.
    ConnectFailed {
        /// The address.
        address: SocketAddr,
        /// Why.
        reason: Reason,
    },
    /// A connection ended, other than by [`Output::Disconnect`].
    Disconnected {
        /// Which.
        peer: PeerId,
        /// Why.
        reason: Reason,
    },
    /// A peer said something.
    Message {
        /// Who.
        peer: PeerId,
        /// What.
        message: Message,
    },
    /// A peer's output buffer is full: send it nothing large until it is drained.
    Backlogged {
        /// Who.
        peer: PeerId,
    },
    /// The peer's output buffer has room again.
    Drained {
        /// Who.
        peer: PeerId,
    },
    /// The ledger said something. What is not for peers is ignored.
    Ledger(chain::ledger::Output),
    /// What [`Work::ServeHeaders`] or [`Work::ServeBlock`] asked for.
    Served {
        /// Who wants it.
        peer: PeerId,
        /// What was found.
        served: Served,
    },
    /// A block of [`Work::Rebuilt`] has passed every rule but those of its place. It goes to the
    /// ledger besides.
    Rebuilt {
        /// Who sent its compact form.
        peer: PeerId,
        /// The block.
        block: CheckedBlock,
    },
    /// The transactions of [`Work::Rebuilt`] are not those of its header. No fault of the peer.
    NotRebuilt {
        /// The block's hash.
        hash: Hash,
    },
    /// A peer's block or transaction does not decode or breaks a rule by itself.
    BadPayload {
        /// Who sent it.
        peer: PeerId,
        /// The rule, for the log.
        what: String,
    },
    /// Keep a connection to this address from now on.
    AddPeer(SocketAddr),
    /// These are the operator's bans from now on, all of them, at most
    /// [`MAX_BANS`](super::MAX_BANS).
    Bans(Vec<Ban>),
    /// Time has passed: what was put off is gone on with.
    Tick,
}

/// What the archive has for a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Served {
    /// Headers after the peer's locator, ascending, at most
    /// [`MAX_HEADERS`](crate::wire::message::MAX_HEADERS).
    Headers(Vec<Header>),
    /// A block.
    Block {
        /// Its hash.
        hash: Hash,
        /// Its bytes, if it is there.
        bytes: Option<Vec<u8>>,
    },
}

/// What the protocol wants done.
#[derive(Clone, Debug)]
pub enum Output {
    /// Open a connection. Answered by [`Input::Connected`] or [`Input::ConnectFailed`].
    Connect(SocketAddr),
    /// Close a connection. The protocol has forgotten the peer already.
    Disconnect {
        /// Which.
        peer: PeerId,
        /// Why.
        reason: Reason,
    },
    /// Send a message.
    Send {
        /// To whom.
        peer: PeerId,
        /// What.
        message: Message,
    },
    /// Read nothing from a peer before this time: it has asked too much of us. What was read
    /// already may still be told.
    Rest {
        /// From whom.
        peer: PeerId,
        /// By the protocol's time.
        until: Millis,
    },
    /// For the stages behind the reactor.
    Work(Work),
    /// The address book has changed: save these bytes. At most once a minute.
    SaveBook(Vec<u8>),
    /// The list of peers has changed. At most once a second.
    Peers(Arc<[PeerInfo]>),
}

/// What is to be verified or looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Headers for the ledger: at least one, ascending, each the parent of the next.
    Headers {
        /// Who sent them.
        from: PeerId,
        /// The headers.
        headers: Vec<Header>,
    },
    /// The header of a new block for the ledger, which the peer need not have executed.
    Announced {
        /// Who sent it.
        from: PeerId,
        /// The header.
        header: Header,
    },
    /// A block put together of a compact form: to verify, and to be answered by
    /// [`Input::Rebuilt`], [`Input::NotRebuilt`] or [`Input::BadPayload`].
    Rebuilt {
        /// Who sent the compact form, and all transactions that are not from the pool.
        from: PeerId,
        /// The block. Its header was accepted before.
        assembly: Box<Assembly>,
    },
    /// A block to verify.
    Block {
        /// Who sent it.
        from: PeerId,
        /// Its bytes, at least a header.
        bytes: Vec<u8>,
        /// What the ledger says of its signatures.
        assumed: Option<AssumedValid>,
    },
    /// A peer is gone, for the ledger: after all else of it.
    Gone {
        /// Who.
        peer: PeerId,
    },
    /// Transactions to verify.
    Transactions {
        /// Who sent them.
        from: PeerId,
        /// Their bytes.
        list: Vec<Vec<u8>>,
    },
    /// Answer with [`Served::Headers`].
    ServeHeaders {
        /// Who wants them.
        to: PeerId,
        /// Newest first.
        locator: Vec<Hash>,
    },
    /// Answer with [`Served::Block`].
    ServeBlock {
        /// Who wants it.
        to: PeerId,
        /// Which.
        hash: Hash,
    },
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// Waiting for the peer's hello.
    Greeting,
    /// Hellos are exchanged.
    Ready,
}

/// A connected peer, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its name in this process.
    pub id: PeerId,
    /// The other end's socket address.
    pub address: SocketAddr,
    /// Its static key; shown as hex.
    pub node_id: NodeId,
    /// Who opened the connection.
    pub direction: Direction,
    /// The part of the network it is in.
    pub group: Group,
    /// Program and version, empty until its hello.
    pub agent: String,
    /// Greatest height it is known to have.
    pub height: u32,
    /// Round trip of the last ping, in milliseconds.
    pub ping_ms: Option<u64>,
    /// When the handshake was done.
    pub connected_at: Millis,
    /// When it last brought a block of the main chain before anybody else did.
    pub last_block: Option<Millis>,
    /// When it last brought a transaction that the pool took.
    pub last_transaction: Option<Millis>,
    /// How far the connection has come.
    pub state: PeerState,
    /// Blocks it delivered whole.
    pub blocks_whole: u64,
    /// Blocks put together here of the compact form it sent.
    pub blocks_rebuilt: u64,
    /// Transactions that had to be fetched from it for those.
    pub transactions_fetched: u64,
}

/// Why a connection ended or did not come about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The peer closed it.
    #[error("closed by the peer")]
    Closed,
    /// The operating system said no.
    #[error("{0}")]
    Io(String),
    /// Connecting and shaking hands took too long.
    #[error("no handshake in time")]
    HandshakeTimeout,
    /// The bytes received make no sense.
    #[error("{0}")]
    Wire(#[from] WireError),
    /// The peer does not take what is sent to it.
    #[error("does not read what is sent")]
    NotReading,
    /// All peers together held too much memory, and this one had held some for the longest time.
    #[error("held too much memory for too long")]
    Hoarding,
    /// No hello in time.
    #[error("no hello in time")]
    HelloTimeout,
    /// A ping was not answered in time.
    #[error("ping not answered in time")]
    PingTimeout,
    /// It does not deliver headers or blocks that it said it has.
    #[error("does not deliver what it has")]
    Stalled,
    /// Its chain is not that of our checkpoints.
    #[error("its chain is not that of the checkpoints")]
    OtherChain,
    /// It is ourselves.
    #[error("connected to ourselves")]
    Myself,
    /// There is another connection to the same node.
    #[error("second connection to the same node")]
    Duplicate,
    /// All slots are taken.
    #[error("all slots are taken")]
    Full,
    /// It had to go for another peer, because all slots are taken.
    #[error("made room for another peer")]
    Evicted,
    /// It broke a rule not long ago.
    #[error("broke a rule not long ago")]
    Discouraged,
    /// The operator wants nothing to do with its address.
    #[error("banned by the operator")]
    Banned,
    /// Only chosen peers may connect, and it is none of them.
    #[error("not one of the chosen peers")]
    Stranger,
    /// It was only to be seen whether somebody is there.
    #[error("was only tried out")]
    Tried,
    /// It broke a rule of the protocol.
    #[error("broke the protocol: {0}")]
    Protocol(&'static str),
    /// It broke a rule of the chain.
    #[error("broke a rule of the chain: {0}")]
    Chain(String),
    /// This node stops.
    #[error("this node stops")]
    Stopping,
}

impl Reason {
    /// Whether the peer provably broke a rule, so that its address is avoided for a while.
    /// A failed handshake is none: it may be an honest node of another network. Nor is a packet
    /// that does not decrypt: whoever is on the line between can garble it.
    pub fn is_violation(&self) -> bool {
        let frame = matches!(self, Reason::Wire(WireError::Frame(_)));
        frame || matches!(self, Reason::Protocol(_) | Reason::Chain(_))
    }
}

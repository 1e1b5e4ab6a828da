//! What a line of the admin port asks for.

use chain::Hash;
use chain::execute::Order;
use chain::ledger::Draft;
use chain::tx::PublicKey;

use crate::reads::raw::RawRead;

/// A parsed request.
#[derive(Clone, Debug)]
pub enum Request {
    /// Answered from the store.
    Read(Read),
    /// Signed by the node and taken into its pool.
    Write {
        /// What to sign.
        draft: Draft,
        /// Whether to wait for blocks before answering.
        wait: Option<Wait>,
    },
    /// Taken into the pool as they are, in order.
    Submit {
        /// Signed transactions as bytes, at least one.
        transactions: Vec<Vec<u8>>,
        /// Whether to wait for blocks before answering, of the last one.
        wait: Option<Wait>,
    },
    /// Where a transaction stands.
    Transaction(Hash),
    /// Answer when a transaction has reached a state.
    Wait {
        /// Which.
        txid: Hash,
        /// What to wait for.
        wait: Wait,
    },
    /// Send events from now on.
    Watch {
        /// What the keys start with.
        prefix: Vec<u8>,
        /// Also say when a transaction has so many confirmations.
        confirmations: Option<u32>,
    },
    /// Send no more events.
    Unwatch,
    /// Answer at once, with a word and no JSON.
    Ping,
    /// What the node is doing.
    Status,
    /// Who it is connected to.
    Peers,
    /// The miners at the Stratum port.
    Miners,
    /// Keep a connection to this address.
    AddPeer(std::net::SocketAddr),
    /// Have nothing to do with these addresses for a time.
    Ban {
        /// Which.
        subnet: net::Subnet,
        /// For how long.
        seconds: u64,
    },
    /// Take a ban back.
    Unban(net::Subnet),
    /// What is banned.
    Bans,
    /// An account; `None` = the node's own.
    Balance(Option<PublicKey>),
    /// On networks mined on demand: mine so many blocks.
    Mine {
        /// How many.
        blocks: u32,
        /// How long to wait for them.
        timeout_s: u64,
    },
    /// The cookie.
    Auth(String),
    /// What commands there are.
    Help(Option<String>),
    /// End this connection.
    Quit,
    /// Stop the node.
    Shutdown,
}

/// What to wait for, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Blocks that include the transaction or come after it; at least 1.
    pub confirmations: u32,
    /// Give up after so long, in seconds.
    pub timeout_s: u64,
}

/// Seconds after which a wait that names no time gives up.
pub const DEFAULT_TIMEOUT_S: u64 = 60;

/// A question that the store can answer.
#[derive(Clone, Debug)]
pub enum Read {
    /// One version of a key.
    Retrieve {
        /// The key.
        key: Vec<u8>,
        /// Which version.
        at: At,
    },
    /// All versions of a key, by pages.
    RetrieveAll {
        /// The key.
        key: Vec<u8>,
        /// Versions in a page.
        limit: usize,
        /// The version to go on from.
        after: Option<u64>,
        /// Oldest or newest first.
        order: Order,
    },
    /// A proof of what the state says of a key.
    Prove {
        /// The key.
        key: Vec<u8>,
        /// Whether it shows all versions.
        extent: kv::proof::Extent,
    },
    /// Live keys with a prefix, by pages.
    Scan {
        /// What they start with.
        prefix: Vec<u8>,
        /// The key to go on from.
        after: Option<Vec<u8>>,
        /// Keys in a page.
        limit: usize,
        /// Whether to give values too.
        values: kv::query::Values,
    },
    /// A block of the main chain.
    Block(BlockName),
    /// Headers of the main chain, a page.
    Headers {
        /// Where the page begins.
        from: HeadersFrom,
        /// Headers in a page.
        limit: usize,
    },
    /// Whether and where the main chain has a transaction.
    Inclusion(Hash),
    /// Of the Redis protocol.
    Raw(RawRead),
}

/// Which version of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The newest.
    Latest,
    /// The one with this number.
    Version(u64),
    /// The newest as of this height.
    Height(u32),
}

/// Where a page of headers begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadersFrom {
    /// At this height.
    Height(u32),
    /// After the first of these blocks that is on the main chain; after genesis if none is.
    After(Vec<Hash>),
}

/// How a block is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockName {
    /// By its height on the main chain.
    Height(u32),
    /// By its hash.
    Hash(Hash),
}

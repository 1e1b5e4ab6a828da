//! The messages, their bodies and their size caps.
//!
//! A body is postcard, except for headers and blocks, whole or compact, whose body is the bytes
//! themselves. What decodes must re-encode to the same bytes.

use std::net::{IpAddr, SocketAddr};

use chain::Hash;
use chain::header::{HEADER_BYTES, Header};
use chain::params::MAX_BLOCK_BYTES;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteBuf, Bytes};

use super::codec::FrameError;
use super::compact::{CompactBlock, MAX_COMPACT_BYTES, MAX_SHORT_IDS};

/// Longest agent string in a [`Hello`], in bytes.
pub const MAX_AGENT_BYTES: usize = 64;
/// Most hashes in a locator: the newest ten, then one for each doubling, with room to spare.
pub const MAX_LOCATOR: usize = 101;
/// Most headers in one message. A batch of this many says that there are more.
pub const MAX_HEADERS: usize = 2000;
/// Most blocks asked for in one message.
pub const MAX_BLOCKS_ASKED: usize = 16;
/// Most transaction ids in one message.
pub const MAX_TXIDS: usize = 1000;
/// Most transactions in one message.
pub const MAX_TRANSACTIONS: usize = 1000;
/// A sender puts no further transaction into a message that has this many bytes of them.
pub const TRANSACTIONS_FULL_BYTES: usize = 1024 * 1024;
/// Most addresses in one message.
pub const MAX_ADDRESSES: usize = 1000;

const HASH_BYTES: usize = 32;
/// Longest postcard length prefix that occurs here.
const COUNT_BYTES: usize = 5;
/// Variant, IPv6 address, port, seconds.
const ADDRESS_BYTES: usize = 1 + 16 + 3 + 10;
const BLOCK_BYTES: usize = MAX_BLOCK_BYTES as usize;

/// A kind of message: its tag on the wire, its name, and the most bytes its body may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// First byte after the length.
    pub tag: u8,
    /// For people.
    pub name: &'static str,
    /// Cap of the body, in bytes.
    pub max_bytes: usize,
}

const fn kind(tag: u8, name: &'static str, max_bytes: usize) -> Kind {
    Kind { tag, name, max_bytes }
}

const HELLO: Kind = kind(1, "hello", 3 + COUNT_BYTES + MAX_AGENT_BYTES + 5 + 4);
const PING: Kind = kind(2, "ping", 10);
const PONG: Kind = kind(3, "pong", 10);
const GET_HEADERS: Kind = kind(4, "get-headers", COUNT_BYTES + MAX_LOCATOR * HASH_BYTES);
const HEADERS: Kind = kind(5, "headers", MAX_HEADERS * HEADER_BYTES);
const GET_BLOCKS: Kind = kind(6, "get-blocks", COUNT_BYTES + MAX_BLOCKS_ASKED * HASH_BYTES);
const BLOCK: Kind = kind(7, "block", BLOCK_BYTES);
const NOT_FOUND: Kind = kind(8, "not-found", COUNT_BYTES + MAX_BLOCKS_ASKED * HASH_BYTES);
const ANNOUNCE: Kind = kind(9, "announce-transactions", COUNT_BYTES + MAX_TXIDS * HASH_BYTES);
const GET_TRANSACTIONS: Kind = kind(10, "get-transactions", COUNT_BYTES + MAX_TXIDS * HASH_BYTES);
const TRANSACTIONS: Kind = kind(
    11,
    "transactions",
    TRANSACTIONS_FULL_BYTES + BLOCK_BYTES + COUNT_BYTES * (MAX_TRANSACTIONS + 1),
);
const GET_ADDRESSES: Kind = kind(12, "get-addresses", 0);
const ADDRESSES: Kind = kind(13, "addresses", COUNT_BYTES + MAX_ADDRESSES * ADDRESS_BYTES);
const ANNOUNCE_BLOCK: Kind = kind(14, "announce-block", HEADER_BYTES);
const GET_COMPACT: Kind = kind(15, "get-compact-block", HASH_BYTES);
const COMPACT: Kind = kind(16, "compact-block", MAX_COMPACT_BYTES);
const GET_BLOCK_TRANSACTIONS: Kind =
    kind(17, "get-block-transactions", HASH_BYTES + COUNT_BYTES + 3 * MAX_SHORT_IDS);
const BLOCK_TRANSACTIONS: Kind =
    kind(18, "block-transactions", HASH_BYTES + BLOCK_BYTES + COUNT_BYTES * (MAX_SHORT_IDS + 1));
const BODIES_FROM: Kind = kind(19, "bodies-from", 5);

/// Every kind there is, by tag, from 1 on.
pub const KINDS: [Kind; 19] = [
    HELLO,
    PING,
    PONG,
    GET_HEADERS,
    HEADERS,
    GET_BLOCKS,
    BLOCK,
    NOT_FOUND,
    ANNOUNCE,
    GET_TRANSACTIONS,
    TRANSACTIONS,
    GET_ADDRESSES,
    ADDRESSES,
    ANNOUNCE_BLOCK,
    GET_COMPACT,
    COMPACT,
    GET_BLOCK_TRANSACTIONS,
    BLOCK_TRANSACTIONS,
    BODIES_FROM,
];

const _: () = {
    let mut at = 0;
    while at < KINDS.len() {
        assert!(KINDS[at].tag as usize == at + 1, "kind_of finds a kind by its tag");
        at += 1;
    }
};

/// The kind with this tag.
pub fn kind_of(tag: u8) -> Option<&'static Kind> {
    KINDS.get(usize::from(tag).checked_sub(1)?)
}

/// The most bytes a body with this tag may have; `None` for tags that do not exist.
pub fn max_bytes(tag: u8) -> Option<usize> {
    kind_of(tag).map(|kind| kind.max_bytes)
}

/// The first message each way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Newest protocol version the sender speaks.
    pub protocol: u16,
    /// Name and version of the program, at most [`MAX_AGENT_BYTES`].
    pub agent: String,
    /// Height of the sender's tip.
    pub height: u32,
    /// Port it listens on; the address is that of the connection.
    pub listen_port: Option<u16>,
}

/// Where a node was heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownAddress {
    /// IPv4 or IPv6 address.
    pub ip: IpAddr,
    /// TCP port.
    pub port: u16,
    /// When a connection to it last succeeded, in seconds since the Unix epoch.
    pub last_seen_s: u64,
}

impl KnownAddress {
    /// The address to connect to.
    pub fn socket(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }
}

/// What peers say to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Who I am; first message each way.
    Hello(Hello),
    /// Answer with the same number.
    Ping(u64),
    /// The number of a ping.
    Pong(u64),
    /// Send the headers after the newest of these that you have.
    GetHeaders {
        /// Newest first, at most [`MAX_LOCATOR`].
        locator: Vec<Hash>,
    },
    /// Answer to [`Message::GetHeaders`], or an announcement of new blocks.
    Headers(Vec<Header>),
    /// Send these blocks.
    GetBlocks {
        /// At most [`MAX_BLOCKS_ASKED`].
        hashes: Vec<Hash>,
    },
    /// One block that was asked for.
    Block(Vec<u8>),
    /// Blocks that were asked for and are not there.
    NotFound {
        /// At most [`MAX_BLOCKS_ASKED`].
        hashes: Vec<Hash>,
    },
    /// I have these transactions.
    AnnounceTransactions {
        /// At most [`MAX_TXIDS`].
        txids: Vec<Hash>,
    },
    /// Send these transactions.
    GetTransactions {
        /// At most [`MAX_TXIDS`].
        txids: Vec<Hash>,
    },
    /// Transactions that were asked for; those that are gone are left out.
    Transactions(Vec<Vec<u8>>),
    /// Send addresses of nodes.
    GetAddresses,
    /// Addresses of nodes, at most [`MAX_ADDRESSES`].
    Addresses(Vec<KnownAddress>),
    /// There is a new block, and I have it or am fetching it. Ask for it and I answer as soon as I
    /// have it.
    AnnounceBlock(Header),
    /// Send the compact form of this block, now or when you have it.
    GetCompactBlock {
        /// Which.
        hash: Hash,
    },
    /// A block in compact form, asked for or new.
    CompactBlock(CompactBlock),
    /// Send these transactions of a block that you sent in compact form.
    GetBlockTransactions {
        /// Which block.
        hash: Hash,
        /// Positions, the coinbase not counted; ascending, at most [`MAX_SHORT_IDS`].
        indexes: Vec<u16>,
    },
    /// Transactions of a block that were asked for, in the order of asking.
    BlockTransactions {
        /// Which block.
        hash: Hash,
        /// Their bytes.
        list: Vec<Vec<u8>>,
    },
    /// I have removed the bodies of my main chain below this height.
    BodiesFrom {
        /// Height of the first block whose body is there.
        height: u32,
    },
}

/// Positions in a block are two bytes on the wire.
const _: () = assert!(MAX_SHORT_IDS <= u16::MAX as usize);

impl Message {
    /// What kind of message this is.
    pub fn kind(&self) -> &'static Kind {
        match self {
            Message::Hello(_) => &HELLO,
            Message::Ping(_) => &PING,
            Message::Pong(_) => &PONG,
            Message::GetHeaders { .. } => &GET_HEADERS,
            Message::Headers(_) => &HEADERS,
            Message::GetBlocks { .. } => &GET_BLOCKS,
            Message::Block(_) => &BLOCK,
            Message::NotFound { .. } => &NOT_FOUND,
            Message::AnnounceTransactions { .. } => &ANNOUNCE,
            Message::GetTransactions { .. } => &GET_TRANSACTIONS,
            Message::Transactions(_) => &TRANSACTIONS,
            Message::GetAddresses => &GET_ADDRESSES,
            Message::Addresses(_) => &ADDRESSES,
            Message::AnnounceBlock(_) => &ANNOUNCE_BLOCK,
            Message::GetCompactBlock { .. } => &GET_COMPACT,
            Message::CompactBlock(_) => &COMPACT,
            Message::GetBlockTransactions { .. } => &GET_BLOCK_TRANSACTIONS,
            Message::BlockTransactions { .. } => &BLOCK_TRANSACTIONS,
            Message::BodiesFrom { .. } => &BODIES_FROM,
        }
    }

    /// Appends the body to `out`.
    pub fn encode_body(&self, out: &mut Vec<u8>) {
        match self {
            Message::Hello(hello) => put(hello, out),
            Message::Ping(nonce) | Message::Pong(nonce) => put(nonce, out),
            Message::GetHeaders { locator: hashes }
            | Message::GetBlocks { hashes }
            | Message::NotFound { hashes }
            | Message::AnnounceTransactions { txids: hashes }
            | Message::GetTransactions { txids: hashes } => put(hashes, out),
            Message::Headers(headers) => {
                headers.iter().for_each(|header| out.extend(header.encode()));
            }
            Message::Block(bytes) => out.extend(bytes),
            Message::Transactions(list) => put_byte_strings(list, out),
            Message::GetAddresses => {}
            Message::Addresses(list) => put(list, out),
            Message::AnnounceBlock(header) => out.extend(header.encode()),
            Message::GetCompactBlock { hash } => put(hash, out),
            Message::CompactBlock(block) => block.encode(out),
            Message::GetBlockTransactions { hash, indexes } => {
                put(hash, out);
                put(&gaps(indexes), out);
            }
            Message::BlockTransactions { hash, list } => {
                put(hash, out);
                put_byte_strings(list, out);
            }
            Message::BodiesFrom { height } => put(height, out),
        }
    }

    /// Reads a body of the given kind.
    ///
    /// # Errors
    /// When it is not one: malformed, above a cap, or not in its canonical form.
    pub fn decode_body(kind: &Kind, body: Vec<u8>) -> Result<Message, FrameError> {
        let malformed = FrameError::Malformed(kind.name);
        if body.len() > kind.max_bytes {
            return Err(FrameError::TooLong { name: kind.name, got: body.len() });
        }
        if *kind == BLOCK {
            return Ok(Message::Block(body));
        }
        let message = Message::parse(kind, &body).ok_or(malformed)?;
        let mut again = Vec::with_capacity(body.len());
        message.encode_body(&mut again);
        if again == body { Ok(message) } else { Err(FrameError::NotCanonical(kind.name)) }
    }

    fn parse(kind: &Kind, body: &[u8]) -> Option<Message> {
        Some(match *kind {
            HELLO => {
                let hello: Hello = postcard::from_bytes(body).ok()?;
                if hello.agent.len() > MAX_AGENT_BYTES {
                    return None;
                }
                Message::Hello(hello)
            }
            PING => Message::Ping(postcard::from_bytes(body).ok()?),
            PONG => Message::Pong(postcard::from_bytes(body).ok()?),
            GET_HEADERS => Message::GetHeaders { locator: list(body, MAX_LOCATOR)? },
            HEADERS => Message::Headers(parse_headers(body)?),
            GET_BLOCKS => Message::GetBlocks { hashes: list(body, MAX_BLOCKS_ASKED)? },
            NOT_FOUND => Message::NotFound { hashes: list(body, MAX_BLOCKS_ASKED)? },
            ANNOUNCE => Message::AnnounceTransactions { txids: list(body, MAX_TXIDS)? },
            GET_TRANSACTIONS => Message::GetTransactions { txids: list(body, MAX_TXIDS)? },
            TRANSACTIONS => Message::Transactions(byte_strings(body, MAX_TRANSACTIONS)?),
            GET_ADDRESSES => Message::GetAddresses,
            ADDRESSES => Message::Addresses(list(body, MAX_ADDRESSES)?),
            ANNOUNCE_BLOCK => Message::AnnounceBlock(Header::decode(body.try_into().ok()?)),
            GET_COMPACT => Message::GetCompactBlock { hash: postcard::from_bytes(body).ok()? },
            COMPACT => Message::CompactBlock(CompactBlock::decode(body)?),
            GET_BLOCK_TRANSACTIONS => {
                let (hash, rest) = postcard::take_from_bytes(body).ok()?;
                let indexes = from_gaps(&list(rest, MAX_SHORT_IDS)?)?;
                Message::GetBlockTransactions { hash, indexes }
            }
            BLOCK_TRANSACTIONS => {
                let (hash, rest) = postcard::take_from_bytes(body).ok()?;
                Message::BlockTransactions { hash, list: byte_strings(rest, MAX_SHORT_IDS)? }
            }
            BODIES_FROM => Message::BodiesFrom { height: postcard::from_bytes(body).ok()? },
            _ => return None,
        })
    }
}

fn put<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    out.extend(postcard::to_stdvec(value).expect("encoding to memory cannot fail"));
}

/// What lies between ascending positions: mostly numbers of one byte.
fn gaps(indexes: &[u16]) -> Vec<u16> {
    let before = std::iter::once(None).chain(indexes.iter().copied().map(Some));
    let gap = |(before, index): (Option<u16>, &u16)| {
        before.map_or(*index, |before| index.saturating_sub(before).saturating_sub(1))
    };
    before.zip(indexes).map(gap).collect()
}

fn from_gaps(gaps: &[u16]) -> Option<Vec<u16>> {
    let mut next = Some(0_u16);
    let place = |gap: &u16| {
        let index = next?.checked_add(*gap)?;
        next = index.checked_add(1);
        Some(index)
    };
    gaps.iter().map(place).collect()
}

fn put_byte_strings(list: &[Vec<u8>], out: &mut Vec<u8>) {
    let list: Vec<&Bytes> = list.iter().map(|bytes| Bytes::new(bytes)).collect();
    put(&list, out);
}

fn byte_strings(body: &[u8], cap: usize) -> Option<Vec<Vec<u8>>> {
    let list: Vec<ByteBuf> = list(body, cap)?;
    Some(list.into_iter().map(ByteBuf::into_vec).collect())
}

/// Reads a list whose count is capped before anything is allocated for its items: by `cap`, and by
/// the bytes that are there, since every item has at least one.
fn list<'a, T: Deserialize<'a>>(body: &'a [u8], cap: usize) -> Option<Vec<T>> {
    let (count, mut rest) = postcard::take_from_bytes::<u32>(body).ok()?;
    let count = usize::try_from(count).ok().filter(|count| *count <= cap.min(rest.len()))?;
    let mut items = Vec::with_capacity(count);
    for _ in 0..count {
        let (item, after) = postcard::take_from_bytes(rest).ok()?;
        items.push(item);
        rest = after;
    }
    rest.is_empty().then_some(items)
}

fn parse_headers(body: &[u8]) -> Option<Vec<Header>> {
    let (headers, rest) = body.as_chunks::<HEADER_BYTES>();
    rest.is_empty().then(|| headers.iter().map(Header::decode).collect())
}

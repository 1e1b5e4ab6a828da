//! Blocks and their coinbase.
//!
//! A block is `header (80) ‖ CompactSize count ‖ coinbase ‖ transactions`, where the count
//! includes the coinbase and every part delimits itself. The coinbase has Bitcoin's transaction
//! layout, so that Stratum miners can handle it; see docs/consensus.md for the byte table.

use std::sync::Arc;

use miner::{Hash, sha256d};

use crate::header::{HEADER_BYTES, Header};
use crate::tx::{CheckedTransaction, DecodeError, MIN_TRANSACTION_BYTES, PublicKey, Transaction};

/// Longest free tag in the coinbase script, in bytes: keeps the script within Bitcoin's 100.
pub const MAX_TAG_BYTES: usize = 80;

/// Bytes of the coinbase before the script: version, input count, null outpoint.
const COINBASE_HEAD: [u8; 41] = {
    let mut head = [0; 41];
    head[0] = 1; // version 1, little-endian
    head[4] = 1; // one input
    let mut at = 37; // output index ffffffff after the 32 zero bytes of the null transaction id
    while at < 41 {
        head[at] = 0xff;
        at += 1;
    }
    head
};

/// Script bytes before the extranonce: push of 4 height bytes, then push of 8.
const SCRIPT_HEAD_BYTES: usize = 1 + 4 + 1;

/// Bytes of the extranonce.
pub const EXTRANONCE_BYTES: usize = 8;

/// Output script: OP_RETURN, push of 69 bytes, "GRVN", version 1.
const OUTPUT_HEAD: [u8; 7] = [0x6a, 69, b'G', b'R', b'V', b'N', 1];
const OUTPUT_SCRIPT_BYTES: usize = OUTPUT_HEAD.len() + 32 + 32;
const _: () = assert!(OUTPUT_HEAD[1] as usize == OUTPUT_SCRIPT_BYTES - 2);
const MAX_SCRIPT_BYTES: usize = SCRIPT_HEAD_BYTES + EXTRANONCE_BYTES + MAX_TAG_BYTES;
const _: () = assert!(MAX_SCRIPT_BYTES <= 100);

/// Most bytes a coinbase can have: head, script with its length, sequence, output count, value,
/// output script with its length, lock time.
pub const MAX_COINBASE_BYTES: usize =
    COINBASE_HEAD.len() + 1 + MAX_SCRIPT_BYTES + 4 + 1 + 8 + 1 + OUTPUT_SCRIPT_BYTES + 4;

/// The first transaction of a block: creates the reward and carries what the chain commits to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coinbase {
    /// Height of the block.
    pub height: u32,
    /// What miners roll after nonce and version; 8 bytes little-endian in the script.
    pub extranonce: u64,
    /// Free bytes, at most [`MAX_TAG_BYTES`].
    pub tag: Vec<u8>,
    /// Subsidy and fees, in the smallest unit.
    pub value: u64,
    /// Who receives them.
    pub payee: PublicKey,
    /// Root of the [state after the block](crate::commitment).
    pub state_root: [u8; 32],
}

/// A coinbase's bytes around the extranonce, as miners need them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoinbaseParts {
    /// Before the 8 extranonce bytes.
    pub prefix: Vec<u8>,
    /// After them.
    pub suffix: Vec<u8>,
}

impl Coinbase {
    /// The bytes around the extranonce.
    ///
    /// # Panics
    /// When the tag is longer than [`MAX_TAG_BYTES`].
    pub fn parts(&self) -> CoinbaseParts {
        assert!(self.tag.len() <= MAX_TAG_BYTES, "the maker of a coinbase keeps its tag short");
        let script_len = SCRIPT_HEAD_BYTES + EXTRANONCE_BYTES + self.tag.len();
        let mut prefix = COINBASE_HEAD.to_vec();
        prefix.push(u8::try_from(script_len).expect("asserted to be at most 100"));
        prefix.push(4);
        prefix.extend(self.height.to_le_bytes());
        prefix.push(8);
        let mut suffix = self.tag.clone();
        suffix.extend([0xff; 4]); // input sequence
        suffix.push(1); // one output
        suffix.extend(self.value.to_le_bytes());
        suffix.push(u8::try_from(OUTPUT_SCRIPT_BYTES).expect("71 fits"));
        suffix.extend(OUTPUT_HEAD);
        suffix.extend(self.payee.0);
        suffix.extend(self.state_root);
        suffix.extend([0; 4]); // lock time
        CoinbaseParts { prefix, suffix }
    }

    /// The coinbase's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let parts = self.parts();
        [&parts.prefix[..], &self.extranonce.to_le_bytes(), &parts.suffix].concat()
    }

    /// Double SHA-256 of the bytes: leaf 0 of the merkle tree.
    pub fn txid(&self) -> Hash {
        sha256d(&self.encode())
    }

    /// Reads exactly one coinbase.
    ///
    /// # Errors
    /// When the bytes have not the fixed layout, or bytes are left over.
    pub fn decode(bytes: &[u8]) -> Result<Coinbase, BlockDecodeError> {
        let mut input = bytes;
        let coinbase = Coinbase::take(&mut input)?;
        if input.is_empty() { Ok(coinbase) } else { Err(BlockDecodeError::Trailing(input.len())) }
    }

    fn take<'a>(input: &mut &'a [u8]) -> Result<Coinbase, BlockDecodeError> {
        let fail = BlockDecodeError::Coinbase;
        let bytes = |input: &mut &'a [u8], count: usize| {
            take_bytes(input, count).ok_or(BlockDecodeError::Coinbase)
        };
        let start = *input;
        bytes(input, COINBASE_HEAD.len())?;
        let script_len = usize::from(bytes(input, 1)?[0]);
        let script = bytes(input, script_len)?;
        let fixed = SCRIPT_HEAD_BYTES + EXTRANONCE_BYTES;
        if script_len < fixed || script_len > fixed + MAX_TAG_BYTES {
            return Err(fail);
        }
        let height = u32::from_le_bytes(array(&script[1..5]));
        let extranonce = u64::from_le_bytes(array(&script[6..14]));
        let tag = script[fixed..].to_vec();
        bytes(input, 4 + 1)?;
        let value = u64::from_le_bytes(array(bytes(input, 8)?));
        bytes(input, 1 + OUTPUT_HEAD.len())?;
        let payee = PublicKey(array(bytes(input, 32)?));
        let state_root = array(bytes(input, 32)?);
        bytes(input, 4)?;
        let coinbase = Coinbase { height, extranonce, tag, value, payee, state_root };
        // Every fixed byte is checked at once: what decodes must re-encode to the same bytes.
        let used = start.len() - input.len();
        if coinbase.encode() == start[..used] { Ok(coinbase) } else { Err(fail) }
    }
}

/// Why bytes are not a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockDecodeError {
    /// Fewer bytes than a header.
    #[error("block is shorter than a header")]
    Header,
    /// The count is missing, not canonical, zero, or more than the bytes could hold.
    #[error("block's transaction count is malformed")]
    Count,
    /// The coinbase has not the fixed layout.
    #[error("block's coinbase is malformed")]
    Coinbase,
    /// A transaction is malformed.
    #[error("transaction {position} of the block: {fault}")]
    Transaction {
        /// Position, the coinbase not counted.
        position: usize,
        /// What is wrong.
        fault: DecodeError,
    },
    /// Bytes follow the last transaction.
    #[error("{0} bytes follow the block")]
    Trailing(usize),
}

/// A decoded block, not yet checked against any rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The header.
    pub header: Header,
    /// The first transaction.
    pub coinbase: Coinbase,
    /// The others, in order.
    pub transactions: Vec<Arc<Transaction>>,
}

impl Block {
    /// The bytes that are sent and stored.
    pub fn encode(&self) -> Vec<u8> {
        encode(&self.header, &self.coinbase, self.transactions.iter().map(|tx| tx.bytes()))
    }

    /// Reads exactly one block.
    ///
    /// # Errors
    /// When bytes are missing, left over, malformed or not canonical.
    pub fn decode(bytes: &[u8]) -> Result<Block, BlockDecodeError> {
        let mut input = bytes;
        let header = take_bytes(&mut input, HEADER_BYTES).ok_or(BlockDecodeError::Header)?;
        let header = Header::decode(&array(header));
        let count = take_compact_size(&mut input).ok_or(BlockDecodeError::Count)?;
        let others = count.checked_sub(1).ok_or(BlockDecodeError::Count)?;
        if others > input.len() / MIN_TRANSACTION_BYTES {
            return Err(BlockDecodeError::Count);
        }
        let coinbase = Coinbase::take(&mut input)?;
        let mut transactions = Vec::with_capacity(others);
        for position in 0..others {
            let (transaction, rest) = Transaction::take(input)
                .map_err(|fault| BlockDecodeError::Transaction { position, fault })?;
            transactions.push(Arc::new(transaction));
            input = rest;
        }
        if !input.is_empty() {
            return Err(BlockDecodeError::Trailing(input.len()));
        }
        Ok(Block { header, coinbase, transactions })
    }

    /// The transaction ids, coinbase first.
    pub fn txids(&self) -> Vec<Hash> {
        let others = self.transactions.iter().map(|transaction| transaction.txid());
        std::iter::once(self.coinbase.txid()).chain(others).collect()
    }
}

/// One transaction of an [`Assembly`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// One that waited here and was checked before.
    Known(CheckedTransaction),
    /// One that was fetched: its bytes, not checked yet.
    Fetched(Vec<u8>),
}

/// A block put together of transactions that are here and others that were fetched. Whether they
/// are those of the header is yet to be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembly {
    /// The header.
    pub header: Header,
    /// The coinbase's bytes.
    pub coinbase: Vec<u8>,
    /// The transactions after the coinbase, in order.
    pub parts: Vec<Part>,
}

/// A block that passed every rule that needs nothing but the network's parameters
/// ([`crate::rules::isolation`]), with its bytes and hash. Only those rules make one, so only
/// such blocks reach a store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CheckedBlock(pub(crate) Arc<CheckedParts>);

#[derive(Debug)]
pub(crate) struct CheckedParts {
    pub(crate) hash: Hash,
    pub(crate) header: Header,
    pub(crate) coinbase: Coinbase,
    pub(crate) transactions: Vec<CheckedTransaction>,
    pub(crate) bytes: Vec<u8>,
}

impl CheckedBlock {
    /// The block's id.
    pub fn hash(&self) -> Hash {
        self.0.hash
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.0.header
    }

    /// The coinbase.
    pub fn coinbase(&self) -> &Coinbase {
        &self.0.coinbase
    }

    /// The transactions after the coinbase, in order.
    pub fn transactions(&self) -> &[CheckedTransaction] {
        &self.0.transactions
    }

    /// The block's encoding.
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }
}

/// Encodes a block from its parts.
pub(crate) fn encode<'a>(
    header: &Header,
    coinbase: &Coinbase,
    transactions: impl ExactSizeIterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let mut out = header.encode().to_vec();
    put_compact_size(&mut out, transactions.len() + 1);
    out.extend(coinbase.encode());
    transactions.for_each(|bytes| out.extend(bytes));
    out
}

fn take_bytes<'a>(input: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = input.split_at_checked(count)?;
    *input = rest;
    Some(taken)
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the caller took exactly N bytes")
}

/// Bitcoin's CompactSize; counts here stay below 2^32.
fn put_compact_size(out: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).expect("a block holds fewer than 2^32 transactions");
    if let Ok(small) = u8::try_from(count)
        && small < 0xfd
    {
        out.push(small);
    } else if let Ok(medium) = u16::try_from(count) {
        out.push(0xfd);
        out.extend(medium.to_le_bytes());
    } else {
        out.push(0xfe);
        out.extend(count.to_le_bytes());
    }
}

/// Reads a CompactSize below 2^32; `None` if cut short or not the shortest form.
fn take_compact_size(input: &mut &[u8]) -> Option<usize> {
    let (value, least) = match take_bytes(input, 1)?[0] {
        0xfd => (u32::from(u16::from_le_bytes(array(take_bytes(input, 2)?))), 0xfd),
        0xfe => (u32::from_le_bytes(array(take_bytes(input, 4)?)), 0x1_0000),
        0xff => return None,
        small => (u32::from(small), 0),
    };
    if value < least { None } else { usize::try_from(value).ok() }
}

#[cfg(test)]
mod tests;

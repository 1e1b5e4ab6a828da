//! Blocks in compact form: short ids in place of transactions, as in BIP152.

use chain::Hash;
use chain::block::{CheckedBlock, MAX_COINBASE_BYTES};
use chain::header::{HEADER_BYTES, Header};
use chain::params::MAX_BLOCK_BYTES;
use chain::tx::MIN_TRANSACTION_BYTES;
use sha2::{Digest, Sha256};
use siphasher::sip::SipHasher24;

/// Bytes of a [`ShortId`].
pub const SHORT_ID_BYTES: usize = 6;
/// Most short ids in a compact block: as many as the largest block has transactions.
pub const MAX_SHORT_IDS: usize = MAX_BLOCK_BYTES as usize / MIN_TRANSACTION_BYTES;
/// Salt, and the coinbase's length.
const FIXED_BYTES: usize = HEADER_BYTES + 8 + 2;
/// The most bytes a compact block can have.
pub(super) const MAX_COMPACT_BYTES: usize =
    FIXED_BYTES + MAX_COINBASE_BYTES + MAX_SHORT_IDS * SHORT_ID_BYTES;

/// What stands for a transaction in a [`CompactBlock`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortId(pub [u8; SHORT_ID_BYTES]);

/// Makes the short ids of one compact block: SipHash-2-4 of the transaction id, less its two most
/// significant bytes. The key is the first half of SHA-256 over header and salt, so nobody can
/// prepare transactions whose short ids collide before the block is there, nor for all nodes.
#[derive(Clone, Copy, Debug)]
pub struct ShortIds(SipHasher24);

impl ShortIds {
    /// For the compact blocks with this header and salt.
    pub fn new(header: &Header, salt: u64) -> ShortIds {
        let mut hasher = Sha256::new();
        hasher.update(header.encode());
        hasher.update(salt.to_le_bytes());
        let digest: [u8; 32] = hasher.finalize().into();
        let (key, _) = digest.split_first_chunk::<16>().expect("32 bytes are more than 16");
        ShortIds(SipHasher24::new_with_key(key))
    }

    /// The short id of a transaction.
    pub fn of(&self, txid: &Hash) -> ShortId {
        let hash = self.0.hash(&txid.0).to_le_bytes();
        ShortId(*hash.first_chunk().expect("eight bytes are more than six"))
    }
}

/// A block whose transactions are named by short ids; the coinbase, which nobody can have, is
/// whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactBlock {
    /// The header.
    pub header: Header,
    /// Drawn by the sender; salts the short ids.
    pub salt: u64,
    /// The coinbase's bytes, at most [`MAX_COINBASE_BYTES`].
    pub coinbase: Vec<u8>,
    /// The transactions after the coinbase, in order, at most [`MAX_SHORT_IDS`].
    pub ids: Vec<ShortId>,
}

impl CompactBlock {
    /// The compact form of a block.
    pub fn of(block: &CheckedBlock, salt: u64) -> CompactBlock {
        let header = *block.header();
        let short = ShortIds::new(&header, salt);
        let ids = block.transactions().iter().map(|item| short.of(&item.txid())).collect();
        CompactBlock { header, salt, coinbase: block.coinbase().encode(), ids }
    }

    /// Appends the bytes to `out`.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.header.encode());
        out.extend(self.salt.to_le_bytes());
        let length = u16::try_from(self.coinbase.len()).expect("coinbases are short");
        out.extend(length.to_le_bytes());
        out.extend(&self.coinbase);
        self.ids.iter().for_each(|id| out.extend(id.0));
    }

    /// Reads what [`CompactBlock::encode`] wrote; `None` for anything else. The caller has capped
    /// the bytes.
    pub(super) fn decode(body: &[u8]) -> Option<CompactBlock> {
        let (header, rest) = body.split_first_chunk::<HEADER_BYTES>()?;
        let (salt, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = usize::from(u16::from_le_bytes(*length));
        let (coinbase, rest) = rest.split_at_checked(length)?;
        let (ids, rest) = rest.as_chunks::<SHORT_ID_BYTES>();
        if length > MAX_COINBASE_BYTES || ids.len() > MAX_SHORT_IDS || !rest.is_empty() {
            return None;
        }
        Some(CompactBlock {
            header: Header::decode(header),
            salt: u64::from_le_bytes(*salt),
            coinbase: coinbase.to_vec(),
            ids: ids.iter().map(|id| ShortId(*id)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with a separate implementation of BIP152's definition, from scratch.
    #[test]
    fn short_ids_are_those_of_bip152() {
        let header = Header::decode(&std::array::from_fn(|at| u8::try_from(at).unwrap()));
        let short = ShortIds::new(&header, 0x0123_4567_89ab_cdef);
        let falling: [u8; 32] = std::array::from_fn(|at| 31 - u8::try_from(at).unwrap());
        let ids = [[0; 32], [0xff; 32], falling].map(|txid| short.of(&Hash(txid)).0);
        let expected = [
            [0x88, 0x82, 0x75, 0x2a, 0xd6, 0xc0],
            [0x4d, 0x95, 0x24, 0x26, 0x56, 0xd1],
            [0x02, 0xe2, 0x85, 0xc1, 0x15, 0x4f],
        ];
        assert_eq!(ids, expected);
        assert_ne!(ShortIds::new(&header, 1).of(&Hash::ZERO).0, ids[0], "the salt matters");
    }
}

//! The 80-byte header: Bitcoin's, bit for bit, so that any miner made for Bitcoin can mine it.

use miner::{CompactTarget, Hash, sha256d};

/// Bytes of an encoded header.
pub const HEADER_BYTES: usize = 80;

/// The version bits that mean something: the top three and the reserved low five.
pub const VERSION_FIXED_MASK: u32 = 0xe000_001f;

/// What the bits under [`VERSION_FIXED_MASK`] must be.
pub const VERSION_FIXED: u32 = 0x2000_0000;

/// The version bits miners may roll (BIP 320): 13 to 28.
pub const VERSION_ROLL_MASK: u32 = 0x1fff_e000;

const _: () = assert!(VERSION_FIXED_MASK & VERSION_ROLL_MASK == 0);

/// A block header. Hashes are in internal byte order; integers are little-endian on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Version bits, see [`VERSION_FIXED_MASK`].
    pub version: u32,
    /// Hash of the previous header.
    pub prev: Hash,
    /// Merkle root over the transaction ids, coinbase first.
    pub merkle_root: Hash,
    /// Seconds since the Unix epoch.
    pub time: u32,
    /// The target, in compact form.
    pub bits: CompactTarget,
    /// What miners roll first.
    pub nonce: u32,
}

impl Header {
    /// The 80 bytes that are hashed and sent.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[0..4].copy_from_slice(&self.version.to_le_bytes());
        out[4..36].copy_from_slice(&self.prev.0);
        out[36..68].copy_from_slice(&self.merkle_root.0);
        out[68..72].copy_from_slice(&self.time.to_le_bytes());
        out[72..76].copy_from_slice(&self.bits.0.to_le_bytes());
        out[76..80].copy_from_slice(&self.nonce.to_le_bytes());
        out
    }

    /// Reads 80 bytes; every 80 bytes are some header.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Header {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let hash = |at: usize| {
            let mut out = [0; 32];
            out.copy_from_slice(&bytes[at..at + 32]);
            Hash(out)
        };
        Header {
            version: word(0),
            prev: hash(4),
            merkle_root: hash(36),
            time: word(68),
            bits: CompactTarget(word(72)),
            nonce: word(76),
        }
    }

    /// The block's id: double SHA-256 of the 80 bytes.
    pub fn hash(&self) -> Hash {
        sha256d(&self.encode())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitcoin_genesis_header_has_its_known_hash() {
        let header = Header {
            version: 1,
            prev: Hash::ZERO,
            merkle_root: "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"
                .parse()
                .unwrap(),
            time: 1_231_006_505,
            bits: CompactTarget(0x1d00_ffff),
            nonce: 2_083_236_893,
        };
        assert_eq!(
            header.hash().to_string(),
            "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
        );
        assert_eq!(Header::decode(&header.encode()), header);
    }
}

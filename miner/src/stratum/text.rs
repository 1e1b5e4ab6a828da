//! Bytes and numbers as Stratum writes them.

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};

use crate::pow::Hash;

/// Bytes as lower-case hex, in order.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// The bytes of hex digits of either case; `None` when there are others or an odd number.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()
}

/// A version, a time, bits or a nonce: the value in 8 hex digits.
#[must_use]
pub fn hex_u32(value: u32) -> String {
    format!("{value:08x}")
}

/// The value of exactly 8 hex digits.
#[must_use]
pub fn unhex_u32(text: &str) -> Option<u32> {
    Some(u32::from_be_bytes(unhex(text)?.try_into().ok()?))
}

/// A previous hash as `mining.notify` has it: internal order, each 4-byte word reversed.
#[must_use]
pub fn hex_prev(hash: &Hash) -> String {
    hex(&swap_words(hash.0))
}

/// The previous hash of a `mining.notify`.
#[must_use]
pub fn unhex_prev(text: &str) -> Option<Hash> {
    Some(Hash(swap_words(unhex(text)?.try_into().ok()?)))
}

/// A hash of a merkle branch: internal order.
#[must_use]
pub fn unhex_hash(text: &str) -> Option<Hash> {
    Some(Hash(unhex(text)?.try_into().ok()?))
}

fn swap_words(mut bytes: [u8; 32]) -> [u8; 32] {
    bytes.chunks_exact_mut(4).for_each(<[u8]>::reverse);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_eight_digits() {
        assert_eq!(hex_u32(0x1e00_ffff), "1e00ffff");
        assert_eq!(unhex_u32("1e00ffff"), Some(0x1e00_ffff));
        assert_eq!(unhex_u32("1E00FFFF"), Some(0x1e00_ffff));
        for wrong in ["", "1e00fff", "1e00ffff0", "0x1e00ff", "1e00fffg", "-1e00fff", "é00000"] {
            assert_eq!(unhex_u32(wrong), None, "{wrong}");
        }
    }

    /// A header's previous hash and its text, from a dialogue with minerd.
    #[test]
    fn a_previous_hash_has_its_words_reversed() {
        let text = "0c63863b3e66db78399bb296ae0e63acaf0814df299b5e8a59b62c66650d0e83";
        let internal = "3b86630c78db663e96b29b39ac630eaedf1408af8a5e9b29662cb659830e0d65";
        let hash = unhex_prev(text).unwrap();
        assert_eq!(hex(&hash.0), internal);
        assert_eq!(hex_prev(&hash), text);
        assert_eq!(unhex_prev("00"), None);
    }
}

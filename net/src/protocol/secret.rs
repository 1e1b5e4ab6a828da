//! A secret that makes choices nobody else can foresee, and that stay the same.

use std::fmt;

use chain::sha256d;

/// 256 secret bits. Numbers drawn with it look random to whoever does not know it.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) [u8; 32]);

impl Secret {
    /// A number below `below` that depends on the secret, the purpose and all parts.
    pub(crate) fn number(&self, purpose: &str, parts: &[&[u8]], below: u64) -> u64 {
        let mut bytes = Vec::with_capacity(96);
        bytes.extend(self.0);
        for part in std::iter::once(purpose.as_bytes()).chain(parts.iter().copied()) {
            let length = u8::try_from(part.len()).expect("parts are a few bytes");
            bytes.push(length);
            bytes.extend(part);
        }
        let hash = sha256d(&bytes).0;
        let first = hash.first_chunk::<8>().expect("a hash has 32 bytes");
        u64::from_le_bytes(*first) % below
    }
}

/// Shows nothing of it.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_depend_on_everything_and_on_nothing_else() {
        let number = |secret, purpose, parts: &[&[u8]]| {
            Secret([secret; 32]).number(purpose, parts, u64::MAX)
        };
        let one = number(1, "a", &[b"bc", b"d"]);
        assert_eq!(one, number(1, "a", &[b"bc", b"d"]));
        for other in [
            number(2, "a", &[b"bc", b"d"]),
            number(1, "b", &[b"bc", b"d"]),
            number(1, "a", &[b"b", b"cd"]),
            number(1, "ab", &[b"c", b"d"]),
            number(1, "a", &[b"bc"]),
        ] {
            assert_ne!(one, other);
        }
        assert!((0..100).all(|secret| Secret([secret; 32]).number("x", &[], 7) < 7));
    }
}

//! Hashes, targets and work: the one definition that mining and verification share.
//!
//! Everything here is a pure function of bytes. The crate's kernels (`kernel.rs`) are faster ways
//! to reach the same answers and are tested against this module. It knows no headers and no blocks.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;

use data_encoding::HEXLOWER;
use ruint::aliases::U256;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

#[cfg(test)]
mod tests;

/// The result of SHA-256 applied twice, in internal byte order (the order SHA-256 emits).
///
/// People see it reversed, as Bitcoin prints it: `Display`, `Debug` and `FromStr` use 64 hex
/// digits of the bytes from last to first, so that leading zeros show the work. `Ord` compares
/// the internal bytes and is only good for sorting; to compare with a target use
/// [`Target::is_met_by`].
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The hash of nothing: the predecessor that a genesis header names.
    pub const ZERO: Self = Self([0; 32]);

    /// Reads the hash as a little-endian number, the form that is compared with a target.
    #[must_use]
    pub const fn to_uint(self) -> U256 {
        U256::from_le_bytes(self.0)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut bytes, mut digits) = (self.0, [0; 64]);
        bytes.reverse();
        f.write_str(HEXLOWER.encode_mut_str(&bytes, &mut digits))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a hash in display form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseHashError {
    /// The text is not 64 bytes long.
    #[error("a hash has 64 hex digits, got {got} bytes")]
    Length {
        /// Length of the text in bytes.
        got: usize,
    },
    /// A byte of the text is not a hex digit.
    #[error("not a hex digit at byte {at}")]
    Digit {
        /// Offset of the first offending byte.
        at: usize,
    },
}

impl FromStr for Hash {
    type Err = ParseHashError;

    /// Parses the display form: 64 hex digits of either case, last byte first.
    ///
    /// # Errors
    /// [`ParseHashError`] when the length is not 64 or a byte is not a hex digit.
    fn from_str(text: &str) -> Result<Self, ParseHashError> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(ParseHashError::Length { got: digits.len() });
        }
        let mut bytes = [0; 32];
        for (at, &digit) in digits.iter().enumerate() {
            let value = hex_value(digit).ok_or(ParseHashError::Digit { at })?;
            let byte = &mut bytes[31 - at / 2];
            *byte = *byte << 4 | value;
        }
        Ok(Self(bytes))
    }
}

const fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Hashes bytes of any length with SHA-256 twice.
///
/// ```
/// let hash = miner::sha256d(b"hello");
/// assert_eq!(
///     hash.to_string(),
///     "503d8319a48348cdc610a582f7bf754b5833df65038606eb48510790dfc99595",
/// );
/// ```
#[must_use]
pub fn sha256d(bytes: &[u8]) -> Hash {
    Hash(Sha256::digest(Sha256::digest(bytes)).into())
}

/// Hashes the 64 bytes `left ‖ right`: an inner node of Bitcoin's merkle tree.
#[must_use]
pub fn sha256d_pair(left: &Hash, right: &Hash) -> Hash {
    let inner = Sha256::new().chain_update(left.0).chain_update(right.0).finalize();
    Hash(Sha256::digest(inner).into())
}

/// A target in the four bytes of a header's `bits` field (Bitcoin's `nBits`).
///
/// The top byte is an exponent `e`, the low 23 bits a mantissa `m`, bit 23 a sign that must be
/// clear; the value is `m * 256^(e - 3)`. `Display` prints eight hex digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CompactTarget(pub u32);

/// Why a header's bits are not the one encoding of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompactError {
    /// The sign bit (bit 23) is set.
    #[error("compact target {0} is negative")]
    Negative(CompactTarget),
    /// The value is zero, which no hash can be expected to meet.
    #[error("compact target {0} is zero")]
    Zero(CompactTarget),
    /// The value does not fit 256 bits.
    #[error("compact target {0} is above 256 bits")]
    Overflow(CompactTarget),
    /// The value has another, canonical encoding.
    #[error("compact target {got} is not canonical, expected {expected}")]
    NotCanonical {
        /// The bits as given.
        got: CompactTarget,
        /// The only bits that may stand for the same target.
        expected: CompactTarget,
    },
}

const COMPACT_SIGN: u32 = 0x0080_0000;
const COMPACT_MANTISSA: u32 = 0x007f_ffff;

impl CompactTarget {
    /// Expands the bits to the target they stand for.
    ///
    /// Stricter than Bitcoin's `SetCompact`: a target has exactly one encoding here, so `decode`
    /// and [`Target::encode`] are inverse on everything this accepts.
    ///
    /// # Errors
    /// [`CompactError`] when the value is negative, zero, above 256 bits or not canonical.
    pub fn decode(self) -> Result<Target, CompactError> {
        let size = self.0 >> 24;
        let mantissa = self.0 & COMPACT_MANTISSA;
        if self.0 & COMPACT_SIGN != 0 {
            return Err(CompactError::Negative(self));
        }
        let value = if size <= 3 {
            U256::from(mantissa >> (8 * (3 - size)))
        } else if mantissa == 0 {
            U256::ZERO
        } else {
            let shift = 8 * (size as usize - 3);
            U256::from(mantissa).checked_shl(shift).ok_or(CompactError::Overflow(self))?
        };
        if value.is_zero() {
            return Err(CompactError::Zero(self));
        }
        let target = Target(value);
        let expected = target.encode();
        if expected != self {
            return Err(CompactError::NotCanonical { got: self, expected });
        }
        Ok(target)
    }
}

impl fmt::Display for CompactTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// The number a header's hash must not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target(U256);

impl Target {
    /// The easiest target: every hash meets it.
    pub const MAX: Self = Self(U256::MAX);

    /// Bitcoin's target of difficulty 1: `0xffff * 2^208`.
    pub const DIFFICULTY_1: Self = Self(U256::from_limbs([0, 0, 0, 0xffff_0000]));

    /// Takes any 256-bit number as a target, also those that have no exact compact form.
    #[must_use]
    pub const fn from_uint(value: U256) -> Self {
        Self(value)
    }

    /// Returns the target as a number.
    #[must_use]
    pub const fn to_uint(self) -> U256 {
        self.0
    }

    /// Encodes to header bits, rounding down to the 15 to 23 leading bits that fit
    /// (Bitcoin's `GetCompact`). A target of zero gives bits that do not decode.
    #[must_use]
    pub fn encode(self) -> CompactTarget {
        let mut size = self.0.bit_len().div_ceil(8);
        let mut mantissa = if size <= 3 {
            self.0.as_limbs()[0] << (8 * (3 - size))
        } else {
            (self.0 >> (8 * (size - 3))).as_limbs()[0]
        };
        if mantissa & u64::from(COMPACT_SIGN) != 0 {
            mantissa >>= 8;
            size += 1;
        }
        let mantissa = u32::try_from(mantissa).expect("three bytes are left of the value");
        let size = u32::try_from(size).expect("256 bits are at most 33 bytes with the sign");
        CompactTarget(size << 24 | mantissa)
    }

    /// Tells whether a header with this hash has enough work: the hash, as a little-endian
    /// number, is at most the target.
    #[must_use]
    pub fn is_met_by(self, hash: &Hash) -> bool {
        hash.to_uint() <= self.0
    }

    /// Returns the expected number of hashes to meet this target: `floor(2^256 / (target + 1))`.
    ///
    /// Target zero, whose work would be 2^256, gives 2^256 - 1.
    #[must_use]
    pub fn work(self) -> Work {
        match self.0.checked_add(U256::ONE) {
            // 2^256 / d = (2^256 - d) / d + 1, and 2^256 - d = !target for d = target + 1.
            Some(divisor) => Work((!self.0 / divisor).saturating_add(U256::ONE)),
            None => Work(U256::ONE),
        }
    }

    /// Returns how many times harder than [`Target::DIFFICULTY_1`] this target is, rounded, for
    /// display only. Target zero gives infinity.
    #[must_use]
    pub fn difficulty(self) -> f64 {
        f64::from(Self::DIFFICULTY_1.0) / f64::from(self.0)
    }
}

/// An amount of expected hashing: of one header, or summed over a chain.
///
/// `+` and `-` saturate at 2^256 - 1 and 0 and never wrap; where a limit would be a fault, use
/// the checked forms. `Display` is decimal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Work(U256);

impl Work {
    /// No work at all: the sum over an empty chain.
    pub const ZERO: Self = Self(U256::ZERO);

    /// Takes a number of hashes.
    #[must_use]
    pub const fn from_uint(hashes: U256) -> Self {
        Self(hashes)
    }

    /// Returns the number of hashes.
    #[must_use]
    pub const fn to_uint(self) -> U256 {
        self.0
    }

    /// Adds, or returns `None` above 2^256 - 1.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// Subtracts, or returns `None` below zero.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// Returns 32 bytes, most significant first, so that stored work sorts by size.
    #[must_use]
    pub const fn to_be_bytes(self) -> [u8; 32] {
        self.0.to_be_bytes()
    }

    /// Reads what [`Work::to_be_bytes`] wrote.
    #[must_use]
    pub const fn from_be_bytes(bytes: [u8; 32]) -> Self {
        Self(U256::from_be_bytes(bytes))
    }
}

impl Add for Work {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Work {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

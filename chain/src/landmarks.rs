//! What is known of a network's chain beforehand: its least work, some of its blocks.
//!
//! This is policy of a release or of an operator and no rule of consensus: the genesis hash does
//! not commit to it, and nodes whose landmarks differ belong to the same network. A landmark can
//! make a node refuse a chain, or spare it work; it never makes a node take what the rules refuse,
//! but for the signatures of blocks that [`Landmarks::assume_valid`] names.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use miner::{Hash, Work};
use ruint::aliases::U256;
use serde::{Deserialize, Serialize};

use crate::rules::RuleError;

/// A block that is on the network's chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its height.
    pub height: u32,
    /// Its hash.
    pub hash: Hash,
}

/// Why a text is no landmark.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LandmarkError {
    /// Not `HEIGHT:HASH`.
    #[error("a checkpoint is HEIGHT:HASH, a hash 64 hex digits")]
    Checkpoint,
    /// Not a number of hashes.
    #[error("work is a decimal number of hashes below 2^256, as `graven status` shows it")]
    Work,
    /// Two different blocks at one height.
    #[error("there are two checkpoints at height {0}")]
    Twice(u32),
}

impl FromStr for Checkpoint {
    type Err = LandmarkError;

    fn from_str(text: &str) -> Result<Checkpoint, LandmarkError> {
        let (height, hash) = text.split_once(':').ok_or(LandmarkError::Checkpoint)?;
        let height = height.parse().map_err(|_| LandmarkError::Checkpoint)?;
        let hash = hash.parse().map_err(|_| LandmarkError::Checkpoint)?;
        Ok(Checkpoint { height, hash })
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.height, self.hash)
    }
}

/// Reads a decimal number of hashes.
///
/// # Errors
/// When it is none.
pub fn parse_work(text: &str) -> Result<Work, LandmarkError> {
    let is_decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_decimal.then(|| U256::from_str_radix(text, 10).ok()).flatten();
    number.map(Work::from_uint).ok_or(LandmarkError::Work)
}

/// What is known beforehand; by default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Landmarks {
    /// The network's chain has at least so much work: chains with less are not kept.
    pub minimum_work: Work,
    /// Blocks that are on the network's chain, by height: chains without them are refused.
    checkpoints: BTreeMap<u32, Hash>,
    /// The signatures of this block and its ancestors are taken for good, once it lies deep enough
    /// below the best header.
    pub assume_valid: Option<Hash>,
}

/// Landmarks in a network file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    minimum_work: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    checkpoints: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    assume_valid: Option<String>,
}

impl Landmarks {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Landmarks::default()
    }

    /// Adds a checkpoint.
    ///
    /// # Errors
    /// When there is another block at its height.
    pub fn add(&mut self, checkpoint: Checkpoint) -> Result<(), LandmarkError> {
        let Checkpoint { height, hash } = checkpoint;
        let known = *self.checkpoints.entry(height).or_insert(hash);
        if known == hash { Ok(()) } else { Err(LandmarkError::Twice(height)) }
    }

    /// The checkpoints, lowest first.
    pub fn checkpoints(&self) -> impl Iterator<Item = Checkpoint> {
        self.checkpoints.iter().map(|(&height, &hash)| Checkpoint { height, hash })
    }

    /// Checks a block against the checkpoints.
    ///
    /// # Errors
    /// [`RuleError::Checkpoint`] when another block must be at its height.
    pub fn check(&self, height: u32, got: &Hash) -> Result<(), RuleError> {
        match self.checkpoints.get(&height) {
            Some(expected) if expected != got => {
                Err(RuleError::Checkpoint { height, got: *got, expected: *expected })
            }
            _ => Ok(()),
        }
    }
}

impl TryFrom<Written> for Landmarks {
    type Error = String;

    fn try_from(written: Written) -> Result<Landmarks, String> {
        let work = written.minimum_work.as_deref().map(parse_work).transpose();
        let hash = written.assume_valid.as_deref().map(str::parse).transpose();
        let mut landmarks = Landmarks {
            minimum_work: work
                .map_err(|error| format!("minimum_work: {error}"))?
                .unwrap_or_default(),
            checkpoints: BTreeMap::new(),
            assume_valid: hash.map_err(|error| format!("assume_valid: {error}"))?,
        };
        for text in &written.checkpoints {
            let read = text.parse::<Checkpoint>();
            let added = read.and_then(|checkpoint| landmarks.add(checkpoint));
            added.map_err(|error| format!("checkpoints: {text:?}: {error}"))?;
        }
        Ok(landmarks)
    }
}

impl From<Landmarks> for Written {
    fn from(landmarks: Landmarks) -> Written {
        let work = landmarks.minimum_work;
        Written {
            minimum_work: (work > Work::ZERO).then(|| work.to_string()),
            checkpoints: landmarks.checkpoints().map(|checkpoint| checkpoint.to_string()).collect(),
            assume_valid: landmarks.assume_valid.map(|hash| hash.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "00000000000000000000000000000000000000000000000000000000000000ff";

    #[test]
    fn landmarks_are_read_as_they_are_written() {
        let checkpoint = format!("7:{HASH}").parse().unwrap();
        let mut landmarks = Landmarks {
            minimum_work: parse_work("340282366920938463463374607431768211456").unwrap(),
            assume_valid: Some(HASH.parse().unwrap()),
            ..Landmarks::default()
        };
        landmarks.add(checkpoint).unwrap();
        let text = toml::to_string(&landmarks).unwrap();
        assert_eq!(toml::from_str::<Landmarks>(&text).unwrap(), landmarks, "{text}");
        assert!(toml::from_str::<Landmarks>("").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_landmark_is_refused() {
        for text in ["", "-1", "1e9", "0x10", " 1", &"9".repeat(90)] {
            assert_eq!(parse_work(text), Err(LandmarkError::Work), "{text:?}");
        }
        for text in ["", "7", HASH, "7:", "7:ff", &format!("-7:{HASH}"), &format!("7:{HASH}0")] {
            assert_eq!(text.parse::<Checkpoint>(), Err(LandmarkError::Checkpoint), "{text:?}");
        }
        for (text, named) in [
            ("minimum_work = \"many\"", "minimum_work"),
            ("checkpoints = [\"x\"]", "checkpoints"),
            ("assume_valid = \"x\"", "assume_valid"),
            ("typo = 1", "typo"),
        ] {
            let error = toml::from_str::<Landmarks>(text).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn at_a_height_there_is_one_block() {
        let mut landmarks = Landmarks::default();
        let (hash, other) = (HASH.parse().unwrap(), Hash([7; 32]));
        landmarks.add(Checkpoint { height: 3, hash }).unwrap();
        landmarks.add(Checkpoint { height: 3, hash }).unwrap();
        let twice = landmarks.add(Checkpoint { height: 3, hash: other });
        assert_eq!(twice, Err(LandmarkError::Twice(3)));
        assert_eq!(landmarks.check(3, &hash), Ok(()));
        assert_eq!(landmarks.check(4, &other), Ok(()));
        let refused = RuleError::Checkpoint { height: 3, got: other, expected: hash };
        assert_eq!(landmarks.check(3, &other), Err(refused));
    }
}

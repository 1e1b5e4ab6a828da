//! Every consensus number, with unit and reason, as data: a [`Network`].
//!
//! The genesis hash commits to all of them, so two nodes that differ in one number are on two
//! networks and notice at the handshake. Beside them a network has what helps a node to find its
//! chain: seeds and landmarks.

use miner::{CompactTarget, Hash, sha256d};
use serde::{Deserialize, Serialize};

use crate::block::{Block, Coinbase};
use crate::header::{Header, VERSION_FIXED};
use crate::landmarks::Landmarks;
use crate::tx::PublicKey;

/// Smallest units in one coin.
pub const COIN: u64 = 100_000_000;

/// Headers whose median time a new header must exceed.
pub const MEDIAN_TIME_SPAN: usize = 11;

/// No network may allow larger blocks, in bytes: block messages are capped by it before
/// anything is allocated.
pub const MAX_BLOCK_BYTES: u32 = 4 * 1024 * 1024;

/// Longest network name, in bytes.
pub const MAX_NAME_BYTES: usize = 32;

/// Encoding version of [`Network`] in the genesis commitment.
const COMMITMENT_CONTEXT: &[u8] = b"graven network 1";

/// How the target follows the hash rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "lowercase", deny_unknown_fields)]
pub enum Retarget {
    /// Every block has the start target.
    Fixed,
    /// aserti3-2d, anchored at the genesis block.
    Asert {
        /// Seconds of lag that halve the difficulty.
        half_life_s: u32,
    },
}

/// Coins created by a block: `initial`, halved every `halving_blocks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subsidy {
    /// Of block 1, in the smallest unit.
    pub initial: u64,
    /// Blocks between halvings; 0 = never.
    pub halving_blocks: u32,
    /// Blocks on top before a reward can be spent.
    pub maturity_blocks: u32,
}

impl Subsidy {
    /// Coins the block at `height` creates. Genesis creates none.
    pub fn at(&self, height: u32) -> u64 {
        if height == 0 {
            return 0;
        }
        let halvings = height.checked_div(self.halving_blocks).unwrap_or(0);
        self.initial.checked_shr(halvings).unwrap_or(0)
    }
}

/// Size limits, in bytes unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Of a value.
    pub value_bytes: u32,
    /// Of an encoded transaction.
    pub transaction_bytes: u32,
    /// Of an encoded block, header included.
    pub block_bytes: u32,
    /// Operations in a transaction (a count).
    pub operations: u32,
}

/// Who may write a key after its first put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyPolicy {
    /// Only the owner: the first writer, or whom it was handed over to.
    Owned,
    /// Anyone.
    Open,
}

/// When miners of this network work. Not a consensus rule, but part of what a network is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mining {
    /// Always.
    Continuous,
    /// Only while transactions wait.
    OnDemand,
}

/// Most seeds a network file may name.
pub const MAX_SEEDS: usize = 64;

/// A network: every parameter two nodes must agree on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// 1 to [`MAX_NAME_BYTES`] of `a-z 0-9 -`.
    pub name: String,
    /// Time of the genesis block, seconds since the Unix epoch.
    pub genesis_time: u32,
    /// Seconds between blocks the retarget rule aims at.
    pub target_interval_s: u32,
    /// The genesis target and the easiest one allowed, in compact form.
    pub start_bits: CompactTarget,
    /// Least fee, in the smallest unit a byte of transaction.
    pub min_fee_per_byte: u64,
    /// How far a header's time may be ahead of the node's clock, in seconds.
    pub future_limit_s: u32,
    /// Policy of a key whose first put names none.
    pub default_policy: KeyPolicy,
    /// When miners work.
    pub mining: Mining,
    /// Peers to begin with, `host:port`. Two nodes need not agree on them: the genesis hash does
    /// not commit to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seeds: Vec<String>,
    /// The target rule.
    pub retarget: Retarget,
    /// Coin creation.
    pub subsidy: Subsidy,
    /// Size limits.
    pub limits: Limits,
    /// What is known of the network's chain. Like the seeds, nothing that nodes must agree on.
    #[serde(default, skip_serializing_if = "Landmarks::is_empty")]
    pub landmarks: Landmarks,
}

/// Limits shared by the built-in networks: 64 KiB values, 256 KiB transactions, 2 MiB blocks.
const STANDARD_LIMITS: Limits = Limits {
    value_bytes: 64 * 1024,
    transaction_bytes: 256 * 1024,
    block_bytes: 2 * 1024 * 1024,
    operations: 1024,
};

/// A difference of one minute of half-life a block interval: see docs/consensus.md, Difficulty.
const HALF_LIFE_INTERVALS: u32 = 60;

/// 2026-11-20 00:00:00 UTC.
const GENESIS_TIME: u32 = 1_795_132_800;

/// Names of the built-in networks.
pub const BUILT_IN: [&str; 3] = ["main", "test", "dev"];

/// Why text is not a network.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// Neither built in nor a readable file.
    #[error("unknown network {0:?}: use main, test, dev or the path of a network file")]
    Unknown(String),
    /// Not TOML of the right shape.
    #[error("network file does not parse: {0}")]
    Parse(#[from] toml::de::Error),
    /// A number that cannot work.
    #[error("network parameter {name} is invalid: {reason}")]
    Invalid {
        /// Which one.
        name: &'static str,
        /// What it must be.
        reason: &'static str,
    },
}

impl Network {
    /// One of [`BUILT_IN`] by name.
    pub fn built_in(name: &str) -> Option<Network> {
        match name {
            "main" => Some(Network::main()),
            "test" => Some(Network::test()),
            "dev" => Some(Network::dev()),
            _ => None,
        }
    }

    /// The public network: 60 s blocks, ASERT, fees.
    pub fn main() -> Network {
        Network {
            name: "main".to_string(),
            genesis_time: GENESIS_TIME,
            target_interval_s: 60,
            // About 2^32 hashes, the classic difficulty 1: a minute at 70 MH/s.
            start_bits: CompactTarget(0x1d00_ffff),
            min_fee_per_byte: 1,
            future_limit_s: 120,
            default_policy: KeyPolicy::Owned,
            mining: Mining::Continuous,
            retarget: Retarget::Asert { half_life_s: 60 * HALF_LIFE_INTERVALS },
            subsidy: Subsidy {
                initial: 50 * COIN,
                halving_blocks: 2_102_400, // four years of minutes
                maturity_blocks: 100,
            },
            limits: STANDARD_LIMITS,
            seeds: Vec::new(),
            landmarks: Landmarks::default(), // each release says what is known by then
        }
    }

    /// As `main`, but it starts at about a second of one core a block.
    pub fn test() -> Network {
        Network {
            name: "test".to_string(),
            start_bits: CompactTarget(0x1e00_ffff), // about 2^24 hashes
            ..Network::main()
        }
    }

    /// For development: fixed trivial difficulty, no fees, miners work only on demand.
    pub fn dev() -> Network {
        Network {
            name: "dev".to_string(),
            target_interval_s: 1,
            // About 2^20 hashes: from a few milliseconds of one core to less than a second.
            start_bits: CompactTarget(0x1e0f_ffff),
            min_fee_per_byte: 0,
            // Blocks can come many a second, each at least one second after the median.
            future_limit_s: 365 * 24 * 3600,
            default_policy: KeyPolicy::Open,
            mining: Mining::OnDemand,
            retarget: Retarget::Fixed,
            subsidy: Subsidy { initial: 50 * COIN, halving_blocks: 0, maturity_blocks: 0 },
            ..Network::main()
        }
    }

    /// Reads a network file.
    ///
    /// # Errors
    /// When it is not TOML of the right shape, or a number cannot work.
    pub fn from_toml(text: &str) -> Result<Network, NetworkError> {
        let network: Network = toml::from_str(text)?;
        network.validate()?;
        Ok(network)
    }

    /// The network as a file that [`Network::from_toml`] reads.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a network has only tables and plain values")
    }

    fn validate(&self) -> Result<(), NetworkError> {
        let valid = |holds: bool, name, reason| {
            if holds { Ok(()) } else { Err(NetworkError::Invalid { name, reason }) }
        };
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let limits = &self.limits;
        valid(
            (1..=MAX_NAME_BYTES).contains(&self.name.len()) && self.name.bytes().all(plain),
            "name",
            "1 to 32 of a-z, 0-9 and -",
        )?;
        valid(!BUILT_IN.contains(&self.name.as_str()), "name", "not that of a built-in network")?;
        valid(self.target_interval_s > 0, "target_interval_s", "at least 1")?;
        valid(self.start_bits.decode().is_ok(), "start_bits", "a canonical compact target")?;
        if let Retarget::Asert { half_life_s } = self.retarget {
            valid(half_life_s > 0, "retarget.half_life_s", "at least 1")?;
        }
        valid(self.seeds.len() <= MAX_SEEDS, "seeds", "at most 64")?;
        valid(self.future_limit_s > 0, "future_limit_s", "at least 1")?;
        valid(limits.operations > 0, "limits.operations", "at least 1")?;
        valid(limits.value_bytes > 0, "limits.value_bytes", "at least 1")?;
        valid(
            limits.transaction_bytes > limits.value_bytes.saturating_add(1024),
            "limits.transaction_bytes",
            "more than value_bytes + 1024, so that every value fits into a transaction",
        )?;
        valid(
            limits.block_bytes > limits.transaction_bytes.saturating_add(2048)
                && limits.block_bytes <= MAX_BLOCK_BYTES,
            "limits.block_bytes",
            "more than transaction_bytes + 2048 and at most 4194304",
        )
    }

    /// Hash of every parameter: what the genesis block commits to.
    pub fn commitment(&self) -> Hash {
        let encoded = postcard::to_stdvec(&self.committed()).expect("encoding cannot fail");
        sha256d(&[COMMITMENT_CONTEXT, &encoded].concat())
    }

    /// The parameters in the order of the commitment. Internally tagged enums do not exist in
    /// postcard, so the retarget rule is given as its half-life, 0 for fixed.
    fn committed(&self) -> impl Serialize + '_ {
        let half_life_s = match self.retarget {
            Retarget::Fixed => 0,
            Retarget::Asert { half_life_s } => half_life_s,
        };
        (
            (&self.name, self.genesis_time, self.target_interval_s, self.start_bits),
            (self.min_fee_per_byte, self.future_limit_s, self.default_policy, self.mining),
            (half_life_s, self.subsidy, self.limits),
        )
    }

    /// The genesis block. It follows from the parameters, so it needs no proof of work.
    pub fn genesis(&self) -> Block {
        let coinbase = Coinbase {
            height: 0,
            extranonce: 0,
            tag: self.commitment().0.to_vec(),
            value: 0,
            payee: PublicKey::default(),
            state_root: [0; 32],
        };
        let header = Header {
            version: VERSION_FIXED,
            prev: Hash::ZERO,
            merkle_root: coinbase.txid(),
            time: self.genesis_time,
            bits: self.start_bits,
            nonce: 0,
        };
        Block { header, coinbase, transactions: Vec::new() }
    }

    /// The genesis block's hash: the network's name on the wire and in signatures.
    pub fn genesis_hash(&self) -> Hash {
        self.genesis().header.hash()
    }

    /// Least fee of a transaction of so many bytes.
    pub fn min_fee(&self, transaction_bytes: usize) -> u64 {
        self.min_fee_per_byte.saturating_mul(transaction_bytes as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_networks_are_sound_and_differ() {
        let mut hashes: Vec<Hash> = BUILT_IN
            .iter()
            .map(|name| {
                let network = Network::built_in(name).unwrap();
                let custom = Network { name: format!("x-{name}"), ..network.clone() };
                custom.validate().unwrap();
                network.genesis_hash()
            })
            .collect();
        hashes.sort();
        hashes.dedup();
        assert_eq!(hashes.len(), BUILT_IN.len());
    }

    #[test]
    fn every_parameter_changes_the_genesis_hash() {
        let base = Network::main();
        let text = base.to_toml();
        let base_hash = base.genesis_hash();
        for (from, to) in [
            ("name = \"main\"", "name = \"niam\""),
            ("genesis_time = 1", "genesis_time = 2"),
            ("target_interval_s = 60", "target_interval_s = 61"),
            ("start_bits = 486604799", "start_bits = 486604798"),
            ("min_fee_per_byte = 1", "min_fee_per_byte = 2"),
            ("future_limit_s = 120", "future_limit_s = 121"),
            ("default_policy = \"owned\"", "default_policy = \"open\""),
            ("mining = \"continuous\"", "mining = \"on-demand\""),
            ("half_life_s = 3600", "half_life_s = 3601"),
            ("initial = 5000000000", "initial = 5000000001"),
            ("halving_blocks = 2102400", "halving_blocks = 2102401"),
            ("maturity_blocks = 100", "maturity_blocks = 101"),
            ("value_bytes = 65536", "value_bytes = 65537"),
            ("transaction_bytes = 262144", "transaction_bytes = 262145"),
            ("block_bytes = 2097152", "block_bytes = 2097153"),
            ("operations = 1024", "operations = 1025"),
        ] {
            assert!(text.contains(from), "{from} in\n{text}");
            let changed: Network = toml::from_str(&text.replacen(from, to, 1)).unwrap();
            assert_ne!(changed.genesis_hash(), base_hash, "{from} -> {to}");
        }
    }

    #[test]
    fn subsidy_halves_and_ends() {
        let subsidy = Subsidy { initial: 8, halving_blocks: 10, maturity_blocks: 0 };
        let at = |height| subsidy.at(height);
        assert_eq!((at(0), at(1), at(9), at(10), at(20), at(30), at(40)), (0, 8, 8, 4, 2, 1, 0));
        assert_eq!(at(u32::MAX), 0);
        let constant = Subsidy { halving_blocks: 0, ..subsidy };
        assert_eq!(constant.at(u32::MAX), 8);
    }

    #[test]
    fn impossible_networks_are_refused_by_name() {
        let text = Network { name: "mine".to_string(), ..Network::dev() }.to_toml();
        for (from, to, name) in [
            ("name = \"mine\"", "name = \"Mine\"", "name"),
            ("name = \"mine\"", "name = \"main\"", "name"),
            ("target_interval_s = 1", "target_interval_s = 0", "target_interval_s"),
            ("block_bytes = 2097152", "block_bytes = 8388608", "limits.block_bytes"),
            ("block_bytes = 2097152", "block_bytes = 1000", "limits.block_bytes"),
        ] {
            let error = Network::from_toml(&text.replacen(from, to, 1)).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
        let seeds = "seeds = [\"seed.example:7400\"]\n";
        let seeded = Network::from_toml(&format!("{seeds}{text}")).unwrap();
        assert_eq!(seeded.genesis_hash(), Network::from_toml(&text).unwrap().genesis_hash());
        assert!(seeded.to_toml().contains(seeds.trim_end()));
        let known = format!("{text}\n[landmarks]\nminimum_work = \"12\"\n");
        let known = Network::from_toml(&known).unwrap();
        assert_eq!(known.genesis_hash(), seeded.genesis_hash(), "they are no parameters");
        assert_eq!(Network::from_toml(&known.to_toml()).unwrap(), known);
        let unknown = format!("typo = 1\n{text}");
        assert!(matches!(Network::from_toml(&unknown), Err(NetworkError::Parse(_))));
    }
}

//! The consensus rules: free functions over borrowed data that read as claims, in the order of
//! what they need. [`isolation`] needs nothing but the parameters and runs in parallel,
//! [`context`] needs the ancestors, in order; what needs the state is the state machine's.

pub mod context;
pub mod difficulty;
pub mod isolation;
pub mod merkle;

use miner::{CompactTarget, Hash};

use crate::block::BlockDecodeError;
use crate::execute::TransactionFault;
use crate::tx::DecodeError;

/// A broken consensus rule, with what was found and what was expected. One variant a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// The fixed version bits differ.
    #[error("header version {got:08x}: bits under e000001f must be 20000000")]
    HeaderVersion {
        /// In the header.
        got: u32,
    },
    /// The compact target does not decode, or is easier than the network allows.
    #[error("header bits {got} are no allowed target")]
    BadTarget {
        /// In the header.
        got: CompactTarget,
    },
    /// The hash is above the target.
    #[error("header hash {hash} does not meet its target {bits}")]
    NotEnoughWork {
        /// Of the header.
        hash: Hash,
        /// In the header.
        bits: CompactTarget,
    },
    /// The retarget rule asks for another target.
    #[error("header bits {got}, the retarget rule asks for {expected}")]
    WrongTarget {
        /// In the header.
        got: CompactTarget,
        /// By the rule.
        expected: CompactTarget,
    },
    /// Not after the median of the headers before.
    #[error("header time {got} is not above the median time {median}")]
    TimeTooOld {
        /// In the header.
        got: u32,
        /// Of the last eleven headers.
        median: u32,
    },
    /// Too far ahead of the clock. Never held against a peer.
    #[error("header time {got} is more than {limit_s} s ahead of the clock {now}")]
    TimeTooNew {
        /// In the header.
        got: u32,
        /// The node's clock.
        now: u64,
        /// The network's limit.
        limit_s: u32,
    },
    /// Another block than a checkpoint's. No rule of consensus, and never held against a peer.
    #[error("block {got} at height {height}, the checkpoint there is {expected}")]
    Checkpoint {
        /// Where.
        height: u32,
        /// The block.
        got: Hash,
        /// The checkpoint.
        expected: Hash,
    },
    /// A header does not follow the one before it in the same message.
    #[error("headers are not linked: {got} follows {expected}")]
    NotLinked {
        /// The header's parent.
        got: Hash,
        /// The header before it.
        expected: Hash,
    },
    /// The parent is known to be invalid.
    #[error("block {hash} descends from an invalid block")]
    InvalidAncestor {
        /// The first header below the invalid block.
        hash: Hash,
    },
    /// The encoded block exceeds the network's limit.
    #[error("block has {got} bytes, the limit is {limit}")]
    BlockTooLarge {
        /// Bytes.
        got: usize,
        /// Bytes.
        limit: u32,
    },
    /// The bytes are no block.
    #[error(transparent)]
    BlockMalformed(#[from] BlockDecodeError),
    /// Two equal neighbours in the merkle tree hide a second block behind the same root.
    #[error("two neighbours in the merkle tree are equal")]
    MerkleMutated,
    /// The root in the header is not that of the transactions.
    #[error("merkle root {got}, the transactions give {expected}")]
    MerkleRoot {
        /// In the header.
        got: Hash,
        /// Of the transactions.
        expected: Hash,
    },
    /// A transaction of 64 bytes could be taken for an inner node of the merkle tree.
    #[error("a transaction has exactly 64 bytes")]
    TransactionOf64Bytes,
    /// The coinbase names another height.
    #[error("coinbase height {got}, the block's is {expected}")]
    CoinbaseHeight {
        /// In the coinbase.
        got: u32,
        /// By its ancestors.
        expected: u32,
    },
    /// The coinbase pays another sum than subsidy and fees.
    #[error("coinbase pays {got}, subsidy and fees are {expected}")]
    CoinbaseValue {
        /// In the coinbase.
        got: u64,
        /// Subsidy and fees.
        expected: u64,
    },
    /// The coinbase commits to another state.
    #[error("coinbase commits to another state root than execution gives")]
    StateRoot,
    /// The fees add up to more than 64 bits.
    #[error("the block's fees overflow")]
    FeesOverflow,
    /// A transaction of the block cannot stand at its place.
    #[error("transaction {position}: {fault}")]
    Transaction {
        /// Position, the coinbase not counted.
        position: usize,
        /// The broken rule.
        fault: TransactionFault,
    },
    /// The bytes are no transaction.
    #[error(transparent)]
    TransactionMalformed(#[from] DecodeError),
    /// An unknown transaction version.
    #[error("transaction version {got}, only 1 is known")]
    TransactionVersion {
        /// In the transaction.
        got: u8,
    },
    /// The encoded transaction exceeds the network's limit.
    #[error("transaction has {got} bytes, the limit is {limit}")]
    TransactionTooLarge {
        /// Bytes.
        got: usize,
        /// Bytes.
        limit: u32,
    },
    /// No operation, or more than the network's limit.
    #[error("transaction has {got} operations, 1 to {limit} are allowed")]
    OperationCount {
        /// In the transaction.
        got: usize,
        /// The network's limit.
        limit: u32,
    },
    /// Less than the least fee.
    #[error("fee {got} is below the least fee {least}")]
    FeeTooLow {
        /// In the transaction.
        got: u64,
        /// For its size.
        least: u64,
    },
    /// The state machine does not know what to make of an operation.
    #[error("operation refused: {0}")]
    Operation(String),
    /// The signature is not the signer's.
    #[error("signature does not verify for this network and signer")]
    Signature,
}

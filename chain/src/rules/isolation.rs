//! Rules that need nothing but the network's parameters. They run in parallel, and only they
//! make [`CheckedTransaction`]s and [`CheckedBlock`]s.

use std::sync::Arc;

use ed25519_zebra::{Signature, VerificationKey};
use miner::Hash;
use rayon::prelude::*;

use super::{RuleError, merkle};
use crate::block::{Assembly, Block, CheckedBlock, CheckedParts, Coinbase, Part};
use crate::execute::StateMachine;
use crate::header::{Header, VERSION_FIXED, VERSION_FIXED_MASK};
use crate::params::Network;
use crate::tx::{CheckedTransaction, TRANSACTION_VERSION, Transaction};

/// Size of a transaction that could pass for a merkle node.
const MERKLE_NODE_BYTES: usize = 64;

/// Checks a header alone.
///
/// # Errors
/// The first broken rule.
pub fn check_header(network: &Network, header: &Header) -> Result<(), RuleError> {
    version_is_allowed(header)?;
    hash_meets_target(network, header)
}

/// A header that passed the rules that need nothing but the parameters, with its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedHeader {
    header: Header,
    hash: Hash,
}

impl CheckedHeader {
    /// Of a block that was checked.
    pub(crate) fn of(block: &CheckedBlock) -> CheckedHeader {
        CheckedHeader { header: *block.header(), hash: block.hash() }
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Its hash.
    pub fn hash(&self) -> Hash {
        self.hash
    }
}

/// Checks headers that must be linked, ascending, in parallel.
///
/// # Errors
/// The first broken rule.
pub fn check_headers(
    network: &Network,
    headers: &[Header],
) -> Result<Vec<CheckedHeader>, RuleError> {
    let checked: Vec<CheckedHeader> = headers
        .par_iter()
        .map(|header| {
            check_header(network, header)
                .map(|()| CheckedHeader { header: *header, hash: header.hash() })
        })
        .collect::<Result<_, _>>()?;
    match checked.windows(2).find(|pair| pair[1].header.prev != pair[0].hash) {
        None => Ok(checked),
        Some(pair) => {
            let (got, expected) = (pair[1].header.prev, pair[0].hash);
            Err(RuleError::NotLinked { got, expected })
        }
    }
}

/// # Consensus
/// `version & 0xe000001f` is `0x20000000`; bits 5 to 28 mean nothing.
fn version_is_allowed(header: &Header) -> Result<(), RuleError> {
    if header.version & VERSION_FIXED_MASK == VERSION_FIXED {
        return Ok(());
    }
    Err(RuleError::HeaderVersion { got: header.version })
}

/// # Consensus
/// `bits` decodes to a target no easier than the network's start, and the hash is at most it.
fn hash_meets_target(network: &Network, header: &Header) -> Result<(), RuleError> {
    let limit = network.start_bits.decode().expect("networks are validated when made");
    let target = header
        .bits
        .decode()
        .ok()
        .filter(|target| target.to_uint() <= limit.to_uint())
        .ok_or(RuleError::BadTarget { got: header.bits })?;
    let hash = header.hash();
    if target.is_met_by(&hash) {
        return Ok(());
    }
    Err(RuleError::NotEnoughWork { hash, bits: header.bits })
}

/// Checks a transaction alone, its signature included.
///
/// # Errors
/// The first broken rule.
pub fn check_transaction(
    network: &Network,
    genesis: &Hash,
    machine: &dyn StateMachine,
    transaction: Transaction,
) -> Result<CheckedTransaction, RuleError> {
    check_form(network, machine, &transaction)?;
    signature_verifies(genesis, &transaction)?;
    Ok(CheckedTransaction(Arc::new(transaction)))
}

/// A transaction that this node has just signed and whose form it has checked.
pub(crate) fn own_transaction(transaction: Transaction) -> CheckedTransaction {
    CheckedTransaction(Arc::new(transaction))
}

/// Every rule of [`check_transaction`] but the signature, which can be checked in batches.
pub(crate) fn check_form(
    network: &Network,
    machine: &dyn StateMachine,
    transaction: &Transaction,
) -> Result<(), RuleError> {
    if transaction.version != TRANSACTION_VERSION {
        return Err(RuleError::TransactionVersion { got: transaction.version });
    }
    let got = transaction.bytes().len();
    let limit = network.limits.transaction_bytes;
    if got > limit as usize {
        return Err(RuleError::TransactionTooLarge { got, limit });
    }
    transaction_is_not_a_merkle_node(got)?;
    operation_count_is_allowed(network, transaction)?;
    fee_is_enough(network, transaction)?;
    machine.check(network, transaction).map_err(RuleError::Operation)
}

/// # Consensus
/// No transaction has exactly 64 bytes (leaf and node of the merkle tree would be confusable).
fn transaction_is_not_a_merkle_node(bytes: usize) -> Result<(), RuleError> {
    if bytes == MERKLE_NODE_BYTES { Err(RuleError::TransactionOf64Bytes) } else { Ok(()) }
}

/// # Consensus
/// One operation at least, the network's limit at most.
fn operation_count_is_allowed(network: &Network, tx: &Transaction) -> Result<(), RuleError> {
    let (got, limit) = (tx.operations.len(), network.limits.operations);
    if (1..=limit as usize).contains(&got) {
        return Ok(());
    }
    Err(RuleError::OperationCount { got, limit })
}

/// # Consensus
/// The fee is at least the network's price for every byte.
fn fee_is_enough(network: &Network, transaction: &Transaction) -> Result<(), RuleError> {
    let least = network.min_fee(transaction.bytes().len());
    if transaction.fee >= least {
        return Ok(());
    }
    Err(RuleError::FeeTooLow { got: transaction.fee, least })
}

/// # Consensus
/// Ed25519 after ZIP 215, over context string, genesis hash and every other field.
pub(crate) fn signature_verifies(
    genesis: &Hash,
    transaction: &Transaction,
) -> Result<(), RuleError> {
    let signature = Signature::from_bytes(&transaction.signature().to_bytes());
    VerificationKey::try_from(transaction.signer.0)
        .and_then(|key| key.verify(&signature, &transaction.signing_message(genesis)))
        .map_err(|_| RuleError::Signature)
}

/// Why bytes are not a valid block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockFault {
    /// The broken rule.
    pub error: RuleError,
    /// The block's hash, if it commits to what is wrong: then no other body can make the header
    /// right. Of a body that does not belong to the header nothing follows for the header.
    pub condemned: Option<Hash>,
}

impl From<RuleError> for BlockFault {
    fn from(error: RuleError) -> BlockFault {
        BlockFault { error, condemned: None }
    }
}

/// A block that passed every rule but those of its transactions, one by one. Many blocks can have
/// these checked together.
pub(crate) struct OpenBlock {
    header: Header,
    coinbase: Coinbase,
    transactions: Vec<Arc<Transaction>>,
    bytes: Vec<u8>,
}

/// Checks a block alone, but for its transactions.
///
/// # Errors
/// The first broken rule.
pub(crate) fn open_block(network: &Network, bytes: Vec<u8>) -> Result<OpenBlock, BlockFault> {
    size_is_allowed(network, bytes.len())?;
    let block = Block::decode(&bytes).map_err(RuleError::from)?;
    check_header(network, &block.header)?;
    transaction_is_not_a_merkle_node(block.coinbase.encode().len())?;
    merkle_root_matches(&block.header, &block.txids())?;
    let Block { header, coinbase, transactions } = block;
    Ok(OpenBlock { header, coinbase, transactions, bytes })
}

impl OpenBlock {
    /// Its hash.
    pub(crate) fn hash(&self) -> Hash {
        self.header.hash()
    }

    /// What is still to be checked.
    pub(crate) fn transactions(&self) -> &[Arc<Transaction>] {
        &self.transactions
    }

    /// Joins it with its checked transactions, in order.
    ///
    /// # Errors
    /// What is wrong with the first that is wrong.
    pub(crate) fn close(
        self,
        transactions: impl IntoIterator<Item = Result<CheckedTransaction, RuleError>>,
    ) -> Result<CheckedBlock, BlockFault> {
        let condemned = Some(self.header.hash());
        let transactions: Vec<CheckedTransaction> = transactions
            .into_iter()
            .collect::<Result<_, _>>()
            .map_err(|error| BlockFault { error, condemned })?;
        assert!(transactions.len() == self.transactions.len(), "one check for each");
        Ok(checked(self.header, self.coinbase, transactions, self.bytes))
    }
}

/// Checks a block that was put together here. Transactions that were checked before are not
/// checked again: their type is the proof. `check` checks the others, in order.
///
/// # Errors
/// The first broken rule. [`RuleError::MerkleRoot`] and [`RuleError::MerkleMutated`] mean no more
/// than that these are not the transactions of the header.
pub(crate) fn check_assembly_with(
    network: &Network,
    assembly: Assembly,
    check: impl FnOnce(Vec<Arc<Transaction>>) -> Result<Vec<CheckedTransaction>, RuleError>,
) -> Result<CheckedBlock, BlockFault> {
    let Assembly { header, coinbase, parts } = assembly;
    check_header(network, &header)?;
    let coinbase = Coinbase::decode(&coinbase).map_err(RuleError::from)?;
    transaction_is_not_a_merkle_node(coinbase.encode().len())?;
    let fetched = decode_fetched(&parts)?;
    let mut rest = fetched.iter();
    let others = parts.iter().map(|part| match part {
        Part::Known(transaction) => transaction.txid(),
        Part::Fetched(_) => rest.next().expect("one decoded for each fetched").txid(),
    });
    let txids: Vec<Hash> = std::iter::once(coinbase.txid()).chain(others).collect();
    merkle_root_matches(&header, &txids)?;
    // From here on the header commits to all there is.
    let condemned = Some(header.hash());
    let condemn = |error| BlockFault { error, condemned };
    let mut checked_now = check(fetched).map_err(condemn)?.into_iter();
    let transactions: Vec<CheckedTransaction> = parts
        .into_iter()
        .map(|part| match part {
            Part::Known(transaction) => transaction,
            Part::Fetched(_) => checked_now.next().expect("one check for each fetched"),
        })
        .collect();
    let bytes =
        crate::block::encode(&header, &coinbase, transactions.iter().map(|item| item.bytes()));
    size_is_allowed(network, bytes.len()).map_err(condemn)?;
    Ok(checked(header, coinbase, transactions, bytes))
}

fn decode_fetched(parts: &[Part]) -> Result<Vec<Arc<Transaction>>, RuleError> {
    let fetched = parts.iter().filter_map(|part| match part {
        Part::Known(_) => None,
        Part::Fetched(bytes) => Some(bytes),
    });
    fetched.map(|bytes| Ok(Arc::new(Transaction::decode(bytes)?))).collect()
}

/// # Consensus
/// The encoded block is within the network's limit.
fn size_is_allowed(network: &Network, got: usize) -> Result<(), RuleError> {
    let limit = network.limits.block_bytes;
    if got <= limit as usize { Ok(()) } else { Err(RuleError::BlockTooLarge { got, limit }) }
}

/// # Consensus
/// The header's merkle root is that of the transactions, and no neighbours in the tree are equal.
fn merkle_root_matches(header: &Header, txids: &[Hash]) -> Result<(), RuleError> {
    let expected = merkle::root(txids)?;
    let got = header.merkle_root;
    if got == expected { Ok(()) } else { Err(RuleError::MerkleRoot { got, expected }) }
}

/// The genesis block, which follows from the parameters and is exempt from proof of work.
pub fn checked_genesis(network: &Network) -> CheckedBlock {
    let block = network.genesis();
    let bytes = block.encode();
    checked(block.header, block.coinbase, Vec::new(), bytes)
}

/// A block that this node made from checked transactions.
///
/// # Errors
/// When the header does not meet its target.
pub(crate) fn check_own_block(
    network: &Network,
    header: Header,
    coinbase: Coinbase,
    transactions: Vec<CheckedTransaction>,
) -> Result<CheckedBlock, RuleError> {
    check_header(network, &header)?;
    let others = transactions.iter().map(|transaction| transaction.bytes());
    let bytes = crate::block::encode(&header, &coinbase, others);
    size_is_allowed(network, bytes.len())?;
    Ok(checked(header, coinbase, transactions, bytes))
}

/// A block read back from this node's own log, which holds only checked blocks, each with a
/// checksum.
///
/// # Errors
/// When the bytes do not decode.
pub(crate) fn reread_block(bytes: Vec<u8>) -> Result<CheckedBlock, RuleError> {
    let Block { header, coinbase, transactions } = Block::decode(&bytes)?;
    let transactions = transactions.into_iter().map(CheckedTransaction).collect();
    Ok(checked(header, coinbase, transactions, bytes))
}

fn checked(
    header: Header,
    coinbase: Coinbase,
    transactions: Vec<CheckedTransaction>,
    bytes: Vec<u8>,
) -> CheckedBlock {
    let hash = header.hash();
    CheckedBlock(Arc::new(CheckedParts { hash, header, coinbase, transactions, bytes }))
}

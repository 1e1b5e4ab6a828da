//! The border between order and meaning: the chain orders transactions, a [`StateMachine`] says
//! what they do. Everything here is pure: integers, ordered maps, no clock, no randomness.

use serde::{Deserialize, Serialize};

use crate::commitment::{PageChange, Root, commit};
use crate::params::Network;
use crate::store::{Archive, StoreError};
use crate::tx::{CheckedTransaction, PublicKey, Transaction};

/// A row of the state: an ordered map from bytes to bytes.
pub type Row = (Vec<u8>, Vec<u8>);

/// Which rows of the state to read, in which order.
#[derive(Clone, Copy, Debug)]
pub struct Range<'a> {
    /// First key, included.
    pub from: &'a [u8],
    /// Last key, excluded.
    pub to: &'a [u8],
    /// Ascending or descending by key.
    pub order: Order,
    /// At most so many rows.
    pub limit: usize,
}

/// Direction of a range read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Smallest key first.
    Ascending,
    /// Largest key first.
    Descending,
}

/// Read access to the state as of one block.
pub trait View {
    /// The value under `key`.
    ///
    /// # Errors
    /// When the store fails, never because the key is absent.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Rows in key order.
    ///
    /// # Errors
    /// When the store fails.
    fn range(&self, range: Range<'_>) -> Result<Vec<Row>, StoreError>;
}

/// What a state machine may know of the block it executes. Nothing here changes while a miner
/// rolls the header, so a template's [`Delta`] stays that of the mined block.
#[derive(Clone, Copy, Debug)]
pub struct BlockContext<'a> {
    /// The rules in force.
    pub network: &'a Network,
    /// Height of the block.
    pub height: u32,
    /// Who receives the subsidy and the fees.
    pub payee: PublicKey,
}

/// One changed row, with what it was before: enough to apply and to undo it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowChange {
    /// The row's key.
    pub key: Vec<u8>,
    /// Its value before the block; `None` = absent.
    pub before: Option<Vec<u8>>,
    /// Its value after the block; `None` = absent.
    pub after: Option<Vec<u8>>,
}

/// What a block does to the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Changed rows, ascending by key, each key once.
    pub rows: Vec<RowChange>,
    /// One outcome a transaction, in block order, in the state machine's own encoding.
    pub outcomes: Vec<Vec<u8>>,
    /// Commitment to the state after the block. A state machine leaves it empty, like `pages`:
    /// [`commit`] sets both.
    pub state_root: Root,
    /// Changed pages of the commitment, ascending by prefix, each once.
    pub pages: Vec<PageChange>,
}

/// What an account can do, as the mempool needs to know it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Spendable coins, in the smallest unit.
    pub balance: u64,
    /// The sequence its next transaction must have.
    pub sequence: u64,
}

/// Why a transaction cannot stand at its place in a block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionFault {
    /// The signer's transactions must come in order, without gaps.
    #[error("sequence is {got}, the account's next is {expected}")]
    WrongSequence {
        /// In the transaction.
        got: u64,
        /// In the account.
        expected: u64,
    },
    /// The fee is taken whatever the operations do, so it must be there.
    #[error("fee {fee} exceeds the balance {balance}")]
    CannotPayFee {
        /// In the transaction.
        fee: u64,
        /// In the account.
        balance: u64,
    },
    /// `expires_at` is below the block's height.
    #[error("expired at height {expires_at}, the block has height {height}")]
    Expired {
        /// In the transaction.
        expires_at: u32,
        /// Of the block.
        height: u32,
    },
}

/// Why a block cannot be executed.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The block is invalid: its maker is at fault.
    #[error("transaction {position} is invalid: {fault}")]
    Invalid {
        /// Position among the block's transactions, the coinbase not counted.
        position: usize,
        /// The broken rule.
        fault: TransactionFault,
    },
    /// The store failed: we are at fault.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which of some candidate transactions fit into a block, and what that block does.
#[derive(Clone, Debug, Default)]
pub struct Filled {
    /// Positions of the chosen candidates, in order.
    pub chosen: Vec<usize>,
    /// What the block of exactly these does.
    pub delta: Delta,
}

/// Executes a block on the tip and commits to the state after it.
///
/// # Errors
/// When a transaction cannot stand at its place, or the store fails.
pub fn execute<A: Archive>(
    machine: &dyn StateMachine,
    tip: &A,
    context: BlockContext<'_>,
    transactions: &[CheckedTransaction],
) -> Result<Delta, ExecuteError> {
    let delta = machine.execute(tip, context, transactions)?;
    Ok(commit(machine, tip, delta)?)
}

/// What the ordered transactions mean.
pub trait StateMachine: Send + Sync {
    /// Checks what can be said of a transaction's operations alone.
    ///
    /// # Errors
    /// The broken rule, in words.
    fn check(&self, network: &Network, transaction: &Transaction) -> Result<(), String>;

    /// Executes a block: every transaction, then the reward of `payee`.
    ///
    /// # Errors
    /// When a transaction cannot stand at its place, or the store fails.
    fn execute(
        &self,
        view: &dyn View,
        context: BlockContext<'_>,
        transactions: &[CheckedTransaction],
    ) -> Result<Delta, ExecuteError>;

    /// Executes a block of those candidates that can stand, in order, leaving out the others.
    ///
    /// # Errors
    /// When the store fails.
    fn fill(
        &self,
        view: &dyn View,
        context: BlockContext<'_>,
        candidates: &[CheckedTransaction],
    ) -> Result<Filled, StoreError>;

    /// Whether the state root commits to the row with this key. Which rows it commits to must not
    /// depend on a block's payee: jobs for different payees share a template's root.
    fn commits_to(&self, row_key: &[u8]) -> bool;

    /// The account of `signer`.
    ///
    /// # Errors
    /// When the store fails.
    fn account(&self, view: &dyn View, signer: &PublicKey) -> Result<Account, StoreError>;
}

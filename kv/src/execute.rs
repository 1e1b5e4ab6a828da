//! The fold: a block's transactions, in order, over the state before it.

mod overlay;
mod step;

use chain::execute::{
    Account, BlockContext, Delta, ExecuteError, Filled, StateMachine, TransactionFault, View,
};
use chain::params::Network;
use chain::store::StoreError;
use chain::tx::{CheckedTransaction, PublicKey, Transaction};

use crate::operation::Operation;
use crate::outcome::Outcome;
use crate::query::Query;
use crate::state::{DUE_ROW, Reward, credited, is_committed, reward_row};
use overlay::Overlay;
use step::{Step, Stop};

/// The key-value state machine. It has no state of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyValue;

impl StateMachine for KeyValue {
    /// # Consensus
    /// Every operation decodes, is canonical and keeps the network's limits.
    fn check(&self, network: &Network, transaction: &Transaction) -> Result<(), String> {
        for (position, bytes) in transaction.operations.iter().enumerate() {
            Operation::decode(bytes)
                .and_then(|operation| operation.check(&network.limits))
                .map_err(|error| format!("operation {position}: {error}"))?;
        }
        Ok(())
    }

    fn execute(
        &self,
        view: &dyn View,
        context: BlockContext<'_>,
        transactions: &[CheckedTransaction],
    ) -> Result<Delta, ExecuteError> {
        let mut fold = Fold::begin(view, context)?;
        for (position, transaction) in transactions.iter().enumerate() {
            fold.include(transaction)?
                .map_err(|fault| ExecuteError::Invalid { position, fault })?;
        }
        Ok(fold.finish()?)
    }

    fn fill(
        &self,
        view: &dyn View,
        context: BlockContext<'_>,
        candidates: &[CheckedTransaction],
    ) -> Result<Filled, StoreError> {
        let mut fold = Fold::begin(view, context)?;
        let mut chosen = Vec::with_capacity(candidates.len());
        for (position, transaction) in candidates.iter().enumerate() {
            if fold.include(transaction)?.is_ok() {
                chosen.push(position);
            }
        }
        Ok(Filled { chosen, delta: fold.finish()? })
    }

    /// # Consensus
    /// Accounts and heads. Heads stand for their versions; rewards that no account has yet follow
    /// from the coinbases of the last blocks.
    fn commits_to(&self, row_key: &[u8]) -> bool {
        is_committed(row_key)
    }

    fn account(&self, view: &dyn View, signer: &PublicKey) -> Result<Account, StoreError> {
        Query::new(view).account(signer)
    }
}

/// A block in execution.
struct Fold<'a> {
    rows: Overlay<'a>,
    context: BlockContext<'a>,
    /// Of the transactions so far, in the smallest unit.
    fees: u64,
    outcomes: Vec<Vec<u8>>,
}

impl<'a> Fold<'a> {
    /// # Consensus
    /// Before its transactions, a block credits the reward that fell due with the block before.
    fn begin(view: &'a dyn View, context: BlockContext<'a>) -> Result<Fold<'a>, StoreError> {
        let mut fold = Fold { rows: Overlay::new(view), context, fees: 0, outcomes: Vec::new() };
        if let Some(Reward { payee, amount }) = fold.rows.get(DUE_ROW)? {
            fold.rows.remove(DUE_ROW)?;
            let account = fold.rows.account(&payee)?;
            fold.rows.set_account(&payee, credited(account, amount))?;
            fold.rows.keep();
        }
        Ok(fold)
    }

    /// Takes the next transaction into the block; if it cannot stand there, nothing changes.
    ///
    /// # Consensus
    /// The fee is taken and the sequence counts even if the operations fail.
    fn include(
        &mut self,
        transaction: &CheckedTransaction,
    ) -> Result<Result<(), TransactionFault>, StoreError> {
        let account = self.rows.account(&transaction.signer)?;
        let charged = match charge(account, transaction, self.context.height) {
            Ok(charged) => charged,
            Err(fault) => return Ok(Err(fault)),
        };
        self.rows.set_account(&transaction.signer, charged)?;
        self.rows.keep();
        // Saturates only where a network creates more than 2^64 units; the rest is lost.
        self.fees = self.fees.saturating_add(transaction.fee);
        let outcome = self.apply_operations(transaction)?;
        self.outcomes.push(outcome.encode());
        Ok(Ok(()))
    }

    /// Applies a transaction's operations, all or none.
    fn apply_operations(&mut self, transaction: &Transaction) -> Result<Outcome, StoreError> {
        let mut step = Step {
            rows: &mut self.rows,
            default_policy: self.context.network.default_policy,
            height: self.context.height,
            signer: transaction.signer,
            txid: transaction.txid(),
        };
        let mut effects = Vec::with_capacity(transaction.operations.len());
        for (position, bytes) in (0..).zip(&transaction.operations) {
            let operation =
                Operation::decode_again(bytes).expect("check() decoded every operation before");
            match step.apply(operation) {
                Ok(effect) => effects.push(effect),
                Err(Stop::Failed(reason)) => {
                    self.rows.discard();
                    return Ok(Outcome::Failed { operation: position, reason });
                }
                Err(Stop::Store(error)) => return Err(error),
            }
        }
        self.rows.keep();
        Ok(Outcome::Applied(effects))
    }

    /// Notes who is to be rewarded and ends the block.
    fn finish(mut self) -> Result<Delta, StoreError> {
        self.reward()?;
        self.rows.keep();
        let (rows, outcomes) = (self.rows.into_changes(), self.outcomes);
        Ok(Delta { rows, outcomes, ..Delta::default() })
    }

    /// # Consensus
    /// After its transactions, the reward of the block `maturity_blocks` below falls due, the
    /// block's own if that is 0. A reward of nothing leaves no row. Neither row is committed to, so
    /// the state root does not depend on who is paid: miners for different payees search the same
    /// template.
    fn reward(&mut self) -> Result<(), StoreError> {
        let BlockContext { network, height, payee } = self.context;
        let amount = network.subsidy.at(height).saturating_add(self.fees);
        let reward = Reward { payee, amount };
        if amount > 0 {
            self.rows.set(&reward_row(height), &reward)?;
        }
        let Some(earned_at) = height.checked_sub(network.subsidy.maturity_blocks) else {
            return Ok(());
        };
        let row = reward_row(earned_at);
        if let Some(matured) = self.rows.get::<Reward>(&row)? {
            self.rows.remove(&row)?;
            self.rows.set(DUE_ROW, &matured)?;
        }
        Ok(())
    }
}

/// The signer's account once a transaction at its place in a block is paid for.
///
/// # Consensus
/// The sequence is the account's, `expires_at` is not below the height, the balance covers the
/// fee.
fn charge(
    account: Account,
    transaction: &Transaction,
    height: u32,
) -> Result<Account, TransactionFault> {
    let Account { balance, sequence } = account;
    if transaction.sequence != sequence {
        return Err(TransactionFault::WrongSequence {
            got: transaction.sequence,
            expected: sequence,
        });
    }
    let expires_at = transaction.expires_at;
    if expires_at != 0 && expires_at < height {
        return Err(TransactionFault::Expired { expires_at, height });
    }
    let fee = transaction.fee;
    Ok(Account {
        balance: balance.checked_sub(fee).ok_or(TransactionFault::CannotPayFee { fee, balance })?,
        sequence: sequence.checked_add(1).expect("no chain holds 2^64 transactions"),
    })
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

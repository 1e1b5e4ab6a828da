//! One operation: its conditions, in a fixed order, then its changes.

use chain::Hash;
use chain::execute::Account;
use chain::params::KeyPolicy;
use chain::store::StoreError;
use chain::tx::PublicKey;

use super::overlay::Overlay;
use crate::history::{self, Record};
use crate::operation::{Expect, Operation};
use crate::outcome::{Effect, Reason};
use crate::state::{Head, Version, VersionKind, damaged, head_row, version_row};

/// Why an operation was not applied.
pub(super) enum Stop {
    /// Its condition failed: the transaction's operations are undone.
    Failed(Reason),
    /// The store failed: we are at fault.
    Store(StoreError),
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Stop {
        Stop::Failed(reason)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Stop {
        Stop::Store(error)
    }
}

/// Applies the operations of one transaction.
pub(super) struct Step<'s, 'v> {
    pub(super) rows: &'s mut Overlay<'v>,
    /// Policy of a key whose first put names none.
    pub(super) default_policy: KeyPolicy,
    /// Of the block.
    pub(super) height: u32,
    pub(super) signer: PublicKey,
    pub(super) txid: Hash,
}

/// What a put or a deletion adds to a key.
struct Addition<'a> {
    key: &'a [u8],
    kind: VersionKind,
    value: &'a [u8],
}

impl Step<'_, '_> {
    /// Applies an operation, or says why not; then its changes so far are for the caller to undo.
    pub(super) fn apply(&mut self, operation: Operation<'_>) -> Result<Effect, Stop> {
        match operation {
            Operation::Put { key, value, expect, policy } => {
                let addition = Addition { key, kind: VersionKind::Put, value };
                self.put(&addition, expect, policy)
            }
            Operation::Delete { key, expect } => self.delete(key, expect),
            Operation::HandOver { key, to } => self.hand_over(key, to),
            Operation::Pay { to, amount } => self.pay(to, amount),
        }
    }

    /// # Consensus
    /// Owner, then policy, then expectation must fit.
    fn put(
        &mut self,
        addition: &Addition<'_>,
        expect: Expect,
        policy: Option<KeyPolicy>,
    ) -> Result<Effect, Stop> {
        let head = self.rows.get(&head_row(addition.key))?.unwrap_or(Head {
            owner: self.signer,
            policy: policy.unwrap_or(self.default_policy),
            version: 0,
            deleted: true, // nothing lives there yet
            history: history::START,
        });
        self.signer_may_write(&head)?;
        if policy.is_some_and(|wanted| wanted != head.policy) {
            return Err(Reason::PolicyDiffers { policy: head.policy }.into());
        }
        expectation_holds(expect, &head)?;
        self.add_version(head, addition)
    }

    /// # Consensus
    /// The key must have a live value; then owner, then expectation must fit.
    fn delete(&mut self, key: &[u8], expect: Expect) -> Result<Effect, Stop> {
        let head: Option<Head> = self.rows.get(&head_row(key))?;
        let head = head.filter(|head| !head.deleted).ok_or(Reason::NotFound)?;
        self.signer_may_write(&head)?;
        expectation_holds(expect, &head)?;
        self.add_version(head, &Addition { key, kind: VersionKind::Delete, value: &[] })
    }

    /// # Consensus
    /// The key must have been written, and the signer must own it, whatever its policy.
    fn hand_over(&mut self, key: &[u8], to: PublicKey) -> Result<Effect, Stop> {
        let row = head_row(key);
        let head: Head = self.rows.get(&row)?.ok_or(Reason::NotFound)?;
        if head.owner != self.signer {
            return Err(Reason::NotOwner { owner: head.owner }.into());
        }
        self.rows.set(&row, &Head { owner: to, ..head })?;
        Ok(Effect::None)
    }

    /// # Consensus
    /// The signer must have the coins, after the fee and the payments before this one.
    fn pay(&mut self, to: PublicKey, amount: u64) -> Result<Effect, Stop> {
        let from = self.rows.account(&self.signer)?;
        let balance = from
            .balance
            .checked_sub(amount)
            .ok_or(Reason::InsufficientFunds { balance: from.balance, amount })?;
        self.rows.set_account(&self.signer, Account { balance, ..from })?;
        // Read after the debit, so that paying oneself changes nothing.
        let receiver = self.rows.account(&to)?;
        let balance = receiver
            .balance
            .checked_add(amount)
            .ok_or(Reason::BalanceOverflow { balance: receiver.balance, amount })?;
        self.rows.set_account(&to, Account { balance, ..receiver })?;
        Ok(Effect::None)
    }

    fn signer_may_write(&self, head: &Head) -> Result<(), Reason> {
        match head.policy {
            KeyPolicy::Owned if head.owner != self.signer => {
                Err(Reason::NotOwner { owner: head.owner })
            }
            KeyPolicy::Owned | KeyPolicy::Open => Ok(()),
        }
    }

    fn add_version(&mut self, head: Head, addition: &Addition<'_>) -> Result<Effect, Stop> {
        let &Addition { key, kind, value } = addition;
        let row = head_row(key);
        let next = head.version.checked_add(1);
        let version = next.ok_or_else(|| damaged(&row, "has a version that no chain can reach"))?;
        let deleted = kind == VersionKind::Delete;
        let record = Record {
            version,
            height: self.height,
            txid: self.txid,
            writer: self.signer,
            kind,
            value_hash: history::value_hash(value),
        };
        let history = history::link(&head.history, &record);
        self.rows.set(&row, &Head { version, deleted, history, ..head })?;
        let Record { height, txid, writer, .. } = record;
        let row = Version { height, txid, writer, kind, before: head.history, value };
        // The head said that the latest version is one less, so this one does not exist.
        self.rows.create(version_row(key, version), &row);
        Ok(Effect::Version(version))
    }
}

fn expectation_holds(expect: Expect, head: &Head) -> Result<(), Reason> {
    let latest = head.version;
    match expect {
        Expect::Absent if !head.deleted => Err(Reason::NotAbsent { latest }),
        Expect::Version(expected) if expected != latest => {
            Err(Reason::VersionMismatch { expected, latest })
        }
        Expect::Any | Expect::Absent | Expect::Version(_) => Ok(()),
    }
}

//! The state as a block sees it while it executes.

use std::collections::BTreeMap;
use std::mem;

use chain::execute::{Account, RowChange, View};
use chain::store::StoreError;
use chain::tx::PublicKey;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::state;

/// Rows by key; `None` = absent.
type Rows = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// A view with changes on top in two layers: those kept by the block, and those on trial that
/// [`Overlay::keep`] or [`Overlay::discard`] settles.
pub(super) struct Overlay<'a> {
    view: &'a dyn View,
    /// What the view holds, for every row read or created.
    before: Rows,
    kept: Rows,
    trial: Rows,
}

impl<'a> Overlay<'a> {
    pub(super) fn new(view: &'a dyn View) -> Overlay<'a> {
        Overlay { view, before: Rows::new(), kept: Rows::new(), trial: Rows::new() }
    }

    /// Reads a row.
    pub(super) fn get<T: DeserializeOwned>(&mut self, key: &[u8]) -> Result<Option<T>, StoreError> {
        self.bytes(key)?.map(|row| state::decode(key, row)).transpose()
    }

    /// Writes a row on trial.
    pub(super) fn set(&mut self, key: Vec<u8>, row: &impl Serialize) -> Result<(), StoreError> {
        self.change(key, Some(state::encode(row)))
    }

    /// Writes, on trial, a row that the view is known not to hold, without reading it first.
    pub(super) fn create(&mut self, key: Vec<u8>, row: &impl Serialize) {
        self.before.entry(key.clone()).or_insert(None);
        self.trial.insert(key, Some(state::encode(row)));
    }

    /// Removes a row on trial.
    pub(super) fn remove(&mut self, key: Vec<u8>) -> Result<(), StoreError> {
        self.change(key, None)
    }

    /// Reads an account; one without a row has nothing.
    pub(super) fn account(&mut self, key: &PublicKey) -> Result<Account, StoreError> {
        Ok(self.get(&state::account_row(key))?.unwrap_or_default())
    }

    /// Writes an account on trial.
    pub(super) fn set_account(
        &mut self,
        key: &PublicKey,
        account: Account,
    ) -> Result<(), StoreError> {
        let row = state::account_row(key);
        if account == Account::default() { self.remove(row) } else { self.set(row, &account) }
    }

    /// Makes the changes on trial part of the block.
    pub(super) fn keep(&mut self) {
        // Not `append`, which walks all of `kept`: that would be quadratic in a block.
        self.kept.extend(mem::take(&mut self.trial));
    }

    /// Forgets the changes on trial.
    pub(super) fn discard(&mut self) {
        self.trial.clear();
    }

    /// The rows that the block changed, ascending by key; changes on trial do not count.
    pub(super) fn into_changes(mut self) -> Vec<RowChange> {
        let changes = self.kept.into_iter().map(|(key, after)| {
            let before =
                self.before.remove(&key).expect("a row is read or created before it is set");
            RowChange { key, before, after }
        });
        changes.filter(|change| change.before != change.after).collect()
    }

    fn change(&mut self, key: Vec<u8>, row: Option<Vec<u8>>) -> Result<(), StoreError> {
        self.bytes(&key)?;
        self.trial.insert(key, row);
        Ok(())
    }

    fn bytes(&mut self, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        if let Some(row) = self.trial.get(key).or_else(|| self.kept.get(key)) {
            return Ok(row.as_deref());
        }
        if !self.before.contains_key(key) {
            self.before.insert(key.to_vec(), self.view.get(key)?);
        }
        Ok(self.before[key].as_deref())
    }
}

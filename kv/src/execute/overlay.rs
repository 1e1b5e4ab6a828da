//! The state as a block sees it while it executes.

use std::collections::BTreeMap;
use std::mem;

use chain::execute::{Account, RowChange, View};
use chain::store::StoreError;
use chain::tx::PublicKey;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::state;

/// A row that the block has read or created; `None` = absent.
#[derive(Default)]
struct Touched {
    /// What the view holds.
    before: Option<Vec<u8>>,
    /// What the block has made of it, if it has set it.
    after: Option<Option<Vec<u8>>>,
}

/// A view with changes on top in two layers: those kept by the block, and those on trial that
/// [`Overlay::keep`] or [`Overlay::discard`] settles.
pub(super) struct Overlay<'a> {
    view: &'a dyn View,
    kept: BTreeMap<Vec<u8>, Touched>,
    /// Every key of these is among those of `kept`.
    trial: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl<'a> Overlay<'a> {
    pub(super) fn new(view: &'a dyn View) -> Overlay<'a> {
        Overlay { view, kept: BTreeMap::new(), trial: BTreeMap::new() }
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
        self.kept.entry(key.clone()).or_default();
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
        for (key, after) in mem::take(&mut self.trial) {
            let touched = self.kept.get_mut(&key).expect("a row is touched before it is set");
            touched.after = Some(after);
        }
    }

    /// Forgets the changes on trial.
    pub(super) fn discard(&mut self) {
        self.trial.clear();
    }

    /// The rows that the block changed, ascending by key; changes on trial do not count.
    pub(super) fn into_changes(self) -> Vec<RowChange> {
        let changes = self.kept.into_iter().filter_map(|(key, Touched { before, after })| {
            let after = after?;
            (before != after).then_some(RowChange { key, before, after })
        });
        changes.collect()
    }

    fn change(&mut self, key: Vec<u8>, row: Option<Vec<u8>>) -> Result<(), StoreError> {
        self.bytes(&key)?;
        self.trial.insert(key, row);
        Ok(())
    }

    fn bytes(&mut self, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        if let Some(row) = self.trial.get(key) {
            return Ok(row.as_deref());
        }
        if !self.kept.contains_key(key) {
            let before = self.view.get(key)?;
            self.kept.insert(key.to_vec(), Touched { before, after: None });
        }
        let Touched { before, after } = &self.kept[key];
        Ok(after.as_ref().unwrap_or(before).as_deref())
    }
}

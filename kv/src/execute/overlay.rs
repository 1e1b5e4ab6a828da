//! The state as a block sees it while it executes.

use std::collections::BTreeMap;

use chain::execute::{Account, RowChange, View};
use chain::store::StoreError;
use chain::tx::PublicKey;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::state;

/// A row that the block has read or created; `None` in it = absent.
#[derive(Default)]
struct Touched {
    /// What the view holds.
    before: Option<Vec<u8>>,
    /// What the block has made of it, if it has set it.
    after: Option<Option<Vec<u8>>>,
    /// What the changes on trial have made of it, if they have set it.
    trial: Option<Option<Vec<u8>>>,
}

/// A view with changes on top in two layers: those kept by the block, and those on trial that
/// [`Overlay::keep`] or [`Overlay::discard`] settles.
pub(super) struct Overlay<'a> {
    view: &'a dyn View,
    /// Places of the rows in `rows`, by key.
    places: BTreeMap<Vec<u8>, usize>,
    rows: Vec<Touched>,
    /// Places of the rows with changes on trial.
    on_trial: Vec<usize>,
}

impl<'a> Overlay<'a> {
    pub(super) fn new(view: &'a dyn View) -> Overlay<'a> {
        Overlay { view, places: BTreeMap::new(), rows: Vec::new(), on_trial: Vec::new() }
    }

    /// Reads a row.
    pub(super) fn get<T: DeserializeOwned>(&mut self, key: &[u8]) -> Result<Option<T>, StoreError> {
        let place = self.touch(key)?;
        let Touched { before, after, trial } = &self.rows[place];
        let row = trial.as_ref().or(after.as_ref()).unwrap_or(before);
        row.as_deref().map(|row| state::decode(key, row)).transpose()
    }

    /// Writes a row on trial.
    pub(super) fn set(&mut self, key: &[u8], row: &impl Serialize) -> Result<(), StoreError> {
        self.change(key, Some(state::encode(row)))
    }

    /// Writes, on trial, a row that the view is known not to hold, without reading it first.
    pub(super) fn create(&mut self, key: Vec<u8>, row: &impl Serialize) {
        let next = self.rows.len();
        let place = *self.places.entry(key).or_insert(next);
        if place == next {
            self.rows.push(Touched::default());
        }
        self.try_out(place, Some(state::encode(row)));
    }

    /// Removes a row on trial.
    pub(super) fn remove(&mut self, key: &[u8]) -> Result<(), StoreError> {
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
        if account == Account::default() { self.remove(&row) } else { self.set(&row, &account) }
    }

    /// Makes the changes on trial part of the block.
    pub(super) fn keep(&mut self) {
        for place in self.on_trial.drain(..) {
            let row = &mut self.rows[place];
            row.after = row.trial.take();
        }
    }

    /// Forgets the changes on trial.
    pub(super) fn discard(&mut self) {
        for place in self.on_trial.drain(..) {
            self.rows[place].trial = None;
        }
    }

    /// The rows that the block changed, ascending by key; changes on trial do not count.
    pub(super) fn into_changes(mut self) -> Vec<RowChange> {
        let changes = self.places.into_iter().filter_map(|(key, place)| {
            let Touched { before, after, .. } = std::mem::take(&mut self.rows[place]);
            let after = after?;
            (before != after).then_some(RowChange { key, before, after })
        });
        changes.collect()
    }

    fn change(&mut self, key: &[u8], row: Option<Vec<u8>>) -> Result<(), StoreError> {
        let place = self.touch(key)?;
        self.try_out(place, row);
        Ok(())
    }

    fn try_out(&mut self, place: usize, row: Option<Vec<u8>>) {
        if self.rows[place].trial.replace(row).is_none() {
            self.on_trial.push(place);
        }
    }

    /// The place of a row, which is read from the view the first time.
    fn touch(&mut self, key: &[u8]) -> Result<usize, StoreError> {
        if let Some(place) = self.places.get(key) {
            return Ok(*place);
        }
        let before = self.view.get(key)?;
        self.rows.push(Touched { before, ..Touched::default() });
        self.places.insert(key.to_vec(), self.rows.len() - 1);
        Ok(self.rows.len() - 1)
    }
}
